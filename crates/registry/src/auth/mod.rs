//! Who calls, and what they may: nobody, a user with a password, or the bearer of a token that was given out
//! here.
//!
//! Invariant: whether something exists is found out after it was decided that the caller may know.

pub(crate) mod basic;
pub(crate) mod tokens;

use http::HeaderMap;
use http::header::AUTHORIZATION;
use serde_json::{Value, json};

use crate::RegistryService;
use crate::error::RegistryError;
use crate::rules::grants::{Action, Grant};
use crate::settings::Registry;

/// What a caller showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shown {
    Nothing,
    /// A token or a password that is good, but may be for too little.
    Good,
    /// A token that is no longer good, or never was: it permits nothing, and the challenge says where to get another
    /// one for what was asked.
    BadToken,
}

/// A caller.
#[derive(Debug, Clone)]
pub(crate) struct Access {
    /// The name, if there is one: uploads belong to it.
    pub(crate) name: Option<String>,
    pub(crate) grants: Vec<Grant>,
    pub(crate) shown: Shown,
    /// When the token ends that was shown, in seconds since 1970: what is given out by it ends then, too.
    pub(crate) expires: Option<i64>,
    /// Whether lists of all repositories are open to it, as far as it may read each.
    pub(crate) lists_catalog: bool,
    /// The same of repositories that have something soft-deleted.
    pub(crate) lists_deleted: bool,
}

impl Access {
    /// Who shows nothing.
    pub(crate) fn anonymous(registry: &Registry) -> Self {
        let mut grants = Vec::new();
        if registry.open {
            grants.push(Grant::all());
        } else if registry.anonymous_pull {
            grants.push(Grant {
                repositories: crate::rules::grants::Pattern::All,
                actions: vec![Action::Pull],
            });
        }
        Self {
            name: None,
            grants,
            shown: Shown::Nothing,
            expires: None,
            lists_catalog: registry.open,
            lists_deleted: registry.open,
        }
    }

    /// Who shows a token that isn't good: less than who shows nothing.
    fn of_bad_token() -> Self {
        Self {
            name: None,
            grants: Vec::new(),
            shown: Shown::BadToken,
            expires: None,
            lists_catalog: false,
            lists_deleted: false,
        }
    }

    /// Whether it may do this.
    pub(crate) fn permits(&self, repository: &str, action: Action) -> bool {
        self.grants.iter().any(|grant| grant.permits(repository, action))
    }

    /// Whose uploads it has.
    pub(crate) fn caller(&self) -> &str {
        self.name.as_deref().unwrap_or_default()
    }
}

/// Where a client gets tokens.
#[derive(Debug, Clone)]
pub(crate) struct Realm {
    pub(crate) scheme: &'static str,
    /// The host as the client named it, with its port.
    pub(crate) host: String,
    /// The registry's own host, where the client takes this one for its mirror and names it by `ns`.
    pub(crate) namespace: Option<String>,
}

impl Realm {
    /// Whom tokens are for: a host of the registry.
    pub(crate) fn service(&self) -> &str {
        self.namespace.as_deref().unwrap_or(&self.host)
    }

    /// `WWW-Authenticate`. No blank comes behind a comma: a client of Azure's takes it for a part of the name.
    fn challenge(&self, scope: Option<&str>, shown: Shown) -> String {
        let Self { scheme, host, .. } = self;
        let mut out = format!("Bearer realm=\"{scheme}://{host}/oauth2/token");
        if let Some(namespace) = &self.namespace {
            out.push_str(&format!("?ns={namespace}"));
        }
        out.push_str(&format!("\",service=\"{}\"", self.service()));
        if let Some(scope) = scope {
            out.push_str(&format!(",scope=\"{scope}\""));
        }
        out.push_str(match shown {
            Shown::Nothing => "",
            Shown::Good => ",error=\"insufficient_scope\"",
            Shown::BadToken => ",error=\"invalid_token\"",
        });
        out
    }

    /// 401 for who may not do something with a repository.
    pub(crate) fn refuse(&self, access: &Access, repository: &str, actions: &[Action]) -> RegistryError {
        let names: Vec<&str> = actions.iter().map(|action| action.name()).collect();
        let scope = format!("repository:{repository}:{}", names.join(","));
        let detail: Vec<Value> = names
            .iter()
            .map(|action| json!({"Type": "repository", "Name": repository, "Action": action}))
            .collect();
        let challenge = self.challenge(Some(&scope), access.shown);
        RegistryError::challenge(challenge, Value::Array(detail))
    }

    /// 401 for who may not list all repositories: `name` is `catalog`, or `deleted_catalog`.
    pub(crate) fn refuse_catalog(&self, access: &Access, name: &str) -> RegistryError {
        let challenge = self.challenge(Some(&format!("registry:{name}:*")), access.shown);
        RegistryError::challenge(
            challenge,
            json!([{"Type": "registry", "Name": name, "Action": "*"}]),
        )
    }

    /// 401 for who must log in, or showed what isn't good.
    pub(crate) fn refuse_stranger(&self) -> RegistryError {
        RegistryError::challenge(self.challenge(None, Shown::Nothing), Value::Null)
    }

    /// 401 for who may use nothing here.
    pub(crate) fn refuse_all(&self, access: &Access) -> RegistryError {
        RegistryError::challenge(self.challenge(None, access.shown), Value::Null)
    }
}

impl RegistryService {
    /// Who calls.
    ///
    /// # Errors
    /// `UNAUTHORIZED` for a password that isn't good, also where no login is asked for. What a bad token is for only
    /// the operation can say, which refuses it.
    pub(crate) async fn authenticate(
        &self,
        registry: &Registry,
        realm: &Realm,
        headers: &HeaderMap,
    ) -> Result<Access, RegistryError> {
        let Some(header) = headers.get(AUTHORIZATION) else {
            return Ok(Access::anonymous(registry));
        };
        let header = header.to_str().map_err(|_| realm.refuse_stranger())?;
        let (scheme, rest) = header.split_once(' ').unwrap_or((header, ""));
        let rest = rest.trim();
        let found = if scheme.eq_ignore_ascii_case("bearer") {
            let found = self.access_of_token(registry, rest).await?;
            Some(found.unwrap_or_else(Access::of_bad_token))
        } else if scheme.eq_ignore_ascii_case("basic") {
            match basic::decode(rest) {
                Some((user, password)) => self.log_in(registry, &user, &password).await?,
                None => None,
            }
        } else {
            None
        };
        found.ok_or_else(|| realm.refuse_stranger())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_have_no_blank_behind_a_comma() {
        let realm = Realm {
            scheme: "https",
            host: "h:5000".to_owned(),
            namespace: None,
        };
        let expected = "Bearer realm=\"https://h:5000/oauth2/token\",service=\"h:5000\"";
        assert_eq!(realm.challenge(None, Shown::Nothing), expected);
        assert_eq!(
            realm.challenge(Some("repository:a/b:pull,push"), Shown::Good),
            format!("{expected},scope=\"repository:a/b:pull,push\",error=\"insufficient_scope\"")
        );
    }
}
