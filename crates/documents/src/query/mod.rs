//! Queries over a container's items: choose what to read, read it lazily, run the compiled query
//! over it, stop at the page's end with a token that says where to go on.
//!
//! Invariant: an index only narrows. Every document that is read goes through the whole query
//! again, so a wrong choice costs time and never changes an answer. Items that were kept out of the
//! index are found or not by what the query asks, not by what was chosen.

mod batches;
mod candidates;
mod composite;
mod continuation;
mod counting;
mod cursor;
mod feed;
mod group;
mod intersection;
mod lacking;
mod lacking_memory;
pub(crate) mod metrics;
mod number_set;
mod opening;
mod order;
mod ordered;
mod page;
mod plan;
mod pushing;
mod resources;
mod rows;
mod source;
mod waiting;
mod with_functions;

use std::sync::Arc;

use quick_cache::sync::Cache;
use serde_json::Value;

use crate::Documents;
use crate::error::DocumentsError;
use crate::limits::{PAGE_ITEMS_DEFAULT, PAGE_ITEMS_MAX};
use crate::rules::partition_key::PartitionKey;
use crate::scripting::Seat;
use crate::store::Container;

pub(crate) use continuation::FeedToken;
pub(crate) use lacking_memory::LackingMemory;
pub(crate) use page::ItemsRequest;
pub(crate) use plan::Scope;
pub(crate) use resources::query_resources;
pub(crate) use rows::Rows;

/// Parsed query texts: services and applications send the same few again and again.
pub(crate) struct QueryCache(Cache<String, Arc<documents_sql::Query>>);

const CACHED_QUERIES_MAX: usize = 256;
const CACHED_QUERY_BYTES_MAX: usize = 8 * 1024;

impl Default for QueryCache {
    fn default() -> Self {
        Self(Cache::new(CACHED_QUERIES_MAX))
    }
}

impl QueryCache {
    pub(crate) fn parse(&self, sql: &str) -> Result<Arc<documents_sql::Query>, DocumentsError> {
        if let Some(query) = self.0.get(sql) {
            return Ok(query);
        }
        let query = Arc::new(documents_sql::parse(sql)?);
        if sql.len() <= CACHED_QUERY_BYTES_MAX {
            self.0.insert(sql.to_owned(), query.clone());
        }
        Ok(query)
    }
}

/// A page of a query's rows.
#[derive(Debug, Clone, PartialEq)]
pub struct QueryPage {
    /// The rows.
    pub rows: Vec<Value>,
    /// Where to go on; `None` if there is nothing more.
    pub continuation: Option<String>,
}

impl Documents {
    /// Runs one page of a query over a container's items, or over one partition (or the
    /// partitions under a prefix of a hierarchical key).
    ///
    /// `items_max` is bounded by [`PAGE_ITEMS_MAX`]; a page may be shorter, even empty, and still
    /// have a continuation.
    ///
    /// # Errors
    /// 400 for a bad query or continuation, 404 if the container is gone, the ledger's.
    pub async fn query(
        &self,
        container: &Container,
        sql: &str,
        parameters: &[(String, Value)],
        partition_key: Option<&PartitionKey>,
        items_max: usize,
        continuation: Option<&str>,
    ) -> Result<QueryPage, DocumentsError> {
        let container = self.latest(container).await?;
        let snapshot = self.ledger.snapshot().await?;
        let request = ItemsRequest {
            container: &container,
            scope: Scope::new(&container, partition_key)?,
            items_max: items_max.clamp(1, PAGE_ITEMS_MAX),
            continuation,
            // A service above knows what it asks.
            orders_as_the_service: false,
            measured: false,
            staged: false,
        };
        let page = self
            .query_items(
                snapshot.as_ref(),
                &request,
                sql,
                parameters,
                Rows::values(),
                &mut Seat::Own,
            )
            .await?;
        Ok(QueryPage {
            rows: page.rows.into_values(),
            continuation: page.continuation,
        })
    }
}

/// The page size for what a client asks with `x-ms-max-item-count`.
pub(crate) fn items_max(asked: Option<i64>) -> Result<usize, DocumentsError> {
    match asked {
        None | Some(-1) => Ok(PAGE_ITEMS_DEFAULT),
        Some(asked) => match usize::try_from(asked) {
            Ok(asked) if asked > 0 => Ok(asked.min(PAGE_ITEMS_MAX)),
            _ => Err(DocumentsError::bad_request(format!(
                "x-ms-max-item-count is {asked}; it must be -1 or at least 1."
            ))),
        },
    }
}
