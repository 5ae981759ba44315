//! Every limit of Platform Storage by name, unit last, source beside.

/// Largest JSON body (ours; an application's metadata with its data types is about 20 KiB, a text
/// resource about 500 KiB).
pub const JSON_BYTES_MAX: usize = 2 * 1024 * 1024;

/// Largest content of a data element (the original's limit for POST; ours for PUT as well).
pub const DATA_BYTES_MAX: u64 = 2_000 * 1024 * 1024;

/// Largest headers of a multipart part (ASP.NET's `MultipartHeadersLengthLimit` is 16 KiB).
pub const PART_HEADERS_BYTES_MAX: usize = 16 * 1024;

/// Longest boundary of a multipart body (RFC 2046, section 5.1.1: 70).
pub const BOUNDARY_BYTES_MAX: usize = 70;

/// Longest file name kept, in characters (file systems: 255).
pub const FILENAME_CHARS_MAX: usize = 255;

/// Instances of a page if the client doesn't say (the original's).
pub const LIST_SIZE_DEFAULT: usize = 100;

/// Most instances of a page; more are given page by page (ours: the original has no cap).
pub const LIST_SIZE_MAX: usize = 1_000;

/// Index rows that one list call looks at before it answers with a short page (ours).
pub const LIST_ROWS_EXAMINED_MAX: usize = 50_000;

/// Instances that one list call reads for a search in texts before it answers with a short page.
pub const LIST_INSTANCES_READ_MAX: usize = 5_000;

/// Data elements of an instance that are read (ours).
pub const ELEMENTS_PER_INSTANCE_MAX: usize = 10_000;

/// Events of an instance that are read (ours).
pub const EVENTS_PER_INSTANCE_MAX: usize = 20_000;

/// Events that come with one change of a process (ours).
pub const EVENTS_PER_CHANGE_MAX: usize = 100;

/// Entries of `presentationTexts` or `dataValues` (ours).
pub const TEXTS_MAX: usize = 1_000;

/// Applications that are listed (ours; Altinn has about 3,000).
pub const APPLICATIONS_MAX: usize = 20_000;

/// Bytes of applications' metadata that are kept taken apart (ours; some thousand apps').
pub const APPLICATIONS_KNOWN_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Applications that are kept so, about.
pub const APPLICATIONS_KNOWN_EXPECTED: usize = 3_000;

/// Values of a repeated query parameter (ours).
pub const REPEATED_PARAMETERS_MAX: usize = 100;

/// Attempts to commit an operation whose preconditions others break.
pub const COMMIT_ATTEMPTS_MAX: u32 = 24;

/// Longest wait between two attempts.
pub const RETRY_MILLISECONDS_MAX: u64 = 20;

/// Longest an instance may be locked in one call (ours: a process step takes seconds).
pub const LOCK_SECONDS_MAX: i64 = 24 * 60 * 60;

/// Random bytes of a lock token's secret (the original's).
pub const LOCK_SECRET_BYTES: usize = 20;

/// Data elements whose removal shares a commit: bounds the transaction.
pub const CLEANUP_ELEMENTS_PER_COMMIT_MAX: usize = 100;

/// Events whose removal shares a commit.
pub const CLEANUP_EVENTS_PER_COMMIT_MAX: usize = 200;

/// Instances looked at between two looks at the clock and with one view of the ledger.
pub const CLEANUP_PAGE_ENTRIES: usize = 64;

/// Time after which a cleanup call answers, done or not; calling again goes on.
pub const CLEANUP_SECONDS_MAX: u64 = 60;

/// Days between hard deletion, or the owner's confirmation, and removal (the original's).
pub const RETENTION_DAYS: i64 = 7;

/// Largest policy file (Altinn's largest are about 200 KiB).
pub const POLICY_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Deepest nesting of elements in a policy.
pub const POLICY_DEPTH_MAX: usize = 64;

/// Policies kept parsed.
pub const POLICIES_CACHED_MAX: usize = 1_000;

/// Largest register file.
pub const REGISTER_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Lifetime of development tokens unless the caller says otherwise.
pub const DEVELOPMENT_TOKEN_SECONDS: i64 = 24 * 60 * 60;

/// Longest lifetime of development tokens: ten years.
pub const DEVELOPMENT_TOKEN_SECONDS_MAX: i64 = 10 * 365 * 24 * 60 * 60;

/// Events of apps in development that are shown.
pub const DEVELOPMENT_EVENTS_SHOWN_MAX: usize = 100;

/// Events of apps in development that are kept: the newest.
pub const DEVELOPMENT_EVENTS_KEPT_MAX: usize = 1_000;

/// How long a decision of a decision point elsewhere is believed (the original's: 5 minutes).
pub const DECISION_SECONDS: u64 = 300;

/// Decisions that are remembered.
pub const DECISIONS_CACHED_MAX: usize = 100_000;

/// Questions that go to a decision point elsewhere in one request (ours).
pub const DECISIONS_PER_REQUEST_MAX: usize = 300;

/// Largest answer of a decision point elsewhere.
pub const DECISION_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// Most elements of a policy (Altinn's largest have about 5,000).
pub const POLICY_ELEMENTS_MAX: usize = 50_000;

/// Instances that a search in message boxes gives at most (the original's).
pub const BOX_INSTANCES_MAX: usize = 5_000;

/// Parties whose message boxes are searched at once (ours; each has a walk of its own).
pub const BOX_PARTIES_MAX: usize = 2_000;

/// Index rows that one search in message boxes looks at (ours).
pub const BOX_ROWS_EXAMINED_MAX: usize = 200_000;

/// Instances that one search in message boxes reads (ours: texts are in the documents).
pub const BOX_INSTANCES_READ_MAX: usize = 20_000;

/// Instances that a search in message boxes asks the decision point about at once, and holds whole.
pub const BOX_PAGE_INSTANCES: usize = 100;

/// Instances of one party that a search asks about in vain before it gives the party up (ours).
pub const BOX_DENIALS_MAX: usize = 200;

/// Bytes of a search's answer, about; it ends with the newest that fit (ours).
pub const BOX_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Longest time of a search; one that takes longer answers 503 (ours).
pub const BOX_SECONDS_MAX: u64 = 60;

/// Messages that one round delivers of each outbox (the original's).
pub const DELIVERIES_PER_ROUND_MAX: usize = 100;

/// Longest time of one outbox's round: it goes on in the next one, behind the other outbox' (ours).
pub const DELIVERY_ROUND_SECONDS: u64 = 30;

/// Messages of a round that are delivered at once (ours).
pub const DELIVERIES_AT_ONCE: usize = 8;

/// Times that a receiver refuses a message before it is put aside: with the pauses between, about 7 hours (ours).
pub const DELIVERY_REFUSALS_MAX: u32 = 50;

/// Pause behind a delivery that failed; doubled for each further one.
pub const DELIVERY_RETRY_SECONDS_MIN: i64 = 2;

/// Longest pause between two deliveries of a message.
pub const DELIVERY_RETRY_SECONDS_MAX: i64 = 600;

/// Largest JSON of a mutation (the original's).
pub const MUTATION_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Contents that come with one mutation (ours: each is staged before the one commit).
pub const MUTATION_PARTS_MAX: usize = 100;

/// Data elements that one mutation changes, contents or not (ours).
pub const MUTATION_ELEMENTS_MAX: usize = 500;

/// Hours for which a mutation's idempotency key is known at least (the original's).
pub const IDEMPOTENCY_HOURS: i64 = 48;

/// Idempotency keys that one commit forgets.
pub const IDEMPOTENCY_KEYS_PER_ROUND_MAX: usize = 500;

/// Longest time that one round forgets idempotency keys for.
pub const FORGETTING_SECONDS_MAX: u64 = 2;

/// Instances of a page for Studio if it doesn't say (the original's).
pub const STUDIO_SIZE_DEFAULT: usize = 10;

/// Bytes of one commit of an import; an instance that needs more comes in several (ours: a third of what a transaction
/// may have).
pub const IMPORT_PART_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Records that one commit of an import writes; as above.
pub const IMPORT_PART_WRITES_MAX: usize = 50_000;

/// Messages that were put aside and are listed at once (ours).
pub const PUT_ASIDE_PAGE: usize = 1_000;

/// Instances of a ledger from before whose rows in added lists are written in one commit.
pub const ADDED_ROWS_PER_COMMIT_MAX: usize = 200;

/// Longest time that one round completes added lists for.
pub const ADDING_SECONDS_MAX: u64 = 5;

/// Elements that waited for nobody and are helped in one commit.
pub const SETTLED_ELEMENTS_PER_COMMIT_MAX: usize = 100;
