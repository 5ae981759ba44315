//! Roles: what a principal with a bearer token may do, and so what a user delegation SAS of theirs may.
//!
//! Source: "Azure built-in roles for Storage", "Authorize with Microsoft Entra ID" (permissions for blob
//! service operations). Invariant: what no row names is in no role.

/// What is done to a resource: the parts of Azure's actions behind
/// `Microsoft.Storage/storageAccounts/blobServices/`.
///
/// `containers/blobs/add/action` and `move/action` aren't here: each role that has one of them has
/// `containers/blobs/write`, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// `read`
    ServiceRead,
    /// `write`
    ServiceWrite,
    /// `getInfo/action`
    AccountInformation,
    /// `generateUserDelegationKey/action`
    DelegationKey,
    /// `containers/read`
    ContainersRead,
    /// `containers/write`
    ContainersWrite,
    /// `containers/delete`
    ContainersDelete,
    /// `containers/getAcl/action`
    ContainersGetAcl,
    /// `containers/setAcl/action`
    ContainersSetAcl,
    /// `containers/blobs/read`
    BlobsRead,
    /// `containers/blobs/write`
    BlobsWrite,
    /// `containers/blobs/delete`
    BlobsDelete,
    /// `containers/blobs/deleteBlobVersion/action`
    VersionsDelete,
    /// `containers/blobs/permanentDelete/action`
    PermanentDelete,
    /// `containers/blobs/tags/read`
    TagsRead,
    /// `containers/blobs/tags/write`
    TagsWrite,
    /// `containers/blobs/filter/action`
    Filter,
    /// `containers/blobs/immutableStorage/runAsSuperUser/action`
    ImmutableStorage,
}

impl Action {
    /// The action that stands for one of these permissions of a shared access signature on a resource
    /// (`s`, `c` or `o`); `None` for what no role grants.
    #[must_use]
    pub fn of(resource: char, any_of: &str) -> Option<Self> {
        let writes = any_of.contains(['c', 'w', 'a']);
        Some(match (resource, any_of) {
            ('s', "r") => Self::ServiceRead,
            ('s', "w") => Self::ServiceWrite,
            ('s', "l") | ('c', "r") => Self::ContainersRead,
            ('s' | 'c', "f") => Self::Filter,
            ('c', "l") | ('o', "r") => Self::BlobsRead,
            ('c' | 'o', "t") => Self::TagsRead,
            ('c', "d") => Self::ContainersDelete,
            ('o', "d") => Self::BlobsDelete,
            ('o', "x") => Self::VersionsDelete,
            ('o', "y") => Self::PermanentDelete,
            ('o', "i") => Self::ImmutableStorage,
            ('c', _) if writes => Self::ContainersWrite,
            ('o', _) if writes => Self::BlobsWrite,
            _ => return None,
        })
    }
}

/// A built-in role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Storage Blob Data Owner.
    Owner,
    /// Storage Blob Data Contributor.
    Contributor,
    /// Storage Blob Data Reader.
    Reader,
    /// Storage Blob Delegator.
    Delegator,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Owner, Self::Contributor, Self::Reader, Self::Delegator];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Owner => "Storage Blob Data Owner",
            Self::Contributor => "Storage Blob Data Contributor",
            Self::Reader => "Storage Blob Data Reader",
            Self::Delegator => "Storage Blob Delegator",
        }
    }

    /// The id of its definition, the same in every subscription of the original.
    #[must_use]
    pub fn id(self) -> &'static str {
        match self {
            Self::Owner => "b7e6dc6d-f1e8-4753-8033-0f276bb0955b",
            Self::Contributor => "ba92f5b4-2d11-453d-a403-e96b0029c9fe",
            Self::Reader => "2a2b9908-6ea1-4ae2-8e65-a410df84e7d1",
            Self::Delegator => "db58b8e5-c6ad-4a2a-8342-4190687cbf4a",
        }
    }

    /// Reads a role's name or id.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|role| text.eq_ignore_ascii_case(role.name()) || text.eq_ignore_ascii_case(role.id()))
    }

    /// Whether the role has the action.
    #[must_use]
    pub fn allows(self, action: Action) -> bool {
        match action {
            // Roles of the account's management have these, and none of its data.
            Action::ServiceRead | Action::ServiceWrite | Action::AccountInformation => false,
            Action::DelegationKey => true,
            Action::ContainersRead | Action::BlobsRead => self != Self::Delegator,
            Action::ContainersWrite | Action::ContainersDelete | Action::BlobsWrite | Action::BlobsDelete => {
                matches!(self, Self::Owner | Self::Contributor)
            }
            Action::ContainersGetAcl
            | Action::ContainersSetAcl
            | Action::VersionsDelete
            | Action::PermanentDelete
            | Action::TagsRead
            | Action::TagsWrite
            | Action::Filter
            | Action::ImmutableStorage => self == Self::Owner,
        }
    }
}

/// To whom a role is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Assignee {
    /// A user, an application, a managed identity: by object id (claim `oid`).
    Principal(String),
    /// A group: by object id (claim `groups`).
    Group(String),
    /// Who has an app role (claim `roles`).
    AppRole(String),
}

/// A role that somebody has in an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// The role.
    pub role: Role,
    /// Who has it.
    pub assignee: Assignee,
    /// Where: in one container, or in all of the account.
    pub container: Option<String>,
}

/// Who calls with a bearer token.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Principal {
    /// The object id.
    pub object_id: String,
    /// The groups that the token names.
    pub groups: Vec<String>,
    /// The app roles that the token names.
    pub app_roles: Vec<String>,
}

impl Principal {
    /// A principal of whom nothing but the object id is known: the signer of a user delegation SAS.
    #[must_use]
    pub fn of_object(id: &str) -> Self {
        Self {
            object_id: id.to_owned(),
            ..Self::default()
        }
    }

    fn is(&self, assignee: &Assignee) -> bool {
        let same = |one: &String, other: &String| one.eq_ignore_ascii_case(other);
        match assignee {
            Assignee::Principal(id) => same(id, &self.object_id),
            Assignee::Group(id) => self.groups.iter().any(|group| same(group, id)),
            Assignee::AppRole(name) => self.app_roles.contains(name),
        }
    }
}

/// The roles that somebody has at a place.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rights(Vec<Role>);

impl Rights {
    /// What `assignments` give a principal in a container; for what isn't in one, in the account.
    #[must_use]
    pub fn of(assignments: &[Assignment], principal: &Principal, container: Option<&str>) -> Self {
        let here = |assignment: &&Assignment| {
            let scope = assignment.container.as_deref();
            (scope.is_none() || scope == container) && principal.is(&assignment.assignee)
        };
        Self(assignments.iter().filter(here).map(|given| given.role).collect())
    }

    /// Whether one of the roles has the action.
    #[must_use]
    pub fn allow(&self, action: Action) -> bool {
        self.0.iter().any(|role| role.allows(action))
    }
}

/// What an operation takes of a role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takes {
    /// This action.
    One(Action),
    /// The first to read, the second to write: operations that share a row of docs/compat.
    ReadOrWrite(Action, Action),
    /// Nothing: it is asked before anybody is known.
    Nothing,
    /// Nothing itself: each part is a request of its own.
    EachPart,
}

use Action::{
    AccountInformation, BlobsDelete, BlobsRead, BlobsWrite, ContainersDelete, ContainersGetAcl,
    ContainersRead, ContainersSetAcl, ContainersWrite, DelegationKey, Filter, ImmutableStorage, ServiceRead,
    ServiceWrite, TagsRead, TagsWrite,
};
use Takes::One;

/// What each operation takes of a role; operations by their names in operation.rs.
pub const OPERATIONS: &[(&str, Takes)] = &[
    ("List Containers", One(ContainersRead)),
    ("Set Blob Service Properties", One(ServiceWrite)),
    ("Get Blob Service Properties", One(ServiceRead)),
    ("Preflight Blob Request", Takes::Nothing),
    ("Get Blob Service Stats", One(ServiceRead)),
    ("Get Account Information", One(AccountInformation)),
    ("Get User Delegation Key", One(DelegationKey)),
    ("Find Blobs by Tags", One(Filter)),
    ("Blob Batch", Takes::EachPart),
    ("Create Container", One(ContainersWrite)),
    ("Get Container Properties", One(ContainersRead)),
    ("Get Container Metadata", One(ContainersRead)),
    ("Set Container Metadata", One(ContainersWrite)),
    ("Get Container ACL", One(ContainersGetAcl)),
    ("Set Container ACL", One(ContainersSetAcl)),
    ("Delete Container", One(ContainersDelete)),
    ("Restore Container", One(ContainersWrite)),
    ("Lease Container", One(ContainersWrite)),
    ("List Blobs", One(BlobsRead)),
    ("Put Blob", One(BlobsWrite)),
    ("Put Blob from URL", One(BlobsWrite)),
    ("Get Blob", One(BlobsRead)),
    ("Get Blob Properties", One(BlobsRead)),
    ("Set Blob Properties", One(BlobsWrite)),
    ("Get Blob Metadata", One(BlobsRead)),
    ("Set Blob Metadata", One(BlobsWrite)),
    ("Lease Blob", One(BlobsWrite)),
    ("Snapshot Blob", One(BlobsWrite)),
    ("Copy Blob", One(BlobsWrite)),
    ("Abort Copy Blob", One(BlobsWrite)),
    ("Delete Blob", One(BlobsDelete)),
    ("Undelete Blob", One(BlobsWrite)),
    ("Set Blob Tier", One(BlobsWrite)),
    ("Get, Set Blob Tags", Takes::ReadOrWrite(TagsRead, TagsWrite)),
    ("Set Blob Expiry", One(BlobsWrite)),
    ("Set, Delete Immutability Policy", One(ImmutableStorage)),
    ("Set Blob Legal Hold", One(ImmutableStorage)),
    ("Query Blob Contents", One(BlobsRead)),
    ("Put Block", One(BlobsWrite)),
    ("Put Block from URL", One(BlobsWrite)),
    ("Put Block List", One(BlobsWrite)),
    ("Get Block List", One(BlobsRead)),
    ("Put Page", One(BlobsWrite)),
    ("Put Page from URL", One(BlobsWrite)),
    ("Get Page Ranges", One(BlobsRead)),
    ("Incremental Copy Blob", One(BlobsWrite)),
    ("Append Block", One(BlobsWrite)),
    ("Append Block from URL", One(BlobsWrite)),
    ("Append Blob Seal", One(BlobsWrite)),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operation;

    #[test]
    fn every_operation_has_a_row_and_every_row_an_operation() {
        let served: Vec<&str> = operation::OPERATIONS.iter().map(|one| one.name).collect();
        let rows: Vec<&str> = OPERATIONS.iter().map(|(name, _)| *name).collect();
        assert_eq!(rows, served);
    }

    #[test]
    fn roles_have_their_actions_and_no_others() {
        use Action::*;
        // Owner, Contributor, Reader, Delegator.
        let table = [
            (ServiceRead, [false, false, false, false]),
            (ServiceWrite, [false, false, false, false]),
            (AccountInformation, [false, false, false, false]),
            (DelegationKey, [true, true, true, true]),
            (ContainersRead, [true, true, true, false]),
            (ContainersWrite, [true, true, false, false]),
            (ContainersDelete, [true, true, false, false]),
            (ContainersGetAcl, [true, false, false, false]),
            (ContainersSetAcl, [true, false, false, false]),
            (BlobsRead, [true, true, true, false]),
            (BlobsWrite, [true, true, false, false]),
            (BlobsDelete, [true, true, false, false]),
            (VersionsDelete, [true, false, false, false]),
            (PermanentDelete, [true, false, false, false]),
            (TagsRead, [true, false, false, false]),
            (TagsWrite, [true, false, false, false]),
            (Filter, [true, false, false, false]),
            (ImmutableStorage, [true, false, false, false]),
        ];
        for (action, row) in table {
            for (role, expected) in Role::ALL.into_iter().zip(row) {
                assert_eq!(role.allows(action), expected, "{role:?} {action:?}");
                assert_eq!(Rights(vec![role]).allow(action), expected);
            }
            assert!(!Rights::default().allow(action), "{action:?}");
        }
    }

    #[test]
    fn permissions_stand_for_actions() {
        for (resource, any_of, action) in [
            ('s', "l", Some(ContainersRead)),
            ('s', "r", Some(ServiceRead)),
            ('s', "w", Some(ServiceWrite)),
            ('s', "f", Some(Filter)),
            ('s', "d", None),
            ('c', "r", Some(ContainersRead)),
            ('c', "cw", Some(ContainersWrite)),
            ('c', "w", Some(ContainersWrite)),
            ('c', "wd", Some(ContainersWrite)),
            ('c', "d", Some(ContainersDelete)),
            ('c', "l", Some(BlobsRead)),
            ('c', "t", Some(TagsRead)),
            ('o', "r", Some(BlobsRead)),
            ('o', "cw", Some(BlobsWrite)),
            ('o', "aw", Some(BlobsWrite)),
            ('o', "wd", Some(BlobsWrite)),
            ('o', "d", Some(BlobsDelete)),
            ('o', "x", Some(Action::VersionsDelete)),
            ('o', "t", Some(TagsRead)),
            ('o', "e", None),
            ('x', "r", None),
        ] {
            assert_eq!(Action::of(resource, any_of), action, "{resource} {any_of}");
        }
    }

    #[test]
    fn roles_are_held_where_and_by_whom_they_were_given() {
        let given = |role, assignee, container: Option<&str>| Assignment {
            role,
            assignee,
            container: container.map(str::to_owned),
        };
        let assignments = [
            given(Role::Reader, Assignee::Principal("A1".to_owned()), None),
            given(
                Role::Contributor,
                Assignee::Principal("a1".to_owned()),
                Some("box"),
            ),
            given(Role::Owner, Assignee::Group("g1".to_owned()), None),
            given(Role::Owner, Assignee::AppRole("admin".to_owned()), Some("box")),
        ];
        let writes = |principal: &Principal, container| {
            let rights = Rights::of(&assignments, principal, container);
            (
                rights.allow(BlobsRead),
                rights.allow(BlobsWrite),
                rights.allow(TagsRead),
            )
        };
        let a1 = Principal::of_object("a1");
        assert_eq!(writes(&a1, Some("box")), (true, true, false));
        assert_eq!(writes(&a1, Some("other")), (true, false, false));
        assert_eq!(writes(&a1, None), (true, false, false));
        assert_eq!(
            writes(&Principal::of_object("a2"), Some("box")),
            (false, false, false)
        );
        assert_eq!(writes(&Principal::of_object(""), None), (false, false, false));
        // An id in another claim is another one.
        assert_eq!(writes(&Principal::of_object("g1"), None), (false, false, false));
        let grouped = Principal {
            groups: vec!["G1".to_owned()],
            ..Principal::of_object("a2")
        };
        assert_eq!(writes(&grouped, None), (true, true, true));
        let app = Principal {
            app_roles: vec!["admin".to_owned()],
            ..Principal::of_object("a2")
        };
        assert_eq!(writes(&app, Some("box")), (true, true, true));
        assert_eq!(writes(&app, Some("boxes")), (false, false, false));
    }

    #[test]
    fn roles_are_read_by_name_and_id() {
        for role in Role::ALL {
            assert_eq!(Role::parse(role.name()), Some(role));
            assert_eq!(Role::parse(&role.id().to_uppercase()), Some(role));
        }
        assert_eq!(Role::parse("Owner"), None);
    }
}
