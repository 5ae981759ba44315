//! The parts of a multipart body (RFC 2046, section 5.1), read as they stream in: the first alone, or each.
//!
//! Invariant: bytes that may belong to a delimiter are held back until that is known, so memory
//! is bounded by a piece and a delimiter. Where the first part counts alone, what follows it is read to the body's
//! end and dropped, so a body that was cut off anywhere is an error and not a shorter file.

use std::sync::Arc;

use bytes::{Buf as _, Bytes, BytesMut};
use http_semantics::{Body, BodyError};

use tokio::sync::Mutex;

use crate::limits::{BOUNDARY_BYTES_MAX, PART_HEADERS_BYTES_MAX};

/// What a part says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PartHeaders {
    /// `Content-Type`.
    pub content_type: Option<String>,
    /// `Content-Disposition`, raw.
    pub content_disposition: Option<Vec<u8>>,
}

/// Why there is no first part.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MultipartError {
    /// The body isn't multipart, or has no part.
    #[error("the multipart body is malformed: {0}")]
    Malformed(&'static str),
    /// The body can't be read.
    #[error(transparent)]
    Body(#[from] BodyError),
}

/// The boundary in a `Content-Type`; `None` if it isn't `multipart/...` with a good one.
#[must_use]
pub fn boundary(content_type: &str) -> Option<String> {
    let (kind, parameters) = content_type.split_once(';')?;
    if !kind.trim().get(..10)?.eq_ignore_ascii_case("multipart/") {
        return None;
    }
    let value = parameters.split(';').find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim()
            .eq_ignore_ascii_case("boundary")
            .then(|| value.trim().trim_matches('"').to_owned())
    })?;
    (!value.is_empty() && value.len() <= BOUNDARY_BYTES_MAX).then_some(value)
}

struct Source {
    body: Body,
    buffer: BytesMut,
}

impl Source {
    /// Takes one more piece in; false at the end.
    async fn more(&mut self) -> Result<bool, BodyError> {
        match self.body.next_piece().await? {
            Some(piece) => {
                self.buffer.extend_from_slice(&piece);
                Ok(true)
            }
            None => Ok(false),
        }
    }
}

/// Reads up to the first part's content; the body that is returned streams it.
///
/// # Errors
/// [`MultipartError`].
pub async fn first_part(body: Body, boundary: &str) -> Result<(PartHeaders, Body), MultipartError> {
    let mut source = Source {
        body,
        buffer: BytesMut::new(),
    };
    let headers = begin(&mut source, boundary).await?;
    let delimiter = Bytes::from(format!("\r\n--{boundary}"));
    let state = Some((source, delimiter));
    let content = futures::stream::unfold(state, |state| async move {
        let (mut source, delimiter) = state?;
        match next_content(&mut source, &delimiter).await {
            Ok(Some(piece)) => Some((Ok(piece), Some((source, delimiter)))),
            Ok(None) => match drain(&mut source, &delimiter).await {
                Ok(()) => None,
                Err(error) => Some((Err(error), None)),
            },
            Err(error) => Some((Err(error), None)),
        }
    });
    Ok((headers, Body::stream(content)))
}

/// The parts of a body, one behind the other: each one's content must be read before the next is asked for.
pub struct Parts {
    source: Arc<Mutex<Source>>,
    boundary: String,
    delimiter: Bytes,
    is_first: bool,
}

impl std::fmt::Debug for Parts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parts").finish_non_exhaustive()
    }
}

impl Parts {
    /// The parts of `body`. Nothing is read yet.
    #[must_use]
    pub fn new(body: Body, boundary: &str) -> Self {
        Self {
            source: Arc::new(Mutex::new(Source {
                body,
                buffer: BytesMut::new(),
            })),
            boundary: boundary.to_owned(),
            delimiter: format!("\r\n--{boundary}").into(),
            is_first: true,
        }
    }

    /// The next part; `None` behind the closing delimiter.
    ///
    /// # Errors
    /// [`MultipartError`], also if the content of the part before wasn't read to its end.
    pub async fn next(&mut self) -> Result<Option<(PartHeaders, Body)>, MultipartError> {
        let mut source = self.source.lock().await;
        let headers = if std::mem::take(&mut self.is_first) {
            begin(&mut source, &self.boundary).await?
        } else {
            if !source.buffer.starts_with(&self.delimiter) {
                return Err(MultipartError::Malformed("a part wasn't read to its end"));
            }
            source.buffer.advance(self.delimiter.len());
            while source.buffer.len() < 2 {
                if !source.more().await? {
                    return Err(MultipartError::Malformed("it has no closing delimiter"));
                }
            }
            if source.buffer.starts_with(b"--") {
                return Ok(None);
            }
            headers(&mut source).await?
        };
        let state = Some((self.source.clone(), self.delimiter.clone()));
        let content = futures::stream::unfold(state, |state| async move {
            let (source, delimiter) = state?;
            let piece = next_content(&mut *source.lock().await, &delimiter).await;
            match piece {
                Ok(Some(piece)) => Some((Ok(piece), Some((source, delimiter)))),
                Ok(None) => None,
                Err(error) => Some((Err(error), None)),
            }
        });
        Ok(Some((headers, Body::stream(content))))
    }
}

/// Reads up to the first part's content.
async fn begin(source: &mut Source, boundary: &str) -> Result<PartHeaders, MultipartError> {
    let dash_boundary = format!("--{boundary}");
    // A preamble, ended by the first delimiter at the beginning of a line.
    loop {
        if let Some(at) = position(&source.buffer, dash_boundary.as_bytes())
            && (at == 0
                || source
                    .buffer
                    .get(..at)
                    .is_some_and(|before| before.ends_with(b"\n")))
        {
            source.buffer.advance(at + dash_boundary.len());
            break;
        }
        if source.buffer.len() > PART_HEADERS_BYTES_MAX {
            return Err(MultipartError::Malformed("no part within its first 16 KiB"));
        }
        if !source.more().await? {
            return Err(MultipartError::Malformed("it has no part"));
        }
    }
    headers(source).await
}

/// Reads a part's headers, behind its delimiter.
async fn headers(source: &mut Source) -> Result<PartHeaders, MultipartError> {
    loop {
        if source.buffer.starts_with(b"--") {
            return Err(MultipartError::Malformed("it has no part"));
        }
        // Behind the delimiter: padding and a line break, headers, an empty line.
        if let Some(line) = position(&source.buffer, b"\r\n") {
            let rest = source.buffer.get(line..).unwrap_or_default();
            if let Some(end) = position(rest, b"\r\n\r\n") {
                let headers = parse_headers(rest.get(..end).unwrap_or_default());
                source.buffer.advance(line + end + 4);
                return Ok(headers);
            }
        }
        if source.buffer.len() > PART_HEADERS_BYTES_MAX {
            return Err(MultipartError::Malformed(
                "the headers of a part are longer than 16 KiB",
            ));
        }
        if !source.more().await? {
            return Err(MultipartError::Malformed("it ends within the headers of a part"));
        }
    }
}

/// The next bytes of a part's content; `None` behind its end, where the buffer begins with the delimiter.
async fn next_content(source: &mut Source, delimiter: &[u8]) -> Result<Option<Bytes>, BodyError> {
    loop {
        if let Some(at) = position(&source.buffer, delimiter) {
            if at > 0 {
                return Ok(Some(source.buffer.split_to(at).freeze()));
            }
            return Ok(None);
        }
        // The last bytes may be the beginning of a delimiter.
        let certain = source.buffer.len().saturating_sub(delimiter.len() - 1);
        if certain > 0 {
            return Ok(Some(source.buffer.split_to(certain).freeze()));
        }
        if !source.more().await? {
            return Err(BodyError::Truncated("no delimiter behind a part".to_owned()));
        }
    }
}

/// Reads to the end, which must be behind a closing delimiter.
async fn drain(source: &mut Source, delimiter: &[u8]) -> Result<(), BodyError> {
    let mut closing = delimiter.to_vec();
    closing.extend_from_slice(b"--");
    let mut closed = false;
    loop {
        closed = closed || position(&source.buffer, &closing).is_some();
        let keep = closing.len().saturating_sub(1).min(source.buffer.len());
        source.buffer.advance(source.buffer.len() - keep);
        if !source.more().await? {
            return if closed {
                Ok(())
            } else {
                Err(BodyError::Truncated("no closing delimiter".to_owned()))
            };
        }
    }
}

fn parse_headers(block: &[u8]) -> PartHeaders {
    let mut headers = PartHeaders::default();
    for line in block.split(|byte| *byte == b'\n') {
        let line = line.trim_ascii();
        let Some(colon) = line.iter().position(|byte| *byte == b':') else {
            continue;
        };
        let (name, value) = line.split_at(colon);
        let value = value.get(1..).unwrap_or_default().trim_ascii();
        if name.eq_ignore_ascii_case(b"content-type") {
            headers.content_type = std::str::from_utf8(value).ok().map(str::to_owned);
        } else if name.eq_ignore_ascii_case(b"content-disposition") {
            headers.content_disposition = Some(value.to_vec());
        }
    }
    headers
}

/// Where `needle` begins. Looks for its first byte before it compares: content is long, and
/// delimiters are rare in it.
fn position(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    let first = *needle.first()?;
    let mut from = 0;
    loop {
        let rest = haystack.get(from..)?;
        let at = from + rest.iter().position(|byte| *byte == first)?;
        if haystack.get(at..)?.starts_with(needle) {
            return Some(at);
        }
        from = at + 1;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn body(bytes: &[u8], piece: usize) -> Body {
        let pieces: Vec<_> = bytes
            .chunks(piece)
            .map(|piece| Ok(Bytes::copy_from_slice(piece)))
            .collect();
        Body::stream(futures::stream::iter(pieces))
    }

    fn read(bytes: &[u8], piece: usize) -> Result<(PartHeaders, Bytes), MultipartError> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let (headers, content) = first_part(body(bytes, piece), "b").await?;
            Ok((headers, content.read_bounded(1 << 20).await?))
        })
    }

    #[test]
    fn boundaries() {
        assert_eq!(
            boundary("multipart/form-data; boundary=abc").as_deref(),
            Some("abc")
        );
        assert_eq!(
            boundary("Multipart/Mixed; x=y; Boundary=\"a b\"").as_deref(),
            Some("a b")
        );
        for bad in [
            "",
            "multipart/form-data",
            "text/plain; boundary=x",
            "multipart/form-data; boundary=",
        ] {
            assert_eq!(boundary(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_first_part_counts() {
        let text = b"--b\r\nContent-Disposition: form-data; name=\"f\"; filename=\"x.pdf\"\r\ncontent-type: application/pdf\r\n\r\n\
            one\r\n--not\r\n--b\r\n\r\ntwo\r\n--b--\r\n";
        for piece in [1, 2, 7, 1000] {
            let (headers, content) = read(text, piece).unwrap();
            assert_eq!(headers.content_type.as_deref(), Some("application/pdf"));
            assert!(headers.content_disposition.is_some());
            assert_eq!(content, &b"one\r\n--not"[..], "in pieces of {piece}");
        }
    }

    fn read_each(bytes: &[u8], piece: usize) -> Result<Vec<Bytes>, MultipartError> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut parts = Parts::new(body(bytes, piece), "b");
            let mut found = Vec::new();
            while let Some((_, content)) = parts.next().await? {
                found.push(content.read_bounded(1 << 20).await?);
            }
            Ok(found)
        })
    }

    #[test]
    fn each_part_is_read_behind_the_other() {
        let whole = b"--b\r\nA: b\r\n\r\none\r\n--b\r\n\r\n\r\n--b  \r\nX: y\r\n\r\nthree\r\n--b--\r\n";
        for piece in [1, 2, 7, 1000] {
            assert_eq!(
                read_each(whole, piece).unwrap(),
                ["one", "", "three"],
                "in pieces of {piece}"
            );
        }
        for length in 0..whole.len() - 4 {
            assert!(read_each(&whole[..length], 3).is_err(), "cut at {length}");
        }
        let skipped = async {
            let mut parts = Parts::new(body(whole, 3), "b");
            let _ = parts.next().await?;
            parts.next().await.map(|_| ())
        };
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        assert!(runtime.block_on(skipped).is_err());
    }

    #[test]
    fn what_was_cut_off_is_an_error() {
        let whole = b"--b\r\nA: b\r\n\r\ncontent\r\n--b--\r\n";
        assert!(read(whole, 3).is_ok());
        for length in 0..whole.len() - 2 {
            assert!(read(&whole[..length], 3).is_err(), "cut at {length}");
        }
        assert!(read(b"--b--\r\n", 3).is_err());
        assert!(read(&[b'x'; 40_000], 1000).is_err());
    }

    proptest! {
        #[test]
        fn any_content_comes_back(content in proptest::collection::vec(any::<u8>(), 0..300), piece in 1_usize..50) {
            prop_assume!(position(&content, b"\r\n--b").is_none());
            let mut whole = b"--b\r\n\r\n\r\n".to_vec();
            whole.truncate(whole.len() - 2);
            whole.extend_from_slice(&content);
            whole.extend_from_slice(b"\r\n--b--");
            // A part without headers has its empty line right behind the delimiter's.
            let read = read(&whole, piece);
            prop_assert_eq!(read.map(|(_, content)| content.to_vec()), Ok(content));
        }
    }
}
