//! What came, and what was left out and why: counted, printed at the end, and kept whole in a file if one is named.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use indicatif::{HumanBytes, ProgressBar};
use platform_storage::import::Standing;
use serde_json::json;

/// What was left out, of which so many are printed; all are in the file.
const SHOWN_MAX: usize = 100;

/// All of it.
#[derive(Debug)]
pub(super) struct Report {
    applications: u64,
    texts: u64,
    came: u64,
    changed: u64,
    known: u64,
    elements: u64,
    events: u64,
    bytes: u64,
    left_out: u64,
    /// Of these, those that are left out because of what is here.
    settled: u64,
    /// Instances that were removed here; no fault.
    removed: u64,
    shown: Vec<String>,
    notes: Vec<String>,
    file: Option<File>,
    /// Instances that were looked at, and how many there are, if that is known.
    looked_at: u64,
    of: Option<u64>,
}

impl Report {
    /// An empty one, with a file that takes all that is left out, a JSON line each.
    pub(super) fn new(file: Option<&Path>) -> Result<Self> {
        let file =
            file.map(|path| File::create(path).with_context(|| format!("--report {}", path.display())));
        Ok(Self {
            applications: 0,
            texts: 0,
            came: 0,
            changed: 0,
            known: 0,
            elements: 0,
            events: 0,
            bytes: 0,
            left_out: 0,
            settled: 0,
            removed: 0,
            shown: Vec::new(),
            notes: Vec::new(),
            file: file.transpose()?,
            looked_at: 0,
            of: None,
        })
    }

    /// Counts an application's metadata.
    pub(super) fn application(&mut self, came: bool) {
        self.applications += u64::from(came);
    }

    /// Counts an application's texts in one language.
    pub(super) fn text(&mut self, came: bool) {
        self.texts += u64::from(came);
    }

    /// Counts bytes of content as they come.
    pub(super) fn bytes(&mut self, bytes: u64) {
        self.bytes += bytes;
    }

    /// Counts an instance that was written, with its elements and events.
    pub(super) fn instance(&mut self, standing: Standing, elements: usize, events: usize) {
        match standing {
            Standing::Changed => self.changed += 1,
            _ => self.came += 1,
        }
        self.elements += elements as u64;
        self.events += events as u64;
    }

    /// Notes how an instance stands that isn't written.
    pub(super) fn stays(&mut self, what: &str, standing: Standing) -> Result<()> {
        match standing {
            Standing::New | Standing::Changed => Ok(()),
            Standing::Known => {
                self.known += 1;
                Ok(())
            }
            Standing::ChangedHere => self.stay(what, "was changed here since it came, and is left as it is"),
            Standing::NotFromThere => self.stay(what, "is here already and didn't come from there"),
            Standing::RemovedHere => {
                self.removed += 1;
                self.name(what, "was removed here since it came, and doesn't come again")
            }
        }
    }

    /// Notes what is left out because of what is here: reading it again wouldn't change that.
    fn stay(&mut self, what: &str, why: &str) -> Result<()> {
        self.leave_out(what, why)?;
        self.settled += 1;
        Ok(())
    }

    /// Notes what was left out, and why.
    pub(super) fn leave_out(&mut self, what: &str, why: &str) -> Result<()> {
        self.left_out += 1;
        self.name(what, why)
    }

    fn name(&mut self, what: &str, why: &str) -> Result<()> {
        tracing::debug!(what, why, "left out");
        if self.shown.len() < SHOWN_MAX {
            self.shown.push(format!("{what}: {why}"));
        }
        if let Some(file) = &mut self.file {
            writeln!(file, "{}", json!({"what": what, "why": why})).context("--report")?;
        }
        Ok(())
    }

    /// Whether nothing was left out so far that another run may bring.
    pub(super) fn is_complete(&self) -> bool {
        self.left_out == self.settled
    }

    /// Something that people should know, and that isn't wrong.
    pub(super) fn note(&mut self, what: String) {
        self.notes.push(what);
    }

    /// How many instances there are.
    pub(super) fn expect(&mut self, instances: usize) {
        self.of = Some(instances as u64);
    }

    /// Shows how far it is, behind an instance.
    pub(super) fn show(&mut self, bar: &ProgressBar) {
        self.looked_at += 1;
        let of = self.of.map_or_else(String::new, |of| format!(" of {of}"));
        bar.set_message(format!(
            "{}{of} instances: {} came, {} known, {} left out; {} elements, {}",
            self.looked_at,
            self.came + self.changed,
            self.known,
            self.left_out,
            self.elements,
            HumanBytes(self.bytes)
        ));
    }

    /// Prints it; an error if anything was left out.
    #[allow(clippy::print_stdout, reason = "this is what the command prints for people")]
    pub(super) fn conclude(&self) -> Result<()> {
        println!(
            "{} instances came, {} came anew, {} were here as they are there: {} elements ({} bytes), {} events",
            self.came, self.changed, self.known, self.elements, self.bytes, self.events
        );
        println!("{} applications and {} texts came", self.applications, self.texts);
        for note in &self.notes {
            println!("note: {note}");
        }
        for line in &self.shown {
            println!("left out: {line}");
        }
        if self.left_out > 0 {
            let named = self.left_out + self.removed;
            let more = named.saturating_sub(self.shown.len() as u64);
            let more = if more > 0 {
                format!(", {more} of them only in the file that --report names")
            } else {
                String::new()
            };
            bail!(
                "{} left out{more}; run the same command again when they are mended",
                self.left_out
            );
        }
        Ok(())
    }
}
