//! How content comes in a request and goes in an answer: its length, its digest, its form.

use std::collections::VecDeque;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures::stream;
use http::HeaderMap;
use http_semantics::Body;
use md5::{Digest as _, Md5};

use crate::error::{BlobsError, ErrorCode};
use crate::rules::structured::{Encoder, FORM, Malformed, crc64};
use crate::store::staging::{Expected, StagedContent};
use crate::wire::{headers, render};

const STRUCTURED: &str = "x-ms-structured-body";
const STRUCTURED_LENGTH: &str = "x-ms-structured-content-length";
const CRC64: &str = "x-ms-content-crc64";
const MD5: &str = "content-md5";

/// A digest that a client says its content has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Announced {
    Md5([u8; 16]),
    Crc64(u64),
}

impl Announced {
    /// Whichever of two headers there is.
    pub(crate) fn parse(headers: &HeaderMap, md5: &str, crc64: &str) -> Result<Option<Self>, BlobsError> {
        match (headers::md5(headers, md5)?, headers::text(headers, crc64)) {
            (Some(_), Some(_)) => Err(ErrorCode::BothCrc64AndMd5HeaderPresent.into()),
            (Some(md5), None) => Ok(Some(Self::Md5(md5))),
            (None, None) => Ok(None),
            (None, Some(text)) => {
                let bytes = STANDARD.decode(text).ok().and_then(|bytes| bytes.try_into().ok());
                let bytes: [u8; 8] = bytes.ok_or_else(|| {
                    let text = format!("{crc64} is the CRC64's eight bytes in base64, the lowest first.");
                    BlobsError::with(ErrorCode::InvalidHeaderValue, text)
                })?;
                Ok(Some(Self::Crc64(u64::from_le_bytes(bytes))))
            }
        }
    }

    /// What the content of a copy's source is said to have.
    pub(crate) fn of_source(headers: &HeaderMap) -> Result<Option<Self>, BlobsError> {
        Self::parse(headers, "x-ms-source-content-md5", "x-ms-source-content-crc64")
    }

    /// Compares it with what the content has.
    pub(crate) fn check(self, md5: Option<[u8; 16]>, crc64: u64) -> Result<(), BlobsError> {
        match self {
            Self::Md5(announced) if md5 != Some(announced) => Err(ErrorCode::Md5Mismatch.into()),
            Self::Crc64(announced) if announced != crc64 => Err(ErrorCode::Crc64Mismatch.into()),
            _ => Ok(()),
        }
    }
}

/// What a request says of the content in its body.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Transfer {
    /// Length of the content, without what a structured message has around it.
    pub(crate) length: u64,
    digest: Option<Announced>,
    is_structured: bool,
}

impl Transfer {
    pub(crate) fn parse(headers: &HeaderMap) -> Result<Self, BlobsError> {
        let sent = headers::content_length(headers)?.ok_or(ErrorCode::MissingContentLengthHeader)?;
        let digest = Announced::parse(headers, MD5, CRC64)?;
        if !is_structured(headers)? {
            return Ok(Self {
                length: sent,
                digest,
                is_structured: false,
            });
        }
        if digest.is_some() {
            let text = "A structured message holds its checksums: no other digest goes beside it.";
            return Err(BlobsError::with(ErrorCode::InvalidHeaderValue, text));
        }
        let length = headers::required(headers, STRUCTURED_LENGTH)?
            .parse()
            .map_err(|_| ErrorCode::InvalidHeaderValue)?;
        if length > sent {
            let text = format!("{STRUCTURED_LENGTH} is more than Content-Length.");
            return Err(BlobsError::with(ErrorCode::InvalidHeaderValue, text));
        }
        Ok(Self {
            length,
            digest: None,
            is_structured: true,
        })
    }

    /// Leaves the MD5 of the request out of account: another header's counts.
    pub(crate) fn forget_md5(&mut self) {
        self.digest = self.digest.filter(|digest| !matches!(digest, Announced::Md5(_)));
    }

    /// Of a part of a blob.
    pub(crate) fn expected_part(self, request: &HeaderMap, bytes_max: u64, inline: bool) -> Expected {
        Expected {
            md5: answers_md5(request),
            ..self.expected(bytes_max, inline)
        }
    }

    /// Of a whole blob, whose MD5 is a property of it.
    pub(crate) fn expected(self, bytes_max: u64, inline: bool) -> Expected {
        Expected {
            length: Some(self.length),
            digest: self.digest,
            is_structured: self.is_structured,
            bytes_max,
            md5: true,
            inline,
        }
    }
}

/// Whether the MD5 of a part of a blob is answered though the request has none: versions before 2019-02-02 do
/// (Put Block, Append Block, Put Page: response headers).
pub(crate) fn answers_md5(request: &HeaderMap) -> bool {
    let version = headers::text(request, "x-ms-version");
    version.is_none_or(|version| version < "2019-02-02")
}

/// Whether a structured message is sent, or wanted.
fn is_structured(headers: &HeaderMap) -> Result<bool, BlobsError> {
    match headers::text(headers, STRUCTURED) {
        None => Ok(false),
        Some(form) if form.eq_ignore_ascii_case(FORM) => Ok(true),
        Some(_) => Err(BlobsError::with(
            ErrorCode::InvalidHeaderValue,
            format!("{STRUCTURED} is {FORM}."),
        )),
    }
}

/// Checks a body that is in memory, such as a list of blocks, against the digest it is said to have.
pub(crate) fn check(headers: &HeaderMap, body: &[u8]) -> Result<(), BlobsError> {
    if is_structured(headers)? {
        let text = format!("{STRUCTURED} is served where content is sent, not here.");
        return Err(BlobsError::with(ErrorCode::NotImplemented, text));
    }
    match Announced::parse(headers, MD5, CRC64)? {
        Some(announced) => announced.check(Some(Md5::digest(body).into()), crc64_of(body)),
        None => Ok(()),
    }
}

fn crc64_of(bytes: &[u8]) -> u64 {
    let mut digest = crc64();
    digest.update(bytes);
    digest.finalize()
}

fn encoded(crc64: u64) -> String {
    STANDARD.encode(crc64.to_le_bytes())
}

/// Says what was taken in, so that the client can compare; `request` are its headers.
pub(crate) fn answer(out: &mut HeaderMap, request: &HeaderMap, content: &StagedContent) {
    if let Some(md5) = content.md5 {
        render::set(out, MD5, STANDARD.encode(md5));
    }
    render::set(out, CRC64, encoded(content.crc64));
    if request.contains_key(STRUCTURED) {
        // Clients take an answer without it for one of a server that stored the message as it came.
        render::set(out, STRUCTURED, FORM);
    }
}

/// The digest of a range that is in memory, if one is wanted: the header and its value.
pub(crate) fn range_digest(headers: &HeaderMap) -> Result<Option<RangeDigest>, BlobsError> {
    let wants = |name| headers::flag(headers, name);
    match (
        wants("x-ms-range-get-content-md5"),
        wants("x-ms-range-get-content-crc64"),
    ) {
        (true, true) => Err(ErrorCode::BothCrc64AndMd5HeaderPresent.into()),
        (true, false) => Ok(Some(RangeDigest::Md5)),
        (false, true) => Ok(Some(RangeDigest::Crc64)),
        (false, false) => Ok(None),
    }
}

/// Which digest of a range is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RangeDigest {
    Md5,
    Crc64,
}

impl RangeDigest {
    /// The header that holds it, and its value.
    pub(crate) fn of(self, bytes: &[u8]) -> (&'static str, String) {
        match self {
            Self::Md5 => (MD5, STANDARD.encode(Md5::digest(bytes))),
            Self::Crc64 => (CRC64, encoded(crc64_of(bytes))),
        }
    }
}

/// Puts `length` bytes of content into a structured message, if one is wanted; gives the body, and
/// sets the headers that speak of its length and form.
pub(crate) fn send(
    out: &mut HeaderMap,
    request: &HeaderMap,
    body: Body,
    length: u64,
) -> Result<Body, BlobsError> {
    if !is_structured(request)? {
        render::set(out, "content-length", length.to_string());
        return Ok(body);
    }
    let encoder = Encoder::new(length);
    render::set(out, "content-length", encoder.length_bytes().to_string());
    render::set(out, STRUCTURED, FORM);
    render::set(out, STRUCTURED_LENGTH, length.to_string());
    let sending = Sending {
        ready: VecDeque::from([encoder.begin()]),
        body: Some(body),
        encoder,
    };
    Ok(Body::stream(stream::try_unfold(sending, |mut sending| async {
        loop {
            if let Some(piece) = sending.ready.pop_front() {
                return Ok(Some((piece, sending)));
            }
            let Some(body) = &mut sending.body else {
                return Ok(None);
            };
            match body.next_piece().await? {
                Some(piece) => {
                    let mut pieces = Vec::new();
                    sending.encoder.push(piece, &mut pieces);
                    sending.ready.extend(pieces);
                }
                None => {
                    sending.body = None;
                    sending.ready.push_back(sending.encoder.end());
                }
            }
        }
    })))
}

/// A structured message on its way out.
struct Sending {
    encoder: Encoder,
    /// Pieces of the message that go next.
    ready: VecDeque<Bytes>,
    /// What is still to be put into it.
    body: Option<Body>,
}

impl From<Malformed> for BlobsError {
    fn from(malformed: Malformed) -> Self {
        match malformed {
            Malformed::Checksum => ErrorCode::Crc64Mismatch.into(),
            Malformed::Form(_) => Self::with(ErrorCode::InvalidInput, malformed.to_string()),
        }
    }
}
