//! The source files that git knows or would take, with their text.

use std::process::Command;

use anyhow::Result;

use crate::context::Context;
use crate::run::quietly;

/// A source file.
#[derive(Debug)]
pub(crate) struct Source {
    /// Relative to the root of the work tree, with `/`.
    pub(crate) path: String,
    pub(crate) text: String,
}

impl Source {
    /// Whether it is Rust.
    pub(crate) fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }
}

const EXTENSIONS: &[&str] = &[".rs", ".py", ".js", ".mjs", ".sh", ".go", ".java"];

/// Reads them all.
pub(crate) fn read(context: &Context) -> Result<Vec<Source>> {
    let listed = quietly(Command::new("git").current_dir(&context.root).args([
        "ls-files",
        "--cached",
        "--others",
        "--exclude-standard",
    ]))?;
    let mut sources = Vec::new();
    for path in listed {
        if EXTENSIONS.iter().any(|extension| path.ends_with(extension)) {
            // A file that was deleted but not yet from git's list is no source any more.
            if let Ok(text) = std::fs::read_to_string(context.root.join(&path)) {
                sources.push(Source { path, text });
            }
        }
    }
    Ok(sources)
}
