//! The wire protocol's front: which vault and operation a request means, who calls, what is answered; and
//! that nothing is answered before its audit row is on disk.

use std::time::Duration;

use async_trait::async_trait;
use http::header::{HOST, USER_AGENT};
use http::request::Parts;
use http::{HeaderMap, Request, Response, StatusCode};
use http_semantics::{Body, BodyError, RequestContext, Service};
use ledger::{LedgerError, Transaction};
use zeroize::Zeroizing;

use crate::error::{ErrorCode, InnerCode, VaultError};
use crate::limits::{ATTEMPTS_MAX, BODY_BYTES_MAX, RESTORE_BYTES_MAX};
use crate::operation::{Operation, Support};
use crate::operations;
use crate::rules::names::Version;
use crate::rules::roles::{Principal, is_allowed};
use crate::store::event::Event;
use crate::store::objects::Shelf;
use crate::store::refusals::{Last, Suppressed};
use crate::wire::host::Host;
use crate::wire::query::Query;
use crate::wire::render::{self, Json, Place};
use crate::wire::route::{Target, route};
use crate::{Vault, Vaults, auth};

/// A request as operations see it: its caller may do it.
pub(crate) struct Call<'a> {
    pub(crate) vaults: &'a Vaults,
    pub(crate) vault: &'a Vault,
    pub(crate) target: Target,
    pub(crate) query: Query,
    /// `https://host[:port]`, as the client named it.
    pub(crate) base: String,
    pub(crate) body: Zeroizing<Vec<u8>>,
    /// Unix seconds.
    pub(crate) now: i64,
}

impl Call<'_> {
    pub(crate) fn shelf(&self) -> Shelf<'_> {
        Shelf {
            vaults: self.vaults,
            vault: &self.vault.name,
            kind: self.target.operation.kind(),
        }
    }

    pub(crate) fn place(&self) -> Place<'_> {
        Place {
            base: &self.base,
            recovery: self.vault.recovery,
        }
    }
}

/// What an operation answers once its transaction is committed.
pub(crate) struct Outcome {
    pub(crate) tx: Transaction,
    pub(crate) status: StatusCode,
    pub(crate) body: Option<Json>,
    /// The version that it was about, for the audit.
    pub(crate) version: Option<Version>,
    /// The object's name, where the path doesn't say it.
    pub(crate) name: Option<String>,
}

impl Outcome {
    pub(crate) fn ok(tx: Transaction, body: Json) -> Self {
        Self {
            tx,
            status: StatusCode::OK,
            body: Some(body),
            version: None,
            name: None,
        }
    }

    pub(crate) fn about(mut self, version: Version) -> Self {
        self.version = Some(version);
        self
    }

    pub(crate) fn called(mut self, name: String) -> Self {
        self.name = Some(name);
        self
    }
}

/// What is known of a request as it goes on, for its audit row.
struct Known<'a> {
    vault: &'a Vault,
    uri: String,
    base: String,
    operation: &'static str,
    object: Option<String>,
    api_version: Option<String>,
    principal: Option<Principal>,
    began: Duration,
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn host(parts: &Parts) -> Option<Host> {
    let authority = parts.uri.authority().map(http::uri::Authority::as_str);
    let text = authority.or_else(|| header(&parts.headers, HOST.as_str()))?;
    Host::parse(text)
}

/// Reads a body into memory that is wiped, also where it grew. The pieces are the HTTP library's.
async fn read_wiped(mut body: Body, bytes_max: usize) -> Result<Zeroizing<Vec<u8>>, VaultError> {
    let mut whole = Zeroizing::new(Vec::new());
    while let Some(piece) = body.next_piece().await? {
        let needed = whole.len() + piece.len();
        if needed > bytes_max {
            let bytes_max = bytes_max as u64;
            return Err(BodyError::TooLong { bytes_max }.into());
        }
        if needed > whole.capacity() {
            let mut grown = Zeroizing::new(Vec::with_capacity(needed.max(2 * whole.capacity())));
            grown.extend_from_slice(&whole);
            whole = grown;
        }
        whole.extend_from_slice(&piece);
    }
    Ok(whole)
}

impl Vaults {
    async fn serve(&self, parts: &Parts, body: Body, context: &RequestContext) -> Response<Body> {
        let request_id = context.request_id.to_string();
        let render = |status, body| render::response(status, body, &parts.headers, &request_id);
        let Some((host, (vault, resource))) = host(parts).and_then(|host| {
            let found = self.vault_at(&host)?;
            Some((host, found))
        }) else {
            let error = VaultError::new(ErrorCode::NotFound, "No vault has this host name.");
            let (status, body) = render::error(&error);
            return render(status, Some(body));
        };
        let resource = format!("https://{resource}");
        let base = format!("https://{}", host.authority());
        let mut known = Known {
            vault,
            uri: format!("{base}{}", parts.uri.path()),
            base,
            operation: "Authentication",
            object: None,
            api_version: None,
            principal: None,
            began: self.clock.monotonic(),
        };
        let answer = match self.prepare(parts, body, context, &resource, &mut known).await {
            Ok(call) => self.run(&call, parts, context, &known).await,
            Err(error) => self.refuse(error, parts, context, &known).await,
        };
        match answer {
            Ok((status, body)) => render(status, body),
            Err(error) => {
                let (status, body) = render::error(&error);
                let mut response = render(status, Some(body));
                if error.code == ErrorCode::Unauthorized
                    && let Some(bearer) = &self.settings.bearer
                {
                    render::challenge(&mut response, &bearer.authorization, &resource);
                }
                response
            }
        }
    }

    /// Everything that comes before an operation: who, what, whether it is allowed.
    async fn prepare<'a>(
        &'a self,
        parts: &Parts,
        body: Body,
        context: &RequestContext,
        resource: &str,
        known: &mut Known<'a>,
    ) -> Result<Call<'a>, VaultError> {
        // Whoever hears a token or a secret has it.
        if !context.secure {
            return Err(VaultError::new(
                ErrorCode::Forbidden,
                "The vault is spoken to over TLS only.",
            ));
        }
        let token = auth::token(&parts.headers);
        // Before the body, the path or anything else is looked at: strangers learn nothing.
        let principal = auth::verify(self.settings.bearer.as_ref(), resource, token).await?;
        known.principal = Some(principal.clone());
        known.operation = "Unknown";
        let target = route(&parts.method, parts.uri.path())?;
        let operation = target.operation;
        known.operation = operation.name();
        known.object = target.name.as_ref().map(|name| match &target.version {
            Some(version) => format!(
                "{}/{}/{name}/{version}",
                known.base,
                operation.kind().collection()
            ),
            None => format!("{}/{}/{name}", known.base, operation.kind().collection()),
        });
        let query = Query::parse(parts.uri.query().unwrap_or_default());
        let object = target.name.as_deref().map(|name| (operation.kind(), name));
        if !is_allowed(&known.vault.assignments, &principal, operation.action(), object) {
            return Err(VaultError::with(
                ErrorCode::Forbidden,
                InnerCode::ForbiddenByRbac,
                format!(
                    "Caller is not authorized to perform action on resource. Action: \
                     'Microsoft.KeyVault/vaults/{}'. Caller: oid={}.",
                    operation.action(),
                    principal.object_id
                ),
            ));
        }
        known.api_version = Some(query.api_version()?.to_owned());
        if operation.support() == Support::No {
            return Err(VaultError::new(
                ErrorCode::NotImplemented,
                format!(
                    "{} is not implemented by this server; docs/compat/vault.md lists what is.",
                    operation.name()
                ),
            ));
        }
        self.seal.newest(&known.vault.name)?;
        let bytes_max = match operation {
            Operation::SecretRestore | Operation::KeyRestore => RESTORE_BYTES_MAX,
            _ => BODY_BYTES_MAX,
        };
        let body = read_wiped(body, bytes_max).await?;
        Ok(Call {
            vaults: self,
            vault: known.vault,
            target,
            query,
            base: known.base.clone(),
            body,
            now: self.now(),
        })
    }

    /// Runs an operation and commits what it stages, together with its audit row.
    async fn run(
        &self,
        call: &Call<'_>,
        parts: &Parts,
        context: &RequestContext,
        known: &Known<'_>,
    ) -> Result<(StatusCode, Option<Json>), VaultError> {
        let mut made = None;
        for _ in 0..ATTEMPTS_MAX {
            let outcome = match operations::run(call, &mut made).await {
                Ok(outcome) => outcome,
                Err(error) => return self.refuse(error, parts, context, known).await,
            };
            let mut tx = outcome.tx;
            let version = outcome.version;
            let restored = outcome.name.as_ref().map(|name| {
                let collection = call.target.operation.kind().collection();
                format!("{}/{collection}/{name}", known.base)
            });
            let object = known.object.as_ref().or(restored.as_ref());
            let object = object.map(|object| match version {
                Some(version) if call.target.version.is_none() => format!("{object}/{version}"),
                _ => object.clone(),
            });
            let status = outcome.status;
            self.event(parts, context, known, object, status, None, Suppressed::default())
                .stage(&mut tx);
            match self.ledger.commit(tx).await {
                Ok(_) => return Ok((status, outcome.body)),
                Err(LedgerError::Conflict(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let text = "The object was changed by others all the time; try again.";
        let error = VaultError::new(ErrorCode::ServiceUnavailable, text);
        self.refuse(error, parts, context, known).await
    }

    /// Writes the audit row of a refusal, and gives the error that the client gets.
    async fn refuse<T>(
        &self,
        error: VaultError,
        parts: &Parts,
        context: &RequestContext,
        known: &Known<'_>,
    ) -> Result<T, VaultError> {
        let this = Last {
            operation: known.operation,
            code: error.code,
            caller: context.peer.ip().to_canonical().to_string(),
        };
        let principal = known.principal.as_ref().map(|known| known.object_id.as_str());
        let now = self.clock.monotonic();
        let Some(suppressed) = self.refusals.admit(&known.vault.name, principal, this, now) else {
            return Err(error);
        };
        let mut tx = Transaction::new();
        let object = known.object.clone();
        let status = error.code.status();
        self.event(parts, context, known, object, status, Some(&error), suppressed)
            .stage(&mut tx);
        self.ledger.commit(tx).await?;
        Err(error)
    }

    #[allow(
        clippy::too_many_arguments,
        reason = "what an audit row has is what there is to say"
    )]
    fn event<'a>(
        &self,
        parts: &'a Parts,
        context: &RequestContext,
        known: &'a Known<'_>,
        object: Option<String>,
        status: StatusCode,
        error: Option<&'a VaultError>,
        suppressed: Suppressed,
    ) -> Event<'a> {
        Event {
            time: self.clock.now(),
            vault: &known.vault.name,
            operation: known.operation,
            api_version: known.api_version.as_deref(),
            principal: known.principal.as_ref(),
            caller: context.peer.ip().to_canonical().to_string(),
            request_id: context.request_id.to_string(),
            client_request_id: header(&parts.headers, "x-ms-client-request-id"),
            client: header(&parts.headers, USER_AGENT.as_str()),
            uri: &known.uri,
            object,
            status: status.as_u16(),
            error,
            duration: self.clock.monotonic().saturating_sub(known.began),
            suppressed,
        }
    }
}

#[async_trait]
impl Service for Vaults {
    async fn call(&self, request: Request<Body>) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let Some(context) = parts.extensions.get::<RequestContext>().cloned() else {
            let error = VaultError::new(ErrorCode::InternalError, "The request has no context.");
            let (status, body) = render::error(&error);
            return render::response(status, Some(body), &parts.headers, "");
        };
        self.serve(&parts, body, &context).await
    }
}
