//! Where applications get tokens: the client credentials grant of the Microsoft identity platform, with the
//! discovery that its client libraries read first.
//!
//! Source: "Microsoft identity platform and the OAuth 2.0 client credentials flow", RFC 6749 (section 4.4),
//! OpenID Connect Discovery 1.0.
//!
//! Invariant: a token is given for a secret alone, over TLS alone, and for known audiences alone. An unknown
//! client and a wrong secret take the same comparison.

use std::sync::Arc;

use async_trait::async_trait;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HOST};
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_semantics::{Body, RequestContext, Service};
use ledger::Clock;
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use crate::{Secret, TokenIssuer};

/// Largest form that is read, in bytes: a secret, a scope, and what clients add for telemetry.
const FORM_BYTES_MAX: usize = 16 * 1024;

/// How long a token is good.
pub const TOKEN_SECONDS: i64 = 3_600;

/// An application that gets tokens.
#[derive(Debug, Clone)]
pub struct LoginClient {
    /// `client_id`.
    pub id: String,
    /// Its secret.
    pub secret: Secret,
    /// The object id (`oid`) that roles are given to.
    pub object_id: String,
}

/// How the service is set up.
#[derive(Debug, Clone)]
pub struct LoginSettings {
    /// What tokens call their issuer.
    pub issuer: String,
    /// The one tenant.
    pub tenant: String,
    /// Who gets tokens.
    pub clients: Vec<LoginClient>,
    /// Hosts that tokens may be for (`https://{host}`, with any port), and all below them.
    pub audience_hosts: Vec<String>,
}

/// The login service.
pub struct LoginService {
    issuer: Arc<TokenIssuer>,
    clock: Arc<dyn Clock>,
    settings: LoginSettings,
}

impl std::fmt::Debug for LoginService {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LoginService")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

/// An error, in the words that client libraries look for.
struct Refused {
    status: StatusCode,
    error: &'static str,
    number: u32,
    text: &'static str,
}

const fn refused(status: StatusCode, error: &'static str, number: u32, text: &'static str) -> Refused {
    Refused {
        status,
        error,
        number,
        text,
    }
}

/// A form, wiped when it is dropped.
struct Form(Vec<(String, Zeroizing<String>)>);

impl Form {
    fn parse(text: &str) -> Self {
        let decode = |text: &str| {
            let text = Zeroizing::new(text.replace('+', " "));
            Zeroizing::new(percent_decode_str(&text).decode_utf8_lossy().into_owned())
        };
        let pairs = text.split('&').filter_map(|pair| pair.split_once('='));
        Self(
            pairs
                .map(|(name, value)| (decode(name).to_string(), decode(value)))
                .collect(),
        )
    }

    fn get(&self, name: &str) -> &str {
        let found = self.0.iter().find(|(known, _)| known == name);
        found.map_or("", |(_, value)| value.as_str())
    }
}

impl LoginService {
    /// The service that gives tokens of `issuer`.
    #[must_use]
    pub fn new(issuer: Arc<TokenIssuer>, clock: Arc<dyn Clock>, settings: LoginSettings) -> Self {
        Self {
            issuer,
            clock,
            settings,
        }
    }

    fn is_tenant(&self, text: &str) -> bool {
        text.eq_ignore_ascii_case(&self.settings.tenant)
    }

    fn metadata(&self, base: &str) -> Value {
        let tenant = &self.settings.tenant;
        json!({
            "issuer": format!("{base}/{tenant}/v2.0"),
            "authorization_endpoint": format!("{base}/{tenant}/oauth2/v2.0/authorize"),
            "token_endpoint": format!("{base}/{tenant}/oauth2/v2.0/token"),
            "jwks_uri": format!("{base}/{tenant}/discovery/v2.0/keys"),
            "token_endpoint_auth_methods_supported": ["client_secret_post"],
            "response_types_supported": ["token"],
            "subject_types_supported": ["pairwise"],
            "id_token_signing_alg_values_supported": ["RS256"],
        })
    }

    async fn answer(&self, parts: &Parts, body: Body, secure: bool, trace: &str) -> Response<Body> {
        if !secure {
            return respond(
                StatusCode::FORBIDDEN,
                &json!({"error": "invalid_request",
                "error_description": "Tokens are given over TLS alone."}),
            );
        }
        let host = parts.uri.authority().map(http::uri::Authority::as_str);
        let host = host
            .or_else(|| parts.headers.get(HOST)?.to_str().ok())
            .unwrap_or("localhost");
        // It goes into links; whatever else it holds isn't repeated.
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b".-:[]".contains(&byte);
        let host = if host.bytes().all(fits) { host } else { "localhost" };
        let base = format!("https://{host}");
        let segments: Vec<&str> = parts.uri.path().trim_start_matches('/').split('/').collect();
        match (&parts.method, segments.as_slice()) {
            (
                &Method::GET,
                [_, "v2.0", ".well-known", "openid-configuration"]
                | [_, ".well-known", "openid-configuration"],
            ) => respond(StatusCode::OK, &self.metadata(&base)),
            (&Method::GET, ["common", "discovery", "instance"]) => {
                let tenant = &self.settings.tenant;
                let host = host.split(':').next().unwrap_or(host);
                respond(
                    StatusCode::OK,
                    &json!({
                        "api-version": "1.1",
                        "tenant_discovery_endpoint": format!("{base}/{tenant}/v2.0/.well-known/openid-configuration"),
                        "metadata": [{"preferred_network": host, "preferred_cache": host, "aliases": [host]}],
                    }),
                )
            }
            (&Method::GET, [_, "discovery", "v2.0", "keys"] | [_, "discovery", "keys"]) => {
                match self.issuer.public_keys().await {
                    Ok(keys) => respond(StatusCode::OK, &json!(*keys)),
                    Err(error) => {
                        tracing::error!(%error, "the issuer has no keys");
                        respond(
                            StatusCode::INTERNAL_SERVER_ERROR,
                            &json!({"error": "server_error"}),
                        )
                    }
                }
            }
            (&Method::POST, [tenant, "oauth2", "v2.0", "token"]) => {
                let given = match body.read_bounded(FORM_BYTES_MAX).await {
                    Ok(form) => self.token(tenant, &form).await,
                    Err(_) => Err(refused(
                        StatusCode::BAD_REQUEST,
                        "invalid_request",
                        900_144,
                        "The form can't be read, or is too large.",
                    )),
                };
                match given {
                    Ok(token) => respond(StatusCode::OK, &token),
                    Err(error) => respond(error.status, &self.describe(&error, trace)),
                }
            }
            _ => respond(StatusCode::NOT_FOUND, &json!({"error": "invalid_request"})),
        }
    }

    fn describe(&self, error: &Refused, trace: &str) -> Value {
        json!({
            "error": error.error,
            "error_description": format!("AADSTS{}: {} Trace ID: {trace}", error.number, error.text),
            "error_codes": [error.number],
            "timestamp": self.clock.now().strftime("%Y-%m-%d %H:%M:%SZ").to_string(),
            "trace_id": trace,
            "correlation_id": trace,
        })
    }

    async fn token(&self, tenant: &str, form: &[u8]) -> Result<Value, Refused> {
        use StatusCode as S;
        let bad = |error, number, text| Err(refused(S::BAD_REQUEST, error, number, text));
        if !self.is_tenant(tenant) {
            return bad("invalid_request", 90_002, "Tenant not found.");
        }
        let Ok(form) = std::str::from_utf8(form) else {
            return bad("invalid_request", 900_144, "The form isn't UTF-8.");
        };
        let form = Form::parse(form);
        if form.get("grant_type") != "client_credentials" {
            return bad(
                "unsupported_grant_type",
                70_003,
                "The grant type is not supported; use client_credentials.",
            );
        }
        let id = form.get("client_id");
        let client = self
            .settings
            .clients
            .iter()
            .find(|client| client.id.eq_ignore_ascii_case(id));
        let nobody = Secret::new(vec![0; 32]);
        let secret = client.map_or(&nobody, |client| &client.secret);
        let is_right = secret.equals(form.get("client_secret").as_bytes());
        let Some(client) = client else {
            return bad(
                "unauthorized_client",
                700_016,
                "The application is unknown in the tenant.",
            );
        };
        if !is_right {
            return Err(refused(
                S::UNAUTHORIZED,
                "invalid_client",
                7_000_215,
                "Invalid client secret provided.",
            ));
        }
        let scope = form
            .get("scope")
            .split(' ')
            .find(|scope| scope.ends_with("/.default"));
        let audience = scope
            .and_then(|scope| scope.strip_suffix("/.default"))
            .unwrap_or_default();
        let audience = audience.trim_end_matches('/');
        if !self.is_audience(audience) {
            return bad(
                "invalid_resource",
                500_011,
                "The resource principal is unknown in the tenant.",
            );
        }
        let claims = json!({
            "aud": audience,
            "oid": client.object_id,
            "sub": client.object_id,
            "tid": self.settings.tenant,
            "appid": client.id,
            "appidacr": "1",
            "idtyp": "app",
            "ver": "1.0",
        });
        let claims = claims.as_object().cloned().unwrap_or_else(Map::new);
        let token = self
            .issuer
            .issue(&self.settings.issuer, claims, TOKEN_SECONDS)
            .await;
        let token = token.map_err(|error| {
            tracing::error!(%error, "no token can be issued");
            refused(
                S::INTERNAL_SERVER_ERROR,
                "server_error",
                90_000,
                "No token can be issued now.",
            )
        })?;
        Ok(json!({
            "token_type": "Bearer",
            "expires_in": TOKEN_SECONDS,
            "ext_expires_in": TOKEN_SECONDS,
            "access_token": token,
        }))
    }

    fn is_audience(&self, text: &str) -> bool {
        let Some(host) = text.strip_prefix("https://") else {
            return false;
        };
        let host = match host.rsplit_once(':') {
            Some((host, port)) if port.parse::<u16>().is_ok() => host,
            Some(_) => return false,
            None => host,
        };
        self.settings.audience_hosts.iter().any(|known| {
            let below = host.strip_suffix(known.as_str());
            below.is_some_and(|below| below.is_empty() || below.ends_with('.'))
        })
    }
}

fn respond(status: StatusCode, body: &Value) -> Response<Body> {
    let mut response = Response::new(Body::full(body.to_string()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("application/json; charset=utf-8"),
    );
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[async_trait]
impl Service for LoginService {
    async fn call(&self, request: Request<Body>) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let context = parts.extensions.get::<RequestContext>();
        let secure = context.is_some_and(|context| context.secure);
        let trace = context
            .map(|context| context.request_id.to_string())
            .unwrap_or_default();
        self.answer(&parts, body, secure, &trace).await
    }
}

#[cfg(test)]
mod tests {
    use ledger::memory::MemoryLedger;
    use ledger::{AdjustableClock, Ledger};

    use super::*;
    use crate::{Trust, TrustedIssuer};

    const TENANT: &str = "11111111-1111-4111-8111-111111111111";

    fn service() -> (LoginService, Arc<TokenIssuer>, Arc<dyn Clock>) {
        let clock: Arc<dyn Clock> = Arc::new(AdjustableClock::standing_at(
            jiff::Timestamp::from_second(1_800_000_000).unwrap(),
        ));
        let ledger: Arc<dyn Ledger> = Arc::new(MemoryLedger::new(clock.clone()));
        let issuer = Arc::new(TokenIssuer::new(ledger, clock.clone(), "test"));
        let settings = LoginSettings {
            issuer: "https://here/".to_owned(),
            tenant: TENANT.to_owned(),
            clients: vec![LoginClient {
                id: "app".to_owned(),
                secret: Secret::new(b"s e+cret".to_vec()),
                object_id: "me".to_owned(),
            }],
            audience_hosts: vec!["vault.localhost".to_owned()],
        };
        (
            LoginService::new(issuer.clone(), clock.clone(), settings),
            issuer,
            clock,
        )
    }

    async fn ask(service: &LoginService, method: &str, path: &str, form: &str, secure: bool) -> (u16, Value) {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "localhost:8444")
            .body(Body::full(form.to_owned()))
            .unwrap();
        request.extensions_mut().insert(RequestContext {
            request_id: "00000000-0000-0000-0000-000000000000".parse().unwrap(),
            peer: "127.0.0.1:1".parse().unwrap(),
            secure,
            listener: "login".into(),
        });
        let response = service.call(request).await;
        let status = response.status().as_u16();
        let body = response.into_body().read_bounded(1 << 20).await.unwrap();
        (status, serde_json::from_slice(&body).unwrap())
    }

    fn form(secret: &str, scope: &str) -> String {
        format!("grant_type=client_credentials&client_id=app&client_secret={secret}&scope={scope}&claims=x")
    }

    #[tokio::test]
    async fn a_secret_gets_a_token_for_a_known_audience() {
        let (service, issuer, clock) = service();
        let token = format!("/{TENANT}/oauth2/v2.0/token");
        let scope = "https%3A%2F%2Fvault.localhost%3A8443%2F.default";
        let (status, answer) = ask(&service, "POST", &token, &form("s+e%2Bcret", scope), true).await;
        assert_eq!(status, 200, "{answer}");
        let trusted = TrustedIssuer {
            issuer: "https://here/".to_owned(),
            keys: issuer,
        };
        let trust = Trust::new(vec![trusted], &clock, 0);
        let text = answer["access_token"].as_str().unwrap();
        let claims = trust
            .verify(text, |audience| audience == "https://vault.localhost:8443")
            .await;
        let claims = claims.unwrap();
        assert_eq!(
            (claims.text("oid"), claims.text("tid")),
            (Some("me".to_owned()), Some(TENANT.to_owned()))
        );

        let plain = form("s+e%2Bcret", scope);
        assert_eq!(ask(&service, "POST", &token, &plain, false).await.0, 403);
        let other = plain.replace("client_id=app", "client_id=other");
        let grant = plain.replace("client_credentials", "password");
        let path = token.replace(TENANT, "common");
        for (path, form, status, code) in [
            (&token, form("wrong", scope), 401, 7_000_215),
            (&token, form("", scope), 401, 7_000_215),
            (&token, other, 400, 700_016),
            (&token, grant, 400, 70_003),
            (&path, plain.clone(), 400, 90_002),
            (
                &token,
                form("s+e%2Bcret", "https://evil.example/.default"),
                400,
                500_011,
            ),
            (
                &token,
                form("s+e%2Bcret", "https://evilvault.localhost/.default"),
                400,
                500_011,
            ),
            (
                &token,
                form("s+e%2Bcret", "https://vault.localhost:evil/.default"),
                400,
                500_011,
            ),
            (&token, form("s+e%2Bcret", "openid"), 400, 500_011),
            (&token, "x".repeat(FORM_BYTES_MAX + 1), 400, 900_144),
        ] {
            let (found, answer) = ask(&service, "POST", path, &form, true).await;
            assert_eq!(
                (found, answer["error_codes"][0].as_u64()),
                (status, Some(code)),
                "{form}"
            );
            assert!(!answer.to_string().contains("e+cret"), "{answer}");
        }
    }

    #[tokio::test]
    async fn discovery_names_addresses_on_the_host_that_was_asked() {
        let (service, _, _) = service();
        for path in [
            "/common/v2.0/.well-known/openid-configuration",
            "/x/.well-known/openid-configuration",
        ] {
            let (status, found) = ask(&service, "GET", path, "", true).await;
            assert_eq!(status, 200);
            let base = format!("https://localhost:8444/{TENANT}");
            assert_eq!(found["issuer"], format!("{base}/v2.0"));
            assert_eq!(found["token_endpoint"], format!("{base}/oauth2/v2.0/token"));
        }
        let (_, keys) = ask(
            &service,
            "GET",
            &format!("/{TENANT}/discovery/v2.0/keys"),
            "",
            true,
        )
        .await;
        assert_eq!(keys["keys"][0]["kty"], "RSA");
        assert!(keys["keys"][0].get("d").is_none());
        let (_, instance) = ask(
            &service,
            "GET",
            "/common/discovery/instance?api-version=1.1",
            "",
            true,
        )
        .await;
        assert_eq!(instance["metadata"][0]["aliases"], json!(["localhost"]));
        assert_eq!(ask(&service, "GET", "/", "", true).await.0, 404);
        assert!(!format!("{service:?}").contains("e+cret"));
    }
}
