//! Put Block List: which blocks a blob consists of afterwards.
//!
//! Source: "Put Block List", "Remarks".

use std::collections::HashMap;

use crate::error::ErrorCode;

/// Where a listed block is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// Among the blob's committed blocks.
    Committed,
    /// Among the staged blocks.
    Uncommitted,
    /// Among the staged blocks, then among the committed ones.
    Latest,
}

/// Picks the listed blocks, in order.
///
/// # Errors
/// `InvalidBlockList` if one isn't where it is looked for.
pub fn merge<'a, B>(
    list: &[(Source, String)],
    committed: &'a HashMap<String, B>,
    staged: &'a HashMap<String, B>,
) -> Result<Vec<(String, &'a B)>, ErrorCode> {
    list.iter()
        .map(|(source, id)| {
            let block = match source {
                Source::Committed => committed.get(id),
                Source::Uncommitted => staged.get(id),
                Source::Latest => staged.get(id).or_else(|| committed.get(id)),
            };
            block
                .map(|block| (id.clone(), block))
                .ok_or(ErrorCode::InvalidBlockList)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_taken_from_where_the_list_says() {
        let map = |pairs: &[(&str, u32)]| pairs.iter().map(|(id, n)| ((*id).to_owned(), *n)).collect();
        let committed: HashMap<String, u32> = map(&[("a", 1), ("b", 2)]);
        let staged: HashMap<String, u32> = map(&[("b", 20), ("c", 30)]);
        let take = |list: &[(Source, &str)]| {
            let list: Vec<_> = list
                .iter()
                .map(|(source, id)| (*source, (*id).to_owned()))
                .collect();
            merge(&list, &committed, &staged)
                .map(|found| found.into_iter().map(|(_, n)| *n).collect::<Vec<_>>())
        };
        use Source::{Committed, Latest, Uncommitted};
        assert_eq!(
            take(&[(Latest, "b"), (Committed, "b"), (Uncommitted, "c")]),
            Ok(vec![20, 2, 30])
        );
        assert_eq!(take(&[(Latest, "a"), (Latest, "a")]), Ok(vec![1, 1]));
        assert_eq!(take(&[]), Ok(vec![]));
        assert_eq!(take(&[(Committed, "c")]), Err(ErrorCode::InvalidBlockList));
        assert_eq!(take(&[(Uncommitted, "a")]), Err(ErrorCode::InvalidBlockList));
        assert_eq!(take(&[(Latest, "z")]), Err(ErrorCode::InvalidBlockList));
    }
}
