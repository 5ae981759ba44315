//! List Stored Procedures.

use super::script_resource;
use crate::error::DocumentsError;
use crate::store::scripts::ScriptKind;
use crate::wire::answer::Answer;
use crate::wire::call::Call;

pub(super) async fn run(call: &Call<'_>) -> Result<Answer, DocumentsError> {
    script_resource::list(call, ScriptKind::StoredProcedure).await
}
