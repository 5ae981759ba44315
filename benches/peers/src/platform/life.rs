//! The life of an instance, as an app, its user and its owner live it: made, filled in, saved, locked, ended, fetched,
//! confirmed. Virtual users live one life after the other, each on a connection of its own, without pauses.

use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use serde_json::{Value, json};
use tokio::task::LocalSet;

use super::book::Book;
use super::client::{Call, Client, as_json};
use super::counters::Counters;
use super::estate::{self, APPS, ORG, Stage, Tokens, party, user};
use super::population::form;
use crate::chance;
use crate::load::Plan;
use crate::process::usage;
use crate::sample::{Sample, fact};

/// How many times as long as other measurements: what the store does in its background is to be in it.
const TIMES_LONGER: u32 = 4;

const FORM_BYTES: usize = 2 * 1024;
/// Larger than what the ledger holds itself.
const ATTACHMENT_BYTES: usize = 64 * 1024;
const RECEIPT_BYTES: usize = 8 * 1024;

const XML: &str = "application/xml";
const PDF: &str = "application/pdf";
const LOCK_HEADER: &str = "altinn-storage-lock-token";

/// A virtual user.
struct Person {
    client: Client,
    number: u64,
    token: String,
    owner: String,
    book: Book,
    attachment: Bytes,
    receipt: Bytes,
}

/// What a call sends.
struct Sent<'s> {
    headers: &'s [(&'s str, String)],
    body: Bytes,
}

impl Sent<'_> {
    fn nothing() -> Self {
        Sent {
            headers: &[],
            body: Bytes::new(),
        }
    }
}

fn kind(kind: &str) -> [(&'static str, String); 1] {
    [("content-type", kind.to_owned())]
}

impl Person {
    /// A call as the user; `name` is what reports call it.
    async fn call(
        &mut self,
        name: &'static str,
        (method, path, status): (&'static str, &str, u16),
        sent: Sent<'_>,
    ) -> Result<Bytes> {
        let token = self.token.clone();
        self.call_as(&token, name, (method, path, status), sent).await
    }

    async fn call_as(
        &mut self,
        token: &str,
        name: &'static str,
        (method, path, status): (&'static str, &str, u16),
        sent: Sent<'_>,
    ) -> Result<Bytes> {
        let call = Call {
            method,
            path,
            token,
            headers: sent.headers,
            body: sent.body,
            status,
        };
        let began = Instant::now();
        let body = self.client.call(call).await?;
        self.book.note(name, began.elapsed());
        Ok(body)
    }

    async fn put_json(&mut self, name: &'static str, path: &str, body: Value) -> Result<Bytes> {
        let sent = Sent {
            headers: &as_json(),
            body: body.to_string().into(),
        };
        self.call(name, ("PUT", path, 200), sent).await
    }

    /// A new data element; its path.
    async fn add(
        &mut self,
        name: &'static str,
        instance: &str,
        query: &str,
        headers: &[(&str, String)],
        body: Bytes,
    ) -> Result<String> {
        let path = format!("{instance}/data?{query}");
        let made = self
            .call(name, ("POST", &path, 201), Sent { headers, body })
            .await?;
        Ok(format!("{instance}/data/{}", id(&made)?))
    }

    /// One life, the `turn`th of this user.
    async fn live(&mut self, turn: u64) -> Result<()> {
        let seed = self.number * 1_000_000 + turn;
        let (instance, model) = self.begin(seed).await?;
        self.fill_in(&instance, &model, seed).await?;
        self.end(&instance, &model, seed).await?;
        self.hand_over(&instance, &model).await
    }

    /// Made, with its form, and shown.
    async fn begin(&mut self, seed: u64) -> Result<(String, String)> {
        let body = json!({"instanceOwner": {"partyId": party(self.number).to_string()},
            "process": estate::in_task(Stage::FormFilling), "status": {}});
        let sent = Sent {
            headers: &as_json(),
            body: body.to_string().into(),
        };
        let path = format!("/instances?appId={}", APPS[0].id());
        let made = self.call("POST instances", ("POST", &path, 201), sent).await?;
        let instance = format!("/instances/{}", id(&made)?);
        let first = form(chance::text(seed, FORM_BYTES));
        let model = self
            .add(
                "POST data: the form",
                &instance,
                "dataType=model",
                &kind(XML),
                first.clone(),
            )
            .await?;
        self.put_json(
            "PUT presentationtexts",
            &format!("{instance}/presentationtexts"),
            json!({"texts": {"name": "Kari"}}),
        )
        .await?;
        self.put_json(
            "PUT datavalues",
            &format!("{instance}/datavalues"),
            json!({"values": {"case": "42"}}),
        )
        .await?;
        let events = ["process_StartEvent", "process_StartTask"];
        let state = estate::in_task(Stage::FormFilling);
        self.go_on("PUT instanceandevents: start", &instance, state, &events)
            .await?;
        self.call("GET instance", ("GET", &instance, 200), Sent::nothing())
            .await?;
        let read = format!("{instance}/readstatus?status=Read");
        self.call("PUT readstatus", ("PUT", &read, 200), Sent::nothing())
            .await?;
        let content = self
            .call("GET data: the form", ("GET", &model, 200), Sent::nothing())
            .await?;
        ensure!(content == first, "other bytes than were sent");
        Ok((instance, model))
    }

    async fn go_on(
        &mut self,
        name: &'static str,
        instance: &str,
        state: Value,
        events: &[&str],
    ) -> Result<Bytes> {
        let id = instance.trim_start_matches("/instances/");
        let events: Vec<Value> = events
            .iter()
            .map(|event| {
                json!({"instanceId": id, "created": estate::now(), "eventType": event,
                    "instanceOwnerPartyId": party(self.number).to_string(),
                    "user": {"userId": user(self.number), "authenticationLevel": 2}})
            })
            .collect();
        let path = format!("{instance}/process/instanceandevents");
        self.put_json(name, &path, json!({"state": state, "events": events}))
            .await
    }

    /// Saved twice, with attachments, one of which goes again.
    async fn fill_in(&mut self, instance: &str, model: &str, seed: u64) -> Result<()> {
        for save in 1..=2 {
            let body = form(chance::text(seed ^ (save << 40), FORM_BYTES));
            let headers = kind(XML);
            let sent = Sent {
                headers: &headers,
                body,
            };
            self.call("PUT data: save", ("PUT", model, 200), sent).await?;
        }
        let name = "attachment; filename=\"soknad.pdf\"; filename*=UTF-8''s%C3%B8knad%20%C3%A6.pdf";
        let headers = [
            ("content-type", PDF.to_owned()),
            ("content-disposition", name.to_owned()),
        ];
        let attachment = self.attachment.clone();
        let path = self
            .add(
                "POST data: 64 KiB",
                instance,
                "dataType=attachment",
                &headers,
                attachment,
            )
            .await?;
        let content = self
            .call("GET data: 64 KiB", ("GET", &path, 200), Sent::nothing())
            .await?;
        ensure!(content == self.attachment, "other bytes than were sent");
        let receipt = self.receipt.clone();
        let path = self
            .add(
                "POST data: 8 KiB",
                instance,
                "dataType=attachment",
                &headers,
                receipt,
            )
            .await?;
        self.call("DELETE data", ("DELETE", &path, 200), Sent::nothing())
            .await?;
        Ok(())
    }

    /// The next step of its process, under a lock: saved, locked, with a receipt, ended.
    async fn end(&mut self, instance: &str, model: &str, seed: u64) -> Result<()> {
        let lock = format!("{instance}/lock");
        let sent = Sent {
            headers: &as_json(),
            body: json!({"ttlSeconds": 300}).to_string().into(),
        };
        let locked = self.call("POST lock", ("POST", &lock, 200), sent).await?;
        let locked: Value = serde_json::from_slice(&locked)?;
        let lock_token = locked["lockToken"].as_str().context("a lock without a token")?;
        let headers = kind(XML);
        let sent = Sent {
            headers: &headers,
            body: form(chance::text(seed ^ (3 << 40), FORM_BYTES)),
        };
        self.call("PUT data: save", ("PUT", model, 200), sent).await?;
        let data_lock = format!("{model}/lock");
        self.call("PUT data lock", ("PUT", &data_lock, 201), Sent::nothing())
            .await?;
        let receipt = self.receipt.clone();
        let query = "dataType=ref-data-as-pdf&generatedFromTask=Task_1";
        self.add("POST data: 8 KiB", instance, query, &kind(PDF), receipt)
            .await?;
        let events = ["process_EndTask", "process_EndEvent", "Submited"];
        self.go_on("PUT instanceandevents: end", instance, estate::ended(), &events)
            .await?;
        let headers = [
            ("content-type", "application/json".to_owned()),
            (LOCK_HEADER, lock_token.to_owned()),
        ];
        let sent = Sent {
            headers: &headers,
            body: json!({"ttlSeconds": 0}).to_string().into(),
        };
        self.call("PATCH lock", ("PATCH", &lock, 204), sent).await?;
        Ok(())
    }

    /// The owner finds it, fetches it, says that it has it; its user looks at what happened.
    async fn hand_over(&mut self, instance: &str, model: &str) -> Result<()> {
        let owner = self.owner.clone();
        let list = format!(
            "/instances?org={ORG}&appId={}&process.isComplete=true&excludeConfirmedBy={ORG}&size=10&order=desc:lastChanged",
            APPS[0].id()
        );
        let found = self
            .call_as(
                &owner,
                "GET instances: the owner's new ones",
                ("GET", &list, 200),
                Sent::nothing(),
            )
            .await?;
        ensure!(!found.starts_with(b"{\"count\":0,"), "the owner finds nothing");
        self.call_as(&owner, "GET data: the form", ("GET", model, 200), Sent::nothing())
            .await?;
        let sent = Sent {
            headers: &as_json(),
            body: json!({"label": "Mottatt", "description": "Saken behandles"})
                .to_string()
                .into(),
        };
        let substatus = format!("{instance}/substatus");
        self.call_as(&owner, "PUT substatus", ("PUT", &substatus, 200), sent)
            .await?;
        let complete = format!("{instance}/complete");
        self.call_as(&owner, "POST complete", ("POST", &complete, 200), Sent::nothing())
            .await?;
        let id = instance.trim_start_matches("/instances/");
        let event = json!({"instanceId": id, "created": estate::now(), "eventType": "MessageRead",
            "instanceOwnerPartyId": party(self.number).to_string(),
            "user": {"userId": user(self.number), "authenticationLevel": 2}});
        let sent = Sent {
            headers: &as_json(),
            body: event.to_string().into(),
        };
        let events = format!("{instance}/events");
        self.call("POST events", ("POST", &events, 201), sent).await?;
        self.call("GET events", ("GET", &events, 200), Sent::nothing())
            .await?;
        let history = format!("{instance}/process/history");
        self.call("GET history", ("GET", &history, 200), Sent::nothing())
            .await?;
        let own = format!(
            "/instances?instanceOwner.partyId={}&size=10&order=desc:lastChanged",
            party(self.number)
        );
        self.call(
            "GET instances: the user's newest",
            ("GET", &own, 200),
            Sent::nothing(),
        )
        .await?;
        Ok(())
    }
}

/// The id in an answer.
fn id(body: &[u8]) -> Result<String> {
    let body: Value = serde_json::from_slice(body)?;
    Ok(body["id"].as_str().context("an answer without an id")?.to_owned())
}

/// Lives for a time and measures.
pub async fn run(plan: &Plan, url: &str, admin: &str, tokens: &Tokens) -> Result<()> {
    let mut people = Vec::new();
    for (number, token) in (0..).zip(tokens.users.iter()) {
        people.push(Person {
            client: Client::open(url).await?,
            number,
            token: token.clone(),
            owner: tokens.owner.to_string(),
            book: Book::default(),
            attachment: chance::bytes(5, ATTACHMENT_BYTES).into(),
            receipt: chance::bytes(6, RECEIPT_BYTES).into(),
        });
    }
    let users = people.len();
    let counted = Counters::read(admin).await?;
    let before = usage(&plan.pids)?;
    let own_before = usage(&[std::process::id()])?.cpu_seconds;
    let began = Instant::now();
    let deadline = began + plan.time * TIMES_LONGER;
    let (book, lives) = live(people, deadline).await?;
    let elapsed = began.elapsed();
    let after = usage(&plan.pids)?;
    let counted = Counters::read(admin).await?.since(counted);
    let mut sample = Sample::new("all calls");
    sample.latencies = book.all();
    sample.elapsed = elapsed;
    sample.cpu_seconds = after.cpu_seconds - before.cpu_seconds;
    sample.own_cpu_seconds = usage(&[std::process::id()])?.cpu_seconds - own_before;
    sample.memory_bytes = after.memory_bytes;
    let requests = sample.latencies.len() as f64;
    for (name, value) in [
        ("life_users", users as f64),
        ("life_lives", lives as f64),
        ("life_requests", requests),
        ("life_seconds", elapsed.as_secs_f64()),
        ("life_cpu_seconds", sample.cpu_seconds),
        ("life_generator_cpu_seconds", sample.own_cpu_seconds),
        ("life_commits", counted.commits),
        ("life_syncs", counted.syncs),
        ("life_conflicts", counted.conflicts),
    ] {
        fact(name, value, 0.0);
    }
    sample.print();
    book.print(elapsed);
    Ok(())
}

/// Lives until the deadline; a life that has begun is lived to its end. All calls, and the number of lives.
async fn live(people: Vec<Person>, deadline: Instant) -> Result<(Book, u64)> {
    let local = LocalSet::new();
    let tasks: Vec<_> = people
        .into_iter()
        .map(|mut person| {
            local.spawn_local(async move {
                let mut turn = 0;
                while Instant::now() < deadline {
                    let number = person.number;
                    let life = person.live(turn).await;
                    life.with_context(|| format!("life {turn} of user {number}"))?;
                    turn += 1;
                }
                anyhow::Ok((person.book, turn))
            })
        })
        .collect();
    let mut all = (Book::default(), 0);
    local
        .run_until(async {
            for task in tasks {
                let (book, lives) = task.await??;
                all.0.merge(book);
                all.1 += lives;
            }
            anyhow::Ok(())
        })
        .await?;
    Ok(all)
}
