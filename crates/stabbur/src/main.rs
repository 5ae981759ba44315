//! The binary: command line, configuration, wiring. No logic of the services is here.

mod allocator;
mod bearer_config;
mod blob_jobs_config;
mod config;
mod content_commands;
mod dev;
mod dev_vault;
mod documents_copy;
mod documents_transfer;
mod encryption_config;
mod http_post;
mod key_fetch;
mod ledger_commands;
mod ledger_copy;
mod node;
mod pauses;
mod places;
mod platform_config;
mod platform_engine;
mod platform_import;
mod platform_lists;
mod platform_messages;
mod registry_config;
mod registry_remote;
mod registry_webhooks;
mod serve;
mod vault_commands;
mod vault_config;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};
use tracing_subscriber::EnvFilter;

/// Keeps what a public digital service stores, behind the protocols its clients already speak.
#[derive(Debug, Parser)]
#[command(name = "stabbur", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
    /// What is logged: a level, or filters such as `info,gateway=debug`.
    #[arg(long, global = true, default_value = "info")]
    log: String,
    /// How it is logged.
    #[arg(long, global = true, value_enum, default_value = "text")]
    log_format: LogFormat,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Everything in one folder, on loopback, with the emulators' well-known keys.
    Dev(Box<dev::DevArguments>),
    /// For everything else: accounts, keys and TLS from a file.
    Serve {
        /// The configuration (TOML); docs/operate/running.md lists what it holds.
        #[arg(long)]
        config: PathBuf,
    },
    /// Takes the items of a container of documents out, or puts items in, from files or another server.
    Documents {
        #[command(subcommand)]
        command: DocumentsCommand,
    },
    /// Brings instances to Platform Storage, looks after its messages. A data folder must not be in use.
    Platform {
        #[command(subcommand)]
        command: PlatformCommand,
    },
    /// Runs scripts for the server that starts it; of no use to people.
    #[command(hide = true)]
    ScriptWorker,
    /// Looks at all content. A data folder must not be in use.
    Content {
        #[command(subcommand)]
        command: ContentCommand,
    },
    /// Works with registries: what their configuration holds, import, purge.
    Registry {
        #[command(subcommand)]
        command: RegistryCommand,
    },
    /// Works on the vaults of a ledger that no process has open.
    Vault {
        #[command(subcommand)]
        command: VaultCommand,
    },
    /// Looks into the vaults' audit, in a ledger that no process has open.
    Audit {
        #[command(subcommand)]
        command: AuditCommand,
    },
    /// Looks into a ledger that no process has open.
    Ledger {
        #[command(subcommand)]
        command: LedgerCommand,
    },
}

#[derive(Debug, Args)]
struct DataArgument {
    /// The data folder, as `dev` or `serve` was given it.
    #[arg(long)]
    data: PathBuf,
    /// The database that holds the ledger, if that isn't in the data folder.
    #[arg(long, value_name = "CONNECTION")]
    ledger_postgres: Option<String>,
    /// A file (TOML) that says in which object store the content is, if it isn't in the data folder.
    #[arg(long, value_name = "FILE")]
    content_config: Option<PathBuf>,
}

impl DataArgument {
    fn places(&self) -> anyhow::Result<places::Places> {
        places::Places::of(self.ledger_postgres.as_ref(), self.content_config.as_ref())
    }
}

#[derive(Debug, Subcommand)]
enum VaultCommand {
    /// Wraps the vaults' data keys by another root key, in one commit. Interrupted, all are wrapped as before or
    /// all anew; the same command goes on if it is given both keys.
    Rekey {
        #[command(flatten)]
        data: DataArgument,
        #[command(flatten)]
        keys: vault_commands::RekeyArguments,
    },
}

#[derive(Debug, Subcommand)]
enum AuditCommand {
    /// Prints who did or wanted what, a JSON line each.
    Read {
        #[command(flatten)]
        data: DataArgument,
        /// The vault.
        #[arg(long)]
        vault: String,
        /// Begins behind this sequence number.
        #[arg(long, default_value_t = 0)]
        after: u64,
    },
    /// Computes the seals over the rows again: says whether any was changed or taken away.
    Verify {
        #[command(flatten)]
        data: DataArgument,
        /// The vault.
        #[arg(long)]
        vault: String,
        /// A file with the root key.
        #[arg(long, value_name = "FILE")]
        key_file: Vec<PathBuf>,
        /// A file with the passphrase of the root key.
        #[arg(long, value_name = "FILE", conflicts_with = "key_file")]
        passphrase_file: Option<PathBuf>,
        /// A head that was kept elsewhere, `SEQUENCE:HASH`, as the log and this command say it: the chain must go
        /// through it, so that an audit that was put back is found.
        #[arg(long, value_name = "SEQUENCE:HASH")]
        head: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
enum ContentCommand {
    /// Reads everything that blobs refer to and compares checksums: says which blobs have damaged content.
    Scrub(DataArgument),
}

#[derive(Debug, Subcommand)]
enum PlatformCommand {
    /// Brings instances with their data, events and texts from elsewhere; guids and times stay. Interrupted, the same
    /// command goes on; run again, it brings what changed since (docs/operate/moving.md).
    Import {
        #[command(subcommand)]
        source: ImportSource,
    },
    /// Looks at messages to others that were put aside, and decides about them.
    Messages {
        #[command(subcommand)]
        command: platform_messages::MessagesCommand,
    },
    /// Looks for elements that wait for a scan.
    Scans {
        #[command(subcommand)]
        command: platform_messages::ScansCommand,
    },
    /// Looks after the lists that instances are found by.
    Lists {
        #[command(subcommand)]
        command: platform_lists::ListsCommand,
    },
}

#[derive(Debug, Subcommand)]
enum ImportSource {
    /// From what Altinn's local test environment left on disk.
    Localtest(Box<platform_import::LocaltestArguments>),
    /// From a running Storage, by its API: the instances of an org's apps.
    Storage(Box<platform_import::StorageArguments>),
}

#[derive(Debug, Subcommand)]
enum RegistryCommand {
    /// Reads a password from the first line of its input and prints the hash that a file of `password_files`
    /// holds.
    HashPassword,
    /// Copies an image, or all tags of a repository, from another registry into a running one. Interrupted, the same
    /// command goes on.
    Import(Box<registry_remote::import::ImportArguments>),
    /// Takes old tags away from a running registry; manifests without a tag go by its retention policy.
    Purge(Box<registry_remote::purge::PurgeArguments>),
}

#[derive(Debug, Subcommand)]
enum LedgerCommand {
    /// Reads everything: checksums, the log's chain, the services' records against each other.
    Verify(DataArgument),
    /// Counters and sizes.
    Stats(DataArgument),
    /// The change log, a JSON line per record.
    Log {
        #[command(flatten)]
        data: DataArgument,
        /// Begins behind this sequence number.
        #[arg(long, default_value_t = 0)]
        after: u64,
    },
    /// Copies a ledger to another place and engine, with its versions and its log; content isn't copied.
    /// Interrupted, the same command goes on. Nodes must be stopped (docs/operate/moving.md).
    Copy(ledger_copy::CopyArguments),
}

#[derive(Debug, Subcommand)]
enum DocumentsCommand {
    /// Writes a container's items into a file, a JSON document on each line. Interrupted, the same
    /// command goes on. A data folder must not be in use.
    Export(documents_transfer::TransferArguments),
    /// Creates or replaces an item for each line of a file. Interrupted, the same command goes on. A
    /// data folder must not be in use.
    Import(documents_transfer::ImportArguments),
    /// Copies a database's containers from a running Cosmos DB account, an emulator or another Stabbur:
    /// their properties and their items. Interrupted, the same command goes on; run again later, it
    /// brings what changed since. What was deleted meanwhile it can't see: copy while the source is at
    /// rest, or see the differences with --verify. A data folder must not be in use
    /// (docs/operate/moving.md).
    Copy(Box<documents_copy::CopyArguments>),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if matches!(arguments.command, Command::ScriptWorker) {
        // Before there is a thread, a descriptor or a log.
        return scripts::work();
    }
    allocator::set_up();
    let filter = match EnvFilter::try_new(&arguments.log) {
        Ok(filter) => filter,
        Err(error) => return fail(&anyhow::anyhow!("--log {}: {error}", arguments.log)),
    };
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    match arguments.log_format {
        LogFormat::Text => subscriber.with_ansi(false).init(),
        LogFormat::Json => subscriber.json().init(),
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error.into()),
    };
    let outcome = runtime.block_on(async {
        match arguments.command {
            // Done before there was a runtime.
            Command::ScriptWorker => Ok(()),
            Command::Dev(arguments) => dev::run(*arguments).await,
            Command::Serve { config } => serve::run(&config).await,
            Command::Documents {
                command: DocumentsCommand::Export(arguments),
            } => documents_transfer::export(arguments).await,
            Command::Documents {
                command: DocumentsCommand::Import(arguments),
            } => documents_transfer::import(arguments).await,
            Command::Documents {
                command: DocumentsCommand::Copy(arguments),
            } => documents_copy::run(*arguments).await,
            Command::Content {
                command: ContentCommand::Scrub(data),
            } => content_commands::scrub(&data.data, &data.places()?).await,
            Command::Platform {
                command:
                    PlatformCommand::Import {
                        source: ImportSource::Localtest(arguments),
                    },
            } => platform_import::localtest(*arguments).await,
            Command::Platform {
                command:
                    PlatformCommand::Import {
                        source: ImportSource::Storage(arguments),
                    },
            } => Box::pin(platform_import::storage(*arguments)).await,
            Command::Platform {
                command: PlatformCommand::Messages { command },
            } => platform_messages::messages(command).await,
            Command::Platform {
                command: PlatformCommand::Scans { command },
            } => platform_messages::scans(command).await,
            Command::Platform {
                command: PlatformCommand::Lists { command },
            } => platform_lists::lists(command).await,
            Command::Registry {
                command: RegistryCommand::HashPassword,
            } => registry_config::hash_password(),
            Command::Registry {
                command: RegistryCommand::Import(arguments),
            } => registry_remote::import::run(&arguments).await,
            Command::Registry {
                command: RegistryCommand::Purge(arguments),
            } => registry_remote::purge::run(&arguments, ledger::Clock::now(&ledger::SystemClock)).await,
            Command::Vault {
                command: VaultCommand::Rekey { data, keys },
            } => vault_commands::rekey(&data.data, &data.places()?, keys).await,
            Command::Audit {
                command: AuditCommand::Read { data, vault, after },
            } => vault_commands::read(&data.data, &data.places()?, &vault, after).await,
            Command::Audit {
                command:
                    AuditCommand::Verify {
                        data,
                        vault,
                        key_file,
                        passphrase_file,
                        head,
                    },
            } => {
                let root = vault_config::RootConfig {
                    root_key_files: key_file,
                    root_passphrase_file: passphrase_file,
                };
                vault_commands::verify(&data.data, &data.places()?, &vault, &root, head.as_deref()).await
            }
            Command::Ledger {
                command: LedgerCommand::Verify(data),
            } => ledger_commands::verify(&data.data, &data.places()?).await,
            Command::Ledger {
                command: LedgerCommand::Stats(data),
            } => ledger_commands::stats(&data.data, &data.places()?).await,
            Command::Ledger {
                command: LedgerCommand::Log { data, after },
            } => ledger_commands::log(&data.data, &data.places()?, after).await,
            Command::Ledger {
                command: LedgerCommand::Copy(arguments),
            } => ledger_copy::run(&arguments).await,
        }
    });
    // What was accepted is answered and the ledger is closed; what else still blocks a thread must not hold up
    // the end.
    runtime.shutdown_timeout(std::time::Duration::from_secs(5));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

#[allow(clippy::print_stderr, reason = "a command line tool says why it failed")]
fn fail(error: &anyhow::Error) -> ExitCode {
    eprintln!("error: {error:#}");
    ExitCode::FAILURE
}
