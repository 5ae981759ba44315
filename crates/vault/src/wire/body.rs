//! Bodies of requests. What may be secret in them is wiped when it is dropped, and in no error.

use std::fmt;

use base64::Engine as _;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use crate::error::VaultError;
use crate::limits::{TAG_CHARACTERS_MAX, TAGS_MAX};

/// Written without padding, read with or without.
const BASE64URL: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Text that nobody may see.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct SecretText(Zeroizing<String>);

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretText(..)")
    }
}

impl<'de> Deserialize<'de> for SecretText {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        String::deserialize(input).map(|text| Self(Zeroizing::new(text)))
    }
}

impl Serialize for SecretText {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.serialize_str(&self.0)
    }
}

impl SecretText {
    pub(crate) fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    pub(crate) fn encode(bytes: &[u8]) -> Self {
        Self::new(encode(bytes))
    }

    pub(crate) fn text(&self) -> &str {
        &self.0
    }

    pub(crate) fn decode(&self, what: &str) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        decode(&self.0, what).map(Zeroizing::new)
    }
}

/// Base64url without padding.
pub(crate) fn encode(bytes: &[u8]) -> String {
    BASE64URL.encode(bytes)
}

/// Reads base64url; `what` is its name in the error.
pub(crate) fn decode(text: &str, what: &str) -> Result<Vec<u8>, VaultError> {
    let read = BASE64URL.decode(text);
    read.map_err(|_| VaultError::bad(format!("Property {what} is not base64url.")))
}

/// Reads a body. The library's own error might quote it, so only the place is told.
pub(crate) fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, VaultError> {
    serde_json::from_slice(body).map_err(|error| {
        VaultError::bad(format!(
            "The request's body is not JSON of the documented shape: line {}, column {}.",
            error.line(),
            error.column()
        ))
    })
}

/// Attributes as clients set them. Those that are missing stay as they are.
#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct AttributesBody {
    #[serde(default)]
    pub(crate) enabled: Option<bool>,
    #[serde(default)]
    pub(crate) nbf: Option<i64>,
    #[serde(default)]
    pub(crate) exp: Option<i64>,
    #[serde(default)]
    pub(crate) exportable: Option<bool>,
}

/// Checks tags.
pub(crate) fn tags(given: Option<Map<String, Value>>) -> Result<Option<Map<String, Value>>, VaultError> {
    let Some(given) = given else { return Ok(None) };
    if given.len() > TAGS_MAX {
        return Err(VaultError::bad(format!("There are at most {TAGS_MAX} tags.")));
    }
    for (name, value) in &given {
        let Some(value) = value.as_str() else {
            return Err(VaultError::bad("A tag's value is a string."));
        };
        if name.chars().count() > TAG_CHARACTERS_MAX || value.chars().count() > TAG_CHARACTERS_MAX {
            return Err(VaultError::bad(format!(
                "A tag's name and its value have at most {TAG_CHARACTERS_MAX} characters each."
            )));
        }
    }
    Ok(Some(given))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_quote_nothing() {
        #[derive(Debug, Deserialize)]
        #[allow(dead_code, reason = "read for its errors")]
        struct Shape {
            value: SecretText,
            attributes: Option<AttributesBody>,
        }
        for body in [
            r#"{"value": {"inner": "hunter2"}}"#,
            r#"{"value": "x", "attributes": {"enabled": "hunter2"}}"#,
            r#"{"value": "hunter2"#,
            r#"{"hunter2": 1}"#,
        ] {
            let error = parse::<Shape>(body.as_bytes()).unwrap_err();
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
        let read: Shape = parse(br#"{"value": "hunter2"}"#).unwrap();
        assert!(!format!("{read:?}").contains("hunter2"));
        assert!(
            !decode("hunter2!", "value")
                .unwrap_err()
                .to_string()
                .contains("hunter2")
        );
    }

    #[test]
    fn base64url_is_read_with_and_without_padding() {
        assert_eq!(decode("_-8", "v").unwrap(), [0xff, 0xef]);
        assert_eq!(decode("_-8=", "v").unwrap(), [0xff, 0xef]);
        assert!(decode("/+8", "v").is_err());
        assert_eq!(encode(&[0xff, 0xef]), "_-8");
    }

    #[test]
    fn tags_have_limits() {
        let map = |count: usize, name: usize, value: usize| {
            let tag = |at: usize| (format!("{at:0name$}"), Value::String("v".repeat(value)));
            Some((0..count).map(tag).collect::<Map<_, _>>())
        };
        assert!(tags(map(15, 256, 256)).is_ok());
        assert!(tags(map(16, 2, 1)).is_err());
        assert!(tags(map(1, 257, 1)).is_err());
        assert!(tags(map(1, 1, 257)).is_err());
        let number = Some(Map::from_iter([("a".to_owned(), Value::from(1))]));
        assert!(tags(number).is_err());
        assert_eq!(tags(None), Ok(None));
    }
}
