//! Shared access signatures: account SAS, service SAS, and what user delegation SAS share with them.
//!
//! Source: "Create an account SAS", "Create a service SAS". Which fields are signed depends on
//! `sv`.

use identity::SharedKey;
use jiff::Timestamp;

use crate::Account;
use crate::auth::delegation::{self, Delegated};
use crate::auth::{Evidence, Needs, permit_rights};
use crate::error::{BlobsError, ErrorCode};
use crate::rules::access_policy::{Policy, Terms};
use crate::rules::roles::Rights;
use crate::wire::target::Target;

/// What a verified signature grants.
#[derive(Debug, Clone)]
pub(crate) struct Grant {
    permissions: String,
    /// Resource types of an account SAS; `None` for a service SAS.
    resource_types: Option<String>,
    /// Whether a service SAS is for one blob.
    one_blob: bool,
    /// What the principal may do who signed it; `None` for the account's key.
    pub(crate) signer: Option<Rights>,
    /// The encryption scope that what is written goes into (`ses`).
    pub(crate) encryption_scope: Option<String>,
    /// Headers of Get Blob's answer that the signature sets.
    pub(crate) overrides: Vec<(&'static str, String)>,
}

/// The parameters that are signed, of all kinds of signatures, but for [`OVERRIDES`].
const SIGNED: [&str; 26] = [
    "sp",
    "st",
    "se",
    "sip",
    "spr",
    "sv",
    "sr",
    "ss",
    "srt",
    "ses",
    "si",
    "skoid",
    "sktid",
    "skt",
    "ske",
    "sks",
    "skv",
    "saoid",
    "suoid",
    "scid",
    "skdutid",
    "sduoid",
    "srh",
    "srq",
    "snapshot",
    "versionid",
];

/// The first version of signatures that names an encryption scope.
const VERSION_SCOPES: &str = "2020-12-06";

/// Query parameters that override answer headers, and those headers.
pub(super) const OVERRIDES: [(&str, &str); 5] = [
    ("rscc", "cache-control"),
    ("rscd", "content-disposition"),
    ("rsce", "content-encoding"),
    ("rscl", "content-language"),
    ("rsct", "content-type"),
];

impl Grant {
    /// Refuses what isn't granted.
    pub(crate) fn permit(&self, needs: Needs) -> Result<(), BlobsError> {
        match &self.resource_types {
            Some(types) if !types.contains(needs.resource) => {
                return Err(ErrorCode::AuthorizationResourceTypeMismatch.into());
            }
            Some(_) => {}
            // A service SAS reaches blobs; one for a container its listing, the tags in it, and the
            // search by them, too.
            None => {
                let finds = matches!(needs.any_of, "l" | "t" | "f");
                let of_container = needs.resource == 'c' && finds && !self.one_blob;
                if needs.resource != 'o' && !of_container {
                    return Err(ErrorCode::AuthorizationPermissionMismatch.into());
                }
            }
        }
        if self
            .permissions
            .chars()
            .any(|granted| needs.any_of.contains(granted))
        {
            self.signer
                .as_ref()
                .map_or(Ok(()), |signer| permit_rights(signer, needs))
        } else {
            Err(ErrorCode::AuthorizationPermissionMismatch.into())
        }
    }
}

pub(super) fn failed(text: &str) -> BlobsError {
    BlobsError::with(ErrorCode::AuthenticationFailed, text)
}

/// Checks the signature in the query; `policy` is what `si` names, or an empty one, and `delegated` the key
/// that a principal asked for, if it is signed with one.
///
/// # Errors
/// The code of what doesn't hold.
pub(crate) fn verify(
    account: &Account,
    target: &Target,
    evidence: &Evidence<'_>,
    (policy, delegated): (&Policy, Option<Delegated>),
    now: Timestamp,
) -> Result<Grant, BlobsError> {
    let get = |name: &str| evidence.value(name);
    let version = get("sv");
    if version.len() != 10 {
        return Err(failed("sv is mandatory and is a version such as 2021-12-02."));
    }
    refuse_control_characters(&get)?;
    if evidence.query.iter().filter(|(name, _)| name == "sig").count() > 1 {
        return Err(failed("There is more than one sig."));
    }
    let of_account = !get("ss").is_empty() && delegated.is_none();
    let signed_of = |target: &Target| match &delegated {
        Some(_) => {
            let (resource, time) = resource(target, &get)?;
            delegation::fields((&resource, time), version, evidence)
        }
        None if of_account => Ok(account_fields(&account.name, version, &get)),
        None => service_fields(target, version, &get),
    };
    let mut signed = vec![signed_of(target)?];
    if target.literal.is_some() {
        // Some clients sign the name that they send, some the one that it is taken for.
        signed.push(signed_of(&Target {
            blob: target.literal.clone(),
            ..target.clone()
        })?);
    }
    let keys = match &delegated {
        Some(delegated) => std::slice::from_ref(&delegated.key),
        None => account.keys.as_slice(),
    };
    let signature = get("sig");
    let holds = |key: &SharedKey| signed.iter().any(|signed| key.verify(signed, signature));
    if !keys.iter().any(holds) {
        return Err(failed("Signature did not match."));
    }
    let terms = Terms {
        start: get("st"),
        expiry: get("se"),
        permission: get("sp"),
    };
    let terms = terms.with(policy)?;
    check_time(terms.start, terms.expiry, now)?;
    check_place(get("spr"), get("sip"), evidence)?;
    if of_account && !get("ss").contains('b') {
        return Err(ErrorCode::AuthorizationServiceMismatch.into());
    }
    let overrides = OVERRIDES
        .iter()
        .filter(|(parameter, _)| !get(parameter).is_empty())
        .map(|(parameter, header)| (*header, get(parameter).to_owned()))
        .collect();
    Ok(Grant {
        permissions: terms.permission.to_owned(),
        resource_types: of_account.then(|| get("srt").to_owned()),
        one_blob: !of_account && get("sr") != "c",
        signer: delegated.map(|delegated| delegated.signer),
        // Before, it isn't signed.
        encryption_scope: Some(get("ses"))
            .filter(|scope| !scope.is_empty() && version >= VERSION_SCOPES)
            .map(str::to_owned),
        overrides,
    })
}

/// What is signed is one value a line; one with a line's end in it would stand for two.
fn refuse_control_characters<'a>(get: &impl Fn(&str) -> &'a str) -> Result<(), BlobsError> {
    let mut signed = SIGNED
        .iter()
        .chain(OVERRIDES.iter().map(|(parameter, _)| parameter));
    match signed.find(|name| get(name).contains(char::is_control)) {
        Some(name) => Err(failed(&format!("{name} has a control character."))),
        None => Ok(()),
    }
}

fn account_fields<'a>(account: &'a str, version: &str, get: &impl Fn(&str) -> &'a str) -> String {
    let mut fields = vec![account];
    fields.extend(["sp", "ss", "srt", "st", "se", "sip", "spr", "sv"].map(get));
    if version >= VERSION_SCOPES {
        fields.push(get("ses"));
    }
    fields.push("");
    fields.join("\n")
}

/// What `sr` names, as it is signed: the resource, and the time of a state of it, which is empty for the
/// current one.
fn resource<'a>(target: &Target, get: &impl Fn(&str) -> &'a str) -> Result<(String, &'a str), BlobsError> {
    let container = target.container.as_deref().unwrap_or_default();
    let path = match (get("sr"), &target.blob) {
        ("c", _) => format!("/blob/{}/{container}", target.account),
        ("b" | "bs" | "bv", Some(blob)) => format!("/blob/{}/{container}/{blob}", target.account),
        ("b" | "bs" | "bv", None) => return Err(ErrorCode::AuthorizationPermissionMismatch.into()),
        _ => {
            let text = "sr must be c, b, bs or bv: signatures for directories are not served.";
            return Err(failed(text));
        }
    };
    let time = match get("sr") {
        "bs" => get("snapshot"),
        "bv" => get("versionid"),
        _ => return Ok((path, "")),
    };
    if time.is_empty() {
        let text = "The address must say which snapshot (sr=bs) or version (sr=bv) is meant.";
        return Err(failed(text));
    }
    Ok((path, time))
}

fn service_fields<'a>(
    target: &Target,
    version: &str,
    get: &impl Fn(&str) -> &'a str,
) -> Result<String, BlobsError> {
    let (resource, time) = resource(target, get)?;
    if version < "2018-11-09" && !time.is_empty() {
        // Neither sr nor the time is signed there.
        let text = "Signatures for a snapshot or a version are of version 2018-11-09 and later.";
        return Err(failed(text));
    }
    let mut fields: Vec<&str> = vec![get("sp"), get("st"), get("se"), &resource];
    fields.extend(["si", "sip", "spr", "sv"].map(get));
    if version >= "2018-11-09" {
        fields.extend([get("sr"), time]);
    }
    if version >= VERSION_SCOPES {
        fields.push(get("ses"));
    }
    fields.extend(OVERRIDES.iter().map(|(parameter, _)| get(parameter)));
    Ok(fields.join("\n"))
}

pub(super) fn check_time(start: &str, expiry: &str, now: Timestamp) -> Result<(), BlobsError> {
    let expires = parse_time(expiry).ok_or_else(|| failed("se is mandatory and is a UTC date."))?;
    if now >= expires {
        return Err(failed(&format!(
            "Signature not valid in the specified time frame: expired at {expires}."
        )));
    }
    if start.is_empty() {
        return Ok(());
    }
    let starts = parse_time(start).ok_or_else(|| failed("st is not a UTC date."))?;
    if now < starts {
        return Err(failed(&format!(
            "Signature not valid in the specified time frame: starts at {starts}."
        )));
    }
    Ok(())
}

/// The forms that are accepted: a date, a date with minutes, with seconds, with fractions.
pub(crate) fn parse_time(text: &str) -> Option<Timestamp> {
    if let Ok(at) = text.parse() {
        return Some(at);
    }
    let completed = match text.len() {
        10 => format!("{text}T00:00:00Z"),
        17 => format!("{}:00Z", text.strip_suffix('Z')?),
        _ => return None,
    };
    completed.parse().ok()
}

fn check_place(protocols: &str, addresses: &str, evidence: &Evidence<'_>) -> Result<(), BlobsError> {
    match protocols {
        "" | "https,http" => {}
        "https" if evidence.secure => {}
        "https" => return Err(ErrorCode::AuthorizationProtocolMismatch.into()),
        _ => return Err(failed("spr is https or https,http.")),
    }
    if addresses.is_empty() {
        return Ok(());
    }
    let (low, high) = addresses.split_once('-').unwrap_or((addresses, addresses));
    let inside = match (low.parse::<std::net::IpAddr>(), high.parse::<std::net::IpAddr>()) {
        (Ok(low), Ok(high)) => (low..=high).contains(&evidence.peer.to_canonical()),
        _ => false,
    };
    if inside {
        Ok(())
    } else {
        Err(ErrorCode::AuthorizationSourceIPMismatch.into())
    }
}
