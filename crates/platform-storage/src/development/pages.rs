//! The start page in development: choose a user and an app, and be taken there with a token in the cookie.
//!
//! Invariant: whoever is sent on is sent to this very machine: the token is in a cookie of its host, and a link to this
//! page must not lead elsewhere.

use std::fmt::Write as _;

use http::header::{CONTENT_TYPE, LOCATION, SET_COOKIE};
use http::{HeaderValue, Response, StatusCode, Uri};
use http_semantics::Body;

use super::Development;
use crate::Platform;
use crate::auth::COOKIE_NAME;
use crate::decision::Register;
use crate::error::PlatformError;
use crate::rules::names::AppId;
use crate::wire::query::Query;

/// Where apps listen that are started by hand.
const APP_ORIGIN: &str = "http://localhost:5005";

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

/// The page.
pub(super) async fn start(platform: &Platform, register: &Register) -> Result<Response<Body>, PlatformError> {
    let view = platform.view().await?;
    let apps = platform.stored_applications(&view, None).await?;
    let mut page = String::from(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Stabbur: development</title>\
         <style>body{font:1rem sans-serif;max-width:40rem;margin:3rem auto}label,button{display:block;margin:1rem 0}\
         select,input{width:100%}</style><h1>Choose a user and an app</h1>\
         <form action=\"/Home/LogInTestUser\" method=\"get\"><label>User <select name=\"userId\">",
    );
    // Writing to a string can't fail.
    for user in register.users() {
        let name = register
            .party(user.party_id)
            .map_or("", |party| party.name.as_str());
        let _ = write!(
            page,
            "<option value=\"{}\">{} ({}, {})</option>",
            user.user_id,
            escape(name),
            user.user_id,
            escape(&user.username)
        );
    }
    page.push_str("</select></label><label>App <select name=\"app\">");
    for app in &apps {
        let id = app.get("id").and_then(|id| id.as_str()).unwrap_or_default();
        let _ = write!(page, "<option>{}</option>", escape(id));
    }
    let _ = write!(
        page,
        "</select></label><label>Where apps listen <input name=\"origin\" value=\"{APP_ORIGIN}\"></label>\
         <label>Authentication level <input name=\"authenticationLevel\" value=\"2\"></label>\
         <button>Open the app</button></form>"
    );
    if apps.is_empty() {
        page.push_str(
            "<p>No app's metadata has been published here yet (POST /storage/api/v1/applications).</p>",
        );
    }
    page.push_str("<p><a href=\"/events/api/v1/app\">Events that apps have sent</a></p></html>");
    let mut response = Response::new(Body::full(page));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(
        "content-security-policy",
        HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'; form-action 'self'"),
    );
    Ok(response)
}

/// The app's address on this machine.
fn target(query: &Query) -> Result<String, PlatformError> {
    let refused =
        |what: &str| PlatformError::bad_request(format!("{what} must be an address on this machine."));
    let app = query.get("app").and_then(AppId::parse);
    let app = app.ok_or_else(|| PlatformError::bad_request("app must be like org/app."))?;
    let origin = query
        .get("origin")
        .filter(|origin| !origin.is_empty())
        .unwrap_or(APP_ORIGIN);
    let uri: Uri = origin
        .trim_end_matches('/')
        .parse()
        .map_err(|_| refused("origin"))?;
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    let is_here = host == "localhost"
        || host.ends_with(".localhost")
        || host
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback());
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return Err(refused("origin"));
    };
    if !is_here || !matches!(scheme, "http" | "https") || authority.as_str().contains('@') {
        return Err(refused("origin"));
    }
    Ok(format!("{scheme}://{authority}/{app}/"))
}

impl Development {
    /// Takes a user to an app: the token in the cookie that apps look for.
    pub(super) async fn log_in(&self, issuer: &str, query: &Query) -> Result<Response<Body>, PlatformError> {
        let target = target(query)?;
        let register = self.register.current()?;
        let claims = super::tokens::user(query.get("userId").unwrap_or_default(), query, &register)?;
        let token = self.issue(issuer, claims, query).await?;
        let cookie = format!("{COOKIE_NAME}={token}; Path=/; HttpOnly; SameSite=Lax");
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::FOUND;
        let bad = |_| PlatformError::bad_request("The address can't be a header.");
        let headers = response.headers_mut();
        headers.insert(LOCATION, HeaderValue::from_str(&target).map_err(bad)?);
        headers.insert(SET_COOKIE, HeaderValue::from_str(&cookie).map_err(bad)?);
        Ok(response)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_sent_elsewhere() {
        let at = |query: &str| target(&Query::parse(Some(query)));
        assert_eq!(at("app=ttd/a").unwrap(), "http://localhost:5005/ttd/a/");
        for (origin, good) in [
            ("http://127.0.0.1:5000", true),
            ("https://app.localhost/", true),
            ("http://example.org", false),
            ("http://localhost.example.org", false),
            ("http://localhost@example.org", false),
            ("http://me@localhost", false),
            ("javascript:alert(1)", false),
            ("//example.org", false),
            ("/x", false),
        ] {
            assert_eq!(
                at(&format!("app=ttd/a&origin={origin}")).is_ok(),
                good,
                "{origin}"
            );
        }
        assert!(at("").is_err() && at("app=../x").is_err());
    }
}
