//! The instance that a path names, looked up as its route wants it.

use uuid::Uuid;

use crate::Platform;
use crate::auth::Caller;
use crate::decision::Resource;
use crate::error::PlatformError;
use crate::model::Instance;
use crate::store::{Stored, View};

/// `{party}/{guid}` of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct InstancePath {
    pub(crate) party: String,
    pub(crate) guid: Uuid,
}

impl InstancePath {
    /// Reads the two segments; `None` if they aren't a number and a guid.
    pub(crate) fn parse(party: &str, guid: &str) -> Option<Self> {
        party.parse::<i32>().ok()?;
        Some(Self {
            party: party.to_owned(),
            guid: Uuid::parse_str(guid).ok()?,
        })
    }

    /// As instances are named.
    pub(crate) fn id(&self) -> String {
        format!("{}/{}", self.party, self.guid)
    }
}

/// What an instance that doesn't exist is answered with. Routes that ask the decision point first
/// ask it about an instance of no app, which nobody may do anything to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unknown {
    Forbidden,
    NotFound,
}

fn not_found(path: &InstancePath) -> PlatformError {
    PlatformError::not_found(format!("There is no instance {}.", path.id()))
}

impl Platform {
    /// The instance of a path.
    ///
    /// # Errors
    /// 404 if it is another party's; as `unknown` says if there is none.
    pub(crate) async fn find(
        &self,
        view: &View,
        path: &InstancePath,
        unknown: Unknown,
    ) -> Result<Stored<Instance>, PlatformError> {
        let missing = || match unknown {
            Unknown::NotFound => not_found(path),
            Unknown::Forbidden => PlatformError::forbidden("The caller may not do this to this instance."),
        };
        let party = self.party_of(view, &path.guid).await?.ok_or_else(missing)?;
        if party != path.party {
            return Err(not_found(path));
        }
        self.stored_instance(view, &party, &path.guid)
            .await?
            .ok_or_else(missing)
    }

    /// The instance of a path, if the caller may do `action` to it.
    ///
    /// # Errors
    /// As [`Platform::find`], 403.
    pub(crate) async fn find_permitted(
        &self,
        view: &View,
        path: &InstancePath,
        unknown: Unknown,
        caller: &Caller,
        action: &str,
    ) -> Result<Stored<Instance>, PlatformError> {
        let stored = self.find(view, path, unknown).await?;
        self.require(caller, action, &Resource::instance(&stored.value))
            .await?;
        Ok(stored)
    }
}
