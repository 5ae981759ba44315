//! How many items a source reads at once.

/// Items that are read first: they may be large, and the page may end with them.
const FIRST: usize = 16;
const MAX: usize = 256;

/// Sizes of batches: small at first, then larger, and none past what the page wants as long as it isn't known
/// that some of what was read isn't for it.
#[derive(Debug, Clone)]
pub(super) struct Batches {
    /// Index entries of the next batch.
    entries: usize,
    /// Items of the next batch.
    items: usize,
    /// Items that the page wants and that weren't read yet.
    wanted: usize,
}

impl Batches {
    /// Of a page that wants so many items.
    pub(super) fn new(wanted: u64) -> Self {
        let wanted = usize::try_from(wanted).unwrap_or(usize::MAX);
        Self {
            entries: wanted.clamp(FIRST, MAX),
            items: FIRST,
            wanted,
        }
    }

    /// Index entries to read now. They are small: at once as many as the page wants.
    pub(super) fn entries(&mut self) -> usize {
        let entries = self.entries;
        self.entries = (entries * 2).min(MAX);
        entries
    }

    /// Items to read now.
    pub(super) fn items(&mut self) -> usize {
        let items = match self.wanted {
            0 => self.items,
            wanted => self.items.min(wanted),
        };
        self.wanted -= items.min(self.wanted);
        self.items = (self.items * 2).min(MAX);
        items
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_reads_what_it_wants_and_then_more_and_more() {
        let mut batches = Batches::new(101);
        assert_eq!(batches.entries(), 101);
        let items: Vec<usize> = (0..7).map(|_| batches.items()).collect();
        assert_eq!(items, [16, 32, 53, 128, 256, 256, 256]);
        assert_eq!([batches.entries(), batches.entries()], [202, 256]);
    }

    #[test]
    fn small_and_boundless_pages() {
        let mut one = Batches::new(1);
        assert_eq!((one.entries(), one.items(), one.items()), (16, 1, 32));
        let mut none = Batches::new(0);
        assert_eq!((none.entries(), none.items()), (16, 16));
        let mut all = Batches::new(u64::MAX);
        assert_eq!((all.entries(), all.entries(), all.items()), (256, 256, 16));
    }
}
