//! What a token's claims say of who calls.

use identity::Claims;
use serde_json::Value;
use uuid::Uuid;

use crate::model::PlatformUser;

/// The scope that lets an org list instances of its apps.
pub(crate) const SCOPE_INSTANCES_READ: &str = "altinn:serviceowner/instances.read";
/// The scope of the component that keeps the portal's inbox in step: asks no decision point.
pub(crate) const SCOPE_SYNC_ADAPTER: &str = "altinn:storage/instances.syncadapter";
/// What the app of Studio's tokens is called.
const STUDIO: &str = "studio.designer";

/// A system user: software that acts for an organisation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SystemUser {
    /// Its id.
    pub id: Uuid,
    /// The number of the organisation that it acts for.
    pub owner_number: Option<String>,
}

/// Who calls.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Caller {
    /// A user's number.
    pub user_id: Option<i64>,
    /// The user's own party.
    pub party_id: Option<String>,
    /// How surely the caller was identified.
    pub authentication_level: i64,
    /// An org's code: the caller is a service owner.
    pub org: Option<String>,
    /// An org's number.
    pub org_number: Option<String>,
    /// A system user.
    pub system_user: Option<SystemUser>,
    /// Scopes, whole words.
    pub scopes: Vec<String>,
    /// Whether the caller is Studio.
    pub is_studio: bool,
    /// Claims whose names begin with `urn`: what a decision is asked with.
    pub attributes: Vec<(String, String)>,
}

impl Caller {
    /// Reads a checked token's claims.
    #[must_use]
    pub fn new(claims: &Claims) -> Self {
        let mut attributes = Vec::new();
        for (name, value) in claims.iter().filter(|(name, _)| name.starts_with("urn")) {
            match value {
                Value::Array(items) => {
                    attributes.extend(
                        items
                            .iter()
                            .filter_map(|item| Some((name.to_owned(), scalar(item)?))),
                    );
                }
                value => attributes.extend(scalar(value).map(|text| (name.to_owned(), text))),
            }
        }
        let system_user = claims.get("authorization_details").and_then(system_user);
        if let Some(user) = &system_user {
            attributes.push(("urn:altinn:systemuser:uuid".to_owned(), user.id.to_string()));
        }
        let scopes = claims
            .words("scope")
            .into_iter()
            .chain(claims.words("urn:altinn:scope"))
            .map(str::to_owned)
            .collect();
        Self {
            user_id: claims.integer("urn:altinn:userid"),
            party_id: claims.text("urn:altinn:partyid"),
            authentication_level: claims.integer("urn:altinn:authlevel").unwrap_or(0),
            org: claims.text("urn:altinn:org"),
            org_number: claims.text("urn:altinn:orgNumber"),
            system_user,
            scopes,
            is_studio: claims.text("urn:altinn:app").as_deref() == Some(STUDIO),
            attributes,
        }
    }

    /// Whether the token holds `scope`, as a whole word.
    #[must_use]
    pub fn has_scope(&self, scope: &str) -> bool {
        self.scopes.iter().any(|held| held == scope)
    }

    /// Whether the caller is the org that owns what belongs to `org`.
    #[must_use]
    pub fn is_owner(&self, org: &str) -> bool {
        self.org.as_deref() == Some(org)
    }

    /// Whether the caller is a person or acts for one or for an organisation, not a service owner.
    #[must_use]
    pub fn is_user(&self) -> bool {
        self.user_id.is_some() || self.system_user.is_some()
    }

    /// Who is named as having done it: `createdBy`, `lastChangedBy`.
    #[must_use]
    pub fn performed_by(&self) -> String {
        let system_owner = || self.system_user.as_ref()?.owner_number.clone();
        self.user_id
            .map(|id| id.to_string())
            .or_else(system_owner)
            .or_else(|| self.org_number.clone())
            .or_else(|| self.org.clone())
            .unwrap_or_default()
    }

    /// As events name the caller.
    #[must_use]
    pub fn as_platform_user(&self) -> PlatformUser {
        PlatformUser {
            user_id: self.user_id,
            org_id: self.org.clone(),
            authentication_level: self.authentication_level,
            system_user_id: self.system_user.as_ref().map(|user| user.id),
            system_user_owner_org_no: self
                .system_user
                .as_ref()
                .and_then(|user| user.owner_number.clone()),
            ..PlatformUser::default()
        }
    }
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(value) => Some(value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// The system user in `authorization_details`: a list, one object, or either as text.
fn system_user(details: &Value) -> Option<SystemUser> {
    let parsed;
    let details = match details {
        Value::String(text) => {
            parsed = serde_json::from_str::<Value>(text).ok()?;
            &parsed
        }
        other => other,
    };
    let entries = details
        .as_array()
        .map_or(std::slice::from_ref(details), Vec::as_slice);
    entries.iter().find_map(|entry| {
        let id = entry.get("systemuser_id")?.get(0)?.as_str()?;
        let number = entry
            .pointer("/systemuser_org/ID")
            .and_then(Value::as_str)
            .and_then(|id| id.strip_prefix("0192:"));
        Some(SystemUser {
            id: Uuid::parse_str(id).ok()?,
            owner_number: number.map(str::to_owned),
        })
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn caller(claims: &Value) -> Caller {
        Caller::new(&Claims::new(claims.as_object().cloned().unwrap()))
    }

    #[test]
    fn users_orgs_and_system_users() {
        let user = caller(
            &json!({"urn:altinn:userid": 1337, "urn:altinn:partyid": "501337", "urn:altinn:authlevel": "2"}),
        );
        assert_eq!(
            (user.performed_by().as_str(), user.authentication_level),
            ("1337", 2)
        );
        assert!(user.is_user() && !user.is_owner("ttd"));
        let org = caller(
            &json!({"urn:altinn:org": "ttd", "urn:altinn:orgNumber": "991825827", "scope": "a:b a:b.c"}),
        );
        assert_eq!(org.performed_by(), "991825827");
        assert!(org.is_owner("ttd") && !org.is_owner("tt") && !org.is_user());
        assert!(org.has_scope("a:b") && org.has_scope("a:b.c") && !org.has_scope("a:"));
        let id = "a0a0a0a0-0000-4000-8000-000000000001";
        let entry = json!({"type": "urn:altinn:systemuser", "systemuser_id": [id],
            "systemuser_org": {"authority": "iso6523-actorid-upis", "ID": "0192:312345678"}});
        for details in [json!([entry]), entry.clone(), json!(entry.to_string())] {
            let system = caller(&json!({ "authorization_details": details }));
            assert_eq!(system.performed_by(), "312345678");
            assert_eq!(system.as_platform_user().system_user_id.unwrap().to_string(), id);
        }
    }

    #[test]
    fn only_urns_are_asked_with_and_lists_are_taken_apart() {
        let caller =
            caller(&json!({"urn:altinn:rolecode": ["A", "B"], "urn:altinn:authlevel": 3, "sub": "x"}));
        let expected = [
            ("urn:altinn:rolecode", "A"),
            ("urn:altinn:rolecode", "B"),
            ("urn:altinn:authlevel", "3"),
        ];
        let expected: Vec<_> = expected
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into();
        let mut found = caller.attributes.clone();
        found.sort();
        let mut sorted = expected;
        sorted.sort();
        assert_eq!(found, sorted);
    }

    #[test]
    fn studio_is_told_by_its_app() {
        assert!(caller(&json!({"urn:altinn:app": "studio.designer"})).is_studio);
        assert!(!caller(&json!({"urn:altinn:app": "studio.designer2"})).is_studio);
    }
}
