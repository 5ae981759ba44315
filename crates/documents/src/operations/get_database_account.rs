//! Get Database Account: what clients ask first, and where they learn which address to use.
//!
//! Invariant: addresses come from the request's Host, so whoever reached the server once can
//! follow them.

use http::StatusCode;
use serde_json::json;

use crate::error::DocumentsError;
use crate::wire::answer::Answer;
use crate::wire::call::Call;

pub(super) fn run(call: &Call<'_>) -> Result<Answer, DocumentsError> {
    let locations =
        json!([{"name": call.documents.settings.region, "databaseAccountEndpoint": call.endpoint}]);
    // Read by the query library of .NET on Windows; a string that holds JSON.
    let engine = json!({
        "maxSqlQueryInputLength": documents_sql::limits::QUERY_TEXT_BYTES_MAX,
        "maxJoinsPerSqlQuery": documents_sql::limits::JOINS_PER_QUERY_MAX,
        "maxLogicalAndPerSqlQuery": 500,
        "maxLogicalOrPerSqlQuery": 500,
        "maxUdfRefPerSqlQuery": 10,
        "maxInExpressionItemsCount": documents_sql::limits::IN_LIST_ITEMS_MAX,
        "queryMaxInMemorySortDocumentCount": 500,
        "maxQueryRequestTimeoutFraction": 0.9,
        "sqlAllowNonFiniteNumbers": false,
        "sqlAllowAggregateFunctions": true,
        "sqlAllowSubQuery": true,
        "sqlAllowScalarSubQuery": true,
        "allowNewKeywords": true,
        "sqlAllowLike": true,
        "sqlAllowGroupByClause": true,
        "maxSpatialQueryCells": 12,
        "spatialMaxGeometryPointCount": 256,
        "sqlDisableOptimizationFlags": 0,
        "sqlAllowTop": true,
        "enableSpatialIndexing": true,
    });
    let name = &call.account.name;
    let body = json!({
        "_self": "",
        "id": name,
        "_rid": format!("{name}.sql.cosmos.azure.com"),
        "media": "//media/",
        "addresses": "//addresses/",
        "_dbs": "//dbs/",
        "writableLocations": locations,
        "readableLocations": locations,
        "enableMultipleWriteLocations": false,
        "continuousBackupEnabled": false,
        "enableNRegionSynchronousCommit": false,
        "enablePerPartitionFailoverBehavior": false,
        "userReplicationPolicy": {"asyncReplication": false, "minReplicaSetSize": 1, "maxReplicasetSize": 4},
        "userConsistencyPolicy": {"defaultConsistencyLevel": "Session"},
        "systemReplicationPolicy": {"minReplicaSetSize": 1, "maxReplicasetSize": 4},
        "readPolicy": {"primaryReadCoefficient": 1, "secondaryReadCoefficient": 1},
        "queryEngineConfiguration": engine.to_string(),
    });
    Ok(Answer::json(StatusCode::OK, &body, 0.0))
}
