//! Request headers that several operations read.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use percent_encoding::percent_decode_str;

use crate::error::{BlobsError, ErrorCode};
use crate::limits::METADATA_BYTES_MAX;
use crate::rules::tags::{Tags, collect};
use crate::rules::tier::Asked;
use crate::store::BlobHeaders;

/// A header's text; `None` if it is absent, empty, or not text.
pub(crate) fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers
        .get(name)
        .and_then(|value| value.to_str().ok())
        .map(str::trim)
        .filter(|value| !value.is_empty())
}

/// A header that must be there.
///
/// # Errors
/// `MissingRequiredHeader`.
pub(crate) fn required<'a>(headers: &'a HeaderMap, name: &str) -> Result<&'a str, BlobsError> {
    text(headers, name)
        .ok_or_else(|| BlobsError::with(ErrorCode::MissingRequiredHeader, format!("{name} is required.")))
}

/// `x-ms-tags`: pairs as a form has them.
pub(crate) fn tags(headers: &HeaderMap) -> Result<Tags, BlobsError> {
    let decode = |text: &str| {
        percent_decode_str(&text.replace('+', "%20"))
            .decode_utf8()
            .map(String::from)
            .map_err(|_| ErrorCode::InvalidTag)
    };
    let pairs = text(headers, "x-ms-tags")
        .unwrap_or("")
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((decode(key)?, decode(value)?))
        });
    let pairs: Result<Vec<_>, ErrorCode> = pairs.collect();
    collect(pairs?).map_err(BlobsError::from)
}

/// `x-ms-access-tier`.
pub(crate) fn tier(headers: &HeaderMap) -> Result<Option<Asked>, BlobsError> {
    text(headers, "x-ms-access-tier")
        .map(|text| {
            Asked::parse(text).ok_or_else(|| {
                let text = "x-ms-access-tier is Hot, Cool, Cold or Archive.";
                BlobsError::with(ErrorCode::InvalidHeaderValue, text)
            })
        })
        .transpose()
}

/// Whether a header says `true`.
pub(crate) fn flag(headers: &HeaderMap, name: &str) -> bool {
    text(headers, name).is_some_and(|value| value.eq_ignore_ascii_case("true"))
}

/// `Content-Length`.
pub(crate) fn content_length(headers: &HeaderMap) -> Result<Option<u64>, BlobsError> {
    text(headers, "content-length")
        .map(|value| value.parse().map_err(|_| ErrorCode::InvalidHeaderValue.into()))
        .transpose()
}

/// An MD5 header.
pub(crate) fn md5(headers: &HeaderMap, name: &str) -> Result<Option<[u8; 16]>, BlobsError> {
    let Some(value) = text(headers, name) else {
        return Ok(None);
    };
    let bytes = STANDARD
        .decode(value)
        .ok()
        .and_then(|bytes| bytes.try_into().ok());
    bytes.map(Some).ok_or_else(|| ErrorCode::InvalidMd5.into())
}

/// The `x-ms-blob-*` properties. The MD5 is any bytes in base64: it isn't held against anything here, nor is its
/// length (Set Blob Properties: "this hash is not validated").
pub(crate) fn blob_headers(headers: &HeaderMap) -> Result<BlobHeaders, BlobsError> {
    let get = |name: &str| text(headers, name).map(str::to_owned);
    if text(headers, "x-ms-blob-content-md5").is_some_and(|md5| STANDARD.decode(md5).is_err()) {
        return Err(ErrorCode::InvalidMd5.into());
    }
    Ok(BlobHeaders {
        content_type: get("x-ms-blob-content-type"),
        content_encoding: get("x-ms-blob-content-encoding"),
        content_language: get("x-ms-blob-content-language"),
        content_disposition: get("x-ms-blob-content-disposition"),
        cache_control: get("x-ms-blob-cache-control"),
        content_md5: get("x-ms-blob-content-md5"),
    })
}

/// The `x-ms-meta-*` pairs. Names are C# identifiers.
pub(crate) fn metadata(headers: &HeaderMap) -> Result<BTreeMap<String, String>, BlobsError> {
    let mut metadata = BTreeMap::new();
    let mut bytes = 0;
    for (name, value) in headers {
        let Some(name) = name.as_str().strip_prefix("x-ms-meta-") else {
            continue;
        };
        let value = value.to_str().map_err(|_| ErrorCode::InvalidMetadata)?;
        let starts_well = name.chars().next().is_some_and(|c| c.is_alphabetic() || c == '_');
        if !starts_well || !name.chars().all(|c| c.is_alphanumeric() || c == '_') {
            return Err(ErrorCode::InvalidMetadata.into());
        }
        bytes += name.len() + value.len();
        metadata.insert(name.to_owned(), value.to_owned());
    }
    if bytes > METADATA_BYTES_MAX {
        return Err(ErrorCode::MetadataTooLarge.into());
    }
    Ok(metadata)
}
