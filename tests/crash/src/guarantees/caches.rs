//! Publishes an app's metadata and texts again and again, and reads them at once.

use anyhow::{Result, ensure};
use http::Method;
use serde_json::{Value, json};

use super::place::{APP, Callers, as_json, publish, shown, text};
use super::promise::{Guarantee, Promises};
use crate::client::Client;
use crate::report::Report;

/// What is published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Title,
    Text,
}

/// The publisher.
#[derive(Debug, Default)]
pub(super) struct Publisher {
    next: u64,
    title: u64,
    text: u64,
    under_way: Option<What>,
    pub(super) promises: Promises,
}

impl Publisher {
    pub(super) fn step(&mut self, client: &Client, callers: &Callers, report: &mut Report) -> Result<()> {
        self.next += 1;
        let what = if self.next.is_multiple_of(2) {
            What::Title
        } else {
            What::Text
        };
        self.under_way = Some(what);
        write(client, callers, what, self.next)?;
        self.under_way = None;
        *self.last(what) = self.next;
        let is = read(client, callers, what)?;
        self.promises.check(Guarantee::Caches, is == self.next, || {
            format!("{what:?} {} was published, {is} is read", self.next)
        });
        report.acknowledge(Guarantee::Caches.name());
        Ok(())
    }

    fn last(&mut self, what: What) -> &mut u64 {
        match what {
            What::Title => &mut self.title,
            What::Text => &mut self.text,
        }
    }

    /// Compares with what is there behind a kill.
    pub(super) fn settle(&mut self, client: &Client, callers: &Callers) -> Result<()> {
        let under_way = self.under_way.take();
        for what in [What::Title, What::Text] {
            let last = *self.last(what);
            if last == 0 && under_way != Some(what) {
                continue;
            }
            let is = read(client, callers, what)?;
            let is_new = under_way == Some(what) && is == self.next;
            if under_way == Some(what) {
                self.promises.killed(Guarantee::Caches, is_new);
            }
            self.promises.check(Guarantee::Caches, is_new || is == last, || {
                format!("{what:?} {last} was published, {is} is there behind a kill")
            });
            *self.last(what) = is;
        }
        Ok(())
    }
}

fn write(client: &Client, callers: &Callers, what: What, number: u64) -> Result<()> {
    match what {
        What::Title => publish(client, callers, &number.to_string()),
        What::Text => {
            let body = json!({"language": "nb", "resources": [{"id": "n", "value": number.to_string()}]});
            let path = format!("/applications/{APP}/texts");
            let answer = client.platform(
                &Method::POST,
                &path,
                &callers.studio,
                &as_json(),
                Some(body.to_string().as_bytes()),
            )?;
            ensure!(
                answer.status == 200,
                "a text: {} {}",
                answer.status,
                shown(&answer)
            );
            Ok(())
        }
    }
}

/// The number that is read; 0 if there is none.
fn read(client: &Client, callers: &Callers, what: What) -> Result<u64> {
    let (path, pointer) = match what {
        What::Title => (format!("/applications/{APP}"), "/title/nb"),
        What::Text => (format!("/applications/{APP}/texts/nb"), "/resources/0/value"),
    };
    let answer = client.platform(&Method::GET, &path, &callers.user, &Vec::new(), None)?;
    let value: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let number = text(&value, pointer).and_then(|number| number.parse().ok());
    Ok(number.unwrap_or(0))
}
