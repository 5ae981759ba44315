//! Applications' metadata: documents with the id `{org}-{app}`, known to readers as `{org}/{app}`.

use std::sync::Arc;

use documents::PartitionKey;
use ledger::Transaction;
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use serde_json::{Map, Value};

use super::View;
use crate::Platform;
use crate::error::PlatformError;
use crate::limits::{APPLICATIONS_KNOWN_BYTES_MAX, APPLICATIONS_KNOWN_EXPECTED, APPLICATIONS_MAX};
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

/// An application as it was when it had this etag.
#[derive(Clone)]
struct Known {
    etag: String,
    application: Arc<Application>,
    text_bytes: u64,
}

#[derive(Clone)]
struct ByBytes;

impl Weighter<String, Known> for ByBytes {
    fn weight(&self, _: &String, known: &Known) -> u64 {
        known.text_bytes
    }
}

/// Applications that were taken apart. Their documents are looked at all the same, so what is published counts at once.
pub(crate) struct KnownApplications(Cache<String, Known, ByBytes>);

impl Default for KnownApplications {
    fn default() -> Self {
        let cache = Cache::with_weighter(APPLICATIONS_KNOWN_EXPECTED, APPLICATIONS_KNOWN_BYTES_MAX, ByBytes);
        Self(cache)
    }
}

impl KnownApplications {
    fn find(&self, app_id: &str, etag: &str) -> Option<Arc<Application>> {
        let known = self.0.get(app_id)?;
        (known.etag == etag).then_some(known.application)
    }

    fn keep(&self, app_id: &str, etag: String, application: Arc<Application>, text_bytes: usize) {
        let known = Known {
            etag,
            application,
            // Something, however short.
            text_bytes: (text_bytes as u64).max(1),
        };
        self.0.insert(app_id.to_owned(), known);
    }
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

    /// The application that an instance belongs to, as far as this server looks at it. Taken apart anew when it changes.
    pub(crate) async fn application_of(
        &self,
        view: &View,
        app_id: &str,
    ) -> Result<Option<Arc<Application>>, PlatformError> {
        let Some(app) = AppId::parse(app_id) else {
            return Ok(None);
        };
        let item = self
            .documents
            .read_item_text(
                view.snapshot(),
                &view.containers.applications,
                &PartitionKey::string(&*app.org),
                &document_id(&app),
            )
            .await?;
        let Some(item) = item else { return Ok(None) };
        if let Some(known) = self.applications.find(app_id, &item.etag) {
            return Ok(Some(known));
        }
        let fault = |error| PlatformError::Internal(format!("the metadata of {app_id}: {error}"));
        let document = serde_json::from_slice(&item.text).map_err(fault)?;
        let stored = StoredApplication::read(document, item.etag)?;
        let application = Arc::new(stored.parsed()?);
        let text_bytes = item.text.len();
        self.applications
            .keep(app_id, stored.etag, application.clone(), text_bytes);
        Ok(Some(application))
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
