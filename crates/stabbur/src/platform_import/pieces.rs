//! Contents on their way in: as bodies, piece by piece, never whole in memory.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::{Bytes, BytesMut};
use futures::stream;
use http_semantics::{Body, BodyError};
use tokio::io::AsyncReadExt as _;

const PIECE_BYTES: usize = 64 * 1024;

/// A file as a body; `broke_off` tells that it wasn't our store that failed.
pub(super) async fn file(path: &Path, broke_off: &BrokeOff) -> std::io::Result<Body> {
    let file = tokio::fs::File::open(path).await?;
    let broke_off = broke_off.clone();
    Ok(Body::stream(stream::try_unfold(
        (file, broke_off),
        |(mut file, broke_off)| async move {
            let mut piece = BytesMut::with_capacity(PIECE_BYTES);
            let read = file.read_buf(&mut piece).await;
            match read {
                Ok(0) => Ok(None),
                Ok(_) => Ok(Some((piece.freeze(), (file, broke_off)))),
                Err(error) => {
                    broke_off.0.store(true, Ordering::SeqCst);
                    Err(BodyError::Source(error.to_string()))
                }
            }
        },
    )))
}

/// Whether the source of a body broke off.
#[derive(Debug, Clone, Default)]
pub(super) struct BrokeOff(Arc<AtomicBool>);

impl BrokeOff {
    pub(super) fn is_so(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// An answer's body as one of ours; `broke_off` tells that it wasn't our store that failed.
pub(super) fn answer(response: reqwest::Response, broke_off: &BrokeOff) -> Body {
    let broke_off = broke_off.clone();
    Body::stream(stream::try_unfold(
        (response, broke_off),
        |(mut response, broke_off)| async move {
            let piece: Result<Option<Bytes>, _> = response.chunk().await;
            match piece {
                Ok(Some(piece)) => Ok(Some((piece, (response, broke_off)))),
                Ok(None) => Ok(None),
                Err(error) => {
                    broke_off.0.store(true, Ordering::SeqCst);
                    Err(BodyError::Truncated(error.without_url().to_string()))
                }
            }
        },
    ))
}
