//! Reading: the range that was asked for, no more, no less.

use super::check::{Failure, ensure, equal, same_bytes};
use super::{ReadFailure, Subject, bytes, read, write};
use crate::frame::FRAME_BYTES;
use crate::{ContentError, ContentId};

pub(super) async fn any_range(subject: &dyn Subject) -> Result<(), Failure> {
    let store = subject.store();
    // The last is larger than what a backend is likely to fetch at once.
    for length in [0, 1, 100, FRAME_BYTES, 3 * FRAME_BYTES + 17, 90 * FRAME_BYTES + 5] {
        let content = bytes(3, length);
        let id = write(&store, &content, 50_000).await?.id;
        let (frame, end) = (FRAME_BYTES as u64, length as u64);
        let told = store.reader(id, 1..2).await?.length_bytes();
        equal(&told, &end, "the length that a reader tells")?;
        for (from, to) in [
            (0, end),
            (0, 0),
            (0, 1),
            (end / 2, end / 2),
            (end / 2, end),
            (end.saturating_sub(1), end),
            (frame - 1, frame + 1),
            (frame, 2 * frame),
            (frame, 2 * frame + 1),
            (frame + 1, 2 * frame - 1),
            (2 * frame, u64::MAX),
            (33 * frame - 7, 70 * frame + 9),
            (end, end + 9),
            (end + 1, end + 9),
            (0, u64::MAX),
            (u64::MAX, u64::MAX),
            (u64::MAX - 1, u64::MAX),
            (9, 3),
        ] {
            let clamp = |at: u64| usize::try_from(at.min(end)).unwrap_or(usize::MAX);
            let wanted = content.get(clamp(from)..clamp(to)).unwrap_or_default();
            let place = format!("{from}..{to} of {length} bytes");
            let found = read(&store, id, from..to)
                .await
                .map_err(|failure| Failure::from(failure).at(&place))?;
            same_bytes(&found, wanted, &place)?;
        }
    }
    Ok(())
}

pub(super) async fn pieces_are_bounded_and_end_once(subject: &dyn Subject) -> Result<(), Failure> {
    let store = subject.store();
    let id = write(&store, &bytes(4, 2 * FRAME_BYTES + 1), 999).await?.id;
    let mut reader = store.reader(id, 1..u64::MAX).await?;
    let mut length = 0;
    while let Some(piece) = reader.next().await? {
        length += piece.len();
        ensure(!piece.is_empty() && piece.len() <= FRAME_BYTES, || {
            format!("a piece of {} bytes", piece.len())
        })?;
    }
    ensure(length == 2 * FRAME_BYTES, || format!("{length} bytes"))?;
    for _ in 0..3 {
        let more = reader.next().await?;
        ensure(more.is_none(), || "something comes behind the end".to_owned())?;
    }
    Ok(())
}

pub(super) async fn what_was_never_written(subject: &dyn Subject) -> Result<(), Failure> {
    let store = subject.store();
    write(&store, b"another", 7).await?;
    for id in [[0; 16], [0x7f; 16], [0xff; 16]].map(ContentId::from_bytes) {
        let wanted = ContentError::NotFound(id);
        match read(&store, id, 0..10).await {
            Err(ReadFailure::Store(error)) if error == wanted => {}
            Err(failure) => return Err(failure.into()),
            Ok(_) => return Err(Failure::new(format!("{id} was never written and can be read"))),
        }
        let info = store.info(id).await;
        ensure(info == Err(wanted), || format!("info of {id}: {info:?}"))?;
    }
    Ok(())
}
