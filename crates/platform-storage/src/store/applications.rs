//! Applications' metadata: documents with the id `{org}-{app}`, known to readers as `{org}/{app}`.

use documents::PartitionKey;
use ledger::Transaction;
use serde_json::{Map, Value};

use super::View;
use crate::Platform;
use crate::error::PlatformError;
use crate::limits::APPLICATIONS_MAX;
use crate::model::{Application, relaxed};
use crate::rules::names::AppId;

/// An application as it is kept.
#[derive(Debug, Clone)]
pub(crate) struct StoredApplication {
    /// As readers see it.
    pub(crate) object: Map<String, Value>,
    pub(crate) etag: String,
}

impl StoredApplication {
    fn read(document: Value, etag: String) -> Result<Self, PlatformError> {
        let Value::Object(mut object) = document else {
            return Err(PlatformError::Internal(
                "an application that is no object".to_owned(),
            ));
        };
        object.retain(|name, _| !name.starts_with('_'));
        if let Some(Value::String(id)) = object.get_mut("id") {
            // An org's code has no hyphen.
            *id = id.replacen('-', "/", 1);
        }
        Ok(Self { object, etag })
    }

    /// What this server looks at.
    pub(crate) fn parsed(&self) -> Result<Application, PlatformError> {
        relaxed::from_value(Value::Object(self.object.clone()))
            .map_err(|error| PlatformError::Internal(format!("an application's metadata: {error}")))
    }
}

fn document_id(app: &AppId) -> String {
    format!("{}-{}", app.org, app.app)
}

impl Platform {
    /// An application; `None` if there is none.
    pub(crate) async fn stored_application(
        &self,
        view: &View,
        app: &AppId,
    ) -> Result<Option<StoredApplication>, PlatformError> {
        let item = self
            .documents
            .read_item(
                view.snapshot(),
                &view.containers.applications,
                &PartitionKey::string(&*app.org),
                &document_id(app),
            )
            .await?;
        item.map(|item| StoredApplication::read(item.document, item.etag))
            .transpose()
    }

    /// The application that an instance belongs to, as far as this server looks at it.
    pub(crate) async fn application_of(
        &self,
        view: &View,
        app_id: &str,
    ) -> Result<Option<Application>, PlatformError> {
        let Some(app) = AppId::parse(app_id) else {
            return Ok(None);
        };
        let stored = self.stored_application(view, &app).await?;
        stored.map(|stored| stored.parsed()).transpose()
    }

    /// All applications, or those of an org, by id.
    pub(crate) async fn stored_applications(
        &self,
        view: &View,
        org: Option<&str>,
    ) -> Result<Vec<Map<String, Value>>, PlatformError> {
        let mut documents = Vec::new();
        match org {
            Some(org) => {
                let items = self
                    .documents
                    .read_partition(
                        view.snapshot(),
                        &view.containers.applications,
                        &PartitionKey::string(org),
                        APPLICATIONS_MAX,
                    )
                    .await?;
                documents.extend(items.into_iter().map(|item| item.document));
            }
            None => {
                let mut continuation = None;
                loop {
                    let page = self
                        .documents
                        .query(
                            &view.containers.applications,
                            "SELECT * FROM c",
                            &[],
                            None,
                            APPLICATIONS_MAX,
                            continuation.as_deref(),
                        )
                        .await?;
                    documents.extend(page.rows);
                    continuation = page.continuation;
                    if continuation.is_none() || documents.len() >= APPLICATIONS_MAX {
                        break;
                    }
                }
            }
        }
        let mut applications = documents
            .into_iter()
            .map(|document| Ok(StoredApplication::read(document, String::new())?.object))
            .collect::<Result<Vec<_>, PlatformError>>()?;
        applications.sort_by_cached_key(|object| {
            object
                .get("id")
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        });
        Ok(applications)
    }

    /// Stages an application in the place of what is there.
    pub(crate) async fn stage_application(
        &self,
        tx: &mut Transaction,
        view: &View,
        app: &AppId,
        before: Option<&StoredApplication>,
        mut object: Map<String, Value>,
    ) -> Result<(), PlatformError> {
        object.insert("id".to_owned(), document_id(app).into());
        object.insert("org".to_owned(), app.org.clone().into());
        let (container, document) = (&view.containers.applications, Value::Object(object));
        match before {
            Some(before) => {
                self.documents
                    .stage_replace(tx, view.snapshot(), container, document, Some(&before.etag))
                    .await?
            }
            None => self.documents.stage_create(tx, container, document).await?,
        };
        Ok(())
    }

    /// Stages the removal of an application's metadata.
    pub(crate) async fn stage_application_removal(
        &self,
        tx: &mut Transaction,
        view: &View,
        app: &AppId,
        before: &StoredApplication,
    ) -> Result<(), PlatformError> {
        self.documents
            .stage_delete(
                tx,
                view.snapshot(),
                &view.containers.applications,
                &PartitionKey::string(&*app.org),
                &document_id(app),
                Some(&before.etag),
            )
            .await?;
        Ok(())
    }
}
