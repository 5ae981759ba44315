//! Which repositories are fetched from elsewhere (Azure Container Registry, "Artifact cache").

/// A rule's names: `hub/*` for `library/*`, or one repository for one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheNames {
    target: Names,
    source: Names,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Names {
    One(String),
    /// What begins with it, the slash included.
    Below(String),
}

impl Names {
    fn parse(text: &str) -> Option<Self> {
        let is_name = |name: &str| super::name::is_repository(name, "");
        match text.strip_suffix("/*") {
            Some(prefix) if is_name(prefix) => Some(Self::Below(format!("{prefix}/"))),
            None if text == "*" => Some(Self::Below(String::new())),
            None if is_name(text) => Some(Self::One(text.to_owned())),
            _ => None,
        }
    }
}

impl CacheNames {
    /// The names of a rule; `None` unless both are names, or both end in `/*` (or are `*`).
    #[must_use]
    pub fn parse(target: &str, source: &str) -> Option<Self> {
        let names = Self {
            target: Names::parse(target)?,
            source: Names::parse(source)?,
        };
        let are_alike = matches!(
            (&names.target, &names.source),
            (Names::One(_), Names::One(_)) | (Names::Below(_), Names::Below(_))
        );
        are_alike.then_some(names)
    }

    /// What a repository is called at its source, if the rule is about it.
    #[must_use]
    pub fn source_of(&self, repository: &str) -> Option<String> {
        match (&self.target, &self.source) {
            (Names::One(own), Names::One(source)) => (own == repository).then(|| source.clone()),
            (Names::Below(own), Names::Below(source)) => {
                let rest = repository
                    .strip_prefix(own.as_str())
                    .filter(|rest| !rest.is_empty())?;
                Some(format!("{source}{rest}"))
            }
            _ => None,
        }
    }

    /// Whether some repository is a target of both.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        match (&self.target, &other.target) {
            (Names::One(one), Names::One(other)) => one == other,
            (Names::One(one), Names::Below(prefix)) | (Names::Below(prefix), Names::One(one)) => {
                one.starts_with(prefix.as_str())
            }
            (Names::Below(one), Names::Below(other)) => one.starts_with(other) || other.starts_with(one),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repositories_have_sources() {
        let source = |target: &str, source: &str, name: &str| {
            CacheNames::parse(target, source).unwrap().source_of(name)
        };
        assert_eq!(
            source("hub/*", "library/*", "hub/alpine").as_deref(),
            Some("library/alpine")
        );
        assert_eq!(source("hub/*", "*", "hub/a/b").as_deref(), Some("a/b"));
        assert_eq!(
            source("alpine", "library/alpine", "alpine").as_deref(),
            Some("library/alpine")
        );
        assert_eq!(source("hub/*", "library/*", "hub"), None);
        assert_eq!(source("hub/*", "library/*", "hubs/alpine"), None);
        assert_eq!(source("alpine", "library/alpine", "alpine/x"), None);
        for (target, source) in [
            ("a", "b/*"),
            ("a/*", "b"),
            ("A", "b"),
            ("a*", "b*"),
            ("", "b"),
            ("a", "*"),
        ] {
            assert_eq!(CacheNames::parse(target, source), None, "{target} {source}");
        }
        let names = |target: &str, source: &str| CacheNames::parse(target, source).unwrap();
        assert!(names("a/*", "x/*").overlaps(&names("a/b/*", "x/*")));
        assert!(names("a/b", "x").overlaps(&names("a/*", "x/*")));
        assert!(!names("a/*", "x/*").overlaps(&names("b/*", "x/*")));
        assert!(!names("a", "x").overlaps(&names("b", "x")));
    }
}
