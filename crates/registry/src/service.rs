//! The wire protocol's front: which registry and operation a request means, who calls, what is answered.

use async_trait::async_trait;
use http::header::{ACCEPT_RANGES, HOST};
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_semantics::{Body, RequestContext, Service};

use crate::auth::{Access, Realm};
use crate::error::{ErrorCode, RegistryError};
use crate::limits::USER_AGENT_CHARACTERS_MAX;
use crate::operations::{
    acr_deleted, acr_manifests, acr_repository, acr_tags, base, blob, catalog, exchange, manifest, referrers,
    tags, token, upload,
};
use crate::rules::digest::Digest;
use crate::rules::grants::Action;
use crate::rules::name;
use crate::rules::webhook::Origin;
use crate::settings::{Registry, host_name};
use crate::store::keys::Place;
use crate::wire::query::Query;
use crate::wire::route::Route;
use crate::{Front, RegistryService};

const VERSION: HeaderName = HeaderName::from_static("docker-distribution-api-version");
const CORRELATION: HeaderName = HeaderName::from_static("x-ms-correlation-request-id");

/// A request as operations see it.
pub(crate) struct Call<'a> {
    pub(crate) registry: &'a Registry,
    pub(crate) realm: Realm,
    pub(crate) access: Access,
    pub(crate) parts: Parts,
    pub(crate) query: Query,
}

impl Call<'_> {
    /// A header as text.
    pub(crate) fn header(&self, name: impl http::header::AsHeaderName) -> Option<&str> {
        self.parts.headers.get(name)?.to_str().ok()
    }

    /// What webhooks are told of the request.
    pub(crate) fn origin(&self) -> Origin {
        let context = self.parts.extensions.get::<RequestContext>();
        let agent = self.header(http::header::USER_AGENT).unwrap_or_default();
        Origin {
            id: context.map(|context| context.request_id).unwrap_or_default(),
            host: self.realm.host.clone(),
            method: self.parts.method.to_string(),
            user_agent: agent.chars().take(USER_AGENT_CHARACTERS_MAX).collect(),
        }
    }

    pub(crate) fn is_head(&self) -> bool {
        self.parts.method == Method::HEAD
    }

    /// The repository, for who may do all of this with it.
    ///
    /// # Errors
    /// `NAME_INVALID`; 401 with where to get a token.
    pub(crate) fn place<'n>(
        &'n self,
        repository: &'n str,
        actions: &[Action],
    ) -> Result<Place<'n>, RegistryError> {
        if !name::is_repository(repository, &self.realm.host) {
            return Err(ErrorCode::NameInvalid.into());
        }
        if !actions
            .iter()
            .all(|action| self.access.permits(repository, *action))
        {
            return Err(self.realm.refuse(&self.access, repository, actions));
        }
        Ok(Place::new(&self.registry.name, repository))
    }

    /// Where a list goes on, by a path with a query.
    pub(crate) fn set_next(&self, headers: &mut http::HeaderMap, path_and_query: &str) {
        match self.query.get("ns") {
            None => crate::wire::render::set_next(headers, path_and_query),
            Some(host) => {
                let host = crate::wire::query::encoded(host);
                crate::wire::render::set_next(headers, &format!("{path_and_query}&ns={host}"));
            }
        }
    }

    /// A mirror's query, which must come again with what follows.
    pub(crate) fn mirrored(&self) -> String {
        match self.query.get("ns") {
            Some(host) => format!("?ns={}", crate::wire::query::encoded(host)),
            None => String::new(),
        }
    }
}

/// A digest that a client names.
pub(crate) fn digest(text: &str) -> Result<Digest, RegistryError> {
    let invalid = || {
        RegistryError::with(
            ErrorCode::DigestInvalid,
            "no digest that is served: sha256 or sha512 in lower case",
        )
    };
    Digest::parse(text).ok_or_else(invalid)
}

#[async_trait]
impl Service for Front {
    async fn call(&self, request: Request<Body>) -> Response<Body> {
        let service = self.0.clone();
        if matches!(*request.method(), Method::GET | Method::HEAD) {
            return service.answer(request).await;
        }
        // Whoever hangs up has this future dropped; what came of an upload is kept nevertheless.
        match tokio::spawn(async move { service.answer(request).await }).await {
            Ok(response) => response,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => RegistryError::from(ErrorCode::Unavailable).render(),
            },
        }
    }
}

impl RegistryService {
    async fn answer(&self, request: Request<Body>) -> Response<Body> {
        let context = request.extensions().get::<RequestContext>().cloned();
        let is_head = request.method() == Method::HEAD;
        let correlation = request.headers().get(CORRELATION).cloned();
        let (parts, body) = request.into_parts();
        let outcome = self
            .serve(
                parts,
                body,
                context.as_ref().is_some_and(|context| context.secure),
            )
            .await;
        let mut response = outcome.unwrap_or_else(|error| error.render());
        let headers = response.headers_mut();
        headers.insert(VERSION, HeaderValue::from_static("registry/2.0"));
        if let Some(correlation) = correlation {
            headers.insert(CORRELATION, correlation);
        }
        if is_head {
            // What it would have is told by its headers.
            *response.body_mut() = Body::empty();
        }
        response
    }

    async fn serve(&self, parts: Parts, body: Body, secure: bool) -> Result<Response<Body>, RegistryError> {
        let named = parts.headers.get(HOST).and_then(|host| host.to_str().ok());
        let authority = parts.uri.authority().map(ToString::to_string);
        let host = authority.or_else(|| named.map(str::to_owned)).unwrap_or_default();
        if host.contains(['"', ',', ' ', '\\']) {
            return Err(ErrorCode::RegistryUnknown.into());
        }
        let query = Query::parse(parts.uri.query().unwrap_or_default())
            .ok_or_else(|| RegistryError::with(ErrorCode::NameInvalid, "the query isn't UTF-8"))?;
        // A mirror's clients name the registry that they mean.
        let mirrored = query
            .get("ns")
            .and_then(|host| self.settings.named_by(&host_name(host)));
        let registry = mirrored
            .or_else(|| self.settings.registry(&host_name(&host)))
            .ok_or(ErrorCode::RegistryUnknown)?;
        let route = Route::parse(parts.uri.path())?;
        let namespace = mirrored.and_then(|_| query.get("ns")).map(host_name);
        let realm = Realm {
            scheme: if secure { "https" } else { "http" },
            host,
            namespace,
        };
        match route {
            Route::Token => return token::serve(self, registry, &realm, &parts, body).await,
            Route::Exchange => return exchange::serve(self, registry, &realm, &parts, body).await,
            _ => {}
        }
        let access = self.authenticate(registry, &realm, &parts.headers).await?;
        let namespace = mirrored.and_then(|_| query.get("ns").map(str::to_owned));
        let call = Call {
            registry,
            realm,
            access,
            parts,
            query,
        };
        let mut response = self.dispatch(&call, route, body).await?;
        if let Some(namespace) = namespace {
            crate::wire::render::set(
                response.headers_mut(),
                HeaderName::from_static("oci-namespace"),
                &namespace,
            );
        }
        Ok(response)
    }

    async fn dispatch(
        &self,
        call: &Call<'_>,
        route: Route,
        body: Body,
    ) -> Result<Response<Body>, RegistryError> {
        let method = call.parts.method.as_str();
        let reads = matches!(method, "GET" | "HEAD");
        match route {
            Route::Base if reads => base::get(call),
            Route::Catalog if reads => catalog::get(self, call).await,
            Route::Blob(name, digest) => match method {
                "GET" | "HEAD" => blob::get(self, call, &name, &digest).await,
                "DELETE" => blob::delete(self, call, &name, &digest).await,
                _ => Err(ErrorCode::Unsupported.into()),
            },
            Route::Uploads(name) if method == "POST" => upload::start(self, call, &name, body).await,
            Route::Upload(name, id) => match method {
                "GET" | "HEAD" => upload::status(self, call, &name, &id).await,
                "PATCH" => upload::append(self, call, (&name, &id), body).await,
                "PUT" => upload::finish(self, call, (&name, &id), body).await,
                "DELETE" => upload::cancel(self, call, &name, &id).await,
                _ => Err(ErrorCode::Unsupported.into()),
            },
            Route::Manifest(name, reference) => match method {
                "GET" | "HEAD" => manifest::get(self, call, &name, &reference).await,
                "PUT" => manifest::put(self, call, (&name, &reference), body).await,
                "DELETE" => manifest::delete(self, call, &name, &reference).await,
                _ => Err(ErrorCode::Unsupported.into()),
            },
            Route::Tags(name) if reads => tags::list(self, call, &name).await,
            Route::Referrers(name, digest) if reads => referrers::list(self, call, &name, &digest).await,
            Route::AcrCatalog if reads => catalog::get(self, call).await,
            Route::AcrRepository(name) => match method {
                "GET" => acr_repository::get(self, call, &name).await,
                "PATCH" => acr_repository::patch(self, call, &name, body).await,
                "DELETE" => acr_repository::delete(self, call, &name).await,
                _ => Err(ErrorCode::Unsupported.into()),
            },
            Route::AcrTags(name) if method == "GET" => acr_tags::list(self, call, &name).await,
            Route::AcrTag(name, tag) => match method {
                "GET" => acr_tags::get(self, call, &name, &tag).await,
                "PATCH" => acr_tags::patch(self, call, (&name, &tag), body).await,
                "DELETE" => acr_tags::delete(self, call, &name, &tag).await,
                _ => Err(ErrorCode::Unsupported.into()),
            },
            Route::AcrManifests(name) if method == "GET" => acr_manifests::list(self, call, &name).await,
            Route::AcrManifest(name, digest) => match method {
                "GET" => acr_manifests::get(self, call, &name, &digest).await,
                "PATCH" => acr_manifests::patch(self, call, (&name, &digest), body).await,
                "DELETE" => acr_manifests::delete(self, call, &name, &digest).await,
                _ => Err(ErrorCode::Unsupported.into()),
            },
            Route::DeletedCatalog if reads => acr_deleted::catalog(self, call).await,
            Route::DeletedManifests(name) if reads => acr_deleted::manifests(self, call, &name).await,
            Route::DeletedTags(name) if reads => acr_deleted::tags(self, call, &name).await,
            Route::DeletedManifest(name, digest) if method == "POST" => {
                acr_deleted::restore(self, call, (&name, &digest), body).await
            }
            _ => Err(ErrorCode::Unsupported.into()),
        }
    }
}

/// An answer that has parts on demand.
pub(crate) fn accept_ranges(response: &mut Response<Body>) {
    response
        .headers_mut()
        .insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
}

/// 304, if the client has this already.
pub(crate) fn not_modified(call: &Call<'_>, digest: &Digest) -> Option<Response<Body>> {
    let header = call.header(http::header::IF_NONE_MATCH)?;
    http_semantics::etag::TagList::parse(header)
        .matches(digest.as_str())
        .then(|| {
            let mut response = crate::wire::render::empty(StatusCode::NOT_MODIFIED);
            crate::wire::render::set_digest(response.headers_mut(), digest);
            response
        })
}
