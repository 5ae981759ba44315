//! Batches in the rows of the .NET client: any bytes are refused, or read as operations in their bounds.
#![no_main]

use documents::limits::BATCH_OPERATIONS_MAX;
use documents::rules::hybrid_row;
use libfuzzer_sys::fuzz_target;

/// What the checksums of the rows have to be is put in, else no row would ever be looked into.
fn summed(data: &[u8]) -> Vec<u8> {
    let mut body = vec![0x81, 0xF0, 0xD8, 0xFF, 0x7F, 1, 10, 0, 0, 0];
    for row in data.split(|byte| *byte == 0xFE) {
        body.extend_from_slice(&[0x81, 0xF1, 0xD8, 0xFF, 0x7F]);
        body.extend_from_slice(&u32::try_from(row.len() + 5).unwrap_or_default().to_le_bytes());
        let row = [&[0x81, 0x70, 0x54, 0xE1, 0x7F], row].concat();
        body.extend_from_slice(&crc32(&row).to_le_bytes());
        body.extend_from_slice(&row);
    }
    body
}

fn crc32(bytes: &[u8]) -> u32 {
    let mut sum = u32::MAX;
    for byte in bytes {
        sum ^= u32::from(*byte);
        for _ in 0..8 {
            sum = (sum >> 1) ^ (0xEDB8_8320 & (sum & 1).wrapping_neg());
        }
    }
    !sum
}

fuzz_target!(|data: &[u8]| {
    let _ = hybrid_row::read(data);
    if let Ok(operations) = hybrid_row::read(&summed(data)) {
        assert!((1..=BATCH_OPERATIONS_MAX).contains(&operations.len()));
    }
});
