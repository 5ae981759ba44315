//! What stands in for Altinn's other services in `dev`: test tokens and the keys that verify them.
//!
//! Invariant: nothing of it exists outside of `dev`, where everybody may be anybody.

mod tokens;

use std::sync::Arc;

use http::{Response, StatusCode, Uri};
use http_semantics::Body;
use identity::TokenIssuer;
use serde_json::json;

use crate::decision::RegisterSource;
use crate::error::PlatformError;
use crate::wire::answer;
use crate::wire::query::Query;

const OPENID: &str = "/authentication/api/v1/openid/.well-known/openid-configuration";

/// Issues test tokens.
pub struct Development {
    issuer: Arc<TokenIssuer>,
    register: Arc<RegisterSource>,
}

impl std::fmt::Debug for Development {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Development(..)")
    }
}

impl Development {
    /// Tokens by `issuer` for the users of `register`.
    #[must_use]
    pub fn new(issuer: Arc<TokenIssuer>, register: Arc<RegisterSource>) -> Self {
        Self { issuer, register }
    }

    /// The answer to a GET, if its path is one of these conveniences.
    pub(crate) async fn serve(
        &self,
        uri: &Uri,
        origin: &str,
    ) -> Result<Option<Response<Body>>, PlatformError> {
        let issuer = format!("{origin}/authentication/api/v1/openid/");
        let path = uri.path();
        if path.eq_ignore_ascii_case(OPENID) {
            let keys = format!("{origin}{OPENID}/jwks");
            return answer::json(
                StatusCode::OK,
                &json!({
                    "issuer": issuer, "jwks_uri": keys,
                    "id_token_signing_alg_values_supported": ["RS256"],
                    "subject_types_supported": ["public"], "response_types_supported": ["id_token"],
                }),
            )
            .map(Some);
        }
        if path.eq_ignore_ascii_case(&format!("{OPENID}/jwks")) {
            let keys = self.issuer.public_keys().await;
            let keys = keys.map_err(|error| PlatformError::Internal(error.to_string()))?;
            return answer::json(StatusCode::OK, keys.as_ref()).map(Some);
        }
        let mut segments = path.split('/').filter(|segment| !segment.is_empty());
        if !segments
            .next()
            .is_some_and(|first| first.eq_ignore_ascii_case("home"))
        {
            return Ok(None);
        }
        let kind = segments.next().unwrap_or_default().to_ascii_lowercase();
        let name = segments.next().unwrap_or_default();
        let query = Query::parse(uri.query());
        let register = self.register.current()?;
        let claims = match kind.as_str() {
            "gettestusertoken" => tokens::user(name, &query, &register)?,
            "gettestorgtoken" => tokens::org(name, &query)?,
            "getteststudiotoken" => tokens::studio(),
            _ => return Ok(None),
        };
        let ttl_seconds = tokens::ttl_seconds(&query)?;
        let token = self.issuer.issue(&issuer, claims, ttl_seconds).await;
        let token = token.map_err(|error| PlatformError::Internal(error.to_string()))?;
        Ok(Some(answer::text(StatusCode::OK, token)))
    }
}
