//! The tables, and how they come to be.
//!
//! | table | what |
//! | --- | --- |
//! | `format` | the schema's version |
//! | `head` | one row: the newest commit's number and chain hash, how far the log was trimmed |
//! | `data` | key, number of the commit that wrote it, sealed value |
//! | `log` | number of the last commit of a group, the sealed entries of all of it |
//! | `copying` | only while a ledger is copied into the schema: what `head` will hold |
//!
//! Values are kept as they come: they are small or compressed already, and what PostgreSQL would
//! spend on compressing them is spent while other nodes wait for the head.

use ledger::Sequence;
use ledger::log::CHAIN_START;
use tokio_postgres::Client;

use crate::error::describe;
use crate::limits::{SCHEMA_NAME_BYTES_MAX, SERVER_VERSION_MIN};
use crate::{ConnectError, record};

/// The newest version. Each step below leads from the version before to its own.
pub(crate) const VERSION: i32 = 4;

/// The oldest version whose data is kept.
const VERSION_KEPT_MIN: i32 = 3;

/// What leads from version n to n+1, at place n.
///
/// Versions 1 to 3 have the same tables. Documents write their index keys in another way since each:
/// what an earlier build put there would not be found, so [`prepare`] refuses it unless it is empty.
/// With version 4 a row of the log holds a group's entries; each row of before is a group of one.
const STEPS: [&str; 4] = [
    "
    CREATE TABLE head (
        one boolean PRIMARY KEY DEFAULT true CHECK (one),
        sequence bigint NOT NULL,
        chain bytea NOT NULL,
        trimmed bigint NOT NULL,
        trimmed_chain bytea NOT NULL
    ) WITH (fillfactor = 10);
    CREATE TABLE data (
        key bytea PRIMARY KEY,
        version bigint NOT NULL,
        record bytea NOT NULL
    ) WITH (fillfactor = 85);
    ALTER TABLE data ALTER COLUMN key SET STORAGE PLAIN;
    ALTER TABLE data ALTER COLUMN record SET STORAGE EXTERNAL;
    CREATE TABLE log (
        sequence bigint PRIMARY KEY,
        record bytea NOT NULL
    );
    ALTER TABLE log ALTER COLUMN record SET STORAGE EXTERNAL;
",
    "",
    "",
    "
    ALTER TABLE log RENAME record TO entries;
    ALTER TABLE log ALTER COLUMN entries TYPE bytea[] USING ARRAY[entries];
    ALTER TABLE log ALTER COLUMN entries SET STORAGE EXTERNAL;
    ALTER TABLE log SET (toast_tuple_target = 8160);
",
];

/// Whether a schema can be called so.
pub(crate) fn is_name(name: &str) -> bool {
    let first = |c: char| c.is_ascii_lowercase() || c == '_';
    name.starts_with(first)
        && name.chars().all(|c| first(c) || c.is_ascii_digit())
        && name.len() <= SCHEMA_NAME_BYTES_MAX
}

/// Checks the server, then makes or migrates the schema. Programs that start together do it one
/// after the other.
pub(crate) async fn prepare(client: &Client, schema: &str) -> Result<(), ConnectError> {
    let failed = |error: tokio_postgres::Error| ConnectError::Unreachable(describe(&error));
    check_server(client).await?;
    // A step that writes a table anew takes as long as it takes, and so does waiting for who does it.
    let lock = format!(
        "BEGIN; SET LOCAL statement_timeout TO 0; SET LOCAL lock_timeout TO 0; SELECT pg_advisory_xact_lock(hashtext('stabbur schema {schema}'))"
    );
    client.batch_execute(&lock).await.map_err(failed)?;
    let create = format!(
        "CREATE SCHEMA IF NOT EXISTS {schema}; SET LOCAL search_path TO {schema}; \
         CREATE TABLE IF NOT EXISTS format (version int NOT NULL)"
    );
    client.batch_execute(&create).await.map_err(failed)?;
    let found = client
        .query_opt("SELECT max(version) FROM format", &[])
        .await
        .map_err(failed)?;
    let found: i32 = found.and_then(|row| row.get(0)).unwrap_or(0);
    if found > VERSION {
        return Err(ConnectError::Newer {
            schema: schema.to_owned(),
            found,
            known: VERSION,
        });
    }
    if (1..VERSION_KEPT_MIN).contains(&found) && has_data(client).await.map_err(failed)? {
        return Err(ConnectError::Unfit(format!(
            "schema {schema} holds a ledger of an earlier, unreleased build (version {found}); name another schema"
        )));
    }
    for step in STEPS.iter().skip(usize::try_from(found).unwrap_or(0)) {
        client.batch_execute(step).await.map_err(failed)?;
    }
    if found < VERSION {
        if found == 0 {
            client
                .execute(
                    "INSERT INTO head (sequence, chain, trimmed, trimmed_chain) VALUES (0, $1, 0, $1)",
                    &[&CHAIN_START.as_slice()],
                )
                .await
                .map_err(failed)?;
        }
        client
            .batch_execute(&format!(
                "DELETE FROM format; INSERT INTO format VALUES ({VERSION})"
            ))
            .await
            .map_err(failed)?;
    }
    client.batch_execute("COMMIT").await.map_err(failed)
}

/// The number of the newest commit. Nobody uses a schema that a ledger is being copied into.
pub(crate) async fn newest_commit(client: &Client, schema: &str) -> Result<Sequence, ConnectError> {
    let row = client
        .query_one(
            "SELECT to_regclass('copying') IS NOT NULL, (SELECT sequence FROM head)",
            &[],
        )
        .await
        .map_err(|error| ConnectError::Unreachable(describe(&error)))?;
    if row.get(0) {
        return Err(ConnectError::HalfCopied {
            schema: schema.to_owned(),
        });
    }
    let sequence: Option<i64> = row.get(1);
    sequence
        .and_then(|sequence| record::from_column(sequence).ok())
        .ok_or_else(|| ConnectError::Unfit(format!("table head of schema {schema} is damaged")))
}

/// "Acknowledged" must mean on disk.
async fn check_server(client: &Client) -> Result<(), ConnectError> {
    let failed = |error: tokio_postgres::Error| ConnectError::Unreachable(describe(&error));
    let row = client
        .query_one(
            "SELECT current_setting('server_version_num')::int, current_setting('fsync'), \
             current_setting('full_page_writes'), pg_is_in_recovery()",
            &[],
        )
        .await
        .map_err(failed)?;
    let (version, fsync, full_page_writes, standby): (i32, &str, &str, bool) =
        (row.get(0), row.get(1), row.get(2), row.get(3));
    let major = u32::try_from(version / 10_000).unwrap_or(0);
    if major < SERVER_VERSION_MIN {
        return Err(ConnectError::Unfit(format!(
            "it is version {major}; {SERVER_VERSION_MIN} or newer is needed"
        )));
    }
    if fsync != "on" {
        return Err(ConnectError::Unfit(
            "fsync is off: what it acknowledges isn't on disk; turn it on".to_owned(),
        ));
    }
    if full_page_writes != "on" {
        return Err(ConnectError::Unfit(
            "full_page_writes is off: a crash can tear its pages; turn it on".to_owned(),
        ));
    }
    if standby {
        return Err(ConnectError::Unfit(
            "it is a standby; name the primary".to_owned(),
        ));
    }
    Ok(())
}

async fn has_data(client: &Client) -> Result<bool, tokio_postgres::Error> {
    let found = client.query_one("SELECT EXISTS (SELECT FROM data)", &[]);
    found.await.map(|row| row.get(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_schemas() {
        for good in ["stabbur", "_a1", "a"] {
            assert!(is_name(good), "{good}");
        }
        for bad in ["", "1a", "A", "a-b", "a b", "a\"b", "a;b", &"a".repeat(41)] {
            assert!(!is_name(bad), "{bad}");
        }
    }

    #[test]
    fn each_version_has_its_step() {
        assert_eq!(usize::try_from(VERSION), Ok(STEPS.len()));
    }
}
