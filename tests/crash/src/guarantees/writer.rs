//! A writer with instances of its own: it knows what each of them must be, save for the one operation that was under way
//! when the server was killed. That one was done whole or not at all.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use http::Method;
use ledger::clock::{Clock as _, SystemClock};
use ledger::random::SeededRandom;
use serde_json::{Value, json};

use super::look::{self, NOTE, Seen};
use super::operation::{MUTATED, Mutation, Operation};
use super::place::{
    ATTACHMENT, Callers, PARTY, SCANNED, as_file, as_json, in_task, instantiate, last_changed, shown, text,
};
use super::promise::{Guarantee, Promises};
use super::state::{Stamp, State};
use crate::book::below;
use crate::client::{Answer, Client, Headers};
use crate::report::Report;

/// How long a lock is taken for: longer than the test takes.
const LOCK_SECONDS: u64 = 24 * 60 * 60;

/// Instances that a writer works on; older ones rest.
const WORKED_ON: usize = 4;

/// An instance.
#[derive(Debug)]
struct Own {
    id: String,
    state: State,
    /// Ids of all elements that there ever were, with their files.
    files: BTreeMap<String, String>,
    lock: Option<String>,
    /// When the request of the last event that the portal is told of went out, and that of the one before.
    told_from: Duration,
    told_before: Duration,
    /// Elements that wait for their scan, with their contents' versions, as last seen.
    waiting: Vec<(String, String)>,
    is_touched: bool,
}

/// What is under way.
#[derive(Debug)]
enum UnderWay {
    Creation(String),
    Operation(usize, Operation),
}

/// A writer.
#[derive(Debug)]
pub(super) struct Writer {
    number: u64,
    next: u64,
    own: Vec<Own>,
    under_way: Option<UnderWay>,
    pub(super) promises: Promises,
}

/// What the portal and the scanner must have heard of an instance.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) guid: String,
    pub(super) from: Duration,
    pub(super) waiting: Vec<(String, String)>,
}

impl Writer {
    pub(super) fn new(number: u64) -> Self {
        Self {
            number,
            next: 0,
            own: Vec::new(),
            under_way: None,
            promises: Promises::default(),
        }
    }

    /// One operation by chance.
    pub(super) fn step(
        &mut self,
        client: &Client,
        callers: &Callers,
        random: &SeededRandom,
        report: &mut Report,
    ) -> Result<()> {
        self.next += 1;
        let name = format!("{}-{}", self.number, self.next);
        if self.own.len() < WORKED_ON || below(random, 15) == 0 {
            return self.create(client, callers, &name, report);
        }
        let at = self.own.len() - 1 - below(random, WORKED_ON);
        let Some(own) = self.own.get_mut(at) else {
            return Ok(());
        };
        own.is_touched = true;
        let operation = Operation::choose(random, &own.state, &name, own.lock.is_some());
        if operation.is_told() {
            own.told_before = own.told_from;
            own.told_from = SystemClock.monotonic();
        }
        self.under_way = Some(UnderWay::Operation(at, operation.clone()));
        let answer = send(client, callers, own, &operation)?;
        ensure!(
            (200..300).contains(&answer.status),
            "{} of {}: {} {}",
            kind_of(&operation),
            own.id,
            answer.status,
            shown(&answer)
        );
        own.take(&operation, &answer)?;
        self.under_way = None;
        report.acknowledge(operation.guarantee().name());
        Ok(())
    }

    fn create(&mut self, client: &Client, callers: &Callers, mark: &str, report: &mut Report) -> Result<()> {
        let sent = SystemClock.monotonic();
        self.under_way = Some(UnderWay::Creation(mark.to_owned()));
        let (id, made) = instantiate(client, &callers.user, mark)?;
        self.under_way = None;
        let at = Stamp::Exactly(last_changed(&made, "/lastChanged")?);
        self.own.push(Own::new(id, at, mark, sent));
        report.acknowledge(Guarantee::Creation.name());
        Ok(())
    }

    /// Looks at what was touched, or at all, and takes what is there for what must be there from now on.
    pub(super) fn settle(
        &mut self,
        client: &Client,
        callers: &Callers,
        marks: &BTreeMap<String, String>,
        all: bool,
    ) -> Result<()> {
        let mut pending = None;
        match self.under_way.take() {
            Some(UnderWay::Creation(mark)) => {
                let found = marks.get(&mark);
                self.promises.killed(Guarantee::Creation, found.is_some());
                if let Some(id) = found {
                    let at = Stamp::After(jiff::Timestamp::UNIX_EPOCH);
                    self.own.push(Own::new(id.clone(), at, &mark, Duration::ZERO));
                }
            }
            Some(UnderWay::Operation(at, operation)) => pending = Some((at, operation)),
            None => {}
        }
        for (at, own) in self.own.iter_mut().enumerate() {
            let operation = pending.as_ref().filter(|(of, _)| *of == at);
            let operation = operation.map(|(_, operation)| operation);
            if all || own.is_touched || operation.is_some() {
                own.settle(client, callers, operation, &mut self.promises)?;
            }
        }
        let listed: BTreeSet<&String> = marks.values().collect();
        for own in &self.own {
            let is_listed = listed.contains(&own.id);
            self.promises.check(Guarantee::Creation, is_listed, || {
                format!("instance {} isn't listed", own.id)
            });
        }
        Ok(())
    }

    /// What others must have heard of.
    pub(super) fn told(&self) -> impl Iterator<Item = Told> {
        self.own.iter().map(|own| Told {
            guid: own.id.rsplit('/').next().unwrap_or_default().to_owned(),
            from: own.told_from,
            waiting: own.waiting.clone(),
        })
    }
}

impl Own {
    fn new(id: String, at: Stamp, mark: &str, told_from: Duration) -> Self {
        let values = BTreeMap::from([("mark".to_owned(), mark.to_owned())]);
        Self {
            id,
            state: State::created(at, values),
            files: BTreeMap::new(),
            lock: None,
            told_from,
            told_before: told_from,
            waiting: Vec::new(),
            is_touched: true,
        }
    }

    fn element(&self, file: &str) -> Result<&str> {
        let found = self.files.iter().find(|(_, known)| known.as_str() == file);
        let (id, _) = found.with_context(|| format!("no element of {file}"))?;
        Ok(id)
    }

    /// What an acknowledged operation has made of the instance.
    fn take(&mut self, operation: &Operation, answer: &Answer) -> Result<()> {
        self.state = operation.after(&self.state);
        let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let stamped = match operation {
            Operation::Mutate(_) => Some("/instance/lastChanged"),
            // A removed element is answered as it was, an undeletion with a word, the rest with what isn't the instance.
            Operation::Remove { .. } | Operation::Undelete => None,
            Operation::Note { .. } | Operation::Lock | Operation::Unlock => None,
            _ => Some("/lastChanged"),
        };
        if let (Some(pointer), Stamp::After(_)) = (stamped, self.state.last_changed) {
            self.state.last_changed = Stamp::Exactly(last_changed(&body, pointer)?);
        }
        match operation {
            Operation::Add { file, .. } => {
                let id = text(&body, "/id").context("an element without an id")?;
                self.files.insert(id.to_owned(), file.clone());
            }
            Operation::Mutate(mutation) => self.learn(mutation, &body),
            Operation::Lock => self.lock = text(&body, "/lockToken").map(str::to_owned),
            Operation::Unlock => self.lock = None,
            _ => {}
        }
        Ok(())
    }

    fn learn(&mut self, mutation: &Mutation, body: &Value) {
        let ids = body.pointer("/createdDataElementIds").and_then(Value::as_array);
        let ids = ids.into_iter().flatten().filter_map(Value::as_str);
        for (id, (file, _)) in ids.zip(&mutation.files) {
            self.files.insert(id.to_owned(), file.clone());
        }
    }

    fn look(&self, client: &Client, callers: &Callers, promises: &mut Promises) -> Result<Option<Seen>> {
        look::look(client, callers, &self.id, &self.files, promises)
    }

    /// Compares what is there with what must be: as it was before the operation under way, or behind it.
    fn settle(
        &mut self,
        client: &Client,
        callers: &Callers,
        operation: Option<&Operation>,
        promises: &mut Promises,
    ) -> Result<()> {
        let Some(mut seen) = self.look(client, callers, promises)? else {
            promises.violated(Guarantee::Creation, format!("instance {} is lost", self.id));
            return Ok(());
        };
        let mut expected = self.state.clone();
        let mut differences = expected.differences(&seen.state);
        if let Some(operation) = operation {
            let after = operation.after(&self.state);
            let behind = after.differences(&seen.state);
            let is_done = behind.len() < differences.len();
            if is_done {
                (expected, differences) = (after, behind);
            }
            promises.killed(operation.guarantee(), is_done);
            if operation.is_told() && !is_done {
                // It happened to nobody: the portal was told of the one before.
                self.told_from = self.told_before;
            }
            if !differences.is_empty() {
                let what = format!("{} of {} was cut into pieces", kind_of(operation), self.id);
                promises.violated(operation.guarantee(), what);
            }
            if let Operation::Mutate(mutation) = operation {
                if !is_done {
                    self.told_from = SystemClock.monotonic();
                }
                self.repeat(client, callers, mutation, is_done, promises)?;
                seen = self
                    .look(client, callers, promises)?
                    .context("an instance that is gone")?;
                expected = operation.after(&self.state);
                let found = expected.differences(&seen.state);
                promises.check(Guarantee::Mutation, found.is_empty(), || {
                    format!("a mutation of {}, sent twice: {found:?}", self.id)
                });
            }
            match operation {
                // Who has it was never told.
                Operation::Lock if is_done => self.lock = None,
                Operation::Unlock if is_done => self.lock = None,
                _ => {}
            }
        }
        let broken: BTreeSet<Guarantee> = differences.iter().map(|(guarantee, _)| *guarantee).collect();
        for guarantee in expected.looked_at().difference(&broken) {
            promises.held(*guarantee);
        }
        for (guarantee, what) in differences {
            promises.violated(guarantee, format!("{}: {what}", self.id));
        }
        if let Some(token) = &self.lock {
            let answer = change_lock(client, callers, &self.id, token, LOCK_SECONDS)?;
            promises.check(Guarantee::Lock, answer.status == 204, || {
                format!("the lock of {}: {}", self.id, answer.status)
            });
        }
        for (file, id) in &seen.ids {
            self.files.insert(id.clone(), file.clone());
        }
        self.state = seen.state;
        self.waiting = seen.waiting;
        self.is_touched = false;
        Ok(())
    }

    /// Sends a mutation again whose answer never came.
    fn repeat(
        &self,
        client: &Client,
        callers: &Callers,
        mutation: &Mutation,
        is_done: bool,
        promises: &mut Promises,
    ) -> Result<()> {
        let answer = mutate(client, callers, &self.id, mutation)?;
        let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let replayed = body.pointer("/replayed").and_then(Value::as_bool);
        let holds = answer.status == 200 && replayed == Some(is_done);
        promises.check(Guarantee::Mutation, holds, || {
            let status = answer.status;
            format!("done {is_done}, sent again: {status}, replayed {replayed:?}")
        });
        Ok(())
    }
}

fn kind_of(operation: &Operation) -> String {
    let said = format!("{operation:?}");
    said.split([' ', '(']).next().unwrap_or_default().to_owned()
}

fn change_lock(
    client: &Client,
    callers: &Callers,
    instance: &str,
    token: &str,
    seconds: u64,
) -> Result<Answer> {
    let mut headers = as_json();
    headers.push(("altinn-storage-lock-token", token.to_owned()));
    let path = format!("/instances/{instance}/lock");
    let body = json!({"ttlSeconds": seconds}).to_string();
    client.platform(
        &Method::PATCH,
        &path,
        &callers.user,
        &headers,
        Some(body.as_bytes()),
    )
}

/// Sends an operation.
fn send(client: &Client, callers: &Callers, own: &Own, operation: &Operation) -> Result<Answer> {
    let (user, owner) = (&callers.user, &callers.owner);
    let call = |method: Method, path: &str, token: &str, headers: Headers, body: &[u8]| {
        let path = format!("/instances/{}{path}", own.id);
        client.platform(&method, &path, token, &headers, Some(body))
    };
    let json = |method: Method, path: &str, token: &str, body: Value| {
        call(method, path, token, as_json(), body.to_string().as_bytes())
    };
    let by = |by_owner: bool| if by_owner { owner } else { user };
    match operation {
        Operation::Add {
            file,
            content,
            by_owner,
            is_scanned,
        } => {
            let kind = if *is_scanned { SCANNED } else { ATTACHMENT };
            let path = format!("/data?dataType={kind}");
            call(Method::POST, &path, by(*by_owner), as_file(file), content)
        }
        Operation::Replace {
            file,
            content,
            by_owner,
        } => {
            let path = format!("/data/{}", own.element(file)?);
            call(Method::PUT, &path, by(*by_owner), as_file(file), content)
        }
        Operation::Remove { file } => {
            let path = format!("/data/{}", own.element(file)?);
            call(Method::DELETE, &path, user, Headers::new(), &[])
        }
        Operation::Text { key, value } => {
            let body = json!({"texts": {key.as_str(): value}});
            json(Method::PUT, "/presentationtexts", user, body)
        }
        Operation::Value { key, value } => json(
            Method::PUT,
            "/datavalues",
            user,
            json!({"values": {key.as_str(): value}}),
        ),
        Operation::Read => call(Method::PUT, "/readstatus?status=Read", user, Headers::new(), &[]),
        Operation::Substatus { label } => json(Method::PUT, "/substatus", owner, json!({"label": label})),
        Operation::Next => {
            let event = |kind: &str| {
                json!({"instanceId": own.id, "eventType": kind, "instanceOwnerPartyId": PARTY,
                    "user": {"userId": 1337, "authenticationLevel": 2}})
            };
            let events = [event("process_EndTask"), event("process_StartTask")];
            let body = json!({"state": in_task(own.state.flow + 1), "events": events});
            json(Method::PUT, "/process/instanceandevents", user, body)
        }
        Operation::Note { id } => {
            let note = format!("{NOTE}{}", own.state.notes + 1);
            let body = json!({"id": id.to_string(), "instanceId": own.id, "eventType": "Saved", "additionalInfo": note,
                "created": "2026-01-01T00:00:00Z", "user": {"userId": 1337}});
            json(Method::POST, "/events", user, body)
        }
        Operation::Mutate(mutation) => mutate(client, callers, &own.id, mutation),
        Operation::Delete => call(Method::DELETE, "", user, Headers::new(), &[]),
        Operation::Undelete => {
            let path = format!("/sbl/instances/{}/undelete", own.id);
            client.platform(&Method::PUT, &path, user, &Headers::new(), Some(&[]))
        }
        Operation::Complete => call(Method::POST, "/complete", owner, Headers::new(), &[]),
        Operation::Lock => json(Method::POST, "/lock", user, json!({"ttlSeconds": LOCK_SECONDS})),
        Operation::Unlock => match &own.lock {
            Some(token) => change_lock(client, callers, &own.id, token, 0),
            None => bail!("no lock to let go"),
        },
    }
}

fn mutate(client: &Client, callers: &Callers, instance: &str, mutation: &Mutation) -> Result<Answer> {
    let created = ["a", "b"].map(|part| json!({"dataType": ATTACHMENT, "contentPartName": part}));
    let said = json!({"createDataElements": created, "presentationTexts": {MUTATED: mutation.value},
        "dataValues": {MUTATED: mutation.value}});
    let mut body = format!(
        "--b\r\nContent-Disposition: form-data; name=\"mutation\"\r\nContent-Type: application/json\r\n\r\n{said}\r\n"
    )
    .into_bytes();
    for (part, (file, content)) in ["a", "b"].iter().zip(&mutation.files) {
        let head = format!(
            "--b\r\nContent-Disposition: form-data; name=\"{part}\"; filename=\"{file}\"\r\nContent-Type: application/octet-stream\r\n\r\n"
        );
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(content);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"--b--\r\n");
    let headers = vec![
        ("content-type", "multipart/form-data; boundary=b".to_owned()),
        ("if-instance-version-match", mutation.version.to_string()),
        ("idempotency-key", mutation.key.to_string()),
    ];
    let path = format!("/instances/{instance}/mutations");
    client.platform(&Method::POST, &path, &callers.user, &headers, Some(&body))
}
