//! Writes of one item with triggers: a pre-trigger before it, a post-trigger after it, everything in
//! one commit on one partition.
//!
//! Invariant: one commit, or nothing. If others wrote what this wrote, all of it is done again, the
//! triggers too, within the time of one run.
//!
//! At most one trigger of each kind ("Currently only one PreTrigger is permitted per operation": the
//! clients' documentation of their options). Operations that scripts ask for run no triggers.

use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use http_semantics::etag::TagList;
use scripts::{Input, Role};
use serde_json::Value;

use super::execute_stored_procedure::without_log;
use super::item_action::{Action, ItemAction, ItemResult};
use crate::error::DocumentsError;
use crate::limits::{COMMIT_ATTEMPTS_MAX, SCRIPT_LOG_BYTES_MAX};
use crate::rules::index_policy::IndexingDirective;
use crate::rules::partition_key::PartitionKey;
use crate::rules::{json, patch};
use crate::scripting::{self, Session, Turn};
use crate::store::Container;
use crate::store::items::{NewDocument, etag_mismatch, not_found};
use crate::store::scripts::{ScriptKind, TriggerOperation, TriggerType};
use crate::wire::answer::Answer;
use crate::wire::call::Call;
use crate::wire::headers;

/// What is done to the item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Write {
    Create,
    Upsert,
    Replace,
    Patch,
    Delete,
}

impl Write {
    /// As `getOperationType` answers it.
    fn name(self) -> &'static str {
        match self {
            Self::Create => "Create",
            Self::Upsert => "Upsert",
            Self::Replace => "Replace",
            Self::Patch => "Patch",
            Self::Delete => "Delete",
        }
    }

    /// Whether a trigger that was made for `operation` is for this.
    fn is_for(self, operation: TriggerOperation) -> bool {
        match operation {
            TriggerOperation::All => true,
            TriggerOperation::Create => self == Self::Create,
            TriggerOperation::Upsert => self == Self::Upsert,
            TriggerOperation::Replace => self == Self::Replace,
            TriggerOperation::Update => matches!(self, Self::Replace | Self::Patch),
            TriggerOperation::Delete => self == Self::Delete,
        }
    }

    /// Whether the path names the item, which must be there.
    fn is_of_one(self) -> bool {
        matches!(self, Self::Replace | Self::Patch | Self::Delete)
    }
}

/// What stays the same however often the write is tried.
struct Request<'c> {
    call: &'c Call<'c>,
    write: Write,
    /// The ids of the triggers.
    pre: Option<String>,
    post: Option<String>,
    key: PartitionKey,
    /// The item's id, as far as it is known before a pre-trigger has run.
    id: Option<String>,
    if_match: Option<TagList>,
    directive: IndexingDirective,
    body: Bytes,
    headers: String,
}

/// What the triggers of one try need to know.
struct Prepared {
    /// Ids and texts.
    pre: Option<(String, String)>,
    post: Option<(String, String)>,
    /// The request's body as they see it.
    shown: Option<String>,
}

/// Runs a write whose request names triggers.
pub(super) async fn run(call: &Call<'_>, write: Write) -> Result<Answer, DocumentsError> {
    let documents = call.documents;
    let mut container = call.container().await?;
    let body = match write {
        Write::Delete => Bytes::new(),
        _ => call.body_text()?,
    };
    // A pre-trigger may complete a document; where it belongs must be known before.
    let parsed = match write {
        Write::Delete => Value::Null,
        _ => json::parse(&body)?.value,
    };
    let key = match (write, call.partition_key()?) {
        (Write::Patch | Write::Delete, _) => call.item_key(&container)?,
        // A pre-trigger may put what the header names into the document.
        (_, Some(sent)) if container.partition_key.is_complete(&sent) => sent,
        // None was sent, or one that no document has.
        (Write::Create | Write::Upsert | Write::Replace, _) => call.document_key(&container, &parsed)?,
    };
    let id = if write.is_of_one() {
        Some(call.segment(5))
    } else {
        parsed.get("id").and_then(Value::as_str)
    };
    let request = Request {
        call,
        write,
        pre: named(call, headers::PRE_TRIGGER)?,
        post: named(call, headers::POST_TRIGGER)?,
        key,
        id: id.map(str::to_owned),
        if_match: match write {
            Write::Create => None,
            _ => call.if_match(),
        },
        directive: call.indexing_directive()?,
        body,
        headers: call.headers_for_scripts(),
    };
    if request.pre.is_none() {
        request.item(&container, request.body.clone())?;
    }
    let logs = call.flag(headers::SCRIPT_ENABLE_LOGGING);
    documents.scripts.required()?;
    let mut turn = None;
    let mut charge = 0.0;
    let mut met = None;
    for _ in 0..COMMIT_ATTEMPTS_MAX {
        let snapshot;
        (snapshot, container) = call.snapshot_of_container().await?;
        let mut session = Session::new(documents, container.clone(), request.key.clone(), snapshot);
        let prepared = request.prepare(&container, &session).await?;
        // Places are few: who waits for a snapshot or names what isn't there holds none.
        let turn = match &mut turn {
            Some(turn) => turn,
            none => none.insert(Turn::wait(documents, &container).await?),
        };
        let mut log = String::new();
        let tried = request
            .attempt(prepared, &container, &mut session, turn, &mut log)
            .await;
        charge += session.charge;
        let result = match tried {
            Ok(result) => result,
            Err(error) if logs => return failed(error, log, charge),
            Err(error) => return Err(without_log(error, false)),
        };
        if let Some(sequence) = session.commit(&mut container, &mut met).await? {
            let result = ItemResult { charge, ..result };
            let answer = result.into_answer(&container, sequence, call.wants_minimal());
            return Ok(if logs {
                answer.with_script_log(&log)
            } else {
                answer
            });
        }
    }
    Err(DocumentsError::RetryWith)
}

/// What a request is answered that asked for its triggers' logs: `log` is what they had written before.
/// That is an answer by itself, so it is charged for what was done.
fn failed(error: DocumentsError, mut log: String, charge: f64) -> Result<Answer, DocumentsError> {
    match error {
        DocumentsError::Script {
            message,
            number,
            log: own,
        } => {
            append_log(&mut log, &own);
            Err(DocumentsError::Script { message, number, log })
        }
        error if error.status().is_client_error() && !log.is_empty() => Ok(Answer::from_error(&error)
            .with_script_log(&log)
            .with_charge(charge)),
        error => Err(error),
    }
}

/// Both triggers' logs go into one header, which is bounded as one script's log is.
fn append_log(log: &mut String, more: &str) {
    if !log.is_empty() && !more.is_empty() {
        log.push('\n');
    }
    log.push_str(more);
    log.truncate(log.floor_char_boundary(SCRIPT_LOG_BYTES_MAX));
}

/// The one trigger that a header names.
fn named(call: &Call<'_>, header: &'static str) -> Result<Option<String>, DocumentsError> {
    let names: Vec<&[u8]> = call.triggers(header).collect();
    match names.as_slice() {
        [] => Ok(None),
        [name] => match std::str::from_utf8(name) {
            Ok(name) => Ok(Some(name.to_owned())),
            Err(_) => Err(DocumentsError::bad_request(format!(
                "The header {header} is not UTF-8."
            ))),
        },
        several => Err(DocumentsError::bad_request(format!(
            "The header {header} names {} triggers; only one of each type is permitted per operation.",
            several.len()
        ))),
    }
}

impl Request<'_> {
    /// Looks up what is there, and checks what can be without running anything.
    async fn prepare(
        &self,
        container: &Container,
        session: &Session<'_>,
    ) -> Result<Prepared, DocumentsError> {
        let pre = self
            .script(container, session, self.pre.as_deref(), TriggerType::Pre)
            .await?;
        let post = self
            .script(container, session, self.post.as_deref(), TriggerType::Post)
            .await?;
        let shown = self.shown(session).await?;
        if let Some(id) = &self.id {
            self.check_if_match(session, id).await?;
        }
        Ok(Prepared { pre, post, shown })
    }

    /// Does all of it once, but for the commit; `log` gets what the triggers wrote, also if one fails.
    async fn attempt(
        &self,
        prepared: Prepared,
        container: &Arc<Container>,
        session: &mut Session<'_>,
        turn: &mut Turn,
        log: &mut String,
    ) -> Result<ItemResult, DocumentsError> {
        let Prepared { pre, post, mut shown } = prepared;
        let mut body = self.body.clone();
        if let Some(script) = pre {
            let input = self.input(container, script, Role::PreTrigger, shown.clone(), None);
            let ended = scripting::run(input, session, turn).await?;
            append_log(log, &ended.log);
            if let Some(set) = ended.outcome.request_body
                && self.write != Write::Delete
            {
                shown = Some(set.clone());
                body = set.into();
            }
        }
        let item = self.item(container, body)?;
        if self.id.as_ref() != Some(&item.id) {
            self.check_if_match(session, &item.id).await?;
        }
        let mut result = session.stage(&item).await?;
        if let Some(script) = post {
            let answered = String::from_utf8_lossy(&result.body).into_owned();
            let answered = (!answered.is_empty()).then_some(answered);
            let input = self.input(container, script, Role::PostTrigger, shown, answered);
            let ended = scripting::run(input, session, turn).await?;
            append_log(log, &ended.log);
            self.settle(session, &item.id, &mut result).await?;
            if let Some(set) = ended.outcome.response_body
                && result.status != StatusCode::NO_CONTENT
            {
                result.body = set.into();
            }
        }
        Ok(result)
    }

    /// What is answered is the item as it is committed, which the post-trigger may have written again, or
    /// deleted: then it has no etag.
    async fn settle(
        &self,
        session: &Session<'_>,
        id: &str,
        result: &mut ItemResult,
    ) -> Result<(), DocumentsError> {
        if self.write == Write::Delete {
            return Ok(());
        }
        let found = session.find_staged(id).await?;
        let etag = found.as_ref().map(|current| current.record.etag_text());
        if let Some(current) = found
            && etag != result.etag
        {
            result.body = current.record.text;
        }
        result.etag = etag;
        Ok(())
    }

    /// A trigger's id and text, if one is named that is for this.
    async fn script(
        &self,
        container: &Container,
        session: &Session<'_>,
        id: Option<&str>,
        when: TriggerType,
    ) -> Result<Option<(String, String)>, DocumentsError> {
        let Some(id) = id else { return Ok(None) };
        let documents = self.call.documents;
        let found = documents
            .script(session.snapshot(), container, ScriptKind::Trigger, id)
            .await?;
        let Some(script) = found else {
            return Err(DocumentsError::bad_request(format!(
                "The trigger {} that the request names does not exist.",
                Value::from(id)
            )));
        };
        let is_for = script
            .record
            .trigger
            .is_some_and(|rule| rule.kind == when && self.write.is_for(rule.operation));
        if !is_for {
            return Err(DocumentsError::bad_request(format!(
                "The trigger {} is not a {} trigger for the operation {}.",
                Value::from(id),
                if when == TriggerType::Pre { "Pre" } else { "Post" },
                self.write.name()
            )));
        }
        Ok(Some((script.record.id, script.record.body)))
    }

    /// What triggers see as the request's body: of a deletion the item, of a replacement the item's own
    /// names as well.
    async fn shown(&self, session: &Session<'_>) -> Result<Option<String>, DocumentsError> {
        let as_sent = || Some(String::from_utf8_lossy(&self.body).into_owned());
        if !self.write.is_of_one() {
            return Ok(as_sent());
        }
        let id = self.call.segment(5);
        let current = session.find(id).await?.ok_or_else(|| not_found(id))?;
        match self.write {
            Write::Delete => Ok(Some(String::from_utf8_lossy(&current.record.text).into_owned())),
            Write::Replace => {
                let mut body = json::parse(&self.body)?.value;
                let own = current.record.parse()?;
                if let Value::Object(members) = &mut body {
                    for name in ["_rid", "_self"] {
                        if let Some(value) = own.get(name) {
                            members.insert(name.to_owned(), value.clone());
                        }
                    }
                }
                Ok(Some(body.to_string()))
            }
            _ => Ok(as_sent()),
        }
    }

    fn input(
        &self,
        container: &Container,
        (id, source): (String, String),
        role: Role,
        request_body: Option<String>,
        response_body: Option<String>,
    ) -> Input {
        Input {
            id,
            source,
            role,
            self_link: container.self_link(),
            alt_link: container.name_path(),
            operation_type: Some(self.write.name().to_owned()),
            parameters: "[]".to_owned(),
            request_headers: self.headers.clone(),
            request_body,
            response_body,
        }
    }

    /// The write, with the checks that it gets without triggers.
    fn item(&self, container: &Container, body: Bytes) -> Result<ItemAction, DocumentsError> {
        let call = self.call;
        let mut id = call.segment(5).to_owned();
        let action = match self.write {
            Write::Delete => Action::Delete,
            Write::Patch => {
                let body = json::parse(&body)?.value;
                Action::Patch(patch::parse(&body, &container.partition_key.paths)?)
            }
            Write::Create | Write::Upsert | Write::Replace => {
                let new = NewDocument::from_text(body)?.directed(self.directive);
                let extracted = container.partition_key.extract(new.value())?;
                if extracted != self.key {
                    return Err(DocumentsError::PartitionKeyMismatch(format!(
                        "The document has {}, the request {}.",
                        extracted.to_json(),
                        self.key.to_json()
                    )));
                }
                if self.write == Write::Replace && new.id() != id {
                    return Err(DocumentsError::bad_request(
                        "The id in the body differs from the one in the path; an item can't be renamed.",
                    ));
                }
                new.id().clone_into(&mut id);
                match self.write {
                    Write::Create => Action::Create(new),
                    Write::Upsert => Action::Upsert(new),
                    _ => Action::Replace(new),
                }
            }
        };
        Ok(ItemAction {
            action,
            id,
            key: self.key.clone(),
            if_match: None,
            if_none_match: None,
        })
    }

    /// The request's `If-Match` is about the item that its client knows, not about what a pre-trigger has
    /// made of it. The commit demands that nobody else writes it meanwhile.
    async fn check_if_match(&self, session: &Session<'_>, id: &str) -> Result<(), DocumentsError> {
        let Some(tags) = &self.if_match else {
            return Ok(());
        };
        match session.find_before(id).await? {
            Some(current) if !tags.matches(&current.record.etag_text()) => Err(etag_mismatch()),
            // An upsert without an item has no etag that could differ.
            _ => Ok(()),
        }
    }
}
