//! Damage: stored bytes that aren't what was written are an error, never an answer.

use super::check::{Failure, ensure};
use super::{ReadFailure, Subject, bytes, read, whole, write};
use crate::frame::{CHECKSUM_BYTES, FRAME_BYTES};
use crate::{ContentError, ContentId};

/// Every how many-th byte of the frames is tried; all bytes at their edges are.
const STEP_BYTES: usize = 4_099;

/// Bytes at the begin, at the end and around each frame's edge that are tried one by one.
const EDGE_BYTES: usize = 26;

/// Reads the damaged content whole and in parts: the whole is refused; what part of it is given is
/// right.
async fn refused(subject: &dyn Subject, id: ContentId, content: &[u8], place: &str) -> Result<(), Failure> {
    let store = subject.store();
    match read(&store, id, 0..u64::MAX).await {
        Err(ReadFailure::Store(ContentError::Corrupt { id: named, .. })) if named == id => {}
        Err(failure) => return Err(Failure::from(failure).at(place)),
        Ok(found) => {
            let state = if found == content {
                "unnoticed"
            } else {
                "given out"
            };
            return Err(Failure::new(format!("{place}: the damage is {state}")));
        }
    }
    let frame = FRAME_BYTES as u64;
    for range in [
        0..10,
        frame..frame + 10,
        frame - 1..frame + 1,
        2 * frame..u64::MAX,
    ] {
        let clamp = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(content.len());
        let wanted = content
            .get(clamp(range.start)..clamp(range.end))
            .unwrap_or_default();
        match read(&store, id, range.clone()).await {
            Err(ReadFailure::Store(ContentError::Corrupt { .. })) => {}
            Err(failure) => return Err(Failure::from(failure).at(place)),
            Ok(found) => ensure(found == wanted, || format!("{place}: wrong bytes for {range:?}"))?,
        }
    }
    if let Ok(info) = store.info(id).await {
        ensure(info.length_bytes == content.len() as u64, || {
            format!("{place}: {info:?}")
        })?;
    }
    Ok(())
}

pub(super) async fn of_any_byte(subject: &dyn Subject) -> Result<(), Failure> {
    let store = subject.store();
    let content = bytes(11, 2 * FRAME_BYTES + 100);
    let id = write(&store, &content, 80_000).await?.id;
    let Some(sound) = subject.stored(id).await? else {
        return Ok(());
    };
    let edges = [
        0,
        FRAME_BYTES + CHECKSUM_BYTES,
        2 * (FRAME_BYTES + CHECKSUM_BYTES),
        sound.len() - 2 * EDGE_BYTES,
        sound.len() - EDGE_BYTES,
    ];
    let mut places: Vec<usize> = edges
        .into_iter()
        .flat_map(|edge| edge..edge + EDGE_BYTES)
        .collect();
    places.extend((0..sound.len()).step_by(STEP_BYTES));
    places.sort_unstable();
    places.dedup();
    for place in places {
        let mut damaged = sound.clone();
        if let Some(byte) = damaged.get_mut(place) {
            *byte ^= 1 << (place % 8);
        }
        subject.replace(id, damaged).await?;
        refused(subject, id, &content, &format!("byte {place} altered")).await?;
    }
    let counted = store.stats().await?.corrupt_frames;
    ensure(counted > 0, || "no damage is counted".to_owned())?;
    subject.replace(id, sound).await?;
    whole(&store, id, &content).await
}

pub(super) async fn of_the_length(subject: &dyn Subject) -> Result<(), Failure> {
    let store = subject.store();
    let content = bytes(12, 3 * FRAME_BYTES + 100);
    let id = write(&store, &content, 80_000).await?.id;
    let Some(sound) = subject.stored(id).await? else {
        return Ok(());
    };
    let frame = FRAME_BYTES + CHECKSUM_BYTES;
    let end = sound.len();
    for length in [
        0,
        1,
        24,
        43,
        44,
        45,
        frame,
        frame + 24,
        2 * frame + 24,
        end - frame,
        end - 104,
        end - 20,
        end - 1,
    ] {
        let damaged = sound.get(..length).unwrap_or_default().to_vec();
        subject.replace(id, damaged).await?;
        refused(subject, id, &content, &format!("cut to {length} bytes")).await?;
    }
    // Cut by whole frames, header and footer kept. Without the last one, every frame that is left
    // is right: the length alone tells.
    let part = |from: usize, to: usize| sound.get(from..to).unwrap_or_default();
    for (name, from, to) in [
        ("the first frame", 24, 24 + frame),
        ("the third frame", 24 + 2 * frame, 24 + 3 * frame),
        ("the last frame", 24 + 3 * frame, end - 20),
        ("each frame", 24, end - 20),
    ] {
        subject
            .replace(id, [part(0, from), part(to, end)].concat())
            .await?;
        refused(subject, id, &content, &format!("{name} left out")).await?;
    }
    for more in [1, 20, frame] {
        subject
            .replace(id, [sound.as_slice(), &vec![0; more]].concat())
            .await?;
        refused(subject, id, &content, &format!("{more} bytes appended")).await?;
    }
    Ok(())
}

pub(super) async fn of_the_order(subject: &dyn Subject) -> Result<(), Failure> {
    let store = subject.store();
    let content = bytes(13, 3 * FRAME_BYTES);
    let id = write(&store, &content, 80_000).await?.id;
    let other = write(&store, &content, 80_000).await?.id;
    let (Some(sound), Some(foreign)) = (subject.stored(id).await?, subject.stored(other).await?) else {
        return Ok(());
    };
    let frame = FRAME_BYTES + CHECKSUM_BYTES;
    let part = |of: &[u8], from: usize, to: usize| of.get(from..to).unwrap_or_default().to_vec();
    let exchanged = [
        part(&sound, 0, 24),
        part(&sound, 24 + frame, 24 + 2 * frame),
        part(&sound, 24, 24 + frame),
        part(&sound, 24 + 2 * frame, sound.len()),
    ];
    subject.replace(id, exchanged.concat()).await?;
    refused(subject, id, &content, "two frames exchanged").await?;
    // The same bytes under the same frame number, but another content's.
    let borrowed = [
        part(&sound, 0, 24),
        part(&foreign, 24, 24 + frame),
        part(&sound, 24 + frame, sound.len()),
    ];
    subject.replace(id, borrowed.concat()).await?;
    refused(subject, id, &content, "a frame of another content").await?;
    subject.replace(id, foreign).await?;
    refused(subject, id, &content, "another content").await
}
