//! Reads JSON as the original does: names of fields in any case, numbers and booleans also as
//! text, null as if the field weren't there. Keys of dictionaries stay as they are.
//!
//! It works because serde tells a deserializer which fields a struct has: those names, and only
//! those, are matched without regard to case. So models need no second list of their names. For
//! the same reason they must not use `#[serde(flatten)]`, which hides the names.

use serde::de::value::{MapDeserializer, SeqDeserializer};
use serde::de::{
    self, DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, VariantAccess,
    Visitor,
};
use serde_json::{Error, Value};

/// Reads `value` as a `T`.
///
/// # Errors
/// What is wrong, and with which field.
pub fn from_value<T: DeserializeOwned>(value: Value) -> Result<T, Error> {
    T::deserialize(Relaxed(value))
}

/// Reads JSON text as a `T`. serde_json bounds the depth (128).
///
/// # Errors
/// As [`from_value`], and malformed JSON.
pub fn from_slice<T: DeserializeOwned>(text: &[u8]) -> Result<T, Error> {
    from_value(serde_json::from_slice(text)?)
}

struct Relaxed(Value);

impl<'de> IntoDeserializer<'de, Error> for Relaxed {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

macro_rules! numbers {
    ($($method:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            match self.0 {
                Value::String(text) => match serde_json::from_str::<serde_json::Number>(text.trim()) {
                    Ok(number) => number.$method(visitor),
                    Err(_) => Err(de::Error::invalid_type(de::Unexpected::Str(&text), &visitor)),
                },
                value => value.$method(visitor),
            }
        })*
    };
}

impl<'de> Deserializer<'de> for Relaxed {
    type Error = Error;

    numbers! {
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_u8 deserialize_u16
        deserialize_u32 deserialize_u64 deserialize_f32 deserialize_f64
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.0.deserialize_any(visitor)
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match &self.0 {
            Value::String(text) if text.eq_ignore_ascii_case("true") => visitor.visit_bool(true),
            Value::String(text) if text.eq_ignore_ascii_case("false") => visitor.visit_bool(false),
            _ => self.0.deserialize_bool(visitor),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_string(visitor)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            Value::Number(number) => visitor.visit_string(number.to_string()),
            Value::Bool(value) => visitor.visit_string(value.to_string()),
            value => value.deserialize_string(visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            Value::Null => visitor.visit_none(),
            value => visitor.visit_some(Self(value)),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            Value::Array(items) => {
                let mut items = SeqDeserializer::new(items.into_iter().map(Self));
                let value = visitor.visit_seq(&mut items)?;
                items.end()?;
                Ok(value)
            }
            value => value.deserialize_seq(visitor),
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            Value::Object(object) => {
                let mut entries =
                    MapDeserializer::new(object.into_iter().map(|(name, value)| (name, Self(value))));
                let value = visitor.visit_map(&mut entries)?;
                entries.end()?;
                Ok(value)
            }
            value => value.deserialize_map(visitor),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match self.0 {
            Value::Object(object) => {
                // A name that comes twice, in two spellings: the last one counts, as in JSON.
                let mut renamed = serde_json::Map::with_capacity(object.len());
                for (sent, value) in object {
                    let known = fields.iter().find(|field| field.eq_ignore_ascii_case(&sent));
                    let name = known.map_or(sent, |field| (*field).to_owned());
                    if value.is_null() {
                        renamed.remove(&name);
                    } else {
                        renamed.insert(name, value);
                    }
                }
                visitor.visit_map(MapDeserializer::new(
                    renamed.into_iter().map(|(name, value)| (name, Self(value))),
                ))
            }
            // serde_json would take an array for a struct, field by field; JSON's readers don't.
            _ => Err(de::Error::custom(format!("an object was expected for {name}"))),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match self.0 {
            Value::String(sent) => {
                let known = variants
                    .iter()
                    .find(|variant| variant.eq_ignore_ascii_case(&sent));
                visitor.visit_enum(UnitVariant(known.map_or(sent, |variant| (*variant).to_owned())))
            }
            // The original also writes members of enumerations as their numbers.
            Value::Number(number) => {
                let known = number
                    .as_u64()
                    .and_then(|at| variants.get(usize::try_from(at).ok()?));
                match known {
                    Some(variant) => visitor.visit_enum(UnitVariant((*variant).to_owned())),
                    None => Err(de::Error::custom(format!("{number} is no {name}"))),
                }
            }
            value => value.deserialize_enum(name, variants, visitor),
        }
    }

    serde::forward_to_deserialize_any! {
        i128 u128 char bytes byte_buf unit unit_struct tuple tuple_struct identifier ignored_any
    }
}

struct UnitVariant(String);

impl<'de> EnumAccess<'de> for UnitVariant {
    type Error = Error;
    type Variant = Self;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self), Error> {
        let value = seed.deserialize(de::value::StringDeserializer::<Error>::new(self.0))?;
        Ok((value, Self(String::new())))
    }
}

impl<'de> VariantAccess<'de> for UnitVariant {
    type Error = Error;

    fn unit_variant(self) -> Result<(), Error> {
        Ok(())
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, _seed: S) -> Result<S::Value, Error> {
        Err(de::Error::custom("a name was expected"))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _length: usize, _visitor: V) -> Result<V::Value, Error> {
        Err(de::Error::custom("a name was expected"))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _fields: &'static [&'static str],
        _visitor: V,
    ) -> Result<V::Value, Error> {
        Err(de::Error::custom("a name was expected"))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;
    use serde_json::json;

    use super::*;

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(rename_all = "camelCase", default)]
    #[derive(Default)]
    struct Inner {
        some_flag: bool,
        kind: Option<Kind>,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    enum Kind {
        First,
        Second,
    }

    #[derive(Debug, Deserialize, PartialEq, Default)]
    #[serde(rename_all = "camelCase", default)]
    struct Outer {
        party_id: Option<String>,
        size: i64,
        inner: Option<Inner>,
        words: BTreeMap<String, Option<String>>,
        list: Vec<Inner>,
    }

    #[test]
    fn fields_in_any_case_and_dictionaries_as_they_are() {
        let read: Outer = from_value(json!({
            "PARTYID": 50, "Size": "7", "INNER": {"SOMEFLAG": "True", "Kind": "second"},
            "Words": {"Key": "V", "key": null}, "list": [{"someflag": true, "kind": 0}], "unknown": {"a": 1}
        }))
        .unwrap();
        assert_eq!(read.party_id.as_deref(), Some("50"));
        assert_eq!(read.size, 7);
        assert_eq!(
            read.inner,
            Some(Inner {
                some_flag: true,
                kind: Some(Kind::Second)
            })
        );
        assert_eq!(read.words.len(), 2);
        assert_eq!(
            read.list,
            [Inner {
                some_flag: true,
                kind: Some(Kind::First)
            }]
        );
    }

    #[test]
    fn null_is_as_good_as_absent() {
        let read: Outer = from_value(json!({
            "partyId": null, "size": null, "inner": {"someFlag": null, "kind": null}, "words": {"k": null}, "list": null
        }))
        .unwrap();
        let expected = Outer {
            inner: Some(Inner::default()),
            words: BTreeMap::from([("k".to_owned(), None)]),
            ..Outer::default()
        };
        assert_eq!(read, expected);
        let read: Outer = from_value(json!({"size": 7, "SIZE": null})).unwrap();
        assert_eq!(read.size, 0, "the last one counts");
    }

    #[test]
    fn wrong_kinds_are_refused() {
        for bad in [
            json!([]),
            json!({"size": "many"}),
            json!({"inner": 7}),
            json!({"inner": {"kind": "Third"}}),
            json!({"inner": {"kind": 9}}),
            json!({"list": {}}),
            json!({"inner": {"someFlag": "maybe"}}),
        ] {
            assert!(from_value::<Outer>(bad.clone()).is_err(), "{bad}");
        }
    }
}
