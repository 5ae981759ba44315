//! `multipart/mixed` of whole requests and answers, as batches have it (RFC 2046, RFC 9112).

use http::{HeaderName, HeaderValue, Method, Request, Response, Uri};
use http_semantics::Body;

use crate::error::{BlobsError, ErrorCode};
use crate::limits::{BATCH_REQUESTS_MAX, XML_BYTES_MAX};

/// A part: a request and the id that its answer carries.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) content_id: Option<String>,
    pub(crate) request: Request<Body>,
}

/// The boundary in a `Content-Type`.
pub(crate) fn boundary(content_type: &str) -> Option<&str> {
    let (kind, parameters) = content_type.split_once(';')?;
    if !kind.trim().eq_ignore_ascii_case("multipart/mixed") {
        return None;
    }
    let found = parameters.split(';').find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("boundary").then_some(value)
    })?;
    let boundary = found.trim().trim_matches('"');
    (!boundary.is_empty()).then_some(boundary)
}

/// Reads the parts of a body.
///
/// # Errors
/// `InvalidInput` with what is wrong.
pub(crate) fn parse(body: &[u8], boundary: &str) -> Result<Vec<Part>, BlobsError> {
    let invalid = |text: &str| BlobsError::with(ErrorCode::InvalidInput, text);
    let text = std::str::from_utf8(body).map_err(|_| invalid("A batch is text."))?;
    let delimiter = format!("--{boundary}");
    let mut pieces = text.split(delimiter.as_str());
    // What comes before the first delimiter means nothing.
    pieces.next();
    let mut parts = Vec::new();
    for piece in pieces {
        if piece.starts_with("--") {
            return if parts.is_empty() {
                Err(invalid("A batch has at least one request."))
            } else {
                Ok(parts)
            };
        }
        if parts.len() > BATCH_REQUESTS_MAX {
            return Ok(parts);
        }
        parts.push(part(piece).ok_or_else(|| invalid("A part of the batch isn't a request."))?);
    }
    Err(invalid("The batch has no end."))
}

fn part(piece: &str) -> Option<Part> {
    // The delimiter's own line ends first; then come headers, which may be none, and an empty line.
    let (_, piece) = piece.split_once('\n')?;
    let mut lines = piece.lines().map(str::trim_end);
    let mut content_id = None;
    for line in lines.by_ref().take_while(|line| !line.is_empty()) {
        let (name, value) = line.split_once(':')?;
        if name.trim().eq_ignore_ascii_case("content-id") {
            // It goes back out, so nothing in it may end its line.
            let value = value.trim();
            content_id = value
                .chars()
                .all(|c| c.is_ascii_graphic())
                .then(|| value.to_owned());
        }
    }
    let mut lines = lines.skip_while(|line| line.is_empty());
    let mut words = lines.next()?.split(' ');
    let mut request = Request::new(Body::empty());
    *request.method_mut() = words.next()?.parse::<Method>().ok()?;
    *request.uri_mut() = words.next()?.parse::<Uri>().ok()?;
    if !words.next()?.starts_with("HTTP/1.") {
        return None;
    }
    for line in lines.take_while(|line| !line.is_empty()) {
        let (name, value) = line.split_once(':')?;
        request.headers_mut().append(
            name.trim().parse::<HeaderName>().ok()?,
            HeaderValue::from_str(value.trim()).ok()?,
        );
    }
    Some(Part { content_id, request })
}

/// Writes an answer as a part.
pub(crate) async fn write(
    out: &mut Vec<u8>,
    boundary: &str,
    content_id: Option<&str>,
    answer: Response<Body>,
) -> Result<(), BlobsError> {
    let (head, body) = answer.into_parts();
    let body = body.read_bounded(XML_BYTES_MAX).await?;
    out.extend_from_slice(format!("--{boundary}\r\nContent-Type: application/http\r\n").as_bytes());
    if let Some(id) = content_id {
        out.extend_from_slice(format!("Content-ID: {id}\r\n").as_bytes());
    }
    let reason = head.status.canonical_reason().unwrap_or("");
    out.extend_from_slice(format!("\r\nHTTP/1.1 {} {reason}\r\n", head.status.as_u16()).as_bytes());
    for (name, value) in &head.headers {
        if name != "content-length" {
            out.extend_from_slice(format!("{name}: ").as_bytes());
            out.extend_from_slice(value.as_bytes());
            out.extend_from_slice(b"\r\n");
        }
    }
    out.extend_from_slice(format!("Content-Length: {}\r\n\r\n", body.len()).as_bytes());
    out.extend_from_slice(&body);
    out.extend_from_slice(b"\r\n");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boundaries_are_read() {
        let table = [
            ("multipart/mixed; boundary=batch_1", Some("batch_1")),
            ("Multipart/Mixed; charset=x; Boundary=\"b\"", Some("b")),
            ("multipart/mixed; boundary= b", Some("b")),
            ("multipart/mixed; boundary=batch_1==", Some("batch_1==")),
            ("multipart/form-data; boundary=b", None),
            ("multipart/mixed; boundary=", None),
            ("multipart/mixed", None),
        ];
        for (text, expected) in table {
            assert_eq!(boundary(text), expected, "{text}");
        }
    }

    #[test]
    fn parts_are_read() {
        let body = "--b\r\nContent-Type: application/http\r\nContent-ID: 7\r\n\r\nDELETE /c/a%20b HTTP/1.1\r\n\
                    x-ms-date: today\r\n\r\n\r\n--b\r\n\r\nPUT /c/d?comp=tier HTTP/1.1\r\n\r\n--b--\r\n";
        let parts = parse(body.as_bytes(), "b").unwrap();
        assert_eq!(parts.len(), 2);
        assert_eq!(parts[0].content_id.as_deref(), Some("7"));
        assert_eq!(parts[0].request.uri().path(), "/c/a%20b");
        assert_eq!(parts[0].request.headers()["x-ms-date"], "today");
        assert_eq!(parts[1].request.uri().query(), Some("comp=tier"));
        for bad in [
            "",
            "--b--",
            "--b\r\n\r\nDELETE /c/a HTTP/1.1\r\n",
            "--b\r\n\r\nnothing\r\n--b--",
        ] {
            assert_eq!(
                parse(bad.as_bytes(), "b").unwrap_err().code,
                ErrorCode::InvalidInput,
                "{bad}"
            );
        }
    }
}
