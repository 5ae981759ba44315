//! Reads a document's JSON text: bounded in depth, repeated names noticed.
//!
//! Invariant: a text whose names repeat is never stored as it came, because its index would be
//! built from one of the two values and a reader might take the other.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use crate::error::DocumentsError;
use crate::limits::DOCUMENT_DEPTH_MAX;

/// A text that was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Parsed {
    /// Its value; of a repeated name the last one.
    pub value: Value,
    /// Whether some name repeats within an object.
    pub repeated_names: bool,
}

/// Reads one JSON text.
///
/// # Errors
/// 400 for malformed text and for nesting past [`DOCUMENT_DEPTH_MAX`].
pub fn parse(text: &[u8]) -> Result<Parsed, DocumentsError> {
    let mut repeated_names = false;
    // The parser itself stops at a depth of 128, long before its own stack ends.
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let value = Seed {
        repeated_names: &mut repeated_names,
        depth: 0,
    }
    .deserialize(&mut deserializer)
    .and_then(|value| deserializer.end().map(|()| value))
    .map_err(|error| {
        DocumentsError::bad_request(format!(
            "The request body is not valid JSON, or nested deeper than {DOCUMENT_DEPTH_MAX}: {error}."
        ))
    })?;
    Ok(Parsed {
        value,
        repeated_names,
    })
}

struct Seed<'a> {
    repeated_names: &'a mut bool,
    depth: usize,
}

impl Seed<'_> {
    fn deeper(&mut self) -> Seed<'_> {
        Seed {
            repeated_names: self.repeated_names,
            depth: self.depth + 1,
        }
    }

    fn check_depth<E: serde::de::Error>(&self) -> Result<(), E> {
        if self.depth >= DOCUMENT_DEPTH_MAX {
            return Err(E::custom("too deep"));
        }
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value)
            .map(Value::Number)
            .ok_or_else(|| E::custom("a number out of range"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<Value, A::Error> {
        self.check_depth()?;
        let mut array = Vec::new();
        while let Some(item) = items.next_element_seed(self.deeper())? {
            array.push(item);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut members: A) -> Result<Value, A::Error> {
        self.check_depth()
            .map_err(|error: A::Error| A::Error::custom(error))?;
        let mut object = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            let value = members.next_value_seed(self.deeper())?;
            if object.insert(name, value).is_some() {
                *self.repeated_names = true;
            }
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn reads_and_notices_repeated_names() {
        let parsed = parse(br#"{"a":1,"b":{"c":[1,2.5,"x",null,true]}}"#).unwrap();
        assert_eq!(parsed.value, json!({"a":1,"b":{"c":[1,2.5,"x",null,true]}}));
        assert!(!parsed.repeated_names);
        let parsed = parse(br#"{"b":{"a":1,"a":2}}"#).unwrap();
        assert_eq!(parsed.value, json!({"b":{"a":2}}));
        assert!(parsed.repeated_names);
    }

    /// A number of a query's text and the same of a document must be one.
    #[test]
    fn numbers_are_the_nearest_to_their_texts() {
        let parsed = parse(b"[6.3333336e150]").unwrap();
        assert_eq!(parsed.value[0].as_f64(), "6.3333336e150".parse().ok());
        let partial = crate::rules::partial_json::parse(br#"{"n": 6.3333336e150}"#, &["n".to_owned()]);
        assert_eq!(partial.unwrap()["n"], parsed.value[0]);
    }

    proptest::proptest! {
        #[test]
        fn each_number_is_read_as_it_was_written(number in proptest::num::f64::NORMAL) {
            let parsed = parse(format!("[{number:e}]").as_bytes()).unwrap();
            proptest::prop_assert_eq!(parsed.value[0].as_f64(), Some(number));
            let again = parse(parsed.value.to_string().as_bytes()).unwrap();
            proptest::prop_assert_eq!(again.value, parsed.value);
        }
    }

    #[test]
    fn refuses_what_is_not_json_or_too_deep() {
        for bad in [
            "",
            "{",
            "{\"a\":}",
            "{} {}",
            "{\"a\":1e999}",
            "nul",
            "\"\\ud800\"",
        ] {
            assert!(parse(bad.as_bytes()).is_err(), "{bad}");
        }
        assert!(parse(&[0xFF, 0xFE]).is_err());
        let nested = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
        assert!(parse(nested(127).as_bytes()).is_ok());
        assert!(parse(nested(200).as_bytes()).is_err());
        assert!(parse(nested(10_000).as_bytes()).is_err());
        assert!(parse("[".repeat(1_000_000).as_bytes()).is_err());
    }
}
