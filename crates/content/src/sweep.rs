//! Removes content that nothing refers to.
//!
//! Invariant: content younger than the grace period is never touched, so an upload whose
//! transaction is still under way is safe as long as it takes less than the grace period.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::{ContentError, ContentId, ContentStore};

/// Answers whether anything refers to a content. A service that refers to content provides it.
#[async_trait]
pub trait References: Send + Sync {
    /// Whether `id` is referred to, by the newest committed state.
    ///
    /// # Errors
    /// The cause, for people; the sweep stops then and removes nothing more.
    async fn is_referenced(&self, id: ContentId) -> Result<bool, String>;
}

/// Several services' references: what any of them refers to stays.
#[derive(Default)]
pub struct AnyOf<'a>(Vec<&'a dyn References>);

impl std::fmt::Debug for AnyOf<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("AnyOf").field(&self.0.len()).finish()
    }
}

impl<'a> AnyOf<'a> {
    /// Those of all that are named. Whoever is left out loses its content.
    #[must_use]
    pub fn new(references: Vec<&'a dyn References>) -> Self {
        Self(references)
    }
}

#[async_trait]
impl References for AnyOf<'_> {
    async fn is_referenced(&self, id: ContentId) -> Result<bool, String> {
        for references in &self.0 {
            if references.is_referenced(id).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// What a sweep did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SweepReport {
    /// Contents looked at.
    pub examined: u64,
    /// Contents removed.
    pub removed: u64,
    /// Their bytes.
    pub removed_bytes: u64,
    /// Contents that nothing refers to but that are younger than the grace period.
    pub spared: u64,
}

/// Contents looked at between two looks at the store's listing.
const PAGE_ENTRIES: usize = 256;

/// Walks the whole store once.
///
/// # Errors
/// [`ContentError::Io`] if the store or `references` fails; what was removed so far stays removed.
pub async fn sweep(
    store: &Arc<dyn ContentStore>,
    references: &dyn References,
    now: jiff::Timestamp,
    grace: Duration,
) -> Result<SweepReport, ContentError> {
    let mut report = SweepReport::default();
    let mut after = None;
    loop {
        let page = store.list(after, PAGE_ENTRIES).await?;
        let Some(last) = page.last() else {
            return Ok(report);
        };
        after = Some(last.id);
        for info in page {
            report.examined += 1;
            if references
                .is_referenced(info.id)
                .await
                .map_err(ContentError::Io)?
            {
                continue;
            }
            let age = Duration::try_from(now.duration_since(info.finished)).unwrap_or_default();
            if age < grace {
                report.spared += 1;
                continue;
            }
            store.delete(info.id).await?;
            report.removed += 1;
            report.removed_bytes += info.length_bytes;
        }
    }
}
