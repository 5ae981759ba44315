//! Tags of a repository (distribution-spec, end-8).

use http::{Response, StatusCode};
use http_semantics::Body;
use serde_json::json;

use crate::RegistryService;
use crate::error::RegistryError;
use crate::rules::grants::Action;
use crate::service::Call;
use crate::store::repositories;
use crate::store::tags::{self, Order, Wanted};
use crate::wire::{query, render};

pub(crate) async fn list(
    service: &RegistryService,
    call: &Call<'_>,
    repository: &str,
) -> Result<Response<Body>, RegistryError> {
    let place = call.place(repository, &[Action::Pull])?;
    let entries = call.query.entries()?;
    let snapshot = service.ledger.snapshot().await?;
    let found = repositories::existing(snapshot.as_ref(), place).await?;
    repositories::check_readable(Some(&found))?;
    let wanted = Wanted {
        last: call.query.last(),
        entries,
        order: Order::Name,
        digest: None,
    };
    let (tags, more) = tags::page(snapshot.as_ref(), place, wanted).await?;
    let names: Vec<&str> = tags.iter().map(|(name, _)| name.as_str()).collect();
    let mut response = render::json(StatusCode::OK, &json!({"name": repository, "tags": names}));
    if let (true, Some(last)) = (more, names.last()) {
        let next = format!(
            "/v2/{repository}/tags/list?last={}&n={entries}&orderby=",
            query::encoded(last)
        );
        call.set_next(response.headers_mut(), &next);
    }
    Ok(response)
}
