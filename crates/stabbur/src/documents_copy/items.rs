//! An item as the source gives it, and the same as it is kept: without what services set.
//!
//! The members' texts stay as they are, so a number keeps every digit of its text.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// What the services set. `_lsn` is where a feed says in which commit it was.
const SYSTEM_PROPERTIES: [&str; 6] = ["_rid", "_self", "_etag", "_attachments", "_ts", "_lsn"];

/// An object's members in their order.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

/// The item's text without system properties.
pub(super) fn without_system_properties(text: &str) -> serde_json::Result<Vec<u8>> {
    let Members(members) = serde_json::from_str(text)?;
    let mut out = Vec::with_capacity(text.len());
    out.push(b'{');
    for (name, value) in members {
        if SYSTEM_PROPERTIES.contains(&name.as_str()) {
            continue;
        }
        if out.len() > 1 {
            out.push(b',');
        }
        serde_json::to_writer(&mut out, &name)?;
        out.push(b':');
        out.extend_from_slice(value.get().as_bytes());
    }
    out.push(b'}');
    Ok(out)
}

/// The item's content.
pub(super) fn content(text: &[u8]) -> serde_json::Result<serde_json::Value> {
    let mut content: serde_json::Value = serde_json::from_slice(text)?;
    if let Some(object) = content.as_object_mut() {
        object.retain(|name, _| !SYSTEM_PROPERTIES.contains(&name.as_str()));
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_system_properties_go() {
        let text = r#"{"_rid":"x","id" : "1","n":0.30000000000000004441,"_mine":{"_ts":1, "a":[ 1 ]},"q\"\u00e5":null,"_ts":5,"_lsn":7,"_etag":"e","_self":"s","_attachments":"a"}"#;
        let kept = without_system_properties(text).unwrap();
        assert_eq!(
            std::str::from_utf8(&kept).unwrap(),
            r#"{"id":"1","n":0.30000000000000004441,"_mine":{"_ts":1, "a":[ 1 ]},"q\"å":null}"#
        );
        assert_eq!(content(text.as_bytes()).unwrap(), content(&kept).unwrap());
        assert_eq!(without_system_properties("{\"_ts\":1}").unwrap(), b"{}");
        assert!(without_system_properties("[1]").is_err());
    }
}
