//! Lists of a registry: catalog, tags.

use anyhow::{Context as _, Result, bail, ensure};
use reqwest::{Response, StatusCode};
use serde_json::Value;

use super::{ANSWER_BYTES_MAX, Ask, Remote, bounded, said};

/// Pages of a list that are read.
const PAGES_MAX: usize = 10_000;
/// Entries of all of them.
const ENTRIES_MAX: usize = 200_000;

/// The address of a list's next page, if there is one.
fn next_page(response: &Response) -> Option<String> {
    let link = response.headers().get("link")?.to_str().ok()?;
    Some(link.trim().strip_prefix('<')?.split_once('>')?.0.to_owned())
}

/// All entries of a list, page by page; `None` if there is no such list.
pub(super) async fn list(
    remote: &Remote,
    first: &str,
    scope: &str,
    field: &str,
) -> Result<Option<Vec<Value>>> {
    let mut at = first.to_owned();
    let mut out = Vec::new();
    for _ in 0..PAGES_MAX {
        let response = remote.send(&Ask::get(&at, scope)).await?;
        if response.status() == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        ensure!(response.status().is_success(), "{at}: {}", said(response).await);
        let next = next_page(&response);
        let mut page: Value = serde_json::from_slice(&bounded(response, ANSWER_BYTES_MAX).await?)
            .context("a page of a list")?;
        if let Some(Value::Array(entries)) = page.get_mut(field) {
            out.append(entries);
        }
        ensure!(
            out.len() <= ENTRIES_MAX,
            "{first}: more than {ENTRIES_MAX} entries"
        );
        match next {
            Some(next) if next != at => at = next,
            _ => return Ok(Some(out)),
        }
    }
    bail!("{first}: more than {PAGES_MAX} pages")
}
