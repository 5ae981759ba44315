//! User delegation: keys for which a principal asks, and signatures by them.
//!
//! Source: "Get User Delegation Key", "Create a user delegation SAS". Invariant: nothing is kept of a key.
//! Its value is a code over its other fields, by a secret of the account that the ledger keeps, so it is
//! computed again from the signature that names them; another secret, or another generation in the
//! configuration, ends all keys that were given out.

use identity::SharedKey;
use jiff::Timestamp;

use crate::auth::sas::{self, check_time, failed};
use crate::auth::{Evidence, bearer};
use crate::error::{BlobsError, ErrorCode};
use crate::rules::roles::{Principal, Rights};
use crate::wire::target::Target;
use crate::{Account, Blobs};

/// The first version that signs with such keys.
const VERSION_FIRST: &str = "2018-11-09";
/// What bounds who uses a signature, and is signed only from a version on.
const UNSIGNED_BEFORE: &[(&str, &[&str])] = &[
    ("2025-07-05", &["skdutid", "sduoid"]),
    ("2026-04-06", &["srh", "srq"]),
];

/// A user delegation key's fields, all but its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Delegation {
    /// Who asked for it.
    pub(crate) object_id: String,
    pub(crate) tenant: String,
    /// From when on it signs.
    pub(crate) start: Timestamp,
    /// Until when it signs.
    pub(crate) expiry: Timestamp,
    /// The service that it signs for: `b`.
    pub(crate) service: String,
    /// The version in which it was asked for.
    pub(crate) version: String,
    /// The tenant of the one user who may use its signatures; empty if it names none.
    pub(crate) delegated_tenant: String,
}

impl Delegation {
    /// What the value is computed of. Lengths keep one field from speaking for two.
    fn text(&self, account: &Account) -> String {
        let fields = [
            account.name.as_str(),
            &account.delegation_generation.to_string(),
            &self.object_id,
            &self.tenant,
            &key_time(self.start),
            &key_time(self.expiry),
            &self.service,
            &self.version,
            &self.delegated_tenant,
        ];
        fields
            .iter()
            .map(|field| format!("{}:{field}\n", field.len()))
            .collect()
    }

    /// The fields that a signature's query names.
    fn of_query<'a>(get: &impl Fn(&str) -> &'a str) -> Result<Self, BlobsError> {
        let given = |name: &str| match get(name) {
            "" => Err(failed(&format!("{name} is mandatory in a user delegation SAS."))),
            value => Ok(value.to_owned()),
        };
        let time = |name: &str| {
            let at = sas::parse_time(&given(name)?);
            at.ok_or_else(|| failed(&format!("{name} is not a UTC date.")))
        };
        Ok(Self {
            object_id: given("skoid")?,
            tenant: given("sktid")?,
            start: time("skt")?,
            expiry: time("ske")?,
            service: given("sks")?,
            version: given("skv")?,
            delegated_tenant: get("skdutid").to_owned(),
        })
    }
}

/// A key's times, as clients hold them: some cut fractions of a second off.
pub(crate) fn key_time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// A signature's key, and what whoever asked for it may do now.
pub(crate) struct Delegated {
    pub(crate) key: SharedKey,
    pub(crate) signer: Rights,
}

impl Blobs {
    /// A key's value, in base64.
    pub(crate) async fn delegation_value(
        &self,
        account: &Account,
        delegation: &Delegation,
    ) -> Result<String, BlobsError> {
        let kept = self.delegation_secrets.get(&account.name);
        let secret = kept.ok_or(ErrorCode::InternalError)?.get().await?;
        Ok(SharedKey::from_bytes(secret.expose().to_vec()).sign(&delegation.text(account)))
    }

    /// Checks everything about a user delegation SAS but the terms that it shares with others.
    ///
    /// # Errors
    /// `AuthenticationFailed`; those of a token.
    pub(crate) async fn delegated(
        &self,
        account: &Account,
        target: &Target,
        evidence: &Evidence<'_>,
        now: Timestamp,
    ) -> Result<Delegated, BlobsError> {
        let get = |name: &str| evidence.value(name);
        if get("sv") < VERSION_FIRST {
            return Err(failed("A user delegation SAS is of version 2018-11-09 or newer."));
        }
        if !get("si").is_empty() {
            return Err(failed("A user delegation SAS names no stored access policy."));
        }
        // Its rights would be those of access control lists within a container, which don't exist here.
        if !get("suoid").is_empty() {
            return Err(failed("suoid is for accounts with a hierarchical namespace."));
        }
        // What isn't signed promises nothing.
        for (first, names) in UNSIGNED_BEFORE {
            if get("sv") < *first && names.iter().any(|name| !get(name).is_empty()) {
                let text = format!("{} are signed from version {first} on.", names.join(" and "));
                return Err(failed(&text));
            }
        }
        let delegation = Delegation::of_query(&get)?;
        let Some(bearer) = &self.settings.bearer else {
            return Err(failed(
                "User delegation signatures are not accepted by this account.",
            ));
        };
        // Who only asks for a check makes no secret: without one no key was given out.
        let kept = self.delegation_secrets.get(&account.name);
        let secret = match kept {
            Some(kept) => kept.find().await?,
            None => None,
        };
        let secret = secret.ok_or_else(|| failed("Signature did not match."))?;
        let value = SharedKey::from_bytes(secret.expose().to_vec()).sign(&delegation.text(account));
        let key = SharedKey::from_base64(&value).ok_or(ErrorCode::InternalError)?;
        if !delegation.tenant.eq_ignore_ascii_case(&bearer.tenant) {
            return Err(failed("sktid is another tenant."));
        }
        check_time(&key_time(delegation.start), &key_time(delegation.expiry), now)?;
        self.check_user(account, evidence, &delegation).await?;
        let signer = Principal::of_object(&delegation.object_id);
        Ok(Delegated {
            key,
            signer: Rights::of(&account.roles, &signer, target.container.as_deref()),
        })
    }

    /// A signature may be for one user alone, who proves it with a token.
    async fn check_user(
        &self,
        account: &Account,
        evidence: &Evidence<'_>,
        delegation: &Delegation,
    ) -> Result<(), BlobsError> {
        let user = evidence.value("sduoid");
        if user.is_empty() {
            if delegation.delegated_tenant.is_empty() {
                return Ok(());
            }
            return Err(failed(
                "A key with skdutid signs for one user: sduoid names none.",
            ));
        }
        let token = evidence.bearer_token()?.ok_or_else(|| {
            failed("The signature is for one user, whose token the Authorization header must hold.")
        })?;
        let principal = bearer::verify(self, &account.name, token, evidence).await?;
        if principal.object_id.eq_ignore_ascii_case(user) {
            Ok(())
        } else {
            Err(failed("The signature is for another user than the token."))
        }
    }
}

/// What a user delegation SAS signs; `resource` and `time` are what its `sr` names.
pub(crate) fn fields<'a>(
    (resource, time): (&'a str, &'a str),
    version: &str,
    evidence: &'a Evidence<'_>,
) -> Result<String, BlobsError> {
    let get = |name: &str| evidence.value(name);
    let mut fields: Vec<&str> = vec![get("sp"), get("st"), get("se"), resource];
    fields.extend(["skoid", "sktid", "skt", "ske", "sks", "skv"].map(get));
    if version >= "2020-02-10" {
        fields.extend(["saoid", "suoid", "scid"].map(get));
    }
    if version >= "2025-07-05" {
        fields.extend(["skdutid", "sduoid"].map(get));
    }
    fields.extend(["sip", "spr", "sv", "sr"].map(get));
    fields.push(time);
    if version >= "2020-12-06" {
        fields.push(get("ses"));
    }
    let (headers, parameters) = (signed_headers(evidence)?, signed_parameters(evidence)?);
    if version >= "2026-04-06" {
        fields.extend([headers.as_str(), parameters.as_str()]);
    }
    fields.extend(sas::OVERRIDES.iter().map(|(parameter, _)| get(parameter)));
    Ok(fields.join("\n"))
}

/// The names in a list such as `srh` has: between commas, each encoded on its own.
fn names(list: &str) -> Result<Vec<String>, BlobsError> {
    list.split(',')
        .filter(|name| !name.is_empty())
        .map(|name| {
            let name = percent_encoding::percent_decode_str(name).decode_utf8();
            name.ok()
                .filter(|name| !name.contains(char::is_control))
                .map(Into::into)
                .ok_or_else(|| failed("srh or srq is not a list of names."))
        })
        .collect()
}

/// The headers that `srh` names, as they were sent.
fn signed_headers(evidence: &Evidence<'_>) -> Result<String, BlobsError> {
    let mut out = String::new();
    for name in names(evidence.value("srh"))? {
        // Sent twice, it would be signed for the one and read as the other.
        let mut sent = evidence.headers.get_all(&name).iter();
        let value = match (sent.next(), sent.next()) {
            (Some(value), None) => value.to_str().ok(),
            _ => None,
        };
        let value =
            value.ok_or_else(|| failed(&format!("The signature demands the header {name}, once.")))?;
        out.push_str(&format!("{name}:{value}\n"));
    }
    Ok(out)
}

/// The query parameters that `srq` names, as they were sent.
fn signed_parameters(evidence: &Evidence<'_>) -> Result<String, BlobsError> {
    let mut out = String::new();
    for name in names(evidence.value("srq"))? {
        let lower = name.to_lowercase();
        let mut sent = evidence.query.iter().filter(|(found, _)| *found == lower);
        let value = match (sent.next(), sent.next()) {
            (Some((_, value)), None) => Some(value),
            _ => None,
        };
        let value = value.filter(|value| !value.contains(char::is_control));
        let value =
            value.ok_or_else(|| failed(&format!("The signature demands the parameter {name}, once.")))?;
        out.push_str(&format!("\n{name}:{value}"));
    }
    Ok(out)
}
