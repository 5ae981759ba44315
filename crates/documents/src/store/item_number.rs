//! An item number as it ends a key: short, in order, and readable from the key's end.
//!
//! | numbers below | bytes | class |
//! | --- | --- | --- |
//! | 2^20 | 3 | 0 |
//! | 2^28 | 4 | 1 |
//! | 2^44 | 6 | 2 |
//! | 2^64 | 9 | 3 |
//!
//! Big-endian: two bits of class, the number, two bits of class again. Each number has one encoding,
//! the shortest, so byte order is the numbers' order; the last bits tell who reads from the end how
//! long it is. Containers of a few million documents have keys four to five bytes shorter than with
//! eight for each number.

use crate::limits::ITEM_NUMBER_BYTES_MAX as BYTES_MAX;

/// An encoded item number.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ItemNumber {
    /// The encoding lies at the end.
    bytes: [u8; BYTES_MAX],
    length: usize,
}

/// The class of a number.
fn class_of(number: u64) -> u8 {
    match number {
        0..0x10_0000 => 0,
        0x10_0000..0x1000_0000 => 1,
        0x1000_0000..0x1000_0000_0000 => 2,
        _ => 3,
    }
}

/// The bytes of a class.
fn length_of(class: u8) -> usize {
    match class {
        0 => 3,
        1 => 4,
        2 => 6,
        _ => BYTES_MAX,
    }
}

impl ItemNumber {
    /// Encodes a number.
    pub(crate) fn new(number: u64) -> Self {
        let class = class_of(number);
        let length = length_of(class);
        let class = u128::from(class);
        let whole = class << (8 * length - 2) | u128::from(number) << 2 | class;
        let [.., a, b, c, d, e, f, g, h, i] = whole.to_be_bytes();
        Self {
            bytes: [a, b, c, d, e, f, g, h, i],
            length,
        }
    }

    /// As it stands in keys.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(BYTES_MAX - self.length..).unwrap_or_default()
    }

    /// The number that ends `bytes`, and what is before it; `None` if none does.
    pub(crate) fn split_last(bytes: &[u8]) -> Option<(&[u8], u64)> {
        let class = bytes.last()? & 3;
        let (before, encoded) = bytes.split_at_checked(bytes.len().checked_sub(length_of(class))?)?;
        let whole = encoded
            .iter()
            .fold(0u128, |whole, byte| whole << 8 | u128::from(*byte));
        let bits = 8 * encoded.len() - 2;
        let number = u64::try_from((whole & ((1 << bits) - 1)) >> 2).ok()?;
        (whole >> bits == u128::from(class) && class_of(number) == class).then_some((before, number))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Numbers of every size, edges of the classes among them.
    fn number() -> impl Strategy<Value = u64> {
        prop_oneof![
            (0u32..64, any::<u64>()).prop_map(|(shift, number)| number >> shift),
            (0u32..64, 0u64..3).prop_map(|(shift, less)| (1u64 << shift).wrapping_sub(less)),
        ]
    }

    #[test]
    fn numbers_are_short() {
        let length = |number| ItemNumber::new(number).as_bytes().len();
        assert_eq!([0, 1 << 20, 1 << 28, u64::MAX].map(length), [3, 4, 6, 9]);
        assert_eq!(length((1 << 20) - 1), 3);
    }

    proptest! {
        #[test]
        fn it_is_read_back_from_the_end(before: Vec<u8>, number in number()) {
            let whole = [&before, ItemNumber::new(number).as_bytes()].concat();
            prop_assert_eq!(ItemNumber::split_last(&whole), Some((before.as_slice(), number)));
        }

        #[test]
        fn byte_order_is_the_order_of_numbers(a in number(), b in number()) {
            let (x, y) = (ItemNumber::new(a), ItemNumber::new(b));
            prop_assert_eq!(x.as_bytes().cmp(y.as_bytes()), a.cmp(&b));
            prop_assert!(a == b || !x.as_bytes().starts_with(y.as_bytes()));
        }

        #[test]
        fn other_bytes_are_refused_or_mean_one_number(bytes: Vec<u8>) {
            if let Some((before, number)) = ItemNumber::split_last(&bytes) {
                prop_assert_eq!(&[before, ItemNumber::new(number).as_bytes()].concat(), &bytes);
            }
        }
    }
}
