//! Query Offers: how clients find the throughput of a container by its link or id.

use super::list_offers::offers;
use crate::error::DocumentsError;
use crate::query::query_resources;
use crate::wire::answer::Answer;
use crate::wire::call::Call;

pub(super) async fn run(call: &Call<'_>) -> Result<Answer, DocumentsError> {
    let (sql, parameters) = call.query_body()?;
    let resources: Vec<_> = offers(call)
        .await?
        .into_iter()
        .map(|offer| offer.resource)
        .collect();
    let rows = query_resources(call.documents, &resources, &sql, &parameters)?;
    Ok(Answer::feed("", "Offers", &rows, 2.0))
}
