//! XML in and out.

use jiff::Timestamp;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use quick_xml::Reader;
use quick_xml::events::Event;

use crate::error::{BlobsError, ErrorCode};
use crate::limits::BLOCKS_MAX;
use crate::rules::block_list::Source;

pub(crate) const DECLARATION: &str = "<?xml version=\"1.0\" encoding=\"utf-8\"?>";

/// Text as XML holds it.
pub(crate) fn escape(text: &str) -> String {
    quick_xml::escape::escape(text).into_owned()
}

/// `Name`, percent-coded where XML can't hold it.
pub(crate) fn name(text: &str) -> String {
    let holds = |c: char| c >= ' ' && c != '\u{FFFE}' && c != '\u{FFFF}';
    if text.chars().all(holds) {
        format!("<Name>{}</Name>", escape(text))
    } else {
        format!(
            "<Name Encoded=\"true\">{}</Name>",
            utf8_percent_encode(text, NON_ALPHANUMERIC)
        )
    }
}

/// One element with text.
pub(crate) fn element(tag: &str, text: &str) -> String {
    format!("<{tag}>{}</{tag}>", escape(text))
}

/// A time as error messages hold it.
pub(crate) fn timestamp(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()
}

/// Reads a block list.
///
/// # Errors
/// `InvalidXmlDocument`, `BlockListTooLong`.
pub(crate) fn block_list(body: &[u8]) -> Result<Vec<(Source, String)>, BlobsError> {
    let text = std::str::from_utf8(body).map_err(|_| ErrorCode::InvalidXmlDocument)?;
    let mut reader = Reader::from_str(text.trim_start_matches('\u{FEFF}'));
    let mut list = Vec::new();
    let mut open: Vec<String> = Vec::new();
    let mut seen = false;
    let mut value = String::new();
    loop {
        match reader.read_event().map_err(|_| ErrorCode::InvalidXmlDocument)? {
            Event::Start(tag) => {
                let tag = tag.name().as_ref().to_owned();
                let fits = match open.len() {
                    0 => tag == "BlockList" && !seen,
                    1 => ["Committed", "Uncommitted", "Latest"].contains(&tag.as_str()),
                    _ => false,
                };
                if !fits {
                    return Err(ErrorCode::InvalidXmlDocument.into());
                }
                seen = true;
                value.clear();
                open.push(tag);
            }
            Event::Empty(tag) if open.is_empty() && tag.name().as_ref() == "BlockList" && !seen => {
                seen = true;
            }
            Event::Text(part) => {
                let part: &str = &part;
                if open.len() == 2 {
                    value.push_str(part);
                } else if !part.trim().is_empty() {
                    return Err(ErrorCode::InvalidXmlDocument.into());
                }
            }
            Event::End(_) => {
                let Some(tag) = open.pop() else {
                    return Err(ErrorCode::InvalidXmlDocument.into());
                };
                let source = match tag.as_str() {
                    "Committed" => Source::Committed,
                    "Uncommitted" => Source::Uncommitted,
                    "Latest" => Source::Latest,
                    _ => continue,
                };
                if list.len() >= BLOCKS_MAX {
                    return Err(ErrorCode::BlockListTooLong.into());
                }
                list.push((source, value.trim().to_owned()));
            }
            Event::Eof if open.is_empty() && seen => return Ok(list),
            Event::Decl(_) | Event::Comment(_) => {}
            _ => return Err(ErrorCode::InvalidXmlDocument.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn block_lists_are_read() {
        let list = block_list(
            b"<?xml version=\"1.0\"?>\n<BlockList>\n <Latest>YQ==</Latest><Committed>Yg==</Committed></BlockList>",
        );
        assert_eq!(
            list.unwrap(),
            [
                (Source::Latest, "YQ==".to_owned()),
                (Source::Committed, "Yg==".to_owned())
            ]
        );
        assert_eq!(block_list(b"<BlockList/>").unwrap(), []);
        let bad: [&[u8]; 7] = [
            b"",
            b"<BlockList>",
            b"<BlockList><Latest>a</BlockList>",
            b"<BlockList><Other>a</Other></BlockList>",
            b"<BlockList><Latest><Latest>a</Latest></Latest></BlockList>",
            b"<BlockList></BlockList><BlockList></BlockList>",
            b"\xFF\xFE",
        ];
        for body in bad {
            assert_eq!(
                block_list(body).unwrap_err().code,
                ErrorCode::InvalidXmlDocument,
                "{body:?}"
            );
        }
    }
}
