//! Locks of instances.

use http::{HeaderMap, Response, StatusCode};
use http_semantics::Body;
use jiff::ToSpan;
use ledger::Transaction;
use serde::Deserialize;
use serde_json::json;

use super::instance_path::{InstancePath, Unknown};
use crate::Platform;
use crate::error::PlatformError;
use crate::limits::{LOCK_SECONDS_MAX, LOCK_SECRET_BYTES};
use crate::model::Moment;
use crate::rules::lock_token::{self, LockToken, Verdict};
use crate::rules::process_actions;
use crate::service::Call;
use crate::store::{Attempts, log};
use crate::wire::answer;

/// Who holds a lock shows it in this header.
const TOKEN_HEADER: &str = "altinn-storage-lock-token";

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct LockRequest {
    ttl_seconds: Option<i64>,
}

impl LockRequest {
    async fn read(body: Body) -> Result<i64, PlatformError> {
        let sent: Self = answer::read_json(body).await?;
        match sent.ttl_seconds {
            Some(seconds) if (0..=LOCK_SECONDS_MAX).contains(&seconds) => Ok(seconds),
            _ => Err(PlatformError::bad_request(format!(
                "ttlSeconds must be from 0 to {LOCK_SECONDS_MAX}."
            ))),
        }
    }
}

fn ends(platform: &Platform, seconds: i64) -> Moment {
    let now = platform.clock.now();
    Moment::stamped(now.checked_add(seconds.seconds()).unwrap_or(now))
}

/// POST lock: takes it, unless it is held.
pub(crate) async fn take(
    platform: &Platform,
    call: &Call,
    path: &InstancePath,
    body: Body,
) -> Result<Response<Body>, PlatformError> {
    let caller = call.caller()?;
    let seconds = LockRequest::read(body).await;
    let mut attempts = Attempts::default();
    loop {
        let view = platform.view().await?;
        let stored = platform.find(&view, path, Unknown::NotFound).await?;
        let question = process_actions::for_task(&stored.value);
        platform.require_any(caller, &question, &stored.value).await?;
        let seconds = seconds.clone()?;
        let before = platform.stored_lock(&view, &path.guid).await?;
        let now = Moment::stamped(platform.clock.now());
        if before.as_ref().is_some_and(|lock| lock.record.is_held(now)) {
            return Err(PlatformError::Conflict("The instance is locked.".to_owned()));
        }
        let mut secret = [0; LOCK_SECRET_BYTES];
        platform.random.fill(&mut secret);
        let token = LockToken::new(platform.random.uuid(), secret);
        let record = token.record(ends(platform, seconds), &caller.performed_by());
        let mut tx = Transaction::new();
        platform.stage_lock(&mut tx, &path.guid, before.as_ref(), &record)?;
        log(&mut tx, "lock", &path.id(), caller);
        if platform.commit(tx, &mut attempts).await? {
            return answer::json(StatusCode::OK, &json!({ "lockToken": token.write() }));
        }
    }
}

/// PATCH lock: changes when it ends; 0 lets it go.
pub(crate) async fn change(
    platform: &Platform,
    call: &Call,
    path: &InstancePath,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response<Body>, PlatformError> {
    let caller = call.caller()?;
    let token = headers
        .get(TOKEN_HEADER)
        .and_then(|token| LockToken::parse(token.to_str().ok()?))
        .ok_or_else(|| {
            PlatformError::bad_request("Altinn-Storage-Lock-Token is required, as the lock was answered.")
        })?;
    let seconds = LockRequest::read(body).await?;
    let mut attempts = Attempts::default();
    loop {
        let view = platform.view().await?;
        platform.find(&view, path, Unknown::NotFound).await?;
        let before = platform.stored_lock(&view, &path.guid).await?;
        let now = Moment::stamped(platform.clock.now());
        match lock_token::judge(before.as_ref().map(|lock| &lock.record), &token, now) {
            Verdict::Holds => {}
            Verdict::NotFound => return Err(PlatformError::not_found("There is no such lock.")),
            Verdict::Mismatch => return Err(PlatformError::forbidden("The token isn't this lock's.")),
            Verdict::Expired => {
                return Err(PlatformError::Unprocessable("The lock has ended.".to_owned()));
            }
        }
        let record = token.record(ends(platform, seconds), &caller.performed_by());
        let mut tx = Transaction::new();
        platform.stage_lock(&mut tx, &path.guid, before.as_ref(), &record)?;
        log(&mut tx, "changeLock", &path.id(), caller);
        if platform.commit(tx, &mut attempts).await? {
            return Ok(answer::empty(StatusCode::NO_CONTENT));
        }
    }
}
