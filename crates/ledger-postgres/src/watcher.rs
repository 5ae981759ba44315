//! Hears of new commits, other nodes' too: PostgreSQL tells, and the head is read after each word
//! of it, after each new connection and every few seconds, so a word that was lost costs little.
//! It is also the one that notices an outage, and its end, when nobody writes.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_postgres::Client;

use crate::connection::channel;
use crate::engine::Shared;
use crate::error::describe;
use crate::limits::{
    HEAD_POLL_SECONDS, OUTAGE_SECONDS_MAX, RETRY_MILLISECONDS_FIRST, RETRY_MILLISECONDS_MAX,
};

/// Words of new commits that may wait; more say nothing new.
const WORDS_MAX: usize = 16;

/// Watches until the ledger is closed.
pub(crate) async fn watch(shared: Arc<Shared>) {
    let mut pause = Duration::from_millis(RETRY_MILLISECONDS_FIRST);
    let mut heard = shared.clock.monotonic();
    loop {
        let (notify, mut words) = mpsc::channel(WORDS_MAX);
        let connected = match shared.connector.open(Some(notify)).await {
            Ok(client) => listen(&shared, &client)
                .await
                .map(|()| client)
                .map_err(|error| describe(&error)),
            Err(error) => Err(error.to_string()),
        };
        match connected {
            Err(cause) => {
                if shared.clock.monotonic().saturating_sub(heard) >= Duration::from_secs(OUTAGE_SECONDS_MAX) {
                    shared.unavailable(&cause);
                }
            }
            Ok(client) => {
                pause = Duration::from_millis(RETRY_MILLISECONDS_FIRST);
                loop {
                    tokio::select! {
                        word = words.recv() => match word {
                            Some(word) => {
                                if let Ok(sequence) = word.parse() {
                                    shared.show(sequence);
                                }
                            }
                            None => break,
                        },
                        () = shared.until_closed() => return,
                        () = tokio::time::sleep(Duration::from_secs(HEAD_POLL_SECONDS)) => {
                            if read_head(&shared, &client).await.is_err() {
                                break;
                            }
                        }
                    }
                }
                heard = shared.clock.monotonic();
            }
        }
        tokio::select! {
            () = shared.until_closed() => return,
            () = tokio::time::sleep(pause) => {}
        }
        pause = (pause * 2).min(Duration::from_millis(RETRY_MILLISECONDS_MAX));
    }
}

async fn listen(shared: &Shared, client: &Client) -> Result<(), tokio_postgres::Error> {
    let statement = format!("LISTEN {}", channel(shared.connector.schema()));
    client.batch_execute(&statement).await?;
    read_head(shared, client).await
}

/// The database answers: what was committed meanwhile is known, and so is that it is back.
async fn read_head(shared: &Shared, client: &Client) -> Result<(), tokio_postgres::Error> {
    let row = client.query_one("SELECT sequence FROM head", &[]).await?;
    if let Ok(sequence) = u64::try_from(row.get::<_, i64>(0)) {
        shared.show(sequence);
    }
    shared.available();
    Ok(())
}
