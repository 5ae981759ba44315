//! Removal: gone for good, and nothing else with it.

use super::check::{Failure, ensure, equal, same_bytes};
use super::{Subject, bytes, whole, write};
use crate::frame::FRAME_BYTES;
use crate::{ContentError, ContentId};

pub(super) async fn once_and_again(subject: &dyn Subject) -> Result<(), Failure> {
    let store = subject.store();
    let id = write(&store, b"short", 5).await?.id;
    for _ in 0..3 {
        store.delete(id).await?;
        let info = store.info(id).await;
        ensure(info == Err(ContentError::NotFound(id)), || {
            format!("info: {info:?}")
        })?;
        let reader = store.reader(id, 0..1).await.map(|_| "a reader");
        ensure(reader == Err(ContentError::NotFound(id)), || {
            format!("reader: {reader:?}")
        })?;
        equal(&store.list(None, 10).await?, &Vec::new(), "the listing")?;
    }
    store.delete(ContentId::from_bytes([7; 16])).await?;
    Ok(())
}

pub(super) async fn under_a_reader(subject: &dyn Subject) -> Result<(), Failure> {
    let store = subject.store();
    // Small enough to be fetched at once, and larger than that.
    for frames in [2, 150] {
        let content = bytes(6, frames * FRAME_BYTES + 3);
        let id = write(&store, &content, 1024 * 1024).await?.id;
        let mut reader = store.reader(id, 0..u64::MAX).await?;
        let mut found = reader.next().await?.unwrap_or_default().to_vec();
        store.delete(id).await?;
        loop {
            match reader.next().await {
                Ok(Some(piece)) => found.extend_from_slice(&piece),
                Ok(None) => {
                    same_bytes(&found, &content, "through the reader")?;
                    break;
                }
                Err(error) if error == ContentError::NotFound(id) => break,
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(())
}

pub(super) async fn leaves_the_others(subject: &dyn Subject) -> Result<(), Failure> {
    let store = subject.store();
    let mut kept = Vec::new();
    for number in 0..6 {
        let content = bytes(number, 1_000);
        let id = write(&store, &content, 300).await?.id;
        if number % 2 == 0 {
            store.delete(id).await?;
        } else {
            kept.push((id, content));
        }
    }
    for (id, content) in &kept {
        whole(&store, *id, content).await?;
    }
    equal(&store.list(None, 10).await?.len(), &kept.len(), "contents listed")
}
