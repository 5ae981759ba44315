//! What a token is asked for and gives (distribution, "Token Scope Documentation"; azure/acr, AAD-OAuth.md).

use serde_json::{Value, json};

use crate::rules::grants::{Action, Grant};
use crate::rules::name;

/// What a scope is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resource {
    /// `repository:NAME`.
    Repository(String),
    /// `repository:*`: all of them.
    Repositories,
    /// `registry:catalog`.
    Catalog,
    /// `registry:deleted_catalog`.
    DeletedCatalog,
    /// Something that nothing is granted for.
    Other(String, String),
}

/// One scope: `type:name:action,action`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    /// What it is about.
    pub resource: Resource,
    /// The actions that are named, `*` among them.
    pub actions: Vec<String>,
}

impl Scope {
    /// Reads one; `None` if it isn't one. The name may hold colons: a host's port.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (kind, rest) = text.split_once(':')?;
        let (resource, actions) = rest.rsplit_once(':')?;
        // A class, `repository(plugin)`, changes nothing here.
        let kind = kind.split('(').next().unwrap_or_default();
        if kind.is_empty() || resource.is_empty() {
            return None;
        }
        let resource = match (kind, resource) {
            ("repository", "*") => Resource::Repositories,
            ("repository", named) if name::is_repository(named, "") => Resource::Repository(named.to_owned()),
            ("registry", "catalog") => Resource::Catalog,
            ("registry", "deleted_catalog") => Resource::DeletedCatalog,
            (kind, named) => Resource::Other(kind.to_owned(), named.to_owned()),
        };
        let actions = actions
            .split(',')
            .filter(|action| !action.is_empty())
            .map(str::to_owned)
            .collect();
        Some(Self { resource, actions })
    }

    /// What of it is granted to who holds `grants`: less than was asked for is no error.
    #[must_use]
    pub fn granted(&self, grants: &[Grant]) -> Vec<Action> {
        let asked = |action: Action| {
            self.actions
                .iter()
                .any(|asked| asked == "*" || asked == action.name())
        };
        let held = |action: Action| match &self.resource {
            Resource::Repository(repository) => grants.iter().any(|grant| grant.permits(repository, action)),
            Resource::Repositories | Resource::Catalog => {
                grants.iter().any(|grant| grant.permits_all(action))
            }
            Resource::DeletedCatalog => {
                action == Action::DeletedRead && grants.iter().any(|grant| grant.permits_all(action))
            }
            Resource::Other(..) => false,
        };
        Action::ALL
            .into_iter()
            .filter(|action| asked(*action) && held(*action))
            .collect()
    }

    /// The grant that a token has of it, as its `access` claim says it.
    #[must_use]
    pub fn claim(&self, granted: &[Action]) -> Value {
        let (kind, resource) = match &self.resource {
            Resource::Repository(named) => ("repository", named.as_str()),
            Resource::Repositories => ("repository", "*"),
            Resource::Catalog => ("registry", "catalog"),
            Resource::DeletedCatalog => ("registry", "deleted_catalog"),
            Resource::Other(kind, named) => (kind.as_str(), named.as_str()),
        };
        let mut actions: Vec<&str> = granted.iter().map(|action| action.name()).collect();
        let is_catalog = matches!(self.resource, Resource::Catalog | Resource::DeletedCatalog);
        if is_catalog && !granted.is_empty() {
            actions = vec!["*"];
        }
        json!({"type": kind, "name": resource, "actions": actions})
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::grants::Pattern;

    #[test]
    fn scopes_are_read() {
        let scope = Scope::parse("repository:a/b:pull,push").unwrap();
        assert_eq!(scope.resource, Resource::Repository("a/b".to_owned()));
        assert_eq!(scope.actions, ["pull", "push"]);
        let classed = Scope::parse("repository(plugin):a:pull").unwrap();
        assert_eq!(classed.resource, Resource::Repository("a".to_owned()));
        assert_eq!(
            Scope::parse("registry:catalog:*").unwrap().resource,
            Resource::Catalog
        );
        assert_eq!(
            Scope::parse("repository:*:*").unwrap().resource,
            Resource::Repositories
        );
        let with_port = Scope::parse("repository:h:5000/a:pull").unwrap();
        assert_eq!(
            with_port.resource,
            Resource::Other("repository".into(), "h:5000/a".into())
        );
        assert_eq!(
            Scope::parse("repository:a:").unwrap().actions,
            Vec::<String>::new()
        );
        for bad in ["", "a", "a:b", ":b:c", "a::c"] {
            assert_eq!(Scope::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_grant_is_what_is_asked_for_and_held() {
        let grants = [Grant {
            repositories: Pattern::parse("team/*").unwrap(),
            actions: vec![Action::Pull, Action::Push, Action::MetadataRead],
        }];
        let granted = |text: &str| Scope::parse(text).unwrap().granted(&grants);
        assert_eq!(
            granted("repository:team/a:pull,push,delete"),
            [Action::Pull, Action::Push]
        );
        assert_eq!(granted("repository:team/a:*").len(), 3);
        for other in [
            "repository:other:pull",
            "repository:team:pull",
            "repository:*:*",
            "registry:catalog:*",
        ] {
            assert_eq!(granted(other), [], "{other}");
        }
        let all = [Grant {
            repositories: Pattern::parse("*").unwrap(),
            actions: vec![Action::Pull, Action::MetadataRead],
        }];
        let scope = Scope::parse("registry:catalog:*").unwrap();
        let claim = scope.claim(&scope.granted(&all));
        assert_eq!(
            claim,
            json!({"type": "registry", "name": "catalog", "actions": ["*"]})
        );
    }
}
