//! What the operations on one item have in common, whether they come alone, in bulk or in a
//! transactional batch: stage, commit, and what to do when others were faster.

use std::sync::Arc;

use bytes::Bytes;
use documents_sql::{Compiled, EvalContext, OrderMode};
use http::StatusCode;
use http_semantics::etag::TagList;
use ledger::{LedgerError, Sequence, Snapshot, Transaction};
use serde_json::Value;

use crate::Documents;
use crate::error::DocumentsError;
use crate::limits::{COMMIT_ATTEMPTS_MAX, QUERY_MEMORY_BYTES_MAX};
use crate::rules::charge;
use crate::rules::index_policy::IndexingDirective;
use crate::rules::partition_key::PartitionKey;
use crate::rules::patch::{self, Patch};
use crate::store::Container;
use crate::store::items::{Current, NewDocument, etag_mismatch, id_conflict, not_found, unique_conflict};
use crate::store::keys::{ConflictCause, conflict_cause};
use crate::wire::answer::Answer;

/// What is done to an item.
#[derive(Debug, Clone)]
pub(crate) enum Action {
    Create(NewDocument),
    Upsert(NewDocument),
    Replace(NewDocument),
    Patch(Patch),
    Delete,
    Read,
}

/// An action and what it is done to.
#[derive(Debug, Clone)]
pub(crate) struct ItemAction {
    pub(crate) action: Action,
    pub(crate) id: String,
    pub(crate) key: PartitionKey,
    pub(crate) if_match: Option<TagList>,
    pub(crate) if_none_match: Option<TagList>,
}

/// What came of it.
#[derive(Debug, Clone)]
pub(crate) struct ItemResult {
    pub(crate) status: StatusCode,
    pub(crate) etag: Option<String>,
    pub(crate) body: Bytes,
    pub(crate) charge: f64,
}

impl ItemResult {
    /// As the answer of an operation that came alone.
    pub(crate) fn into_answer(self, container: &Container, sequence: Sequence, minimal: bool) -> Answer {
        let body = if minimal { Bytes::new() } else { self.body };
        let answer = Answer::new(self.status, body, self.charge)
            .with_session(sequence)
            .with_owner(container);
        match self.etag {
            Some(etag) => answer.with_etag(&etag),
            None => answer,
        }
    }
}

/// Stages an action. Without a snapshot a creation relies on the commit to find out whether the
/// item exists.
pub(crate) async fn stage(
    documents: &Documents,
    tx: &mut Transaction,
    snapshot: Option<&dyn Snapshot>,
    container: &Container,
    item: &ItemAction,
) -> Result<ItemResult, DocumentsError> {
    if let Action::Create(new) = &item.action {
        if let Some(snapshot) = snapshot {
            documents
                .remove_expired(tx, snapshot, container, &item.key, new.id())
                .await?;
            if documents
                .find(tx, snapshot, container, &item.key, new.id())
                .await?
                .is_some()
            {
                return Err(id_conflict());
            }
        }
        let staged = documents.create_in(tx, container, new, &item.key).await?;
        let charge = charge::write(staged.text.len(), staged.index_changes);
        return Ok(written(StatusCode::CREATED, staged, charge));
    }
    let Some(snapshot) = snapshot else {
        return Err(DocumentsError::RetryWith);
    };
    if let Action::Upsert(new) = &item.action {
        let upserted = documents.upsert_in(tx, snapshot, container, new, &item.key, item.if_match.as_ref());
        let (staged, created) = upserted.await?;
        let status = if created {
            StatusCode::CREATED
        } else {
            StatusCode::OK
        };
        let charge = if created {
            charge::write(staged.text.len(), staged.index_changes)
        } else {
            charge::replace(staged.text.len(), staged.index_changes)
        };
        return Ok(written(status, staged, charge));
    }
    let found = documents
        .find(tx, snapshot, container, &item.key, &item.id)
        .await?;
    let current = found.ok_or_else(|| not_found(&item.id))?;
    let etag = current.record.etag_text();
    if item.if_match.as_ref().is_some_and(|tags| !tags.matches(&etag)) {
        return Err(etag_mismatch());
    }
    match &item.action {
        Action::Replace(new) => {
            let staged = documents
                .replace_in(tx, container, new, &item.key, &current)
                .await?;
            let charge = charge::replace(staged.text.len(), staged.index_changes);
            Ok(written(StatusCode::OK, staged, charge))
        }
        Action::Patch(patch) => {
            let new = patched(documents, &current, patch)?;
            let staged = documents
                .replace_in(tx, container, &new, &item.key, &current)
                .await?;
            let charge = charge::replace(staged.text.len(), staged.index_changes);
            Ok(written(StatusCode::OK, staged, charge))
        }
        Action::Delete => {
            let changes = documents.delete_in(tx, container, &item.key, &item.id, &current)?;
            let charge = charge::write(current.record.text.len(), changes);
            Ok(ItemResult {
                status: StatusCode::NO_CONTENT,
                etag: None,
                body: Bytes::new(),
                charge,
            })
        }
        Action::Read | Action::Create(_) | Action::Upsert(_) => {
            let charge = charge::read(current.record.text.len());
            if item
                .if_none_match
                .as_ref()
                .is_some_and(|tags| tags.matches(&etag))
            {
                let status = StatusCode::NOT_MODIFIED;
                return Ok(ItemResult {
                    status,
                    etag: Some(etag),
                    body: Bytes::new(),
                    charge,
                });
            }
            Ok(ItemResult {
                status: StatusCode::OK,
                etag: Some(etag),
                body: current.record.text,
                charge,
            })
        }
    }
}

fn written(status: StatusCode, staged: crate::store::items::Staged, charge: f64) -> ItemResult {
    ItemResult {
        status,
        etag: Some(staged.etag),
        body: staged.text,
        charge,
    }
}

/// What a patch makes of an item.
pub(crate) fn patched(
    documents: &Documents,
    current: &Current,
    patch: &Patch,
) -> Result<NewDocument, DocumentsError> {
    let mut document = current.record.parse()?;
    if let Some(condition) = &patch.condition
        && !condition_holds(documents, condition, &document, current.number)?
    {
        return Err(DocumentsError::PatchConditionFalse);
    }
    patch::apply(&mut document, &patch.operations)?;
    // A patch leaves it as it is.
    let directive = if current.record.indexed {
        IndexingDirective::Include
    } else {
        IndexingDirective::Exclude
    };
    Ok(NewDocument::from_value(document)?.directed(directive))
}

/// A condition is the tail of a query: `from c where c.a = 1`.
fn condition_holds(
    documents: &Documents,
    condition: &str,
    document: &Value,
    number: u64,
) -> Result<bool, DocumentsError> {
    let query = documents.queries.parse(&format!("SELECT VALUE 1 {condition}"))?;
    let compiled = Compiled::compile(&query, &[])?;
    let context = EvalContext {
        now: documents.clock.now(),
        random_seed: documents.random.u64(),
    };
    let mut execution = compiled.execution(context, QUERY_MEMORY_BYTES_MAX, OrderMode::Sort);
    execution.push(document, number)?;
    execution.finish()?;
    Ok(execution.next_row().is_some())
}

/// Runs an action by itself: as often as it takes others to leave it alone, within a bound.
pub(crate) async fn run(
    documents: &Documents,
    container: Arc<Container>,
    item: &ItemAction,
) -> Result<(ItemResult, Sequence), DocumentsError> {
    let mut container = container;
    // A creation needs no reading unless an expired item may be in its place.
    let mut reads = !matches!(item.action, Action::Create(_));
    for _ in 0..COMMIT_ATTEMPTS_MAX {
        let snapshot = if reads {
            Some(documents.ledger.snapshot().await?)
        } else {
            None
        };
        let mut tx = Transaction::new();
        let result = stage(documents, &mut tx, snapshot.as_deref(), &container, item).await?;
        if tx.is_empty() {
            let sequence = snapshot.map_or(0, |snapshot| snapshot.sequence());
            return Ok((result, sequence));
        }
        let conflict = match documents.ledger.commit(tx).await {
            Ok(committed) => return Ok((result, committed.sequence)),
            Err(LedgerError::Conflict(conflict)) => conflict,
            Err(error) => return Err(error.into()),
        };
        match conflict_cause(&conflict.key) {
            ConflictCause::UniqueKey => return Err(unique_conflict()),
            ConflictCause::Container => {
                documents.catalog.forget(&container);
                container = documents.latest(&container).await?;
            }
            ConflictCause::Item if !reads => {
                if container.default_ttl.is_none() {
                    return Err(id_conflict());
                }
                reads = true;
            }
            ConflictCause::Item | ConflictCause::Counter | ConflictCause::Other => {}
        }
    }
    Err(DocumentsError::RetryWith)
}
