//! Instances and data elements of Platform Storage. The server gives them their ids, so one whose
//! request went unanswered is looked for by its name: elements have one, instances don't.

use anyhow::{Result, ensure};
use http::Method;
use serde_json::{Value, json};

use crate::client::{Answer, Client, Headers, Site};
use crate::estate::{APP, ORG, PARTY};
use crate::load::{Item, Kind};

/// The application's metadata; repeatable.
pub(crate) fn prepare(client: &Client, site: &Site) -> Result<()> {
    let body = json!({"id": format!("{ORG}/{APP}"), "org": ORG, "title": {"nb": "nodes"}, "processId": "p",
        "dataTypes": [{"id": "attachment", "maxCount": 0}]});
    let path = format!("/applications?appId={ORG}/{APP}");
    let answer = client.studio(
        site,
        &Method::POST,
        &path,
        &as_json(),
        body.to_string().as_bytes(),
    )?;
    ensure!(answer.status == 201, "the application: {}", answer.shown());
    Ok(())
}

/// What an instance is made from; `hash` is what it is known by.
pub(crate) fn body(hash: &str) -> Vec<u8> {
    let task = json!({"elementId": "Task_1", "altinnTaskType": "data", "flow": 2,
        "flowType": "CompleteCurrentMoveToNext"});
    json!({"instanceOwner": {"partyId": PARTY}, "process": {"currentTask": task}, "dataValues": {"hash": hash}})
        .to_string()
        .into_bytes()
}

/// Creates an instance or an element.
pub(crate) fn put(client: &Client, site: &Site, item: &Item, body: &[u8]) -> Result<Answer> {
    let (path, headers) = if item.kind == Kind::Instance {
        (format!("/instances?appId={ORG}/{APP}"), as_json())
    } else {
        (
            format!("/instances/{}/data?dataType=attachment", item.owner),
            as_file(&item.name),
        )
    };
    client.platform(site, &Method::POST, &path, &headers, Some(body))
}

/// Reads it; 404 if it isn't there.
pub(crate) fn get(client: &Client, site: &Site, item: &Item) -> Result<Answer> {
    let read = |path: &str| client.platform(site, &Method::GET, path, &Vec::new(), None);
    let instance = match (item.kind, &item.id) {
        (Kind::Instance, Some(id)) => return read(&format!("/instances/{id}")),
        (_, Some(id)) => return read(&format!("/instances/{}/data/{id}", item.owner)),
        (_, None) => read(&format!("/instances/{}", item.owner))?,
    };
    if instance.status != 200 {
        return Ok(instance);
    }
    let whole: Value = serde_json::from_slice(&instance.body)?;
    let elements = whole.get("data").and_then(Value::as_array);
    let found = elements
        .into_iter()
        .flatten()
        .find(|element| element.get("filename").and_then(Value::as_str) == Some(&item.name));
    match found.and_then(|element| element.get("id")?.as_str()) {
        Some(id) => read(&format!("/instances/{}/data/{id}", item.owner)),
        None => Ok(Answer {
            status: 404,
            ..instance
        }),
    }
}

/// The hash that an instance is known by.
pub(crate) fn hash_of(answer: &Answer) -> Option<String> {
    let whole: Value = serde_json::from_slice(&answer.body).ok()?;
    Some(whole.get("dataValues")?.get("hash")?.as_str()?.to_owned())
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
