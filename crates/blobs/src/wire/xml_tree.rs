//! Small XML documents as trees: policies, tags, the service's properties. Block lists, which can be
//! long, have a reader of their own.
//!
//! Invariant: depth and number of elements are bounded; a document that isn't whole is refused.

use quick_xml::Reader;
use quick_xml::events::Event;

use crate::error::{BlobsError, ErrorCode};
use crate::limits::{XML_DEPTH_MAX, XML_ELEMENTS_MAX};

/// An element.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Element {
    pub(crate) tag: String,
    /// Its own text, without white space around it.
    pub(crate) text: String,
    pub(crate) children: Vec<Element>,
}

impl Element {
    /// Reads a document whose root is `root`.
    ///
    /// # Errors
    /// `InvalidXmlDocument`.
    pub(crate) fn parse(body: &[u8], root: &str) -> Result<Self, BlobsError> {
        let text = std::str::from_utf8(body).map_err(|_| ErrorCode::InvalidXmlDocument)?;
        let mut reader = Reader::from_str(text.trim_start_matches('\u{FEFF}'));
        let mut open: Vec<Self> = Vec::new();
        let mut whole = None;
        let mut elements = 0;
        loop {
            let event = reader.read_event().map_err(|_| ErrorCode::InvalidXmlDocument)?;
            let closed = match event {
                Event::Start(tag) => {
                    elements += 1;
                    if whole.is_some() || open.len() >= XML_DEPTH_MAX || elements > XML_ELEMENTS_MAX {
                        return Err(ErrorCode::InvalidXmlDocument.into());
                    }
                    open.push(Self {
                        tag: tag.name().as_ref().to_owned(),
                        ..Self::default()
                    });
                    continue;
                }
                Event::Empty(tag) => {
                    elements += 1;
                    if elements > XML_ELEMENTS_MAX {
                        return Err(ErrorCode::InvalidXmlDocument.into());
                    }
                    Self {
                        tag: tag.name().as_ref().to_owned(),
                        ..Self::default()
                    }
                }
                Event::Text(part) => {
                    match open.last_mut() {
                        Some(element) => element.text.push_str(&part),
                        None if part.trim().is_empty() => {}
                        None => return Err(ErrorCode::InvalidXmlDocument.into()),
                    }
                    continue;
                }
                Event::GeneralRef(reference) => {
                    let resolved = match reference.resolve_char_ref() {
                        Ok(Some(character)) => character.to_string(),
                        _ => quick_xml::escape::resolve_predefined_entity(&reference)
                            .ok_or(ErrorCode::InvalidXmlDocument)?
                            .to_owned(),
                    };
                    let element = open.last_mut().ok_or(ErrorCode::InvalidXmlDocument)?;
                    element.text.push_str(&resolved);
                    continue;
                }
                Event::End(_) => open.pop().ok_or(ErrorCode::InvalidXmlDocument)?,
                Event::Decl(_) | Event::Comment(_) => continue,
                Event::Eof if open.is_empty() => {
                    return whole.ok_or_else(|| ErrorCode::InvalidXmlDocument.into());
                }
                _ => return Err(ErrorCode::InvalidXmlDocument.into()),
            };
            let mut closed = closed;
            // White space between elements is layout; inside one that has only text it may be meant.
            if !closed.children.is_empty() {
                closed.text = closed.text.trim().to_owned();
            }
            match open.last_mut() {
                Some(parent) => parent.children.push(closed),
                None if whole.is_none() && closed.tag == root => whole = Some(closed),
                None => return Err(ErrorCode::InvalidXmlDocument.into()),
            }
        }
    }

    /// The first child with a tag.
    pub(crate) fn child(&self, tag: &str) -> Option<&Self> {
        self.children.iter().find(|child| child.tag == tag)
    }

    /// The text of the first child with a tag; empty if there is none.
    pub(crate) fn text_of(&self, tag: &str) -> &str {
        self.child(tag).map_or("", |child| child.text.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_read() {
        let document = b"\xEF\xBB\xBF<?xml version=\"1.0\"?>\n<Tags>\n <Tag><Key>a &amp; b</Key><Value> x&#x41;</Value></Tag><Tag /></Tags>";
        let tree = Element::parse(document, "Tags").unwrap();
        assert_eq!((tree.children.len(), tree.text.as_str()), (2, ""));
        assert_eq!(tree.children[0].text_of("Key"), "a & b");
        assert_eq!(tree.children[0].text_of("Value"), " xA");
        assert_eq!(tree.children[1].text_of("Key"), "");
    }

    #[test]
    fn broken_documents_are_refused() {
        let deep = "<a>".repeat(XML_DEPTH_MAX + 1) + &"</a>".repeat(XML_DEPTH_MAX + 1);
        let long = format!("<a>{}</a>", "<b/>".repeat(XML_ELEMENTS_MAX + 1));
        for body in [
            "",
            "<a>",
            "<b/>",
            "<a/><a/>",
            "<a>&unknown;</a>",
            "<a></b>",
            "x<a/>",
            "<!DOCTYPE a><a/>",
            &deep,
            &long,
        ] {
            let found = Element::parse(body.as_bytes(), "a").map_err(|error| error.code);
            assert_eq!(found, Err(ErrorCode::InvalidXmlDocument), "{body:?}");
        }
    }
}
