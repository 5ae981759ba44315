//! File names in `Content-Disposition` (RFC 6266, RFC 8187), both ways.
//!
//! Reading is the original's: `filename*` before `filename`, percent-decoded either way (a `+`
//! stays a `+`), characters that no file system takes become `_`. Apps write what isn't ASCII into `filename` as an
//! encoded word (RFC 2047, section 2), as .NET does.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::limits::FILENAME_CHARS_MAX;

/// What RFC 8187 (attr-char) leaves unescaped, cut to what every client agrees on.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

/// The file name in a header's raw value: UTF-8 if it is that, else Latin-1.
#[must_use]
pub fn filename(header: &[u8]) -> Option<String> {
    let text = match std::str::from_utf8(header) {
        Ok(text) => text.to_owned(),
        Err(_) => header.iter().map(|byte| char::from(*byte)).collect(),
    };
    let mut plain = None;
    let mut extended = None;
    for (name, value) in parameters(&text) {
        if name.eq_ignore_ascii_case("filename*") && extended.is_none() {
            extended = decode_extended(&value);
        } else if name.eq_ignore_ascii_case("filename") && plain.is_none() {
            let value = decode_word(&value).unwrap_or(value);
            plain = Some(
                percent_decode_str(&value)
                    .decode_utf8()
                    .map_or(value.clone(), std::borrow::Cow::into_owned),
            );
        }
    }
    let name = clean(&extended.or(plain)?);
    (!name.is_empty()).then_some(name)
}

/// The name of a form's field in a header's raw value.
#[must_use]
pub fn field(header: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(header);
    let (_, value) = parameters(&text)
        .into_iter()
        .find(|(name, _)| name.eq_ignore_ascii_case("name"))?;
    (!value.is_empty()).then_some(value)
}

/// The header for a download under `name`.
#[must_use]
pub fn attachment(name: &str) -> String {
    let fallback: String = name
        .chars()
        .map(|c| {
            if c.is_ascii_graphic() && !matches!(c, '"' | '\\' | '%') || c == ' ' {
                c
            } else {
                '_'
            }
        })
        .collect();
    format!(
        "attachment; filename=\"{fallback}\"; filename*=UTF-8''{}",
        utf8_percent_encode(name, ESCAPED)
    )
}

/// Characters that the original replaces: what Windows or Linux refuses in a file name.
fn clean(name: &str) -> String {
    name.trim()
        .chars()
        .take(FILENAME_CHARS_MAX)
        .map(|c| {
            if c.is_control() || matches!(c, '"' | '<' | '>' | '|' | ':' | '*' | '?' | '\\' | '/') {
                '_'
            } else {
                c
            }
        })
        .collect()
}

/// `charset'language'percent-encoded`; `None` if the charset isn't one of the two that the RFC
/// names or the bytes aren't of it.
fn decode_extended(value: &str) -> Option<String> {
    let mut parts = value.splitn(3, '\'');
    let (charset, _language, encoded) = (parts.next()?, parts.next()?, parts.next()?);
    decode_charset(charset, percent_decode_str(encoded).collect())
}

fn decode_charset(charset: &str, bytes: Vec<u8>) -> Option<String> {
    if charset.eq_ignore_ascii_case("utf-8") {
        String::from_utf8(bytes).ok()
    } else if charset.eq_ignore_ascii_case("iso-8859-1") {
        Some(bytes.into_iter().map(char::from).collect())
    } else {
        None
    }
}

/// `=?charset?B?base64?=`; `None` if it is no such word, which then is a name as it stands.
fn decode_word(value: &str) -> Option<String> {
    let inside = value.strip_prefix("=?")?.strip_suffix("?=")?;
    let mut parts = inside.split('?');
    let (charset, encoding, encoded) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() || !encoding.eq_ignore_ascii_case("b") {
        return None;
    }
    decode_charset(charset, STANDARD.decode(encoded).ok()?)
}

/// The parameters behind the disposition's type; quoted values with their escapes resolved.
fn parameters(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut chars = text.chars().peekable();
    // The type itself.
    while chars.peek().is_some_and(|c| *c != ';') {
        chars.next();
    }
    while chars.next().is_some() {
        let mut name = String::new();
        while let Some(c) = chars.next_if(|c| !matches!(c, '=' | ';')) {
            name.push(c);
        }
        let mut value = String::new();
        if chars.next_if_eq(&'=').is_some() {
            while chars.next_if(|c| c.is_whitespace()).is_some() {}
            if chars.next_if_eq(&'"').is_some() {
                while let Some(c) = chars.next() {
                    match c {
                        '"' => break,
                        '\\' if chars.peek().is_some_and(|next| matches!(next, '"' | '\\')) => {
                            value.extend(chars.next());
                        }
                        c => value.push(c),
                    }
                }
                while chars.next_if(|c| *c != ';').is_some() {}
            } else {
                while let Some(c) = chars.next_if(|c| *c != ';') {
                    value.push(c);
                }
                value.truncate(value.trim_end().len());
            }
        }
        found.push((name.trim().to_owned(), value));
    }
    found
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_names_as_the_original() {
        for (header, name) in [
            (
                "attachment; filename*=UTF-8''bl%C3%A5b%C3%A6r%20%C3%B8.pdf",
                Some("blåbær ø.pdf"),
            ),
            ("attachment; filename=\"two words.pdf\"", Some("two words.pdf")),
            ("attachment; filename=plain.pdf", Some("plain.pdf")),
            ("attachment; filename=a+b.pdf", Some("a+b.pdf")),
            ("attachment; filename=%C3%A6.pdf", Some("æ.pdf")),
            ("attachment; filename=100%.pdf", Some("100%.pdf")),
            (
                "attachment; filename=\"../../etc/passwd\"",
                Some(".._.._etc_passwd"),
            ),
            (
                "attachment; filename=\"old.pdf\"; filename*=UTF-8''new.pdf",
                Some("new.pdf"),
            ),
            (
                "attachment; filename*=UTF-8''new.pdf; filename=\"old.pdf\"",
                Some("new.pdf"),
            ),
            (
                "attachment; filename*=KOI8-R''x; filename=\"old.pdf\"",
                Some("old.pdf"),
            ),
            (
                "attachment; filename=\"say \\\"hi\\\"; now.pdf\"",
                Some("say _hi_; now.pdf"),
            ),
            ("attachment; FILENAME = \"a.pdf\" ; x=y", Some("a.pdf")),
            (
                "attachment; filename=\"=?utf-8?B?c8O4a25hZCDDpi5wZGY=?=\"",
                Some("søknad æ.pdf"),
            ),
            (
                "attachment; filename=\"=?utf-8?B?eC5wZGY=?=\"; filename*=utf-8''%C3%A6.pdf",
                Some("æ.pdf"),
            ),
            ("attachment; filename=\"=?utf-8?Q?x?=\"", Some("=_utf-8_Q_x_=")),
            (
                "attachment; filename=\"=?utf-8?B?not base64?=\"",
                Some("=_utf-8_B_not base64_="),
            ),
            ("attachment", None),
            ("attachment; filename=", None),
            ("", None),
        ] {
            assert_eq!(filename(header.as_bytes()).as_deref(), name, "{header}");
        }
        assert_eq!(
            filename(b"attachment; filename=\"\xe6.pdf\"").as_deref(),
            Some("æ.pdf")
        );
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(name in "[a-zæøå0-9 +%'();=,.~!-]{0,20}x") {
            let name = name.trim().to_owned();
            prop_assert_eq!(filename(attachment(&name).as_bytes()), Some(name));
        }

        #[test]
        fn any_bytes_are_read_without_harm(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Some(name) = filename(&bytes) {
                prop_assert!(!name.contains(['/', '\\', '"', '\0', '\n', '\r']));
            }
        }
    }
}
