//! Containers and queries without the wire.

use std::sync::Arc;

use documents::{Container, ContainerSpec, PartitionKey};
use serde_json::Value;

use super::Fixture;

/// See [`Fixture::container`].
pub fn spec(name: &str, policy: Option<Value>) -> ContainerSpec {
    ContainerSpec {
        account: "test".to_owned(),
        database: "d".to_owned(),
        container: name.to_owned(),
        partition_key_paths: vec!["/pk".to_owned()],
        default_ttl: None,
        indexing_policy: policy,
    }
}

impl Fixture {
    /// A container with partition key `/pk` in database `d`, as [`documents::Documents::ensure_container`]
    /// makes it.
    pub async fn container(&self, name: &str, policy: Option<Value>) -> Arc<Container> {
        self.documents
            .ensure_container(&spec(name, policy))
            .await
            .unwrap()
    }

    /// The rows of all pages of a query, in which `@p` is `"a"`.
    pub async fn all_rows(
        &self,
        container: &Container,
        sql: &str,
        key: Option<&PartitionKey>,
        page: usize,
    ) -> Vec<Value> {
        let parameters = [("@p".to_owned(), Value::from("a"))];
        let mut rows = Vec::new();
        let mut continuation: Option<String> = None;
        loop {
            let found = self
                .documents
                .query(container, sql, &parameters, key, page, continuation.as_deref())
                .await;
            let found = found.unwrap_or_else(|error| panic!("{sql}: {error}"));
            assert!(found.rows.len() <= page);
            rows.extend(found.rows);
            match found.continuation {
                Some(next) => continuation = Some(next),
                None => return rows,
            }
        }
    }
}
