//! A writer of Altinn instances: creates them, adds and replaces data elements, adds events. What
//! it checks spans everything one commit must hold together: the element's document, its blob, the
//! instance that lists it.
//!
//! An element gets its id from the server, so one whose request went unanswered is recognised by
//! its filename.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail, ensure};
use http::Method;
use ledger::random::{Random as _, SeededRandom};
use serde_json::{Value, json};

use crate::book::{Book, Fault, below, bytes, hash};
use crate::client::{Answer, Client, Headers};
use crate::report::{Findings, Report};
use crate::round::Writer;

const APP: &str = "ttd/crash";
const PARTY: &str = "501337";
const LARGE_BYTES: usize = 100 * 1024;
const SMALL_BYTES_MAX: usize = 4 * 1024;
const EVENTS_PER_INSTANCE_MAX: usize = 40;

/// Writes to instances of its own.
#[derive(Debug)]
pub(crate) struct Platform {
    number: u64,
    next: u64,
    token: String,
    /// Instance -> its elements' ids by filename.
    instances: BTreeMap<String, BTreeMap<String, String>>,
    touched: Vec<String>,
    /// Keys: `{instance} {filename}`.
    elements: Book,
    /// Keys: `{instance} {event}`.
    events: Book,
}

impl Platform {
    pub(crate) fn new(number: u64) -> Self {
        Self {
            number,
            next: 0,
            token: String::new(),
            instances: BTreeMap::new(),
            touched: Vec::new(),
            elements: Book::default(),
            events: Book::default(),
        }
    }

    fn call(
        &self,
        client: &Client,
        method: &Method,
        path: &str,
        headers: &Headers,
        body: &[u8],
    ) -> Result<Answer> {
        let body = (*method != Method::GET).then_some(body);
        client.platform(method, path, &self.token, headers, body)
    }

    fn create(&mut self, client: &Client, report: &mut Report) -> Result<()> {
        let body = json!({"instanceOwner": {"partyId": PARTY}, "process": {"currentTask": {"elementId": "Task_1",
            "altinnTaskType": "data", "flow": 2, "flowType": "CompleteCurrentMoveToNext"}}});
        let answer = self.call(
            client,
            &Method::POST,
            &format!("/instances?appId={APP}"),
            &as_json(),
            body.to_string().as_bytes(),
        )?;
        ensure!(
            answer.status == 201,
            "creating an instance: {} {}",
            answer.status,
            shown(&answer)
        );
        let made: Value = serde_json::from_slice(&answer.body)?;
        let id = made
            .get("id")
            .and_then(Value::as_str)
            .context("an instance without an id")?;
        self.instances.insert(id.to_owned(), BTreeMap::new());
        self.touched.push(id.to_owned());
        report.acknowledge("instances created");
        Ok(())
    }

    fn add_element(
        &mut self,
        client: &Client,
        random: &SeededRandom,
        instance: &str,
        report: &mut Report,
    ) -> Result<()> {
        self.next += 1;
        let filename = format!("{}-{}.bin", self.number, self.next);
        let content = content(random);
        let key = format!("{instance} {filename}");
        self.elements.begin(&key, Some(hash(&content)));
        self.touched.push(instance.to_owned());
        let path = format!("/instances/{instance}/data?dataType=attachment");
        let answer = self.call(client, &Method::POST, &path, &as_file(&filename), &content)?;
        if answer.status != 201 {
            self.elements.refuse(&key);
            bail!("adding {key}: {} {}", answer.status, shown(&answer));
        }
        let made: Value = serde_json::from_slice(&answer.body)?;
        let id = made
            .get("id")
            .and_then(Value::as_str)
            .context("an element without an id")?;
        self.elements.acknowledge(&key);
        if let Some(elements) = self.instances.get_mut(instance) {
            elements.insert(filename, id.to_owned());
        }
        report.acknowledge("data elements added");
        Ok(())
    }

    fn replace_element(
        &mut self,
        client: &Client,
        random: &SeededRandom,
        instance: &str,
        report: &mut Report,
    ) -> Result<()> {
        let elements: Vec<(String, String)> = self
            .instances
            .get(instance)
            .into_iter()
            .flatten()
            .map(|(f, id)| (f.clone(), id.clone()))
            .collect();
        let Some((filename, id)) = elements.get(below(random, elements.len())) else {
            return Ok(());
        };
        let key = format!("{instance} {filename}");
        let content = content(random);
        self.elements.begin(&key, Some(hash(&content)));
        self.touched.push(instance.to_owned());
        let path = format!("/instances/{instance}/data/{id}");
        let answer = self.call(client, &Method::PUT, &path, &as_file(filename), &content)?;
        if answer.status != 200 {
            self.elements.refuse(&key);
            bail!("replacing {key}: {} {}", answer.status, shown(&answer));
        }
        self.elements.acknowledge(&key);
        report.acknowledge("data elements replaced");
        Ok(())
    }

    fn add_event(
        &mut self,
        client: &Client,
        random: &SeededRandom,
        instance: &str,
        report: &mut Report,
    ) -> Result<()> {
        let id = random.uuid().to_string();
        let key = format!("{instance} {id}");
        let body = json!({"id": id, "instanceId": instance, "eventType": "Saved", "additionalInfo": key,
            "created": "2026-01-01T00:00:00Z", "instanceOwnerPartyId": PARTY, "user": {"userId": 1337}});
        self.events.begin(&key, Some(hash(id.as_bytes())));
        self.touched.push(instance.to_owned());
        let path = format!("/instances/{instance}/events");
        let answer = self.call(
            client,
            &Method::POST,
            &path,
            &as_json(),
            body.to_string().as_bytes(),
        )?;
        if answer.status != 201 {
            self.events.refuse(&key);
            bail!("adding an event: {} {}", answer.status, shown(&answer));
        }
        self.events.acknowledge(&key);
        report.acknowledge("events added");
        Ok(())
    }

    fn check_instance(&mut self, client: &Client, instance: &str, findings: &mut Findings) -> Result<()> {
        let answer = self.call(
            client,
            &Method::GET,
            &format!("/instances/{instance}"),
            &Vec::new(),
            &[],
        )?;
        if answer.status != 200 {
            findings.push((
                format!("instance {instance}: {} {}", answer.status, shown(&answer)),
                Fault::Lost,
            ));
            return Ok(());
        }
        let whole: Value = serde_json::from_slice(&answer.body)?;
        let mut seen = BTreeMap::new();
        for element in whole.get("data").and_then(Value::as_array).into_iter().flatten() {
            let text = |name: &str| {
                element
                    .get(name)
                    .and_then(Value::as_str)
                    .unwrap_or_default()
                    .to_owned()
            };
            let (id, filename) = (text("id"), text("filename"));
            let path = format!("/instances/{instance}/data/{id}");
            let answer = self.call(client, &Method::GET, &path, &Vec::new(), &[])?;
            let size = element.get("size").and_then(Value::as_u64);
            if answer.status != 200 {
                findings.push((
                    format!("element {instance} {id}: {}", answer.status),
                    Fault::Dangling,
                ));
            } else if size != u64::try_from(answer.body.len()).ok() {
                findings.push((format!("element {instance} {id}: size {size:?}"), Fault::Torn));
            }
            let key = format!("{instance} {filename}");
            if !self.elements.knows(&key) {
                findings.push((format!("element {key} that nobody wrote"), Fault::Torn));
            }
            if let Some(fault) = self.elements.settle(&key, Some(hash(&answer.body))) {
                findings.push((format!("element {key}"), fault));
            }
            seen.insert(filename, id);
        }
        let prefix = format!("{instance} ");
        for key in self
            .elements
            .keys()
            .into_iter()
            .filter(|key| key.starts_with(&prefix))
        {
            let filename = key.trim_start_matches(&prefix);
            if !seen.contains_key(filename)
                && let Some(fault) = self.elements.settle(&key, None)
            {
                findings.push((format!("element {key}"), fault));
            }
        }
        self.instances.insert(instance.to_owned(), seen);
        self.check_events(client, instance, findings)
    }

    fn check_events(&mut self, client: &Client, instance: &str, findings: &mut Findings) -> Result<()> {
        let path = format!("/instances/{instance}/events");
        let answer = self.call(client, &Method::GET, &path, &Vec::new(), &[])?;
        ensure!(
            answer.status == 200,
            "events of {instance}: {} {}",
            answer.status,
            shown(&answer)
        );
        let whole: Value = serde_json::from_slice(&answer.body)?;
        let mut ids = Vec::new();
        for event in whole
            .get("instanceEvents")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            let text = |name: &str| {
                event
                    .get(name)
                    .and_then(Value::as_str)
                    .unwrap_or_default()
                    .to_owned()
            };
            let key = format!("{instance} {}", text("id"));
            // Events that the server adds by itself are in nobody's book.
            if self.events.knows(&key) {
                if text("additionalInfo") != key {
                    findings.push((format!("event {key}"), Fault::Torn));
                }
                ids.push(text("id"));
            }
        }
        let prefix = format!("{instance} ");
        for key in self
            .events
            .keys()
            .into_iter()
            .filter(|key| key.starts_with(&prefix))
        {
            let id = key.trim_start_matches(&prefix);
            let actual = ids.iter().any(|seen| seen == id).then(|| hash(id.as_bytes()));
            if let Some(fault) = self.events.settle(&key, actual) {
                findings.push((format!("event {key}"), fault));
            }
        }
        Ok(())
    }
}

impl Writer for Platform {
    fn prepare(&mut self, client: &Client) -> Result<()> {
        self.token = client.token("GetTestStudioToken")?;
        let body = json!({"id": APP, "org": "ttd", "title": {"nb": "crash"}, "processId": "p",
            "dataTypes": [{"id": "attachment", "maxCount": 0}]});
        let answer = self.call(
            client,
            &Method::POST,
            &format!("/applications?appId={APP}"),
            &as_json(),
            body.to_string().as_bytes(),
        )?;
        ensure!(
            answer.status == 201,
            "the application: {} {}",
            answer.status,
            shown(&answer)
        );
        self.token = client.token("GetTestUserToken/1337?authenticationLevel=2")?;
        Ok(())
    }

    fn write(&mut self, client: &Client, random: &SeededRandom, report: &mut Report) -> Result<()> {
        let known: Vec<&String> = self.instances.keys().collect();
        let choice = below(random, 10);
        let instance = known.get(below(random, known.len())).map(|id| (*id).clone());
        match instance {
            Some(instance) if choice >= 7 => self.add_element(client, random, &instance, report),
            Some(instance) if choice >= 4 => self.replace_element(client, random, &instance, report),
            Some(instance) if choice >= 2 => {
                let prefix = format!("{instance} ");
                let events = self
                    .events
                    .keys()
                    .iter()
                    .filter(|key| key.starts_with(&prefix))
                    .count();
                if events < EVENTS_PER_INSTANCE_MAX {
                    self.add_event(client, random, &instance, report)
                } else {
                    self.create(client, report)
                }
            }
            _ => self.create(client, report),
        }
    }

    fn check(&mut self, client: &Client, all: bool) -> Result<Findings> {
        let mut findings = Findings::new();
        let mut touched = std::mem::take(&mut self.touched);
        touched.sort_unstable();
        touched.dedup();
        let ids = if all {
            self.instances.keys().cloned().collect()
        } else {
            touched
        };
        for instance in ids {
            self.check_instance(client, &instance, &mut findings)?;
        }
        self.elements.take_touched();
        self.events.take_touched();
        Ok(findings)
    }
}

fn content(random: &SeededRandom) -> Vec<u8> {
    let large = below(random, 3) == 0;
    bytes(
        random,
        if large {
            LARGE_BYTES + below(random, 500)
        } else {
            1 + below(random, SMALL_BYTES_MAX)
        },
    )
}

fn as_json() -> Headers {
    vec![("content-type", "application/json".to_owned())]
}

fn as_file(filename: &str) -> Headers {
    vec![
        ("content-type", "application/octet-stream".to_owned()),
        ("content-disposition", format!("attachment; filename={filename}")),
    ]
}

fn shown(answer: &Answer) -> String {
    String::from_utf8_lossy(&answer.body).chars().take(300).collect()
}
