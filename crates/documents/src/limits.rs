//! Every limit of the documents service by name, unit last, source beside.
//!
//! "Service limits" is the page "Azure Cosmos DB service quotas and default limits".

/// Longest id of an item (service limits: 1,023 bytes).
pub const ITEM_ID_BYTES_MAX: usize = 1_023;

/// Longest id of a database or container (service limits: 255 characters).
pub const RESOURCE_ID_BYTES_MAX: usize = 255;

/// Largest item, without the properties that the service adds (service limits: 2 MB).
pub const ITEM_BYTES_MAX: usize = 2 * 1024 * 1024;

/// Largest request body (service limits: 2 MB); a little more is read so that an item just over
/// its limit gets the item's error.
pub const REQUEST_BYTES_MAX: usize = 2 * 1024 * 1024 + 64 * 1024;

/// Largest response page (service limits: 4 MB).
pub const PAGE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Deepest nesting of a document (service limits: 128). The parser's own bound is the same.
pub const DOCUMENT_DEPTH_MAX: usize = 128;

/// Longest partition key value (service limits: 2,048 bytes).
pub const PARTITION_KEY_BYTES_MAX: usize = 2_048;

/// Paths of a hierarchical partition key (service limits: 3).
pub const PARTITION_KEY_PATHS_MAX: usize = 3;

/// Unique keys of a container (service limits: 10).
pub const UNIQUE_KEYS_MAX: usize = 10;

/// Paths of one unique key (service limits: 16).
pub const UNIQUE_KEY_PATHS_MAX: usize = 16;

/// Included, and again excluded, paths of an indexing policy (service limits: 1,500).
pub const INDEX_PATHS_MAX: usize = 1_500;

/// How long a resource token is good for when the request doesn't say (documented: an hour).
pub const RESOURCE_TOKEN_SECONDS_DEFAULT: i64 = 3_600;

/// The longest that a request may ask for (documented: 24 hours).
pub const RESOURCE_TOKEN_SECONDS_MAX: i64 = 24 * 3_600;

/// Longest resource token that is read at all.
pub const RESOURCE_TOKEN_BYTES_MAX: usize = 4 * 1024;

/// Users of a database, or permissions of a user, that one query or a look by resource id covers.
pub const PRINCIPALS_LISTED_MAX: usize = 1_000;

/// Computed properties of a container (service limits: 20).
pub const COMPUTED_PROPERTIES_MAX: usize = 20;

/// Composite indexes of a container (service limits: 100).
pub const COMPOSITE_INDEXES_MAX: usize = 100;

/// Paths of a composite index (service limits: 8).
pub const COMPOSITE_INDEX_PATHS_MAX: usize = 8;

/// Paths of a vector embedding policy (ours).
pub const VECTOR_EMBEDDINGS_MAX: usize = 100;

/// Operations of a batch (service limits: 100).
pub const BATCH_OPERATIONS_MAX: usize = 100;

/// Operations of a patch (service limits: 10).
pub const PATCH_OPERATIONS_MAX: usize = 10;

/// Containers of a database that one commit can still delete together (service limits: 500
/// databases and containers per account).
pub const CONTAINERS_PER_DATABASE_MAX: usize = 500;

/// Longest time, in minutes, for which a container may keep all versions of its items (continuous
/// backup, which has them in the service, goes back at most 30 days).
pub const CHANGE_FEED_RETENTION_MINUTES_MAX: i64 = 30 * 24 * 60;

/// Items of a page when the client leaves it to the server (`x-ms-max-item-count: -1`).
pub const PAGE_ITEMS_DEFAULT: usize = 100;

/// Items of a page when the client asks for more (documented maximum of the header: 1,000).
pub const PAGE_ITEMS_MAX: usize = 1_000;

/// Time after which a page ends with what it has (service limits: 5 seconds per page).
pub const PAGE_MILLISECONDS_MAX: u64 = 5_000;

/// Time after which a query that must see everything before its first row gives up.
pub const BLOCKING_QUERY_SECONDS_MAX: u64 = 60;

/// Memory that one query may keep for sorting and grouping (ours).
pub const QUERY_MEMORY_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Document numbers that a condition over a range of values may gather to be put in order; past
/// it the condition does not narrow the search (ours; 8 bytes each).
pub const RANGE_NUMBERS_MAX: usize = 200_000;

/// As [`RANGE_NUMBERS_MAX`] when another condition narrows already: more isn't worth the reading.
pub const RANGE_NUMBERS_BESIDE_MAX: usize = 2_000;

/// Document numbers that a range of a composite index may gather where other indexes could narrow
/// the query instead, which can be read bit by bit (ours).
pub const COMPOSITE_RANGE_NUMBERS_MAX: usize = 20_000;

/// Matches of the conditions up to which sorting them beats walking the ORDER BY path's index.
pub const SORT_MATCHES_MAX: usize = 5_000;

/// Paths for which it is remembered which items lack them (ours).
pub const LACKING_PATHS_MAX: usize = 256;

/// Memory for which items lack a path, of all paths of all containers (ours).
pub const LACKING_BYTES_MAX: usize = 32 * 1024 * 1024;

/// As [`LACKING_BYTES_MAX`], of one path, of which some states are kept: some 60 million items one after
/// the other, or four million far apart. More aren't remembered.
pub const LACKING_PATH_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Encoded bytes of a string that go into an index key; longer ones are cut and checked again. Ids,
/// names and dates are whole; of prose, every byte would be written twice for little.
pub const INDEX_STRING_BYTES_MAX: usize = 128;

/// Index entries of one document (ours): keeps a commit below the ledger's bound on writes.
pub const INDEX_ENTRIES_PER_ITEM_MAX: usize = 100_000;

/// Bytes of an index position that a continuation token carries. JavaScript's client asks for
/// tokens of at most 1 KiB.
pub const CONTINUATION_POSITION_BYTES_MAX: usize = 400;

/// Bytes of the longest item number at the end of a key; a position has one, too.
pub const ITEM_NUMBER_BYTES_MAX: usize = 9;

/// Longest continuation token that is read at all.
pub const CONTINUATION_BYTES_MAX: usize = 8 * 1024;

/// Document numbers reserved with one commit.
pub const NUMBER_BLOCK_SIZE: u64 = 4_096;

/// How far a request's `x-ms-date` may be from the server's time.
pub const CLOCK_SKEW_SECONDS_MAX: i64 = 15 * 60;

/// Items that a commit of an import holds, and a page of an export (ours).
pub const TRANSFER_ITEMS_MAX: usize = 100;

/// Bytes of items that a commit of an import holds, unless one alone has more (ours).
pub const TRANSFER_BYTES_PER_COMMIT_MAX: usize = 1024 * 1024;

/// Attempts to commit an operation whose preconditions others break.
pub const COMMIT_ATTEMPTS_MAX: usize = 8;

/// How long a read waits for a session token's write to arrive.
pub const SESSION_WAIT_MILLISECONDS_MAX: u64 = 500;

/// Keys that one sweep commit removes.
pub const SWEEP_KEYS_PER_COMMIT_MAX: usize = 1_000;

/// How long counting what a container takes may take (service limits: 5 seconds per page).
pub const USAGE_MILLISECONDS_MAX: u64 = 5_000;

/// What was counted within this is counted again each time (ours).
pub const USAGE_MILLISECONDS_FREE: u64 = 50;

/// How many times as long as it took a count is remembered (ours).
pub const USAGE_TIMES_REMEMBERED: u32 = 100;

/// Containers whose counts are remembered (ours; some 100 bytes each).
pub const USAGE_REMEMBERED_MAX: usize = 1_000;

/// Keys of deleted containers and replaced indexes that one call of the sweep removes.
pub const SWEEP_PURGED_KEYS_MAX: usize = 50_000;

/// Items that one call of the sweep looks at for expiry.
pub const SWEEP_ITEMS_MAX: usize = 20_000;

/// Items that one commit of an index build covers.
pub const INDEX_BUILD_ITEMS_PER_COMMIT_MAX: usize = 50;

/// Bytes after which a commit that deletes many items ends: far enough below the ledger's bound on
/// a commit that one more item fits.
pub const DELETE_BYTES_PER_COMMIT_MAX: usize = 8 * 1024 * 1024;

/// Smallest provisioned throughput (service limits).
pub const THROUGHPUT_RUS_MIN: i64 = 400;

/// Smallest autoscale maximum (service limits).
pub const AUTOSCALE_RUS_MIN: i64 = 1_000;

/// Containers and databases whose use of throughput one process keeps (ours; some 200 bytes each).
pub const THROUGHPUT_BUCKETS_MAX: usize = 1_000;

/// Throughput of a container whose creator said nothing (client default).
pub const THROUGHPUT_RUS_DEFAULT: i64 = 400;

/// Longest text of a script (ours; the request's own bound is 2 MB).
pub const SCRIPT_BYTES_MAX: usize = 512 * 1024;

/// Stored procedures of a container (service limits: 100).
pub const STORED_PROCEDURES_MAX: usize = 100;

/// Triggers of a container (service limits: 25).
pub const TRIGGERS_MAX: usize = 25;

/// User-defined functions of a container (service limits: 50).
pub const USER_DEFINED_FUNCTIONS_MAX: usize = 50;

/// How long a stored procedure or trigger may take (service limits: 5 seconds).
pub const SCRIPT_MILLISECONDS_MAX: u64 = 5_000;

/// When a script's further operations are not accepted any more, so that it can end by itself.
pub const SCRIPT_CLOSING_MILLISECONDS: u64 = 4_000;

/// How long one call of a user-defined function may take (ours: as a stored procedure).
pub const FUNCTION_MILLISECONDS_MAX: u64 = 5_000;

/// How long all calls of user-defined functions for one page of a query may take (ours).
pub const FUNCTIONS_MILLISECONDS_MAX: u64 = 15_000;

/// Items of a query with user-defined functions that are worked on before another thread's turn (ours).
pub const FUNCTION_BATCH_ITEMS: usize = 32;

/// As [`FUNCTION_BATCH_ITEMS`], bytes of items that wait; one item may have more.
pub const FUNCTION_BATCH_BYTES_MAX: usize = ITEM_BYTES_MAX;

/// As [`FUNCTION_BATCH_ITEMS`], bytes of rows.
pub const FUNCTION_BATCH_ROW_BYTES_MAX: usize = PAGE_BYTES_MAX;

/// As [`FUNCTION_BATCH_ITEMS`], time; one item may take longer.
pub const FUNCTION_BATCH_MILLISECONDS: u64 = 100;

/// Calls and loops of one script that are charged for (ours): more than any could do in its time.
pub const SCRIPT_STEPS_MAX: u64 = 200_000_000;

/// How long a process for scripts may take until it is ready (ours).
pub const SCRIPT_WORKER_START_MILLISECONDS_MAX: u64 = 10_000;

/// Time of a process' runs after which it is given no further one (ours).
pub const SCRIPT_WORKER_MILLISECONDS_MAX: u64 = 30_000;

/// Runs of a process (ours), so that what an engine forgets to give back stays small.
pub const SCRIPT_WORKER_RUNS_MAX: u32 = 1_000;

/// Memory of one script (ours).
pub const SCRIPT_MEMORY_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Stack of a script (ours); a process has 8 MiB.
pub const SCRIPT_STACK_BYTES_MAX: usize = 512 * 1024;

/// What a script may answer (service limits: 4 MB, as any response).
pub const SCRIPT_RESULT_BYTES_MAX: usize = 4 * 1024 * 1024;

/// What a script may log (ours): percent-encoded it must fit into a header.
pub const SCRIPT_LOG_BYTES_MAX: usize = 2 * 1024;

/// Scripts that run at once (ours).
pub const SCRIPTS_RUNNING_MAX: usize = 8;

/// Processes that wait for the next script (ours).
pub const SCRIPTS_WARM_MAX: usize = 4;

/// How long a script waits for its turn before it is answered 429 (ours).
pub const SCRIPT_WAIT_MILLISECONDS_MAX: u64 = 5_000;

/// Writes of a script past which its further operations are not accepted: the ledger's bound, with
/// room for one more document.
pub const SCRIPT_WRITES_MAX: usize = ledger::limits::TRANSACTION_WRITES_MAX / 2;

/// As [`SCRIPT_WRITES_MAX`], bytes.
pub const SCRIPT_WRITE_BYTES_MAX: usize = ledger::limits::TRANSACTION_BYTES_MAX / 2;
