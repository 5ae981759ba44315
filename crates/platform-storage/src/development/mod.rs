//! What stands in for Altinn's other services in `dev`: test tokens and the keys that verify them, a start page, and
//! what an app asks of them beside storage.
//!
//! Invariant: nothing of it exists outside of `dev`, where everybody may be anybody.

mod decision;
mod pages;
mod services;
pub mod storage;
mod tokens;

use std::sync::Arc;

use http::{Method, Request, Response, StatusCode, Uri};
use http_semantics::Body;
use identity::TokenIssuer;
use ledger::Clock;
use serde_json::{Map, Value, json};

use crate::Platform;
use crate::decision::{DecisionPoint, RegisterSource};
use crate::error::PlatformError;
use crate::wire::answer;
use crate::wire::query::Query;

const OPENID: &str = "/authentication/api/v1/openid/.well-known/openid-configuration";

/// Issues test tokens.
pub struct Development {
    issuer: Arc<TokenIssuer>,
    register: Arc<RegisterSource>,
    clock: Arc<dyn Clock>,
    decision: Arc<dyn DecisionPoint>,
}

impl std::fmt::Debug for Development {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Development(..)")
    }
}

impl Development {
    /// What the platform's own components' test tokens call their issuer.
    pub const PLATFORM_ISSUER: &str = "platform";

    /// Tokens by `issuer`, which has the same `clock`, for the users of `register`. `decision` answers apps that ask
    /// themselves: the one inside, also where Storage asks another one, which may be this very address.
    #[must_use]
    pub fn new(
        issuer: Arc<TokenIssuer>,
        register: Arc<RegisterSource>,
        clock: Arc<dyn Clock>,
        decision: Arc<dyn DecisionPoint>,
    ) -> Self {
        Self {
            issuer,
            register,
            clock,
            decision,
        }
    }

    /// The answer, if the path is one of these conveniences; else the request, given back.
    pub(crate) async fn serve(
        &self,
        platform: &Platform,
        request: Request<Body>,
        origin: &str,
    ) -> Result<Result<Response<Body>, Request<Body>>, PlatformError> {
        let (parts, body) = request.into_parts();
        if parts.method == Method::GET
            && let Some(response) = self.tokens_and_pages(platform, &parts.uri, origin).await?
        {
            return Ok(Ok(response));
        }
        let head = (&parts.method, &parts.uri, &parts.headers);
        Ok(match self.other_service(platform, head, body).await? {
            Ok(response) => Ok(response),
            Err(body) => Err(Request::from_parts(parts, body)),
        })
    }

    async fn tokens_and_pages(
        &self,
        platform: &Platform,
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
        if ["", "/", "/home", "/home/"]
            .iter()
            .any(|page| path.eq_ignore_ascii_case(page))
        {
            return pages::start(platform, self.register.current()?.as_ref())
                .await
                .map(Some);
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
            "logintestuser" => return self.log_in(&issuer, &query).await.map(Some),
            "getteststudiotoken" => tokens::studio(),
            "gettestplatformtoken" => {
                let token = self
                    .issue(Self::PLATFORM_ISSUER, tokens::platform(name)?, &query)
                    .await?;
                return Ok(Some(answer::text(StatusCode::OK, token)));
            }
            "getteststoragetoken" | "identity" => {
                return self.storage(&kind, name, &query).await.map(Some);
            }
            _ => return Ok(None),
        };
        let token = self.issue(&issuer, claims, &query).await?;
        Ok(Some(answer::text(StatusCode::OK, token)))
    }

    /// A token for blobs, as text, or as an application's managed identity gives it.
    async fn storage(&self, kind: &str, who: &str, query: &Query) -> Result<Response<Body>, PlatformError> {
        let claims = storage::claims(who, query)?;
        let ttl_seconds = tokens::ttl_seconds(query)?;
        let expires = self.clock.now().as_second().saturating_add(ttl_seconds);
        let token = self.issue(storage::ISSUER, claims, query).await?;
        if kind != "identity" {
            return Ok(answer::text(StatusCode::OK, token));
        }
        answer::json(
            StatusCode::OK,
            &json!({
                "access_token": token, "token_type": "Bearer", "expires_on": expires.to_string(),
                "expires_in": ttl_seconds.to_string(), "resource": storage::audience(query), "client_id": who,
            }),
        )
    }

    async fn issue(
        &self,
        issuer: &str,
        claims: Map<String, Value>,
        query: &Query,
    ) -> Result<String, PlatformError> {
        let ttl_seconds = tokens::ttl_seconds(query)?;
        let token = self.issuer.issue(issuer, claims, ttl_seconds).await;
        token.map_err(|error| PlatformError::Internal(error.to_string()))
    }
}
