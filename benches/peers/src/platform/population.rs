//! Fills the store through the API, as owners do who bring their instances along: each instance in its stage, one in
//! five confirmed, one in four with a data element, one in ten of those in
//! their first task with a presentation text.

use std::cell::Cell;
use std::rc::Rc;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use serde_json::{Value, json};

use super::client::{Call, Client, as_json};
use super::estate::{self, Estate, Stage, Tokens};
use crate::chance;
use crate::load::{Plan, Until, Worker, measure};

/// Connections; more than a core needs, so that commits share syncs.
const CONNECTIONS: usize = 64;

/// One instance in so many has an element, and a text. Drawn: by number, they would all be the same parties'.
const WITH_ELEMENT: u64 = 4;
const WITH_TEXT: u64 = 10;
const ELEMENT_BYTES: usize = 1_024;

/// A connection that makes instances.
struct Maker {
    client: Client,
    estate: Estate,
    tokens: Tokens,
    element: Bytes,
    calls: Rc<Cell<u64>>,
}

impl Maker {
    async fn call(
        &mut self,
        token: &str,
        (method, path, status): (&'static str, &str, u16),
        headers: &[(&str, String)],
        body: Bytes,
    ) -> Result<Bytes> {
        self.calls.set(self.calls.get() + 1);
        let call = Call {
            method,
            path,
            token,
            headers,
            body,
            status,
        };
        self.client.call(call).await
    }
}

impl Worker for Maker {
    async fn operate(&mut self, n: u64) -> Result<()> {
        let (app, stage) = (estate::app_of(n), estate::stage_of(n));
        let token = self.tokens.of(app).clone();
        let owner = json!({"partyId": self.estate.party_of(n).to_string()});
        let body = match stage {
            Stage::FormFilling | Stage::Confirmation => {
                json!({"instanceOwner": owner, "process": estate::in_task(stage), "status": {}})
            }
            Stage::Ended | Stage::Confirmed => {
                let status = json!({"isArchived": true, "archived": estate::now()});
                json!({"instanceOwner": owner, "process": estate::ended(), "status": status})
            }
        };
        let path = format!("/instances?appId={}", app.id());
        let body = body.to_string().into();
        let made = self.call(&token, ("POST", &path, 201), &as_json(), body).await?;
        let made: Value = serde_json::from_slice(&made)?;
        let path = format!(
            "/instances/{}",
            made["id"].as_str().context("an instance without an id")?
        );
        if chance::number(n ^ 0x0E1E_0000_0000).is_multiple_of(WITH_ELEMENT) {
            let data = format!("{path}/data?dataType=model");
            let headers = [("content-type", "application/xml".to_owned())];
            let element = self.element.clone();
            self.call(&token, ("POST", &data, 201), &headers, element).await?;
        }
        let has_text = chance::number(n ^ 0x7E87_0000_0000).is_multiple_of(WITH_TEXT);
        if has_text && stage == Stage::FormFilling {
            let texts = format!("{path}/presentationtexts");
            let body = json!({"texts": {"name": format!("Kari {n}")}}).to_string().into();
            self.call(&token, ("PUT", &texts, 200), &as_json(), body).await?;
        }
        if stage == Stage::Confirmed {
            let complete = format!("{path}/complete");
            self.call(&token, ("POST", &complete, 200), &[], Bytes::new())
                .await?;
        }
        Ok(())
    }
}

/// Makes all instances; how many calls it took.
pub async fn run(plan: &Plan, url: &str, estate: Estate, tokens: &Tokens) -> Result<u64> {
    let calls = Rc::new(Cell::new(0));
    let mut makers = Vec::new();
    for _ in 0..CONNECTIONS {
        makers.push(Maker {
            client: Client::open(url).await?,
            estate,
            tokens: tokens.clone(),
            element: form(chance::text(1, ELEMENT_BYTES)),
            calls: calls.clone(),
        });
    }
    let until = Until::Number(estate.instances);
    measure(plan, "load: an instance", until, makers).await?;
    Ok(calls.get())
}

/// A form with this in it.
pub fn form(text: String) -> Bytes {
    format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?><skjema><navn>Kari</navn><tekst>{text}</tekst></skjema>"
    )
    .into()
}
