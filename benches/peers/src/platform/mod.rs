//! Platform Storage: a store full of instances, lists of them, and virtual users who live the lives of instances.
//! There is no peer: the original runs in Azure alone, so the report compares with aims.

mod book;
mod client;
mod counters;
mod estate;
mod life;
mod lists;
mod population;

use std::path::PathBuf;

use anyhow::Result;

use self::estate::{Estate, Tokens};
use crate::load::Plan;
use crate::process::{folder_bytes, peak_bytes, quiet, reset_peak};
use crate::sample::fact;

/// Who is measured and with how much.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Base of the platform, such as `http://127.0.0.1:5101`.
    url: String,
    /// Base of the admin listener, whose `/metrics` count commits and syncs.
    #[arg(long)]
    admin: String,
    /// The server's data, whose bytes are counted.
    #[arg(long)]
    folder: PathBuf,
    /// Instances to make first.
    #[arg(long, default_value_t = 100_000)]
    instances: u64,
    /// Parties whose they are; the server's register knows them (a user each).
    #[arg(long)]
    parties: u64,
}

impl Arguments {
    /// Fills the store, measures lists, then lives; prints samples and facts.
    pub async fn run(&self, plan: &Plan) -> Result<()> {
        let estate = Estate::new(self.instances, self.parties)?;
        let tokens = Tokens::fetch(&self.url, estate, plan.concurrency).await?;
        estate::publish(&self.url, &tokens).await?;
        reset_peak(&plan.pids)?;
        let calls = population::run(plan, &self.url, estate, &tokens).await?;
        fact("load_calls", calls as f64, 0.0);
        quiet(&self.folder).await?;
        fact("disk_bytes", folder_bytes(&self.folder)? as f64, 0.0);
        lists::run(plan, &self.url, estate, &tokens).await?;
        life::run(plan, &self.url, &self.admin, &tokens).await?;
        fact("peak_bytes", peak_bytes(&plan.pids)? as f64, 0.0);
        Ok(())
    }
}
