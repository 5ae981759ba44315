//! Get Document: a point read. What is stored is what is answered.

use ledger::Transaction;

use super::item_action::{self, Action, ItemAction};
use crate::error::DocumentsError;
use crate::wire::answer::Answer;
use crate::wire::call::Call;

pub(super) async fn run(call: &Call<'_>) -> Result<Answer, DocumentsError> {
    let snapshot = call.snapshot().await?;
    let container = call.container().await?;
    let item = ItemAction {
        action: Action::Read,
        id: call.segment(5).to_owned(),
        key: call.item_key(&container)?,
        if_match: None,
        if_none_match: call.if_none_match(),
    };
    let mut tx = Transaction::new();
    let read = item_action::stage(
        call.documents,
        &mut tx,
        Some(snapshot.as_ref()),
        &container,
        &item,
    )
    .await?;
    Ok(read.into_answer(&container, snapshot.sequence(), false))
}
