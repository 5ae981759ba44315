//! A file per operation of the protocol, named as the protocol names it.

mod create_collection;
mod create_database;
mod create_document;
mod create_permission;
mod create_stored_procedure;
mod create_trigger;
mod create_user;
mod create_user_defined_function;
mod delete_by_partition_key;
mod delete_collection;
mod delete_database;
mod delete_document;
mod delete_permission;
mod delete_stored_procedure;
mod delete_trigger;
mod delete_user;
mod delete_user_defined_function;
mod execute_batch;
mod execute_bulk;
mod execute_stored_procedure;
mod get_collection;
mod get_database;
mod get_database_account;
mod get_document;
mod get_offer;
mod get_partition_key_ranges;
mod get_permission;
mod get_query_plan;
mod get_stored_procedure;
mod get_trigger;
mod get_user;
mod get_user_defined_function;
pub(crate) mod item_action;
mod list_collections;
mod list_conflicts;
mod list_databases;
mod list_documents;
mod list_offers;
mod list_permissions;
mod list_stored_procedures;
mod list_triggers;
mod list_user_defined_functions;
mod list_users;
mod patch_document;
mod permission_token;
mod query_collections;
mod query_databases;
mod query_documents;
mod query_offers;
mod query_permissions;
mod query_stored_procedures;
mod query_triggers;
mod query_user_defined_functions;
mod query_users;
mod read_change_feed;
mod read_full_fidelity_feed;
mod replace_collection;
mod replace_document;
mod replace_offer;
mod replace_permission;
mod replace_stored_procedure;
mod replace_trigger;
mod replace_user;
mod replace_user_defined_function;
mod script_resource;
mod triggers;
mod upsert_document;

use crate::error::DocumentsError;
use crate::operation::Operation;
use crate::wire::answer::Answer;
use crate::wire::call::Call;

/// Runs an operation.
pub(crate) async fn run(operation: Operation, call: &Call<'_>) -> Result<Answer, DocumentsError> {
    match operation {
        Operation::GetDatabaseAccount => get_database_account::run(call),
        Operation::CreateDatabase => create_database::run(call).await,
        Operation::ListDatabases => list_databases::run(call).await,
        Operation::QueryDatabases => query_databases::run(call).await,
        Operation::GetDatabase => get_database::run(call).await,
        Operation::DeleteDatabase => delete_database::run(call).await,
        Operation::CreateCollection => create_collection::run(call).await,
        Operation::ListCollections => list_collections::run(call).await,
        Operation::QueryCollections => query_collections::run(call).await,
        Operation::GetCollection => get_collection::run(call).await,
        Operation::ReplaceCollection => replace_collection::run(call).await,
        Operation::DeleteCollection => delete_collection::run(call).await,
        Operation::GetPartitionKeyRanges => get_partition_key_ranges::run(call).await,
        Operation::CreateDocument => create_document::run(call).await,
        Operation::UpsertDocument => upsert_document::run(call).await,
        Operation::ListDocuments => list_documents::run(call).await,
        Operation::GetDocument => get_document::run(call).await,
        Operation::ReplaceDocument => replace_document::run(call).await,
        Operation::PatchDocument => patch_document::run(call).await,
        Operation::DeleteDocument => delete_document::run(call).await,
        Operation::QueryDocuments => query_documents::run(call).await,
        Operation::GetQueryPlan => get_query_plan::run(call).await,
        Operation::ExecuteBatch => execute_batch::run(call).await,
        Operation::ExecuteBulk => execute_bulk::run(call).await,
        Operation::ReadChangeFeed => read_change_feed::run(call).await,
        Operation::ReadFullFidelityFeed => read_full_fidelity_feed::run(call).await,
        Operation::DeleteByPartitionKey => delete_by_partition_key::run(call).await,
        Operation::ListConflicts => list_conflicts::run(call).await,
        Operation::CreateUser => create_user::run(call).await,
        Operation::ListUsers => list_users::run(call).await,
        Operation::QueryUsers => query_users::run(call).await,
        Operation::GetUser => get_user::run(call).await,
        Operation::ReplaceUser => replace_user::run(call).await,
        Operation::DeleteUser => delete_user::run(call).await,
        Operation::CreatePermission => create_permission::run(call).await,
        Operation::ListPermissions => list_permissions::run(call).await,
        Operation::QueryPermissions => query_permissions::run(call).await,
        Operation::GetPermission => get_permission::run(call).await,
        Operation::ReplacePermission => replace_permission::run(call).await,
        Operation::DeletePermission => delete_permission::run(call).await,
        Operation::ListOffers => list_offers::run(call).await,
        Operation::QueryOffers => query_offers::run(call).await,
        Operation::GetOffer => get_offer::run(call).await,
        Operation::ReplaceOffer => replace_offer::run(call).await,
        Operation::CreateStoredProcedure => create_stored_procedure::run(call).await,
        Operation::ListStoredProcedures => list_stored_procedures::run(call).await,
        Operation::QueryStoredProcedures => query_stored_procedures::run(call).await,
        Operation::GetStoredProcedure => get_stored_procedure::run(call).await,
        Operation::ReplaceStoredProcedure => replace_stored_procedure::run(call).await,
        Operation::DeleteStoredProcedure => delete_stored_procedure::run(call).await,
        Operation::CreateTrigger => create_trigger::run(call).await,
        Operation::ListTriggers => list_triggers::run(call).await,
        Operation::QueryTriggers => query_triggers::run(call).await,
        Operation::GetTrigger => get_trigger::run(call).await,
        Operation::ReplaceTrigger => replace_trigger::run(call).await,
        Operation::DeleteTrigger => delete_trigger::run(call).await,
        Operation::CreateUserDefinedFunction => create_user_defined_function::run(call).await,
        Operation::ListUserDefinedFunctions => list_user_defined_functions::run(call).await,
        Operation::QueryUserDefinedFunctions => query_user_defined_functions::run(call).await,
        Operation::GetUserDefinedFunction => get_user_defined_function::run(call).await,
        Operation::ReplaceUserDefinedFunction => replace_user_defined_function::run(call).await,
        Operation::DeleteUserDefinedFunction => delete_user_defined_function::run(call).await,
        Operation::ExecuteStoredProcedure => execute_stored_procedure::run(call).await,
        // The router refuses these; a new one that it doesn't know yet is refused here.
        other => Err(DocumentsError::NotImplemented(format!(
            "{} is not served.",
            other.info().name
        ))),
    }
}
