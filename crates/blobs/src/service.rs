//! The wire protocol's front: which operation a request means, who calls, what is answered.

use async_trait::async_trait;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Response, Uri};
use http_semantics::{Body, RequestContext, Service};
use ledger::{Committed, LedgerError, Transaction};
use parking_lot::Mutex;
use percent_encoding::percent_decode_str;

use crate::Blobs;
use crate::auth::{Access, Evidence, Needs, bearer};
use crate::error::{BlobsError, ErrorCode};
use crate::operations::{
    acl, append, batch, blob, block, container, copy, cors, delegation_key, delete, from_url, immutability,
    incremental_copy, lease, list, page_list, pages, service as account, snapshot, tags, tier, undelete,
    website,
};
use crate::rules::roles::Action;
use crate::store::states::Which;
use crate::store::{change_feed, change_log};
use crate::wire::render::{self, Common};
use crate::wire::target::Target;

/// The version that is named where the client names none.
const VERSION_DEFAULT: HeaderValue = HeaderValue::from_static("2021-12-02");

/// A request as operations see it.
pub(crate) struct Call {
    pub(crate) target: Target,
    pub(crate) query: Vec<(String, String)>,
    pub(crate) headers: HeaderMap,
    /// Taken once. Behind a lock because a body alone can't be shared between threads.
    pub(crate) body: Mutex<Body>,
    pub(crate) access: Access,
    pub(crate) method: Method,
    /// `scheme://host`, as the client named it.
    pub(crate) origin: String,
    /// The host that the client named.
    pub(crate) host: String,
    /// What the listener knows of the request.
    pub(crate) context: RequestContext,
}

impl Call {
    /// A query parameter; `None` if it is absent or empty.
    pub(crate) fn parameter(&self, name: &str) -> Option<&str> {
        let found = self.query.iter().find(|(found, _)| found == name);
        found
            .map(|(_, value)| value.as_str())
            .filter(|value| !value.is_empty())
    }

    /// Which of a blob's states the address names.
    pub(crate) fn which(&self) -> Result<Which, BlobsError> {
        Which::named(self.parameter("snapshot"), self.parameter("versionid"))
    }

    /// Refuses what the caller's signature or roles don't grant.
    pub(crate) fn permit(&self, resource: char, any_of: &'static str) -> Result<(), BlobsError> {
        self.access.permit(Needs::new(resource, any_of))
    }

    /// As [`Self::permit_signed`], where roles need another action than the permissions stand for elsewhere.
    pub(crate) fn permit_action(
        &self,
        resource: char,
        any_of: &'static str,
        action: Action,
    ) -> Result<(), BlobsError> {
        self.access
            .permit_signed(Needs::new(resource, any_of).action(action))
    }

    /// As [`Self::permit`], for what no anonymous access reaches.
    pub(crate) fn permit_signed(&self, resource: char, any_of: &'static str) -> Result<(), BlobsError> {
        self.access.permit_signed(Needs::new(resource, any_of))
    }

    /// Whether the caller may know of tags: to read content isn't enough.
    pub(crate) fn sees_tags(&self, resource: char) -> bool {
        self.permit_signed(resource, "t").is_ok()
    }

    /// Commits what the operation staged, in accounts that have a change feed with what the feed tells of the request.
    ///
    /// # Errors
    /// As the ledger.
    pub(crate) async fn commit(&self, blobs: &Blobs, mut tx: Transaction) -> Result<Committed, LedgerError> {
        if blobs.feeds(&self.target.account) {
            tx.record(change_log::request_record(self));
        }
        blobs.ledger.commit(tx).await
    }

    /// The version that its answer names.
    pub(crate) fn version(&self) -> HeaderValue {
        self.headers
            .get("x-ms-version")
            .cloned()
            .unwrap_or(VERSION_DEFAULT)
    }

    /// The body; empty when it was taken before.
    pub(crate) fn take_body(&self) -> Body {
        std::mem::take(&mut *self.body.lock())
    }

    pub(crate) fn container(&self) -> Result<&str, BlobsError> {
        self.target
            .container
            .as_deref()
            .ok_or_else(|| ErrorCode::InvalidUri.into())
    }

    pub(crate) fn blob(&self) -> Result<&str, BlobsError> {
        self.target
            .blob
            .as_deref()
            .ok_or_else(|| ErrorCode::InvalidUri.into())
    }
}

#[async_trait]
impl Service for Blobs {
    async fn call(&self, request: Request<Body>) -> Response<Body> {
        let context = request.extensions().get::<RequestContext>().cloned();
        let request_id = context
            .as_ref()
            .map_or_else(|| self.random.uuid(), |context| context.request_id);
        let common = Common {
            request_id,
            client_request_id: request.headers().get("x-ms-client-request-id").cloned(),
            version: request
                .headers()
                .get("x-ms-version")
                .cloned()
                .unwrap_or(VERSION_DEFAULT),
            now: self.clock.now(),
            head: request.method() == Method::HEAD,
            challenge: self.challenge.clone(),
        };
        let named = request
            .uri()
            .authority()
            .map(http::uri::Authority::as_str)
            .or_else(|| request.headers().get("host").and_then(|host| host.to_str().ok()));
        let website = named.and_then(|host| website::account_of(host, &self.settings.web_host_suffixes));
        if let (Some(account), Some(context)) = (website, &context) {
            let (parts, _) = request.into_parts();
            let outcome = website::serve(self, &account, &parts, context).await;
            let outcome = outcome.unwrap_or_else(|error| website::failure(&error, &common));
            return render::finish(Ok(outcome), &common);
        }
        let browser = cors::origin(request.headers());
        let method = request.method().clone();
        let account = browser
            .as_ref()
            .filter(|_| method != Method::OPTIONS)
            .and_then(|_| self.target(request.uri(), request.headers()).ok())
            .map(|(target, _)| target.account);
        let outcome = match context {
            Some(context) => self.serve(request, &context).await,
            None => Err(ErrorCode::InternalError.into()),
        };
        let mut response = render::finish(outcome, &common);
        if let (Some(origin), Some(account)) = (browser, account) {
            let marked = self
                .mark_cross_origin(&account, &method, &origin, response.headers_mut())
                .await;
            if let Err(error) = marked {
                // The operation is done; a browser that isn't told so keeps its answer from the script.
                tracing::debug!(%error, "an answer has no CORS headers");
            }
        }
        response
    }
}

impl Blobs {
    /// What a request is about, and the host that its client named.
    fn target(&self, uri: &Uri, headers: &HeaderMap) -> Result<(Target, String), BlobsError> {
        let named = headers.get("host").and_then(|host| host.to_str().ok());
        let host = uri
            .authority()
            .map(ToString::to_string)
            .or_else(|| named.map(str::to_owned))
            .unwrap_or_default();
        let target = Target::parse(&host, uri.path(), &self.settings.host_suffixes)?;
        Ok((target, host))
    }

    /// Takes a blob's name as it was sent if there is a blob of that name: releases of before took backslashes for
    /// themselves, and what they wrote must stay in reach. Otherwise what stands for the slash is one.
    ///
    /// # Errors
    /// As the ledger.
    pub(crate) async fn take_literally(&self, target: &mut Target) -> Result<(), BlobsError> {
        let (Some(name), Some(container)) = (&target.literal, &target.container) else {
            return Ok(());
        };
        let snapshot = self.ledger.snapshot().await?;
        let container = match self
            .container(snapshot.as_ref(), &target.account, container)
            .await
        {
            Err(error) if error.code == ErrorCode::ContainerNotFound => return Ok(()),
            other => other?,
        };
        if self.has_state(snapshot.as_ref(), &container, name).await? {
            target.blob = target.literal.take();
        }
        Ok(())
    }

    async fn serve(
        &self,
        request: Request<Body>,
        context: &RequestContext,
    ) -> Result<Response<Body>, BlobsError> {
        let (parts, body) = request.into_parts();
        let named = version(&parts).map(str::to_owned);
        let target = self.target(&parts.uri, &parts.headers);
        match self.serve_parts(parts, body, context).await {
            Err(error) if error.code == ErrorCode::NoAuthenticationInformation => {
                let (target, _) = target?;
                match self.challenges(&target.account, named).await? {
                    true => Err(error),
                    false => Err(ErrorCode::ResourceNotFound.into()),
                }
            }
            outcome => outcome,
        }
    }

    /// Whether a stranger is told to sign: not before the version that challenges. Who names none asks in the
    /// account's default version, or in the oldest one.
    async fn challenges(&self, account: &str, named: Option<String>) -> Result<bool, BlobsError> {
        let version = match named {
            Some(version) => Some(version),
            None => {
                let snapshot = self.ledger.snapshot().await?;
                let (record, _) = self.service_record(snapshot.as_ref(), account).await?;
                record.default_version
            }
        };
        Ok(version.is_some_and(|version| version.as_str() >= bearer::VERSION_CHALLENGES))
    }

    async fn serve_parts(
        &self,
        parts: Parts,
        body: Body,
        context: &RequestContext,
    ) -> Result<Response<Body>, BlobsError> {
        check_version(&parts.headers)?;
        let (mut target, host) = self.target(&parts.uri, &parts.headers)?;
        self.take_literally(&mut target).await?;
        let query = parse_query(parts.uri.query().unwrap_or_default())?;
        let evidence = Evidence {
            method: parts.method.as_str(),
            path: parts.uri.path(),
            query: &query,
            headers: &parts.headers,
            secure: context.secure,
            peer: context.peer.ip(),
            version: version(&parts),
        };
        if parts.method == Method::OPTIONS {
            if let Some(account) = self.account(&target.account) {
                account.check_connection(&evidence)?;
            }
            return self.preflight(&target.account, &parts.headers).await;
        }
        let access = self.authenticate(&target, &evidence).await?;
        let is_kept_by_the_service = target.container.as_deref() == Some(change_feed::CONTAINER);
        let reads = matches!(parts.method, Method::GET | Method::HEAD);
        if (target.secondary || is_kept_by_the_service) && !reads {
            // One that a client made before there was a feed can be deleted, and nothing else.
            let deletes = parts.method == Method::DELETE && target.blob.is_none();
            if target.secondary || !deletes || self.has_feed(&target.account).await? {
                return Err(ErrorCode::InsufficientAccountPermissions.into());
            }
        }
        let origin = format!("{}://{host}", context.scheme());
        let call = Call {
            target,
            query,
            headers: parts.headers,
            body: Mutex::new(body),
            access,
            method: parts.method,
            origin,
            host,
            context: context.clone(),
        };
        self.dispatch(call).await
    }

    async fn dispatch(&self, call: Call) -> Result<Response<Body>, BlobsError> {
        let method = call.method.as_str().to_owned();
        let restype = call.parameter("restype").unwrap_or("").to_owned();
        let comp = call.parameter("comp").unwrap_or("").to_owned();
        // Another state than the one that is meant must not be changed.
        let changed = match call.which()? {
            Which::Blob => true,
            Which::Snapshot(_) => matches!(comp.as_str(), "tier" | "immutabilityPolicies" | "legalhold"),
            Which::Version(_) => {
                matches!(
                    comp.as_str(),
                    "tier" | "tags" | "immutabilityPolicies" | "legalhold"
                )
            }
        };
        if !changed && !matches!(method.as_str(), "GET" | "HEAD" | "DELETE") {
            let text = "A snapshot or a version is read, deleted, protected, or given a tier, a version tags as \
                        well; this operation is about the blob.";
            return Err(BlobsError::with(ErrorCode::InvalidQueryParameterValue, text));
        }
        if call.target.blob.is_some() && restype.is_empty() {
            return self.dispatch_blob(&method, &comp, call).await;
        }
        match (
            method.as_str(),
            restype.as_str(),
            comp.as_str(),
            call.target.container.is_some(),
        ) {
            ("GET" | "HEAD", "account", "properties", _) => account::information(&call),
            ("GET", "", "list", false) => list::containers(self, call).await,
            ("GET", "", "blobs", false) | ("GET", "container", "blobs", true) => tags::find(self, call).await,
            // A client for JavaScript says `container` of an account that stands in the path.
            ("POST", "" | "container", "batch", false) | ("POST", "container", "batch", true) => {
                batch::batch(self, call).await
            }
            ("POST", "service", "userdelegationkey", false) => delegation_key::get(self, call).await,
            ("GET", "service", "stats", false) => account::stats(&call),
            ("GET", "service", "properties", false) => account::properties(self, call).await,
            ("PUT", "service", "properties", false) => account::set_properties(self, call).await,
            ("PUT", "container", "", true) => container::create(self, call).await,
            ("GET" | "HEAD", "container", "" | "metadata", true) => container::properties(self, call).await,
            ("PUT", "container", "metadata", true) => container::set_metadata(self, call).await,
            ("GET" | "HEAD", "container", "acl", true) => acl::get(self, call).await,
            ("PUT", "container", "acl", true) => acl::set(self, call).await,
            ("PUT", "container", "undelete", true) => container::restore(self, call).await,
            ("PUT", "container", "lease", true) => lease::container(self, call).await,
            ("DELETE", "container", "", true) => container::delete(self, call).await,
            ("GET", "container", "list", true) => list::blobs(self, call).await,
            ("GET" | "HEAD" | "PUT" | "POST" | "DELETE" | "OPTIONS", ..) => {
                Err(ErrorCode::NotImplemented.into())
            }
            _ => Err(ErrorCode::InvalidUri.into()),
        }
    }

    async fn dispatch_blob(
        &self,
        method: &str,
        comp: &str,
        call: Call,
    ) -> Result<Response<Body>, BlobsError> {
        // An answer to a condition tells what the tags are, whatever the operation is.
        if call.headers.contains_key("x-ms-if-tags") {
            call.permit_signed('o', "t")?;
        }
        let copies = call.headers.contains_key("x-ms-copy-source");
        match (method, comp) {
            ("PUT", "") if copies && !call.headers.contains_key("x-ms-blob-type") => {
                copy::copy(self, call).await
            }
            ("PUT", "") if copies => from_url::put_blob(self, call).await,
            ("PUT", "undelete") => undelete::undelete(self, call).await,
            ("PUT", "copy") => copy::abort(self, call).await,
            ("PUT", "") => blob::put(self, call).await,
            ("GET", "") => blob::get(self, call).await,
            ("HEAD", "") | ("GET" | "HEAD", "metadata") => blob::properties(self, call).await,
            ("PUT", "snapshot") => snapshot::take(self, call).await,
            ("DELETE", "") => delete::delete(self, call).await,
            ("PUT", "properties") => blob::set_properties(self, call).await,
            ("PUT", "metadata") => blob::set_metadata(self, call).await,
            ("PUT", "page") if copies => pages::put_from_url(self, call).await,
            ("PUT", "page") => pages::put(self, call).await,
            ("GET", "pagelist") => page_list::get(self, call).await,
            ("PUT", "incrementalcopy") => incremental_copy::copy(self, call).await,
            ("PUT", "appendblock") if copies => from_url::append_block(self, call).await,
            ("PUT", "appendblock") => append::block(self, call).await,
            ("PUT", "seal") => append::seal(self, call).await,
            ("GET", "tags") => tags::get(self, call).await,
            ("PUT", "tags") => tags::set(self, call).await,
            ("PUT", "tier") => tier::set(self, call).await,
            ("PUT", "immutabilityPolicies") => immutability::set_policy(self, call).await,
            ("DELETE", "immutabilityPolicies") => immutability::delete_policy(self, call).await,
            ("PUT", "legalhold") => immutability::set_hold(self, call).await,
            ("PUT", "expiry") => blob::set_expiry(&call),
            ("PUT", "lease") => lease::blob(self, call).await,
            ("PUT", "block") if copies => from_url::put_block(self, call).await,
            ("PUT", "block") => block::put(self, call).await,
            ("PUT", "blocklist") => block::put_list(self, call).await,
            ("GET", "blocklist") => block::get_list(self, call).await,
            _ => Err(ErrorCode::NotImplemented.into()),
        }
    }
}

/// The version that a batch names, for its parts, which name none.
#[derive(Debug, Clone)]
pub(crate) struct BatchVersion(pub(crate) HeaderValue);

/// The version in which a request was made, as far as it is said.
fn version(parts: &Parts) -> Option<&str> {
    let own = parts.headers.get("x-ms-version");
    let batch = parts.extensions.get::<BatchVersion>().map(|batch| &batch.0);
    own.or(batch)?.to_str().ok()
}

/// A version is a date from 2009 on; newer ones than we know are taken as the newest.
fn check_version(headers: &HeaderMap) -> Result<(), BlobsError> {
    let Some(version) = headers.get("x-ms-version") else {
        return Ok(());
    };
    let date = version
        .to_str()
        .ok()
        .and_then(|version| version.parse::<jiff::civil::Date>().ok());
    match date {
        Some(date) if date.year() >= 2009 => Ok(()),
        _ => Err(BlobsError::with(
            ErrorCode::InvalidHeaderValue,
            "x-ms-version is not a version.",
        )),
    }
}

/// Names in lower case, values decoded. A plus is a plus, save in `where`: its spaces come as that from
/// clients that encode as forms do (the one for Rust), and a plus of its own comes encoded from all.
pub(crate) fn parse_query(query: &str) -> Result<Vec<(String, String)>, BlobsError> {
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let decode = |text: &str| {
                percent_decode_str(text)
                    .decode_utf8()
                    .map(String::from)
                    .map_err(|_| ErrorCode::InvalidUri)
            };
            let name = decode(name)?.to_lowercase();
            let value = if name == "where" {
                decode(&value.replace('+', " "))?
            } else {
                decode(value)?
            };
            Ok((name, value))
        })
        .collect()
}
