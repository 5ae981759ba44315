//! Patch Document: a partial update.

use super::item_action::{self, Action, ItemAction};
use super::triggers::{self, Write};
use crate::error::DocumentsError;
use crate::rules::patch;
use crate::wire::answer::Answer;
use crate::wire::call::Call;

pub(super) async fn run(call: &Call<'_>) -> Result<Answer, DocumentsError> {
    if call.has_triggers() {
        return triggers::run(call, Write::Patch).await;
    }
    let container = call.container().await?;
    let patch = patch::parse(&call.json_body()?, &container.partition_key.paths)?;
    let key = call.item_key(&container)?;
    let id = call.segment(5).to_owned();
    let if_match = call.if_match();
    let item = ItemAction {
        action: Action::Patch(patch),
        id,
        key,
        if_match,
        if_none_match: None,
    };
    let (result, sequence) = item_action::run(call.documents, container.clone(), &item).await?;
    Ok(result.into_answer(&container, sequence, call.wants_minimal()))
}
