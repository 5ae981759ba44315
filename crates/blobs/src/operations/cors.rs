//! Preflight Blob Request, and what other answers say to browsers.

use http::header::{HeaderMap, ORIGIN, VARY};
use http::{HeaderValue, Method, Response, StatusCode};
use http_semantics::Body;

use crate::Blobs;
use crate::error::{BlobsError, ErrorCode};
use crate::rules::cors::{self, CorsRule};
use crate::wire::{headers, render};

impl Blobs {
    /// Answers a preflight. Browsers send it without a signature.
    pub(crate) async fn preflight(
        &self,
        account: &str,
        sent: &HeaderMap,
    ) -> Result<Response<Body>, BlobsError> {
        let required = |name| {
            headers::text(sent, name).ok_or_else(|| {
                let text = "A required CORS header is not present.";
                BlobsError::with(ErrorCode::InvalidHeaderValue, text)
            })
        };
        let origin = required("origin")?;
        let method = required("access-control-request-method")?;
        let names = headers::text(sent, "access-control-request-headers").unwrap_or("");
        let asked: Vec<&str> = names
            .split(',')
            .map(str::trim)
            .filter(|name| !name.is_empty())
            .collect();
        let rules = self.cors_rules(account).await?;
        let rule = cors::preflight(&rules, origin, method, &asked).ok_or(ErrorCode::CorsPreflightFailure)?;
        let mut response = render::empty(StatusCode::OK);
        let out = response.headers_mut();
        set_origin(out, rule, origin);
        render::set(out, "access-control-allow-methods", method);
        if !asked.is_empty() {
            render::set(out, "access-control-allow-headers", asked.join(","));
        }
        render::set(out, "access-control-max-age", rule.max_age_seconds.to_string());
        Ok(response)
    }

    /// Tells the browser what the script behind a request may see of the answer.
    pub(crate) async fn mark_cross_origin(
        &self,
        account: &str,
        method: &Method,
        origin: &str,
        out: &mut HeaderMap,
    ) -> Result<(), BlobsError> {
        let rules = self.cors_rules(account).await?;
        match cors::actual(&rules, origin, method.as_str()) {
            Some(rule) => {
                set_origin(out, rule, origin);
                if !rule.exposed.is_empty() {
                    render::set(out, "access-control-expose-headers", rule.exposed.join(","));
                }
            }
            // Another origin might get another answer, which caches must know.
            None if !rules.is_empty() => {
                out.append(VARY, HeaderValue::from_static("Origin"));
            }
            None => {}
        }
        Ok(())
    }

    async fn cors_rules(&self, account: &str) -> Result<Vec<CorsRule>, BlobsError> {
        if self.account(account).is_none() {
            return Ok(Vec::new());
        }
        let snapshot = self.ledger.snapshot().await?;
        let (record, _) = self.service_record(snapshot.as_ref(), account).await?;
        Ok(record.cors)
    }
}

/// The origin of a request, if a browser named one.
pub(crate) fn origin(sent: &HeaderMap) -> Option<String> {
    headers::text(sent, ORIGIN.as_str()).map(str::to_owned)
}

fn set_origin(out: &mut HeaderMap, rule: &CorsRule, origin: &str) {
    if rule.is_for_all() {
        render::set(out, "access-control-allow-origin", "*");
    } else {
        render::set(out, "access-control-allow-origin", origin);
        render::set(out, "access-control-allow-credentials", "true");
        out.append(VARY, HeaderValue::from_static("Origin"));
    }
}
