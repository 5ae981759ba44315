//! Items of a container in and out in bulk, as JSON lines.
//!
//! Out: the stored text, system properties included, in the order of item numbers; a number says
//! where to go on. In: upserts, so that repeating what went in before changes nothing but times
//! and etags; a commit holds several items or none of them.

use std::sync::Arc;

use bytes::Bytes;
use ledger::{LedgerError, Snapshot, Transaction};

use super::container::Container;
use super::items::unique_conflict;
use super::keys::{ConflictCause, conflict_cause};
use super::new_document::NewDocument;
use crate::Documents;
use crate::error::DocumentsError;
use crate::limits::{COMMIT_ATTEMPTS_MAX, TRANSFER_BYTES_PER_COMMIT_MAX, TRANSFER_ITEMS_MAX};

/// Some items on their way out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportPage {
    /// A line each, with its end.
    pub lines: Vec<u8>,
    /// How many there are.
    pub items: u64,
    /// The number to go on at; `None` after the last item.
    pub next: Option<u64>,
}

/// Why an import stopped.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{error}")]
pub struct ImportError {
    /// Which of the given lines it was, from 0; those before it are in.
    pub at: usize,
    /// What is wrong with it.
    pub error: DocumentsError,
}

impl Documents {
    /// Finds a container by ids.
    ///
    /// # Errors
    /// 404 if the database or the container isn't there; the ledger's.
    pub async fn find_container(
        &self,
        account: &str,
        database: &str,
        container: &str,
    ) -> Result<Arc<Container>, DocumentsError> {
        self.container(account, database, container).await
    }

    /// Reads items from a number on, as they are stored; expired ones are left away.
    ///
    /// # Errors
    /// The ledger's.
    pub async fn export_page(
        &self,
        snapshot: &dyn Snapshot,
        container: &Container,
        from: u64,
    ) -> Result<ExportPage, DocumentsError> {
        let found = self.stored_page(snapshot, container, from).await?;
        let mut lines = Vec::new();
        for item in &found.items {
            // Within strings they are escaped, so these are blanks between tokens.
            let flat = item.text.iter().map(|byte| match byte {
                b'\n' | b'\r' => b' ',
                other => *other,
            });
            lines.extend(flat);
            lines.push(b'\n');
        }
        Ok(ExportPage {
            lines,
            items: found.items.len() as u64,
            next: found.next,
        })
    }

    /// Creates or replaces an item for each line.
    ///
    /// # Errors
    /// The first line that can't be stored; the ones before it are.
    pub async fn import_lines(
        &self,
        container: &Arc<Container>,
        lines: Vec<Bytes>,
    ) -> Result<(), ImportError> {
        let mut group = Group::default();
        for (at, line) in lines.into_iter().enumerate() {
            let bytes = line.len();
            let new = match NewDocument::from_text(line) {
                Ok(new) => new,
                Err(error) => {
                    self.import_group(container, group).await?;
                    return Err(ImportError { at, error });
                }
            };
            let full = group.lines.len() >= TRANSFER_ITEMS_MAX
                || group.bytes + bytes > TRANSFER_BYTES_PER_COMMIT_MAX;
            if full {
                self.import_group(container, std::mem::take(&mut group)).await?;
            }
            group.bytes += bytes;
            group.lines.push((at, new));
        }
        self.import_group(container, group).await
    }

    async fn import_group(&self, container: &Arc<Container>, group: Group) -> Result<(), ImportError> {
        if self.import_together(container, &group.lines).await.is_ok() {
            return Ok(());
        }
        // One by one, to get in what can and to say which can't.
        for line in &group.lines {
            self.import_together(container, std::slice::from_ref(line))
                .await
                .map_err(|error| ImportError { at: line.0, error })?;
        }
        Ok(())
    }

    async fn import_together(
        &self,
        container: &Arc<Container>,
        lines: &[(usize, NewDocument)],
    ) -> Result<(), DocumentsError> {
        let mut container = container.clone();
        for _ in 0..COMMIT_ATTEMPTS_MAX {
            let snapshot = self.ledger.snapshot().await?;
            let mut tx = Transaction::new();
            for (_, new) in lines {
                let key = container.partition_key.extract(new.value())?;
                self.upsert_in(&mut tx, snapshot.as_ref(), &container, new, &key, None)
                    .await?;
            }
            if tx.is_empty() {
                return Ok(());
            }
            match self.ledger.commit(tx).await {
                Ok(_) => return Ok(()),
                Err(LedgerError::Conflict(conflict)) => match conflict_cause(&conflict.key) {
                    ConflictCause::UniqueKey => return Err(unique_conflict()),
                    ConflictCause::Container => {
                        self.catalog.forget(&container);
                        container = self.latest(&container).await?;
                    }
                    _ => {}
                },
                Err(error) => return Err(error.into()),
            }
        }
        Err(DocumentsError::RetryWith)
    }
}

/// What goes into one commit.
#[derive(Default)]
struct Group {
    lines: Vec<(usize, NewDocument)>,
    bytes: usize,
}

#[cfg(test)]
mod tests {
    use ledger::{Ledger, VerifyReport};
    use serde_json::{Value, json};

    use super::*;
    use crate::ContainerSpec;
    use crate::store::in_memory;

    fn line(id: &str, pk: &Value, at: u32) -> Bytes {
        json!({"id": id, "pk": pk, "at": at}).to_string().into()
    }

    /// All in one commit: the later line counts, and no index entry of the earlier one is left.
    #[tokio::test]
    async fn an_item_twice_is_one_item() {
        let (documents, ledger) = in_memory::documents();
        let spec = ContainerSpec {
            account: "test".to_owned(),
            database: "d".to_owned(),
            container: "c".to_owned(),
            partition_key_paths: vec!["/pk".to_owned()],
            default_ttl: None,
            indexing_policy: None,
        };
        let container = documents.ensure_container(&spec).await.unwrap();
        let (a, b) = (json!("a"), json!("b"));
        let lines = vec![
            line("1", &a, 1),
            line("1", &b, 2),
            line("1", &a, 3),
            line("2", &a, 4),
        ];
        documents.import_lines(&container, lines).await.unwrap();
        let bad = vec![line("3", &a, 5), line("4", &json!([]), 6), line("5", &a, 7)];
        let refused = documents.import_lines(&container, bad).await.unwrap_err();
        assert_eq!(refused.at, 1);
        let snapshot = ledger.snapshot().await.unwrap();
        let page = documents.export_page(snapshot.as_ref(), &container, 0);
        let lines = page.await.unwrap().lines;
        let found: Vec<Value> = lines
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
            .map(|line| serde_json::from_slice::<Value>(line).unwrap()["at"].clone())
            .collect();
        assert_eq!(found, [json!(3), json!(2), json!(4), json!(5)]);
        let mut report = VerifyReport::default();
        documents.verify(snapshot.as_ref(), &mut report).await.unwrap();
        assert_eq!(report.faults, Vec::<String>::new());
    }
}
