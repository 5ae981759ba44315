//! Text to tokens, each with its place.
//!
//! Invariant: terminates on any text, never looks back, and never splits a character.

use serde_json::Value;

use crate::ast::Span;
use crate::error::{SqlError, code};
use crate::number::Num;

/// What a token is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum TokenKind {
    /// A keyword or name; which one is the parser's to say.
    Word(String),
    /// `@name`, without `@`.
    Parameter(String),
    Number(Value),
    Text(String),
    /// An operator or bracket.
    Symbol(&'static str),
    End,
}

/// A token and its place.
#[derive(Debug, Clone)]
pub(crate) struct Token {
    pub(crate) kind: TokenKind,
    pub(crate) span: Span,
}

/// Longest first, so that `>>>` is not read as `>>`, `>`.
const SYMBOLS: [&str; 33] = [
    ">>>", "<<", ">>", "<=", ">=", "<>", "!=", "||", "??", "(", ")", "[", "]", "{", "}", ",", ".", ":", "?",
    "=", "<", ">", "+", "-", "*", "/", "%", "|", "&", "^", "~", "==", "!",
];

/// All tokens of a text, the last one being [`TokenKind::End`].
pub(crate) fn tokenize(text: &str) -> Result<Vec<Token>, SqlError> {
    let mut lexer = Lexer { text, at: 0 };
    let mut tokens = Vec::new();
    loop {
        lexer.skip_blank()?;
        let start = lexer.at;
        let kind = lexer.token()?;
        let end = kind == TokenKind::End;
        tokens.push(Token {
            kind,
            span: Span { start, end: lexer.at },
        });
        if end {
            return Ok(tokens);
        }
    }
}

struct Lexer<'t> {
    text: &'t str,
    at: usize,
}

impl Lexer<'_> {
    fn rest(&self) -> &str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let next = self.peek()?;
        self.at += next.len_utf8();
        Some(next)
    }

    fn take_while(&mut self, keep: impl Fn(char) -> bool) -> &str {
        let start = self.at;
        while self.peek().is_some_and(&keep) {
            self.next();
        }
        self.text.get(start..self.at).unwrap_or_default()
    }

    fn error(&self, start: usize, message: String) -> SqlError {
        SqlError {
            code: code::SYNTAX,
            message,
            start,
            end: self.at.max(start),
        }
    }

    fn skip_blank(&mut self) -> Result<(), SqlError> {
        loop {
            self.take_while(char::is_whitespace);
            if self.rest().starts_with("--") {
                self.take_while(|c| c != '\n' && c != '\r');
            } else if self.rest().starts_with("/*") {
                let start = self.at;
                match self.rest().find("*/") {
                    Some(length) => self.at += length + 2,
                    None => {
                        self.at = self.text.len();
                        return Err(
                            self.error(start, "Syntax error, comment is not closed by '*/'.".to_owned())
                        );
                    }
                }
            } else {
                return Ok(());
            }
        }
    }

    fn token(&mut self) -> Result<TokenKind, SqlError> {
        let start = self.at;
        let Some(first) = self.peek() else {
            return Ok(TokenKind::End);
        };
        let second_is_digit = self.rest().chars().nth(1).is_some_and(|c| c.is_ascii_digit());
        if first.is_ascii_alphabetic() || first == '_' {
            return Ok(TokenKind::Word(self.word()));
        }
        if first == '@' {
            self.next();
            let name = self.word();
            if name.is_empty() {
                return Err(self.error(
                    start,
                    "Syntax error, '@' must be followed by a parameter name.".to_owned(),
                ));
            }
            return Ok(TokenKind::Parameter(name));
        }
        if first == '\'' || first == '"' {
            return self.string().map(TokenKind::Text);
        }
        if first.is_ascii_digit() || (first == '.' && second_is_digit) {
            return self.number().map(TokenKind::Number);
        }
        // `==` and `!` are read only to be refused by the parser with their place.
        let symbol = SYMBOLS.iter().find(|symbol| self.rest().starts_with(**symbol));
        match symbol {
            Some(symbol) => {
                self.at += symbol.len();
                Ok(TokenKind::Symbol(symbol))
            }
            None => {
                self.next();
                Err(self.error(start, format!("Syntax error, incorrect syntax near '{first}'.")))
            }
        }
    }

    fn word(&mut self) -> String {
        self.take_while(|c| c.is_ascii_alphanumeric() || c == '_')
            .to_owned()
    }

    fn number(&mut self) -> Result<Value, SqlError> {
        let start = self.at;
        let rest = self.rest();
        let value = if rest.starts_with("0x") || rest.starts_with("0X") {
            self.at += 2;
            let digits = self.take_while(|c| c.is_ascii_hexdigit());
            u64::from_str_radix(digits, 16).ok().map(Value::from)
        } else {
            self.take_while(|c| c.is_ascii_digit());
            let mut whole = true;
            if self.peek() == Some('.') {
                whole = false;
                self.next();
                self.take_while(|c| c.is_ascii_digit());
            }
            if matches!(self.peek(), Some('e' | 'E')) {
                whole = false;
                self.next();
                if matches!(self.peek(), Some('+' | '-')) {
                    self.next();
                }
                self.take_while(|c| c.is_ascii_digit());
            }
            let digits = self.text.get(start..self.at).unwrap_or_default();
            let exact = if whole {
                digits.parse::<u64>().ok().map(Value::from)
            } else {
                None
            };
            exact.or_else(|| {
                digits
                    .parse::<f64>()
                    .ok()
                    .and_then(|float| Num::Float(float).to_value())
            })
        };
        let glued = self.peek().is_some_and(|c| c.is_ascii_alphanumeric() || c == '_');
        match value {
            Some(value) if !glued => Ok(value),
            _ => {
                self.take_while(|c| c.is_ascii_alphanumeric() || c == '_');
                let text = self.text.get(start..self.at).unwrap_or_default().to_owned();
                Err(self.error(
                    start,
                    format!("Syntax error, invalid numeric value token '{text}'."),
                ))
            }
        }
    }

    fn string(&mut self) -> Result<String, SqlError> {
        let start = self.at;
        let quote = self.next();
        let mut text = String::new();
        loop {
            match self.next() {
                None => {
                    return Err(self.error(
                        start,
                        "Syntax error, string is not closed by its quote.".to_owned(),
                    ));
                }
                Some('\\') => text.push(self.escape()?),
                next if next == quote => return Ok(text),
                Some(next) => text.push(next),
            }
        }
    }

    fn escape(&mut self) -> Result<char, SqlError> {
        let start = self.at.saturating_sub(1);
        let refused = |lexer: &Self| {
            lexer.error(
                start,
                "Syntax error, invalid escape sequence in string.".to_owned(),
            )
        };
        match self.next() {
            Some(c @ ('\'' | '"' | '\\' | '/')) => Ok(c),
            Some('b') => Ok('\u{8}'),
            Some('f') => Ok('\u{c}'),
            Some('n') => Ok('\n'),
            Some('r') => Ok('\r'),
            Some('t') => Ok('\t'),
            Some('u') => {
                let first = self.hex4().ok_or_else(|| refused(self))?;
                let mut units = vec![first];
                if (0xD800..0xDC00).contains(&first) && self.rest().starts_with("\\u") {
                    self.at += 2;
                    units.push(self.hex4().ok_or_else(|| refused(self))?);
                }
                // A lone half of a surrogate pair has no UTF-8 form.
                let mut decoded = char::decode_utf16(units);
                match (decoded.next(), decoded.next()) {
                    (Some(Ok(c)), None) => Ok(c),
                    _ => Err(refused(self)),
                }
            }
            _ => Err(refused(self)),
        }
    }

    fn hex4(&mut self) -> Option<u16> {
        let digits = self.rest().get(..4)?;
        if !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        let unit = u16::from_str_radix(digits, 16).ok()?;
        self.at += 4;
        Some(unit)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn kinds(text: &str) -> Vec<TokenKind> {
        tokenize(text)
            .unwrap()
            .into_iter()
            .map(|token| token.kind)
            .collect()
    }

    #[test]
    fn numbers() {
        for (text, value) in [
            ("12", json!(12)),
            (".5", json!(0.5)),
            ("1.0", json!(1)),
            ("1e3", json!(1000)),
            ("2.5E-1", json!(0.25)),
            ("0x1F", json!(31)),
            ("9223372036854775807", json!(i64::MAX)),
            ("18446744073709551615", json!(u64::MAX)),
            ("18446744073709551616", json!(18_446_744_073_709_551_616.0)),
        ] {
            assert_eq!(kinds(text), [TokenKind::Number(value), TokenKind::End], "{text}");
        }
        for text in ["1e999", "0x", "12abc", "1e", "0xFFFFFFFFFFFFFFFFF"] {
            assert!(tokenize(text).is_err(), "{text}");
        }
    }

    #[test]
    fn strings() {
        for (text, value) in [
            (r"'a\'b'", "a'b"),
            (r#""a'b""#, "a'b"),
            (r"'\u00e5\n\/'", "å\n/"),
            (r"'\uD83D\uDE00'", "😀"),
            ("'æ'", "æ"),
        ] {
            assert_eq!(
                kinds(text),
                [TokenKind::Text(value.to_owned()), TokenKind::End],
                "{text}"
            );
        }
        for text in ["'a", r"'\q'", r"'\uD83D'", r"'\u12'", r"'\uDE00'", "'\\"] {
            assert!(tokenize(text).is_err(), "{text}");
        }
    }

    #[test]
    fn comments_and_symbols() {
        assert_eq!(
            kinds("a -- b\n /* c */ >>> >>"),
            [
                TokenKind::Word("a".to_owned()),
                TokenKind::Symbol(">>>"),
                TokenKind::Symbol(">>"),
                TokenKind::End
            ]
        );
        assert!(tokenize("/* open").is_err());
        let error = tokenize("a # b").unwrap_err();
        assert_eq!((error.code, error.start, error.end), ("SC1001", 2, 3));
    }
}
