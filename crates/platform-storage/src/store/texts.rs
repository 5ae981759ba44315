//! Applications' texts: a document per language.

use documents::PartitionKey;
use ledger::Transaction;

use super::{Stored, View, to_document};
use crate::Platform;
use crate::error::PlatformError;
use crate::model::TextResource;
use crate::rules::names::AppId;

/// The id of an app's texts in a language.
pub(crate) fn text_id(app: &AppId, language: &str) -> String {
    format!("{}-{}-{}", app.org, app.app, language.to_lowercase())
}

impl Platform {
    /// The texts in a language; `None` if there are none.
    pub(crate) async fn stored_text(
        &self,
        view: &View,
        app: &AppId,
        language: &str,
    ) -> Result<Option<Stored<TextResource>>, PlatformError> {
        let item = self
            .documents
            .read_item_text(
                view.snapshot(),
                &view.containers.texts,
                &PartitionKey::string(&*app.org),
                &text_id(app, language),
            )
            .await?;
        item.map(Stored::read).transpose()
    }

    /// Stages texts in the place of what is there.
    pub(crate) async fn stage_text(
        &self,
        tx: &mut Transaction,
        view: &View,
        text: &TextResource,
    ) -> Result<(), PlatformError> {
        self.documents
            .stage_upsert(tx, view.snapshot(), &view.containers.texts, to_document(text)?)
            .await?;
        Ok(())
    }

    /// Stages the removal of texts.
    pub(crate) async fn stage_text_removal(
        &self,
        tx: &mut Transaction,
        view: &View,
        before: &Stored<TextResource>,
    ) -> Result<(), PlatformError> {
        self.documents
            .stage_delete(
                tx,
                view.snapshot(),
                &view.containers.texts,
                &PartitionKey::string(&*before.value.org),
                &before.value.id,
                Some(&before.etag),
            )
            .await?;
        Ok(())
    }
}
