//! Who may do what: the owner everything, a read-only key reading, a resource token what its
//! permission says.

use crate::error::DocumentsError;
use crate::operation::Operation;
use crate::rules::partition_key::PartitionKey;
use crate::wire::call::Call;

/// Who calls.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Caller {
    /// Signed with one of the account's keys.
    Owner,
    /// Signed with one of its read-only keys.
    Reader,
    /// Holds a resource token.
    Token(Grant),
}

/// What a permission allows.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Grant {
    /// Writing, too.
    pub(crate) all: bool,
    /// The container's number.
    pub(crate) container: u32,
    /// The one item, by id.
    pub(crate) item: Option<String>,
    /// The one partition, or those under a prefix of a hierarchical key.
    pub(crate) partition_key: Option<PartitionKey>,
}

/// What an operation needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Right {
    /// To know that the account is there: any valid signature.
    Account,
    /// To read the container itself, which clients do before they reach its items.
    Container,
    ReadItems,
    WriteItems,
    /// To read scripts, which are the whole container's.
    ReadScripts,
    /// To read databases, containers, users, offers.
    ReadCatalog,
    /// To change them; or to read permissions, whose tokens may write.
    Manage,
}

fn right(operation: Operation) -> Right {
    match operation {
        Operation::GetDatabaseAccount => Right::Account,
        Operation::GetCollection | Operation::GetPartitionKeyRanges => Right::Container,
        Operation::ListDocuments
        | Operation::GetDocument
        | Operation::QueryDocuments
        | Operation::GetQueryPlan
        | Operation::ReadChangeFeed
        | Operation::ReadFullFidelityFeed
        | Operation::ListConflicts
        | Operation::GetConflict => Right::ReadItems,
        Operation::CreateDocument
        | Operation::UpsertDocument
        | Operation::ReplaceDocument
        | Operation::PatchDocument
        | Operation::DeleteDocument
        | Operation::ExecuteBatch
        | Operation::ExecuteBulk
        | Operation::DeleteByPartitionKey
        | Operation::ExecuteStoredProcedure => Right::WriteItems,
        Operation::ListStoredProcedures
        | Operation::QueryStoredProcedures
        | Operation::GetStoredProcedure
        | Operation::ListTriggers
        | Operation::QueryTriggers
        | Operation::GetTrigger
        | Operation::ListUserDefinedFunctions
        | Operation::QueryUserDefinedFunctions
        | Operation::GetUserDefinedFunction => Right::ReadScripts,
        Operation::ListDatabases
        | Operation::QueryDatabases
        | Operation::GetDatabase
        | Operation::ListCollections
        | Operation::QueryCollections
        | Operation::ListUsers
        | Operation::QueryUsers
        | Operation::GetUser
        | Operation::ListOffers
        | Operation::QueryOffers
        | Operation::GetOffer => Right::ReadCatalog,
        // Whatever isn't named is the owner's.
        _ => Right::Manage,
    }
}

/// Whether an operation reads or writes items, which throughput is provisioned for.
pub(crate) fn is_of_items(operation: Operation) -> bool {
    matches!(right(operation), Right::ReadItems | Right::WriteItems)
}

/// Checks a call; its path must be resolved to ids.
///
/// # Errors
/// 403 if the caller may not do that; 404 if a token's holder asks for a container that isn't
/// there.
pub(crate) async fn authorise(
    operation: Operation,
    call: &Call<'_>,
    caller: &Caller,
) -> Result<(), DocumentsError> {
    let right = right(operation);
    match caller {
        Caller::Owner => Ok(()),
        Caller::Reader => match right {
            Right::WriteItems | Right::Manage => Err(DocumentsError::Forbidden(format!(
                "The request {} needs a key that may write; it was signed with a read-only one.",
                operation.info().name
            ))),
            _ => Ok(()),
        },
        Caller::Token(grant) => match right {
            Right::Account => Ok(()),
            Right::Container => in_container(call, grant).await,
            Right::ReadScripts => {
                if grant.item.is_some() || grant.partition_key.is_some() {
                    return Err(insufficient("it is for a part of the container"));
                }
                in_container(call, grant).await
            }
            Right::ReadItems | Right::WriteItems => {
                if right == Right::WriteItems && !grant.all {
                    return Err(insufficient("its mode is Read"));
                }
                in_container(call, grant).await?;
                confined(operation, call, grant)
            }
            Right::ReadCatalog | Right::Manage => Err(insufficient("it is for items of a container")),
        },
    }
}

fn insufficient(why: &str) -> DocumentsError {
    DocumentsError::Forbidden(format!(
        "Insufficient permissions provided in the authorization header for the corresponding request: {why}. Please retry with another authorization header."
    ))
}

async fn in_container(call: &Call<'_>, grant: &Grant) -> Result<(), DocumentsError> {
    let container = call
        .documents
        .container(&call.account.name, call.segment(1), call.segment(3))
        .await?;
    if container.number == grant.container {
        Ok(())
    } else {
        Err(insufficient("it is for another container"))
    }
}

/// Keeps a token to its item and its partition.
fn confined(operation: Operation, call: &Call<'_>, grant: &Grant) -> Result<(), DocumentsError> {
    if let Some(item) = &grant.item
        && !(call.segment(4) == "docs" && call.segment(5) == item)
    {
        return Err(insufficient("it is for one item"));
    }
    // Reads run none, whatever their headers say.
    if grant.item.is_some() && right(operation) == Right::WriteItems && call.has_triggers() {
        return Err(insufficient("it is for one item, and a trigger may write others"));
    }
    let Some(allowed) = &grant.partition_key else {
        return Ok(());
    };
    match operation {
        // Has no data in it.
        Operation::GetQueryPlan => Ok(()),
        // Each operation inside names its own.
        Operation::ExecuteBulk => Err(insufficient("it is for one partition, and bulk may name several")),
        _ => match call.partition_key()? {
            Some(asked) if allowed.is_prefix_of(&asked) => Ok(()),
            _ => Err(insufficient(
                "it is for one partition, which the request's partition key header must name",
            )),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every operation by what it needs, so that a new one can't slip through as something less.
    #[test]
    fn the_table_of_rights() {
        let of = |wanted: Right| {
            Operation::ALL
                .iter()
                .filter(|operation| right(**operation) == wanted)
                .map(|operation| format!("{operation:?}"))
                .collect::<Vec<_>>()
                .join(" ")
        };
        assert_eq!(of(Right::Account), "GetDatabaseAccount");
        assert_eq!(of(Right::Container), "GetCollection GetPartitionKeyRanges");
        assert_eq!(
            of(Right::ReadItems),
            "ListDocuments GetDocument QueryDocuments GetQueryPlan ReadChangeFeed ReadFullFidelityFeed ListConflicts GetConflict"
        );
        assert_eq!(
            of(Right::WriteItems),
            "CreateDocument UpsertDocument ReplaceDocument PatchDocument DeleteDocument ExecuteBatch ExecuteBulk DeleteByPartitionKey ExecuteStoredProcedure"
        );
        assert_eq!(
            of(Right::ReadScripts),
            "ListStoredProcedures QueryStoredProcedures GetStoredProcedure ListTriggers QueryTriggers GetTrigger ListUserDefinedFunctions QueryUserDefinedFunctions GetUserDefinedFunction"
        );
        assert_eq!(
            of(Right::ReadCatalog),
            "ListDatabases QueryDatabases GetDatabase ListCollections QueryCollections ListUsers QueryUsers GetUser ListOffers QueryOffers GetOffer"
        );
        for operation in Operation::ALL.iter().filter(|o| right(**o) != Right::Manage) {
            let info = operation.info();
            let writes = right(*operation) == Right::WriteItems;
            let asks = ["x-ms-documentdb-isquery", "x-ms-cosmos-is-query-plan-request"];
            let reads = info.method == "GET" || asks.contains(&info.headers);
            assert!(writes != reads, "{operation:?}: reads {reads}, writes {writes}");
        }
    }
}
