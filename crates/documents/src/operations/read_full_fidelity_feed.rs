//! Read Change Feed, all versions and deletes ("full fidelity" on the wire): every change of every
//! item, in the order of commits, for as long as the container keeps them.

use serde_json::{Map, Value, json};

use super::read_change_feed::{Elements, WIRE_FORMAT, position};
use crate::error::DocumentsError;
use crate::query::Scope;
use crate::rules::partition_key::PartitionKeyDefinition;
use crate::store::change_feed::PageEnd;
use crate::store::records;
use crate::store::versions::{Change, VersionRecord, read_versions};
use crate::wire::answer::Answer;
use crate::wire::call::Call;
use crate::wire::headers;

pub(super) async fn run(call: &Call<'_>) -> Result<Answer, DocumentsError> {
    if call.header(headers::CHANGE_FEED_WIRE_FORMAT) != Some(WIRE_FORMAT) {
        return Err(DocumentsError::bad_request(format!(
            "All versions and deletes are only served in the form that {} {WIRE_FORMAT} asks for.",
            headers::CHANGE_FEED_WIRE_FORMAT
        )));
    }
    let (snapshot, container) = call.snapshot_of_container().await?;
    let Some(kept) = container.versions else {
        return Err(DocumentsError::bad_request(
            "The container doesn't keep all versions and deletes. Set changeFeedPolicy.retentionDuration (minutes) on it; what is written from then on is kept.",
        ));
    };
    let scope = call.scope(&container)?;
    let head = snapshot.sequence();
    let after = match (call.if_none_match(), call.header(headers::IF_MODIFIED_SINCE)) {
        (Some(tags), _) => position(&tags, head)?,
        (None, _) => {
            return Err(DocumentsError::bad_request(
                "All versions and deletes can't be read from the beginning or from a time: start from now (If-None-Match: *) or from a continuation.",
            ));
        }
    };
    let now = call.documents.clock.now().as_second();
    let end = PageEnd::new(call.items_max()?, call.documents.clock.as_ref());
    let page = read_versions(snapshot.as_ref(), kept, after, now, &end, |record| {
        Ok(scope == Scope::Whole || scope.admits(&container, &parse(record)?)?)
    });
    let page = page.await?;
    let mut elements = Elements::default();
    for (record, sequence) in &page.changes {
        let (operation, expired) = match record.change {
            Change::Create => ("create", None),
            Change::Replace => ("replace", None),
            Change::Delete => ("delete", Some(false)),
            Change::Expire => ("delete", Some(true)),
        };
        let mut metadata = json!({"operationType": operation, "lsn": sequence, "crts": record.ts});
        if let Value::Object(metadata) = &mut metadata {
            if let Some(previous) = record.previous(*sequence) {
                metadata.insert("previousImageLSN".to_owned(), json!(previous));
            }
            if let Some(expired) = expired {
                let document = parse(record)?;
                metadata.insert("timeToLiveExpired".to_owned(), json!(expired));
                metadata.insert("id".to_owned(), document.get("id").cloned().unwrap_or_default());
                metadata.insert(
                    "partitionKey".to_owned(),
                    partition_key(&container.partition_key, &document),
                );
            }
        }
        let images: &[u8] = if expired.is_some() {
            b"{\"current\":{},\"previous\":"
        } else {
            b"{\"current\":"
        };
        let metadata = format!(",\"metadata\":{metadata}}}");
        elements.add(&[images, &record.text, metadata.as_bytes()]);
    }
    // A position that stood still would be too old one day, though nothing was missed.
    let nothing_up_to = head.max(after);
    Ok(elements.into_answer(&container, page.through, page.more, nothing_up_to, head))
}

fn parse(record: &VersionRecord) -> Result<Value, DocumentsError> {
    records::decode(&record.text, "a version's text")
}

/// The values by their paths, without the slash before them.
fn partition_key(definition: &PartitionKeyDefinition, document: &Value) -> Value {
    let named = definition.paths.iter().filter_map(|path| {
        let value = path.iter().try_fold(document, |value, name| value.get(name))?;
        Some((path.join("/"), value.clone()))
    });
    Value::Object(named.collect::<Map<_, _>>())
}
