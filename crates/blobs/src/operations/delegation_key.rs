//! Get User Delegation Key: what a principal signs shared access signatures with, instead of the account's
//! key.

use http::Response;
use http_semantics::Body;
use jiff::{SignedDuration, Timestamp};

use crate::Blobs;
use crate::auth::Access;
use crate::auth::delegation::{Delegation, key_time};
use crate::auth::sas::parse_time;
use crate::error::{BlobsError, ErrorCode};
use crate::limits::{DATE_SKEW_SECONDS_MAX, DELEGATION_KEY_DAYS_MAX, XML_BYTES_MAX};
use crate::rules::roles::{Action, Principal, Rights};
use crate::service::Call;
use crate::wire::xml_tree::Element;
use crate::wire::{headers, render, transfer, xml};

/// The service that keys sign for.
const SERVICE: &str = "b";

pub(crate) async fn get(blobs: &Blobs, call: Call) -> Result<Response<Body>, BlobsError> {
    let Access::Bearer(principal, rights) = &call.access else {
        let text = "Only authentication scheme Bearer is supported";
        return Err(BlobsError::with(ErrorCode::AuthenticationFailed, text));
    };
    if !rights.allow(Action::DelegationKey) {
        return Err(ErrorCode::AuthorizationPermissionMismatch.into());
    }
    let account = blobs.account(&call.target.account);
    let account = account.ok_or(ErrorCode::InternalError)?;
    // A signature names its signer and no groups: what comes by a group would be gone when it is used.
    let own = Rights::of(&account.roles, &Principal::of_object(&principal.object_id), None);
    if !own.allow(Action::DelegationKey) {
        let text =
            "User delegation keys are for roles that the principal itself is given, not a group of it.";
        return Err(BlobsError::with(ErrorCode::AuthorizationPermissionMismatch, text));
    }
    let bearer = blobs.settings.bearer.as_ref().ok_or(ErrorCode::InternalError)?;
    let body = call.take_body().read_bounded(XML_BYTES_MAX).await?;
    transfer::check(&call.headers, &body)?;
    let asked = Asked::parse(&body, blobs.clock.now())?;
    if !asked.delegated_tenant.is_empty() && !asked.delegated_tenant.eq_ignore_ascii_case(&bearer.tenant) {
        return Err(invalid("DelegatedUserTid is another tenant than the account's."));
    }
    let delegation = Delegation {
        object_id: principal.object_id.clone(),
        tenant: bearer.tenant.clone(),
        start: asked.start,
        expiry: asked.expiry,
        service: SERVICE.to_owned(),
        version: headers::text(&call.headers, "x-ms-version")
            .unwrap_or_default()
            .to_owned(),
        delegated_tenant: asked.delegated_tenant,
    };
    let value = blobs.delegation_value(account, &delegation).await?;
    // Whoever looks into what was done with a signature begins with who could make it.
    tracing::info!(
        account = account.name,
        principal = delegation.object_id,
        expiry = %delegation.expiry,
        request_id = %call.context.request_id,
        "a user delegation key was given out"
    );
    Ok(render::document(element(&delegation, &value)))
}

fn element(delegation: &Delegation, value: &str) -> String {
    let mut out = format!("{}<UserDelegationKey>", xml::DECLARATION);
    for (tag, text) in [
        ("SignedOid", delegation.object_id.as_str()),
        ("SignedTid", &delegation.tenant),
        ("SignedStart", &key_time(delegation.start)),
        ("SignedExpiry", &key_time(delegation.expiry)),
        ("SignedService", &delegation.service),
        ("SignedVersion", &delegation.version),
        ("SignedDelegatedUserTid", &delegation.delegated_tenant),
        ("Value", value),
    ] {
        if !text.is_empty() {
            out.push_str(&xml::element(tag, text));
        }
    }
    out.push_str("</UserDelegationKey>");
    out
}

fn invalid(text: &str) -> BlobsError {
    BlobsError::with(ErrorCode::InvalidXmlNodeValue, text)
}

/// `KeyInfo`.
#[derive(Debug, PartialEq, Eq)]
struct Asked {
    start: Timestamp,
    expiry: Timestamp,
    delegated_tenant: String,
}

impl Asked {
    fn parse(body: &[u8], now: Timestamp) -> Result<Self, BlobsError> {
        let sent = Element::parse(body, "KeyInfo")?;
        let start = match sent.text_of("Start") {
            "" => now,
            text => parse_time(text).ok_or_else(|| invalid("Start is not a UTC date."))?,
        };
        let expiry = parse_time(sent.text_of("Expiry"))
            .ok_or_else(|| invalid("Expiry is mandatory and is a UTC date."))?;
        if expiry <= start || expiry <= now {
            return Err(invalid("Expiry is behind Start and in the future."));
        }
        // Clients count the days by their own clocks.
        let skew = SignedDuration::from_secs(DATE_SKEW_SECONDS_MAX);
        let longest = SignedDuration::from_hours(24 * DELEGATION_KEY_DAYS_MAX).saturating_add(skew);
        if expiry.duration_since(now) > longest {
            return Err(invalid("Expiry is at most seven days from now."));
        }
        Ok(Self {
            start,
            expiry,
            delegated_tenant: sent.text_of("DelegatedUserTid").to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_lives_for_at_most_seven_days() {
        let now: Timestamp = "2026-01-10T12:00:00Z".parse().unwrap();
        let asked = |body: &str| {
            let body = format!("<KeyInfo>{body}</KeyInfo>");
            let asked = Asked::parse(body.as_bytes(), now);
            asked
                .map(|asked| {
                    (
                        key_time(asked.start),
                        key_time(asked.expiry),
                        asked.delegated_tenant,
                    )
                })
                .map_err(|error| error.code)
        };
        let times =
            |start: &str, expiry: &str| asked(&format!("<Start>{start}</Start><Expiry>{expiry}</Expiry>"));
        let good = |start: &str, expiry: &str| Ok((start.to_owned(), expiry.to_owned(), String::new()));
        let (from, to) = ("2026-01-10T11:00:00Z", "2026-01-17T12:00:00Z");
        assert_eq!(times(from, to), good(from, to));
        assert_eq!(
            asked(&format!("<Expiry>{to}</Expiry>")),
            good("2026-01-10T12:00:00Z", to)
        );
        // What clients would cut off isn't part of the key.
        assert_eq!(times("2026-01-10T11:00:00.1234567Z", to), good(from, to));
        let tenant = asked(&format!(
            "<Expiry>{to}</Expiry><DelegatedUserTid>t</DelegatedUserTid>"
        ));
        assert_eq!(tenant.unwrap().2, "t");
        let wrong = Err(ErrorCode::InvalidXmlNodeValue);
        for (start, expiry) in [
            (from, "2026-01-17T12:15:01Z"),
            (from, "2026-01-10T12:00:00Z"),
            (from, "2026-01-10T10:00:00Z"),
            ("2026-01-12T00:00:00Z", "2026-01-11T00:00:00Z"),
            (from, ""),
            (from, "soon"),
            ("now", to),
        ] {
            assert_eq!(times(start, expiry), wrong, "{start} {expiry}");
        }
        assert_eq!(
            Asked::parse(b"<Other/>", now).map_err(|e| e.code),
            Err(ErrorCode::InvalidXmlDocument)
        );
    }
}
