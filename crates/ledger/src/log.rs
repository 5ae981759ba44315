//! The commit log: one entry per commit, its encoding, and the hash chain that proves that none
//! is missing.
//!
//! Invariant: entry *n+1* holds the BLAKE3 hash over entry *n*'s hash and its own content, so an
//! entry that was lost, altered or moved breaks the chain at that place. Both engines store these
//! same bytes.

use bytes::Bytes;

use crate::{Keyspace, Sequence};

/// The hash of the chain before the first entry.
pub const CHAIN_START: [u8; 32] = [0; 32];

/// What one operation says about what it did, for those who follow the log: change feeds, events,
/// audit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogRecord {
    /// The service that wrote it.
    pub keyspace: Keyspace,
    /// What happened, in the service's own numbering.
    pub kind: u8,
    /// The service's own encoding (JSON in all of them today). Never a secret.
    pub payload: Bytes,
}

/// One commit in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEntry {
    /// The commit's number.
    pub sequence: Sequence,
    /// The ledger's time of the commit.
    pub time: jiff::Timestamp,
    /// BLAKE3 over the commit's writes (keys and values), for later proof:
    /// [`crate::Transaction::writes_hash`].
    pub writes_hash: [u8; 32],
    /// What the operations recorded.
    pub records: Vec<LogRecord>,
    /// The chain's hash including this entry.
    pub chain: [u8; 32],
}

/// Entries of the log, in order and without gaps, and how far the log reached when it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogPage {
    /// The entries.
    pub entries: Vec<LogEntry>,
    /// The newest sequence number when the page was read.
    pub head: Sequence,
}

impl LogEntry {
    /// Builds the entry of a transaction that commits as `sequence` behind `previous`:
    /// `writes_hash` is [`crate::Transaction::writes_hash`], `records` are its log records.
    #[must_use]
    pub fn new(
        previous: &[u8; 32],
        sequence: Sequence,
        time: jiff::Timestamp,
        writes_hash: [u8; 32],
        records: &[LogRecord],
    ) -> Self {
        let mut entry = Self {
            sequence,
            time,
            writes_hash,
            records: records.to_vec(),
            chain: CHAIN_START,
        };
        entry.chain = entry.chained(previous);
        entry
    }

    /// The chain's hash that this entry must have behind `previous`.
    #[must_use]
    pub fn chained(&self, previous: &[u8; 32]) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new();
        hasher.update(previous);
        hasher.update(&self.body());
        *hasher.finalize().as_bytes()
    }

    /// The stored form.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut out = Vec::with_capacity(128);
        out.extend_from_slice(&self.chain);
        out.extend_from_slice(&self.body());
        out.into()
    }

    /// Reads the stored form of entry `sequence`; `None` if it is malformed. The chain is the
    /// reader's to check.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (chain, rest) = bytes.split_first_chunk::<32>()?;
        let (sequence, rest) = rest.split_first_chunk::<8>()?;
        let (time, rest) = rest.split_first_chunk::<16>()?;
        let (writes_hash, rest) = rest.split_first_chunk::<32>()?;
        let (count, mut rest) = rest.split_first_chunk::<4>()?;
        let mut records = Vec::new();
        for _ in 0..u32::from_be_bytes(*count) {
            let ([keyspace, kind, a, b, c, d], after) = rest.split_first_chunk::<6>()?;
            let length = usize::try_from(u32::from_be_bytes([*a, *b, *c, *d])).ok()?;
            let (payload, after) = after.split_at_checked(length)?;
            records.push(LogRecord {
                keyspace: Keyspace::from_byte(*keyspace)?,
                kind: *kind,
                payload: Bytes::copy_from_slice(payload),
            });
            rest = after;
        }
        rest.is_empty().then_some(())?;
        Some(Self {
            sequence: u64::from_be_bytes(*sequence),
            time: jiff::Timestamp::from_nanosecond(i128::from_be_bytes(*time)).ok()?,
            writes_hash: *writes_hash,
            records,
            chain: *chain,
        })
    }

    fn body(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(96);
        out.extend_from_slice(&self.sequence.to_be_bytes());
        out.extend_from_slice(&self.time.as_nanosecond().to_be_bytes());
        out.extend_from_slice(&self.writes_hash);
        // A transaction is bounded (limits::TRANSACTION_BYTES_MAX), so lengths fit 32 bits.
        out.extend_from_slice(
            &u32::try_from(self.records.len())
                .unwrap_or(u32::MAX)
                .to_be_bytes(),
        );
        for record in &self.records {
            out.push(record.keyspace as u8);
            out.push(record.kind);
            out.extend_from_slice(
                &u32::try_from(record.payload.len())
                    .unwrap_or(u32::MAX)
                    .to_be_bytes(),
            );
            out.extend_from_slice(&record.payload);
        }
        out
    }
}
