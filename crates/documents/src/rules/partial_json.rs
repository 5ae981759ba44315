//! Reads some properties of a document's text and passes over the others: a query that looks at
//! two of a dozen needn't build the rest.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::{Map, Value};

/// The document cut down to those of its top-level properties that `names` holds. The whole text
/// is checked to be JSON.
///
/// # Errors
/// If it isn't, or isn't an object.
pub fn parse(text: &[u8], names: &[String]) -> serde_json::Result<Value> {
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let value = deserializer.deserialize_map(Members { names })?;
    deserializer.end()?;
    Ok(value)
}

struct Members<'n> {
    names: &'n [String],
}

impl<'de> Visitor<'de> for Members<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(at) = members.next_key_seed(Wanted { names: self.names })? {
            match at.and_then(|at| self.names.get(at)) {
                Some(name) => {
                    let value: Value = members.next_value()?;
                    object.insert(name.clone(), value);
                }
                None => {
                    members.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(Value::Object(object))
    }
}

/// A name's place among the wanted ones.
struct Wanted<'n> {
    names: &'n [String],
}

impl<'de> DeserializeSeed<'de> for Wanted<'_> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Wanted<'_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<Self::Value, E> {
        Ok(self.names.iter().position(|wanted| wanted == name))
    }

    fn visit_bytes<E: serde::de::Error>(self, name: &[u8]) -> Result<Self::Value, E> {
        let name = std::str::from_utf8(name).map_err(|_| E::custom("a name that isn't UTF-8"))?;
        self.visit_str(name)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn wanted_properties_only() {
        let text = br#" {"a":1,"b":{"c":[1,{"a":2}]},"\u00e6":"\n","d":[{}]} "#;
        assert_eq!(
            parse(text, &names(&["b", "æ", "none"])).unwrap(),
            json!({"b":{"c":[1,{"a":2}]},"æ":"\n"})
        );
        assert_eq!(parse(text, &[]).unwrap(), json!({}));
        for bad in ["", "1", "[]", r#"{"a":1"#, r#"{"a":1} x"#, r#"{"a":tru}"#] {
            assert!(parse(bad.as_bytes(), &names(&["b"])).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn as_if_the_whole_had_been_read(
            members in prop::collection::btree_map("[a-d\"\\\\é]{0,2}", "\\PC{0,6}", 0..8),
            wanted in prop::collection::vec("[a-d\"\\\\é]{0,2}", 0..4),
        ) {
            let whole = json!(members);
            let mut expected = whole.clone();
            expected.as_object_mut().unwrap().retain(|name, _| wanted.contains(name));
            prop_assert_eq!(parse(whole.to_string().as_bytes(), &wanted).unwrap(), expected);
        }
    }
}
