//! Get Container ACL, Set Container ACL: stored access policies and anonymous access.

use http::{HeaderMap, Response, StatusCode};
use http_semantics::Body;

use crate::Blobs;
use crate::auth::sas;
use crate::error::{BlobsError, ErrorCode};
use crate::limits::{POLICIES_MAX, POLICY_ID_CHARACTERS_MAX, XML_BYTES_MAX};
use crate::operations::container;
use crate::operations::demands::Demands;
use crate::rules::access_policy::{Policy, PublicAccess};
use crate::rules::lease::Use;
use crate::rules::roles::Action;
use crate::service::Call;
use crate::wire::xml_tree::Element;
use crate::wire::{headers, render, xml};

/// The first version that knows more permissions than `r`, `w`, `d` and `l` ("Shared access signature error codes").
const VERSION_PERMISSIONS: &str = "2015-04-05";

pub(crate) async fn get(blobs: &Blobs, call: Call) -> Result<Response<Body>, BlobsError> {
    call.permit_action('c', "r", Action::ContainersGetAcl)?;
    let snapshot = blobs.ledger.snapshot().await?;
    let container = blobs
        .container(snapshot.as_ref(), &call.target.account, call.container()?)
        .await?;
    let record = &container.record;
    Demands::parse(&call.headers)?.container_lease(record, Use::Reads, blobs.clock.now())?;
    let named = headers::text(&call.headers, "x-ms-version").or_else(|| call.parameter("sv"));
    let version = match named {
        Some(version) => Some(version.to_owned()),
        None => {
            let account = &call.target.account;
            let (settings, _) = blobs.service_record(snapshot.as_ref(), account).await?;
            settings.default_version
        }
    };
    let is_old = version.is_none_or(|version| version.as_str() < VERSION_PERMISSIONS);
    if is_old && record.policies.iter().any(Policy::has_later_permissions) {
        return Err(ErrorCode::FeatureVersionMismatch.into());
    }
    let mut out = format!("{}<SignedIdentifiers>", xml::DECLARATION);
    for policy in &record.policies {
        out.push_str("<SignedIdentifier>");
        out.push_str(&xml::element("Id", &policy.id));
        out.push_str("<AccessPolicy>");
        for (tag, value) in [
            ("Start", &policy.start),
            ("Expiry", &policy.expiry),
            ("Permission", &policy.permission),
        ] {
            if !value.is_empty() {
                out.push_str(&xml::element(tag, value));
            }
        }
        out.push_str("</AccessPolicy></SignedIdentifier>");
    }
    out.push_str("</SignedIdentifiers>");
    let mut response = render::document(out);
    render::set_state(response.headers_mut(), &record.etag, record.last_modified);
    if let Some(access) = record.public_access {
        render::set(response.headers_mut(), "x-ms-blob-public-access", access.name());
    }
    Ok(response)
}

pub(crate) async fn set(blobs: &Blobs, call: Call) -> Result<Response<Body>, BlobsError> {
    call.permit_action('c', "w", Action::ContainersSetAcl)?;
    let demands = Demands::parse(&call.headers)?;
    let access = public_access(blobs, &call.target.account, &call.headers)?;
    let body = call.take_body().read_bounded(XML_BYTES_MAX).await?;
    let policies = policies(&body)?;
    let (record, ()) = container::change(blobs, &call, &demands, "setContainerAcl", |record, now| {
        record.policies.clone_from(&policies);
        record.public_access = access;
        record.etag = blobs.new_etag();
        record.last_modified = now;
        Ok(())
    })
    .await?;
    let mut response = render::empty(StatusCode::OK);
    render::set_state(response.headers_mut(), &record.etag, record.last_modified);
    Ok(response)
}

/// `x-ms-blob-public-access`, if the account allows it.
pub(crate) fn public_access(
    blobs: &Blobs,
    account: &str,
    sent: &HeaderMap,
) -> Result<Option<PublicAccess>, BlobsError> {
    let Some(text) = headers::text(sent, "x-ms-blob-public-access") else {
        return Ok(None);
    };
    let access = PublicAccess::parse(text).ok_or_else(|| {
        let text = "x-ms-blob-public-access is container or blob.";
        BlobsError::with(ErrorCode::InvalidHeaderValue, text)
    })?;
    if blobs
        .account(account)
        .is_some_and(|account| account.allows_public_access)
    {
        Ok(Some(access))
    } else {
        Err(ErrorCode::PublicAccessNotPermitted.into())
    }
}

fn policies(body: &[u8]) -> Result<Vec<Policy>, BlobsError> {
    if body.is_empty() {
        return Ok(Vec::new());
    }
    let refuse = |text: &str| BlobsError::with(ErrorCode::InvalidXmlDocument, text);
    let root = Element::parse(body, "SignedIdentifiers")?;
    if root.children.len() > POLICIES_MAX {
        return Err(refuse("A container has at most five stored access policies."));
    }
    let mut policies: Vec<Policy> = Vec::new();
    for element in &root.children {
        let id = element.text_of("Id");
        if element.tag != "SignedIdentifier" || id.is_empty() {
            return Err(refuse("Each SignedIdentifier has an Id."));
        }
        if id.chars().count() > POLICY_ID_CHARACTERS_MAX || policies.iter().any(|policy| policy.id == id) {
            return Err(refuse("An Id has at most 64 characters and is there once."));
        }
        let empty = Element::default();
        let terms = element.child("AccessPolicy").unwrap_or(&empty);
        for tag in ["Start", "Expiry"] {
            let text = terms.text_of(tag);
            if !text.is_empty() && sas::parse_time(text).is_none() {
                return Err(refuse("Start and Expiry are UTC dates."));
            }
        }
        policies.push(Policy {
            id: id.to_owned(),
            start: terms.text_of("Start").to_owned(),
            expiry: terms.text_of("Expiry").to_owned(),
            permission: terms.text_of("Permission").to_owned(),
        });
    }
    Ok(policies)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_are_read_and_bounded() {
        let one = |id: &str, terms: &str| {
            format!("<SignedIdentifier><Id>{id}</Id><AccessPolicy>{terms}</AccessPolicy></SignedIdentifier>")
        };
        let read =
            |inner: String| policies(format!("<SignedIdentifiers>{inner}</SignedIdentifiers>").as_bytes());
        let found = read(one(
            "a",
            "<Start>2020-01-01T00:00:00.0000000Z</Start><Expiry>2030-01-01</Expiry><Permission>rl</Permission>",
        ));
        let found = found.unwrap();
        assert_eq!((found[0].id.as_str(), found[0].permission.as_str()), ("a", "rl"));
        assert_eq!(policies(b"").unwrap(), []);
        assert_eq!(read(String::new()).unwrap(), []);
        let five: String = ["a", "b", "c", "d", "e"].map(|id| one(id, "")).concat();
        assert_eq!(read(five.clone()).unwrap().len(), 5);
        for bad in [
            five + &one("f", ""),
            one("a", "") + &one("a", ""),
            one("", ""),
            one(&"x".repeat(65), ""),
            one("a", "<Expiry>soon</Expiry>"),
            "<Other/>".to_owned(),
        ] {
            assert_eq!(
                read(bad.clone()).unwrap_err().code,
                ErrorCode::InvalidXmlDocument,
                "{bad}"
            );
        }
    }
}
