//! Reads some properties of a document's text and passes over the others: a query that looks at
//! two of a dozen needn't build the rest.
//!
//! The text is a stored document's: it was parsed before it was written, no name comes twice at its
//! top level, and the ledger's checksum tells whether it is as it was then. So what nobody asks for
//! is passed over without being checked again, and what follows the last property that is asked for
//! isn't looked at. Reading every byte of a hundred documents was a tenth of such a page's time.

use std::borrow::Cow;

use memchr::memchr2;
use serde::de::Error as _;
use serde_json::{Error, Map, Result, Value};

/// The document cut down to those of its top-level properties that `names` holds.
///
/// # Errors
/// If the text isn't an object, as far as it is read.
pub fn parse(text: &[u8], names: &[String]) -> Result<Value> {
    let mut missing = distinct(names);
    let mut members = Members { text, at: 0 };
    let mut object = Map::new();
    members.skip_space();
    members.expect(b'{')?;
    members.skip_space();
    if members.peek()? == b'}' {
        missing = 0;
    }
    while missing > 0 {
        members.skip_space();
        let name = members.name()?;
        members.skip_space();
        members.expect(b':')?;
        members.skip_space();
        let value = members.value()?;
        if names.iter().any(|wanted| *wanted == name) {
            object.insert(name.into_owned(), serde_json::from_slice(value)?);
            missing -= 1;
        }
        members.skip_space();
        match members.next()? {
            b',' => {}
            b'}' => break,
            _ => return Err(Error::custom("neither a comma nor the end behind a property")),
        }
    }
    Ok(Value::Object(object))
}

/// How many names there are, each counted once. They are few, and this is asked for every document.
fn distinct(names: &[String]) -> usize {
    let is_first = |at: usize, name: &String| names.iter().take(at).all(|earlier| earlier != name);
    let first = names.iter().enumerate();
    first.filter(|(at, name)| is_first(*at, name)).count()
}

/// What is left of an object's text.
struct Members<'t> {
    text: &'t [u8],
    at: usize,
}

impl<'t> Members<'t> {
    fn rest(&self) -> &'t [u8] {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Result<u8> {
        self.text.get(self.at).copied().ok_or_else(cut_short)
    }

    fn next(&mut self) -> Result<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Ok(byte)
    }

    fn expect(&mut self, byte: u8) -> Result<()> {
        if self.next()? == byte {
            Ok(())
        } else {
            Err(Error::custom(format_args!(
                "no {:?} where one belongs",
                char::from(byte)
            )))
        }
    }

    fn skip_space(&mut self) {
        while matches!(self.text.get(self.at), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// Passes over a string; whether it has escapes.
    fn skip_string(&mut self) -> Result<bool> {
        self.expect(b'"')?;
        let mut escapes = false;
        loop {
            let rest = self.rest();
            let end = memchr2(b'"', b'\\', rest).ok_or_else(cut_short)?;
            if rest.get(end) == Some(&b'"') {
                self.at += end + 1;
                return Ok(escapes);
            }
            // Whatever follows belongs to the escape; of `\u` the digits can't end the string.
            escapes = true;
            self.at += end + 2;
        }
    }

    fn name(&mut self) -> Result<Cow<'t, str>> {
        let begin = self.at;
        let escapes = self.skip_string()?;
        let quoted = self.since(begin);
        if escapes {
            return serde_json::from_slice(quoted).map(Cow::Owned);
        }
        let name = quoted.get(1..quoted.len() - 1).unwrap_or_default();
        std::str::from_utf8(name)
            .map(Cow::Borrowed)
            .map_err(|_| Error::custom("a name that isn't UTF-8"))
    }

    /// The text of a value, passed over.
    fn value(&mut self) -> Result<&'t [u8]> {
        let begin = self.at;
        match self.peek()? {
            b'"' => {
                self.skip_string()?;
            }
            b'{' | b'[' => self.skip_structure()?,
            _ => {
                let end = self
                    .rest()
                    .iter()
                    .position(|byte| matches!(byte, b',' | b'}' | b']' | b' ' | b'\t' | b'\n' | b'\r'));
                self.at += end.ok_or_else(cut_short)?;
            }
        }
        Ok(self.since(begin))
    }

    /// Passes over an object or an array, which needs no stack: its brackets match.
    fn skip_structure(&mut self) -> Result<()> {
        let mut depth = 0usize;
        loop {
            match self.peek()? {
                b'"' => {
                    self.skip_string()?;
                    continue;
                }
                b'{' | b'[' => depth += 1,
                b'}' | b']' => depth -= 1,
                _ => {}
            }
            self.at += 1;
            if depth == 0 {
                return Ok(());
            }
        }
    }

    fn since(&self, begin: usize) -> &'t [u8] {
        self.text.get(begin..self.at).unwrap_or_default()
    }
}

fn cut_short() -> Error {
    Error::custom("the text is cut short")
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
        let text = br#" {"a":1,"b":{"c":[1,{"a":"]}"}]} , "\u00e6":"\n\"","d":[{}]} "#;
        assert_eq!(
            parse(text, &names(&["b", "æ", "b", "none"])).unwrap(),
            json!({"b":{"c":[1,{"a":"]}"}]},"æ":"\n\""})
        );
        assert_eq!(parse(text, &names(&["d"])).unwrap(), json!({"d":[{}]}));
        assert_eq!(parse(text, &[]).unwrap(), json!({}));
        assert_eq!(parse(b" { } ", &names(&["a"])).unwrap(), json!({}));
    }

    #[test]
    fn what_is_read_must_be_json() {
        for bad in [
            "",
            "1",
            "[]",
            "{",
            r#"{"a":1"#,
            r#"{"a":1,"#,
            r#"{"a":1,}"#,
            r#"{"a" 1}"#,
            r#"{"a":"1";"b":2}"#,
            r#"{a:1}"#,
            r#"{"a":"x}"#,
            r#"{"a":"x\"#,
            r#"{"a":{"x":[}"#,
            r#"{"b":tru}"#,
            r#"{"b":}"#,
            r#"{"\x":1}"#,
        ] {
            assert!(parse(bad.as_bytes(), &names(&["b"])).is_err(), "{bad}");
        }
        assert!(parse(b"{\"\xff\":1}", &names(&["b"])).is_err());
    }

    proptest! {
        #[test]
        fn as_if_the_whole_had_been_read(
            members in prop::collection::btree_map(
                "[a-d\"\\\\é]{0,2}",
                prop_oneof![
                    "\\PC{0,6}".prop_map(Value::from),
                    any::<f64>().prop_map(Value::from),
                    prop::collection::vec("[\\[\\]{}\"\\\\,:]{0,4}", 0..3).prop_map(Value::from),
                    ("[{}\"\\\\]{0,3}", any::<bool>()).prop_map(|(name, value)| json!({name: [value, null]})),
                ],
                0..8,
            ),
            wanted in prop::collection::vec("[a-d\"\\\\é]{0,2}", 0..4),
            pretty: bool,
        ) {
            let whole = json!(members);
            let mut expected = whole.clone();
            expected.as_object_mut().unwrap().retain(|name, _| wanted.contains(name));
            let text = if pretty { serde_json::to_vec_pretty(&whole) } else { serde_json::to_vec(&whole) };
            prop_assert_eq!(parse(&text.unwrap(), &wanted).unwrap(), expected);
        }

        #[test]
        fn other_bytes_are_refused_or_read(
            text in prop::collection::vec(prop_oneof![
                prop::sample::select(b"{}[]\",:\\ab1 ".to_vec()), any::<u8>()], 0..40),
        ) {
            let _ = parse(&text, &names(&["a", "b"]));
            let _ = parse(&[b"{".as_slice(), &text].concat(), &names(&["a", "b"]));
        }
    }
}
