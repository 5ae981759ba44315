//! Multipart bodies and the file names in them, in pieces of any size.
#![no_main]

use fuzz_requests::block_on;
use http_semantics::Body;
use libfuzzer_sys::fuzz_target;
use platform_storage::rules::{content_disposition, multipart};

fuzz_target!(|data: &[u8]| {
    let Some((size, data)) = data.split_first() else {
        return;
    };
    let pieces: Vec<_> = data
        .chunks(usize::from(*size).max(1))
        .map(|piece| Ok(piece.to_vec().into()))
        .collect();
    let length = data.len();
    let again: Vec<_> = pieces
        .iter()
        .map(|piece: &Result<bytes::Bytes, http_semantics::BodyError>| piece.clone())
        .collect();
    block_on(async {
        // Each part: together they are never more than the body.
        let mut parts = multipart::Parts::new(Body::stream(futures::stream::iter(again)), "b");
        let mut read = 0;
        while let Ok(Some((headers, content))) = parts.next().await {
            let _ = headers
                .content_disposition
                .and_then(|value| content_disposition::field(&value));
            match content.read_bounded(length).await {
                Ok(content) => read += content.len(),
                Err(_) => break,
            }
        }
        assert!(read <= length);
        let body = Body::stream(futures::stream::iter(pieces));
        if let Ok((headers, content)) = multipart::first_part(body, "b").await {
            if let Some(name) = headers
                .content_disposition
                .and_then(|value| content_disposition::filename(&value))
            {
                assert!(!name.contains(['/', '\\']), "{name}");
                assert!(content_disposition::attachment(&name).is_ascii());
            }
            if let Ok(content) = content.read_bounded(length).await {
                assert!(content.len() < length);
            }
        }
    });
});
