//! Get Offer.

use http::StatusCode;

use super::list_offers::{Offer, offers};
use crate::error::DocumentsError;
use crate::wire::answer::Answer;
use crate::wire::call::Call;

pub(super) async fn run(call: &Call<'_>) -> Result<Answer, DocumentsError> {
    let offer = find(call).await?;
    Ok(Answer::json(StatusCode::OK, &offer.resource, 2.0))
}

/// The offer of the path.
pub(super) async fn find(call: &Call<'_>) -> Result<Offer, DocumentsError> {
    let id = call.segment(1);
    let found = offers(call).await?.into_iter().find(|offer| offer.id == id);
    found.ok_or_else(|| DocumentsError::NotFound("No such offer.".to_owned()))
}
