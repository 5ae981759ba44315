//! Where ledger and content are: the data folder, or engines that other nodes may use as well.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use content::ContentStore;
use content_local::LocalContent;
use content_objects::{Azure, Gcs, ObjectContent, ObjectOptions, Patience, Provider, S3, Secret};
use ledger::{Clock, Ledger, Random as _, SystemRandom};
use ledger_embedded::EmbeddedLedger;
use ledger_postgres::PostgresLedger;
use serde::Deserialize;

/// Where the ledger is.
#[derive(Debug, Clone)]
pub(crate) enum LedgerPlace {
    /// In `{data}/ledger`, for this process alone.
    Embedded,
    /// In a database that other nodes may use as well.
    Postgres(ledger_postgres::Options),
}

/// Where content is.
#[derive(Debug, Clone)]
pub(crate) enum ContentPlace {
    /// In `{data}/content`.
    Folder,
    /// In an object store.
    Objects(Box<ObjectOptions>),
}

/// Both.
#[derive(Debug, Clone)]
pub(crate) struct Places {
    pub(crate) ledger: LedgerPlace,
    pub(crate) content: ContentPlace,
}

impl Places {
    /// As the command line says it: a connection string and a file with a `[content]` section's
    /// settings, or neither.
    pub(crate) fn of(connection: Option<&String>, content: Option<&PathBuf>) -> Result<Self> {
        let ledger = match connection {
            Some(connection) => LedgerPlace::Postgres(ledger_postgres::Options::new(connection)),
            None => LedgerPlace::Embedded,
        };
        let content = match content {
            Some(path) => {
                let text = std::fs::read_to_string(path).with_context(|| format!("{}", path.display()))?;
                let config: ContentConfig =
                    toml::from_str(&text).map_err(|error| anyhow::anyhow!("{}: {error}", path.display()))?;
                config.place()
            }
            None => ContentPlace::Folder,
        };
        Ok(Self { ledger, content })
    }
}

impl LedgerPlace {
    pub(crate) async fn open(&self, data: &Path, clock: Arc<dyn Clock>) -> Result<Arc<dyn Ledger>> {
        Ok(match self {
            Self::Embedded => Arc::new(EmbeddedLedger::open(
                &data.join("ledger"),
                clock,
                ledger_embedded::Options::default(),
            )?),
            Self::Postgres(options) => Arc::new(
                PostgresLedger::connect(options, clock, Arc::new(SystemRandom))
                    .await
                    .context("the ledger")?,
            ),
        })
    }
}

impl ContentPlace {
    pub(crate) async fn open(&self, data: &Path, clock: Arc<dyn Clock>) -> Result<Arc<dyn ContentStore>> {
        let now = Arc::new(move || clock.now());
        let chance = Arc::new(|bytes: &mut [u8]| SystemRandom.fill(bytes));
        Ok(match self {
            Self::Folder => Arc::new(LocalContent::open(&data.join("content"), now, chance)?),
            Self::Objects(options) => Arc::new(
                ObjectContent::open(options, now, chance)
                    .await
                    .context("the content")?,
            ),
        })
    }
}

/// A ledger in a PostgreSQL database.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LedgerConfig {
    /// Where the database is, without a password: this file holds no secret.
    postgres: String,
    /// A file with the password, read again at each connection.
    password_file: Option<PathBuf>,
    /// The authorities (PEM) that the database's certificate is signed by.
    authorities: Option<PathBuf>,
    /// The schema that holds the tables.
    schema: Option<String>,
    /// Most connections that read.
    readers_max: Option<usize>,
}

impl LedgerConfig {
    pub(crate) fn place(&self) -> LedgerPlace {
        let defaults = ledger_postgres::Options::new(&self.postgres);
        LedgerPlace::Postgres(ledger_postgres::Options {
            password_file: self.password_file.clone(),
            authorities: self.authorities.clone(),
            schema: self.schema.clone().unwrap_or(defaults.schema),
            readers_max: self.readers_max.unwrap_or(defaults.readers_max),
            connection: defaults.connection,
        })
    }
}

/// Content in an object store. Secrets are in files of their own.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "lowercase", tag = "provider")]
pub(crate) enum ContentConfig {
    S3 {
        /// The service's address; AWS's own for the region without it.
        endpoint: Option<String>,
        region: String,
        bucket: String,
        access_key_id_file: PathBuf,
        secret_access_key_file: PathBuf,
        #[serde(default)]
        prefix: String,
    },
    Azure {
        /// The account's blob address; Azure's own without it.
        endpoint: Option<String>,
        account: String,
        container: String,
        key_file: PathBuf,
        #[serde(default)]
        prefix: String,
    },
    Gcs {
        bucket: String,
        service_account_file: PathBuf,
        #[serde(default)]
        prefix: String,
    },
}

impl ContentConfig {
    pub(crate) fn place(self) -> ContentPlace {
        let (provider, prefix) = match self {
            Self::S3 {
                endpoint,
                region,
                bucket,
                access_key_id_file,
                secret_access_key_file,
                prefix,
            } => {
                let s3 = S3 {
                    endpoint,
                    region,
                    bucket,
                    access_key_id: Secret::File(access_key_id_file),
                    secret_access_key: Secret::File(secret_access_key_file),
                };
                (Provider::S3(s3), prefix)
            }
            Self::Azure {
                endpoint,
                account,
                container,
                key_file,
                prefix,
            } => {
                let azure = Azure {
                    endpoint,
                    account,
                    container,
                    key: Secret::File(key_file),
                };
                (Provider::Azure(azure), prefix)
            }
            Self::Gcs {
                bucket,
                service_account_file,
                prefix,
            } => {
                let gcs = Gcs {
                    bucket,
                    service_account: Secret::File(service_account_file),
                };
                (Provider::Gcs(gcs), prefix)
            }
        };
        ContentPlace::Objects(Box::new(ObjectOptions {
            provider,
            prefix,
            patience: Patience::default(),
        }))
    }
}
