//! How the database is reached.

use std::path::PathBuf;

use tokio_postgres::Config;
use tokio_postgres::config::Host;

use crate::limits::READERS_MAX;

/// Options of the engine. `Debug` shows no password.
#[derive(Clone)]
pub struct Options {
    /// A connection string (`host=... user=... dbname=...`, or `postgres://...`), best without a
    /// password. `sslmode=require` asks for TLS, which is demanded off this machine.
    pub connection: String,
    /// A file with the password, read at each connection, so it can be replaced.
    pub password_file: Option<PathBuf>,
    /// The authorities (PEM) that the database's certificate must be signed by.
    pub authorities: Option<PathBuf>,
    /// The schema that holds the tables: lower-case letters, digits and `_`.
    pub schema: String,
    /// Most connections that read.
    pub readers_max: usize,
}

impl Options {
    /// The defaults for a connection string.
    #[must_use]
    pub fn new(connection: impl Into<String>) -> Self {
        Self {
            connection: connection.into(),
            password_file: None,
            authorities: None,
            schema: "stabbur".to_owned(),
            readers_max: READERS_MAX,
        }
    }
}

/// For people: where the database is, never a password.
impl std::fmt::Display for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PostgreSQL")?;
        if let Ok(config) = self.connection.parse::<Config>() {
            let hosts = config.get_hosts().iter().map(|host| match host {
                Host::Tcp(name) => name.clone(),
                Host::Unix(path) => path.display().to_string(),
            });
            let hosts: Vec<String> = hosts.collect();
            let database = config.get_dbname().or(config.get_user()).unwrap_or_default();
            write!(f, " at {}, database {database}", hosts.join(", "))?;
        }
        write!(f, ", schema {}", self.schema)
    }
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options")
            .field("schema", &self.schema)
            .field("password_file", &self.password_file)
            .field("authorities", &self.authorities)
            .field("readers_max", &self.readers_max)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_holds_no_password() {
        for connection in [
            "host=db.example.org user=u password=hunter2 dbname=d",
            "postgres://u:hunter2@db.example.org/d",
        ] {
            let options = Options::new(connection);
            let shown = format!("{options} {options:?}");
            assert!(!shown.contains("hunter2"), "{shown}");
            assert!(
                shown.starts_with("PostgreSQL at db.example.org, database d, schema stabbur "),
                "{shown}"
            );
        }
        assert!(!Options::new("x hunter2").to_string().contains("hunter2"));
    }
}
