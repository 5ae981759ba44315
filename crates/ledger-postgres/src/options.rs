//! How the database is reached.

use std::path::PathBuf;

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
