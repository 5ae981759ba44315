//! Session tokens: how far a client has seen. Ours are `0:-1#<sequence>`, the ledger's sequence
//! number being the one counter of every container.

use ledger::Sequence;

/// The token for everything through `sequence`.
pub(crate) fn token(sequence: Sequence) -> String {
    format!("0:-1#{sequence}")
}

/// The furthest sequence number of a token, which may join several with commas; `None` if it
/// can't be read (another server's).
pub(crate) fn parse(text: &str) -> Option<Sequence> {
    text.split(',')
        .map(parse_one)
        .try_fold(0, |furthest, one| Some(furthest.max(one?)))
}

fn parse_one(text: &str) -> Option<Sequence> {
    let (_, progress) = text.trim().split_once(':')?;
    let mut parts = progress.split('#');
    let first = parts.next()?;
    parts.next().unwrap_or(first).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens() {
        let table = [
            (token(5), Some(5)),
            ("0:7".to_owned(), Some(7)),
            ("0:1#9#4=8".to_owned(), Some(9)),
            ("0:-1#3,0:-1#8".to_owned(), Some(8)),
            ("".to_owned(), None),
            ("0:x".to_owned(), None),
        ];
        for (text, wanted) in table {
            assert_eq!(parse(&text), wanted, "{text}");
        }
    }
}
