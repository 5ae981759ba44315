//! The wire protocol's front: read, authenticate, resolve, run, render.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_semantics::{Body, BodyError, RequestContext, Service};
use ledger::LedgerError;
use percent_encoding::percent_decode_str;

use crate::auth::authorise::{Caller, authorise, is_of_items};
use crate::auth::master_key::{self, Signed};
use crate::error::DocumentsError;
use crate::limits::REQUEST_BYTES_MAX;
use crate::throughput::Owner;
use crate::wire::answer::Answer;
use crate::wire::call::Call;
use crate::wire::{headers, route};
use crate::{Account, Documents, operations};

/// Azure Cosmos DB for NoSQL over HTTP.
#[derive(Debug, Clone)]
pub struct DocumentsService {
    documents: Arc<Documents>,
}

impl DocumentsService {
    /// Serves an engine.
    #[must_use]
    pub fn new(documents: Arc<Documents>) -> Self {
        Self { documents }
    }

    /// The account that a host name means.
    fn account(&self, host: &str) -> Option<&Account> {
        let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
        let accounts = &self.documents.settings.accounts;
        accounts
            .iter()
            .find(|account| account.hosts.iter().any(|known| known.eq_ignore_ascii_case(name)))
            .or_else(|| accounts.first())
    }

    async fn serve(&self, request: Request<Body>, segments: Vec<String>) -> Result<Answer, DocumentsError> {
        let (parts, body) = request.into_parts();
        let host = host_of(&parts);
        let account = self.account(&host).ok_or_else(|| {
            DocumentsError::Unauthorized("No account is configured on this server.".to_owned())
        })?;
        let text = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok());
        let now = self.documents.clock.now();
        let authorization = master_key::authorization(text("authorization"))?;
        let caller = if authorization.kind == "resource" {
            let grant = self
                .documents
                .grant_of(&account.name, &authorization.signature, now);
            Caller::Token(grant.await?)
        } else {
            let signed = Signed {
                method: &parts.method,
                segments: &segments,
            };
            let (x_ms_date, date) = (text("x-ms-date"), text("date"));
            master_key::verify(account, signed, &authorization, x_ms_date, date, now)?
        };
        let operation = route::route(&parts.method, &segments, &parts.headers)?;
        check_consistency(text(headers::CONSISTENCY))?;
        let body = read_body(body).await?;
        let secure = parts
            .extensions
            .get::<RequestContext>()
            .is_some_and(|context| context.secure);
        let scheme = if secure { "https" } else { "http" };
        let mut call = Call {
            documents: &self.documents,
            account,
            method: &parts.method,
            headers: &parts.headers,
            segments,
            body,
            endpoint: format!("{scheme}://{host}/"),
        };
        call.resolve().await?;
        authorise(operation, &call, &caller).await?;
        tracing::debug!(operation = ?operation, method = %call.method, "documents operation");
        if !(self.documents.settings.enforce_throughput && is_of_items(operation)) {
            return operations::run(operation, &call).await;
        }
        let container = self
            .documents
            .container(&account.name, call.segment(1), call.segment(3))
            .await?;
        let payer = self.documents.admit(&container).await?;
        let mut bill = Bill {
            documents: &self.documents,
            payer,
            answered_rus: None,
            worked: Duration::ZERO,
        };
        let mut running = Box::pin(operations::run(operation, &call));
        let outcome = std::future::poll_fn(|context| {
            let begun = self.documents.clock.monotonic();
            let polled = running.as_mut().poll(context);
            bill.worked += self.documents.clock.monotonic().saturating_sub(begun);
            polled
        });
        let outcome = outcome.await;
        bill.answered_rus = outcome.as_ref().ok().map(Answer::charge);
        outcome
    }

    /// The development certificate, which clients fetch before they can trust anything.
    fn certificate(&self, method: &Method, segments: &[String]) -> Option<Response<Body>> {
        let names: Vec<&str> = segments.iter().map(String::as_str).collect();
        if *method != Method::GET || names.as_slice() != ["_explorer", "emulator.pem"] {
            return None;
        }
        let pem = self.documents.settings.development_certificate_pem.as_ref()?;
        let mut response = Response::new(Body::full(Bytes::from(pem.clone())));
        response.headers_mut().insert(
            header::CONTENT_TYPE,
            header::HeaderValue::from_static("application/x-pem-file"),
        );
        Some(response)
    }
}

/// Request units for a second of work that ended in no answer: about what a query is charged that
/// reads documents for a second.
const RUS_PER_WORKED_SECOND: f64 = 1_000.0;

/// Takes what a request cost when it goes, so that one whose client hangs up is paid for as well.
struct Bill<'a> {
    documents: &'a Documents,
    payer: Option<Owner>,
    /// What the answer says.
    answered_rus: Option<f64>,
    /// Time at work, without waiting for anything: a ledger that is away is not the client's fault.
    worked: Duration,
}

impl Drop for Bill<'_> {
    fn drop(&mut self) {
        // A refusal is work as well.
        let worked_rus = (self.worked.as_secs_f64() * RUS_PER_WORKED_SECOND).max(1.0);
        self.documents
            .charge(self.payer, self.answered_rus.unwrap_or(worked_rus));
    }
}

fn host_of(parts: &http::request::Parts) -> String {
    let from_header = parts
        .headers
        .get(header::HOST)
        .and_then(|value| value.to_str().ok());
    from_header
        .or_else(|| parts.uri.authority().map(http::uri::Authority::as_str))
        .unwrap_or("localhost")
        .to_owned()
}

/// A request may weaken the account's consistency (Session), never strengthen it.
fn check_consistency(level: Option<&str>) -> Result<(), DocumentsError> {
    match level {
        None => Ok(()),
        Some(level)
            if ["Session", "ConsistentPrefix", "Eventual", ""]
                .iter()
                .any(|l| l.eq_ignore_ascii_case(level)) =>
        {
            Ok(())
        }
        Some(level) => Err(DocumentsError::bad_request(format!(
            "The consistency level {level} is stronger than the account's, Session, or unknown."
        ))),
    }
}

async fn read_body(body: Body) -> Result<Bytes, DocumentsError> {
    body.read_bounded(REQUEST_BYTES_MAX)
        .await
        .map_err(|error| match error {
            BodyError::TooLong { bytes_max } => {
                DocumentsError::TooLarge(format!("Request size is too large: more than {bytes_max} bytes."))
            }
            other => DocumentsError::BadRequest(format!("The request body can't be read: {other}.")),
        })
}

fn split_path(path: &str) -> Result<Vec<String>, DocumentsError> {
    path.split('/')
        .filter(|segment| !segment.is_empty())
        .map(|segment| {
            let decoded = percent_decode_str(segment).decode_utf8();
            decoded
                .map(std::borrow::Cow::into_owned)
                .map_err(|_| DocumentsError::bad_request("The path is not UTF-8 after percent-decoding."))
        })
        .collect()
}

#[async_trait]
impl Service for DocumentsService {
    async fn call(&self, request: Request<Body>) -> Response<Body> {
        let context = request.extensions().get::<RequestContext>();
        let activity_id = request
            .headers()
            .get(headers::ACTIVITY_ID)
            .and_then(|value| value.to_str().ok())
            .filter(|id| id.len() <= 64)
            .map(str::to_owned)
            .or_else(|| context.map(|context| context.request_id.to_string()))
            .unwrap_or_else(|| self.documents.random.uuid().to_string());
        let segments = split_path(request.uri().path());
        if let Ok(segments) = &segments
            && let Some(response) = self.certificate(request.method(), segments)
        {
            return response;
        }
        let of_container = segments.as_ref().is_ok_and(|segments| segments.len() >= 5);
        let outcome = match segments {
            Ok(segments) => Box::pin(self.serve(request, segments)).await,
            Err(error) => Err(error),
        };
        let mut answer = outcome.unwrap_or_else(|error| {
            log_failure(&error, &activity_id);
            Answer::from_error(&error)
        });
        // Clients keep track of what they have seen through errors as well.
        if of_container && !answer.has(headers::SESSION_TOKEN) && answer.status != StatusCode::UNAUTHORIZED {
            let head = *self.documents.ledger.head().borrow();
            answer = answer.with_session(head);
        }
        answer.into_response(&activity_id)
    }
}

fn log_failure(error: &DocumentsError, activity_id: &str) {
    // The engine says once that it is away; every request saying it too would fill the disk.
    let away = matches!(
        error,
        DocumentsError::Ledger(LedgerError::Unavailable(_) | LedgerError::Unknown(_))
    );
    if away {
        tracing::debug!(%error, activity_id, "the ledger is away");
    } else if error.status().is_server_error() && error.status() != StatusCode::NOT_IMPLEMENTED {
        tracing::error!(%error, activity_id, "a documents request failed");
    } else {
        tracing::debug!(
            code = error.code(),
            activity_id,
            "a documents request was refused"
        );
    }
}
