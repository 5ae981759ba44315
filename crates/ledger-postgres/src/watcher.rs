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
    ANSWER_SECONDS_MAX, HEAD_POLL_SECONDS, OUTAGE_SECONDS_MAX, RETRY_MILLISECONDS_FIRST,
    RETRY_MILLISECONDS_MAX,
};
use crate::silence::answer;

/// Words of new commits that may wait; more say nothing new.
const WORDS_MAX: usize = 16;

/// Watches until the ledger is closed.
pub(crate) async fn watch(shared: Arc<Shared>) {
    let mut pause = Duration::from_millis(RETRY_MILLISECONDS_FIRST);
    let mut heard = shared.clock.monotonic();
    loop {
        let (notify, mut words) = mpsc::channel(WORDS_MAX);
        match answer(connect(&shared, notify)).await {
            None => silent(&shared),
            Some(Err(cause)) => {
                if shared.clock.monotonic().saturating_sub(heard) >= Duration::from_secs(OUTAGE_SECONDS_MAX) {
                    shared.unavailable(&cause);
                }
            }
            Some(Ok(client)) => {
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
                            match answer(read_head(&shared, &client)).await {
                                Some(Ok(())) => {}
                                Some(Err(_)) => break,
                                None => {
                                    silent(&shared);
                                    break;
                                }
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

/// A connection that hears of commits; why there is none.
async fn connect(shared: &Shared, notify: mpsc::Sender<String>) -> Result<Client, String> {
    let opened = shared.connector.open_watching(notify).await;
    let client = opened.map_err(|error| error.to_string())?;
    let statement = format!("LISTEN {}", channel(shared.connector.schema()));
    let listening = async {
        client.batch_execute(&statement).await?;
        read_head(shared, &client).await
    };
    listening.await.map_err(|error| describe(&error))?;
    Ok(client)
}

/// The database hangs. Callers are refused from now on, before their connections end: so none of
/// them waits for it to come back.
fn silent(shared: &Shared) {
    let cause = format!("no answer within {ANSWER_SECONDS_MAX} s");
    shared.unavailable(&cause);
    shared.connector.silence.begin(&cause);
}

/// The database answers: what was committed meanwhile is known, and so is that it is back.
async fn read_head(shared: &Shared, client: &Client) -> Result<(), tokio_postgres::Error> {
    let row = client.query_one("SELECT sequence FROM head", &[]).await?;
    if let Ok(sequence) = u64::try_from(row.get::<_, i64>(0)) {
        shared.show(sequence);
    }
    shared.connector.silence.end();
    shared.available();
    Ok(())
}
