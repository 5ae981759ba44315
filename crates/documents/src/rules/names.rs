//! Which ids resources may have.

use crate::error::DocumentsError;
use crate::limits::{ITEM_ID_BYTES_MAX, RESOURCE_ID_BYTES_MAX};

/// Checks an item's id.
///
/// # Errors
/// 400 if it is empty, too long, has a forbidden character or ends with a space.
pub(crate) fn check_item_id(id: &str) -> Result<(), DocumentsError> {
    check(id, ITEM_ID_BYTES_MAX)
}

/// Checks a database's or container's id.
///
/// # Errors
/// As [`check_item_id`].
pub(crate) fn check_resource_id(id: &str) -> Result<(), DocumentsError> {
    check(id, RESOURCE_ID_BYTES_MAX)
}

fn check(id: &str, bytes_max: usize) -> Result<(), DocumentsError> {
    if id.is_empty() || id.len() > bytes_max {
        return Err(DocumentsError::bad_request(format!(
            "The id has {} bytes; it must have 1 to {bytes_max}.",
            id.len()
        )));
    }
    if id.contains(['/', '\\', '?', '#']) || id.contains(char::is_control) {
        return Err(DocumentsError::bad_request(
            "The id contains illegal characters: '/', '\\', '?', '#' and control characters are not allowed.",
        ));
    }
    if id.ends_with(' ') {
        return Err(DocumentsError::bad_request("The id must not end with a space."));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids() {
        let long = "a".repeat(1_023);
        for good in ["a", "æøå", "a b", "..", long.as_str()] {
            assert!(check_item_id(good).is_ok(), "{good}");
        }
        let too_long = "a".repeat(1_024);
        for bad in ["", "a/b", "a\\b", "a?", "#a", "a ", "a\nb", too_long.as_str()] {
            assert!(check_item_id(bad).is_err(), "{bad}");
        }
        assert!(check_resource_id(&"a".repeat(256)).is_err());
    }
}
