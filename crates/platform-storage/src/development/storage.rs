//! Tokens for blobs, in `dev`: what an organisation's identity provider would issue to applications.
//!
//! Invariant: their issuer's name is a constant of its own, so that a token for Platform Storage, signed with
//! the same key, opens no blob.

use blobs::rules::roles::{Assignee, Assignment, Role};
use serde_json::{Map, Value, json};

use crate::error::PlatformError;
use crate::wire::query::Query;

/// What the tokens call their issuer.
pub const ISSUER: &str = "https://localhost/11111111-1111-4111-8111-111111111111/v2.0";

/// The tenant of all principals.
pub const TENANT: &str = "11111111-1111-4111-8111-111111111111";

/// Whom tokens are for where nothing is said.
const AUDIENCE: &str = "https://storage.azure.com";

/// The principals with a role: what they are called, their object ids, their roles.
const PRINCIPALS: [(&str, &str, Role); 4] = [
    ("owner", "00000000-0000-4000-8000-000000000001", Role::Owner),
    (
        "contributor",
        "00000000-0000-4000-8000-000000000002",
        Role::Contributor,
    ),
    ("reader", "00000000-0000-4000-8000-000000000003", Role::Reader),
    (
        "delegator",
        "00000000-0000-4000-8000-000000000004",
        Role::Delegator,
    ),
];

/// The roles of the development account.
#[must_use]
pub fn roles() -> Vec<Assignment> {
    PRINCIPALS
        .into_iter()
        .map(|(_, id, role)| Assignment {
            role,
            assignee: Assignee::Principal(id.to_owned()),
            container: None,
        })
        .collect()
}

/// The claims of a principal's token; `who` is one of the names, or any object id.
pub(super) fn claims(who: &str, query: &Query) -> Result<Map<String, Value>, PlatformError> {
    let known = PRINCIPALS
        .iter()
        .find(|(name, ..)| name.eq_ignore_ascii_case(who));
    let id = match known {
        Some((_, id, _)) => *id,
        None if uuid::Uuid::try_parse(who).is_ok() => who,
        None => {
            let text =
                "A storage token is for owner, contributor, reader, delegator or an object id (a UUID).";
            return Err(PlatformError::bad_request(text));
        }
    };
    Ok(super::tokens::claims(json!({
        "aud": audience(query),
        "oid": id,
        "sub": id,
        "tid": TENANT,
        "appid": id,
        "ver": "2.0",
        "idtyp": "app",
    })))
}

/// The audience that was asked for: `resource`, as managed identities are asked.
pub(super) fn audience(query: &Query) -> &str {
    query
        .get("resource")
        .filter(|resource| !resource.is_empty())
        .unwrap_or(AUDIENCE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn principals_have_their_roles_and_others_none() {
        let claim = |who: &str, query: &str, name: &str| {
            let claims = claims(who, &Query::parse(Some(query)));
            claims.map(|claims| claims.get(name).and_then(Value::as_str).map(str::to_owned))
        };
        let assigned = roles();
        for (name, id, role) in PRINCIPALS {
            assert_eq!(claim(name, "", "oid").unwrap().as_deref(), Some(id));
            let given = assigned.iter().find(|given| given.role == role).unwrap();
            assert_eq!(given.assignee, Assignee::Principal(id.to_owned()));
        }
        let other = "00000000-0000-4000-8000-00000000000f";
        assert_eq!(claim(other, "", "oid").unwrap().as_deref(), Some(other));
        assert_eq!(claim("owner", "", "aud").unwrap().as_deref(), Some(AUDIENCE));
        let elsewhere = claim("owner", "resource=https://vault.azure.net", "aud").unwrap();
        assert_eq!(elsewhere.as_deref(), Some("https://vault.azure.net"));
        assert!(claim("somebody", "", "oid").is_err());
    }
}
