//! Every limit of the registry, unit last, source beside.

/// Longest repository name, with the host and the slash before it (distribution-spec, "Pulling manifests").
pub const NAME_BYTES_MAX: usize = 255;

/// Longest tag (distribution-spec, "Pulling manifests").
pub const TAG_BYTES_MAX: usize = 128;

/// Largest manifest (distribution-spec, "Pushing Manifests": registries should take 4 MiB). It is one value of
/// the ledger, which has the same limit.
pub const MANIFEST_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Most descriptors of a manifest.
pub const DESCRIPTORS_MAX: usize = 10_000;

/// Deepest nesting of a manifest's JSON.
pub const MANIFEST_DEPTH_MAX: usize = 32;

/// Most values of a manifest's JSON: twenty for each descriptor. 4 MiB of `[]` would be a hundred megabytes in memory.
pub const MANIFEST_VALUES_MAX: usize = 20 * DESCRIPTORS_MAX;

/// Largest blob (Azure Container Registry, service limits: 200 GiB a layer).
pub const BLOB_BYTES_MAX: u64 = 200 * 1024 * 1024 * 1024;

/// Bytes after which what has come of an upload is made durable, however long the request goes on.
pub const PIECE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Content up to this size lies in the ledger: one sync, shared with its neighbours.
pub const INLINE_BYTES_MAX: usize = 16 * 1024;

/// Most pieces of one upload: 200 GiB in chunks of 4 MiB, as Azure's SDKs send them, with headroom.
pub const PIECES_MAX: u64 = 100_000;

/// Rows of pieces that a reader takes from the ledger at once.
pub const PIECES_PAGE: usize = 32;

/// Entries of a page where the client names no number (Azure Container Registry: 100).
pub const PAGE_ENTRIES_DEFAULT: usize = 100;

/// Most entries of a page; a larger number is clipped.
pub const PAGE_ENTRIES_MAX: usize = 1_000;

/// Bytes after which a page of referrers ends.
pub const REFERRERS_PAGE_BYTES_MAX: usize = 2 * 1024 * 1024;

/// Most tags that one push of a manifest may name (distribution-spec main: at least 10).
pub const PUSH_TAGS_MAX: usize = 64;

/// Time without a write after which an upload is given up.
pub const UPLOAD_IDLE_SECONDS_MAX: i64 = 24 * 3_600;

/// Oldest an upload gets.
pub const UPLOAD_AGE_SECONDS_MAX: i64 = 7 * 24 * 3_600;

/// Most open uploads of one caller who is known by name.
pub const UPLOADS_PER_CALLER_MAX: usize = 64;

/// Time without a write after which an upload makes way for another one of its caller's, where there are too many.
pub const UPLOAD_REPLACED_SECONDS_MIN: i64 = 5 * 60;

/// Most open uploads of a registry.
pub const UPLOADS_MAX: usize = 1_024;

/// How long a count of the open uploads is good for, in seconds.
pub const UPLOAD_ROOM_SECONDS_MAX: i64 = 10;

/// Most callers of whom such a count is remembered.
pub const UPLOAD_ROOMS_MAX: usize = 1_024;

/// What `Retry-After` says when there are too many uploads.
pub const RETRY_AFTER_SECONDS: u32 = 60;

/// How long a blob that no manifest refers to stays after its push, mount, or a HEAD that found it.
pub const LINK_LEASE_SECONDS: i64 = 24 * 3_600;

/// A lease that was renewed less long ago isn't written again.
pub const LEASE_RENEWAL_SECONDS: i64 = 3_600;

/// How long the bytes stay that no repository has any more. A pull that began before and takes longer than this is cut
/// off; a client that goes on with a range then finds that the blob isn't there.
pub const TOMBSTONE_SECONDS: i64 = 2 * 3_600;

/// Rows that one step of the collection looks at.
pub const COLLECT_STEP_ENTRIES_MAX: usize = 256;

/// Steps of one round of the collection.
pub const COLLECT_STEPS_MAX: usize = 64;

/// Time after which a round of the collection ends: other background work waits for it.
pub const COLLECT_ROUND_SECONDS_MAX: i64 = 10;

/// When the collection looks again at what it couldn't remove or read.
pub const COLLECT_RETRY_SECONDS: i64 = 10 * 60;

/// Manifests that one commit of a repository's deletion removes.
pub const DELETE_STEP_MANIFESTS_MAX: usize = 64;

/// Tags of one manifest that one commit removes: each of a hundred webhooks may be told of each of them.
pub const DELETE_STEP_TAGS_MAX: usize = 16;

/// Bytes of a commit after which a repository's deletion takes no further manifest into it. The largest manifest's own
/// deletion, of 10,000 descriptors with the longest names, has 12 MB; the ledger takes 24 MiB.
pub const DELETE_STEP_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Times that a write is tried again after a concurrent one.
pub const WRITE_ATTEMPTS_MAX: usize = 32;

/// Longest configuration of an image that is looked into for its platform.
pub const CONFIG_BYTES_MAX: u64 = 256 * 1024;

/// Largest form or JSON body of a request that isn't a manifest.
pub const FORM_BYTES_MAX: usize = 64 * 1024;

/// Most scopes of one token.
pub const SCOPES_MAX: usize = 64;

/// How long an access token is good (spec of tokens: at least 60 s; short, because it can't be taken back).
pub const ACCESS_TOKEN_SECONDS: i64 = 10 * 60;

/// How long a refresh token is good.
pub const REFRESH_TOKEN_SECONDS: i64 = 3 * 3_600;

/// Passwords that are compared at once: each costs a processor about a tenth of a second.
pub const PASSWORD_CHECKS_MAX: usize = 4;

/// How long a login waits for others that are compared, before it is told to come later.
pub const PASSWORD_WAIT_SECONDS_MAX: u64 = 5;

/// Logins that are remembered, so that they aren't computed again.
pub const LOGINS_REMEMBERED_MAX: usize = 1_024;

/// Delta rows of a registry's usage past which they are folded into one.
pub const USAGE_ROWS_MAX: usize = 64;

/// What a registry holds unless its settings say otherwise.
pub const QUOTA_BYTES_DEFAULT: u64 = 100 * 1024 * 1024 * 1024;

/// How long a repository's changes are counted one by one, before they are folded into one row.
pub const COUNTS_FOLD_SECONDS: i64 = 60;

/// Rows of such changes that one commit folds.
pub const COUNTS_FOLD_ROWS_MAX: usize = 4_096;

/// Most days that untagged manifests stay (Azure Container Registry, retention policy: 0 to 365).
pub const RETENTION_DAYS_MAX: u32 = 365;

/// Most days that what is deleted can be restored (Azure Container Registry, soft delete policy: 1 to 90).
pub const SOFT_DELETE_DAYS_MAX: u32 = 90;

/// How long a manifest stays without a tag, whatever the policy says, after its push, a HEAD by who may push, or the push
/// of an index that refers to it: it is pushed before what refers to it.
pub const UNTAGGED_LEASE_SECONDS: i64 = LINK_LEASE_SECONDS;

/// Pause between two looks at what a registry's policies make due.
pub const POLICIES_PAUSE_SECONDS: i64 = 10 * 60;

/// The same for a registry without policies: whether one that it had has left anything.
pub const POLICIES_LEFT_PAUSE_SECONDS: i64 = 24 * 3_600;

/// Rows that one look at a registry's policies passes over.
pub const POLICIES_ROWS_MAX: usize = 1_024;

/// How long what is soft-deleted is kept where no setting says how long it is, and none was seen that did.
pub const SOFT_DELETE_DAYS_DEFAULT: u32 = 7;

/// Most webhooks of a registry (Azure Container Registry, service tiers: 500).
pub const WEBHOOKS_MAX: usize = 100;

/// Messages that one round gives a webhook's receiver.
pub const WEBHOOK_ROUND_MESSAGES_MAX: usize = 64;

/// Time after which no further message of the round is given to it.
pub const WEBHOOK_ROUND_SECONDS_MAX: u64 = 15;

/// Webhooks that are delivered to at once.
pub const WEBHOOKS_AT_ONCE: usize = 8;

/// How long a message waits that wasn't taken; doubled each time.
pub const WEBHOOK_BACKOFF_SECONDS_MIN: i64 = 2;

/// The longest that it waits.
pub const WEBHOOK_BACKOFF_SECONDS_MAX: i64 = 10 * 60;

/// Age at which a message that isn't taken is given up.
pub const WEBHOOK_AGE_SECONDS_MAX: i64 = 7 * 24 * 3_600;

/// How much of a client's name for itself webhooks are told.
pub const USER_AGENT_CHARACTERS_MAX: usize = 256;

/// Most rules of a registry that say what is fetched from elsewhere (Azure Container Registry: 1,000).
pub const CACHE_RULES_MAX: usize = 1_000;

/// Blobs of a registry that are fetched from elsewhere at once.
pub const CACHE_FETCHES_MAX: usize = 16;

/// How long the fetch of one may take: the largest blob, at 30 MB/s.
pub const CACHE_FETCH_SECONDS_MAX: u64 = 2 * 3_600;

/// Images of a registry that are stored in the background at once, while they are passed through.
pub const CACHE_FILLS_MAX: usize = 32;
