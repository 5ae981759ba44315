//! Stored access policies and anonymous access: what a container grants by itself.
//!
//! Source: "Define a stored access policy", "Configure anonymous read access".

use serde::{Deserialize, Serialize};

use crate::error::{BlobsError, ErrorCode};

/// What anybody may read of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PublicAccess {
    /// Its blobs.
    Blob,
    /// Its blobs, its list of them, its own properties.
    Container,
}

impl PublicAccess {
    /// As headers have it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Blob => "blob",
            Self::Container => "container",
        }
    }

    /// Reads `x-ms-blob-public-access`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Blob, Self::Container]
            .into_iter()
            .find(|access| access.name().eq_ignore_ascii_case(text))
    }

    /// Whether it grants anybody an operation on a resource (`c` or `o`) that needs one of these
    /// permissions.
    #[must_use]
    pub fn grants(self, resource: char, any_of: &str) -> bool {
        match resource {
            'o' => any_of == "r",
            'c' => self == Self::Container && (any_of == "r" || any_of == "l"),
            _ => false,
        }
    }
}

/// A stored access policy, as it was set: empty parts are the signature's to say.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// Its id, unique in its container.
    pub id: String,
    /// From when on it grants.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub start: String,
    /// Until when it grants.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub expiry: String,
    /// What it grants.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub permission: String,
}

impl Policy {
    /// Whether it grants what versions before 2015-04-05 don't know.
    #[must_use]
    pub fn has_later_permissions(&self) -> bool {
        self.permission
            .contains(|permission| !"rwdl".contains(permission))
    }
}

/// What a signature and its policy grant together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms<'a> {
    /// `st`.
    pub start: &'a str,
    /// `se`.
    pub expiry: &'a str,
    /// `sp`.
    pub permission: &'a str,
}

impl<'a> Terms<'a> {
    /// Puts a signature's own terms and its policy's together.
    ///
    /// # Errors
    /// `AuthenticationFailed` if both say the same part.
    pub fn with(self, policy: &'a Policy) -> Result<Self, BlobsError> {
        let one = |own: &'a str, stored: &'a str, name: &str| match (own, stored) {
            ("", stored) => Ok(stored),
            (own, "") => Ok(own),
            _ => Err(BlobsError::with(
                ErrorCode::AuthenticationFailed,
                format!(
                    "{name} is in the signature and in its stored access policy; it may be in one of them."
                ),
            )),
        };
        Ok(Self {
            start: one(self.start, &policy.start, "st")?,
            expiry: one(self.expiry, &policy.expiry, "se")?,
            permission: one(self.permission, &policy.permission, "sp")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn anonymous_access_reads_and_no_more() {
        let table = [
            ('o', "r", true, true),
            ('c', "r", false, true),
            ('c', "l", false, true),
            ('o', "w", false, false),
            ('o', "cw", false, false),
            ('c', "cw", false, false),
            ('c', "d", false, false),
            ('s', "l", false, false),
            ('s', "r", false, false),
        ];
        for (resource, any_of, blob, container) in table {
            assert_eq!(
                PublicAccess::Blob.grants(resource, any_of),
                blob,
                "{resource}{any_of}"
            );
            assert_eq!(
                PublicAccess::Container.grants(resource, any_of),
                container,
                "{resource}{any_of}"
            );
        }
    }

    #[test]
    fn each_term_is_said_once() {
        let own = Terms {
            start: "",
            expiry: "2030-01-01",
            permission: "",
        };
        let stored = Policy {
            id: "p".to_owned(),
            permission: "r".to_owned(),
            ..Policy::default()
        };
        let both = own.with(&stored).unwrap();
        assert_eq!(
            (both.start, both.expiry, both.permission),
            ("", "2030-01-01", "r")
        );
        let twice = Policy {
            expiry: "2031-01-01".to_owned(),
            ..stored
        };
        assert_eq!(
            own.with(&twice).unwrap_err().code,
            ErrorCode::AuthenticationFailed
        );
    }
}
