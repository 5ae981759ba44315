//! Every limit of the service, unit last, source beside.

/// Largest Put Blob from version 2019-12-12 on (Put Blob, "Remarks").
pub const PUT_BLOB_BYTES_MAX: u64 = 5_000 * 1024 * 1024;

/// Largest block from version 2019-12-12 on (Put Block, "Remarks").
pub const BLOCK_BYTES_MAX: u64 = 4_000 * 1024 * 1024;

/// Most committed blocks of a blob (Put Block List, "Remarks").
pub const BLOCKS_MAX: usize = 50_000;

/// Longest block id, decoded (Put Block, "URI parameters").
pub const BLOCK_ID_BYTES_MAX: usize = 64;

/// Largest block list: 50,000 ids of 88 base64 characters and their tags.
pub const BLOCK_LIST_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Most metadata, names and values together (Setting and retrieving properties and metadata).
pub const METADATA_BYTES_MAX: usize = 8 * 1024;

/// Longest blob name (Naming and referencing containers, blobs, and metadata).
pub const BLOB_NAME_CHARACTERS_MAX: usize = 1_024;

/// Bytes of a blob's name in its key; the rest of a longer one is hashed.
pub const BLOB_NAME_KEY_BYTES_MAX: usize = 1_500;

/// Most entries of one page of a listing (List Blobs, "URI parameters").
pub const LIST_ENTRIES_MAX: usize = 5_000;

/// Content up to this size lies in the ledger: one sync, shared with its neighbours.
pub const INLINE_BYTES_MAX: usize = 16 * 1024;

/// How far a signed request's date may be off (Authorize with Shared Key).
pub const DATE_SKEW_SECONDS_MAX: i64 = 15 * 60;

/// Longest time that a user delegation key signs (Get User Delegation Key, "Request body").
pub const DELEGATION_KEY_DAYS_MAX: i64 = 7;

/// Range for which Get Blob computes an MD5 on request (Get Blob, "Request headers").
pub const RANGE_DIGEST_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Times that a write without a condition is tried again after a concurrent one.
pub const WRITE_ATTEMPTS_MAX: usize = 16;

/// Records that one step of the sweep removes.
pub const SWEEP_STEP_ENTRIES_MAX: usize = 256;

/// Steps of one round of the sweep.
pub const SWEEP_STEPS_MAX: usize = 64;

/// Versions of segments that a sweep leaves for its next round because they are written all the time.
pub const SWEEP_BUSY_MAX: usize = 16;

/// Content that no commit refers to is kept this long: an upload may still be under way.
pub const SWEEP_GRACE_SECONDS: u64 = 24 * 3_600;

/// Shortest lease that ends by itself (Lease Blob, "Request headers").
pub const LEASE_SECONDS_MIN: u32 = 15;

/// Longest lease that ends by itself (Lease Blob, "Request headers").
pub const LEASE_SECONDS_MAX: u32 = 60;

/// Longest break period (Lease Blob, "Request headers").
pub const LEASE_BREAK_SECONDS_MAX: u32 = 60;

/// Largest small XML document: tags, policies, properties of the service.
pub const XML_BYTES_MAX: usize = 64 * 1024;

/// Deepest small XML document.
pub const XML_DEPTH_MAX: usize = 8;

/// Most elements of a small XML document.
pub const XML_ELEMENTS_MAX: usize = 256;

/// Most stored access policies of a container (Set Container ACL, "Remarks").
pub const POLICIES_MAX: usize = 5;

/// Longest id of a stored access policy (Set Container ACL, "Remarks").
pub const POLICY_ID_CHARACTERS_MAX: usize = 64;

/// Most blocks of an append blob (Append Block, "Remarks").
pub const APPEND_BLOCKS_MAX: usize = 50_000;

/// Largest block of an append blob from version 2022-11-02 on (Append Block, "Remarks").
pub const APPEND_BLOCK_BYTES_MAX: u64 = 100 * 1024 * 1024;

/// Most tags of a blob (Set Blob Tags, "Remarks").
pub const TAGS_MAX: usize = 10;

/// Longest key of a tag (Set Blob Tags, "Remarks").
pub const TAG_KEY_CHARACTERS_MAX: usize = 128;

/// Longest value of a tag (Set Blob Tags, "Remarks").
pub const TAG_VALUE_CHARACTERS_MAX: usize = 256;

/// Most comparisons of a condition on tags; the original's own bound isn't documented.
pub const TAG_TERMS_MAX: usize = 1_000;

/// Most tags that a search compares: as many as a blob can have.
pub const FIND_TAGS_MAX: usize = 10;

/// Entries of the index that one page of Find Blobs by Tags looks at; a page may be short.
pub const FIND_ENTRIES_MAX: usize = 10_000;

/// Containers that one page of Find Blobs by Tags looks into.
pub const FIND_CONTAINERS_MAX: usize = 1_000;

/// Most requests in a batch (Blob Batch, "Remarks").
pub const BATCH_REQUESTS_MAX: usize = 256;

/// Largest batch (Blob Batch, "Remarks").
pub const BATCH_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Requests of a batch that are under way at once, so that they share syncs.
pub const BATCH_PARALLEL_MAX: usize = 16;

/// The smallest difference between the times of two snapshots, which have seven decimals.
pub const SNAPSHOT_TICK_NANOSECONDS: i128 = 100;

/// Snapshots that one commit removes.
pub const SNAPSHOTS_STEP_MAX: usize = 256;

/// Writes after which a step of work that may be long ends. Behind them still fits what takes most: a
/// blob of 50,000 blocks that is kept and removed, three writes for each block.
pub const STEP_WRITES_MAX: usize = ledger::limits::TRANSACTION_WRITES_MAX / 5;

/// Bytes after which such a step ends; behind them, too, there is place for one blob of any kind.
pub const STEP_BYTES_MAX: usize = ledger::limits::TRANSACTION_BYTES_MAX / 5;

/// A page (Understanding page blobs).
pub const PAGE_BYTES: u64 = 512;

/// Largest page blob (Put Blob, "Remarks").
pub const PAGE_BLOB_BYTES_MAX: u64 = 8 * 1024 * 1024 * 1024 * 1024;

/// Largest update of pages (Put Page, "Remarks").
pub const PUT_PAGE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Pages of a segment, the part of a page blob that one record is about: as much as one update may be.
pub const SEGMENT_PAGES: u32 = 8_192;

/// Bytes of a segment.
pub const SEGMENT_BYTES: u64 = PAGE_BYTES * SEGMENT_PAGES as u64;

/// Places where a segment's bytes may be; with more of them they are gathered in one.
pub const SEGMENT_PLACES_MAX: usize = 96;

/// Segments that one commit clears; more are cleared in steps.
pub const CLEAR_SEGMENTS_MAX: usize = 256;

/// Segments whose spans a body reads ahead.
pub const BODY_SEGMENTS_MAX: usize = 16;

/// Bytes of pieces that a body reads ahead; one segment's come on top.
pub const BODY_PIECES_BYTES_MAX: usize = 1024 * 1024;

/// Most ranges of one page of Get Page Ranges ("URI parameters").
pub const PAGE_RANGES_MAX: usize = 10_000;

/// Entries that one walk over segments reads, such as a page of Get Page Ranges, which may be short then.
pub const WALK_ENTRIES_MAX: usize = 65_536;

/// Versions of a segment that a walk reads one after the other; more are jumped over.
pub const WALK_VERSIONS_MAX: usize = 32;

/// Contents that a scrub reads at once.
pub const SCRUB_CONTENTS_AT_ONCE: usize = 4;

/// Contents one after the other that can't be read from the disk, at which a scrub takes it for the store's fault.
pub const SCRUB_FAILED_IN_A_ROW_MAX: u32 = 16;

/// Damaged contents that a scrub names; of more it says how many there are.
pub const SCRUB_DAMAGED_MAX: usize = 1_000;

/// Pieces or owners that a verification has in memory while it looks for who refers to them.
pub const VERIFY_ENTRIES_MAX: usize = 16_384;

/// How long the pages of a copy that wasn't finished are kept.
pub const UNFINISHED_COPY_SECONDS: i64 = 24 * 3_600;

/// Queues in which writes of pages wait for each other; two blobs may share one.
pub const PAGE_QUEUES: usize = 32;

/// Longest time that an immutability policy protects from now on (Immutable storage for blob data, "Retention
/// interval for a time-based policy").
pub const IMMUTABILITY_DAYS_MAX: i64 = 146_000;

/// How long staged blocks are kept that nobody adds to or commits (Put Block, "Remarks").
pub const STAGED_DAYS_MAX: i64 = 7;

/// How exactly that is counted: a block that is staged sooner after another one moves no time.
pub const STAGED_TOUCH_SECONDS: i64 = 3_600;

/// Most CORS rules of an account (Set Blob Service Properties, "Remarks").
pub const CORS_RULES_MAX: usize = 5;

/// Longest name of a page of a static website that the account's settings hold (ours).
pub const WEBSITE_NAME_CHARACTERS_MAX: usize = 255;

/// Longest time that deleted blobs are kept (Set Blob Service Properties, "Request body").
pub const RETENTION_DAYS_MAX: u32 = 365;

/// Log entries that one step of a change feed reads.
pub const FEED_LOG_ENTRIES_MAX: usize = 4_096;

/// Bytes of the log after which such a step ends.
pub const FEED_LOG_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Steps of a change feed that one round takes; what is left waits for the next one.
pub const FEED_STEPS_MAX: usize = 32;

/// Bytes after which a block of a change feed's file ends: what a reader that resumes in it reads again.
pub const FEED_BLOCK_BYTES_MAX: usize = 64 * 1024;

/// Bytes after which a change feed's file ends.
pub const FEED_FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Pieces after which it ends: each one writes the file's record anew.
pub const FEED_FILE_PIECES_MAX: usize = 500;

/// Files of a change feed that one commit removes: at most three writes for each of their pieces.
pub const FEED_EXPIRED_FILES_MAX: usize = 16;

/// Most rules of a lifecycle policy ("Lifecycle management policy structure").
pub const LIFECYCLE_RULES_MAX: usize = 100;

/// Most prefixes, and most tags, of a rule (the same).
pub const LIFECYCLE_FILTERS_MAX: usize = 10;

/// Longest name of a rule (the same).
pub const POLICY_NAME_CHARACTERS_MAX: usize = 256;

/// Most days of a condition, 273 years: what the management plane takes.
pub const LIFECYCLE_DAYS_MAX: u32 = 99_999;

/// States of blobs that one step of a lifecycle run looks at.
pub const LIFECYCLE_PAGE_ENTRIES_MAX: usize = 1_000;

/// Containers among which one step looks for the next that a rule is about.
pub const LIFECYCLE_CONTAINERS_MAX: usize = 100;

/// Steps of a lifecycle run that one round of the background work takes.
pub const LIFECYCLE_STEPS_MAX: usize = 20;

/// Actions behind which a round takes no further step, so that it is over in seconds.
pub const LIFECYCLE_ROUND_ACTIONS_MAX: u64 = 1_000;

/// Actions that are under way at once, so that they share syncs.
pub const LIFECYCLE_PARALLEL_MAX: usize = 16;

/// How exactly the time of the last read is kept ("Optionally enable access time tracking": once in 24 hours).
pub const LAST_ACCESS_SECONDS: i64 = 24 * 3_600;

/// How long a read waits, in milliseconds, until it is noted; the note itself may take longer.
pub const LAST_ACCESS_WAIT_MILLISECONDS: u64 = 250;

/// How long a note of a read may take, in seconds, before it is given up.
pub const LAST_ACCESS_COMMIT_SECONDS: u64 = 30;

/// Notes of reads that are under way at once.
pub const LAST_ACCESS_NOTES_MAX: usize = 64;

/// How long after the begin of a lifecycle run the next one begins ("once per day").
pub const LIFECYCLE_RUN_SECONDS: i64 = 24 * 3_600;
