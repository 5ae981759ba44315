//! Lists of repositories: `GET /v2/_catalog`, `GET /acr/v1/_catalog`.

use http::{Response, StatusCode};
use http_semantics::Body;
use serde_json::json;

use crate::RegistryService;
use crate::error::RegistryError;
use crate::service::Call;
use crate::store::repositories::Page;
use crate::wire::{query, render};

pub(crate) async fn get(service: &RegistryService, call: &Call<'_>) -> Result<Response<Body>, RegistryError> {
    // Not open to those who don't log in, even where they may pull: they need to know a name.
    if !call.access.lists_catalog {
        return Err(call.realm.refuse_catalog(&call.access, "catalog"));
    }
    let page = Page {
        last: call.query.last(),
        entries: call.query.entries()?,
    };
    let (names, more) = service.repositories(&call.registry.name, page, |_| true).await?;
    let mut response = render::json(StatusCode::OK, &json!({"repositories": names}));
    if let (true, Some(last)) = (more, names.last()) {
        let (path, last) = (call.parts.uri.path(), query::encoded(last));
        let next = format!("{path}?last={last}&n={}&orderby=", page.entries);
        call.set_next(response.headers_mut(), &next);
    }
    Ok(response)
}
