//! What the server has counted since it began, from its `/metrics`.

use anyhow::{Context as _, Result};

use super::client::Client;

/// The ledger's counters.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Counters {
    pub commits: f64,
    pub syncs: f64,
    pub conflicts: f64,
}

impl Counters {
    /// Reads them now.
    pub async fn read(admin: &str) -> Result<Self> {
        Self::parse(&Client::open(admin).await?.read("/metrics").await?)
    }

    fn parse(text: &str) -> Result<Self> {
        let of = |name: &str| {
            let begin = format!("stabbur_store{{name=\"ledger_{name}\"}} ");
            let line = text.lines().find_map(|line| line.strip_prefix(&begin));
            let value = line.with_context(|| format!("/metrics says nothing of {name}"))?;
            value.trim().parse::<f64>().context("a counter")
        };
        Ok(Self {
            commits: of("commits")?,
            syncs: of("syncs")?,
            conflicts: of("conflicts")?,
        })
    }

    /// What was counted since `before`.
    pub fn since(self, before: Self) -> Self {
        Self {
            commits: self.commits - before.commits,
            syncs: self.syncs - before.syncs,
            conflicts: self.conflicts - before.conflicts,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_metrics_say() {
        let text = "# HELP x\nstabbur_store{name=\"ledger_commits\"} 7\nstabbur_store{name=\"ledger_syncs\"} 3\n\
                    stabbur_store{name=\"ledger_conflicts\"} 0\n";
        let counters = Counters::parse(text).unwrap();
        assert_eq!(counters.syncs, 3.0);
        assert_eq!(counters.since(counters).commits, 0.0);
        assert!(Counters::parse("").is_err());
    }
}
