//! The floors of the house: which crate may depend on which. Dependencies point down only; crates
//! on one floor don't know each other; engines are wired in by the binary alone, so that a service
//! can't lean on one of them by accident, not even in its tests.

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::context::Context;

/// Each crate of the product with its floor. ARCHITECTURE.md says what lives there.
const FLOORS: &[(&str, u8)] = &[
    ("ledger", 0),
    ("content", 0),
    ("http-semantics", 0),
    ("ledger-embedded", 1),
    ("ledger-postgres", 1),
    ("content-local", 1),
    ("content-objects", 1),
    ("identity", 2),
    ("encryption", 2),
    ("documents-sql", 2),
    ("scripts", 2),
    ("documents", 3),
    ("blobs", 3),
    ("registry", 3),
    ("vault", 3),
    ("platform-storage", 4),
    ("gateway", 5),
    ("stabbur", 6),
];

/// The floor of the engines.
const ENGINES: u8 = 1;

/// The floor of the binary, the only one that names engines.
const BINARY: u8 = 6;

/// Crates beside the house: they may use it, it may not use them.
const BESIDE: &[&str] = &["xtask", "crash", "nodes", "s3-server"];

/// Of those, servers that stand in for what the house runs on: its tests may use them.
const TEST_SERVERS: &[&str] = &["s3-server"];

/// A dependency between two crates of the workspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Edge {
    from: String,
    to: String,
    /// `normal`, `dev` or `build`.
    kind: String,
}

/// Prints what is wrong; whether nothing is.
pub(crate) fn run(context: &Context) -> Result<bool> {
    let violations = check(context)?;
    for violation in &violations {
        println!("{violation}");
    }
    if violations.is_empty() {
        println!("floors: {} crates, all dependencies point down", FLOORS.len());
    }
    Ok(violations.is_empty())
}

/// All violations in the workspace.
pub(crate) fn check(context: &Context) -> Result<Vec<String>> {
    let (crates, edges) = read(&context.cargo_metadata(&["--no-deps"])?)?;
    Ok(violations(&crates, &edges))
}

fn read(metadata: &Value) -> Result<(Vec<String>, Vec<Edge>)> {
    let packages = metadata
        .get("packages")
        .and_then(Value::as_array)
        .context("metadata has no packages")?;
    let name = |value: &Value| {
        value
            .get("name")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let crates: Vec<String> = packages.iter().map(name).collect();
    let mut edges = Vec::new();
    for package in packages {
        for dependency in package
            .get("dependencies")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            if dependency.get("path").is_some_and(|path| !path.is_null()) {
                let kind = dependency
                    .get("kind")
                    .and_then(Value::as_str)
                    .unwrap_or("normal")
                    .to_owned();
                edges.push(Edge {
                    from: name(package),
                    to: name(dependency),
                    kind,
                });
            }
        }
    }
    Ok((crates, edges))
}

fn floor(name: &str) -> Option<u8> {
    FLOORS
        .iter()
        .find_map(|(known, floor)| (*known == name).then_some(*floor))
}

fn violations(crates: &[String], edges: &[Edge]) -> Vec<String> {
    let mut found = Vec::new();
    for name in crates {
        if floor(name).is_none() && !BESIDE.contains(&name.as_str()) {
            found.push(format!(
                "{name}: stands on no floor; give it one in xtask/src/floors.rs"
            ));
        }
    }
    for Edge { from, to, kind } in edges {
        let (Some(upper), lower) = (floor(from), floor(to)) else {
            continue;
        };
        match lower {
            None if kind == "dev" && TEST_SERVERS.contains(&to.as_str()) => {}
            None => found.push(format!(
                "{from} -> {to} ({kind}): {to} is a tool beside the house"
            )),
            Some(lower) if lower == upper => {
                found.push(format!("{from} -> {to} ({kind}): both stand on floor {upper}"));
            }
            Some(lower) if lower > upper => {
                found.push(format!(
                    "{from} -> {to} ({kind}): floor {upper} looks up to floor {lower}"
                ));
            }
            Some(ENGINES) if upper != BINARY => {
                found.push(format!(
                    "{from} -> {to} ({kind}): only the binary names an engine"
                ));
            }
            Some(_) => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edge(from: &str, to: &str, kind: &str) -> Edge {
        Edge {
            from: from.into(),
            to: to.into(),
            kind: kind.into(),
        }
    }

    #[test]
    fn each_violation_is_found() {
        let cases = [
            (edge("ledger", "documents", "normal"), "looks up"),
            (edge("documents", "blobs", "normal"), "both stand"),
            (edge("blobs", "content-local", "dev"), "only the binary"),
            (
                edge("platform-storage", "ledger-embedded", "normal"),
                "only the binary",
            ),
            (edge("gateway", "crash", "dev"), "tool beside"),
            (edge("content-objects", "s3-server", "normal"), "tool beside"),
        ];
        for (edge, expected) in cases {
            let found = violations(&[], std::slice::from_ref(&edge));
            assert_eq!(found.len(), 1, "{edge:?}: {found:?}");
            assert!(found[0].contains(expected), "{edge:?}: {found:?}");
        }
        assert_eq!(violations(&["newcomer".into()], &[]).len(), 1);
    }

    #[test]
    fn what_points_down_is_let_be() {
        let edges = [
            edge("stabbur", "ledger-embedded", "normal"),
            edge("platform-storage", "blobs", "normal"),
            edge("blobs", "ledger", "dev"),
            edge("crash", "identity", "normal"),
            edge("content-objects", "s3-server", "dev"),
        ];
        assert!(violations(&["crash".into(), "stabbur".into()], &edges).is_empty());
    }

    #[test]
    fn reads_only_paths_from_metadata() {
        let metadata = serde_json::json!({"packages": [
            {"name": "blobs", "dependencies": [
                {"name": "ledger", "path": "/x/ledger", "kind": null},
                {"name": "serde", "kind": null},
                {"name": "content-local", "path": "/x/c", "kind": "dev"}]}]});
        let (crates, edges) = read(&metadata).unwrap();
        assert_eq!(crates, ["blobs"]);
        assert_eq!(
            edges,
            [
                edge("blobs", "ledger", "normal"),
                edge("blobs", "content-local", "dev")
            ]
        );
    }
}
