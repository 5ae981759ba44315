//! Execute Stored Procedure: its text is run, and what it wrote is committed, on one partition.
//!
//! Invariant: one commit, or nothing. If others wrote what the script wrote, it is run again from
//! the beginning, within the time of one run.

use http::StatusCode;
use scripts::{Input, Role};
use serde_json::Value;

use crate::error::DocumentsError;
use crate::limits::COMMIT_ATTEMPTS_MAX;
use crate::scripting::{self, Session, Turn};
use crate::store::scripts::{ScriptKind, no_script};
use crate::wire::answer::Answer;
use crate::wire::call::Call;
use crate::wire::headers;

/// What a run that set no response answers: an empty string, as the service does.
const NO_RESPONSE: &str = "\"\"";

pub(super) async fn run(call: &Call<'_>) -> Result<Answer, DocumentsError> {
    call.refuse_triggers()?;
    let documents = call.documents;
    let mut container = call.container().await?;
    let key = call.item_key(&container)?;
    let parameters = parameters(call)?;
    let logs = call.flag(headers::SCRIPT_ENABLE_LOGGING);
    documents.scripts.required()?;
    let mut turn = None;
    let mut charge = 0.0;
    let mut met = None;
    for _ in 0..COMMIT_ATTEMPTS_MAX {
        // A script that only reads isn't refused because its container has changed.
        let snapshot;
        (snapshot, container) = call.snapshot_of_container().await?;
        let (kind, id) = (ScriptKind::StoredProcedure, call.segment(5));
        let found = documents.script(snapshot.as_ref(), &container, kind, id).await?;
        let script = found.ok_or_else(|| no_script(kind, id))?;
        // Places are few: who waits for a snapshot or names what isn't there holds none.
        let turn = match &mut turn {
            Some(turn) => turn,
            none => none.insert(Turn::wait(documents, &container).await?),
        };
        let input = Input {
            id: script.record.id,
            source: script.record.body,
            role: Role::Procedure,
            self_link: container.self_link(),
            alt_link: container.name_path(),
            operation_type: None,
            parameters: parameters.clone(),
            request_headers: call.headers_for_scripts(),
            request_body: Some(parameters.clone()),
            response_body: None,
        };
        let mut session = Session::new(documents, container.clone(), key.clone(), snapshot.clone());
        let ended = scripting::run(input, &mut session, turn).await;
        let ended = ended.map_err(|error| without_log(error, logs))?;
        charge += session.charge;
        let Some(sequence) = session.commit(&mut container, &mut met).await? else {
            continue;
        };
        let body = ended.outcome.response_body;
        let body = body.unwrap_or_else(|| NO_RESPONSE.to_owned());
        let answer = Answer::new(StatusCode::OK, body, charge)
            .with_session(sequence)
            .with_owner(&container);
        return Ok(if logs {
            answer.with_script_log(&ended.log)
        } else {
            answer
        });
    }
    Err(DocumentsError::RetryWith)
}

/// Logs are told to who asked for them.
pub(super) fn without_log(error: DocumentsError, logs: bool) -> DocumentsError {
    match error {
        DocumentsError::Script { message, number, .. } if !logs => DocumentsError::Script {
            message,
            number,
            log: String::new(),
        },
        other => other,
    }
}

/// The arguments, as JSON; none is an empty array.
fn parameters(call: &Call<'_>) -> Result<String, DocumentsError> {
    if call.body.trim_ascii().is_empty() {
        return Ok("[]".to_owned());
    }
    match call.json_body()? {
        body @ Value::Array(_) => Ok(body.to_string()),
        _ => Err(DocumentsError::bad_request(
            "The arguments of a stored procedure must be a JSON array.",
        )),
    }
}
