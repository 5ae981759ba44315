//! Lease Blob, Lease Container: the five actions on either. Entity tag and time stay as they are.

use http::{Response, StatusCode};
use http_semantics::Body;
use ledger::Transaction;

use crate::Blobs;
use crate::error::{BlobsError, ErrorCode};
use crate::limits::{LEASE_BREAK_SECONDS_MAX, LEASE_SECONDS_MAX, LEASE_SECONDS_MIN};
use crate::operations::blob::look_up;
use crate::operations::container;
use crate::operations::demands::{Demands, lease_id, overtaken};
use crate::rules::lease::{self, Action, Outcome};
use crate::service::Call;
use crate::store::records::ContainerRecord;
use crate::wire::{headers, render};

pub(crate) async fn blob(blobs: &Blobs, call: Call) -> Result<Response<Body>, BlobsError> {
    let action = action(blobs, &call)?;
    permit(&call, 'o', &action)?;
    let demands = Demands::parse(&call.headers)?;
    for attempt in 1.. {
        let (container, blob) = look_up(blobs, &call).await?;
        let blob = blob.ok_or(ErrorCode::BlobNotFound)?;
        demands.state(&blob.record)?;
        let outcome = lease::apply(blob.record.lease.as_ref(), &action, blobs.clock.now())?;
        let mut record = blob.record.clone();
        record.lease.clone_from(&outcome.lease);
        let mut tx = Transaction::new();
        blobs.stage_blob(&mut tx, &container, Some(&blob), &record, None, "lease")?;
        match blobs.ledger.commit(tx).await {
            Err(error) if overtaken(&error, attempt) => {}
            Err(error) => return Err(error.into()),
            Ok(_) => {
                let mut response = answer(&action, &outcome);
                render::set_state(response.headers_mut(), &record.etag, record.last_modified);
                return Ok(response);
            }
        }
    }
    Err(ErrorCode::ServerBusy.into())
}

pub(crate) async fn container(blobs: &Blobs, call: Call) -> Result<Response<Body>, BlobsError> {
    let action = action(blobs, &call)?;
    permit(&call, 'c', &action)?;
    let mut demands = Demands::parse(&call.headers)?;
    // It is the action's own, not a condition.
    demands.lease_id = None;
    let change = |record: &mut ContainerRecord, now| {
        let outcome = lease::apply(record.lease.as_ref(), &action, now)?;
        record.lease.clone_from(&outcome.lease);
        Ok(outcome)
    };
    let (record, outcome) = container::change(blobs, &call, &demands, "leaseContainer", change).await?;
    let mut response = answer(&action, &outcome);
    render::set_state(response.headers_mut(), &record.etag, record.last_modified);
    Ok(response)
}

fn permit(call: &Call, resource: char, action: &Action) -> Result<(), BlobsError> {
    let breaks = matches!(action, Action::Break { .. });
    call.permit(resource, if breaks { "wd" } else { "w" })
}

fn answer(action: &Action, outcome: &Outcome) -> Response<Body> {
    let mut response = render::empty(match action {
        Action::Acquire { .. } => StatusCode::CREATED,
        Action::Break { .. } => StatusCode::ACCEPTED,
        _ => StatusCode::OK,
    });
    let out = response.headers_mut();
    if let Some(seconds) = outcome.remaining_seconds {
        render::set(out, "x-ms-lease-time", seconds.to_string());
    } else if let Some(lease) = &outcome.lease {
        render::set(out, "x-ms-lease-id", &lease.id);
    }
    response
}

/// Reads the action from the headers.
fn action(blobs: &Blobs, call: &Call) -> Result<Action, BlobsError> {
    let sent = &call.headers;
    let missing =
        |name: &str| BlobsError::with(ErrorCode::MissingRequiredHeader, format!("{name} is required."));
    let id = || lease_id(sent, "x-ms-lease-id")?.ok_or_else(|| missing("x-ms-lease-id"));
    let proposed = || lease_id(sent, "x-ms-proposed-lease-id");
    match headers::text(sent, "x-ms-lease-action")
        .map(str::to_ascii_lowercase)
        .as_deref()
    {
        Some("acquire") => {
            let duration =
                seconds(call, "x-ms-lease-duration")?.ok_or_else(|| missing("x-ms-lease-duration"))?;
            let duration_seconds = match u32::try_from(duration) {
                Ok(seconds) if (LEASE_SECONDS_MIN..=LEASE_SECONDS_MAX).contains(&seconds) => Some(seconds),
                Err(_) if duration == -1 => None,
                _ => {
                    let text = "x-ms-lease-duration is 15 to 60 seconds, or -1.";
                    return Err(BlobsError::with(ErrorCode::InvalidHeaderValue, text));
                }
            };
            Ok(Action::Acquire {
                proposed: proposed()?.unwrap_or_else(|| blobs.random.uuid().to_string()),
                duration_seconds,
            })
        }
        Some("renew") => Ok(Action::Renew { id: id()? }),
        Some("change") => Ok(Action::Change {
            id: id()?,
            proposed: proposed()?.ok_or_else(|| missing("x-ms-proposed-lease-id"))?,
        }),
        Some("release") => Ok(Action::Release { id: id()? }),
        Some("break") => {
            let period_seconds = match seconds(call, "x-ms-lease-break-period")? {
                None => None,
                Some(period) => match u32::try_from(period) {
                    Ok(seconds) if seconds <= LEASE_BREAK_SECONDS_MAX => Some(seconds),
                    _ => {
                        let text = "x-ms-lease-break-period is 0 to 60 seconds.";
                        return Err(BlobsError::with(ErrorCode::InvalidHeaderValue, text));
                    }
                },
            };
            Ok(Action::Break { period_seconds })
        }
        Some(_) => Err(BlobsError::with(
            ErrorCode::InvalidHeaderValue,
            "x-ms-lease-action is acquire, renew, change, release or break.",
        )),
        None => Err(missing("x-ms-lease-action")),
    }
}

fn seconds(call: &Call, name: &'static str) -> Result<Option<i64>, BlobsError> {
    headers::text(&call.headers, name)
        .map(|text| {
            text.parse().map_err(|_| {
                BlobsError::with(
                    ErrorCode::InvalidHeaderValue,
                    format!("{name} is not a number of seconds."),
                )
            })
        })
        .transpose()
}
