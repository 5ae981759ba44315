//! XML of policies into a bounded tree. Namespace prefixes are dropped: Altinn's policies are
//! written with several.

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

use super::policy::PolicyError;
use crate::limits::{POLICY_DEPTH_MAX, POLICY_ELEMENTS_MAX};

/// An element.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Element {
    pub(crate) name: String,
    pub(crate) attributes: Vec<(String, String)>,
    pub(crate) children: Vec<Element>,
    pub(crate) text: String,
}

impl Element {
    /// An attribute's value.
    pub(crate) fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes
            .iter()
            .find(|(found, _)| found == name)
            .map(|(_, value)| value.as_str())
    }

    /// An attribute's value, which must be there.
    pub(crate) fn required(&self, name: &str) -> Result<&str, PolicyError> {
        self.attribute(name)
            .ok_or_else(|| PolicyError(format!("<{}> has no {name}", self.name)))
    }
}

/// Reads one document.
pub(crate) fn read(text: &str) -> Result<Element, PolicyError> {
    let mut reader = Reader::from_str(text.trim_start_matches('\u{FEFF}'));
    let mut open: Vec<Element> = Vec::new();
    let mut root = None;
    let mut elements = 0_usize;
    loop {
        let event = reader
            .read_event()
            .map_err(|error| PolicyError(format!("byte {}: {error}", reader.error_position())))?;
        match event {
            Event::Start(tag) => {
                count(&mut elements)?;
                if open.len() >= POLICY_DEPTH_MAX || root.is_some() {
                    return Err(PolicyError("too deep, or more than one root element".to_owned()));
                }
                open.push(element(&tag)?);
            }
            Event::Empty(tag) => {
                count(&mut elements)?;
                let element = element(&tag)?;
                close(element, &mut open, &mut root)?;
            }
            Event::End(_) => {
                let element = open
                    .pop()
                    .ok_or_else(|| PolicyError("an end without a start".to_owned()))?;
                close(element, &mut open, &mut root)?;
            }
            Event::Text(part) => add_text(&mut open, &part)?,
            Event::CData(part) => add_text(&mut open, &part)?,
            Event::GeneralRef(reference) => {
                let name: &str = &reference;
                let character = match name {
                    "amp" => Some('&'),
                    "lt" => Some('<'),
                    "gt" => Some('>'),
                    "quot" => Some('"'),
                    "apos" => Some('\''),
                    _ => reference.resolve_char_ref().ok().flatten(),
                };
                let character = character.ok_or_else(|| PolicyError(format!("unknown entity {name:?}")))?;
                add_text(&mut open, character.encode_utf8(&mut [0; 4]))?;
            }
            Event::Decl(_) | Event::Comment(_) | Event::PI(_) => {}
            Event::DocType(_) => return Err(PolicyError("a document type isn't taken".to_owned())),
            Event::Eof => {
                return match (open.is_empty(), root) {
                    (true, Some(root)) => Ok(root),
                    _ => Err(PolicyError("the document ends early".to_owned())),
                };
            }
        }
    }
}

fn count(elements: &mut usize) -> Result<(), PolicyError> {
    *elements += 1;
    if *elements > POLICY_ELEMENTS_MAX {
        return Err(PolicyError(format!("more than {POLICY_ELEMENTS_MAX} elements")));
    }
    Ok(())
}

fn add_text(open: &mut [Element], text: &str) -> Result<(), PolicyError> {
    match open.last_mut() {
        Some(element) => element.text.push_str(text),
        None if text.trim().is_empty() => {}
        None => return Err(PolicyError("text outside of the root element".to_owned())),
    }
    Ok(())
}

fn close(element: Element, open: &mut [Element], root: &mut Option<Element>) -> Result<(), PolicyError> {
    match open.last_mut() {
        Some(parent) => parent.children.push(element),
        None if root.is_none() => *root = Some(element),
        None => return Err(PolicyError("more than one root element".to_owned())),
    }
    Ok(())
}

fn element(tag: &BytesStart<'_>) -> Result<Element, PolicyError> {
    let mut attributes = Vec::new();
    for attribute in tag.attributes() {
        let attribute = attribute.map_err(|error| PolicyError(error.to_string()))?;
        let value = quick_xml::escape::unescape(&attribute.value)
            .map_err(|error| PolicyError(error.to_string()))?
            .into_owned();
        attributes.push((local(attribute.key.as_ref()).to_owned(), value));
    }
    Ok(Element {
        name: local(tag.name().as_ref()).to_owned(),
        attributes,
        ..Element::default()
    })
}

fn local(name: &str) -> &str {
    name.rsplit_once(':').map_or(name, |(_, local)| local)
}
