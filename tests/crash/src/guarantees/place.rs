//! What all parts of the test share: the app, the callers, how requests look, what answers say.

use anyhow::{Context as _, Result, ensure};
use http::Method;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::client::{Answer, Client, Headers};

pub(super) const ORG: &str = "ttd";
pub(super) const APP: &str = "ttd/guarantees";
pub(super) const PARTY: &str = "501337";

/// Contents of this data type wait for a scan.
pub(super) const SCANNED: &str = "scanned";
pub(super) const ATTACHMENT: &str = "attachment";

/// Who calls.
#[derive(Debug, Clone, Default)]
pub(super) struct Callers {
    pub(super) user: String,
    pub(super) owner: String,
    pub(super) studio: String,
}

impl Callers {
    /// New tokens from the server.
    pub(super) fn of(client: &Client) -> Result<Self> {
        let scope = "altinn:serviceowner/instances.read";
        Ok(Self {
            user: client.token("GetTestUserToken/1337?authenticationLevel=2")?,
            owner: client.token(&format!(
                "GetTestOrgToken/{ORG}?orgNumber=991825827&scopes={scope}"
            ))?,
            studio: client.token("GetTestStudioToken")?,
        })
    }
}

/// The app's metadata with this title.
pub(super) fn application(title: &str) -> Value {
    json!({"id": APP, "org": ORG, "title": {"nb": title}, "processId": "p", "dataTypes": [
        {"id": ATTACHMENT, "maxCount": 0}, {"id": SCANNED, "maxCount": 0, "enableFileScan": true}]})
}

/// Publishes the app.
pub(super) fn publish(client: &Client, callers: &Callers, title: &str) -> Result<()> {
    let path = format!("/applications?appId={APP}");
    let body = application(title).to_string();
    let answer = client.platform(
        &Method::POST,
        &path,
        &callers.studio,
        &as_json(),
        Some(body.as_bytes()),
    )?;
    ensure!(
        answer.status == 201,
        "the application: {} {}",
        answer.status,
        shown(&answer)
    );
    Ok(())
}

/// A process in its `flow`-th task.
pub(super) fn in_task(flow: u64) -> Value {
    json!({"started": "2026-01-01T00:00:00Z", "startEvent": "Start", "currentTask": {"flow": flow,
        "elementId": format!("Task_{flow}"), "altinnTaskType": "data", "flowType": "CompleteCurrentMoveToNext"}})
}

/// Creates an instance with this data value; its id and the answer.
pub(super) fn instantiate(client: &Client, token: &str, mark: &str) -> Result<(String, Value)> {
    let body =
        json!({"instanceOwner": {"partyId": PARTY}, "process": in_task(1), "dataValues": {"mark": mark}});
    let path = format!("/instances?appId={APP}");
    let answer = client.platform(
        &Method::POST,
        &path,
        token,
        &as_json(),
        Some(body.to_string().as_bytes()),
    )?;
    ensure!(
        answer.status == 201,
        "creating an instance: {} {}",
        answer.status,
        shown(&answer)
    );
    let made: Value = serde_json::from_slice(&answer.body)?;
    let id = text(&made, "/id")
        .context("an instance without an id")?
        .to_owned();
    Ok((id, made))
}

pub(super) fn as_json() -> Headers {
    vec![("content-type", "application/json".to_owned())]
}

pub(super) fn as_file(file: &str) -> Headers {
    vec![
        ("content-type", "application/octet-stream".to_owned()),
        ("content-disposition", format!("attachment; filename={file}")),
    ]
}

/// What an answer's body begins with.
pub(super) fn shown(answer: &Answer) -> String {
    String::from_utf8_lossy(&answer.body).chars().take(300).collect()
}

/// A text in JSON.
pub(super) fn text<'a>(value: &'a Value, pointer: &str) -> Option<&'a str> {
    value.pointer(pointer)?.as_str()
}

/// A boolean in JSON; absent is false.
pub(super) fn flag(value: &Value, pointer: &str) -> bool {
    value.pointer(pointer).and_then(Value::as_bool).unwrap_or(false)
}

/// What is in an array in JSON.
pub(super) fn items<'a>(value: &'a Value, pointer: &str) -> impl Iterator<Item = &'a Value> {
    value
        .pointer(pointer)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}

/// When an answer says that something was last changed.
pub(super) fn last_changed(value: &Value, pointer: &str) -> Result<Timestamp> {
    let said = text(value, pointer).with_context(|| format!("no {pointer}"))?;
    said.parse().with_context(|| format!("{pointer}: {said}"))
}

/// A whole number in a header.
pub(super) fn number(answer: &Answer, header: &str) -> Result<u64> {
    let value = answer.headers.get(header).and_then(|value| value.to_str().ok());
    let value = value.with_context(|| format!("no {header}"))?;
    value.parse().with_context(|| format!("{header}: {value}"))
}
