//! Set Blob Immutability Policy, Delete Blob Immutability Policy, Set Blob Legal Hold. Entity tag and time stay as
//! they are. What a request says of the blob that it makes.

use http::{HeaderMap, Response, StatusCode};
use http_semantics::{Body, date};
use jiff::Timestamp;
use ledger::Transaction;

use crate::Blobs;
use crate::error::{BlobsError, ErrorCode};
use crate::operations::blob::look_up;
use crate::operations::demands::{Demands, overtaken};
use crate::rules::immutability::{Mode, Policy, Protection};
use crate::rules::lease::Use;
use crate::service::Call;
use crate::wire::{headers, render};

const UNTIL: &str = "x-ms-immutability-policy-until-date";
const MODE: &str = "x-ms-immutability-policy-mode";
const HOLD: &str = "x-ms-legal-hold";

fn invalid(text: &str) -> BlobsError {
    BlobsError::with(ErrorCode::InvalidHeaderValue, text)
}

/// The policy that headers name; without a mode it is unlocked.
fn policy(sent: &HeaderMap) -> Result<Option<Policy>, BlobsError> {
    let mode = headers::text(sent, MODE)
        .map(|text| {
            Mode::parse(text).ok_or_else(|| invalid("x-ms-immutability-policy-mode is Unlocked or Locked."))
        })
        .transpose()?;
    let Some(until) = headers::text(sent, UNTIL) else {
        return match mode {
            Some(_) => Err(BlobsError::with(
                ErrorCode::MissingRequiredHeader,
                "x-ms-immutability-policy-until-date is required beside a mode.",
            )),
            None => Ok(None),
        };
    };
    let until = date::parse(until).ok_or_else(|| {
        invalid("x-ms-immutability-policy-until-date is a date such as Sun, 06 Nov 1994 08:49:37 GMT.")
    })?;
    Ok(Some(Policy {
        until: date::whole_seconds(until),
        mode: mode.unwrap_or(Mode::Unlocked),
    }))
}

fn hold(sent: &HeaderMap) -> Result<Option<bool>, BlobsError> {
    headers::text(sent, HOLD)
        .map(|text| match text.to_ascii_lowercase().as_str() {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err(invalid("x-ms-legal-hold is true or false.")),
        })
        .transpose()
}

/// What a request protects the blob with that it makes.
///
/// # Errors
/// `InvalidHeaderValue`, `MissingRequiredHeader`; what the caller may not do.
pub(crate) fn given(call: &Call, now: Timestamp) -> Result<Protection, BlobsError> {
    let protection = Protection {
        policy: policy(&call.headers)?,
        legal_hold: hold(&call.headers)?,
    };
    if !protection.is_none() {
        call.permit_signed('o', "i")?;
    }
    if let Some(policy) = protection.policy {
        policy.replaces(None, now)?;
    }
    Ok(protection)
}

pub(crate) async fn set_policy(blobs: &Blobs, call: Call) -> Result<Response<Body>, BlobsError> {
    call.permit_signed('o', "i")?;
    headers::required(&call.headers, UNTIL)?;
    let asked = policy(&call.headers)?;
    let change = |protection: &mut Protection, now: Timestamp| {
        if let Some(asked) = asked {
            asked.replaces(protection.policy, now)?;
        }
        protection.policy = asked;
        Ok(())
    };
    let protection = protect(blobs, &call, ("setImmutabilityPolicy", true), change).await?;
    let mut response = render::empty(StatusCode::OK);
    render::set_policy(response.headers_mut(), &protection);
    Ok(response)
}

pub(crate) async fn delete_policy(blobs: &Blobs, call: Call) -> Result<Response<Body>, BlobsError> {
    call.permit_signed('o', "i")?;
    let change = |protection: &mut Protection, _: Timestamp| {
        if let Some(policy) = protection.policy.take() {
            policy.deletes()?;
        }
        Ok(())
    };
    protect(blobs, &call, ("deleteImmutabilityPolicy", false), change).await?;
    Ok(render::empty(StatusCode::OK))
}

pub(crate) async fn set_hold(blobs: &Blobs, call: Call) -> Result<Response<Body>, BlobsError> {
    call.permit_signed('o', "i")?;
    headers::required(&call.headers, HOLD)?;
    let asked = hold(&call.headers)?;
    let change = |protection: &mut Protection, _: Timestamp| {
        protection.legal_hold = asked;
        Ok(())
    };
    let protects = asked == Some(true);
    let protection = protect(blobs, &call, ("setLegalHold", protects), change).await?;
    let mut response = render::empty(StatusCode::OK);
    render::set_hold(response.headers_mut(), &protection);
    Ok(response)
}

/// Changes what protects the state that a request names, be it the blob, a snapshot or a version. What was
/// protected can be let go also where the account's setting is off by then.
async fn protect(
    blobs: &Blobs,
    call: &Call,
    (op, protects): (&str, bool),
    change: impl Fn(&mut Protection, Timestamp) -> Result<(), BlobsError> + Send + Sync,
) -> Result<Protection, BlobsError> {
    let demands = Demands::parse(&call.headers)?;
    for attempt in 1.. {
        let (container, blob) = look_up(blobs, call).await?;
        let blob = blob.ok_or(ErrorCode::BlobNotFound)?;
        let now = blobs.clock.now();
        demands.state(&blob.record)?;
        demands.lease(blob.record.lease.as_ref(), Use::Reads, now)?;
        let mut record = blob.record.clone();
        if protects || record.protection.is_none() {
            blobs.permit_protection(&container)?;
        }
        change(&mut record.protection, now)?;
        if record.protection == blob.record.protection {
            return Ok(record.protection);
        }
        let mut tx = Transaction::new();
        blobs.stage_change(&mut tx, &container, &blob, &record, op)?;
        match blobs.ledger.commit(tx).await {
            Err(error) if overtaken(&error, attempt) => {}
            Err(error) => return Err(error.into()),
            Ok(_) => return Ok(record.protection),
        }
    }
    Err(ErrorCode::ServerBusy.into())
}
