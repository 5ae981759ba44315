//! Writing: however a content comes in, it is there as it came, or not at all.

use bytes::Bytes;

use super::check::{Failure, ensure, equal};
use super::{Subject, bytes, whole, write};
use crate::frame::FRAME_BYTES;

/// More than a backend keeps in memory before it sends something off.
const LARGE_BYTES: usize = 20 * 1024 * 1024 + 17;

pub(super) async fn pieces_of_any_size(subject: &dyn Subject) -> Result<(), Failure> {
    let store = subject.store();
    let lengths = [1, 2, 1_000, FRAME_BYTES - 1, FRAME_BYTES, FRAME_BYTES + 1];
    for length in lengths.into_iter().chain([3 * FRAME_BYTES, 3 * FRAME_BYTES + 17]) {
        for piece in [1, 10_007, FRAME_BYTES, FRAME_BYTES + 1, usize::MAX] {
            if length / piece > 2_000 {
                continue;
            }
            let place = format!("{length} bytes in pieces of {piece}");
            let content = bytes(length as u64, length);
            let info = write(&store, &content, piece).await.map_err(|f| f.at(&place))?;
            whole(&store, info.id, &content).await.map_err(|f| f.at(&place))?;
            equal(&store.info(info.id).await?, &info, "info").map_err(|f| f.at(&place))?;
        }
    }
    Ok(())
}

pub(super) async fn several_mebibytes(subject: &dyn Subject) -> Result<(), Failure> {
    let store = subject.store();
    for length in [8 * 1024 * 1024, LARGE_BYTES] {
        let content = bytes(5, length);
        let info = write(&store, &content, 100_003).await?;
        whole(&store, info.id, &content).await.map_err(|f| f.at(length))?;
        equal(&store.info(info.id).await?, &info, "info")?;
    }
    Ok(())
}

pub(super) async fn nothing_at_all(subject: &dyn Subject) -> Result<(), Failure> {
    let store = subject.store();
    let info = write(&store, &[], 1).await?;
    whole(&store, info.id, &[]).await?;
    let mut writer = store.writer().await?;
    writer.write(Bytes::new()).await?;
    writer.write(Bytes::from_static(b"a")).await?;
    writer.write(Bytes::new()).await?;
    let info = writer.finish().await?;
    whole(&store, info.id, b"a").await
}

pub(super) async fn ids_are_never_given_twice(subject: &dyn Subject) -> Result<(), Failure> {
    let store = subject.store();
    let mut ids = Vec::new();
    for _ in 0..20 {
        // The same bytes each time: an id names one writing, not what was written.
        ids.push(write(&store, b"the same", 8).await?.id);
    }
    let given = ids.len();
    ids.sort_unstable();
    ids.dedup();
    equal(&ids.len(), &given, "different ids")
}

pub(super) async fn an_unfinished_content_is_never_seen(subject: &dyn Subject) -> Result<(), Failure> {
    let store = subject.store();
    for length in [0, 100, 3 * FRAME_BYTES, LARGE_BYTES] {
        let mut writer = store.writer().await?;
        for piece in bytes(1, length).chunks(1024 * 1024) {
            writer.write(Bytes::copy_from_slice(piece)).await?;
        }
        let listed = store.list(None, 10).await?;
        ensure(listed.is_empty(), || {
            format!("{length} bytes under way are listed: {listed:?}")
        })?;
        drop(writer);
        let listed = store.list(None, 10).await?;
        ensure(listed.is_empty(), || {
            format!("{length} bytes given up are listed: {listed:?}")
        })?;
    }
    Ok(())
}
