//! Positions in strings are UTF-16 code units, as in the service's script engine.
//!
//! ASCII strings are cut where they are; others by walking their characters. A cut through a
//! surrogate pair leaves U+FFFD, since half a pair has no UTF-8 form.

/// Length in code units.
pub(super) fn length(text: &str) -> usize {
    if text.is_ascii() {
        text.len()
    } else {
        text.chars().map(char::len_utf16).sum()
    }
}

/// The code units from `start` (at most `count` of them); positions beyond the end are the end.
pub(super) fn slice(text: &str, start: usize, count: usize) -> String {
    let end = start.saturating_add(count);
    if text.is_ascii() {
        let end = end.min(text.len());
        return text.get(start.min(end)..end).unwrap_or_default().to_owned();
    }
    let units: Vec<u16> = text.encode_utf16().skip(start).take(count).collect();
    String::from_utf16_lossy(&units)
}

/// Position in code units of the byte offset of a character's start.
pub(super) fn position(text: &str, byte: usize) -> usize {
    length(text.get(..byte).unwrap_or(text))
}

/// Byte offset of the first character at or behind a position in code units.
pub(super) fn byte_of(text: &str, position: usize) -> usize {
    if text.is_ascii() {
        return position.min(text.len());
    }
    let mut units = 0;
    for (byte, c) in text.char_indices() {
        if units >= position {
            return byte;
        }
        units += c.len_utf16();
    }
    text.len()
}
