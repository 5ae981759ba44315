//! Who is who and who holds which roles for whom: what Altinn's Register and Authorization know,
//! from a file or, in development, built in.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::error::PlatformError;
use crate::limits::REGISTER_BYTES_MAX;

/// A person or organisation.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Party {
    /// Its number.
    pub party_id: i64,
    /// Its name.
    pub name: String,
    /// A person's number, 11 digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub person_number: Option<String>,
    /// An organisation's number, 9 digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub organisation_number: Option<String>,
}

/// A user, and the roles it holds: party's number to role codes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct User {
    /// Its number.
    pub user_id: i64,
    /// The party that it is itself.
    pub party_id: i64,
    /// Its name at log-in.
    pub username: String,
    /// Role codes by party.
    pub roles: BTreeMap<i64, Vec<String>>,
}

/// Parties and users, as a file lists them.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Listed {
    parties: Vec<Party>,
    users: Vec<User>,
}

/// Parties and users. Each decision looks somebody up, so all are found by their numbers; of several of one number the
/// first is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "Listed")]
pub struct Register {
    parties: Vec<Party>,
    users: Vec<User>,
    party_at: HashMap<i64, usize>,
    party_by_number_at: HashMap<String, usize>,
    user_at: HashMap<i64, usize>,
}

impl From<Listed> for Register {
    fn from(listed: Listed) -> Self {
        Self::new(listed.parties, listed.users)
    }
}

/// Roles that a person holds for itself (Altinn's own codes: private person, and what it may do).
const OWN_ROLES: [&str; 6] = ["PRIV", "PRIUT", "UTINN", "LOPER", "SIGNE", "A0212"];
/// Roles of who runs an organisation (general manager, and what that may do).
const MANAGER_ROLES: [&str; 7] = ["DAGL", "REGNA", "UTINN", "LOPER", "SIGNE", "HADM", "A0212"];

impl Register {
    /// A register of these.
    #[must_use]
    pub fn new(parties: Vec<Party>, users: Vec<User>) -> Self {
        let mut register = Self::default();
        for (at, party) in parties.iter().enumerate() {
            register.party_at.entry(party.party_id).or_insert(at);
            for number in party.person_number.iter().chain(&party.organisation_number) {
                register.party_by_number_at.entry(number.clone()).or_insert(at);
            }
        }
        for (at, user) in users.iter().enumerate() {
            register.user_at.entry(user.user_id).or_insert(at);
        }
        Self {
            parties,
            users,
            ..register
        }
    }

    /// All users.
    #[must_use]
    pub fn users(&self) -> &[User] {
        &self.users
    }

    /// The people of Altinn's local test environment that its examples are written with.
    #[must_use]
    pub fn development() -> Self {
        let person = |party_id, name: &str, number: &str| Party {
            party_id,
            name: name.to_owned(),
            person_number: Some(number.to_owned()),
            organisation_number: None,
        };
        let user = |user_id, party_id, username: &str| User {
            user_id,
            party_id,
            username: username.to_owned(),
            roles: BTreeMap::from([(party_id, OWN_ROLES.map(str::to_owned).to_vec())]),
        };
        let mut manager = user(1337, 501_337, "SophieDDG");
        manager
            .roles
            .insert(500_000, MANAGER_ROLES.map(str::to_owned).to_vec());
        Self::new(
            vec![
                person(501_337, "Sophie Salt", "01039012345"),
                person(512_345, "Ola Nordmann", "01899699552"),
                Party {
                    party_id: 500_000,
                    name: "DDG Fitness AS".to_owned(),
                    person_number: None,
                    organisation_number: Some("897069650".to_owned()),
                },
            ],
            vec![manager, user(12_345, 512_345, "OlaNordmann")],
        )
    }

    /// The user of a number.
    #[must_use]
    pub fn user(&self, user_id: i64) -> Option<&User> {
        self.users.get(*self.user_at.get(&user_id)?)
    }

    /// The party of a number.
    #[must_use]
    pub fn party(&self, party_id: i64) -> Option<&Party> {
        self.parties.get(*self.party_at.get(&party_id)?)
    }

    /// The party with an organisation's or a person's number.
    #[must_use]
    pub fn party_by_number(&self, number: &str) -> Option<&Party> {
        self.parties.get(*self.party_by_number_at.get(number)?)
    }

    /// The roles that a user holds for a party.
    #[must_use]
    pub fn roles(&self, user_id: i64, party: &str) -> &[String] {
        let held = || self.user(user_id)?.roles.get(&party.parse().ok()?);
        held().map_or(&[], Vec::as_slice)
    }
}

/// A register as it was read from its file.
#[derive(Debug)]
struct Read {
    modified: Option<SystemTime>,
    length_bytes: u64,
    register: Arc<Register>,
}

/// Where the register comes from.
#[derive(Debug)]
pub struct RegisterSource {
    path: Option<PathBuf>,
    read: Mutex<Option<Read>>,
    built_in: Arc<Register>,
}

impl RegisterSource {
    /// A register that is given.
    #[must_use]
    pub fn fixed(register: Register) -> Self {
        Self {
            path: None,
            read: Mutex::default(),
            built_in: Arc::new(register),
        }
    }

    /// The file at `path` (JSON), read again when it changes; `without` as long as there is none.
    #[must_use]
    pub fn file(path: PathBuf, without: Register) -> Self {
        Self {
            path: Some(path),
            read: Mutex::default(),
            built_in: Arc::new(without),
        }
    }

    /// The register as it is now.
    ///
    /// # Errors
    /// [`PlatformError::Internal`] if the file can't be read or understood: nobody is then taken
    /// for anybody.
    pub fn current(&self) -> Result<Arc<Register>, PlatformError> {
        let Some(path) = &self.path else {
            return Ok(self.built_in.clone());
        };
        let fault = |cause: &dyn std::fmt::Display| {
            PlatformError::Internal(format!("the register {}: {cause}", path.display()))
        };
        let metadata = match std::fs::metadata(path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(self.built_in.clone()),
            Err(error) => return Err(fault(&error)),
        };
        let (modified, length_bytes) = (metadata.modified().ok(), metadata.len());
        if let Some(read) = self.read.lock().as_ref()
            && read.modified == modified
            && read.length_bytes == length_bytes
        {
            return Ok(read.register.clone());
        }
        if length_bytes > REGISTER_BYTES_MAX {
            return Err(fault(&format!("more than {REGISTER_BYTES_MAX} bytes")));
        }
        let text = std::fs::read(path).map_err(|error| fault(&error))?;
        let register: Register = serde_json::from_slice(&text).map_err(|error| fault(&error))?;
        let register = Arc::new(register);
        *self.read.lock() = Some(Read {
            modified,
            length_bytes,
            register: register.clone(),
        });
        Ok(register)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_and_their_roles() {
        let register = Register::development();
        assert!(register.roles(1337, "501337").contains(&"PRIV".to_owned()));
        assert!(register.roles(1337, "500000").contains(&"DAGL".to_owned()));
        assert!(register.roles(12_345, "501337").is_empty() && register.roles(12_345, "500000").is_empty());
        assert!(register.roles(7, "501337").is_empty() && register.roles(1337, "nonsense").is_empty());
        assert_eq!(
            register.party_by_number("897069650").map(|party| party.party_id),
            Some(500_000)
        );
        assert_eq!(
            register
                .party_by_number("01039012345")
                .map(|party| party.party_id),
            Some(501_337)
        );
        assert_eq!(register.party_by_number(""), None);
    }

    #[test]
    fn of_several_of_one_number_the_first_is_found() {
        let party = |name: &str| Party {
            party_id: 7,
            name: name.to_owned(),
            organisation_number: Some("9".to_owned()),
            ..Party::default()
        };
        let register = Register::new(vec![party("first"), party("second")], Vec::new());
        for found in [register.party(7), register.party_by_number("9")] {
            assert_eq!(found.map(|party| party.name.as_str()), Some("first"));
        }
        assert_eq!(register.party(8), None);
    }

    #[test]
    fn a_file_replaces_what_is_built_in_and_a_bad_one_nobody() {
        let folder = std::env::temp_dir().join(format!("stabbur-register-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("register.json");
        let source = RegisterSource::file(path.clone(), Register::development());
        assert_eq!(source.current().unwrap().users.len(), 2);
        std::fs::write(
            &path,
            r#"{"users": [{"userId": 1, "partyId": 2, "roles": {"3": ["DAGL"]}}]}"#,
        )
        .unwrap();
        assert_eq!(source.current().unwrap().roles(1, "3"), ["DAGL"]);
        std::fs::write(&path, r#"{"user": []}"#).unwrap();
        assert!(source.current().is_err());
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
