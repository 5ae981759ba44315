//! Where the server keeps ledger and content, in all combinations, and what has to run for that:
//! a PostgreSQL and an S3 server of the run's own.

use std::fmt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};
use clap::ValueEnum;

use crate::bench::peers::{Peer, Postgres, fresh_folder, wait_until};
use crate::context::Context;
use crate::run::quietly;

/// Where the ledger is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Ledger {
    /// In the data folder.
    Embedded,
    /// In a PostgreSQL database.
    Postgres,
}

/// Where content is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Content {
    /// In the data folder.
    Local,
    /// In an S3 bucket.
    S3,
}

/// Both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Combination {
    pub(crate) ledger: Ledger,
    pub(crate) content: Content,
}

impl Combination {
    /// All there are; the first is what runs without anything beside it.
    pub(crate) const ALL: [Self; 4] = [
        Self::new(Ledger::Embedded, Content::Local),
        Self::new(Ledger::Embedded, Content::S3),
        Self::new(Ledger::Postgres, Content::Local),
        Self::new(Ledger::Postgres, Content::S3),
    ];

    pub(crate) const fn new(ledger: Ledger, content: Content) -> Self {
        Self { ledger, content }
    }
}

impl fmt::Display for Combination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ledger = match self.ledger {
            Ledger::Embedded => "embedded",
            Ledger::Postgres => "postgres",
        };
        let content = match self.content {
            Content::Local => "local",
            Content::S3 => "s3",
        };
        write!(f, "{ledger} + {content}")
    }
}

/// The S3 server for tests, built without optimisation as the crates' tests have it already.
pub(crate) fn build_s3_server(context: &Context) -> Result<PathBuf> {
    quietly(context.cargo().args(["build", "--package", "s3-server"]))?;
    Ok(context.target.join("debug/s3-server"))
}

/// A running S3 server with an empty bucket.
#[derive(Debug)]
struct S3Server {
    folder: PathBuf,
    /// Held for its end.
    _peer: Peer,
}

impl S3Server {
    fn start(context: &Context) -> Result<Self> {
        let program = build_s3_server(context)?;
        let folder = fresh_folder(context, "s3")?;
        let child = Command::new(program)
            .arg("--until-stdin-closes")
            .arg("--folder")
            .arg(&folder)
            .stdin(Stdio::piped())
            .spawn()
            .context("can't start the S3 server")?;
        let server = Self {
            folder: folder.clone(),
            _peer: Peer {
                child,
                folder,
                signal: "-INT",
            },
        };
        let config = server.config();
        wait_until("the S3 server", || config.exists())?;
        Ok(server)
    }

    /// A file as `--content-config` takes it, without a prefix.
    fn config(&self) -> PathBuf {
        self.folder.join("content.toml")
    }

    /// The same below a prefix.
    fn config_below(&self, prefix: &str) -> Result<PathBuf> {
        let text = std::fs::read_to_string(self.config()).context("the S3 server's content.toml")?;
        let path = self.folder.join(format!("{prefix}.toml"));
        std::fs::write(&path, format!("{text}prefix = \"{prefix}\"\n")).context("a content.toml")?;
        Ok(path)
    }
}

/// What a combination needs, running.
#[derive(Debug)]
pub(crate) struct Surroundings {
    postgres: Option<Postgres>,
    s3: Option<S3Server>,
}

impl Surroundings {
    pub(crate) fn start(context: &Context, combination: Combination) -> Result<Self> {
        Ok(Self {
            postgres: match combination.ledger {
                Ledger::Embedded => None,
                Ledger::Postgres => Some(Postgres::start(context)?),
            },
            s3: match combination.content {
                Content::Local => None,
                Content::S3 => Some(S3Server::start(context)?),
            },
        })
    }

    /// The database, if the ledger is in one.
    pub(crate) fn postgres(&self) -> Option<&Postgres> {
        self.postgres.as_ref()
    }

    /// Tells the clients' tests, which give each of their servers a database and a prefix of its own.
    pub(crate) fn tell(&self, command: &mut Command) {
        command
            .env_remove("STABBUR_POSTGRES")
            .env_remove("STABBUR_CONTENT");
        if let Some(postgres) = &self.postgres {
            command.env("STABBUR_POSTGRES", postgres.parameters());
        }
        if let Some(s3) = &self.s3 {
            command.env("STABBUR_CONTENT", s3.config());
        }
    }

    /// Arguments that lead to a new database of this name, if the ledger is in one.
    pub(crate) fn ledger_arguments(&self, name: &str) -> Result<Vec<String>> {
        match &self.postgres {
            Some(postgres) => Ok(vec!["--ledger-postgres".to_owned(), postgres.new_database(name)?]),
            None => Ok(Vec::new()),
        }
    }

    /// Arguments that lead to an unused prefix of this name, if content is in the object store.
    pub(crate) fn content_arguments(&self, name: &str) -> Result<Vec<String>> {
        match &self.s3 {
            Some(s3) => {
                let config = s3.config_below(name)?.to_string_lossy().into_owned();
                Ok(vec!["--content-config".to_owned(), config])
            }
            None => Ok(Vec::new()),
        }
    }
}
