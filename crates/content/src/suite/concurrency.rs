//! Many at once: none sees another's bytes.

use bytes::Bytes;
use tokio::task::JoinSet;

use super::check::{Failure, equal};
use super::{Subject, bytes, whole, write};
use crate::frame::FRAME_BYTES;

pub(super) async fn many_writers(subject: &dyn Subject) -> Result<(), Failure> {
    let store = subject.store();
    let mut writers = JoinSet::new();
    for number in 0..16_usize {
        let store = store.clone();
        writers.spawn(async move {
            let content = bytes(number as u64, number * 3 * FRAME_BYTES / 4 + number);
            let mut writer = store.writer().await?;
            for piece in content.chunks(30_011) {
                writer.write(Bytes::copy_from_slice(piece)).await?;
                tokio::task::yield_now().await;
            }
            Ok::<_, Failure>((writer.finish().await?.id, content))
        });
    }
    let mut written = 0;
    while let Some(done) = writers.join_next().await {
        let (id, content) = done.map_err(|error| Failure::new(error.to_string()))??;
        whole(&store, id, &content).await?;
        written += 1;
    }
    equal(&store.list(None, 100).await?.len(), &written, "contents listed")
}

pub(super) async fn readers_beside_writers(subject: &dyn Subject) -> Result<(), Failure> {
    let store = subject.store();
    let content = bytes(9, 5 * FRAME_BYTES + 9);
    let id = write(&store, &content, 70_000).await?.id;
    let mut tasks = JoinSet::new();
    for number in 0..12_u64 {
        let (store, content) = (store.clone(), content.clone());
        tasks.spawn(async move {
            if number % 3 == 0 {
                let mine = bytes(number, 2 * FRAME_BYTES);
                let info = write(&store, &mine, 20_000).await?;
                whole(&store, info.id, &mine).await?;
                store.delete(info.id).await?;
                Ok(())
            } else {
                whole(&store, id, &content).await
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.map_err(|error| Failure::new(error.to_string()))??;
    }
    Ok(())
}
