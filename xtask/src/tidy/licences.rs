//! Licences and sources of all dependencies, from cargo's own metadata. An SPDX expression is
//! allowed if one of its OR branches has only allowed licences.

use std::process::Command;

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::context::Context;
use crate::run::quietly;

const ALLOWED: &[&str] = &[
    "MIT",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "0BSD",
    "ISC",
    "Zlib",
    "Unicode-3.0",
    "MPL-2.0",
    "CC0-1.0",
    "Unlicense",
];

/// Single packages under a licence that isn't on the list, each with its reason.
const EXCEPTIONS: &[(&str, &str)] = &[
    // Boost Software License: permissive, asks for no notice in binaries. The embedded ledger's
    // engine (fjall) hashes with it.
    ("xxhash-rust", "BSL-1.0"),
];

/// What breaks the rule that nothing comes from a git repository.
pub(crate) fn git_sources(context: &Context) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for lock in [
        "Cargo.lock",
        "benches/peers/Cargo.lock",
        "fuzz/Cargo.lock",
        "tests/clients/rust/Cargo.lock",
    ] {
        let Ok(text) = std::fs::read_to_string(context.root.join(lock)) else {
            continue;
        };
        for line in text.lines().filter(|line| line.starts_with("source = \"git+")) {
            found.push(format!("{lock}: {line}"));
        }
    }
    Ok(found)
}

/// Packages whose licence isn't allowed, of those that are built on this machine's platform.
pub(crate) fn refused(context: &Context) -> Result<Vec<String>> {
    let host = host(context)?;
    let metadata = context.cargo_metadata(&["--filter-platform", &host])?;
    let packages = metadata
        .get("packages")
        .and_then(Value::as_array)
        .context("metadata has no packages")?;
    let text = |package: &Value, field: &str| {
        package
            .get(field)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    Ok(packages
        .iter()
        .filter(|package| {
            let (name, licence) = (text(package, "name"), text(package, "license"));
            !allowed(&licence) && !EXCEPTIONS.contains(&(name.as_str(), licence.as_str()))
        })
        .map(|package| {
            let licence = text(package, "license");
            format!(
                "{} {}: licence {licence:?}",
                text(package, "name"),
                text(package, "version")
            )
        })
        .collect())
}

fn host(context: &Context) -> Result<String> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let lines = quietly(Command::new(rustc).arg("-vV").current_dir(&context.root))?;
    let host = lines.iter().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned)
        .context("rustc doesn't say for which host it builds")
}

/// Evaluates an SPDX expression, `/` being an old form of OR.
fn allowed(expression: &str) -> bool {
    let spaced = expression
        .replace('/', " OR ")
        .replace('(', " ( ")
        .replace(')', " ) ");
    let mut words = spaced.split_whitespace().peekable();
    let value = either(&mut words);
    value && words.next().is_none()
}

type Words<'a, 'b> = &'a mut std::iter::Peekable<std::str::SplitWhitespace<'b>>;

fn either(words: Words<'_, '_>) -> bool {
    let mut value = both(words);
    while words.next_if_eq(&"OR").is_some() {
        value |= both(words);
    }
    value
}

fn both(words: Words<'_, '_>) -> bool {
    let mut value = one(words);
    while words.next_if_eq(&"AND").is_some() {
        value &= one(words);
    }
    value
}

fn one(words: Words<'_, '_>) -> bool {
    match words.next() {
        None => false,
        Some("(") => {
            let value = either(words);
            words.next_if_eq(&")").is_some() && value
        }
        Some(name) => {
            if words.next_if_eq(&"WITH").is_some() {
                let full = format!("{name} WITH {}", words.next().unwrap_or_default());
                return ALLOWED.contains(&full.as_str());
            }
            ALLOWED.contains(&name)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn evaluates_expressions() {
        for expression in [
            "MIT",
            "MIT OR Apache-2.0",
            "MIT/Apache-2.0",
            "GPL-3.0 OR MIT",
            "ISC AND (Apache-2.0 OR OpenSSL)",
            "Apache-2.0 WITH LLVM-exception OR GPL-2.0",
        ] {
            assert!(allowed(expression), "{expression}");
        }
        for expression in [
            "",
            "GPL-3.0",
            "MIT AND GPL-3.0",
            "(MIT",
            "MIT MIT",
            "Apache-2.0 WITH Unknown",
            "ISC AND (OpenSSL)",
        ] {
            assert!(!allowed(expression), "{expression}");
        }
    }
}
