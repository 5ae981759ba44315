//! Every limit of the engine, unit last, source beside.

/// PostgreSQL's oldest version that is taken.
pub const SERVER_VERSION_MIN: u32 = 15;

/// Connections that read, per node. Snapshots that are asked for at the same time share one.
pub const READERS_MAX: usize = 8;

/// Longest time for a connection to be made, TLS and log-in included.
pub const CONNECT_SECONDS_MAX: u64 = 5;

/// Longest time that the database's machine may leave what was sent unacknowledged (TCP's own
/// acknowledgement, not the statement's answer) before the connection counts as lost.
pub const UNANSWERED_SECONDS_MAX: u64 = 10;

/// A connection that was silent for this long is probed by TCP.
pub const SILENT_SECONDS_MAX: u64 = 30;

/// Longest time for one statement.
pub const STATEMENT_MILLISECONDS_MAX: u64 = 30_000;

/// Longest wait for the head's row: other nodes' groups are ahead.
pub const LOCK_MILLISECONDS_MAX: u64 = 10_000;

/// A transaction without a statement for this long is ended by the server: a node that hangs must
/// hold up neither other nodes nor the database's own cleaning.
pub const IDLE_IN_TRANSACTION_MILLISECONDS_MAX: u64 = 60_000;

/// As [`IDLE_IN_TRANSACTION_MILLISECONDS_MAX`], for transactions that write: they hold the head's
/// row, and between their statements lies no more than a way to the database and back.
pub const WRITER_IDLE_MILLISECONDS_MAX: u64 = 10_000;

/// How long a group waits for a database that went away. Past it callers are told, and those that
/// come later are told at once until it is back.
pub const OUTAGE_SECONDS_MAX: u64 = 5;

/// First pause between two attempts to connect; doubles up to [`RETRY_MILLISECONDS_MAX`], of which
/// chance takes up to half.
pub const RETRY_MILLISECONDS_FIRST: u64 = 50;

/// Longest pause between two attempts to connect.
pub const RETRY_MILLISECONDS_MAX: u64 = 1_000;

/// How often other tasks may run before a group is closed that has fewer commits than the one before:
/// with one time a sixth of 32 callers missed the group (measured), with eight none.
pub const GATHER_YIELDS_MAX: usize = 8;

/// The head is looked at this often even if nobody tells of a new commit.
pub const HEAD_POLL_SECONDS: u64 = 2;

/// Longest wait for an answer to that, which waits for no lock: past it the database hangs, and every
/// connection is given up. Together with [`HEAD_POLL_SECONDS`] the longest time until that is noticed.
pub const ANSWER_SECONDS_MAX: u64 = 4;

/// Log entries whose removal shares a transaction.
pub const TRIM_STEP_ENTRIES: u64 = 10_000;

/// Longest name of a schema (PostgreSQL: 63 bytes; the channel's name is longer by a prefix).
pub const SCHEMA_NAME_BYTES_MAX: usize = 40;

/// Callers that may wait for a snapshot; the next one waits for a place among them.
pub const SNAPSHOT_QUEUE_MAX: usize = 1_024;

/// As [`IDLE_IN_TRANSACTION_MILLISECONDS_MAX`], for the one transaction that a copy reads in: no node
/// runs meanwhile, and writing to the other side may take its time.
pub const COPY_IDLE_MILLISECONDS_MAX: u64 = 600_000;
