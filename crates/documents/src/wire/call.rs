//! A request as operations see it: authenticated, its body read, its path resolved to ids.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method};
use http_semantics::etag::TagList;
use ledger::Snapshot;
use serde_json::Value;

use super::{headers, session};
use crate::error::DocumentsError;
use crate::limits::{
    AUTOSCALE_RUS_MIN, COMMIT_ATTEMPTS_MAX, PARTITION_KEY_BYTES_MAX, PRINCIPALS_LISTED_MAX,
    SESSION_WAIT_MILLISECONDS_MAX, THROUGHPUT_RUS_MIN,
};
use crate::query::{self, ItemsRequest, Scope};
use crate::rules::index_policy::IndexingDirective;
use crate::rules::partition_key::PartitionKey;
use crate::rules::{binary_json, hybrid_row, json, resource_id};
use crate::store::Container;
use crate::store::records::Throughput;
use crate::store::scripts::ScriptKind;
use crate::store::users::User;
use crate::{Account, Documents};

/// A request.
pub(crate) struct Call<'a> {
    pub(crate) documents: &'a Documents,
    pub(crate) account: &'a Account,
    pub(crate) method: &'a Method,
    pub(crate) headers: &'a HeaderMap,
    /// The path's segments, decoded; ids, also where the client sent resource ids.
    pub(crate) segments: Vec<String>,
    pub(crate) body: Bytes,
    /// `https://host:port/`.
    pub(crate) endpoint: String,
}

/// Whether a header is `true`, in any case.
pub(crate) fn flag(headers: &HeaderMap, name: &str) -> bool {
    headers
        .get(name)
        .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"true"))
}

impl Call<'_> {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    pub(crate) fn flag(&self, name: &str) -> bool {
        flag(self.headers, name)
    }

    pub(crate) fn segment(&self, at: usize) -> &str {
        self.segments.get(at).map(String::as_str).unwrap_or_default()
    }

    /// The user that the path names.
    pub(crate) async fn user(&self, snapshot: &dyn Snapshot) -> Result<User, DocumentsError> {
        let (database, user) = (self.segment(1), self.segment(3));
        self.documents
            .user(snapshot, &self.account.name, database, user)
            .await
    }

    /// Whether a write's answer may leave the body away.
    pub(crate) fn wants_minimal(&self) -> bool {
        self.header(headers::PREFER)
            .is_some_and(|prefer| prefer.eq_ignore_ascii_case("return=minimal"))
    }

    pub(crate) fn if_match(&self) -> Option<TagList> {
        self.header(headers::IF_MATCH)
            .filter(|text| !text.is_empty())
            .map(TagList::parse)
    }

    pub(crate) fn if_none_match(&self) -> Option<TagList> {
        self.header(headers::IF_NONE_MATCH)
            .filter(|text| !text.is_empty())
            .map(TagList::parse)
    }

    /// The body as JSON text, whether it came as text or in the binary form.
    pub(crate) fn body_text(&self) -> Result<Bytes, DocumentsError> {
        match self.body.first() {
            Some(&binary_json::FIRST_BYTE) => Ok(binary_json::to_text(&self.body)?.into()),
            Some(&hybrid_row::FIRST_BYTE) => Err(DocumentsError::bad_request(
                "The body is in the HybridRow format, in which only batches are sent.",
            )),
            _ => Ok(self.body.clone()),
        }
    }

    /// The body of a batch: rows, or as [`Call::body_text`].
    pub(crate) fn batch_body(&self) -> Result<Bytes, DocumentsError> {
        match self.body.first() {
            Some(&hybrid_row::FIRST_BYTE) => Ok(self.body.clone()),
            _ => self.body_text(),
        }
    }

    pub(crate) fn json_body(&self) -> Result<Value, DocumentsError> {
        json::parse(&self.body_text()?).map(|parsed| parsed.value)
    }

    /// A query's text and parameters.
    pub(crate) fn query_body(&self) -> Result<(String, Vec<(String, Value)>), DocumentsError> {
        let mut body = self.json_body()?;
        let Some(Value::String(sql)) = body.get_mut("query").map(Value::take) else {
            return Err(DocumentsError::bad_request(
                "The query body must be a JSON object with the string \"query\".",
            ));
        };
        let mut parameters = Vec::new();
        if let Some(Value::Array(list)) = body.get_mut("parameters").map(Value::take) {
            for mut parameter in list {
                let Some(Value::String(name)) = parameter.get_mut("name").map(Value::take) else {
                    return Err(DocumentsError::bad_request("Each query parameter needs a name."));
                };
                // A parameter without a value is undefined, which JSON can't say otherwise.
                if let Some(value) = parameter.get_mut("value").map(Value::take) {
                    parameters.push((name, value));
                }
            }
        }
        Ok((sql, parameters))
    }

    /// The partition key header.
    pub(crate) fn partition_key(&self) -> Result<Option<PartitionKey>, DocumentsError> {
        let Some(value) = self.headers.get(headers::PARTITION_KEY) else {
            return Ok(None);
        };
        // Python sends characters beyond ASCII as they are, in UTF-8.
        let text = std::str::from_utf8(value.as_bytes())
            .map_err(|_| DocumentsError::bad_request("The partition key header is not UTF-8."))?;
        let key = PartitionKey::from_header(text)?;
        Ok((!key.components().is_empty()).then_some(key))
    }

    /// The partition key header of an operation on one item.
    pub(crate) fn item_key(&self, container: &Container) -> Result<PartitionKey, DocumentsError> {
        let key = self.partition_key()?.ok_or_else(|| {
            DocumentsError::bad_request("PartitionKey value must be supplied for this operation.")
        })?;
        if !container.partition_key.is_complete(&key) {
            return Err(DocumentsError::bad_request(format!(
                "Partition key provided either doesn't correspond to definition in the collection or doesn't match partition key field values specified in the document: it has {} components, the definition {} paths.",
                key.components().len(),
                container.partition_key.paths.len()
            )));
        }
        Ok(key)
    }

    /// The partition key of a document on its way in: what it says, which the header must repeat.
    pub(crate) fn document_key(
        &self,
        container: &Container,
        document: &Value,
    ) -> Result<PartitionKey, DocumentsError> {
        let extracted = container.partition_key.extract(document)?;
        match self.partition_key()? {
            Some(sent) if sent != extracted => Err(DocumentsError::PartitionKeyMismatch(format!(
                "The document has {}, the header {}.",
                extracted.to_json(),
                sent.to_json()
            ))),
            _ => Ok(extracted),
        }
    }

    /// The container of the path.
    pub(crate) async fn container(&self) -> Result<Arc<Container>, DocumentsError> {
        let container = self
            .documents
            .container(&self.account.name, self.segment(1), self.segment(3))
            .await?;
        match self.header(headers::INTENDED_RID) {
            Some(intended) if intended != container.rid => {
                Err(DocumentsError::ContainerRecreated(container.rid.clone()))
            }
            _ => Ok(container),
        }
    }

    /// A snapshot, and the container as that snapshot has it: what is remembered may be older than another
    /// node's change, and an answer that says "all is told up to here" must not rest on that.
    pub(crate) async fn snapshot_of_container(
        &self,
    ) -> Result<(Arc<dyn Snapshot>, Arc<Container>), DocumentsError> {
        for _ in 0..COMMIT_ATTEMPTS_MAX {
            let snapshot = self.snapshot().await?;
            let container = self.container().await?;
            let found = snapshot.get(&container.key).await?;
            if found.is_some_and(|found| found.version == container.version) {
                return Ok((snapshot, container));
            }
            self.documents.catalog.forget(&container);
        }
        Err(DocumentsError::RetryWith)
    }

    /// Whether the items that the request writes are to be indexed.
    pub(crate) fn indexing_directive(&self) -> Result<IndexingDirective, DocumentsError> {
        self.header(headers::INDEXING_DIRECTIVE)
            .map_or(Ok(IndexingDirective::Default), IndexingDirective::parse)
    }

    /// The triggers that a header names, separated by commas, or several times; clients also send it empty.
    pub(crate) fn triggers(&self, header: &'static str) -> impl Iterator<Item = &[u8]> {
        let values = self.headers.get_all(header).iter();
        let names = values.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
        names.map(<[u8]>::trim_ascii).filter(|name| !name.is_empty())
    }

    /// Whether the request names triggers.
    pub(crate) fn has_triggers(&self) -> bool {
        [headers::PRE_TRIGGER, headers::POST_TRIGGER]
            .iter()
            .any(|header| self.triggers(header).next().is_some())
    }

    /// Where no trigger is run, a write that should have run one must not pass as done.
    pub(crate) fn refuse_triggers(&self) -> Result<(), DocumentsError> {
        if self.has_triggers() {
            return Err(DocumentsError::bad_request(
                "One of the input values is invalid: triggers are run for operations on single items only. Leave the trigger headers away.",
            ));
        }
        Ok(())
    }

    /// The headers that scripts may know, as JSON: nothing that speaks for the caller. Of one that was sent
    /// twice the first, which is what the server acts on.
    pub(crate) fn headers_for_scripts(&self) -> String {
        let value = |name| std::str::from_utf8(self.headers.get(name)?.as_bytes()).ok();
        let known: serde_json::Map<String, Value> = headers::FOR_SCRIPTS
            .iter()
            .filter_map(|name| Some(((*name).to_owned(), value(*name)?.into())))
            .collect();
        Value::Object(known).to_string()
    }

    /// A snapshot that has seen what the client's session token says.
    pub(crate) async fn snapshot(&self) -> Result<Arc<dyn Snapshot>, DocumentsError> {
        let ledger = &self.documents.ledger;
        if let Some(text) = self.header(headers::SESSION_TOKEN)
            && let Some(wanted) = session::parse(text)
        {
            let mut head = ledger.head();
            if *head.borrow() < wanted {
                let wait = Duration::from_millis(SESSION_WAIT_MILLISECONDS_MAX);
                let arrived = tokio::time::timeout(wait, head.wait_for(|head| *head >= wanted)).await;
                if !matches!(arrived, Ok(Ok(_))) {
                    return Err(DocumentsError::SessionNotAvailable(text.to_owned()));
                }
            }
        }
        Ok(ledger.snapshot().await?)
    }

    pub(crate) fn items_max(&self) -> Result<usize, DocumentsError> {
        let asked = self
            .header(headers::MAX_ITEM_COUNT)
            .map(str::parse::<i64>)
            .transpose();
        query::items_max(
            asked.map_err(|_| DocumentsError::bad_request("x-ms-max-item-count must be a number."))?,
        )
    }

    pub(crate) fn continuation(&self) -> Option<&str> {
        self.header(headers::CONTINUATION).filter(|text| !text.is_empty())
    }

    /// The partitions that a feed or query covers.
    pub(crate) fn scope(&self, container: &Container) -> Result<Scope, DocumentsError> {
        if let Some(range) = self.header(headers::RANGE_ID) {
            // Some clients put the container's rid before it.
            let id = range.rsplit(',').next().unwrap_or(range);
            if id != "0" {
                return Err(DocumentsError::PartitionKeyRangeGone(range.to_owned()));
            }
        }
        if let Some(key) = self.partition_key()? {
            return Scope::new(container, Some(&key));
        }
        match (self.header(headers::START_EPK), self.header(headers::END_EPK)) {
            (None, None) => Ok(Scope::Whole),
            (start, end) => {
                let (start, end) = (start.unwrap_or(""), end.unwrap_or("FF"));
                if start.is_empty() && end.eq_ignore_ascii_case("FF") {
                    return Ok(Scope::Whole);
                }
                Ok(Scope::Effective(parse_hex(start)?, parse_hex(end)?))
            }
        }
    }

    pub(crate) fn items_request<'c>(
        &'c self,
        container: &'c Container,
    ) -> Result<ItemsRequest<'c>, DocumentsError> {
        Ok(ItemsRequest {
            container,
            scope: self.scope(container)?,
            items_max: self.items_max()?,
            continuation: self.continuation(),
            orders_as_the_service: true,
            measured: self.flag(headers::POPULATE_QUERY_METRICS),
            staged: false,
        })
    }

    /// The throughput that a creation asks for.
    pub(crate) fn throughput(&self) -> Result<Option<Throughput>, DocumentsError> {
        if let Some(text) = self.header(headers::AUTOPILOT) {
            let settings: Value = serde_json::from_str(text)
                .map_err(|_| DocumentsError::bad_request("The autopilot settings are not JSON."))?;
            return autoscale(&settings).map(Some);
        }
        let Some(text) = self.header(headers::OFFER_THROUGHPUT) else {
            return Ok(None);
        };
        let rus = text
            .parse()
            .map_err(|_| DocumentsError::bad_request("x-ms-offer-throughput must be a number."))?;
        manual(rus).map(Some)
    }

    /// Puts ids where the client sent resource ids.
    pub(crate) async fn resolve(&mut self) -> Result<(), DocumentsError> {
        if self.segments.first().map(String::as_str) != Some("dbs") {
            return Ok(());
        }
        let Some(number) = resource_id::parse_database(self.segment(1)) else {
            return Ok(());
        };
        let snapshot = self.documents.ledger.snapshot().await?;
        let account = self.account.name.as_str();
        if self
            .documents
            .database(snapshot.as_ref(), account, self.segment(1))
            .await?
            .is_some()
        {
            return Ok(());
        }
        let Some(database) = self
            .documents
            .database_id_of(snapshot.as_ref(), account, number)
            .await?
        else {
            return Ok(());
        };
        if let Some((owner, container)) = resource_id::parse_container(self.segment(3))
            && self.segment(2) == "colls"
            && owner == number
            && let Some(id) = self
                .documents
                .container_id_of(snapshot.as_ref(), number, container)
                .await?
        {
            if self.segment(4) == "docs"
                && let Some(item) = self
                    .documents
                    .item_id_of(snapshot.as_ref(), container, self.segment(5))
                    .await?
            {
                self.set_segment(5, item);
            }
            if let Some(kind) = ScriptKind::of_segment(self.segment(4))
                && !self.segment(5).is_empty()
            {
                self.resolve_script(snapshot.as_ref(), &database, &id, kind)
                    .await?;
            }
            self.set_segment(3, id);
        }
        self.set_segment(1, database);
        if self.segment(2) == "users" && !self.segment(3).is_empty() {
            self.resolve_principals(snapshot.as_ref()).await?;
        }
        Ok(())
    }

    /// Scripts are few, so one with a resource id is looked for among all.
    async fn resolve_script(
        &mut self,
        snapshot: &dyn Snapshot,
        database: &str,
        container: &str,
        kind: ScriptKind,
    ) -> Result<(), DocumentsError> {
        let documents = self.documents;
        let container = documents
            .container(&self.account.name, database, container)
            .await?;
        let listed = documents.list_scripts(snapshot, &container, kind, None, (kind.count_max(), usize::MAX));
        let (scripts, _) = listed.await?;
        let rid = self.segment(5);
        if let Some(found) = scripts.into_iter().find(|script| script.rid(&container) == rid) {
            self.set_segment(5, found.record.id);
        }
        Ok(())
    }

    /// Users and permissions are few, so those with a resource id are looked for among all.
    async fn resolve_principals(&mut self, snapshot: &dyn Snapshot) -> Result<(), DocumentsError> {
        let documents = self.documents;
        let account = self.account.name.as_str();
        let owner = documents
            .owner_database(snapshot, account, self.segment(1))
            .await?;
        let users = documents.list_users(snapshot, &owner, None, PRINCIPALS_LISTED_MAX);
        let (users, _) = users.await?;
        let rid = self.segment(3);
        let Some(user) = users.into_iter().find(|user| user.rid() == rid) else {
            return Ok(());
        };
        if !self.segment(5).is_empty() {
            let permissions = documents.list_permissions(snapshot, &user, None, PRINCIPALS_LISTED_MAX);
            let (permissions, _) = permissions.await?;
            let rid = self.segment(5);
            let found = permissions
                .into_iter()
                .find(|permission| permission.rid(&user) == rid);
            if let Some(found) = found {
                self.set_segment(5, found.record.id);
            }
        }
        self.set_segment(3, user.record.id);
        Ok(())
    }

    fn set_segment(&mut self, at: usize, id: String) {
        if let Some(segment) = self.segments.get_mut(at) {
            *segment = id;
        }
    }
}

pub(crate) fn manual(rus: i64) -> Result<Throughput, DocumentsError> {
    if rus < THROUGHPUT_RUS_MIN {
        return Err(DocumentsError::bad_request(format!(
            "The throughput {rus} is below {THROUGHPUT_RUS_MIN} RU/s."
        )));
    }
    Ok(Throughput {
        rus,
        autoscale_rus_max: None,
    })
}

pub(crate) fn autoscale(settings: &Value) -> Result<Throughput, DocumentsError> {
    let max = settings.get("maxThroughput").and_then(Value::as_i64).unwrap_or(0);
    if max < AUTOSCALE_RUS_MIN {
        return Err(DocumentsError::bad_request(format!(
            "maxThroughput {max} is below {AUTOSCALE_RUS_MIN} RU/s."
        )));
    }
    Ok(Throughput {
        rus: max / 10,
        autoscale_rus_max: Some(max),
    })
}

fn parse_hex(text: &str) -> Result<Vec<u8>, DocumentsError> {
    let bad =
        || DocumentsError::bad_request(format!("The effective partition key {text} is not hexadecimal."));
    if text.len() > PARTITION_KEY_BYTES_MAX || !text.len().is_multiple_of(2) {
        return Err(bad());
    }
    let (pairs, _) = text.as_bytes().as_chunks::<2>();
    pairs
        .iter()
        .map(|pair| {
            let pair = std::str::from_utf8(pair).map_err(|_| bad())?;
            u8::from_str_radix(pair, 16).map_err(|_| bad())
        })
        .collect()
}
