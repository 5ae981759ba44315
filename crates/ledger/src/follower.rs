//! Reads the log from where it stopped last time.
//!
//! Invariant: a follower is given each commit at least once, in order, without gaps; exactly once
//! as long as what it does with a page and [`Follower::acknowledge`] happen together, for which
//! [`Follower::stage_acknowledge`] puts the position into the follower's own transaction.

use std::sync::Arc;

use crate::{Key, KeyWriter, Keyspace, Ledger, LedgerError, LogPage, Sequence, Transaction};

/// The tag of follower positions in the system keyspace.
pub const FOLLOWER_TAG: u8 = 1;

/// A named reader of the log whose position is kept in the ledger.
pub struct Follower {
    ledger: Arc<dyn Ledger>,
    key: Key,
    position: Sequence,
}

impl std::fmt::Debug for Follower {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Follower")
            .field("key", &self.key)
            .field("position", &self.position)
            .finish()
    }
}

/// The key that holds follower `name`'s position: 8 bytes, big-endian.
#[must_use]
pub fn position_key(name: &str) -> Key {
    KeyWriter::new(Keyspace::System)
        .u8(FOLLOWER_TAG)
        .str_bounded(name, 256)
        .finish()
}

impl Follower {
    /// Opens follower `name`. One that isn't registered yet is, at `start` (0: the oldest entry).
    ///
    /// # Errors
    /// As [`Ledger::snapshot`] and [`Ledger::commit`].
    pub async fn open(ledger: Arc<dyn Ledger>, name: &str, start: Sequence) -> Result<Self, LedgerError> {
        let key = position_key(name);
        let stored = ledger.snapshot().await?.get(&key).await?;
        let position = match stored {
            Some(stored) => decode_position(&stored.value)?,
            None => {
                let mut transaction = Transaction::new();
                transaction.put(key.clone(), start.to_be_bytes().to_vec());
                ledger.commit(transaction).await?;
                start
            }
        };
        Ok(Self {
            ledger,
            key,
            position,
        })
    }

    /// How far this follower has acknowledged.
    #[must_use]
    pub fn position(&self) -> Sequence {
        self.position
    }

    /// Entries behind the position, without waiting. The same page is given again until it is
    /// acknowledged.
    ///
    /// # Errors
    /// As [`Ledger::log_page`].
    pub async fn page(&self, entries_max: usize, bytes_max: usize) -> Result<LogPage, LedgerError> {
        self.ledger.log_page(self.position, entries_max, bytes_max).await
    }

    /// Waits until there is an entry behind the position.
    ///
    /// # Errors
    /// [`LedgerError::Closed`] when the ledger closes.
    pub async fn wait(&self) -> Result<(), LedgerError> {
        let mut head = self.ledger.head();
        let position = self.position;
        head.wait_for(|head| *head > position)
            .await
            .map(|_| ())
            .map_err(|_| LedgerError::Closed)
    }

    /// Remembers that everything through `sequence` is done, in a commit of its own.
    ///
    /// # Errors
    /// As [`Ledger::commit`].
    pub async fn acknowledge(&mut self, sequence: Sequence) -> Result<(), LedgerError> {
        let mut transaction = Transaction::new();
        self.stage_acknowledge(&mut transaction, sequence);
        self.ledger.commit(transaction).await?;
        self.position = sequence;
        Ok(())
    }

    /// Stages the position into the follower's own transaction; call [`Follower::advance`] when
    /// that has committed.
    pub fn stage_acknowledge(&self, transaction: &mut Transaction, sequence: Sequence) {
        transaction.put(self.key.clone(), sequence.to_be_bytes().to_vec());
    }

    /// Moves on after a commit that staged the position.
    pub fn advance(&mut self, sequence: Sequence) {
        self.position = sequence;
    }
}

/// Reads a stored position.
///
/// # Errors
/// [`LedgerError::Corrupt`] if it isn't 8 bytes.
pub fn decode_position(value: &[u8]) -> Result<Sequence, LedgerError> {
    let bytes: [u8; 8] = value
        .try_into()
        .map_err(|_| LedgerError::Corrupt(format!("a follower's position has {} bytes", value.len())))?;
    Ok(u64::from_be_bytes(bytes))
}
