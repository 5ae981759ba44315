//! Which headers are served: a part of the page `docs/compat/documents.md`.
//!
//! Source: "Common Azure Cosmos DB REST request headers" and "response headers", and the header names of
//! the clients for .NET, Java, JavaScript, Python, Go and Rust, as far as they are sent to a gateway.

use crate::operation::Support::{self, No, Partial, Yes};
use crate::wire::headers;

/// A header, and whether it is served.
pub(crate) type Header = (&'static str, Support);

const WHOLE_QUERY: &str = "accepted: any query is run whole, over all partitions";
const HINT: &str = "accepted without effect: a hint for how the original spends its means";

const USAGE: &str = "of a container, where it is asked for: what takes longer than 5 s to count is left away, and what took long may be up to a hundred times as old; documentSize is left away; collectionSize is what the engine is given, before it compresses";

/// Headers of requests.
pub(crate) const REQUEST: &[Header] = &[
    (
        "authorization",
        Partial("keys and resource tokens; Entra ID tokens are refused"),
    ),
    ("x-ms-date", Yes),
    ("x-ms-version", Partial("any version is answered alike")),
    (headers::ACTIVITY_ID, Yes),
    ("x-ms-cosmos-correlated-activityid", No("not logged")),
    (headers::A_IM, Yes),
    (headers::CHANGE_FEED_WIRE_FORMAT, Yes),
    (headers::IF_MATCH, Yes),
    (headers::IF_NONE_MATCH, Yes),
    (headers::IF_MODIFIED_SINCE, Partial("where a change feed begins")),
    (headers::PREFER, Yes),
    (headers::PARTITION_KEY, Yes),
    (headers::RANGE_ID, Yes),
    (headers::START_EPK, Yes),
    (headers::END_EPK, Yes),
    ("x-ms-read-key-type", Partial("accepted: the bounds above say it")),
    (headers::INTENDED_RID, Yes),
    (headers::MAX_ITEM_COUNT, Yes),
    (headers::CONTINUATION, Yes),
    ("x-ms-documentdb-responsecontinuationtokenlimitinkb", Yes),
    (
        headers::CONSISTENCY,
        Partial(
            "there is one write region: every read sees all that was acknowledged; what would be stronger than the account's default is refused",
        ),
    ),
    (headers::SESSION_TOKEN, Yes),
    (headers::IS_QUERY, Yes),
    (headers::IS_QUERY_OLD, Yes),
    (headers::IS_QUERY_PLAN, Partial("always the empty plan")),
    ("x-ms-cosmos-supported-query-features", Partial(WHOLE_QUERY)),
    ("x-ms-cosmos-query-version", Partial(WHOLE_QUERY)),
    ("x-ms-documentdb-query-enablecrosspartition", Partial(WHOLE_QUERY)),
    (
        "x-ms-documentdb-query-parallelizecrosspartitionquery",
        Partial(WHOLE_QUERY),
    ),
    (
        "x-ms-documentdb-query-enable-scan",
        Partial("accepted: what no index serves is scanned anyway"),
    ),
    (headers::POPULATE_QUERY_METRICS, Yes),
    (headers::POPULATE_INDEX_METRICS, Yes),
    (headers::POPULATE_INDEX_METRICS_EARLIER, Yes),
    (headers::POPULATE_QUOTA_INFO, Partial("on reading a container")),
    ("x-ms-documentdb-populatepartitionstatistics", No("ignored")),
    (headers::IS_UPSERT, Yes),
    (headers::IS_BATCH, Yes),
    (headers::BATCH_ATOMIC, Yes),
    (headers::BATCH_CONTINUE, Yes),
    (headers::INDEXING_DIRECTIVE, Yes),
    (headers::PRE_TRIGGER, Partial("at most one")),
    (headers::POST_TRIGGER, Partial("at most one")),
    (headers::SCRIPT_ENABLE_LOGGING, Yes),
    (headers::TOKEN_EXPIRY, Yes),
    (headers::OFFER_THROUGHPUT, Yes),
    (headers::AUTOPILOT, Yes),
    (
        "x-ms-cosmos-supported-serialization-formats",
        Partial("answers are JSON text, which every client reads"),
    ),
    (
        "x-ms-cosmos-sdk-supportedcapabilities",
        Partial("accepted: a container has one range, which is never merged"),
    ),
    (
        "x-ms-cosmos-allow-tentative-writes",
        Partial("accepted: there is one write region"),
    ),
    ("x-ms-dedicatedgateway-max-age", Partial(HINT)),
    ("x-ms-dedicatedgateway-bypass-cache", Partial(HINT)),
    ("x-ms-cosmos-priority-level", Partial(HINT)),
    ("x-ms-cosmos-throughput-bucket", Partial(HINT)),
];

/// Headers of answers.
pub(crate) const RESPONSE: &[Header] = &[
    (headers::ACTIVITY_ID, Yes),
    (
        headers::REQUEST_CHARGE,
        Partial("counted by this server's own rules; errors cost 1"),
    ),
    (headers::SESSION_TOKEN, Yes),
    (headers::CONTINUATION, Yes),
    (headers::ITEM_COUNT, Yes),
    (headers::SUBSTATUS, Yes),
    (headers::RETRY_AFTER, Yes),
    ("etag", Yes),
    (headers::ALT_CONTENT_PATH, Yes),
    (headers::CONTENT_PATH, Yes),
    (headers::QUERY_METRICS, Yes),
    (headers::INDEX_UTILIZATION, Yes),
    (headers::SCRIPT_LOG_RESULTS, Yes),
    ("x-ms-documentdb-collection-index-transformation-progress", Yes),
    ("x-ms-serviceversion", Yes),
    ("x-ms-gatewayversion", Yes),
    (
        headers::RESOURCE_QUOTA,
        Partial("as the next; -1 is what has no bound"),
    ),
    (headers::RESOURCE_USAGE, Partial(USAGE)),
    ("x-ms-schemaversion", No("not sent")),
    ("x-ms-last-state-change-utc", No("not sent")),
    ("lsn", No("the session token has it")),
    ("x-ms-item-lsn", No("not sent")),
    ("x-ms-global-committed-lsn", No("the session token has it")),
    ("x-ms-request-duration-ms", No("not sent")),
];

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    /// The names that the code uses are constants; one that is missing above would be missing on the page.
    #[test]
    fn every_header_of_the_code_is_on_the_page() {
        let listed: HashSet<&str> = REQUEST.iter().chain(RESPONSE).map(|(name, _)| *name).collect();
        let constants = include_str!("headers.rs")
            .lines()
            .filter(|line| line.contains(": &str = "));
        let mut seen = 0;
        for line in constants {
            let name = line.split('"').nth(1).unwrap();
            assert!(listed.contains(name), "{name}");
            seen += 1;
        }
        assert!(seen > 40, "{seen}");
    }

    #[test]
    fn each_stands_once() {
        for table in [REQUEST, RESPONSE] {
            let names: HashSet<&str> = table.iter().map(|(name, _)| *name).collect();
            assert_eq!(names.len(), table.len());
        }
    }
}
