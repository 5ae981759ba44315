//! Avro's binary encoding and its object container files, as far as the change feed writes them: one schema, no
//! compression, blocks that are added to a file one after the other.
//!
//! Source: Apache Avro 1.8.2, "Data Serialization", "Object Container Files".

/// What separates a file's blocks; the same in all of a file.
pub type Sync = [u8; 16];

/// A value on its way into a block.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Encoder {
    bytes: Vec<u8>,
}

impl Encoder {
    /// A `long`: the sign in the lowest bit, seven bits a byte, the lowest first.
    pub fn long(&mut self, value: i64) {
        let mut left = ((value << 1) ^ (value >> 63)).cast_unsigned();
        loop {
            let [low, ..] = left.to_le_bytes();
            left >>= 7;
            if left == 0 {
                self.bytes.push(low);
                return;
            }
            self.bytes.push(low | 0x80);
        }
    }

    /// Lengths fit: what is encoded is in memory.
    fn count(&mut self, value: usize) {
        self.long(i64::try_from(value).unwrap_or(i64::MAX));
    }

    /// `bytes`.
    pub fn bytes(&mut self, value: &[u8]) {
        self.count(value.len());
        self.bytes.extend_from_slice(value);
    }

    /// A `string`.
    pub fn string(&mut self, value: &str) {
        self.bytes(value.as_bytes());
    }

    /// A union of `null`, its first branch, and another type.
    pub fn optional<T>(&mut self, value: Option<T>, encode: impl FnOnce(&mut Self, T)) {
        self.long(i64::from(value.is_some()));
        if let Some(value) = value {
            encode(self, value);
        }
    }

    /// A `map`, as one block.
    pub fn map<'a, V>(
        &mut self,
        entries: impl ExactSizeIterator<Item = (&'a str, V)>,
        mut encode: impl FnMut(&mut Self, V),
    ) {
        if entries.len() > 0 {
            self.count(entries.len());
            for (key, value) in entries {
                self.string(key);
                encode(self, value);
            }
        }
        self.long(0);
    }

    /// How long it is so far, in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}

/// What a file of records of `schema` (JSON) begins with.
#[must_use]
pub fn file_header(schema: &str, sync: &Sync) -> Vec<u8> {
    let mut encoder = Encoder::default();
    encoder.bytes.extend_from_slice(b"Obj\x01");
    let meta = [("avro.schema", schema), ("avro.codec", "null")];
    encoder.map(meta.into_iter(), Encoder::string);
    encoder.bytes.extend_from_slice(sync);
    encoder.bytes
}

/// Adds a block of `records` records to a file.
pub fn write_block(out: &mut Vec<u8>, records: usize, block: &Encoder, sync: &Sync) {
    let mut encoder = Encoder::default();
    encoder.count(records);
    encoder.bytes(&block.bytes);
    out.extend_from_slice(&encoder.bytes);
    out.extend_from_slice(sync);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_as_the_specification_writes_them() {
        let table: [(i64, &[u8]); 8] = [
            (0, &[0]),
            (-1, &[1]),
            (1, &[2]),
            (-64, &[0x7f]),
            (64, &[0x80, 1]),
            (-65, &[0x81, 1]),
            (8192, &[0x80, 0x80, 1]),
            (
                i64::MIN,
                &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1],
            ),
        ];
        for (value, expected) in table {
            let mut encoder = Encoder::default();
            encoder.long(value);
            assert_eq!(encoder.bytes, expected, "{value}");
        }
    }

    #[test]
    fn an_empty_map_is_its_end_alone() {
        let mut encoder = Encoder::default();
        encoder.map(std::iter::empty::<(&str, &str)>(), Encoder::string);
        assert_eq!(encoder.bytes, [0]);
    }
}
