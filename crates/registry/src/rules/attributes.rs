//! Locks: what may be done with a repository, a manifest or a tag (Azure Container Registry, "Lock a
//! container image").

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// `changeableAttributes`.
#[allow(
    clippy::struct_excessive_bools,
    reason = "they are the protocol's own four switches"
)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attributes {
    /// `deleteEnabled`: whether it may be deleted.
    pub delete: bool,
    /// `writeEnabled`: whether it may be changed; off, it isn't deleted either.
    pub write: bool,
    /// `listEnabled`: whether lists show it.
    pub list: bool,
    /// `readEnabled`: whether it may be pulled.
    pub read: bool,
}

impl Default for Attributes {
    fn default() -> Self {
        Self {
            delete: true,
            write: true,
            list: true,
            read: true,
        }
    }
}

impl Attributes {
    /// Whether nothing is locked: left out of records then.
    #[must_use]
    pub fn are_default(&self) -> bool {
        *self == Self::default()
    }

    /// Whether it may be deleted.
    #[must_use]
    pub fn allow_delete(&self) -> bool {
        self.delete && self.write
    }

    /// As clients see them.
    #[must_use]
    pub fn as_json(&self) -> Value {
        json!({
            "deleteEnabled": self.delete, "writeEnabled": self.write,
            "listEnabled": self.list, "readEnabled": self.read,
        })
    }

    /// These with what a PATCH names; `None` if that holds anything but the four switches.
    #[must_use]
    pub fn changed(mut self, patch: &Value) -> Option<Self> {
        for (name, value) in patch.as_object()? {
            let value = value.as_bool()?;
            match name.as_str() {
                "deleteEnabled" => self.delete = value,
                "writeEnabled" => self.write = value,
                "listEnabled" => self.list = value,
                "readEnabled" => self.read = value,
                _ => return None,
            }
        }
        Some(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_changed() {
        let before = Attributes::default();
        let after = before.changed(&json!({"writeEnabled": false})).unwrap();
        assert!(!after.write && after.delete && after.list && after.read);
        assert!(before.allow_delete() && !after.allow_delete());
        assert_eq!(after.as_json()["writeEnabled"], json!(false));
        assert_eq!(after.changed(&json!({})), Some(after));
        for bad in [
            json!([]),
            json!({"x": true}),
            json!({"writeEnabled": "no"}),
            json!(null),
        ] {
            assert_eq!(before.changed(&bad), None, "{bad}");
        }
    }
}
