//! Remembers from which lock files something was installed: the stamp keeps their text, so a
//! change of any byte installs anew.

use std::path::PathBuf;

use anyhow::{Context as _, Result};

use crate::context::Context;

/// What an installation came from, and where that is remembered.
#[derive(Debug)]
pub(crate) struct Stamp {
    path: PathBuf,
    text: String,
}

impl Stamp {
    /// A stamp for `name`, from files relative to the root of the work tree.
    pub(crate) fn new(context: &Context, name: &str, files: &[&str]) -> Result<Self> {
        let mut text = String::new();
        for file in files {
            let path = context.root.join(file);
            let content =
                std::fs::read_to_string(&path).with_context(|| format!("can't read {}", path.display()))?;
            text.push_str(&format!("# {file}\n{content}\n"));
        }
        Ok(Self {
            path: context.local().join(format!("{name}.stamp")),
            text,
        })
    }

    /// Whether the installation that is there came from the same text.
    pub(crate) fn holds(&self) -> bool {
        std::fs::read_to_string(&self.path).is_ok_and(|text| text == self.text)
    }

    /// Remembers. Called after the installation succeeded, so that a broken one is done again.
    pub(crate) fn leave(&self) -> Result<()> {
        std::fs::write(&self.path, &self.text).with_context(|| format!("can't write {}", self.path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_until_the_text_changes() {
        let folder = tempfile::tempdir().unwrap();
        let stamp = |text: &str| Stamp {
            path: folder.path().join("x.stamp"),
            text: text.to_owned(),
        };
        assert!(!stamp("a").holds());
        stamp("a").leave().unwrap();
        assert!(stamp("a").holds());
        assert!(!stamp("b").holds());
    }
}
