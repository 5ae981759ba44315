//! The API's front: which operation a request means, who calls, what is answered.

use std::sync::Arc;

use async_trait::async_trait;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_semantics::{Body, OperationName, RequestContext, Service};

use crate::auth::{self, Caller};
use crate::development::Development;
use crate::error::PlatformError;
use crate::model::Instance;
use crate::operations::instance_path::InstancePath;
use crate::operations::{
    applications, cleanup, data, data_content, data_elements, events, instance_state, instances,
    list_instances, lock, message_box, mutations, process, scans, sign, studio, texts,
};
use crate::rules::versions::{self, Preconditions, Versions};
use crate::wire::answer;
use crate::wire::links::{BASE_PATH, Links};
use crate::wire::query::{self, Query};
use crate::{Platform, operation};

/// A request as operations see it, without its body.
pub(crate) struct Call {
    pub(crate) query: Query,
    pub(crate) headers: HeaderMap,
    pub(crate) links: Links,
    caller: Option<Caller>,
    /// Who issued the platform token, on routes that take one.
    platform_issuer: Option<String>,
}

impl Call {
    /// Who calls.
    ///
    /// # Errors
    /// 401 on routes that take calls without a token, if there is none.
    pub(crate) fn caller(&self) -> Result<&Caller, PlatformError> {
        self.caller.as_ref().ok_or(PlatformError::Unauthorized)
    }

    /// Refuses all but Studio, which publishes metadata and texts (403).
    pub(crate) fn require_studio(&self) -> Result<(), PlatformError> {
        if self.caller()?.is_studio {
            return Ok(());
        }
        Err(PlatformError::forbidden(
            "Only Studio changes metadata and texts.",
        ))
    }

    /// What the request demands of versions.
    ///
    /// # Errors
    /// 400 if it does so in a wrong form.
    pub(crate) fn preconditions(&self) -> Result<Preconditions, PlatformError> {
        Preconditions::parse(&self.headers).map_err(PlatformError::MalformedVersion)
    }

    /// Refuses the request (412) unless the instance has the versions that it demands.
    pub(crate) fn require_versions(&self, instance: &Instance) -> Result<(), PlatformError> {
        let current = Versions::of(instance);
        match self.preconditions()?.differs(current) {
            Some(differs) => Err(PlatformError::VersionMismatch(differs, current)),
            None => Ok(()),
        }
    }

    /// Refuses a write of what the instance holds: 412 as above, 409 while its process is going on by itself.
    pub(crate) fn guard_write(&self, instance: &Instance) -> Result<(), PlatformError> {
        self.require_versions(instance)?;
        if versions::is_processing(instance) {
            return Err(PlatformError::ProcessStatus(
                versions::status(instance).to_owned(),
            ));
        }
        Ok(())
    }

    /// Refuses all (403) but the platform's own components and the apps of `org`.
    pub(crate) fn require_platform_or(&self, org: &str) -> Result<(), PlatformError> {
        match self.platform_issuer.as_deref() {
            Some(issuer) if issuer == auth::PLATFORM || issuer == org => Ok(()),
            _ => Err(PlatformError::forbidden(
                "The platform token is neither the platform's nor the instance's org's.",
            )),
        }
    }

    /// A boolean of the query.
    pub(crate) fn boolean(&self, name: &str) -> Result<Option<bool>, PlatformError> {
        self.query.boolean(name).map_err(PlatformError::BadRequest)
    }
}

/// `scheme://host` as the client named it.
pub(crate) fn origin<B>(request: &Request<B>) -> String {
    let scheme = request
        .extensions()
        .get::<RequestContext>()
        .map_or("http", RequestContext::scheme);
    let named = request.uri().authority().map(ToString::to_string);
    let host = named.or_else(|| Some(request.headers().get("host")?.to_str().ok()?.to_owned()));
    format!("{scheme}://{}", host.unwrap_or_default())
}

/// The public API.
#[derive(Debug)]
pub struct PlatformService {
    platform: Arc<Platform>,
    development: Option<Development>,
}

impl PlatformService {
    /// The API over `platform`; `development` adds what stands in for Altinn's other services.
    #[must_use]
    pub fn new(platform: Arc<Platform>, development: Option<Development>) -> Self {
        Self {
            platform,
            development,
        }
    }

    async fn serve(&self, mut request: Request<Body>) -> Result<Response<Body>, PlatformError> {
        let path = request.uri().path().to_owned();
        if path.eq_ignore_ascii_case("/health") {
            return Ok(answer::text(StatusCode::OK, "Healthy"));
        }
        let origin = origin(&request);
        if let Some(development) = &self.development {
            match development.serve(&self.platform, request, &origin).await? {
                Ok(response) => return Ok(response),
                Err(given_back) => request = given_back,
            }
        }
        let Some(rest) = below_base(&path) else {
            return Err(unknown_path());
        };
        let segments = segments(rest)?;
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        let (parts, body) = request.into_parts();
        let mut platform_issuer = None;
        let caller = if is_public(&parts.method, &segments) {
            None
        } else if is_for_apps(&parts.method, &segments) {
            let tokens = &self.platform.platform_tokens;
            platform_issuer = Some(tokens.authenticate(&parts.headers).await?);
            None
        } else {
            Some(auth::authenticate(&self.platform.verifier, &parts.headers).await?)
        };
        let call = Call {
            query: Query::parse(parts.uri.query()),
            headers: parts.headers,
            links: Links::new(&self.platform.settings, &origin),
            caller,
            platform_issuer,
        };
        dispatch(&self.platform, &parts.method, &segments, &call, body).await
    }
}

#[async_trait]
impl Service for PlatformService {
    async fn call(&self, request: Request<Body>) -> Response<Body> {
        let below = below_base(request.uri().path());
        let operation = below.and_then(|path| operation::path_of(request.method().as_str(), path));
        let mut response = self.serve(request).await.unwrap_or_else(|error| error.render());
        if let Some(path) = operation {
            response.extensions_mut().insert(OperationName(path));
        }
        response
    }
}

/// What only operators may reach: the clean-up jobs, and what a decision point asks about a
/// process. It has no authentication of its own; the admin listener is its place.
#[derive(Debug)]
pub struct InternalService(Arc<Platform>);

impl InternalService {
    /// The internal routes over `platform`.
    #[must_use]
    pub fn new(platform: Arc<Platform>) -> Self {
        Self(platform)
    }

    async fn serve(&self, method: &Method, path: &str) -> Result<Response<Body>, PlatformError> {
        let platform = &self.0;
        let rest = below_base(path).ok_or_else(unknown_path)?;
        let segments = segments(rest)?;
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        let names = lower(&segments);
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        match (method, names.as_slice(), segments.as_slice()) {
            (&Method::DELETE, ["cleanup", "cleanupinstances"], _) => cleanup::instances(platform).await,
            (&Method::DELETE, ["cleanup", "cleanupdataelements"], _) => cleanup::elements(platform).await,
            (&Method::DELETE, ["cleanup", "cleanupinstancesforapp", ..], [_, _, org, app]) => {
                cleanup::app(platform, org, app).await
            }
            (&Method::DELETE, ["cleanup", "cleanupinstancesforapp", ..], [_, _, id]) => {
                let (org, app) = id.split_once('/').unwrap_or((id, ""));
                cleanup::app(platform, org, app).await
            }
            (&Method::GET, ["instances", _, _, "process", "authinfo"], [_, party, guid, ..]) => {
                let path = InstancePath::parse(party, guid).ok_or_else(unknown_path)?;
                process::authinfo(platform, &path).await
            }
            _ => Err(unknown_path()),
        }
    }
}

#[async_trait]
impl Service for InternalService {
    async fn call(&self, request: Request<Body>) -> Response<Body> {
        let (parts, _) = request.into_parts();
        let answered = self.serve(&parts.method, parts.uri.path()).await;
        answered.unwrap_or_else(|error| error.render())
    }
}

fn unknown_path() -> PlatformError {
    PlatformError::not_found("There is nothing under this path.")
}

/// What is behind the API's path.
fn below_base(path: &str) -> Option<&str> {
    let (base, rest) = path.split_at_checked(BASE_PATH.len())?;
    (base.eq_ignore_ascii_case(BASE_PATH) && (rest.is_empty() || rest.starts_with('/'))).then_some(rest)
}

/// The path's segments, decoded.
fn segments(path: &str) -> Result<Vec<String>, PlatformError> {
    path.split('/')
        .filter(|segment| !segment.is_empty())
        .map(|segment| {
            query::decode_segment(segment)
                .map(std::borrow::Cow::into_owned)
                .ok_or_else(|| PlatformError::bad_request("The path isn't UTF-8."))
        })
        .collect()
}

fn lower(segments: &[&str]) -> Vec<String> {
    segments
        .iter()
        .map(|segment| segment.to_ascii_lowercase())
        .collect()
}

/// Applications' metadata is read without a token.
fn is_public(method: &Method, segments: &[&str]) -> bool {
    *method == Method::GET
        && segments
            .first()
            .is_some_and(|first| first.eq_ignore_ascii_case("applications"))
        && segments.len() <= 3
}

/// What the platform's own components and apps call with a token of theirs instead of a user's.
fn is_for_apps(method: &Method, segments: &[&str]) -> bool {
    let is = |at: usize, name: &str| {
        segments
            .get(at)
            .is_some_and(|found| found.eq_ignore_ascii_case(name))
    };
    is(0, "instances")
        && (*method == Method::PUT && is(3, "dataelements") && is(5, "filescanstatus") && segments.len() == 6
            || *method == Method::GET && is(3, "dataelementexists") && segments.len() == 5)
}

async fn dispatch(
    platform: &Platform,
    method: &Method,
    segments: &[&str],
    call: &Call,
    body: Body,
) -> Result<Response<Body>, PlatformError> {
    let names = lower(segments);
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let method = method.as_str();
    match (method, names.as_slice(), segments) {
        ("GET", ["applications"], _) => applications::list(platform, None).await,
        ("GET", ["applications", _], [_, org]) => applications::list(platform, Some(org)).await,
        ("GET", ["applications", _, _], [_, org, app]) => applications::get(platform, org, app).await,
        ("POST", ["applications"], _) => applications::post(platform, call, body).await,
        ("PUT", ["applications", _, _], [_, org, app]) => {
            applications::put(platform, call, (org, app), body).await
        }
        ("DELETE", ["applications", _, _], [_, org, app]) => {
            applications::delete(platform, call, (org, app)).await
        }
        ("POST", ["applications", _, _, "texts"], [_, org, app, ..]) => {
            texts::post(platform, call, (org, app), body).await
        }
        ("GET", ["applications", _, _, "texts", _], [_, org, app, _, language]) => {
            texts::get(platform, (org, app), language).await
        }
        ("PUT", ["applications", _, _, "texts", _], [_, org, app, _, language]) => {
            texts::put(platform, call, (org, app), language, body).await
        }
        ("DELETE", ["applications", _, _, "texts", _], [_, org, app, _, language]) => {
            texts::delete(platform, call, (org, app), language).await
        }
        ("GET", ["instances"], _) => list_instances::list(platform, call).await,
        ("POST", ["instances"], _) => instances::post(platform, call, body).await,
        ("GET", ["instances", _], [_, guid]) => instances::get_by_guid(platform, call, guid).await,
        (_, ["instances", _, _, ..], [_, party, guid, ..]) => {
            let path = InstancePath::parse(party, guid).ok_or_else(unknown_path)?;
            let below = names.get(3..).unwrap_or_default();
            let last = segments.last().copied().unwrap_or_default();
            let id = segments.get(4).copied().unwrap_or(last);
            below_instance(platform, method, below, call, &path, id, body).await
        }
        ("POST", ["sbl", "instances", "search"], _) => message_box::search(platform, call, body).await,
        ("GET", ["sbl", "instances", _, _], [_, _, party, guid]) => {
            let path = InstancePath::parse(party, guid).ok_or_else(unknown_path)?;
            message_box::get(platform, call, &path).await
        }
        ("GET", ["sbl", "instances", _, _, "events"], [_, _, party, guid, _]) => {
            let path = InstancePath::parse(party, guid).ok_or_else(unknown_path)?;
            message_box::events(platform, call, &path).await
        }
        ("GET", ["studio", "instances", _, _], [_, _, org, app]) => {
            studio::list(platform, call, (org, app)).await
        }
        ("GET", ["studio", "instances", _, _, _], [_, _, org, app, guid]) => {
            studio::get(platform, call, (org, app), guid).await
        }
        ("DELETE", ["studio", "instances", _, _, _], [_, _, org, app, guid]) => {
            studio::delete(platform, call, (org, app), guid).await
        }
        ("PUT", ["sbl", "instances", _, _, "undelete"], [_, _, party, guid, _]) => {
            let path = InstancePath::parse(party, guid).ok_or_else(unknown_path)?;
            instances::undelete(platform, call, &path).await
        }
        ("DELETE", ["sbl", "instances", _, _], [_, _, party, guid]) => {
            let path = InstancePath::parse(party, guid).ok_or_else(unknown_path)?;
            instances::delete_from_box(platform, call, &path).await
        }
        _ => Err(unserved(method, &names)),
    }
}

/// Routes below an instance; `id` is the segment that names an element or event.
async fn below_instance(
    platform: &Platform,
    method: &str,
    below: &[&str],
    call: &Call,
    path: &InstancePath,
    id: &str,
    body: Body,
) -> Result<Response<Body>, PlatformError> {
    match (method, below) {
        ("GET", []) => instances::get(platform, call, path).await,
        ("DELETE", []) => instances::delete(platform, call, path).await,
        ("POST", ["complete"]) => instance_state::complete(platform, call, path).await,
        ("PUT", ["readstatus"]) => instance_state::read_status(platform, call, path).await,
        ("PUT", ["substatus"]) => instance_state::substatus(platform, call, path, body).await,
        ("PUT", ["presentationtexts"]) => {
            instance_state::presentation_texts(platform, call, path, body).await
        }
        ("PUT", ["datavalues"]) => instance_state::data_values(platform, call, path, body).await,
        ("PUT", ["process"]) => process::put(platform, call, path, body).await,
        ("PUT", ["process", "instanceandevents"]) => {
            process::put_with_events(platform, call, path, body).await
        }
        ("GET", ["process", "history"]) => process::get_history(platform, call, path).await,
        ("POST", ["events"]) => events::post(platform, call, path, body).await,
        ("GET", ["events"]) => events::list(platform, call, path).await,
        ("GET", ["events", _]) => events::get(platform, call, path, id).await,
        ("POST", ["sign"]) => sign::post(platform, call, path, body).await,
        ("POST", ["lock"]) => lock::take(platform, call, path, body).await,
        ("PATCH", ["lock"]) => lock::change(platform, call, path, &call.headers, body).await,
        ("POST", ["data"]) => data::post(platform, call, path, body).await,
        ("PUT", ["data", _]) => data::put(platform, call, path, id, body).await,
        ("GET", ["data", _]) => data_content::get(platform, call, path, id).await,
        ("DELETE", ["data", _]) => data::delete(platform, call, path, id).await,
        ("PUT", ["data", _, "lock"]) => data_elements::lock(platform, call, path, id, true).await,
        ("DELETE", ["data", _, "lock"]) => data_elements::lock(platform, call, path, id, false).await,
        ("POST", ["mutations"]) => mutations::post(platform, call, path, body).await,
        ("PUT", ["dataelements", _, "filescanstatus"]) => {
            scans::put_status(platform, call, path, id, body).await
        }
        ("GET", ["dataelementexists", _]) => scans::exists(platform, path, id).await,
        ("GET", ["dataelements"]) => data_elements::list(platform, call, path).await,
        ("PUT", ["dataelements", _]) => data_elements::put(platform, call, path, id, body).await,
        _ => {
            let mut names = vec!["instances", "", ""];
            names.extend_from_slice(below);
            Err(unserved(method, &names))
        }
    }
}

/// What a path that isn't served is answered with: 501 if the original serves it, 405 if it serves
/// it by another method, 404 if it doesn't know it.
fn unserved(method: &str, names: &[&str]) -> PlatformError {
    match operation::look_up(method, names) {
        operation::Known::Unserved(name) => PlatformError::NotImplemented(format!(
            "{name} isn't served by this server; docs/compat/platform-storage.md lists what is."
        )),
        operation::Known::OtherMethod => PlatformError::MethodNotAllowed,
        operation::Known::No => unknown_path(),
    }
}
