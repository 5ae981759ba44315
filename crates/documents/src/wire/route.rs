//! From method, path and headers to an operation.

use http::Method;

use super::call::flag;
use super::headers;
use crate::error::DocumentsError;
use crate::operation::{Operation, Support};

/// Finds the operation; headers decide between those of one path in the order plan, query, batch,
/// upsert, create, because `Content-Type` can't be relied on.
///
/// # Errors
/// 404 for a path of no operation, 405 for a method that the path doesn't have, 501 for an
/// operation that isn't served.
pub(crate) fn route(
    method: &Method,
    segments: &[String],
    map: &http::HeaderMap,
) -> Result<Operation, DocumentsError> {
    let names: Vec<&str> = segments.iter().map(String::as_str).collect();
    let operation = match names.as_slice() {
        [] => one(method, "GET", Operation::GetDatabaseAccount),
        ["dbs"] => feed(
            method,
            map,
            Operation::ListDatabases,
            Operation::CreateDatabase,
            Some(Operation::QueryDatabases),
        ),
        ["dbs", _] => by_method(
            method,
            Some(Operation::GetDatabase),
            None,
            Some(Operation::DeleteDatabase),
        ),
        ["dbs", _, "colls"] => feed(
            method,
            map,
            Operation::ListCollections,
            Operation::CreateCollection,
            Some(Operation::QueryCollections),
        ),
        ["dbs", _, "colls", _] => by_method(
            method,
            Some(Operation::GetCollection),
            Some(Operation::ReplaceCollection),
            Some(Operation::DeleteCollection),
        ),
        ["dbs", _, "clientencryptionkeys", ..] => Some(Operation::ClientEncryptionKeys),
        ["dbs", _, "users", rest @ ..] => users(method, map, rest),
        ["dbs", _, "colls", _, rest @ ..] => below_container(method, map, rest),
        ["offers"] => match method.as_str() {
            "GET" => Some(Operation::ListOffers),
            "POST" => Some(Operation::QueryOffers),
            _ => None,
        },
        ["offers", _] => by_method(
            method,
            Some(Operation::GetOffer),
            Some(Operation::ReplaceOffer),
            None,
        ),
        ["addresses", ..] => Some(Operation::ReadAddresses),
        _ => {
            return Err(DocumentsError::NotFound(format!(
                "There is no resource type at /{}.",
                segments.join("/")
            )));
        }
    };
    let operation = operation.ok_or_else(|| {
        DocumentsError::MethodNotAllowed(format!(
            "The method {method} is not defined for /{}.",
            segments.join("/")
        ))
    })?;
    match operation.info() {
        info if matches!(info.support, Support::No(_)) => {
            let Support::No(why) = info.support else {
                return Ok(operation);
            };
            Err(DocumentsError::NotImplemented(format!(
                "{} is not served: {why}.",
                info.name
            )))
        }
        _ => Ok(operation),
    }
}

fn below_container(method: &Method, map: &http::HeaderMap, rest: &[&str]) -> Option<Operation> {
    match rest {
        ["docs"] => match method.as_str() {
            "GET" => Some(
                match map
                    .get(headers::A_IM)
                    .map(|value| value.as_bytes().to_ascii_lowercase())
                {
                    None => Operation::ListDocuments,
                    Some(mode) if mode.starts_with(b"full-fidelity") => Operation::ReadFullFidelityFeed,
                    Some(_) => Operation::ReadChangeFeed,
                },
            ),
            "POST" if flag(map, headers::IS_QUERY_PLAN) => Some(Operation::GetQueryPlan),
            "POST" if is_query(map) => Some(Operation::QueryDocuments),
            "POST" if flag(map, headers::IS_BATCH) => Some(if flag(map, headers::BATCH_ATOMIC) {
                Operation::ExecuteBatch
            } else {
                Operation::ExecuteBulk
            }),
            "POST" if flag(map, headers::IS_UPSERT) => Some(Operation::UpsertDocument),
            "POST" => Some(Operation::CreateDocument),
            _ => None,
        },
        ["docs", _] if method == Method::PATCH => Some(Operation::PatchDocument),
        ["docs", _] => by_method(
            method,
            Some(Operation::GetDocument),
            Some(Operation::ReplaceDocument),
            Some(Operation::DeleteDocument),
        ),
        ["docs", _, "attachments"] => feed(
            method,
            map,
            Operation::ListAttachments,
            Operation::CreateAttachment,
            None,
        ),
        ["docs", _, "attachments", _] => by_method(
            method,
            Some(Operation::GetAttachment),
            Some(Operation::ReplaceAttachment),
            Some(Operation::DeleteAttachment),
        ),
        ["pkranges"] => one(method, "GET", Operation::GetPartitionKeyRanges),
        ["conflicts"] => match method.as_str() {
            // A query of an empty feed is empty as well.
            "GET" | "POST" => Some(Operation::ListConflicts),
            _ => None,
        },
        ["conflicts", _] => by_method(
            method,
            Some(Operation::GetConflict),
            None,
            Some(Operation::DeleteConflict),
        ),
        ["operations", "partitionkeydelete"] => one(method, "POST", Operation::DeleteByPartitionKey),
        ["sprocs"] => feed(
            method,
            map,
            Operation::ListStoredProcedures,
            Operation::CreateStoredProcedure,
            Some(Operation::QueryStoredProcedures),
        ),
        ["sprocs", _] if method == Method::POST => Some(Operation::ExecuteStoredProcedure),
        ["sprocs", _] => by_method(
            method,
            Some(Operation::GetStoredProcedure),
            Some(Operation::ReplaceStoredProcedure),
            Some(Operation::DeleteStoredProcedure),
        ),
        ["triggers"] => feed(
            method,
            map,
            Operation::ListTriggers,
            Operation::CreateTrigger,
            Some(Operation::QueryTriggers),
        ),
        ["triggers", _] => by_method(
            method,
            Some(Operation::GetTrigger),
            Some(Operation::ReplaceTrigger),
            Some(Operation::DeleteTrigger),
        ),
        ["udfs"] => feed(
            method,
            map,
            Operation::ListUserDefinedFunctions,
            Operation::CreateUserDefinedFunction,
            Some(Operation::QueryUserDefinedFunctions),
        ),
        ["udfs", _] => by_method(
            method,
            Some(Operation::GetUserDefinedFunction),
            Some(Operation::ReplaceUserDefinedFunction),
            Some(Operation::DeleteUserDefinedFunction),
        ),
        _ => None,
    }
}

fn users(method: &Method, map: &http::HeaderMap, rest: &[&str]) -> Option<Operation> {
    match rest {
        [] => feed(
            method,
            map,
            Operation::ListUsers,
            Operation::CreateUser,
            Some(Operation::QueryUsers),
        ),
        [_] => by_method(
            method,
            Some(Operation::GetUser),
            Some(Operation::ReplaceUser),
            Some(Operation::DeleteUser),
        ),
        [_, "permissions"] => feed(
            method,
            map,
            Operation::ListPermissions,
            Operation::CreatePermission,
            Some(Operation::QueryPermissions),
        ),
        [_, "permissions", _] => by_method(
            method,
            Some(Operation::GetPermission),
            Some(Operation::ReplacePermission),
            Some(Operation::DeletePermission),
        ),
        _ => None,
    }
}

fn one(method: &Method, wanted: &str, operation: Operation) -> Option<Operation> {
    (method.as_str() == wanted).then_some(operation)
}

fn is_query(map: &http::HeaderMap) -> bool {
    flag(map, headers::IS_QUERY) || flag(map, headers::IS_QUERY_OLD)
}

/// A feed's operations; a query of a feed that has none of its own counts as its list.
fn feed(
    method: &Method,
    map: &http::HeaderMap,
    list: Operation,
    create: Operation,
    query: Option<Operation>,
) -> Option<Operation> {
    match method.as_str() {
        "GET" => Some(list),
        "POST" if is_query(map) => Some(query.unwrap_or(list)),
        "POST" => Some(create),
        _ => None,
    }
}

fn by_method(
    method: &Method,
    get: Option<Operation>,
    put: Option<Operation>,
    delete: Option<Operation>,
) -> Option<Operation> {
    match method.as_str() {
        "GET" => get,
        "PUT" => put,
        "DELETE" => delete,
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The path of the table with names filled in leads to the table's operation or refusal.
    #[test]
    fn every_operation_of_the_table_is_reached() {
        for operation in Operation::ALL {
            let info = operation.info();
            let segments: Vec<String> = info
                .path
                .split('/')
                .filter(|s| !s.is_empty())
                .map(|s| s.trim_matches(['{', '}']).to_owned())
                .collect();
            let mut map = http::HeaderMap::new();
            for header in info.headers.split(", ").filter(|header| !header.is_empty()) {
                let (name, value) = header.split_once(": ").unwrap_or((header, "True"));
                map.insert(
                    http::HeaderName::from_bytes(name.as_bytes()).unwrap(),
                    value.parse().unwrap(),
                );
            }
            let method = if info.method == "any" { "GET" } else { info.method };
            let routed = route(&Method::from_bytes(method.as_bytes()).unwrap(), &segments, &map);
            match info.support {
                Support::No(_) => {
                    let error = routed.unwrap_err();
                    assert_eq!(error.status(), 501, "{operation:?}");
                    assert!(error.to_string().starts_with(info.name), "{error}");
                }
                Support::Yes | Support::Partial(_) => assert_eq!(routed.as_ref(), Ok(operation)),
            }
        }
    }

    #[test]
    fn unknown_paths_and_methods() {
        let segments = |path: &str| path.split('/').map(str::to_owned).collect::<Vec<_>>();
        let map = http::HeaderMap::new();
        assert_eq!(
            route(&Method::GET, &segments("x"), &map).unwrap_err().status(),
            404
        );
        assert_eq!(
            route(&Method::PUT, &segments("dbs"), &map).unwrap_err().status(),
            405
        );
        assert_eq!(
            route(&Method::GET, &segments("dbs/a/colls/b/x"), &map)
                .unwrap_err()
                .status(),
            405
        );
    }
}
