//! What a script asks of its collection: operations on the items of one partition, staged into
//! one transaction, each seeing those before it.
//!
//! Invariant: an operation that is refused leaves nothing staged, because the script may go on.

use std::sync::Arc;

use bytes::Bytes;
use http_semantics::etag::TagList;
use ledger::{LedgerError, Sequence, Snapshot, Transaction, Write};
use scripts::HostError;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::functions::Seat;
use super::staged_snapshot::StagedSnapshot;
use crate::Documents;
use crate::error::DocumentsError;
use crate::limits::{SCRIPT_WRITE_BYTES_MAX, SCRIPT_WRITES_MAX};
use crate::operations::item_action::{self, Action, ItemAction, ItemResult};
use crate::query::{ItemsRequest, Rows, Scope, items_max};
use crate::rules::charge;
use crate::rules::partition_key::PartitionKey;
use crate::store::Container;
use crate::store::items::{Current, NewDocument, not_found, unique_conflict, unique_hashes};
use crate::store::keys::{self, ConflictCause, conflict_cause};

/// One run's transaction, and what it is about.
pub(crate) struct Session<'a> {
    documents: &'a Documents,
    container: Arc<Container>,
    key: PartitionKey,
    snapshot: Arc<dyn Snapshot>,
    /// Everything that was written.
    tx: Transaction,
    /// Request units of what was done.
    pub(crate) charge: f64,
    /// What ended the run, if it wasn't the script's fault.
    pub(crate) fatal: Option<DocumentsError>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Argument<'t> {
    link: String,
    #[serde(default, borrow)]
    body: Option<&'t RawValue>,
    #[serde(default)]
    etag: Option<String>,
    #[serde(default)]
    generate_id: bool,
    #[serde(default)]
    if_none_match: Option<String>,
    #[serde(default)]
    query: Option<String>,
    #[serde(default)]
    parameters: Option<Vec<Value>>,
    #[serde(default)]
    page_size: Option<f64>,
    #[serde(default)]
    continuation: Option<String>,
}

impl<'a> Session<'a> {
    pub(crate) fn new(
        documents: &'a Documents,
        container: Arc<Container>,
        key: PartitionKey,
        snapshot: Arc<dyn Snapshot>,
    ) -> Self {
        Self {
            documents,
            container,
            key,
            snapshot,
            tx: Transaction::new(),
            charge: 0.0,
            fatal: None,
        }
    }

    /// Counts a script's own work.
    pub(super) fn charge_steps(&mut self, steps: u64) {
        self.charge += charge::script(steps);
    }

    /// Does one operation.
    pub(super) async fn perform(
        &mut self,
        name: &str,
        argument: &str,
        mut seat: Seat<'_>,
    ) -> Result<String, HostError> {
        match self.operate(name, argument, &mut seat).await {
            Ok(reply) => Ok(reply),
            // Its process is gone with the functions that it called.
            Err(error) if seat.is_empty() => {
                self.fatal = Some(error);
                Err(HostError::Stop)
            }
            Err(error) if error.status().is_client_error() && !matches!(error, DocumentsError::Ledger(_)) => {
                Err(HostError::Refused {
                    number: error.status().as_u16(),
                    body: error.public_message(),
                })
            }
            Err(error) => {
                self.fatal = Some(error);
                Err(HostError::Stop)
            }
        }
    }

    async fn operate(
        &mut self,
        name: &str,
        argument: &str,
        seat: &mut Seat<'_>,
    ) -> Result<String, DocumentsError> {
        let argument: Argument<'_> = serde_json::from_str(argument)
            .map_err(|error| DocumentsError::bad_request(format!("The arguments are invalid: {error}.")))?;
        match name {
            "query" | "list" => {
                self.own_collection(&argument.link)?;
                self.feed(&argument, seat).await
            }
            "create" | "upsert" => {
                self.own_collection(&argument.link)?;
                let new = self.document(&argument)?;
                let id = new.id().to_owned();
                let action = if name == "create" {
                    Action::Create(new)
                } else {
                    Action::Upsert(new)
                };
                self.item(action, id, &argument).await
            }
            "replace" => {
                let id = self.item_id(&argument.link).await?;
                let new = self.document(&argument)?;
                if new.id() != id {
                    return Err(DocumentsError::bad_request(
                        "The id in the body differs from the link's; an item can't be renamed.",
                    ));
                }
                self.item(Action::Replace(new), id, &argument).await
            }
            "delete" => {
                let id = self.item_id(&argument.link).await?;
                self.item(Action::Delete, id, &argument).await
            }
            "read" => {
                let id = self.item_id(&argument.link).await?;
                self.item(Action::Read, id, &argument).await
            }
            other => Err(DocumentsError::bad_request(format!(
                "Scripts have no operation {other}."
            ))),
        }
    }

    async fn item(
        &mut self,
        action: Action,
        id: String,
        argument: &Argument<'_>,
    ) -> Result<String, DocumentsError> {
        let tags = |text: &Option<String>| {
            text.as_deref()
                .filter(|text| !text.is_empty())
                .map(TagList::parse)
        };
        let item = ItemAction {
            action,
            id,
            key: self.key.clone(),
            if_match: tags(&argument.etag),
            if_none_match: tags(&argument.if_none_match),
        };
        let result = self.stage(&item).await?;
        if result.status == http::StatusCode::NOT_MODIFIED {
            return Ok(r#"{"options":{"notModified":true}}"#.to_owned());
        }
        if result.body.is_empty() {
            return Ok("{}".to_owned());
        }
        let document = String::from_utf8_lossy(&result.body);
        Ok(format!("{{\"result\":{document}}}"))
    }

    /// The state that the run began with.
    pub(crate) fn snapshot(&self) -> &dyn Snapshot {
        self.snapshot.as_ref()
    }

    /// An item of the run's partition, as it is by now.
    pub(crate) async fn find(&self, id: &str) -> Result<Option<Current>, DocumentsError> {
        self.documents
            .find(&self.tx, self.snapshot.as_ref(), &self.container, &self.key, id)
            .await
    }

    /// An item of the run's partition, as it was when the run began.
    pub(crate) async fn find_before(&self, id: &str) -> Result<Option<Current>, DocumentsError> {
        let nothing = Transaction::new();
        self.documents
            .find(&nothing, self.snapshot.as_ref(), &self.container, &self.key, id)
            .await
    }

    /// An item of the run's partition as it is to be committed, also if its time to live is over by now.
    pub(crate) async fn find_staged(&self, id: &str) -> Result<Option<Current>, DocumentsError> {
        self.documents
            .find_even_expired(&self.tx, self.snapshot.as_ref(), &self.container, &self.key, id)
            .await
    }

    /// Stages an action on an item of the run's partition: a script's, or the one that triggers stand by.
    pub(crate) async fn stage(&mut self, item: &ItemAction) -> Result<ItemResult, DocumentsError> {
        // Scripts are told by what isn't accepted any more; one that had more accepted before gets no further.
        if self.is_full() && !matches!(item.action, Action::Read) {
            return Err(DocumentsError::TooLarge(
                "The script has written as much as one transaction takes.".to_owned(),
            ));
        }
        match &item.action {
            Action::Create(new) | Action::Upsert(new) | Action::Replace(new) => {
                self.check_unique_keys(new).await?;
            }
            // What a patch makes of its item takes unique keys as well.
            Action::Patch(patch) if !self.container.unique_keys.is_empty() => {
                if let Some(current) = self.find(&item.id).await? {
                    let new = item_action::patched(self.documents, &current, patch)?;
                    self.check_unique_keys(&new).await?;
                }
            }
            Action::Patch(_) | Action::Delete | Action::Read => {}
        }
        let staged = item_action::stage(
            self.documents,
            &mut self.tx,
            Some(self.snapshot.as_ref()),
            &self.container,
            item,
        );
        let result = staged.await?;
        self.charge += result.charge;
        Ok(result)
    }

    /// Commits what was staged. None if that met another commit: then begin anew, in the container as it
    /// is now. `met` is what the request's tries have met so far.
    ///
    /// # Errors
    /// 409 if it met another item's unique key once more, which the next try would only repeat; the ledger's.
    pub(crate) async fn commit(
        self,
        container: &mut Arc<Container>,
        met: &mut Option<ConflictCause>,
    ) -> Result<Option<Sequence>, DocumentsError> {
        if self.tx.is_empty() {
            return Ok(Some(self.snapshot.sequence()));
        }
        match self.documents.ledger.commit(self.tx).await {
            Ok(committed) => Ok(Some(committed.sequence)),
            Err(LedgerError::Conflict(conflict)) => {
                let cause = conflict_cause(&conflict.key);
                let before = met.replace(cause);
                match cause {
                    ConflictCause::UniqueKey if before == Some(cause) => return Err(unique_conflict()),
                    ConflictCause::Container => {
                        self.documents.catalog.forget(container);
                        *container = self.documents.latest(container).await?;
                    }
                    _ => {}
                }
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Whether so much was written that the script's further operations are not accepted.
    pub(super) fn is_full(&self) -> bool {
        self.tx.writes().len() > SCRIPT_WRITES_MAX || self.tx.size_bytes() > SCRIPT_WRITE_BYTES_MAX
    }

    async fn feed(&mut self, argument: &Argument<'_>, seat: &mut Seat<'_>) -> Result<String, DocumentsError> {
        let view = StagedSnapshot {
            below: self.snapshot.as_ref(),
            staged: &self.tx,
        };
        #[allow(
            clippy::cast_possible_truncation,
            reason = "what doesn't fit saturates, and is bounded"
        )]
        let asked = argument.page_size.map(|size| size as i64);
        let request = ItemsRequest {
            container: &self.container,
            scope: Scope::new(&self.container, Some(&self.key))?,
            items_max: items_max(asked)?,
            continuation: argument.continuation.as_deref().filter(|text| !text.is_empty()),
            orders_as_the_service: true,
            measured: false,
            staged: true,
        };
        let page = match &argument.query {
            None => self.documents.read_feed(&view, &request, Rows::text("")).await?,
            Some(sql) => {
                let given = argument.parameters.iter().flatten();
                let parameters: Vec<(String, Value)> = given
                    .filter_map(|given| {
                        // One without a value is undefined.
                        let name = given.get("name")?.as_str()?;
                        Some((name.to_owned(), given.get("value")?.clone()))
                    })
                    .collect();
                self.documents
                    .query_items(&view, &request, sql, &parameters, Rows::text(""), seat)
                    .await?
            }
        };
        self.charge += charge::page(
            page.counters.bytes_loaded,
            page.counters.items_loaded,
            page.counters.index_keys,
        ) + charge::functions(page.counters.function_steps);
        let options = match page.continuation {
            Some(continuation) => json!({"continuation": continuation}),
            None => json!({}),
        };
        let rows = page.rows.into_text();
        let rows = String::from_utf8_lossy(&rows);
        Ok(format!("{{\"result\":[{rows}],\"options\":{options}}}"))
    }

    /// The document that a script writes; of the run's partition, and of no other.
    fn document(&self, argument: &Argument<'_>) -> Result<NewDocument, DocumentsError> {
        let text = argument.body.map_or("null", RawValue::get);
        let mut value: Value = serde_json::from_str(text)
            .map_err(|error| DocumentsError::bad_request(format!("The document is invalid: {error}.")))?;
        let new = match value.as_object_mut() {
            Some(object) if argument.generate_id && !object.contains_key("id") => {
                object.insert("id".to_owned(), json!(self.documents.random.uuid().to_string()));
                NewDocument::from_value(value)?
            }
            _ => NewDocument::from_text(Bytes::copy_from_slice(text.as_bytes()))?,
        };
        if self.container.partition_key.extract(new.value())? != self.key {
            return Err(DocumentsError::bad_request(
                "Requests originating from scripts cannot reference partition keys other than the one for which client request was submitted.",
            ));
        }
        Ok(new)
    }

    /// Finds out now what would else be found while staging, or by the commit.
    async fn check_unique_keys(&self, new: &NewDocument) -> Result<(), DocumentsError> {
        let container = self.container.as_ref();
        if container.unique_keys.is_empty() {
            return Ok(());
        }
        // Also one whose time to live is over: a creation removes it first, with its unique keys.
        let found = self
            .documents
            .find_even_expired(&self.tx, self.snapshot.as_ref(), container, &self.key, new.id())
            .await?;
        let old = match &found {
            Some(current) => unique_hashes(container, &current.record.parse()?),
            None => Vec::new(),
        };
        let place = container.place(&self.key);
        for (which, hash) in unique_hashes(container, new.value()).iter().enumerate() {
            if old.get(which) == Some(hash) {
                continue;
            }
            let key = keys::unique(
                container.number,
                &place,
                u8::try_from(which).unwrap_or(u8::MAX),
                hash,
            );
            let taken = match self.tx.staged(&key) {
                Some(Write::Put(_)) => true,
                Some(Write::Delete) => false,
                None => self.snapshot.get(&key).await?.is_some(),
            };
            if taken {
                return Err(unique_conflict());
            }
        }
        Ok(())
    }

    fn own_collection(&self, link: &str) -> Result<(), DocumentsError> {
        let link = link.trim_matches('/');
        let own = self.container.self_link();
        if link == own.trim_matches('/') || link == self.container.name_path() {
            return Ok(());
        }
        Err(DocumentsError::bad_request(
            "The link is not that of the collection that the script runs in.",
        ))
    }

    /// The id that a document's link means: by resource ids, or by ids.
    async fn item_id(&self, link: &str) -> Result<String, DocumentsError> {
        let bad = || DocumentsError::bad_request("The link is not that of a document of this collection.");
        let link = link.trim_matches('/');
        let (owner, name) = link.split_once("/docs/").ok_or_else(bad)?;
        self.own_collection(owner).map_err(|_| bad())?;
        if owner == self.container.name_path() {
            return Ok(name.to_owned());
        }
        let view = StagedSnapshot {
            below: self.snapshot.as_ref(),
            staged: &self.tx,
        };
        let id = self.documents.item_id_of(&view, self.container.number, name);
        let id = id.await?.ok_or_else(|| not_found(name))?;
        // A resource id may be that of an item of another partition; this script has but one.
        let found = self
            .documents
            .find(&self.tx, self.snapshot.as_ref(), &self.container, &self.key, &id)
            .await?;
        match found {
            Some(current) if self.container.item_rid(current.number) == name => Ok(id),
            _ => Err(not_found(name)),
        }
    }
}
