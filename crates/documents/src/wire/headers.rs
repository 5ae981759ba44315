//! The protocol's header names. Source: "Common Azure Cosmos DB REST request headers" and the
//! clients' own constants.

pub(crate) const ACTIVITY_ID: &str = "x-ms-activity-id";
pub(crate) const A_IM: &str = "a-im";
pub(crate) const ALT_CONTENT_PATH: &str = "x-ms-alt-content-path";
pub(crate) const AUTOPILOT: &str = "x-ms-cosmos-offer-autopilot-settings";
pub(crate) const BATCH_ATOMIC: &str = "x-ms-cosmos-batch-atomic";
pub(crate) const BATCH_CONTINUE: &str = "x-ms-cosmos-batch-continue-on-error";
pub(crate) const CHANGE_FEED_WIRE_FORMAT: &str = "x-ms-cosmos-changefeed-wire-format-version";
pub(crate) const CONSISTENCY: &str = "x-ms-consistency-level";
pub(crate) const CONTENT_PATH: &str = "x-ms-content-path";
pub(crate) const CONTINUATION: &str = "x-ms-continuation";
pub(crate) const END_EPK: &str = "x-ms-end-epk";
pub(crate) const IF_MATCH: &str = "if-match";
pub(crate) const IF_MODIFIED_SINCE: &str = "if-modified-since";
pub(crate) const IF_NONE_MATCH: &str = "if-none-match";
pub(crate) const INDEXING_DIRECTIVE: &str = "x-ms-indexing-directive";
pub(crate) const INTENDED_RID: &str = "x-ms-cosmos-intended-collection-rid";
pub(crate) const IS_BATCH: &str = "x-ms-cosmos-is-batch-request";
pub(crate) const IS_QUERY: &str = "x-ms-documentdb-isquery";
/// What older clients, and the one for Go, send in its place.
pub(crate) const IS_QUERY_OLD: &str = "x-ms-documentdb-query";
pub(crate) const IS_QUERY_PLAN: &str = "x-ms-cosmos-is-query-plan-request";
pub(crate) const IS_UPSERT: &str = "x-ms-documentdb-is-upsert";
pub(crate) const ITEM_COUNT: &str = "x-ms-item-count";
pub(crate) const MAX_ITEM_COUNT: &str = "x-ms-max-item-count";
pub(crate) const OFFER_THROUGHPUT: &str = "x-ms-offer-throughput";
pub(crate) const TOKEN_EXPIRY: &str = "x-ms-documentdb-expiry-seconds";
pub(crate) const PARTITION_KEY: &str = "x-ms-documentdb-partitionkey";
pub(crate) const POST_TRIGGER: &str = "x-ms-documentdb-post-trigger-include";
pub(crate) const INDEX_UTILIZATION: &str = "x-ms-cosmos-index-utilization";
pub(crate) const POPULATE_INDEX_METRICS: &str = "x-ms-cosmos-populateindexmetrics";
pub(crate) const POPULATE_INDEX_METRICS_EARLIER: &str = "x-ms-documentdb-populateindexmetrics";
pub(crate) const POPULATE_QUERY_METRICS: &str = "x-ms-documentdb-populatequerymetrics";
pub(crate) const POPULATE_QUOTA_INFO: &str = "x-ms-documentdb-populatequotainfo";
pub(crate) const QUERY_METRICS: &str = "x-ms-documentdb-query-metrics";
pub(crate) const PREFER: &str = "prefer";
pub(crate) const PRE_TRIGGER: &str = "x-ms-documentdb-pre-trigger-include";
pub(crate) const RANGE_ID: &str = "x-ms-documentdb-partitionkeyrangeid";
pub(crate) const REQUEST_CHARGE: &str = "x-ms-request-charge";
pub(crate) const RESOURCE_QUOTA: &str = "x-ms-resource-quota";
pub(crate) const RESOURCE_USAGE: &str = "x-ms-resource-usage";
pub(crate) const SCRIPT_ENABLE_LOGGING: &str = "x-ms-documentdb-script-enable-logging";
pub(crate) const SCRIPT_LOG_RESULTS: &str = "x-ms-documentdb-script-log-results";
pub(crate) const RETRY_AFTER: &str = "x-ms-retry-after-ms";
pub(crate) const SESSION_TOKEN: &str = "x-ms-session-token";
pub(crate) const START_EPK: &str = "x-ms-start-epk";
pub(crate) const SUBSTATUS: &str = "x-ms-substatus";

/// The request headers that scripts may read: what this server knows of the protocol, and nothing that
/// speaks for the caller or that a proxy put there.
pub(crate) const FOR_SCRIPTS: [&str; 23] = [
    "accept",
    "content-type",
    "user-agent",
    "x-ms-date",
    "x-ms-version",
    ACTIVITY_ID,
    CONSISTENCY,
    CONTINUATION,
    IF_MATCH,
    IF_MODIFIED_SINCE,
    IF_NONE_MATCH,
    INDEXING_DIRECTIVE,
    INTENDED_RID,
    IS_UPSERT,
    MAX_ITEM_COUNT,
    PARTITION_KEY,
    POST_TRIGGER,
    PREFER,
    PRE_TRIGGER,
    RANGE_ID,
    SCRIPT_ENABLE_LOGGING,
    SESSION_TOKEN,
    A_IM,
];
