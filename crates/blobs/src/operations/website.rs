//! A static website: the blobs of an account's container `$web`, for browsers, under a host of their own. Nobody signs;
//! the container's access level doesn't matter, nor whether the account allows public access.
//!
//! Invariant: what goes out is content and what HTTP says of it. Metadata, leases and whatever else clients of the
//! protocol learn of a blob stay inside.
//!
//! Source: "Static website hosting in Azure Storage"; "Set Blob Service Properties", `StaticWebsite`.

use http::request::Parts;
use http::{HeaderMap, HeaderName, Method, Response, StatusCode};
use http_semantics::{Body, RequestContext};
use parking_lot::Mutex;
use percent_encoding::percent_decode_str;

use crate::Blobs;
use crate::auth::{Access, Evidence};
use crate::error::{BlobsError, ErrorCode};
use crate::limits::BLOB_NAME_CHARACTERS_MAX;
use crate::operations::blob;
use crate::rules::access_policy::PublicAccess;
use crate::service::Call;
use crate::store::account::WebsiteRecord;
use crate::wire::render::{self, Common};
use crate::wire::target::{Name, Target};
use crate::wire::xml;

/// The container whose blobs a website is.
pub(crate) const CONTAINER: &str = "$web";

/// What of a request a blob is read by.
const ASKED: [&str; 5] = [
    "if-match",
    "if-none-match",
    "if-modified-since",
    "if-unmodified-since",
    "range",
];

/// What of a blob's answer a browser is told.
const TOLD: [&str; 11] = [
    "accept-ranges",
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-length",
    "content-md5",
    "content-range",
    "content-type",
    "etag",
    "last-modified",
];

/// Whose website a host names; `suffixes` are what comes behind `{account}.` in it.
pub(crate) fn account_of(host: &str, suffixes: &[String]) -> Option<String> {
    let is_port = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
    let name = match host.rsplit_once(':') {
        Some((name, port)) if is_port(port) => name,
        _ => host,
    };
    let name = name.to_ascii_lowercase();
    suffixes
        .iter()
        .filter_map(|suffix| name.strip_suffix(suffix.as_str())?.strip_suffix('.'))
        // No account's name has one: such a host is below another suffix, such as the protocol's.
        .find(|account| !account.contains('.'))
        .map(str::to_owned)
}

/// The blob that a path means; its name as it was sent.
fn blob_at(path: &str, website: &WebsiteRecord) -> Option<String> {
    let path = percent_decode_str(path.strip_prefix('/').unwrap_or(path))
        .decode_utf8()
        .ok()?;
    let is_folder = path.is_empty() || path.ends_with(['/', '\\']);
    let name = match (&website.index_document, &website.default_index_path) {
        _ if !is_folder => path.into_owned(),
        (Some(index), _) => format!("{path}{index}"),
        (None, Some(index)) => index.clone(),
        (None, None) => return None,
    };
    let is_name = !name.contains('\0') && name.chars().count() <= BLOB_NAME_CHARACTERS_MAX;
    is_name.then_some(name)
}

/// Answers with the blob that a path means, or with the page that stands for those that aren't there.
pub(crate) async fn serve(
    blobs: &Blobs,
    account: &str,
    parts: &Parts,
    context: &RequestContext,
) -> Result<Response<Body>, BlobsError> {
    let settings = blobs.account(account).ok_or(ErrorCode::WebContentNotFound)?;
    settings.check_connection(&Evidence {
        method: parts.method.as_str(),
        path: parts.uri.path(),
        query: &[],
        headers: &parts.headers,
        secure: context.secure,
        peer: context.peer.ip(),
        version: None,
    })?;
    if !matches!(parts.method, Method::GET | Method::HEAD) {
        return Err(ErrorCode::UnsupportedHttpVerb.into());
    }
    let snapshot = blobs.ledger.snapshot().await?;
    let (record, _) = blobs.service_record(snapshot.as_ref(), account).await?;
    let website = record.website.ok_or(ErrorCode::WebContentNotFound)?;
    let mut asked = HeaderMap::new();
    for name in ASKED {
        if let Some(value) = parts.headers.get(name) {
            asked.insert(HeaderName::from_static(name), value.clone());
        }
    }
    let target = |name: Name| Target {
        account: account.to_owned(),
        container: Some(CONTAINER.to_owned()),
        blob: Some(name.taken),
        literal: name.literal,
        secondary: false,
        base: String::new(),
    };
    let read = |target: Target, headers: HeaderMap| Call {
        target,
        query: Vec::new(),
        headers,
        body: Mutex::new(Body::empty()),
        access: Access::Anonymous(PublicAccess::Blob),
        method: parts.method.clone(),
        origin: String::new(),
        host: String::new(),
        context: context.clone(),
    };
    let found = match blob_at(parts.uri.path(), &website) {
        Some(name) => {
            let mut target = target(Name::of(name));
            blobs.take_literally(&mut target).await?;
            answer(blobs, read(target, asked)).await
        }
        None => Err(ErrorCode::WebContentNotFound.into()),
    };
    match (found, website.error_document) {
        (Err(error), Some(document)) if is_absent(&error) => {
            // It is another page than the one that the conditions are about.
            let mut target = target(Name::of(document));
            blobs.take_literally(&mut target).await?;
            match answer(blobs, read(target, HeaderMap::new())).await {
                Ok(mut response) => {
                    *response.status_mut() = StatusCode::NOT_FOUND;
                    Ok(response)
                }
                Err(of_document) if of_document.status().is_server_error() => Err(of_document),
                // What is wrong with that page says nothing of the one that was asked for.
                Err(_) => Err(error),
            }
        }
        (found, _) => found,
    }
}

fn is_absent(error: &BlobsError) -> bool {
    matches!(
        error.code,
        ErrorCode::WebContentNotFound | ErrorCode::BlobNotFound | ErrorCode::ContainerNotFound
    )
}

async fn answer(blobs: &Blobs, call: Call) -> Result<Response<Body>, BlobsError> {
    let mut response = match call.method {
        Method::HEAD => blob::properties(blobs, call).await?,
        _ => blob::get(blobs, call).await?,
    };
    let all = std::mem::take(response.headers_mut());
    for name in TOLD {
        if let Some(value) = all.get(name) {
            response
                .headers_mut()
                .insert(HeaderName::from_static(name), value.clone());
        }
    }
    Ok(response)
}

/// An error for people who look at it in a browser.
pub(crate) fn failure(error: &BlobsError, common: &Common) -> Response<Body> {
    // What isn't there isn't there, whatever it would have been.
    let code = if is_absent(error) {
        ErrorCode::WebContentNotFound
    } else {
        error.code
    };
    let status = if is_absent(error) {
        code.status()
    } else {
        error.status()
    };
    let page = format!(
        "<!DOCTYPE html><html><head><title>{0}</title></head><body><h1>{1}</h1><ul><li>HttpStatusCode: {2}</li>\
         <li>ErrorCode: {0}</li><li>RequestId: {3}</li><li>TimeStamp: {4}</li></ul></body></html>",
        code.name(),
        xml::escape(code.text()),
        status.as_u16(),
        common.request_id,
        xml::timestamp(common.now)
    );
    let mut response = match common.head {
        true => render::empty(status),
        false => Response::new(Body::full(page)),
    };
    *response.status_mut() = status;
    let out = response.headers_mut();
    render::set(out, "content-type", "text/html");
    render::set(out, "x-ms-error-code", code.name());
    if let Some(length) = error.length_bytes {
        render::set(out, "content-range", format!("bytes */{length}"));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_name_accounts() {
        let suffixes = ["web.localhost".to_owned()];
        for (host, account) in [
            ("acme.web.localhost", Some("acme")),
            ("Acme.Web.localhost:8080", Some("acme")),
            ("acme.blob.localhost", None),
            ("web.localhost", None),
            ("acmeweb.localhost", None),
            ("127.0.0.1:10000", None),
            ("acme.blob.web.localhost", None),
        ] {
            assert_eq!(account_of(host, &suffixes).as_deref(), account, "{host}");
        }
    }

    #[test]
    fn paths_name_blobs() {
        let website = |index: Option<&str>, default: Option<&str>| WebsiteRecord {
            index_document: index.map(str::to_owned),
            default_index_path: default.map(str::to_owned),
            error_document: None,
        };
        let (each, one) = (
            website(Some("index.html"), None),
            website(None, Some("app/start.html")),
        );
        for (path, of_each, of_one) in [
            ("/", Some("index.html"), Some("app/start.html")),
            ("/docs/", Some("docs/index.html"), Some("app/start.html")),
            ("/docs", Some("docs"), Some("docs")),
            ("/a%20b.html", Some("a b.html"), Some("a b.html")),
            ("/%2Fa", Some("/a"), Some("/a")),
            ("/docs%5C", Some("docs\\index.html"), Some("app/start.html")),
            ("/%FF", None, None),
            ("/a%00", None, None),
        ] {
            assert_eq!(blob_at(path, &each).as_deref(), of_each, "{path}");
            assert_eq!(blob_at(path, &one).as_deref(), of_one, "{path}");
        }
        assert_eq!(blob_at("/", &website(None, None)), None);
    }
}
