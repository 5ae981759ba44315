//! Get Query Plan: always the empty plan. With one range the client has nothing to merge, and
//! runs the original text. Every field must be there: JavaScript's client reads their lengths. The one
//! that tells of the query is `hasSelectValue`: Java's client takes rows for values only if it is true.

use http::StatusCode;
use serde_json::json;

use crate::error::DocumentsError;
use crate::wire::answer::Answer;
use crate::wire::call::Call;

pub(super) async fn run(call: &Call<'_>) -> Result<Answer, DocumentsError> {
    let container = call.container().await?;
    let (sql, _) = call.query_body()?;
    let query = call.documents.queries.parse(&sql)?;
    let body = json!({
        "partitionedQueryExecutionInfoVersion": 2,
        "queryInfo": {
            "distinctType": "None",
            "top": null,
            "offset": null,
            "limit": null,
            "orderBy": [],
            "orderByExpressions": [],
            "groupByExpressions": [],
            "groupByAliases": [],
            "aggregates": [],
            "groupByAliasToAggregateType": {},
            "rewrittenQuery": "",
            "hasSelectValue": query.selects_value(),
            "hasNonStreamingOrderBy": false,
            "dCountInfo": null,
        },
        "queryRanges": [{"min": "", "max": "FF", "isMinInclusive": true, "isMaxInclusive": false}],
    });
    Ok(Answer::json(StatusCode::OK, &body, 1.0).with_owner(&container))
}
