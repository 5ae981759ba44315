//! Replace Document. The body's id must be the path's: an item can't be renamed.

use super::item_action::{self, Action, ItemAction};
use super::triggers::{self, Write};
use crate::error::DocumentsError;
use crate::store::items::NewDocument;
use crate::wire::answer::Answer;
use crate::wire::call::Call;

pub(super) async fn run(call: &Call<'_>) -> Result<Answer, DocumentsError> {
    if call.has_triggers() {
        return triggers::run(call, Write::Replace).await;
    }
    let container = call.container().await?;
    let new = NewDocument::from_text(call.body_text()?)?.directed(call.indexing_directive()?);
    let key = call.document_key(&container, new.value())?;
    let id = call.segment(5).to_owned();
    if new.id() != id {
        return Err(DocumentsError::bad_request(
            "The id in the body differs from the one in the path; an item can't be renamed.",
        ));
    }
    let if_match = call.if_match();
    let item = ItemAction {
        action: Action::Replace(new),
        id,
        key,
        if_match,
        if_none_match: None,
    };
    let (result, sequence) = item_action::run(call.documents, container.clone(), &item).await?;
    Ok(result.into_answer(&container, sequence, call.wants_minimal()))
}
