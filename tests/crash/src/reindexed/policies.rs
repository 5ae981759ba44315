//! The indexing policies that a container is switched between, and what may be asked under each.

use serde_json::{Value, json};

/// A composite index: paths, and whether they go down.
pub(super) type Composite = &'static [(&'static str, bool)];

const BY_GROUP: Composite = &[("group", false), ("n", true)];
const BY_NUMBER: Composite = &[("n", false), ("stamp", false)];

/// A policy.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Policy {
    /// For reports.
    pub(super) name: &'static str,
    included: &'static [&'static str],
    excluded: &'static [&'static str],
    pub(super) composites: &'static [Composite],
    /// Whether there is an index at all.
    pub(super) enabled: bool,
    /// Whether `/n` is indexed, without which nothing is ordered by it.
    pub(super) orders_by_number: bool,
}

/// All of them. Two have a composite index in common, which the switch keeps.
pub(super) static ALL: [Policy; 5] = [
    Policy {
        name: "all paths",
        included: &["/*"],
        excluded: &[],
        composites: &[],
        enabled: true,
        orders_by_number: true,
    },
    Policy {
        name: "without some paths, a composite index",
        included: &["/*"],
        excluded: &["/text/?", "/tags/*"],
        composites: &[BY_GROUP],
        enabled: true,
        orders_by_number: true,
    },
    Policy {
        name: "one path, two composite indexes",
        included: &["/group/?"],
        excluded: &["/*"],
        composites: &[BY_NUMBER, BY_GROUP],
        enabled: true,
        orders_by_number: false,
    },
    Policy {
        name: "none",
        included: &[],
        excluded: &[],
        composites: &[],
        enabled: false,
        orders_by_number: false,
    },
    Policy {
        name: "all paths, another composite index",
        included: &["/*"],
        excluded: &[],
        composites: &[BY_NUMBER],
        enabled: true,
        orders_by_number: true,
    },
];

impl Policy {
    /// As it is sent, and as the service shows it: everything that it would fill in is there.
    pub(super) fn body(&self) -> Value {
        if !self.enabled {
            return json!({"indexingMode": "none", "automatic": false, "includedPaths": [], "excludedPaths": []});
        }
        let paths =
            |paths: &[&str]| -> Vec<Value> { paths.iter().map(|path| json!({ "path": path })).collect() };
        let mut excluded = paths(self.excluded);
        excluded.push(json!({"path": "/\"_etag\"/?"}));
        let column = |(path, down): &(&str, bool)| {
            let order = if *down { "descending" } else { "ascending" };
            json!({"path": format!("/{path}"), "order": order})
        };
        let composites: Vec<Vec<Value>> = self
            .composites
            .iter()
            .map(|composite| composite.iter().map(column).collect())
            .collect();
        json!({
            "indexingMode": "consistent", "automatic": true, "includedPaths": paths(self.included),
            "excludedPaths": excluded, "compositeIndexes": composites,
        })
    }
}
