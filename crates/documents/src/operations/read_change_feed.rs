//! Read Change Feed, latest version: each item at its last write, in the order of commits.
//! The etag is the commit up to which the client has seen everything.

use http::StatusCode;
use http_semantics::etag::TagList;
use ledger::Sequence;

use crate::error::DocumentsError;
use crate::query::Scope;
use crate::rules::charge;
use crate::store::Container;
use crate::store::change_feed::{PageEnd, newest_change, read_changes};
use crate::wire::answer::Answer;
use crate::wire::call::Call;
use crate::wire::headers;

/// The form in which a change is an object around the item.
pub(super) const WIRE_FORMAT: &str = "2021-09-15";

pub(super) async fn run(call: &Call<'_>) -> Result<Answer, DocumentsError> {
    let (snapshot, container) = call.snapshot_of_container().await?;
    let scope = call.scope(&container)?;
    let head = snapshot.sequence();
    let after = match call.if_none_match() {
        None => 0,
        // Not the head, which other containers' writes move: clients take the difference of two
        // positions for the number of changes between them.
        Some(TagList::Any) => newest_change(snapshot.as_ref(), &container).await?,
        Some(tags) => position(&tags, head)?,
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
    let end = PageEnd::new(call.items_max()?, call.documents.clock.as_ref());
    let page = read_changes(snapshot.as_ref(), &container, after, &end, |record| {
        if since.is_some_and(|since| record.ts < since) || record.is_expired(container.default_ttl, now) {
            return Ok(false);
        }
        Ok(scope == Scope::Whole || scope.admits(&container, &record.parse()?)?)
    });
    let page = page.await?;
    // What Java's change feed processor asks for when it hands over changes in place of items.
    let wrapped = call.header(headers::CHANGE_FEED_WIRE_FORMAT) == Some(WIRE_FORMAT);
    let mut elements = Elements::default();
    for (record, sequence) in &page.items {
        let document = record.text.strip_suffix(b"}").unwrap_or(&record.text);
        let lsn = format!(",\"_lsn\":{sequence}}}");
        if wrapped {
            let metadata = format!(",\"metadata\":{{\"lsn\":{sequence},\"crts\":{}}}}}", record.ts);
            elements.add(&[b"{\"current\":", document, lsn.as_bytes(), metadata.as_bytes()]);
        } else {
            elements.add(&[document, lsn.as_bytes()]);
        }
    }
    let nothing_up_to = page.through;
    Ok(elements.into_answer(&container, page.through, page.more, nothing_up_to, head))
}

/// The commit that a client has seen everything of: `*` is now.
pub(super) fn position(tags: &TagList, head: Sequence) -> Result<Sequence, DocumentsError> {
    match tags {
        TagList::Any => Ok(head),
        TagList::Tags(tags) => {
            let tag = tags.first().map(String::as_str).unwrap_or_default();
            tag.trim_matches('"').parse().map_err(|_| {
                DocumentsError::bad_request(format!("If-None-Match {tag} is not an etag of this feed."))
            })
        }
    }
}

/// The elements of a page, as text.
#[derive(Debug, Default)]
pub(super) struct Elements {
    text: Vec<u8>,
    count: usize,
}

impl Elements {
    /// Adds an element that is made of these pieces.
    pub(super) fn add(&mut self, pieces: &[&[u8]]) {
        if self.count > 0 {
            self.text.push(b',');
        }
        self.count += 1;
        for piece in pieces {
            self.text.extend_from_slice(piece);
        }
    }

    /// The page that goes through a commit: 304, and nothing up to another one, if nothing changed. An
    /// empty page that isn't the last one is 200, so that clients ask on.
    pub(super) fn into_answer(
        self,
        container: &Container,
        through: Sequence,
        more: bool,
        nothing_up_to: Sequence,
        head: Sequence,
    ) -> Answer {
        let (answer, through) = if self.count == 0 && !more {
            (Answer::new(StatusCode::NOT_MODIFIED, "", 1.0), nothing_up_to)
        } else {
            let count = self.count as u64;
            let charge = charge::page(self.text.len() as u64, count, count);
            let body = [Answer::documents_head(&container.rid).as_bytes(), &self.text].concat();
            let answer = Answer::documents(body, self.count, charge);
            (answer, through)
        };
        answer
            .with_etag(&format!("\"{through}\""))
            .with_session(head)
            .with(headers::RANGE_ID, "0")
            .with_owner(container)
    }
}
