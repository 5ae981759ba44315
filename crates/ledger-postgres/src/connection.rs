//! Connections: TLS where it is needed, time-outs on everything, the statements.

use std::future::poll_fn;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::{AsyncMessage, Client, Config, NoTls, Statement};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::error::describe;
use crate::limits::{
    CONNECT_SECONDS_MAX, IDLE_IN_TRANSACTION_MILLISECONDS_MAX, LOCK_MILLISECONDS_MAX, SILENT_SECONDS_MAX,
    STATEMENT_MILLISECONDS_MAX, UNANSWERED_SECONDS_MAX, WRITER_IDLE_MILLISECONDS_MAX,
};
use crate::log_rows;
use crate::predicted;
use crate::schema;
use crate::silence::{Listening, Silence};
use crate::{ConnectError, Options};

/// Makes connections.
pub(crate) struct Connector {
    config: Config,
    tls: Option<MakeRustlsConnect>,
    options: Options,
    /// While the database is silent, no connection is kept or made but the one that asks it.
    pub(crate) silence: Silence,
}

impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connector")
            .field("options", &self.options)
            .finish()
    }
}

impl Connector {
    /// Reads the options.
    pub(crate) fn new(options: &Options) -> Result<Self, ConnectError> {
        // The library's error may repeat what it read, and there may be a password in it.
        let mut config: Config = options.connection.parse().map_err(|_| {
            ConnectError::Options("the connection string of PostgreSQL can't be read".to_owned())
        })?;
        if !schema::is_name(&options.schema) {
            return Err(ConnectError::Options(format!(
                "{:?} can't be a schema's name: lower-case letters, digits and _",
                options.schema
            )));
        }
        config
            .application_name("stabbur")
            .connect_timeout(Duration::from_secs(CONNECT_SECONDS_MAX))
            .keepalives_idle(Duration::from_secs(SILENT_SECONDS_MAX))
            .keepalives_interval(Duration::from_secs(UNANSWERED_SECONDS_MAX))
            // Without it the kernel waits a quarter of an hour for a machine that vanished.
            .tcp_user_timeout(Duration::from_secs(UNANSWERED_SECONDS_MAX));
        let local = config.get_hosts().iter().all(is_local);
        let tls = match (config.get_ssl_mode(), &options.authorities) {
            (SslMode::Require, Some(_)) => Some(tls(options)?),
            (SslMode::Require, None) => {
                return Err(ConnectError::Options(
                    "sslmode=require needs the authorities that the database's certificate is signed by"
                        .to_owned(),
                ));
            }
            _ if local => None,
            _ => {
                return Err(ConnectError::Options(
                    "the database isn't on this machine: sslmode=require is needed in its connection string"
                        .to_owned(),
                ));
            }
        };
        Ok(Self {
            config,
            tls,
            options: options.clone(),
            silence: Silence::new(),
        })
    }

    /// The schema's name.
    pub(crate) fn schema(&self) -> &str {
        &self.options.schema
    }

    /// A connection whose session is set up; refused at once while the database is silent.
    pub(crate) async fn open(&self) -> Result<Client, ConnectError> {
        let mut listening = self.silence.listen();
        tokio::select! {
            biased;
            cause = listening.is_silent() => Err(ConnectError::Unreachable(cause)),
            opened = self.connect(None) => opened,
        }
    }

    /// As [`Connector::open`], and also while the database is silent. Notifications go to `notify`.
    pub(crate) async fn open_watching(&self, notify: mpsc::Sender<String>) -> Result<Client, ConnectError> {
        self.connect(Some(notify)).await
    }

    async fn connect(&self, notify: Option<mpsc::Sender<String>>) -> Result<Client, ConnectError> {
        let listening = self.silence.listen();
        let mut config = self.config.clone();
        if let Some(path) = &self.options.password_file {
            let password = tokio::fs::read_to_string(path)
                .await
                .map_err(|error| ConnectError::Options(format!("{}: {error}", path.display())))?;
            config.password(password.trim_end_matches(['\r', '\n']));
        }
        let session = format!(
            "SET search_path TO {}; SET statement_timeout TO {STATEMENT_MILLISECONDS_MAX}; \
             SET lock_timeout TO {LOCK_MILLISECONDS_MAX}; \
             SET idle_in_transaction_session_timeout TO {IDLE_IN_TRANSACTION_MILLISECONDS_MAX}; \
             SET client_min_messages TO warning; \
             SELECT set_config('synchronous_commit', 'on', false) \
             WHERE current_setting('synchronous_commit') IN ('off', 'local')",
            self.options.schema
        );
        let connecting = async {
            let client = match &self.tls {
                Some(tls) => {
                    let (client, connection) = config.connect(tls.clone()).await?;
                    drive(connection, notify, listening);
                    client
                }
                None => {
                    let (client, connection) = config.connect(NoTls).await?;
                    drive(connection, notify, listening);
                    client
                }
            };
            client.batch_execute(&session).await?;
            Ok(client)
        };
        let limit = Duration::from_secs(CONNECT_SECONDS_MAX);
        tokio::time::timeout(limit, connecting)
            .await
            .map_err(|_| ConnectError::Unreachable(format!("no answer within {CONNECT_SECONDS_MAX} s")))?
            .map_err(|error: tokio_postgres::Error| ConnectError::Unreachable(describe(&error)))
    }
}

fn is_local(host: &Host) -> bool {
    match host {
        Host::Unix(_) => true,
        Host::Tcp(name) => {
            name == "localhost" || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
        }
    }
}

fn tls(options: &Options) -> Result<MakeRustlsConnect, ConnectError> {
    let path = options.authorities.clone().unwrap_or_default();
    let bad = |cause: &dyn std::fmt::Display| ConnectError::Options(format!("{}: {cause}", path.display()));
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(&path).map_err(|error| bad(&error))? {
        let certificate = certificate.map_err(|error| bad(&error))?;
        roots.add(certificate).map_err(|error| bad(&error))?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| bad(&error))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(MakeRustlsConnect::new(config))
}

/// Moves a connection's bytes until its client is dropped, it breaks or the database falls silent, of
/// which each statement under way is told.
fn drive<S, T>(
    mut connection: tokio_postgres::Connection<S, T>,
    notify: Option<mpsc::Sender<String>>,
    mut listening: Listening,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    tokio::spawn(async move {
        loop {
            let message = tokio::select! {
                message = poll_fn(|context| connection.poll_message(context)) => message,
                () = listening.falls_silent() => return,
            };
            match message {
                Some(Ok(AsyncMessage::Notification(notification))) => {
                    if let Some(notify) = &notify {
                        // A full queue loses nothing: the head is read after each of them.
                        let _ = notify.try_send(notification.payload().to_owned());
                    }
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => {
                    tracing::debug!(error = describe(&error), "a connection to PostgreSQL ended");
                    return;
                }
                None => return,
            }
        }
    });
}

/// A connection that reads, with its statements.
#[derive(Debug)]
pub(crate) struct Reader {
    pub(crate) client: Client,
    pub(crate) head: Statement,
    pub(crate) get: Statement,
    pub(crate) get_many: Statement,
    pub(crate) forward: Statement,
    pub(crate) backward: Statement,
    pub(crate) log: Statement,
}

/// A page of a range: rows until their sum of bytes passes the limit, at least one.
fn page(order: &str) -> String {
    // Keys and values count, not the checksum's four bytes.
    let bytes = "(octet_length(key) + octet_length(record) - 4)";
    format!(
        "SELECT key, version, record, running FROM (SELECT key, version, record, sum({bytes}) \
         OVER (ORDER BY key {order} ROWS UNBOUNDED PRECEDING) AS running FROM data WHERE key >= $1 AND key < $2 \
         ORDER BY key {order} LIMIT $3) page WHERE running - {bytes} < $4"
    )
}

impl Reader {
    pub(crate) async fn open(connector: &Connector) -> Result<Self, ConnectError> {
        let client = connector.open().await?;
        let (forward, backward) = (page("ASC"), page("DESC"));
        let prepared = futures::try_join!(
            client.prepare("SELECT sequence, chain, trimmed, trimmed_chain FROM head"),
            client.prepare("SELECT version, record FROM data WHERE key = $1"),
            client.prepare("SELECT key, version, record FROM data WHERE key = ANY($1)"),
            client.prepare(&forward),
            client.prepare(&backward),
            client.prepare(log_rows::PAGE),
        );
        let (head, get, get_many, forward, backward, log) =
            prepared.map_err(|error| ConnectError::Unreachable(describe(&error)))?;
        Ok(Self {
            client,
            head,
            get,
            get_many,
            forward,
            backward,
            log,
        })
    }
}

/// See [`predicted::STATEMENT`] for its form.
pub(crate) const INSERT: &str =
    "INSERT INTO data SELECT unnest($1::bytea[]), unnest($2::bigint[]), unnest($3::bytea[])";

/// The connection that writes, with its statements.
#[derive(Debug)]
pub(crate) struct Writer {
    pub(crate) client: Client,
    pub(crate) lock_head: Statement,
    pub(crate) versions: Statement,
    pub(crate) log_row: Statement,
    pub(crate) predicted: Statement,
    pub(crate) add: Statement,
    pub(crate) put: Statement,
    pub(crate) delete: Statement,
    pub(crate) append: Statement,
    pub(crate) move_head: Statement,
    pub(crate) notify: Statement,
    pub(crate) trim: Statement,
    pub(crate) move_trimmed: Statement,
}

impl Writer {
    pub(crate) async fn open(connector: &Connector) -> Result<Self, ConnectError> {
        let client = connector.open().await?;
        // Every look-up of the writer's is by key, in tables whose size a plan that was made early
        // doesn't know: such a plan must not scan, and it is used from the first time on. Whoever waited
        // for the head looks at it anew, whatever the database's own default is.
        let settings = format!(
            "SET idle_in_transaction_session_timeout TO {WRITER_IDLE_MILLISECONDS_MAX}; \
             SET default_transaction_isolation TO 'read committed'; \
             SET enable_seqscan TO off; SET jit TO off; SET plan_cache_mode TO force_generic_plan"
        );
        let failed = |error: tokio_postgres::Error| ConnectError::Unreachable(describe(&error));
        client.batch_execute(&settings).await.map_err(failed)?;
        let prepare = async |statement: &str| client.prepare(statement).await.map_err(failed);
        Ok(Self {
            lock_head: prepare("SELECT sequence, chain, trimmed FROM head FOR UPDATE").await?,
            versions: prepare("SELECT key, version FROM data WHERE key = ANY($1)").await?,
            log_row: prepare(log_rows::FIND).await?,
            predicted: prepare(predicted::STATEMENT).await?,
            add: prepare(INSERT).await?,
            put: prepare(&format!(
                "{INSERT} ON CONFLICT (key) DO UPDATE SET version = excluded.version, record = excluded.record"
            ))
            .await?,
            delete: prepare("DELETE FROM data WHERE key = ANY($1)").await?,
            append: prepare(log_rows::APPEND).await?,
            move_head: prepare("UPDATE head SET sequence = $1, chain = $2").await?,
            notify: prepare("SELECT pg_notify($1, $2)").await?,
            trim: prepare("DELETE FROM log WHERE sequence <= $1").await?,
            move_trimmed: prepare("UPDATE head SET trimmed = $1, trimmed_chain = $2").await?,
            client,
        })
    }
}

/// The channel on which new commits are told.
pub(crate) fn channel(schema: &str) -> String {
    format!("stabbur_head_{schema}")
}
