//! Content on its way in: small content stays in memory for the ledger, larger goes to the
//! content store piece by piece.
//!
//! Invariant: a body is never buffered beyond [`INLINE_BYTES_MAX`] and one piece; what is in the
//! content store is synced when this returns, and nothing refers to it yet.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use content::ContentError;
use encryption::DataKey;
use http_semantics::Body;
use md5::{Digest as _, Md5};

use crate::Blobs;
use crate::error::{BlobsError, ErrorCode};
use crate::limits::INLINE_BYTES_MAX;
use crate::rules::structured::{self, Decoder};
use crate::store::contents::Small;
use crate::store::records::{Extent, StoredId};
use crate::wire::transfer::Announced;

/// Content that was taken in and waits for the commit that refers to it.
#[derive(Debug, Clone)]
pub struct StagedContent {
    /// Its length.
    pub length_bytes: u64,
    /// Its MD5, if it was wanted: it takes most of the time that taking content in takes.
    pub md5: Option<[u8; 16]>,
    pub(crate) crc64: u64,
    pub(crate) place: Place,
}

impl StagedContent {
    /// As the whole content of a blob, and what of it lies in the ledger.
    ///
    /// # Errors
    /// [`ContentError::Io`] if it can't be encrypted.
    pub(crate) fn as_extent(&self) -> Result<(Extent, Option<Bytes>), ContentError> {
        let (content, inline, bytes) = match &self.place {
            Place::Inline(small) => {
                let (bytes, stored) = small.stored(0..small.len())?;
                (None, stored, Some(bytes))
            }
            Place::Stored(stored) => (Some(*stored), None, None),
        };
        let extent = Extent {
            block: String::new(),
            length: self.length_bytes,
            content,
            inline,
        };
        Ok((extent, bytes))
    }
}

#[derive(Debug, Clone)]
pub(crate) enum Place {
    Inline(Small),
    Stored(StoredId),
}

/// What a body must turn out to be.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Expected {
    /// Of the content, without what a structured message has around it.
    pub(crate) length: Option<u64>,
    pub(crate) digest: Option<Announced>,
    /// It comes in a structured message.
    pub(crate) is_structured: bool,
    pub(crate) bytes_max: u64,
    /// Whether the MD5 is wanted though none was announced.
    pub(crate) md5: bool,
    /// Whether small content may stay in memory.
    pub(crate) inline: bool,
}

impl Blobs {
    /// Takes a body in for a blob of `account`: durable when this returns, unless it is small enough for
    /// the ledger.
    ///
    /// # Errors
    /// `RequestBodyTooLarge` past `bytes_max`; as the content store.
    pub async fn write_content(
        &self,
        account: &str,
        body: Body,
        bytes_max: u64,
    ) -> Result<StagedContent, BlobsError> {
        let key = self.contents.account_key(account)?;
        self.take_in(
            key,
            body,
            Expected {
                bytes_max,
                md5: true,
                inline: true,
                ..Expected::default()
            },
        )
        .await
    }

    /// As [`Self::write_content`], under `key` if there is one.
    pub(crate) async fn take_in(
        &self,
        key: Option<Arc<DataKey>>,
        mut body: Body,
        expected: Expected,
    ) -> Result<StagedContent, BlobsError> {
        let announced_md5 = matches!(expected.digest, Some(Announced::Md5(_)));
        let mut md5 = (expected.md5 || announced_md5).then(Md5::new);
        let mut crc64 = structured::crc64();
        let mut length = 0_u64;
        let mut small = BytesMut::new();
        let mut writer = None;
        let mut decoder = expected.is_structured.then(Decoder::default);
        let mut pieces = Vec::new();
        while let Some(received) = body.next_piece().await? {
            match &mut decoder {
                Some(decoder) => decoder.push(received, &mut pieces)?,
                None => pieces.push(received),
            }
            for piece in pieces.drain(..) {
                length += piece.len() as u64;
                if length > expected.bytes_max {
                    return Err(ErrorCode::RequestBodyTooLarge.into());
                }
                if let Some(md5) = &mut md5 {
                    md5.update(&piece);
                }
                crc64.update(&piece);
                if writer.is_none() && (!expected.inline || small.len() + piece.len() > INLINE_BYTES_MAX) {
                    let mut opened = self.contents.writer(key.as_ref()).await?;
                    if !small.is_empty() {
                        opened.write(small.split().freeze()).await?;
                    }
                    writer = Some(opened);
                }
                match &mut writer {
                    Some(writer) => writer.write(piece).await?,
                    None => small.extend_from_slice(&piece),
                }
            }
        }
        if let Some(decoder) = decoder {
            decoder.finish()?;
        }
        if expected.length.is_some_and(|announced| announced != length) {
            return Err(BlobsError::with(
                ErrorCode::InvalidInput,
                "The content isn't as long as the request's headers say.",
            ));
        }
        let (md5, crc64) = (md5.map(|md5| md5.finalize().into()), crc64.finalize());
        if let Some(announced) = expected.digest {
            announced.check(md5, crc64)?;
        }
        if writer.is_none() && !expected.inline {
            writer = Some(self.contents.writer(key.as_ref()).await?);
        }
        let place = match writer {
            Some(writer) => Place::Stored(writer.finish().await?),
            None => Place::Inline(Small::new(small.freeze(), key)),
        };
        Ok(StagedContent {
            length_bytes: length,
            md5,
            crc64,
            place,
        })
    }
}
