//! `GET /v2/`: whether this is a registry, and how to log in (distribution-spec, end-1).

use http::{Response, StatusCode};
use http_semantics::Body;
use serde_json::json;

use crate::auth::Shown;
use crate::error::RegistryError;
use crate::service::Call;
use crate::wire::render;

pub(crate) fn get(call: &Call<'_>) -> Result<Response<Body>, RegistryError> {
    // Also where anybody may pull: clients learn here how to log in for the rest.
    match call.access.shown {
        Shown::Nothing if !call.registry.open => Err(call.realm.refuse_stranger()),
        Shown::BadToken => Err(call.realm.refuse_all(&call.access)),
        Shown::Nothing | Shown::Good => Ok(render::json(StatusCode::OK, &json!({}))),
    }
}
