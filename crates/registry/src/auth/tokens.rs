//! Tokens that registries give out: refresh tokens, which say who somebody is, and access tokens, which say what
//! may be done. Signed with a key of the registry's own, so one registry's tokens are nothing to another one.

use identity::{Claims, TokenError, TokenVerifier};
use serde_json::{Map, Value, json};

use crate::RegistryService;
use crate::auth::basic::Identity;
use crate::auth::{Access, Shown};
use crate::error::{ErrorCode, RegistryError};
use crate::limits::REFRESH_TOKEN_SECONDS;
use crate::rules::grants::{Action, Grant, Pattern};
use crate::settings::Registry;

/// What tokens call their issuer, as the original's do.
const ISSUER: &str = "Azure Container Registry";

/// The claim of a refresh token that says whose it is.
pub(crate) const IDENTITY: &str = "identity";

/// What a token is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Use {
    Access,
    Refresh,
}

impl Use {
    fn grant_type(self) -> &'static str {
        match self {
            Self::Access => "access_token",
            Self::Refresh => "refresh_token",
        }
    }
}

impl RegistryService {
    /// A token's claims, if it is one of this registry for this use.
    ///
    /// # Errors
    /// Where nothing can be found out.
    pub(crate) async fn verify(
        &self,
        registry: &Registry,
        token: &str,
        wanted: Use,
    ) -> Result<Option<Claims>, RegistryError> {
        let Some(issuer) = self.issuers.get(&registry.name) else {
            return Ok(None);
        };
        let verifier = TokenVerifier::new(issuer.clone(), self.clock.clone());
        let claims = match verifier.verify(token).await {
            Ok(claims) => claims,
            Err(TokenError::Keys(error)) => {
                tracing::error!(%error, "no token can be verified");
                return Err(ErrorCode::Unavailable.into());
            }
            Err(_) => return Ok(None),
        };
        // The audience is a host of the registry, its name beside it; another registry's hosts are others.
        let is_own = claims.text("iss").as_deref() == Some(ISSUER)
            && claims.text("registry").as_deref() == Some(registry.name.as_str())
            && claims.text("aud").is_some_and(|host| {
                let named = self.settings.registry(&crate::settings::host_name(&host));
                named.is_some_and(|named| named.name == registry.name)
            })
            && claims.text("grant_type").as_deref() == Some(wanted.grant_type());
        Ok(Some(claims).filter(|_| is_own))
    }

    /// What an access token permits.
    pub(crate) async fn access_of_token(
        &self,
        registry: &Registry,
        token: &str,
    ) -> Result<Option<Access>, RegistryError> {
        let Some(claims) = self.verify(registry, token, Use::Access).await? else {
            return Ok(None);
        };
        let mut access = Access {
            name: claims.text("sub"),
            grants: Vec::new(),
            shown: Shown::Good,
            expires: claims.integer("exp"),
            lists_catalog: false,
            lists_deleted: false,
        };
        let entries = claims.get("access").and_then(Value::as_array);
        for entry in entries.into_iter().flatten() {
            let text = |name: &str| entry.get(name).and_then(Value::as_str).unwrap_or_default();
            let actions = entry.get("actions").and_then(Value::as_array);
            let actions: Vec<&str> = actions.into_iter().flatten().filter_map(Value::as_str).collect();
            match (text("type"), text("name")) {
                ("registry", "catalog") => access.lists_catalog |= actions.contains(&"*"),
                ("registry", "deleted_catalog") => access.lists_deleted |= actions.contains(&"*"),
                ("repository", name) => access.grants.push(Grant {
                    repositories: match name {
                        "*" => Pattern::All,
                        name => Pattern::One(name.to_owned()),
                    },
                    actions: actions.into_iter().filter_map(Action::parse).collect(),
                }),
                _ => {}
            }
        }
        Ok(Some(access))
    }

    async fn issue(
        &self,
        registry: &Registry,
        host: &str,
        subject: Option<&str>,
        kind: (Use, i64),
        own: (&str, Value),
    ) -> Result<String, RegistryError> {
        let mut claims = Map::new();
        claims.insert("jti".to_owned(), json!(self.random.uuid().to_string()));
        if let Some(subject) = subject {
            claims.insert("sub".to_owned(), json!(subject));
        }
        claims.insert("aud".to_owned(), json!(host));
        claims.insert("version".to_owned(), json!("1.0"));
        claims.insert("registry".to_owned(), json!(registry.name));
        let (wanted, seconds) = kind;
        claims.insert("grant_type".to_owned(), json!(wanted.grant_type()));
        claims.insert(own.0.to_owned(), own.1);
        let issuer = self
            .issuers
            .get(&registry.name)
            .ok_or(ErrorCode::RegistryUnknown)?;
        Ok(issuer.issue(ISSUER, claims, seconds).await?)
    }

    /// A token for `access`, the list of what it permits, good for `seconds`.
    pub(crate) async fn access_token(
        &self,
        registry: &Registry,
        host: &str,
        subject: Option<&str>,
        access: Vec<Value>,
        seconds: i64,
    ) -> Result<String, RegistryError> {
        let kind = (Use::Access, seconds);
        let own = ("access", Value::Array(access));
        self.issue(registry, host, subject, kind, own).await
    }

    /// A token that says who somebody is.
    pub(crate) async fn refresh_token(
        &self,
        registry: &Registry,
        host: &str,
        identity: &Identity,
    ) -> Result<String, RegistryError> {
        let kind = (Use::Refresh, REFRESH_TOKEN_SECONDS);
        let own = (IDENTITY, identity.claim());
        self.issue(registry, host, Some(&identity.id), kind, own).await
    }
}
