//! Runs one page of a read feed: items as they are stored, in the order of their numbers.

use ledger::Snapshot;

use super::continuation::FeedToken;
use super::opening::open_conditions;
use super::page::{Counters, ItemsRequest, Page, request_hash};
use super::plan::{Scope, narrowing};
use super::rows::Rows;
use super::source::NumberSource;
use crate::Documents;
use crate::error::DocumentsError;

impl Documents {
    /// One page of a read feed: items as they are stored, added to `rows`.
    pub(crate) async fn read_feed(
        &self,
        snapshot: &dyn Snapshot,
        request: &ItemsRequest<'_>,
        rows: Rows,
    ) -> Result<Page, DocumentsError> {
        let hash = request_hash(request, "", &[]);
        let from = match request
            .continuation
            .map(|text| FeedToken::decode(text, hash))
            .transpose()?
        {
            None => 0,
            Some(FeedToken::ByNumber { number, .. }) => number,
            Some(_) => {
                return Err(DocumentsError::bad_request(
                    "Invalid Continuation Token: it is of another kind.",
                ));
            }
        };
        let container = request.container;
        let counters = Counters::begun(self.clock.as_ref());
        let mut page = Page {
            rows,
            continuation: None,
            counters,
            compiled: None,
        };
        let narrowing = narrowing(container, &request.scope, &documents_sql::Access::default());
        let conditions = open_conditions(snapshot, &narrowing, &mut page.counters).await?;
        let mut source = if narrowing.nothing {
            NumberSource::empty(container)
        } else {
            NumberSource::new(
                container,
                conditions,
                from,
                (request.items_max as u64).saturating_add(1),
            )
        };
        let now = self.clock.now().as_second();
        while let Some((number, record)) = source.next(snapshot, &mut page.counters).await? {
            if record.is_expired(container.default_ttl, now) {
                continue;
            }
            // One partition's keys name it exactly; a range of them has to be checked.
            let exact = matches!(request.scope, Scope::Whole | Scope::Key(_));
            if !exact && !request.scope.admits(container, &record.parse()?)? {
                continue;
            }
            if page.rows.is_full(request.items_max) || page.counters.is_over_time(self.clock.as_ref()) {
                page.continuation = Some(FeedToken::ByNumber { number, rows: 0 }.encode(hash));
                return Ok(page);
            }
            page.rows.add_stored(&record)?;
        }
        Ok(page)
    }
}
