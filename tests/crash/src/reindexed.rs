//! A container whose indexing policy is switched again and again, so that kills fall into index
//! rebuilds, while items are written to it by transactional batches, by bulk, by patches and with
//! etags. A batch must be there whole or not at all; queries must answer as a scan does.

mod batches;
mod model;
mod operations;
mod policies;
mod queries;
mod switcher;

use anyhow::{Context as _, Result, bail, ensure};
use http::Method;
use serde_json::{Value, json};

use crate::client::{Answer, Client, Headers};

pub(crate) use batches::{BATCH, Batches};
pub(crate) use switcher::{REBUILD, Switcher};

const DATABASE: &str = "dbs/crash";
const COLLECTION: &str = "dbs/crash/colls/reindexed";

/// Partitions of a writer.
const PARTITIONS: u64 = 3;
/// Items that a partition has at first, and roughly keeps.
const ITEMS_PER_PARTITION: usize = 60;
/// Items of a page, so that what is read comes in several.
const PAGE_ITEMS: &str = "100";

/// Makes the container with the first of the policies, if it isn't there.
fn make_container(client: &Client) -> Result<()> {
    let key = json!({"paths": ["/pk"], "kind": "Hash", "version": 2});
    let container =
        json!({"id": "reindexed", "partitionKey": key, "indexingPolicy": policies::ALL[0].body()});
    let made = [
        ("dbs", "", "dbs".to_owned(), json!({"id": "crash"})),
        ("colls", DATABASE, format!("{DATABASE}/colls"), container),
    ];
    for (kind, link, path, body) in made {
        let body = body.to_string();
        let answer = client.document(
            &Method::POST,
            kind,
            link,
            &path,
            &Vec::new(),
            Some(body.as_bytes()),
        )?;
        ensure!(
            matches!(answer.status, 201 | 409),
            "creating {body}: {}",
            said(&answer)
        );
    }
    Ok(())
}

/// Everything that a feed or a query answers, through all its pages.
fn read_all(client: &Client, method: &Method, headers: &Headers, body: Option<&[u8]>) -> Result<Vec<Value>> {
    let path = format!("{COLLECTION}/docs");
    let mut found = Vec::new();
    let mut continuation = None;
    loop {
        let mut headers = headers.clone();
        headers.push(("x-ms-max-item-count", PAGE_ITEMS.to_owned()));
        headers.extend(continuation.take().map(|token| ("x-ms-continuation", token)));
        let answer = client.document(method, "docs", COLLECTION, &path, &headers, body)?;
        if answer.status != 200 {
            bail!(
                "reading {path} with {:?}: {}",
                body.map(String::from_utf8_lossy),
                said(&answer)
            );
        }
        let mut page: Value = serde_json::from_slice(&answer.body)?;
        match page.get_mut("Documents").map(Value::take) {
            Some(Value::Array(documents)) => found.extend(documents),
            _ => bail!("a page without documents"),
        }
        match answer.headers.get("x-ms-continuation") {
            Some(token) => continuation = Some(token.to_str().context("a continuation")?.to_owned()),
            None => return Ok(found),
        }
    }
}

/// An answer for a message: status and text.
fn said(answer: &Answer) -> String {
    format!("{} {}", answer.status, String::from_utf8_lossy(&answer.body))
}
