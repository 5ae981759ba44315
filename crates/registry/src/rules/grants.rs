//! Who may do what: actions on repositories, and the roles that stand for them.

/// What may be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// Read manifests and blobs.
    Pull,
    /// Write them.
    Push,
    /// Delete them.
    Delete,
    /// Read lists and attributes.
    MetadataRead,
    /// Change attributes.
    MetadataWrite,
    /// Read lists of what is soft-deleted.
    DeletedRead,
    /// Restore it.
    DeletedRestore,
}

impl Action {
    /// Every action.
    pub const ALL: [Self; 7] = [
        Self::Pull,
        Self::Push,
        Self::Delete,
        Self::MetadataRead,
        Self::MetadataWrite,
        Self::DeletedRead,
        Self::DeletedRestore,
    ];

    /// As scopes write it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Pull => "pull",
            Self::Push => "push",
            Self::Delete => "delete",
            Self::MetadataRead => "metadata_read",
            Self::MetadataWrite => "metadata_write",
            Self::DeletedRead => "deleted_read",
            Self::DeletedRestore => "deleted_restore",
        }
    }

    /// The action of a name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.name() == name)
    }
}

/// Which repositories: all, those below a prefix, or one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pattern {
    /// `*`
    All,
    /// `prefix/*` or `prefix*`: what begins with the prefix.
    Prefix(String),
    /// One name.
    One(String),
}

impl Pattern {
    /// Reads one; `None` if `*` stands elsewhere than at the end, or it is empty.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text.strip_suffix('*') {
            _ if text.is_empty() => None,
            Some("") => Some(Self::All),
            Some(prefix) => (!prefix.contains('*')).then(|| Self::Prefix(prefix.to_owned())),
            None => (!text.contains('*')).then(|| Self::One(text.to_owned())),
        }
    }

    /// Whether `repository` is one of them.
    #[must_use]
    pub fn matches(&self, repository: &str) -> bool {
        match self {
            Self::All => true,
            Self::Prefix(prefix) => repository.starts_with(prefix.as_str()),
            Self::One(name) => repository == name,
        }
    }
}

/// Actions on repositories.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// Which repositories.
    pub repositories: Pattern,
    /// What may be done with them.
    pub actions: Vec<Action>,
}

impl Grant {
    /// Whether it permits `action` on `repository`.
    #[must_use]
    pub fn permits(&self, repository: &str, action: Action) -> bool {
        self.actions.contains(&action) && self.repositories.matches(repository)
    }

    /// Whether it permits `action` on every repository, those that don't exist yet as well.
    #[must_use]
    pub fn permits_all(&self, action: Action) -> bool {
        self.actions.contains(&action) && self.repositories == Pattern::All
    }

    /// Everything.
    #[must_use]
    pub fn all() -> Self {
        Self {
            repositories: Pattern::All,
            actions: Action::ALL.to_vec(),
        }
    }
}

/// A role of Azure Container Registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// `AcrPull`.
    Pull,
    /// `AcrPush`: pull, too.
    Push,
    /// `AcrDelete`.
    Delete,
    /// `Owner` and `Contributor`.
    Owner,
    /// `Reader`: pull, too.
    Reader,
}

impl Role {
    /// Names of roles, as configurations have them.
    pub const NAMES: [(&'static str, Self); 6] = [
        ("AcrPull", Self::Pull),
        ("AcrPush", Self::Push),
        ("AcrDelete", Self::Delete),
        ("Owner", Self::Owner),
        ("Contributor", Self::Owner),
        ("Reader", Self::Reader),
    ];

    /// The role of a name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        let found = Self::NAMES.iter().find(|(known, _)| *known == name);
        found.map(|(_, role)| *role)
    }

    /// What it stands for.
    #[must_use]
    pub fn actions(self) -> Vec<Action> {
        match self {
            Self::Pull | Self::Reader => vec![Action::Pull, Action::MetadataRead],
            Self::Push => vec![
                Action::Pull,
                Action::Push,
                Action::MetadataRead,
                Action::MetadataWrite,
            ],
            Self::Delete => vec![Action::Delete],
            Self::Owner => Action::ALL.to_vec(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match() {
        let matches = |pattern: &str, name: &str| Pattern::parse(pattern).unwrap().matches(name);
        assert!(matches("*", "a/b") && matches("a/*", "a/b") && matches("a/b", "a/b") && matches("a*", "ab"));
        assert!(!matches("a/*", "a") && !matches("a/*", "b/a") && !matches("a", "a/b"));
        for bad in ["", "*a", "a*b", "a/**"] {
            assert_eq!(Pattern::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn roles_stand_for_actions() {
        let table: Vec<(&str, Vec<bool>)> = Role::NAMES
            .iter()
            .map(|(name, role)| {
                let actions = role.actions();
                (
                    *name,
                    Action::ALL
                        .iter()
                        .map(|action| actions.contains(action))
                        .collect(),
                )
            })
            .collect();
        let (yes, no) = (true, false);
        assert_eq!(
            table,
            [
                ("AcrPull", vec![yes, no, no, yes, no, no, no]),
                ("AcrPush", vec![yes, yes, no, yes, yes, no, no]),
                ("AcrDelete", vec![no, no, yes, no, no, no, no]),
                ("Owner", vec![yes; 7]),
                ("Contributor", vec![yes; 7]),
                ("Reader", vec![yes, no, no, yes, no, no, no]),
            ]
        );
        assert_eq!(Role::parse("acrpull"), None);
        for action in Action::ALL {
            assert_eq!(Action::parse(action.name()), Some(action));
        }
    }
}
