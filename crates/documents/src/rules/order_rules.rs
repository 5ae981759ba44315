//! Which ORDER BY the service serves: of one indexed path, of several with a composite index that
//! fits, of a computed property whose path is included by name. What it refuses is refused here as
//! well, so that a query which works in development works there.

use documents_sql::{Access, OrderKey, Path, PathStep, Query, SqlError, SqlErrors};
use serde_json::Value;

use super::index_columns::IndexColumns;
use super::index_policy::{IndexPolicy, NEVER_INDEXED};
use super::index_terms::path_included;
use super::partition_key::parse_path;
use crate::error::DocumentsError;
use crate::limits::{COMPOSITE_INDEX_PATHS_MAX, COMPOSITE_INDEXES_MAX};

/// One composite index: paths, and whether they go down.
pub(crate) type Composite = Vec<(Vec<String>, bool)>;

/// What of a container's indexing policy ORDER BY depends on, beside the paths.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct OrderRules {
    composites: Vec<Composite>,
    /// What is kept of them, each once: indexing has to be on, and their paths such as documents have
    /// when their entries are made.
    indexes: Vec<IndexColumns>,
    /// Included paths that are one name, where computed properties are looked for.
    named: Vec<String>,
}

impl OrderRules {
    /// Reads a container's `indexingPolicy`.
    ///
    /// # Errors
    /// 400 with what is wrong with a composite index.
    pub(crate) fn from_policy(policy: Option<&Value>) -> Result<Self, DocumentsError> {
        let list = |name: &str| {
            policy
                .and_then(|policy| policy.get(name))
                .filter(|list| !list.is_null())
        };
        let mut rules = Self::default();
        if let Some(composites) = list("compositeIndexes") {
            let composites = composites
                .as_array()
                .ok_or_else(|| bad("compositeIndexes must be an array of arrays"))?;
            if composites.len() > COMPOSITE_INDEXES_MAX {
                return Err(bad(&format!(
                    "more than {COMPOSITE_INDEXES_MAX} composite indexes"
                )));
            }
            for composite in composites {
                rules.composites.push(read_composite(composite)?);
            }
        }
        let enabled = list("indexingMode").and_then(Value::as_str) != Some("none");
        for composite in rules.composites.iter().filter(|_| enabled) {
            let columns = columns_of(composite);
            let never = composite.iter().any(|(path, _)| {
                path.first()
                    .is_some_and(|name| NEVER_INDEXED.contains(&name.as_str()))
            });
            if !never && !rules.indexes.contains(&columns) {
                rules.indexes.push(columns);
            }
        }
        let included = list("includedPaths").and_then(Value::as_array);
        for path in included
            .into_iter()
            .flatten()
            .filter_map(|entry| entry.get("path")?.as_str())
        {
            let path = path.trim_end_matches("/?").trim_end_matches("/*");
            if let Some([name]) = parse_path(path).as_deref() {
                rules.named.push(name.clone());
            }
        }
        Ok(rules)
    }

    /// Checks a query's ORDER BY.
    ///
    /// # Errors
    /// 400 as the service words it.
    pub(crate) fn check(
        &self,
        policy: &IndexPolicy,
        query: &Query,
        access: &Access,
    ) -> Result<(), DocumentsError> {
        let terms = &access.order_terms;
        for (at, (key, _)) in terms.iter().enumerate() {
            let served = match key {
                OrderKey::Path(path) => path_included(policy, path) || self.is_composite_path(path),
                OrderKey::Computed(name) => policy.enabled && self.named.contains(name),
                OrderKey::Nearness => true,
                OrderKey::Expression => {
                    let span = query
                        .order_by
                        .get(at)
                        .map(|term| term.expr.span)
                        .unwrap_or_default();
                    return Err(DocumentsError::Query(SqlErrors::from(SqlError {
                        code: "SC2206",
                        message: "Unsupported ORDER BY clause. ORDER BY item expression could not be mapped to a document path.".to_owned(),
                        start: span.start,
                        end: span.end,
                    })));
                }
            };
            if !served {
                return Err(refused(
                    "The index path corresponding to the specified order-by item is excluded.",
                ));
            }
        }
        let paths = terms.len() > 1 && terms.iter().all(|(key, _)| matches!(key, OrderKey::Path(_)));
        if paths && !self.composites.iter().any(|composite| fits(composite, terms)) {
            return Err(refused(
                "The order by query does not have a corresponding composite index that it can be served from.",
            ));
        }
        Ok(())
    }

    /// The columns of the composite indexes that are kept.
    pub(crate) fn indexes(&self) -> &[IndexColumns] {
        &self.indexes
    }

    /// The composite index with these columns, as the policy writes it.
    pub(crate) fn composite_of(&self, columns: &IndexColumns) -> Option<&Composite> {
        self.composites
            .iter()
            .find(|composite| columns_of(composite) == *columns)
    }

    fn is_composite_path(&self, path: &Path) -> bool {
        let mut columns = self.composites.iter().flatten();
        columns.any(|(column, _)| same_path(column, path))
    }
}

fn bad(why: &str) -> DocumentsError {
    DocumentsError::bad_request(format!("The indexing policy is invalid: {why}."))
}

fn refused(why: &str) -> DocumentsError {
    DocumentsError::bad_request(serde_json::json!({ "Errors": [why] }).to_string())
}

fn read_composite(composite: &Value) -> Result<Composite, DocumentsError> {
    let columns = composite
        .as_array()
        .ok_or_else(|| bad("a composite index must be an array of paths"))?;
    if !(2..=COMPOSITE_INDEX_PATHS_MAX).contains(&columns.len()) {
        return Err(bad(&format!(
            "a composite index has 2 to {COMPOSITE_INDEX_PATHS_MAX} paths"
        )));
    }
    let mut read = Vec::with_capacity(columns.len());
    for column in columns {
        let path = column.get("path").and_then(Value::as_str).and_then(parse_path);
        let path =
            path.ok_or_else(|| bad("a path of a composite index must be like /name or /outer/inner"))?;
        let descending = match column.get("order") {
            None | Some(Value::Null) => false,
            Some(Value::String(order)) if order.eq_ignore_ascii_case("ascending") => false,
            Some(Value::String(order)) if order.eq_ignore_ascii_case("descending") => true,
            Some(_) => return Err(bad("a composite index's order must be ascending or descending")),
        };
        read.push((path, descending));
    }
    Ok(read)
}

fn columns_of(composite: &Composite) -> IndexColumns {
    IndexColumns::new(composite.iter().map(|(path, descending)| (path, *descending)))
}

fn same_path(names: &[String], path: &Path) -> bool {
    names.len() == path.len()
        && names
            .iter()
            .zip(path)
            .all(|(name, step)| matches!(step, PathStep::Name(found) if found == name))
}

/// The same columns in the same order, all directions equal or all reversed.
fn fits(composite: &Composite, terms: &[(OrderKey, bool)]) -> bool {
    let columns = composite.len() == terms.len()
        && composite
            .iter()
            .zip(terms)
            .all(|((column, _), (key, _))| matches!(key, OrderKey::Path(path) if same_path(column, path)));
    let turned = |reversed: bool| {
        composite
            .iter()
            .zip(terms)
            .all(|((_, column), (_, term))| (column != term) == reversed)
    };
    columns && (turned(false) || turned(true))
}

#[cfg(test)]
mod tests {
    use documents_sql::Compiled;
    use serde_json::json;

    use super::*;
    use crate::rules::index_policy::normalise;

    fn check(policy: &Value, order: &str) -> Result<(), String> {
        let policy = normalise(Some(policy)).unwrap();
        let rules = OrderRules::from_policy(Some(&policy)).unwrap();
        let query = documents_sql::parse(&format!("SELECT c.id FROM c ORDER BY {order}")).unwrap();
        let compiled = Compiled::compile(&query, &[]).unwrap();
        let policy = IndexPolicy::from_value(&policy).unwrap();
        rules
            .check(&policy, &query, compiled.access())
            .map_err(|error| error.public_message())
    }

    #[test]
    fn what_the_service_serves() {
        let composite = json!({"compositeIndexes": [[
            {"path": "/a", "order": "ascending"}, {"path": "/b/c", "order": "descending"},
        ]]});
        let narrow = json!({"includedPaths": [{"path": "/a/?"}], "excludedPaths": [{"path": "/*"}]});
        let table: [(Value, &str, &str); 14] = [
            (json!({}), "c.a", ""),
            (json!({}), "c.a.b DESC", ""),
            (json!({}), "c.a, c.b", "composite index"),
            (composite.clone(), "c.a, c.b.c DESC", ""),
            (composite.clone(), "c.a DESC, c.b.c", ""),
            (composite.clone(), "c.a, c.b.c", "composite index"),
            (composite.clone(), "c.b.c DESC, c.a", "composite index"),
            (composite.clone(), "c.a, c.b.c DESC, c.d", "composite index"),
            (composite, "c.a", ""),
            (narrow.clone(), "c.a", ""),
            (narrow.clone(), "c.b", "is excluded"),
            (narrow, "c._ts", ""),
            (json!({"indexingMode": "none"}), "c.a", "is excluded"),
            (json!({}), "LOWER(c.a)", "SC2206"),
        ];
        for (policy, order, wanted) in table {
            match check(&policy, order) {
                Ok(()) => assert_eq!(wanted, "", "{policy} {order}"),
                Err(error) => assert!(
                    !wanted.is_empty() && error.contains(wanted),
                    "{policy} {order}: {error}"
                ),
            }
        }
    }

    #[test]
    fn composite_indexes_that_are_kept() {
        let pair = |a: &str, b: &str, order: &str| json!([{"path": a}, {"path": b, "order": order}]);
        let turned = json!([{"path": "/a", "order": "descending"}, {"path": "/b", "order": "descending"}]);
        let all = json!([
            pair("/a", "/b", "ascending"),
            turned,
            pair("/a", "/b", "descending"),
            pair("/a", "/_etag", "ascending"),
            pair("/a", "/_ts", "ascending"),
        ]);
        let rules = OrderRules::from_policy(Some(&json!({"compositeIndexes": all}))).unwrap();
        assert_eq!(rules.indexes().len(), 3, "{:?}", rules.indexes());
        let first = rules.composite_of(&rules.indexes()[0]).unwrap();
        assert_eq!(first[1], (vec!["b".to_owned()], false));
        let none = json!({"compositeIndexes": all, "indexingMode": "none"});
        assert!(OrderRules::from_policy(Some(&none)).unwrap().indexes().is_empty());
    }

    #[test]
    fn composite_indexes_are_checked() {
        for bad in [
            json!({"compositeIndexes": {}}),
            json!({"compositeIndexes": [[]]}),
            json!({"compositeIndexes": [[{"path": "/a"}]]}),
            json!({"compositeIndexes": [[{"path": "/a"}, {"path": "b"}]]}),
            json!({"compositeIndexes": [[{"path": "/a"}, {"path": "/b", "order": "up"}]]}),
            json!({"compositeIndexes": [vec![json!({"path": "/a"}); 9]]}),
            json!({"compositeIndexes": vec![json!([{"path": "/a"}, {"path": "/b"}]); 101]}),
        ] {
            assert_eq!(
                OrderRules::from_policy(Some(&bad)).unwrap_err().status(),
                400,
                "{bad}"
            );
        }
    }
}
