//! What the operations on stored procedures, triggers and user-defined functions have in common.

use http::StatusCode;

use crate::error::DocumentsError;
use crate::limits::PAGE_BYTES_MAX;
use crate::query::{FeedToken, query_resources};
use crate::scripting;
use crate::store::Container;
use crate::store::scripts::{NewScript, Script, ScriptKind, no_script};
use crate::wire::answer::Answer;
use crate::wire::call::Call;

/// Ties a token to such a feed.
const FEED: u64 = 3;

fn written(status: StatusCode, script: &Script, container: &Container) -> Answer {
    Answer::json(status, &script.to_resource(container), 4.95)
        .with_etag(&script.record.etag)
        .with_session(script.version)
        .with_owner(container)
}

pub(super) async fn create(call: &Call<'_>, kind: ScriptKind) -> Result<Answer, DocumentsError> {
    let container = call.container().await?;
    let new = NewScript::from_value(kind, &call.json_body()?)?;
    scripting::check(call.documents, container.number, &new.body).await?;
    let script = call.documents.create_script(&container, kind, &new).await?;
    Ok(written(StatusCode::CREATED, &script, &container))
}

pub(super) async fn replace(call: &Call<'_>, kind: ScriptKind) -> Result<Answer, DocumentsError> {
    let container = call.container().await?;
    let new = NewScript::from_value(kind, &call.json_body()?)?;
    if new.id != call.segment(5) {
        return Err(DocumentsError::bad_request(format!(
            "The id in the body differs from the one in the path; a {} can't be renamed.",
            kind.name()
        )));
    }
    scripting::check(call.documents, container.number, &new.body).await?;
    let expected = call.if_match();
    let replaced = call
        .documents
        .replace_script(&container, kind, &new, expected.as_ref());
    let script = replaced.await?;
    Ok(written(StatusCode::OK, &script, &container))
}

pub(super) async fn delete(call: &Call<'_>, kind: ScriptKind) -> Result<Answer, DocumentsError> {
    let container = call.container().await?;
    let expected = call.if_match();
    call.documents
        .delete_script(&container, kind, call.segment(5), expected.as_ref())
        .await?;
    Ok(Answer::new(StatusCode::NO_CONTENT, "", 4.95).with_owner(&container))
}

pub(super) async fn get(call: &Call<'_>, kind: ScriptKind) -> Result<Answer, DocumentsError> {
    let snapshot = call.snapshot().await?;
    let container = call.container().await?;
    let id = call.segment(5);
    let found = call.documents.script(snapshot.as_ref(), &container, kind, id);
    let script = found.await?.ok_or_else(|| no_script(kind, id))?;
    let etag = &script.record.etag;
    if call.if_none_match().is_some_and(|tags| tags.matches(etag)) {
        return Ok(Answer::new(StatusCode::NOT_MODIFIED, "", 1.0).with_etag(etag));
    }
    Ok(Answer::json(StatusCode::OK, &script.to_resource(&container), 1.0)
        .with_etag(etag)
        .with_owner(&container))
}

pub(super) async fn list(call: &Call<'_>, kind: ScriptKind) -> Result<Answer, DocumentsError> {
    let snapshot = call.snapshot().await?;
    let container = call.container().await?;
    let feed = FEED << 40 | u64::from(kind.tag()) << 32 | u64::from(container.number);
    let after = FeedToken::decode_name(call.continuation(), feed)?;
    let listed = call.documents.list_scripts(
        snapshot.as_ref(),
        &container,
        kind,
        after.as_deref(),
        (call.items_max()?, PAGE_BYTES_MAX),
    );
    let (scripts, more) = listed.await?;
    let last = scripts
        .last()
        .map(|script| script.record.id.clone())
        .filter(|_| more);
    let resources: Vec<_> = scripts
        .iter()
        .map(|script| script.to_resource(&container))
        .collect();
    let continuation = last.map(|id| FeedToken::AfterName(id).encode(feed));
    Ok(Answer::feed(&container.rid, kind.feed(), &resources, 2.0)
        .with_continuation(continuation)
        .with_owner(&container))
}

pub(super) async fn query(call: &Call<'_>, kind: ScriptKind) -> Result<Answer, DocumentsError> {
    let (sql, parameters) = call.query_body()?;
    let snapshot = call.snapshot().await?;
    let container = call.container().await?;
    let listed = call.documents.list_scripts(
        snapshot.as_ref(),
        &container,
        kind,
        None,
        (kind.count_max(), usize::MAX),
    );
    let (scripts, _) = listed.await?;
    let resources: Vec<_> = scripts
        .iter()
        .map(|script| script.to_resource(&container))
        .collect();
    let rows = query_resources(call.documents, &resources, &sql, &parameters)?;
    Ok(Answer::feed(&container.rid, kind.feed(), &rows, 2.0).with_owner(&container))
}
