//! Every limit of the ledger, unit last, source beside.

/// Longest key. PostgreSQL's B-tree entry is limited to about 2,700 bytes; the rest is headroom.
pub const KEY_BYTES_MAX: usize = 2_000;

/// Largest value. A document is at most 2 MiB (Cosmos DB), its record a little more.
pub const VALUE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Largest sum of keys, values and log records in one transaction. A batch of 100 documents is
/// limited to 2 MiB by its protocol, a block list of 50,000 names by its own.
pub const TRANSACTION_BYTES_MAX: usize = 24 * 1024 * 1024;

/// Most writes in one transaction: 100 documents with their index entries, with headroom.
pub const TRANSACTION_WRITES_MAX: usize = 200_000;

/// Most transactions that share one sync. Bounds the latency of the first of the group.
pub const GROUP_TRANSACTIONS_MAX: usize = 256;

/// Most bytes that share one sync.
pub const GROUP_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Most commits that may wait for their group. Past it, commits wait for a place.
pub const COMMIT_QUEUE_MAX: usize = 1_024;

/// Entries of the first page that [`crate::Scan`] asks for; later pages double.
pub const SCAN_PAGE_ENTRIES_FIRST: usize = 32;

/// Entries of the largest page that [`crate::Scan`] asks for.
pub const SCAN_PAGE_ENTRIES_MAX: usize = 512;

/// Bytes after which a page ends.
pub const SCAN_PAGE_BYTES_MAX: usize = 1024 * 1024;

/// Faults kept in a verify report.
pub const VERIFY_FAULTS_MAX: usize = 1_000;

/// Records or log entries that a copy reads and writes at once.
pub const COPY_PAGE_ENTRIES_MAX: usize = 4_096;

/// Bytes after which a copy's page ends: enough that a sync each costs little.
pub const COPY_PAGE_BYTES_MAX: usize = 4 * 1024 * 1024;
