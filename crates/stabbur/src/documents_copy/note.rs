//! How far a copy is, kept with the container here (a record of the ledger).
//!
//! A note says which container of which account it is about: continuations of another one would
//! leave items away.

use anyhow::{Context as _, Result, ensure};
use documents::{Container, Documents};
use serde::{Deserialize, Serialize};

use super::containers::Described;
use super::feed::RangeNote;
use super::source::Source;

const FORMAT: u8 = 1;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Note {
    format: u8,
    /// The account's address.
    source: String,
    /// The container's resource id there.
    rid: String,
    pub(super) ranges: Vec<RangeNote>,
    /// Items that were written in all runs, those that came twice included.
    pub(super) items: u64,
}

impl Note {
    pub(super) fn begin(source: &Source, described: &Described) -> Self {
        Self {
            format: FORMAT,
            source: source.name().to_owned(),
            rid: described.rid.clone(),
            ranges: Vec::new(),
            items: 0,
        }
    }

    /// The container's note, or a new one if it has none.
    ///
    /// # Errors
    /// If it is about another container or account.
    pub(super) async fn read(
        documents: &Documents,
        container: &Container,
        source: &Source,
        described: &Described,
    ) -> Result<Self> {
        let new = Self::begin(source, described);
        let Some(bytes) = documents.copy_note(container).await? else {
            return Ok(new);
        };
        Self::parse(&bytes, &new).with_context(|| format!("container {:?}", described.id))
    }

    fn parse(bytes: &[u8], new: &Self) -> Result<Self> {
        let known: Self = serde_json::from_slice(bytes)
            .context("the note of its copy can't be read; --anew reads all of the source again")?;
        ensure!(
            known.format == FORMAT,
            "the note of its copy is another release's; --anew reads all of the source again"
        );
        ensure!(
            known.source == new.source,
            "it was copied from {}, so where that copy stands says nothing about {}; --anew reads all of it",
            known.source,
            new.source
        );
        ensure!(
            known.rid == new.rid,
            "the source's container was deleted and made again since it was copied; delete the one here and copy again, or, to keep its items as well, add --anew"
        );
        Ok(known)
    }

    pub(super) async fn keep(&self, documents: &Documents, container: &Container) -> Result<()> {
        documents
            .keep_copy_note(container, serde_json::to_vec(self)?)
            .await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_of_one_source() {
        let note = |source: &str, rid: &str| Note {
            format: FORMAT,
            source: source.to_owned(),
            rid: rid.to_owned(),
            ranges: Vec::new(),
            items: 0,
        };
        let mut known = note("https://a/", "r");
        known.items = 5;
        let bytes = serde_json::to_vec(&known).unwrap();
        assert_eq!(Note::parse(&bytes, &note("https://a/", "r")).unwrap(), known);
        for (other, said) in [
            (note("https://b/", "r"), "copied from https://a/"),
            (note("https://a/", "s"), "deleted and made again"),
        ] {
            let refused = Note::parse(&bytes, &other).unwrap_err().to_string();
            assert!(refused.contains(said), "{refused}");
        }
        known.format = 2;
        let bytes = serde_json::to_vec(&known).unwrap();
        assert!(Note::parse(&bytes, &note("https://a/", "r")).is_err());
        assert!(Note::parse(b"{", &note("https://a/", "r")).is_err());
    }
}
