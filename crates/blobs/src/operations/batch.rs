//! Blob Batch: many deletions, or many changes of tiers, in one request. Each of them is a request
//! of its own, with its own signature and its own answer.

use futures::{StreamExt as _, stream};
use http::uri::Authority;
use http::{HeaderValue, Request, Response, StatusCode};
use http_semantics::{Body, Service as _};

use crate::Blobs;
use crate::error::{BlobsError, ErrorCode};
use crate::limits::{BATCH_BYTES_MAX, BATCH_PARALLEL_MAX, BATCH_REQUESTS_MAX};
use crate::service::{BatchVersion, Call, parse_query};
use crate::wire::multipart::{self, Part};
use crate::wire::render::Common;
use crate::wire::target::Target;
use crate::wire::{headers, render};

/// Blob Batch. One that can't be read, or holds what it may not, is answered as the original does: with a batch of
/// one answer, which names no request (azure-sdk-for-net, issue 20196).
pub(crate) async fn batch(blobs: &Blobs, call: Call) -> Result<Response<Body>, BlobsError> {
    let content_type = headers::required(&call.headers, "content-type")?;
    let answers = match answers(blobs, &call, content_type).await {
        Ok(answers) => answers,
        Err(error) => {
            let common = Common {
                request_id: call.context.request_id,
                client_request_id: None,
                version: call.version(),
                now: blobs.clock.now(),
                head: false,
                challenge: blobs.challenge.clone(),
            };
            vec![(None, render::finish(Err(error), &common))]
        }
    };
    let boundary = format!("batchresponse_{}", blobs.random.uuid());
    let mut out = Vec::new();
    for (content_id, answer) in answers {
        multipart::write(&mut out, &boundary, content_id.as_deref(), answer).await?;
    }
    out.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    let mut response = Response::new(Body::full(out));
    *response.status_mut() = StatusCode::ACCEPTED;
    let content_type = format!("multipart/mixed; boundary={boundary}");
    render::set(response.headers_mut(), "content-type", content_type);
    Ok(response)
}

/// The answers of a batch's requests, each with the id that its request has.
async fn answers(
    blobs: &Blobs,
    call: &Call,
    content_type: &str,
) -> Result<Vec<(Option<String>, Response<Body>)>, BlobsError> {
    let boundary = multipart::boundary(content_type).ok_or_else(|| {
        let text = "Content-Type is multipart/mixed with a boundary.";
        BlobsError::with(ErrorCode::InvalidHeaderValue, text)
    })?;
    let body = call.take_body().read_bounded(BATCH_BYTES_MAX).await?;
    let parts = multipart::parse(&body, boundary)?;
    if parts.len() > BATCH_REQUESTS_MAX {
        let text = "A batch has at most 256 requests.";
        return Err(BlobsError::with(ErrorCode::InvalidInput, text));
    }
    let mut requests = Vec::with_capacity(parts.len());
    for part in parts {
        requests.push((part.content_id.clone(), request(blobs, call, part)?));
    }
    let deletes = |request: &Request<Body>| request.method() == http::Method::DELETE;
    let first_deletes = requests.first().is_some_and(|(_, request)| deletes(request));
    if requests
        .iter()
        .any(|(_, request)| deletes(request) != first_deletes)
    {
        let text = "A batch has requests of one kind: Delete Blob or Set Blob Tier.";
        return Err(BlobsError::with(ErrorCode::InvalidInput, text));
    }
    Ok(stream::iter(requests)
        .map(|(content_id, request)| async move { (content_id, blobs.call(request).await) })
        .buffered(BATCH_PARALLEL_MAX)
        .collect()
        .await)
}

/// The request in a part. Only what a batch may hold becomes one, so batches don't nest.
fn request(blobs: &Blobs, call: &Call, part: Part) -> Result<Request<Body>, BlobsError> {
    let refuse = |text: &str| BlobsError::with(ErrorCode::InvalidInput, text);
    let mut request = part.request;
    // As the query will be read when the request is served.
    let query = parse_query(request.uri().query().unwrap_or(""))?;
    let of_container = query.iter().any(|(name, _)| name == "restype");
    let comps: Vec<&str> = query
        .iter()
        .filter(|(name, _)| name == "comp")
        .map(|(_, value)| value.as_str())
        .collect();
    match (request.method().as_str(), comps.as_slice()) {
        ("DELETE", []) | ("PUT", ["tier"]) if !of_container => {}
        _ => return Err(refuse("A batch holds Delete Blob and Set Blob Tier alone.")),
    }
    // It is served as one to this host, which says what its path means.
    let elsewhere = |authority: &Authority| !authority.as_str().eq_ignore_ascii_case(&call.host);
    if request.uri().authority().is_some_and(elsewhere) {
        return Err(refuse("A batch's requests are for the host that it is sent to."));
    }
    let target = Target::parse(&call.host, request.uri().path(), &blobs.settings.host_suffixes)?;
    let elsewhere = call.target.container.is_some() && target.container != call.target.container;
    if target.account != call.target.account || elsewhere || target.blob.is_none() {
        return Err(refuse(
            "A batch's requests are about blobs of the account or container that it is sent to.",
        ));
    }
    // Nothing that is signed may be added: no version, no other `x-ms-` header.
    let host = HeaderValue::from_str(&call.host).map_err(|_| ErrorCode::InvalidUri)?;
    request.headers_mut().insert("host", host);
    request
        .headers_mut()
        .entry("content-length")
        .or_insert(HeaderValue::from_static("0"));
    request.extensions_mut().insert(call.context.clone());
    if let Some(version) = call.headers.get("x-ms-version") {
        request.extensions_mut().insert(BatchVersion(version.clone()));
    }
    Ok(request)
}
