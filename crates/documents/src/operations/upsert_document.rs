//! Upsert Document: creates it (201) or replaces the one that is there (200).

use super::item_action::{self, Action, ItemAction};
use super::triggers::{self, Write};
use crate::error::DocumentsError;
use crate::store::items::NewDocument;
use crate::wire::answer::Answer;
use crate::wire::call::Call;

pub(super) async fn run(call: &Call<'_>) -> Result<Answer, DocumentsError> {
    if call.has_triggers() {
        return triggers::run(call, Write::Upsert).await;
    }
    let container = call.container().await?;
    let new = NewDocument::from_text(call.body_text()?)?.directed(call.indexing_directive()?);
    let key = call.document_key(&container, new.value())?;
    let id = new.id().to_owned();
    let if_match = call.if_match();
    let item = ItemAction {
        action: Action::Upsert(new),
        id,
        key,
        if_match,
        if_none_match: None,
    };
    let (result, sequence) = item_action::run(call.documents, container.clone(), &item).await?;
    Ok(result.into_answer(&container, sequence, call.wants_minimal()))
}
