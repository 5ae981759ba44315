//! JSON read strictly: bounded depth and number of values, and no object with the same key twice. Two readers of a document with
//! duplicate keys may see two different manifests, of which one was checked (CVE-2021-41190 is of that kind).

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// Reads `bytes`; the cause, for people, if they aren't such a document.
pub(crate) fn parse(bytes: &[u8], depth_max: usize, values_max: usize) -> Result<Value, String> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let values_left = Cell::new(values_max);
    let strict = Strict {
        depth_left: depth_max,
        values_left: &values_left,
    };
    let value = strict
        .deserialize(&mut reader)
        .map_err(|error| error.to_string())?;
    reader.end().map_err(|error| error.to_string())?;
    Ok(value)
}

/// With this many levels and values left.
#[derive(Clone, Copy)]
struct Strict<'a> {
    depth_left: usize,
    /// Of the whole document: a value takes many times the memory of its text.
    values_left: &'a Cell<usize>,
}

impl Strict<'_> {
    fn deeper<E: serde::de::Error>(self) -> Result<Self, E> {
        let left = self.depth_left.checked_sub(1);
        let depth_left = left.ok_or_else(|| E::custom("nested too deeply"))?;
        Ok(Self { depth_left, ..self })
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        let left = self.values_left.get().checked_sub(1);
        self.values_left
            .set(left.ok_or_else(|| D::Error::custom("too many values"))?);
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut out = Vec::new();
        while let Some(element) = elements.next_element_seed(inner)? {
            out.push(element);
        }
        Ok(Value::Array(out))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut out = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            let value = entries.next_value_seed(inner)?;
            if out.contains_key(&key) {
                return Err(A::Error::custom(format_args!("the key {key:?} comes twice")));
            }
            out.insert(key, value);
        }
        Ok(Value::Object(out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_and_duplicates_are_refused() {
        let text = br#"{"a": [1, -2, 2.5, "x", null, true, {"b": {}}]}"#;
        let expected: Value = serde_json::from_slice(text).unwrap();
        assert_eq!(parse(text, 32, 10).unwrap(), expected);
        assert!(parse(text, 4, 10).is_ok());
        assert!(parse(text, 3, 10).unwrap_err().contains("deeply"));
        assert!(parse(text, 32, 9).unwrap_err().contains("too many"));
        for twice in [r#"{"a": 1, "a": 1}"#, r#"[{"b": {"a": 1, "\u0061": 2}}]"#] {
            assert!(
                parse(twice.as_bytes(), 32, 10).unwrap_err().contains("twice"),
                "{twice}"
            );
        }
        for bad in ["", "{", "{} {}", "nul", "\u{feff}{}"] {
            assert!(parse(bad.as_bytes(), 32, 10).is_err(), "{bad}");
        }
        assert!(parse(&[b'[', b'"', 0xFF, b'"', b']'], 32, 10).is_err());
        assert!(parse("[".repeat(100_000).as_bytes(), 32, 200_000).is_err());
    }
}
