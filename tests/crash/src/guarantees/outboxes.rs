//! What the scanner and the portal must have heard when nothing waits any longer.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Result, ensure};
use http::Method;
use ledger::clock::{Clock as _, SystemClock};

use super::place::{APP, PARTY, as_json, shown, text};
use super::promise::{Guarantee, Promises};
use super::receiver::{Message, Receiver};
use super::writer::Told;
use crate::client::Client;

/// The server's clock is moved on by so much: the longest pause before a message is tried again, and the longest that one
/// waits for others of its instance.
const FORWARD_SECONDS: u64 = 700;

/// Longest wait for all messages to be delivered.
const DRAIN_SECONDS_MAX: u64 = 180;

/// Has everything delivered that waits.
pub(super) fn drain(client: &Client, receivers: [&Receiver; 2]) -> Result<()> {
    for receiver in receivers {
        receiver.be_good();
    }
    let body = format!("{{\"advanceSeconds\": {FORWARD_SECONDS}}}");
    let url = format!("{}/dev/clock", client.endpoints.admin);
    let answer = client.send(&Method::POST, &url, &as_json(), Some(body.as_bytes()))?;
    ensure!(
        answer.status == 200,
        "the clock: {} {}",
        answer.status,
        shown(&answer)
    );
    let began = SystemClock.monotonic();
    loop {
        let (scans, portal) = (
            client.metric("platform_scans_waiting")?,
            client.metric("platform_portal_waiting")?,
        );
        if scans == 0 && portal == 0 {
            let dead = client.metric("platform_messages_put_aside")?;
            ensure!(dead == 0, "{dead} messages were put aside");
            return Ok(());
        }
        let waited = SystemClock.monotonic().saturating_sub(began);
        ensure!(
            waited < Duration::from_secs(DRAIN_SECONDS_MAX),
            "{scans} scans and {portal} messages for the portal still wait after {waited:?}"
        );
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Whether the scanner was asked about every content that waits for it.
pub(super) fn check_scans<'a>(
    told: impl Iterator<Item = &'a Told>,
    messages: &[Message],
    promises: &mut Promises,
) {
    let asked: BTreeSet<(&str, &str)> = messages
        .iter()
        .filter_map(|message| {
            let of = |pointer: &str| text(&message.body, pointer);
            of("/dataElementId").zip(of("/blobVersionId"))
        })
        .collect();
    for (element, version) in told.flat_map(|told| &told.waiting) {
        let was_asked = asked.contains(&(element.as_str(), version.as_str()));
        promises.check(Guarantee::Scans, was_asked, || {
            format!("element {element}, content {version}: its scan was never asked for")
        });
    }
}

/// Whether the portal was told of every instance, of its creation first, and behind its last event.
pub(super) fn check_portal<'a>(
    told: impl Iterator<Item = &'a Told>,
    messages: &[Message],
    promises: &mut Promises,
) {
    let mut of_instance: BTreeMap<&str, Vec<&Message>> = BTreeMap::new();
    for message in messages {
        let guid = text(&message.body, "/InstanceId").unwrap_or_default();
        of_instance.entry(guid).or_default().push(message);
    }
    for told in told {
        let heard = of_instance.get(told.guid.as_str());
        let heard = heard.map(Vec::as_slice).unwrap_or_default();
        let first = heard.first().map(|message| &message.body);
        let is_right = first.is_some_and(|body| {
            let says = |pointer: &str, wanted: &str| text(body, pointer) == Some(wanted);
            says("/AppId", APP) && says("/PartyId", PARTY) && says("/EventType", "Created")
        });
        promises.check(Guarantee::Portal, is_right, || {
            format!("the portal was first told of {}: {first:?}", told.guid)
        });
        let is_last = heard.iter().any(|message| message.at >= told.from);
        promises.check(Guarantee::Portal, is_last, || {
            format!("the portal wasn't told of the last event of {}", told.guid)
        });
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_wasnt_heard_is_told() {
        let told = [Told {
            guid: "g".to_owned(),
            from: Duration::from_secs(5),
            waiting: vec![("e".to_owned(), "v".to_owned())],
        }];
        let message = |seconds: u64, event: &str| Message {
            at: Duration::from_secs(seconds),
            body: json!({"AppId": APP, "PartyId": PARTY, "InstanceId": "g", "EventType": event}),
        };
        let portal = |messages: &[Message]| {
            let mut promises = Promises::default();
            check_portal(told.iter(), messages, &mut promises);
            promises.faults(Guarantee::Portal, false).len()
        };
        assert_eq!(portal(&[message(1, "Created"), message(6, "Saved")]), 0);
        assert_eq!(portal(&[message(1, "Created")]), 1, "the last event");
        assert_eq!(portal(&[message(6, "Saved")]), 1, "the first one");
        assert_eq!(portal(&[]), 2);
        let scans = |version: &str| {
            let body = json!({"dataElementId": "e", "blobVersionId": version});
            let mut promises = Promises::default();
            let at = Duration::ZERO;
            check_scans(told.iter(), &[Message { at, body }], &mut promises);
            promises.faults(Guarantee::Scans, false).len()
        };
        assert_eq!((scans("v"), scans("w")), (0, 1));
    }
}
