//! Every limit of this engine, unit last, source beside.

/// Newest log entries whose chain is checked at every open: enough to see a lost or altered tail,
/// few enough to take milliseconds. `verify` checks all of them.
pub const OPEN_LOG_CHECK_ENTRIES: u64 = 1_000;

/// Log entries that one trim step removes, so that commits wait for milliseconds at most.
pub const TRIM_STEP_ENTRIES: u64 = 4_096;

/// Default for [`crate::Options::cache_bytes`].
pub const CACHE_BYTES: u64 = 32 * 1024 * 1024;

/// Default for [`crate::Options::memtable_bytes`]: twice as much work for the merging of tables at 32 MiB
/// (docs/benchmarks.md); at 64 no less than at 48, but 50 MiB more memory where a million documents are
/// loaded, and longer reopening after a crash, for it is replayed then.
pub const MEMTABLE_BYTES: u64 = 48 * 1024 * 1024;

/// Fresh tables that may lie side by side before they are merged. Each costs every page of a scan one
/// more place to look, each merge rewrites the level below.
pub const FRESH_TABLES_MAX: u8 = 6;

/// Journals that may be kept before tables are flushed to let go of them.
pub const JOURNALS_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// Default for [`crate::Options::reserve_bytes`]: room for one memtable's flush and a compaction
/// step while writes are already refused, so the store itself never meets a full disk.
pub const RESERVE_BYTES: u64 = 64 * 1024 * 1024;

/// What a group may take on disk per byte staged: journal and table, with their headers.
pub const GROUP_DISK_FACTOR: u64 = 3;

/// Syncs after which the witness is synced, too, so that a power loss leaves one that isn't old.
pub const WITNESS_SYNCS: u64 = 1_000;

/// Keys after which a group is closed: some 14 creations of ordinary documents, a millisecond of the
/// committer's. If all callers are in one group, nobody has anything to do while it is written: with
/// this limit 32 of them leave a tenth less of two processors' time idle (measured; with 400 nothing
/// changes).
pub const GROUP_WRITES_MAX: usize = 280;

/// Groups that may be handed over to the syncer and wait for it; then the committer waits.
pub const UNSYNCED_GROUPS_MAX: usize = 16;

/// Zeros written ahead into the newest journal at once.
pub const JOURNAL_AHEAD_BYTES: usize = 1024 * 1024;

/// How long the committer waits for work before it looks after idle duties, milliseconds.
pub const IDLE_TICK_MILLIS: u64 = 1_000;

/// Idle ticks after which the memtable is written out: memory is given back, reopening is quick.
pub const IDLE_FLUSH_TICKS: u32 = 30;

/// A memtable smaller than this isn't worth a table when idle.
pub const IDLE_FLUSH_BYTES_MIN: u64 = 4 * 1024 * 1024;
