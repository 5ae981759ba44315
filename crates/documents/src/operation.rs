//! Every public operation of the original protocol, served or not: the table behind routing's
//! refusals and behind `docs/compat/documents.md`.

use std::fmt::Write as _;

use crate::wire::coverage;

/// Whether an operation is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Support {
    /// Entirely.
    Yes,
    /// In part: what is missing or different.
    Partial(&'static str),
    /// Not: why, or what to do instead.
    No(&'static str),
}

impl std::fmt::Display for Support {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Yes => f.write_str("yes"),
            Self::Partial(how) => write!(f, "partly: {how}"),
            Self::No(why) => write!(f, "no: {why}"),
        }
    }
}

/// How many of a table's rows are served, in a sentence.
fn shares(what: &str, support: impl Iterator<Item = Support>) -> String {
    let (mut yes, mut partly, mut no) = (0_u32, 0_u32, 0_u32);
    for one in support {
        match one {
            Yes => yes += 1,
            Partial(_) => partly += 1,
            No(_) => no += 1,
        }
    }
    let all = yes + partly + no;
    let share = |count: u32| (count * 100 + all / 2) / all.max(1);
    format!(
        "Of {all} {what} {yes} are served ({} %), {partly} in part ({} %), {no} not ({} %).\n\n",
        share(yes),
        share(partly),
        share(no)
    )
}

/// What is known of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OperationInfo {
    /// Its name in the REST reference, or in the clients where that is silent.
    pub name: &'static str,
    /// HTTP method.
    pub method: &'static str,
    /// Path, names in braces.
    pub path: &'static str,
    /// Headers that tell it apart from others of the same method and path.
    pub headers: &'static str,
    /// Page of the documentation below [`DOC_BASE`].
    pub doc: &'static str,
    /// Whether it is served.
    pub support: Support,
}

/// Where the documentation pages are.
pub const DOC_BASE: &str = "https://learn.microsoft.com/";

macro_rules! operations {
    ($($variant:ident: $method:literal $path:literal [$headers:literal] $name:literal, $doc:literal, $support:expr;)*) => {
        /// An operation of the protocol.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[allow(missing_docs, reason = "the table's name column says what each is")]
        pub enum Operation { $($variant,)* }

        impl Operation {
            /// Every operation, in the order of the documentation.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// What is known of it.
            #[must_use]
            pub fn info(self) -> OperationInfo {
                match self {
                    $(Self::$variant => OperationInfo {
                        name: $name, method: $method, path: $path, headers: $headers, doc: $doc,
                        support: $support,
                    },)*
                }
            }
        }
    };
}

use Support::{No, Partial, Yes};

const PROCEDURES: &str = "run unless the setting run_scripts is off; a run has 5 s, 64 MiB and a result of 4 MiB; attachments, headers of the response, typed arrays, proxies and modules are not there; filters of the chained queries look at every item; an async function that fails ends the run";
const TRIGGERS: &str = "run as stored procedures are, by writes of single items that name it, at most one of each type; Update is for Replace Document and Patch Document; getOperationType of a patch is Patch";
const FUNCTIONS: &str = "called by queries unless the setting run_scripts is off; a call has 5 s, the calls of a page 15 s, a result 4 MiB; one engine per page, a context per function";
const CONFLICTS: &str = "there is one write region, so no conflict arises";
const ATTACHMENTS: &str = "attachments ended with the original's API version 2018-12-31; use blobs";

operations! {
    GetDatabaseAccount: "GET" "/" [""] "Get Database Account", "rest/api/cosmos-db/get-database-account", Yes;

    CreateDatabase: "POST" "/dbs" [""] "Create Database", "rest/api/cosmos-db/create-a-database", Yes;
    ListDatabases: "GET" "/dbs" [""] "List Databases", "rest/api/cosmos-db/list-databases", Yes;
    QueryDatabases: "POST" "/dbs" ["x-ms-documentdb-isquery"] "Query Databases", "rest/api/cosmos-db/querying-cosmosdb-resources-using-the-rest-api", Partial("over the first 1,000 databases, in one page");
    GetDatabase: "GET" "/dbs/{db}" [""] "Get Database", "rest/api/cosmos-db/get-a-database", Yes;
    DeleteDatabase: "DELETE" "/dbs/{db}" [""] "Delete Database", "rest/api/cosmos-db/delete-a-database", Yes;

    CreateCollection: "POST" "/dbs/{db}/colls" [""] "Create Collection", "rest/api/cosmos-db/create-a-collection", Partial("vector, full-text and spatial indexes are kept with the container but not used");
    ListCollections: "GET" "/dbs/{db}/colls" [""] "List Collections", "rest/api/cosmos-db/list-collections", Yes;
    QueryCollections: "POST" "/dbs/{db}/colls" ["x-ms-documentdb-isquery"] "Query Collections", "rest/api/cosmos-db/querying-cosmosdb-resources-using-the-rest-api", Partial("in one page");
    GetCollection: "GET" "/dbs/{db}/colls/{coll}" [""] "Get Collection", "rest/api/cosmos-db/get-a-collection", Partial("x-ms-documentdb-populatepartitionstatistics is ignored");
    ReplaceCollection: "PUT" "/dbs/{db}/colls/{coll}" [""] "Replace Collection", "rest/api/cosmos-db/replace-a-collection", Yes;
    DeleteCollection: "DELETE" "/dbs/{db}/colls/{coll}" [""] "Delete Collection", "rest/api/cosmos-db/delete-a-collection", Yes;
    GetPartitionKeyRanges: "GET" "/dbs/{db}/colls/{coll}/pkranges" ["A-IM"] "Get Partition Key Ranges", "rest/api/cosmos-db/get-partition-key-ranges", Partial("a container has one range, which never splits");

    CreateDocument: "POST" "/dbs/{db}/colls/{coll}/docs" [""] "Create Document", "rest/api/cosmos-db/create-a-document", Partial("an item that x-ms-indexing-directive or a policy that isn't automatic keeps out of the index is found by point reads, feeds, and queries that no index serves or only by id");
    UpsertDocument: "POST" "/dbs/{db}/colls/{coll}/docs" ["x-ms-documentdb-is-upsert"] "Upsert Document", "rest/api/cosmos-db/create-a-document", Partial("as Create Document");
    ListDocuments: "GET" "/dbs/{db}/colls/{coll}/docs" [""] "List Documents", "rest/api/cosmos-db/list-documents", Yes;
    GetDocument: "GET" "/dbs/{db}/colls/{coll}/docs/{doc}" [""] "Get Document", "rest/api/cosmos-db/get-a-document", Yes;
    ReplaceDocument: "PUT" "/dbs/{db}/colls/{coll}/docs/{doc}" [""] "Replace Document", "rest/api/cosmos-db/replace-a-document", Partial("as Create Document");
    PatchDocument: "PATCH" "/dbs/{db}/colls/{coll}/docs/{doc}" [""] "Patch Document", "rest/api/cosmos-db/patch-a-document", Yes;
    DeleteDocument: "DELETE" "/dbs/{db}/colls/{coll}/docs/{doc}" [""] "Delete Document", "rest/api/cosmos-db/delete-a-document", Yes;
    QueryDocuments: "POST" "/dbs/{db}/colls/{coll}/docs" ["x-ms-documentdb-isquery"] "Query Documents", "rest/api/cosmos-db/query-documents", Partial("see documents-query.md for the language; query metrics time functions with what calls them");
    GetQueryPlan: "POST" "/dbs/{db}/colls/{coll}/docs" ["x-ms-cosmos-is-query-plan-request"] "Get Query Plan", "rest/api/cosmos-db/query-documents", Partial("always the empty plan, which is right while a container has one range: the server runs the whole query");
    ExecuteBatch: "POST" "/dbs/{db}/colls/{coll}/docs" ["x-ms-cosmos-is-batch-request, x-ms-cosmos-batch-atomic: true"] "Execute Transactional Batch", "azure/cosmos-db/transactional-batch", Partial("JSON bodies (Python, JavaScript, Rust, Java), and the HybridRow bodies of .NET, which are tested with bytes laid out as described, not with that client");
    ExecuteBulk: "POST" "/dbs/{db}/colls/{coll}/docs" ["x-ms-cosmos-is-batch-request, x-ms-cosmos-batch-atomic: false"] "Execute Bulk", "azure/cosmos-db/nosql/how-to-dotnet-bulk-import-data", Partial("as Execute Transactional Batch");
    ReadChangeFeed: "GET" "/dbs/{db}/colls/{coll}/docs" ["A-IM: Incremental Feed"] "Read Change Feed, latest version", "azure/cosmos-db/change-feed", Partial("in wire format 2021-09-15 a change tells neither its operation nor what was before");
    ReadFullFidelityFeed: "GET" "/dbs/{db}/colls/{coll}/docs" ["A-IM: Full-Fidelity Feed"] "Read Change Feed, all versions and deletes", "azure/cosmos-db/nosql/change-feed-modes", Partial("of containers whose changeFeedPolicy has a retentionDuration (minutes, at most 43,200), instead of the account's continuous backup; the previous version comes with deletions only, as in the original unless asked otherwise; what the container wrote before it had the policy isn't there");
    DeleteByPartitionKey: "POST" "/dbs/{db}/colls/{coll}/operations/partitionkeydelete" [""] "Delete Items By Partition Key", "azure/cosmos-db/nosql/how-to-delete-by-partition-key", Partial("done when it is answered, not in the background");

    ListConflicts: "GET" "/dbs/{db}/colls/{coll}/conflicts" [""] "List Conflicts", "azure/cosmos-db/nosql/how-to-manage-conflicts", Partial("always empty: there is one write region");
    GetConflict: "GET" "/dbs/{db}/colls/{coll}/conflicts/{conflict}" [""] "Get Conflict", "azure/cosmos-db/nosql/how-to-manage-conflicts", No(CONFLICTS);
    DeleteConflict: "DELETE" "/dbs/{db}/colls/{coll}/conflicts/{conflict}" [""] "Delete Conflict", "azure/cosmos-db/nosql/how-to-manage-conflicts", No(CONFLICTS);

    CreateAttachment: "POST" "/dbs/{db}/colls/{coll}/docs/{doc}/attachments" [""] "Create Attachment", "rest/api/cosmos-db/create-an-attachment", No(ATTACHMENTS);
    ListAttachments: "GET" "/dbs/{db}/colls/{coll}/docs/{doc}/attachments" [""] "List Attachments", "rest/api/cosmos-db/list-attachments", No(ATTACHMENTS);
    GetAttachment: "GET" "/dbs/{db}/colls/{coll}/docs/{doc}/attachments/{id}" [""] "Get Attachment", "rest/api/cosmos-db/get-an-attachment", No(ATTACHMENTS);
    ReplaceAttachment: "PUT" "/dbs/{db}/colls/{coll}/docs/{doc}/attachments/{id}" [""] "Replace Attachment", "rest/api/cosmos-db/replace-an-attachment", No(ATTACHMENTS);
    DeleteAttachment: "DELETE" "/dbs/{db}/colls/{coll}/docs/{doc}/attachments/{id}" [""] "Delete Attachment", "rest/api/cosmos-db/delete-an-attachment", No(ATTACHMENTS);

    CreateStoredProcedure: "POST" "/dbs/{db}/colls/{coll}/sprocs" [""] "Create Stored Procedure", "rest/api/cosmos-db/create-a-stored-procedure", Yes;
    ListStoredProcedures: "GET" "/dbs/{db}/colls/{coll}/sprocs" [""] "List Stored Procedures", "rest/api/cosmos-db/list-stored-procedures", Yes;
    QueryStoredProcedures: "POST" "/dbs/{db}/colls/{coll}/sprocs" ["x-ms-documentdb-isquery"] "Query Stored Procedures", "rest/api/cosmos-db/querying-cosmosdb-resources-using-the-rest-api", Partial("in one page");
    GetStoredProcedure: "GET" "/dbs/{db}/colls/{coll}/sprocs/{sproc}" [""] "Get Stored Procedure", "rest/api/cosmos-db/stored-procedures", Yes;
    ReplaceStoredProcedure: "PUT" "/dbs/{db}/colls/{coll}/sprocs/{sproc}" [""] "Replace Stored Procedure", "rest/api/cosmos-db/replace-a-stored-procedure", Yes;
    DeleteStoredProcedure: "DELETE" "/dbs/{db}/colls/{coll}/sprocs/{sproc}" [""] "Delete Stored Procedure", "rest/api/cosmos-db/delete-a-stored-procedure", Yes;
    ExecuteStoredProcedure: "POST" "/dbs/{db}/colls/{coll}/sprocs/{sproc}" [""] "Execute Stored Procedure", "rest/api/cosmos-db/execute-a-stored-procedure", Partial(PROCEDURES);
    CreateTrigger: "POST" "/dbs/{db}/colls/{coll}/triggers" [""] "Create Trigger", "rest/api/cosmos-db/create-a-trigger", Partial(TRIGGERS);
    ListTriggers: "GET" "/dbs/{db}/colls/{coll}/triggers" [""] "List Triggers", "rest/api/cosmos-db/list-triggers", Yes;
    QueryTriggers: "POST" "/dbs/{db}/colls/{coll}/triggers" ["x-ms-documentdb-isquery"] "Query Triggers", "rest/api/cosmos-db/querying-cosmosdb-resources-using-the-rest-api", Partial("in one page");
    GetTrigger: "GET" "/dbs/{db}/colls/{coll}/triggers/{trigger}" [""] "Get Trigger", "rest/api/cosmos-db/triggers", Yes;
    ReplaceTrigger: "PUT" "/dbs/{db}/colls/{coll}/triggers/{trigger}" [""] "Replace Trigger", "rest/api/cosmos-db/replace-a-trigger", Partial(TRIGGERS);
    DeleteTrigger: "DELETE" "/dbs/{db}/colls/{coll}/triggers/{trigger}" [""] "Delete Trigger", "rest/api/cosmos-db/delete-a-trigger", Yes;
    CreateUserDefinedFunction: "POST" "/dbs/{db}/colls/{coll}/udfs" [""] "Create User Defined Function", "rest/api/cosmos-db/create-a-user-defined-function", Partial(FUNCTIONS);
    ListUserDefinedFunctions: "GET" "/dbs/{db}/colls/{coll}/udfs" [""] "List User Defined Functions", "rest/api/cosmos-db/list-user-defined-functions", Yes;
    QueryUserDefinedFunctions: "POST" "/dbs/{db}/colls/{coll}/udfs" ["x-ms-documentdb-isquery"] "Query User Defined Functions", "rest/api/cosmos-db/querying-cosmosdb-resources-using-the-rest-api", Partial("in one page");
    GetUserDefinedFunction: "GET" "/dbs/{db}/colls/{coll}/udfs/{udf}" [""] "Get User Defined Function", "rest/api/cosmos-db/user-defined-functions", Yes;
    ReplaceUserDefinedFunction: "PUT" "/dbs/{db}/colls/{coll}/udfs/{udf}" [""] "Replace User Defined Function", "rest/api/cosmos-db/replace-a-user-defined-function", Partial(FUNCTIONS);
    DeleteUserDefinedFunction: "DELETE" "/dbs/{db}/colls/{coll}/udfs/{udf}" [""] "Delete User Defined Function", "rest/api/cosmos-db/delete-a-user-defined-function", Yes;

    CreateUser: "POST" "/dbs/{db}/users" [""] "Create User", "rest/api/cosmos-db/create-a-user", Yes;
    ListUsers: "GET" "/dbs/{db}/users" [""] "List Users", "rest/api/cosmos-db/list-users", Yes;
    QueryUsers: "POST" "/dbs/{db}/users" ["x-ms-documentdb-isquery"] "Query Users", "rest/api/cosmos-db/querying-cosmosdb-resources-using-the-rest-api", Partial("over the first 1,000 users, in one page");
    GetUser: "GET" "/dbs/{db}/users/{user}" [""] "Get User", "rest/api/cosmos-db/get-a-user", Yes;
    ReplaceUser: "PUT" "/dbs/{db}/users/{user}" [""] "Replace User", "rest/api/cosmos-db/replace-a-user", Yes;
    DeleteUser: "DELETE" "/dbs/{db}/users/{user}" [""] "Delete User", "rest/api/cosmos-db/delete-a-user", Yes;
    CreatePermission: "POST" "/dbs/{db}/users/{user}/permissions" [""] "Create Permission", "rest/api/cosmos-db/create-a-permission", Partial("for containers and items, and partitions of them; one for an item by its name needs resourcePartitionKey; a permission that is replaced or deleted takes its tokens with it at once");
    ListPermissions: "GET" "/dbs/{db}/users/{user}/permissions" [""] "List Permissions", "rest/api/cosmos-db/list-permissions", Yes;
    QueryPermissions: "POST" "/dbs/{db}/users/{user}/permissions" ["x-ms-documentdb-isquery"] "Query Permissions", "rest/api/cosmos-db/querying-cosmosdb-resources-using-the-rest-api", Partial("over the first 1,000 permissions, in one page");
    GetPermission: "GET" "/dbs/{db}/users/{user}/permissions/{permission}" [""] "Get Permission", "rest/api/cosmos-db/get-a-permission", Yes;
    ReplacePermission: "PUT" "/dbs/{db}/users/{user}/permissions/{permission}" [""] "Replace Permission", "rest/api/cosmos-db/replace-a-permission", Partial("for containers and items, and partitions of them; one for an item by its name needs resourcePartitionKey; a permission that is replaced or deleted takes its tokens with it at once");
    DeletePermission: "DELETE" "/dbs/{db}/users/{user}/permissions/{permission}" [""] "Delete Permission", "rest/api/cosmos-db/delete-a-permission", Yes;

    ListOffers: "GET" "/offers" [""] "List Offers", "rest/api/cosmos-db/list-offers", Yes;
    QueryOffers: "POST" "/offers" ["x-ms-documentdb-isquery"] "Query Offers", "rest/api/cosmos-db/querying-offers", Yes;
    GetOffer: "GET" "/offers/{offer}" [""] "Get Offer", "rest/api/cosmos-db/get-an-offer", Yes;
    ReplaceOffer: "PUT" "/offers/{offer}" [""] "Replace Offer", "rest/api/cosmos-db/replace-an-offer", Partial("requests beyond it are answered 429 if the server's setting enforce_throughput is on; each node counts for itself, autoscale gives its maximum at once");

    ReadAddresses: "GET" "/addresses" [""] "Read Addresses (Direct mode)", "azure/cosmos-db/nosql/sdk-connection-modes", No("Direct mode is not served; set the client's connection mode to Gateway");
    ClientEncryptionKeys: "any" "/dbs/{db}/clientencryptionkeys" [""] "Client Encryption Keys", "azure/cosmos-db/how-to-always-encrypted", No("client-side encryption keys are not kept");
}

/// The compatibility table as it is checked in at `docs/compat/documents.md`.
#[must_use]
pub fn compat_markdown() -> String {
    let mut out = String::from(
        "# Documents: operations and headers of Azure Cosmos DB for NoSQL\n\n\
         Generated from `operation.rs` and `wire/coverage.rs` of `crates/documents/src`; a test compares them. To\n\
         write it anew: `STABBUR_BLESS=1 cargo test -p documents compat`.\n\n\
         An operation that is not served answers 501 with the reason given here. Clients must use Gateway\n\
         mode. Any query is run whole by the server, whatever the client asks it to split. Requests are signed\n\
         with an account key, a read-only account key, or carry a resource token; Entra ID tokens are refused.\n\
         A resource token ends when its time is over and when its permission is replaced or deleted, or its\n\
         user, database or container deleted. It doesn't end when the account's keys change, as it would in\n\
         the original: to revoke it, delete the permission.\n\n",
    );
    let supports = Operation::ALL.iter().map(|operation| operation.info().support);
    out.push_str(&shares("operations", supports));
    out.push_str("| operation | method | path | told apart by | served |\n| --- | --- | --- | --- | --- |\n");
    for operation in Operation::ALL {
        let info = operation.info();
        let served = info.support;
        let headers = if info.headers.is_empty() {
            String::new()
        } else {
            format!("`{}`", info.headers)
        };
        // Writing to a String doesn't fail.
        let _ = writeln!(
            out,
            "| [{}]({DOC_BASE}{}) | {} | `{}` | {headers} | {served} |",
            info.name, info.doc, info.method, info.path
        );
    }
    for (title, what, table) in [
        ("Headers of requests", "headers of requests", coverage::REQUEST),
        ("Headers of answers", "headers of answers", coverage::RESPONSE),
    ] {
        let _ = write!(out, "\n## {title}\n\n");
        out.push_str(&shares(what, table.iter().map(|(_, support)| *support)));
        out.push_str("| header | served |\n| --- | --- |\n");
        for (name, support) in table {
            let _ = writeln!(out, "| `{name}` | {support} |");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compat_page_is_current() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/compat/documents.md");
        let wanted = compat_markdown();
        if std::env::var_os("STABBUR_BLESS").is_some() {
            std::fs::write(path, &wanted).unwrap();
        }
        let found = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            found == wanted,
            "docs/compat/documents.md is old: run STABBUR_BLESS=1 cargo test -p documents compat"
        );
    }

    #[test]
    fn names_are_unique() {
        let names: std::collections::HashSet<_> = Operation::ALL.iter().map(|o| o.info().name).collect();
        assert_eq!(names.len(), Operation::ALL.len());
    }
}
