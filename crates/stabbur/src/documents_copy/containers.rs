//! Which containers the source has, and what of one's properties is kept here.

use anyhow::{Context as _, Result, ensure};
use reqwest::StatusCode;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::feed::list;
use super::source::Source;

/// The properties that containers here have.
const KEPT: [&str; 11] = [
    "id",
    "partitionKey",
    "indexingPolicy",
    "uniqueKeyPolicy",
    "defaultTtl",
    "conflictResolutionPolicy",
    "geospatialConfig",
    "computedProperties",
    "changeFeedPolicy",
    "vectorEmbeddingPolicy",
    "fullTextPolicy",
];

/// What a container can't be without.
const NEEDED: [&str; 2] = ["id", "partitionKey"];

#[derive(Deserialize)]
struct Containers {
    #[serde(rename = "DocumentCollections")]
    containers: Vec<Listed>,
}

#[derive(Deserialize)]
struct Listed {
    id: String,
}

/// A container as the source describes it.
#[derive(Debug, Clone)]
pub(super) struct Described {
    pub(super) id: String,
    /// Another one of its name has another one.
    pub(super) rid: String,
    /// What it is made with here.
    pub(super) resource: Value,
}

/// The ids of the containers of a database; those that are asked for, if any are.
pub(super) async fn names(source: &Source, database: &str, asked: &[String]) -> Result<Vec<String>> {
    let mut found = Vec::new();
    list(source, &["dbs", database, "colls"], |body| {
        let page: Containers = serde_json::from_slice(body)?;
        found.extend(page.containers.into_iter().map(|listed| listed.id));
        Ok(())
    })
    .await
    .with_context(|| format!("the containers of database {database:?}"))?;
    let missing: Vec<_> = asked.iter().filter(|id| !found.contains(id)).collect();
    ensure!(
        missing.is_empty(),
        "the source's database {database:?} has no container {missing:?}; it has {found:?}"
    );
    if !asked.is_empty() {
        found.retain(|id| asked.contains(id));
    }
    Ok(found)
}

/// Reads a container's properties.
pub(super) async fn describe(
    source: &Source,
    database: &str,
    id: &str,
    without: &[String],
) -> Result<Described> {
    let answer = source.get(&["dbs", database, "colls", id], &[]).await?;
    ensure!(
        answer.status == StatusCode::OK,
        "the source answered {} for container {id:?}",
        answer.status
    );
    let resource: Map<String, Value> = serde_json::from_slice(&answer.body)
        .with_context(|| format!("the source's description of container {id:?} can't be read"))?;
    let rid = resource.get("_rid").and_then(Value::as_str).unwrap_or_default();
    Ok(Described {
        id: id.to_owned(),
        rid: rid.to_owned(),
        resource: kept(&resource, without).with_context(|| format!("container {id:?}"))?,
    })
}

/// Whether a property says nothing.
fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Number(number) => number.as_i64() == Some(0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
        Value::Bool(true) => false,
    }
}

/// What is kept of a container's properties: all of them, or it is refused.
fn kept(resource: &Map<String, Value>, without: &[String]) -> Result<Value> {
    for property in without {
        ensure!(
            !NEEDED.contains(&property.as_str()),
            "--without {property}: there is no container without it"
        );
    }
    let mut kept = Map::new();
    for (name, value) in resource {
        if name.starts_with('_') || without.contains(name) {
            continue;
        }
        if KEPT.contains(&name.as_str()) {
            kept.insert(name.clone(), value.clone());
            continue;
        }
        ensure!(
            is_nothing(value),
            "has the property {name}, which isn't kept here: {value}. To copy it without, add --without {name}"
        );
    }
    Ok(Value::Object(kept))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn kept_of(resource: &Value, without: &[&str]) -> Result<Value> {
        let without: Vec<String> = without.iter().map(|&name| name.to_owned()).collect();
        kept(resource.as_object().unwrap(), &without)
    }

    #[test]
    fn nothing_is_dropped_unasked() {
        let plain = json!({"id": "c", "partitionKey": {"paths": ["/a"]}, "defaultTtl": -1});
        let mut listed = plain.clone();
        for (name, value) in [
            ("_rid", json!("x")),
            ("_docs", json!("docs/")),
            ("analyticalStorageTtl", json!(0)),
            ("clientEncryptionPolicy", Value::Null),
            ("materializedViews", json!([])),
        ] {
            listed[name] = value;
        }
        assert_eq!(kept_of(&listed, &[]).unwrap(), plain);
        listed["clientEncryptionPolicy"] = json!({"includedPaths": ["/secret"]});
        let refused = kept_of(&listed, &[]).unwrap_err().to_string();
        assert!(refused.contains("--without clientEncryptionPolicy"), "{refused}");
        assert_eq!(kept_of(&listed, &["clientEncryptionPolicy"]).unwrap(), plain);
        let other = json!({"id": "c", "partitionKey": {"paths": ["/a"]}});
        assert_eq!(
            kept_of(&listed, &["clientEncryptionPolicy", "defaultTtl"]).unwrap(),
            other
        );
        assert!(kept_of(&plain, &["partitionKey"]).is_err());
    }
}
