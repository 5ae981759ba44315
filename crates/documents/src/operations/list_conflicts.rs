//! List Conflicts: there is one write region, so there are none.

use crate::error::DocumentsError;
use crate::wire::answer::Answer;
use crate::wire::call::Call;

pub(super) async fn run(call: &Call<'_>) -> Result<Answer, DocumentsError> {
    let container = call.container().await?;
    let snapshot = call.snapshot().await?;
    let answer = Answer::feed(&container.rid, "Conflicts", &[], 1.0);
    Ok(answer.with_session(snapshot.sequence()).with_owner(&container))
}
