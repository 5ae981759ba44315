//! Numbers that look like chance and are the same in every run: both sides of a comparison get the
//! same documents in the same order.

/// The `n`th number (SplitMix64).
pub fn number(n: u64) -> u64 {
    let mut z = n.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// `length` letters, different for each `n`.
pub fn text(n: u64, length: usize) -> String {
    (0u64..)
        .flat_map(|block| number(n.wrapping_mul(1_000).wrapping_add(block)).to_le_bytes())
        .map(|byte| char::from(b'a' + byte % 26))
        .take(length)
        .collect()
}

/// `length` bytes, different for each `n`.
pub fn bytes(n: u64, length: usize) -> Vec<u8> {
    (0u64..)
        .flat_map(|block| number(n.wrapping_mul(1_000).wrapping_add(block)).to_le_bytes())
        .take(length)
        .collect()
}
