//! Platform Storage's engine for commands: over the stores of a data folder, for nobody's requests.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use blobs::Blobs;
use clap::Args;
use documents::Documents;
use encryption::AccountGeneration;
use identity::{FileKeys, TokenVerifier};
use ledger::SystemClock;
use platform_storage::{
    EmbeddedDecisionPoint, Foundation, Platform, PlatformTokens, Register, RegisterSource, Settings,
};

use crate::DataArgument;
use crate::config::Config;
use crate::dev;
use crate::documents_transfer::engine;
use crate::encryption_config::open_keyring;
use crate::node::Stores;

/// Where a Platform Storage is.
#[derive(Debug, Args)]
pub(crate) struct PlatformPlace {
    #[command(flatten)]
    data: DataArgument,
    /// A file with a key-encryption key, if content is encrypted. Given again, older keys.
    #[arg(long, value_name = "FILE")]
    encryption_key: Vec<PathBuf>,
    /// The server's configuration: what is written keeps to what it says of the account of blobs (versioning, change
    /// feed). Needed where the account has either.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The account of documents, where Platform Storage was never used here; else it is known. As the other two,
    /// that of `dev` if it isn't given.
    #[arg(long, value_name = "NAME")]
    documents_account: Option<String>,
    /// The account of blobs, as above.
    #[arg(long, value_name = "NAME")]
    blobs_account: Option<String>,
    /// The environment, a part of the containers' names, as above.
    #[arg(long, value_name = "NAME")]
    environment: Option<String>,
}

/// An engine, and what it stands on.
pub(crate) struct Opened {
    pub(crate) stores: Stores,
    pub(crate) platform: Arc<Platform>,
    blobs: Arc<Blobs>,
}

/// What the engine stands on. Nobody is let in: there are no keys, and no policies.
pub(crate) fn foundation(stores: &Stores, documents: Arc<Documents>, blobs: Arc<Blobs>) -> Foundation {
    let register = Arc::new(RegisterSource::fixed(Register::default()));
    let nowhere = PathBuf::from("/dev/null/nothing");
    Foundation {
        ledger: stores.ledger.clone(),
        documents,
        blobs,
        clock: stores.clock.clone(),
        random: stores.random.clone(),
        verifier: TokenVerifier::new(Arc::new(FileKeys::new(nowhere.clone())), stores.clock.clone()),
        platform_tokens: PlatformTokens::default(),
        decision: Arc::new(EmbeddedDecisionPoint::new(nowhere, register.clone(), false)),
        register,
    }
}

impl PlatformPlace {
    /// Opens a Platform Storage that is there.
    pub(crate) async fn open(&self) -> Result<Opened> {
        let places = self.data.places()?;
        let stores = Stores::open_existing(&self.data.data, &places, Arc::new(SystemClock)).await?;
        let settings = self.stored(&stores).await?;
        let settings = settings.context("Platform Storage was never used with this ledger")?;
        self.over(stores, settings).await
    }

    /// Opens one; where there is none, it is made.
    pub(crate) async fn open_or_make(&self) -> Result<Opened> {
        let places = self.data.places()?;
        let stores = Stores::open_or_make(&self.data.data, &places, Arc::new(SystemClock)).await?;
        let stored = self.stored(&stores).await?;
        let or = |given: &Option<String>, default: &str| given.clone().unwrap_or_else(|| default.to_owned());
        let settings = stored.unwrap_or_else(|| Settings {
            documents_account: or(&self.documents_account, dev::DOCUMENTS_ACCOUNT),
            blobs_account: or(&self.blobs_account, dev::BLOBS_ACCOUNT),
            environment: or(&self.environment, dev::ENVIRONMENT),
            platform_url: None,
            apps_url: None,
            scans: false,
            refuse_infected: false,
            portal_sync: false,
        });
        let account = settings.blobs_account.clone();
        let opened = self.over(stores, settings).await?;
        if self.config.is_none() {
            let signs = opened.blobs.signs_of_settings(&account).await?;
            ensure!(
                signs.is_none(),
                "the account {account} of blobs has {}: name the server's configuration with --config, so that what is \
                 written here keeps to it",
                signs.unwrap_or_default()
            );
        }
        opened.platform.prepare().await?;
        Ok(opened)
    }

    /// The settings that it was used with, if it was.
    async fn stored(&self, stores: &Stores) -> Result<Option<Settings>> {
        let snapshot = stores.ledger.snapshot().await?;
        let Some(settings) = Settings::stored(snapshot.as_ref()).await? else {
            return Ok(None);
        };
        for (option, given, is) in [
            (
                "documents-account",
                &self.documents_account,
                &settings.documents_account,
            ),
            ("blobs-account", &self.blobs_account, &settings.blobs_account),
            ("environment", &self.environment, &settings.environment),
        ] {
            ensure!(
                given.as_ref().is_none_or(|given| given == is),
                "--{option}: this ledger's Platform Storage has {is:?}"
            );
        }
        Ok(Some(settings))
    }

    async fn over(&self, mut stores: Stores, settings: Settings) -> Result<Opened> {
        let account = AccountGeneration {
            account: settings.blobs_account.clone(),
            scope: None,
            generation: 0,
        };
        let keyring = open_keyring(&mut stores, &self.encryption_key, &[account]).await?;
        let blobs = Blobs::new(
            stores.ledger.clone(),
            stores.content.clone(),
            stores.clock.clone(),
            stores.random.clone(),
            blobs::Settings {
                accounts: self.accounts(&settings)?,
                keyring,
                ..blobs::Settings::default()
            },
        );
        let documents = engine(&stores);
        let platform = Platform::new(foundation(&stores, documents, blobs.clone()), settings);
        Ok(Opened {
            stores,
            platform,
            blobs,
        })
    }

    /// The account of blobs as the server's configuration has it, if that is named.
    fn accounts(&self, settings: &Settings) -> Result<Vec<blobs::Account>> {
        let Some(path) = &self.config else {
            return Ok(Vec::new());
        };
        let config = Config::read(path)?;
        let mut accounts = config.blobs.accounts.iter();
        let account = accounts
            .find(|account| account.name == settings.blobs_account)
            .with_context(|| {
                format!(
                    "--config {}: has no account {} in [blobs]",
                    path.display(),
                    settings.blobs_account
                )
            })?;
        Ok(vec![account.of_blobs()?])
    }
}
