//! Instances that all writers work on at once: each sets fields of its own, all want the one lock, all save the one
//! element.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use http::Method;
use ledger::clock::{Clock as _, SystemClock};
use ledger::random::SeededRandom;
use serde_json::{Value, json};

use super::place::{ATTACHMENT, Callers, as_file, as_json, instantiate, shown, text};
use super::promise::{Guarantee, Promises};
use crate::book::{Hash, below, bytes, hash};
use crate::client::Client;
use crate::report::Report;

const LOCK_SECONDS: u64 = 3_600;
const CONTENT_BYTES_MAX: usize = 20 * 1024;

/// A save: when it was sent and, if it was, acknowledged.
#[derive(Debug, Clone)]
struct Save {
    sent: Duration,
    acknowledged: Option<Duration>,
}

/// The two values that a field may have: the one that was acknowledged last, and the one under way.
#[derive(Debug, Clone, Default)]
struct Field {
    acknowledged: Option<String>,
    under_way: Option<String>,
}

/// What is known of the instance of this round.
#[derive(Debug, Default)]
pub(super) struct Shared {
    instance: String,
    element: String,
    saves: Mutex<BTreeMap<Hash, Save>>,
    fields: Mutex<BTreeMap<String, Field>>,
    /// Who holds the lock, by its number from 1 on.
    holder: AtomicU64,
    /// Requests for the lock that are under way, and whether it is being let go.
    under_way: AtomicU64,
    pub(super) promises: Mutex<Promises>,
}

impl Shared {
    /// A new instance with an element.
    pub(super) fn begin(client: &Client, callers: &Callers, mark: &str) -> Result<Self> {
        let (instance, _) = instantiate(client, &callers.user, mark)?;
        let path = format!("/instances/{instance}/data?dataType={ATTACHMENT}");
        let content = b"before all".to_vec();
        let answer = client.platform(
            &Method::POST,
            &path,
            &callers.user,
            &as_file("shared.bin"),
            Some(&content),
        )?;
        ensure!(
            answer.status == 201,
            "the shared element: {} {}",
            answer.status,
            shown(&answer)
        );
        let made: Value = serde_json::from_slice(&answer.body)?;
        let first = Save {
            sent: Duration::ZERO,
            acknowledged: Some(Duration::ZERO),
        };
        Ok(Self {
            element: text(&made, "/id").context("an element without an id")?.to_owned(),
            instance,
            saves: Mutex::new(BTreeMap::from([(hash(&content), first)])),
            ..Self::default()
        })
    }

    /// One request by chance, by the writer `number` (from 1 on), its `count`-th.
    pub(super) fn step(
        &self,
        client: &Client,
        callers: &Callers,
        random: &SeededRandom,
        (number, count): (u64, u64),
        report: &mut Report,
    ) -> Result<()> {
        match below(random, 4) {
            0 => self.set(client, callers, ("presentationtexts", "texts"), number, count)?,
            1 => self.set(client, callers, ("datavalues", "values"), number, count)?,
            2 => self.lock(client, callers, number)?,
            _ => self.save(client, callers, random)?,
        }
        report.acknowledge("requests for what is shared");
        Ok(())
    }

    fn put(&self, client: &Client, callers: &Callers, path: &str, body: &Value) -> Result<u16> {
        let path = format!("/instances/{}/{path}", self.instance);
        let body = body.to_string();
        let answer = client.platform(
            &Method::PUT,
            &path,
            &callers.user,
            &as_json(),
            Some(body.as_bytes()),
        )?;
        Ok(answer.status)
    }

    fn set(
        &self,
        client: &Client,
        callers: &Callers,
        (path, field): (&str, &str),
        number: u64,
        count: u64,
    ) -> Result<()> {
        let (key, value) = (format!("w{number}"), count.to_string());
        let place = format!("{field} {key}");
        let change = |act: &dyn Fn(&mut Field)| {
            if let Ok(mut fields) = self.fields.lock() {
                act(fields.entry(place.clone()).or_default());
            }
        };
        change(&|known| known.under_way = Some(value.clone()));
        let status = self.put(client, callers, path, &json!({field: {key.as_str(): value}}))?;
        ensure!(matches!(status, 200 | 409), "setting {place}: {status}");
        change(&|known| {
            known.under_way = None;
            if status == 200 {
                known.acknowledged = Some(value.clone());
            }
        });
        Ok(())
    }

    fn lock(&self, client: &Client, callers: &Callers, number: u64) -> Result<()> {
        let path = format!("/instances/{}/lock", self.instance);
        let body = json!({"ttlSeconds": LOCK_SECONDS}).to_string();
        self.under_way.fetch_add(1, Ordering::SeqCst);
        let answer = client.platform(
            &Method::POST,
            &path,
            &callers.user,
            &as_json(),
            Some(body.as_bytes()),
        )?;
        if answer.status != 200 {
            self.under_way.fetch_sub(1, Ordering::SeqCst);
            ensure!(
                answer.status == 409,
                "the shared lock: {} {}",
                answer.status,
                shown(&answer)
            );
            return Ok(());
        }
        let is_alone = self
            .holder
            .compare_exchange(0, number, Ordering::SeqCst, Ordering::SeqCst);
        self.under_way.fetch_sub(1, Ordering::SeqCst);
        if let Ok(mut promises) = self.promises.lock() {
            promises.check(Guarantee::Lock, is_alone.is_ok(), || {
                format!("{} is locked by two at once", self.instance)
            });
        }
        let held: Value = serde_json::from_slice(&answer.body)?;
        let token = text(&held, "/lockToken").context("a lock without a token")?;
        std::thread::sleep(Duration::from_millis(3));
        // Who comes next may be told before this one is.
        self.under_way.fetch_add(1, Ordering::SeqCst);
        self.holder.store(0, Ordering::SeqCst);
        let mut headers = as_json();
        headers.push(("altinn-storage-lock-token", token.to_owned()));
        let body = br#"{"ttlSeconds": 0}"#;
        let answer = client.platform(&Method::PATCH, &path, &callers.user, &headers, Some(body))?;
        self.under_way.fetch_sub(1, Ordering::SeqCst);
        ensure!(
            answer.status == 204,
            "letting the shared lock go: {}",
            answer.status
        );
        Ok(())
    }

    fn save(&self, client: &Client, callers: &Callers, random: &SeededRandom) -> Result<()> {
        let content = bytes(random, 32 + below(random, CONTENT_BYTES_MAX));
        let key = hash(&content);
        let sent = SystemClock.monotonic();
        let note = |acknowledged: Option<Duration>| {
            if let Ok(mut saves) = self.saves.lock() {
                saves.insert(key, Save { sent, acknowledged });
            }
        };
        note(None);
        let path = format!("/instances/{}/data/{}", self.instance, self.element);
        let answer = client.platform(
            &Method::PUT,
            &path,
            &callers.user,
            &as_file("shared.bin"),
            Some(&content),
        )?;
        match answer.status {
            200 => note(Some(SystemClock.monotonic())),
            409 => {
                if let Ok(mut saves) = self.saves.lock() {
                    saves.remove(&key);
                }
            }
            status => anyhow::bail!("saving the shared element: {status} {}", shown(&answer)),
        }
        Ok(())
    }

    /// Holds what there is behind a kill against what was acknowledged.
    pub(super) fn settle(self, client: &Client, callers: &Callers) -> Result<Promises> {
        let mut promises = self.promises.into_inner().unwrap_or_default();
        let get = |path: &str| client.platform(&Method::GET, path, &callers.owner, &Vec::new(), None);
        let answer = get(&format!("/instances/{}", self.instance))?;
        ensure!(
            answer.status == 200,
            "the shared instance: {} {}",
            answer.status,
            shown(&answer)
        );
        let whole: Value = serde_json::from_slice(&answer.body)?;
        for (place, field) in self.fields.into_inner().unwrap_or_default() {
            let pointer = place.replace("texts ", "/presentationTexts/");
            let pointer = pointer.replace("values ", "/dataValues/");
            let is = text(&whole, &pointer).map(str::to_owned);
            let is_new = field.under_way.is_some() && is == field.under_way;
            if field.under_way.is_some() {
                promises.killed(Guarantee::Fields, is_new);
            }
            promises.check(Guarantee::Fields, is_new || is == field.acknowledged, || {
                format!("{place} of {}: {is:?}, {field:?} was written", self.instance)
            });
        }
        let answer = get(&format!("/instances/{}/data/{}", self.instance, self.element))?;
        let saves = self.saves.into_inner().unwrap_or_default();
        let is = saves.get(&hash(&answer.body));
        let in_flight = saves.values().filter(|save| save.acknowledged.is_none()).count();
        for _ in 0..in_flight {
            let is_done = is.is_some_and(|is| is.acknowledged.is_none());
            promises.killed(Guarantee::Overlap, is_done);
        }
        let was_replaced = is.and_then(|is| is.acknowledged).is_some_and(|acknowledged| {
            let mut others = saves.values();
            others.any(|other| other.acknowledged.is_some() && other.sent > acknowledged)
        });
        let holds = answer.status == 200 && is.is_some() && !was_replaced;
        promises.check(Guarantee::Overlap, holds, || {
            let (length, known) = (answer.body.len(), is.is_some());
            format!("{length} bytes, sent by somebody: {known}, replaced before: {was_replaced}")
        });
        if self.under_way.load(Ordering::SeqCst) == 0 && self.holder.load(Ordering::SeqCst) != 0 {
            let path = format!("/instances/{}/lock", self.instance);
            let body = br#"{"ttlSeconds": 0}"#;
            let answer = client.platform(&Method::POST, &path, &callers.user, &as_json(), Some(body))?;
            promises.check(Guarantee::Lock, answer.status == 409, || {
                format!("{} isn't locked any longer", self.instance)
            });
        }
        Ok(promises)
    }
}
