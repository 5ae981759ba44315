//! Read Change Feed, latest version: each item at its last write, in the order of commits.
//! The etag is the commit up to which the client has seen everything.

use http::StatusCode;
use http_semantics::etag::TagList;

use crate::error::DocumentsError;
use crate::query::Scope;
use crate::rules::charge;
use crate::store::change_feed::read_changes;
use crate::wire::answer::Answer;
use crate::wire::call::Call;
use crate::wire::headers;

pub(super) async fn run(call: &Call<'_>) -> Result<Answer, DocumentsError> {
    let snapshot = call.snapshot().await?;
    let container = call.container().await?;
    let scope = call.scope(&container)?;
    let head = snapshot.sequence();
    let after = match call.if_none_match() {
        None => 0,
        Some(TagList::Any) => head,
        Some(TagList::Tags(tags)) => {
            let tag = tags.first().map(String::as_str).unwrap_or_default();
            tag.trim_matches('"').parse().map_err(|_| {
                DocumentsError::bad_request(format!("If-None-Match {tag} is not an etag of this feed."))
            })?
        }
    };
    let since = match call.header(headers::IF_MODIFIED_SINCE) {
        // An etag knows better than a time.
        Some(text) if call.if_none_match().is_none() => {
            let since = http_semantics::date::parse(text);
            let since =
                since.ok_or_else(|| DocumentsError::bad_request("If-Modified-Since is not an HTTP date."))?;
            Some(since.as_second())
        }
        _ => None,
    };
    let now = call.documents.clock.now().as_second();
    let page = read_changes(
        snapshot.as_ref(),
        &container,
        after,
        call.items_max()?,
        |record| {
            if since.is_some_and(|since| record.ts < since) || record.is_expired(container.default_ttl, now) {
                return Ok(false);
            }
            Ok(scope == Scope::Whole || scope.admits(&container, &record.parse()?)?)
        },
    );
    let page = page.await?;
    if page.items.is_empty() {
        // Nothing up to here: whoever asks again needn't read the same commits.
        let answer = Answer::new(StatusCode::NOT_MODIFIED, "", 1.0);
        let through = if page.through == after {
            head.max(after)
        } else {
            page.through
        };
        return Ok(answer
            .with_etag(&format!("\"{through}\""))
            .with_session(head)
            .with(headers::RANGE_ID, "0")
            .with_owner(&container));
    }
    let mut elements = Vec::new();
    let mut bytes = 0u64;
    for (place, (record, sequence)) in page.items.iter().enumerate() {
        if place > 0 {
            elements.push(b',');
        }
        bytes += record.text.len() as u64;
        elements.extend_from_slice(record.text.strip_suffix(b"}").unwrap_or(&record.text));
        elements.extend_from_slice(format!(",\"_lsn\":{sequence}}}").as_bytes());
    }
    let count = page.items.len();
    let charge = charge::page(bytes, count as u64, count as u64);
    Ok(Answer::documents(&container.rid, &elements, count, charge)
        .with_etag(&format!("\"{}\"", page.through))
        .with_session(head)
        .with(headers::RANGE_ID, "0")
        .with_owner(&container))
}
