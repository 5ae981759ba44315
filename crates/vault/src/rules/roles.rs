//! Azure's roles for data of a vault, and whether they grant an action.
//!
//! Source: "Azure built-in roles for Security" and "Provide access to Key Vault keys, certificates, and secrets
//! with Azure role-based access control". Actions are written without `Microsoft.KeyVault/vaults/`, which all
//! of them begin with.

use crate::rules::names::Kind;

/// A role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Everything.
    Administrator,
    /// Reads secrets.
    SecretsUser,
    /// Everything with secrets.
    SecretsOfficer,
    /// Uses keys.
    CryptoUser,
    /// Everything with keys.
    CryptoOfficer,
    /// Reads keys, wraps and unwraps.
    CryptoServiceEncryptionUser,
    /// Everything with certificates.
    CertificatesOfficer,
    /// Reads certificates with their keys and secrets.
    CertificateUser,
    /// Sees what there is, no value of it.
    Reader,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 9] = [
        Self::Administrator,
        Self::SecretsUser,
        Self::SecretsOfficer,
        Self::CryptoUser,
        Self::CryptoOfficer,
        Self::CryptoServiceEncryptionUser,
        Self::CertificatesOfficer,
        Self::CertificateUser,
        Self::Reader,
    ];

    /// Its name in Azure.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Administrator => "Key Vault Administrator",
            Self::SecretsUser => "Key Vault Secrets User",
            Self::SecretsOfficer => "Key Vault Secrets Officer",
            Self::CryptoUser => "Key Vault Crypto User",
            Self::CryptoOfficer => "Key Vault Crypto Officer",
            Self::CryptoServiceEncryptionUser => "Key Vault Crypto Service Encryption User",
            Self::CertificatesOfficer => "Key Vault Certificates Officer",
            Self::CertificateUser => "Key Vault Certificate User",
            Self::Reader => "Key Vault Reader",
        }
    }

    /// Its id in Azure.
    #[must_use]
    pub fn id(self) -> &'static str {
        match self {
            Self::Administrator => "00482a5a-887f-4fb3-b363-3b7fe8e74483",
            Self::SecretsUser => "4633458b-17de-408a-b874-0445c86b69e6",
            Self::SecretsOfficer => "b86a8fe4-44ce-4948-aee5-eccb2c155cd7",
            Self::CryptoUser => "12338af0-0e69-4776-bea7-57ae8d297424",
            Self::CryptoOfficer => "14b46e9e-c2b7-41b4-b07b-48a6ebf60603",
            Self::CryptoServiceEncryptionUser => "e147488a-f6f5-4113-8e2d-b22465e65bf6",
            Self::CertificatesOfficer => "a4417e6f-fecd-4de8-b567-7b0420556985",
            Self::CertificateUser => "db79e9a7-68ee-4b58-9aeb-b90e7c24fcba",
            Self::Reader => "21090545-7ca7-4776-b22c-e363652d74d2",
        }
    }

    /// Reads a name or an id, without case.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|role| role.name().eq_ignore_ascii_case(text) || role.id().eq_ignore_ascii_case(text))
    }

    /// The data actions that it grants; `*` stands for anything.
    fn actions(self) -> &'static [&'static str] {
        match self {
            Self::Administrator => &["*"],
            Self::SecretsUser => &["secrets/getSecret/action", "secrets/readMetadata/action"],
            Self::SecretsOfficer => &["secrets/*"],
            Self::CryptoUser => &[
                "keys/read",
                "keys/update/action",
                "keys/backup/action",
                "keys/encrypt/action",
                "keys/decrypt/action",
                "keys/wrap/action",
                "keys/unwrap/action",
                "keys/sign/action",
                "keys/verify/action",
            ],
            Self::CryptoOfficer => &["keys/*", "keyrotationpolicies/*"],
            Self::CryptoServiceEncryptionUser => &["keys/read", "keys/wrap/action", "keys/unwrap/action"],
            Self::CertificatesOfficer => &["certificates/*", "certificatecas/*", "certificatecontacts/write"],
            Self::CertificateUser => &[
                "certificates/read",
                "secrets/getSecret/action",
                "secrets/readMetadata/action",
                "keys/read",
            ],
            Self::Reader => &["*/read", "secrets/readMetadata/action"],
        }
    }

    /// Whether it grants an action.
    #[must_use]
    pub fn grants(self, action: &str) -> bool {
        self.actions().iter().any(|pattern| matches(pattern, action))
    }
}

/// Whether a pattern with at most one `*` stands for an action; without case.
fn matches(pattern: &str, action: &str) -> bool {
    let (pattern, action) = (pattern.to_ascii_lowercase(), action.to_ascii_lowercase());
    match pattern.split_once('*') {
        None => pattern == action,
        Some((before, behind)) => {
            action.len() >= before.len() + behind.len()
                && action.starts_with(before)
                && action.ends_with(behind)
        }
    }
}

/// Who has a role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Assignee {
    /// An object id (`oid`).
    Principal(String),
    /// A group's object id (`groups`).
    Group(String),
    /// An app role (`roles`).
    AppRole(String),
}

/// Who has which role, and for what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// The role.
    pub role: Role,
    /// Who.
    pub assignee: Assignee,
    /// The one object that it is for; `None`: the whole vault.
    pub object: Option<(Kind, String)>,
}

/// Who calls.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Principal {
    /// `oid`.
    pub object_id: String,
    /// `groups`.
    pub groups: Vec<String>,
    /// `roles`.
    pub app_roles: Vec<String>,
    /// `upn`, for the audit.
    pub user_name: Option<String>,
    /// `appid` or `azp`, for the audit.
    pub application: Option<String>,
}

impl Principal {
    fn is(&self, assignee: &Assignee) -> bool {
        let same = |one: &str, other: &str| one.eq_ignore_ascii_case(other);
        match assignee {
            Assignee::Principal(id) => same(&self.object_id, id),
            Assignee::Group(id) => self.groups.iter().any(|group| same(group, id)),
            Assignee::AppRole(name) => self.app_roles.contains(name),
        }
    }
}

/// Whether `principal` may do `action` with `object`; `None` stands for the vault: only a role for all of it
/// counts then.
#[must_use]
pub fn is_allowed(
    assignments: &[Assignment],
    principal: &Principal,
    action: &str,
    object: Option<(Kind, &str)>,
) -> bool {
    assignments.iter().any(|assignment| {
        let covers = match (&assignment.object, object) {
            (None, _) => true,
            (Some((kind, name)), Some((asked, object))) => {
                *kind == asked && name.eq_ignore_ascii_case(object)
            }
            (Some(_), None) => false,
        };
        covers && principal.is(&assignment.assignee) && assignment.role.grants(action)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_are_found_by_name_and_id() {
        for role in Role::ALL {
            assert_eq!(Role::parse(role.name()), Some(role));
            assert_eq!(Role::parse(&role.id().to_uppercase()), Some(role));
        }
        assert_eq!(Role::parse("Owner"), None);
    }

    #[test]
    fn a_star_stands_for_anything_between() {
        assert!(matches("*", "secrets/delete") && matches("*/read", "keys/read"));
        assert!(!matches("*/read", "keys/readMetadata/action") && !matches("secrets/*", "keys/read"));
        assert!(!matches("secrets/*/action", "secrets/action"));
    }

    #[test]
    fn a_role_counts_for_whom_and_what_it_is() {
        let assignment = |assignee, object| Assignment {
            role: Role::SecretsUser,
            assignee,
            object,
        };
        let me = Principal {
            object_id: "ME".to_owned(),
            groups: vec!["g".to_owned()],
            app_roles: vec!["r".to_owned()],
            ..Principal::default()
        };
        let action = "secrets/getSecret/action";
        let asked = |assignment: Assignment, object| is_allowed(&[assignment], &me, action, object);
        let whole = |assignee| assignment(assignee, None);
        let object = Some((Kind::Secret, "Name"));
        for assignee in [
            Assignee::Principal("me".to_owned()),
            Assignee::Group("G".to_owned()),
            Assignee::AppRole("r".to_owned()),
        ] {
            assert!(asked(whole(assignee), object));
        }
        for assignee in [
            Assignee::Principal("g".to_owned()),
            Assignee::Group("me".to_owned()),
            Assignee::AppRole("R".to_owned()),
        ] {
            assert!(!asked(whole(assignee), object));
        }
        let of = |kind, name: &str| {
            let me = Assignee::Principal("me".to_owned());
            assignment(me, Some((kind, name.to_owned())))
        };
        assert!(asked(of(Kind::Secret, "nAME"), object));
        assert!(!asked(of(Kind::Secret, "nam"), object));
        assert!(!asked(of(Kind::Key, "name"), object));
        assert!(!asked(of(Kind::Secret, "name"), None));
    }
}
