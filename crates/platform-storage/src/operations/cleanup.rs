//! The clean-up jobs, called by hand. On the internal listener only.

use http::{Response, StatusCode};
use http_semantics::Body;

use super::applications::app_id;
use crate::Platform;
use crate::error::PlatformError;
use crate::wire::answer;

pub(crate) async fn instances(platform: &Platform) -> Result<Response<Body>, PlatformError> {
    answer::json(StatusCode::OK, &platform.clean_up_instances().await?)
}

pub(crate) async fn elements(platform: &Platform) -> Result<Response<Body>, PlatformError> {
    answer::json(StatusCode::OK, &platform.clean_up_elements().await?)
}

pub(crate) async fn app(platform: &Platform, org: &str, app: &str) -> Result<Response<Body>, PlatformError> {
    let app = app_id(org, app)?;
    answer::json(StatusCode::OK, &platform.clean_up_app(&app).await?)
}
