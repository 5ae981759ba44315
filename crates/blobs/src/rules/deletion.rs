//! Delete Blob: what goes.
//!
//! Source: "Delete Blob", "Request headers".

use crate::error::{BlobsError, ErrorCode};

/// What a deletion is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// One snapshot or previous version, which the address names.
    State,
    /// The same, which is deleted already and kept for a while: it goes at once.
    DeletedState,
    /// The blob, which must have no snapshots. Versions stay.
    Blob,
    /// The blob and all its snapshots.
    BlobAndSnapshots,
    /// All its snapshots.
    Snapshots,
}

/// Reads `deletetype` and `x-ms-delete-snapshots`, beside whether the address names a snapshot or a version.
///
/// # Errors
/// `InvalidHeaderValue`, `InvalidQueryParameterValue`; `InvalidOperation` for a blob that is to go at once.
pub fn scope(kind: Option<&str>, header: Option<&str>, names_state: bool) -> Result<Scope, BlobsError> {
    let invalid = |code, text: &str| Err(BlobsError::with(code, text));
    let permanent = match kind {
        None => false,
        Some("permanent") => true,
        Some(_) => {
            return invalid(
                ErrorCode::InvalidQueryParameterValue,
                "deletetype is permanent, or isn't sent.",
            );
        }
    };
    match (header.map(str::to_ascii_lowercase).as_deref(), names_state) {
        (None, true) if permanent => Ok(Scope::DeletedState),
        (None, true) => Ok(Scope::State),
        (Some(_), true) => invalid(
            ErrorCode::InvalidQueryParameterValue,
            "x-ms-delete-snapshots is for blobs, not for one of their snapshots or versions.",
        ),
        (_, false) if permanent => invalid(
            ErrorCode::InvalidOperation,
            "What goes at once is a snapshot or a version that is deleted; name it with snapshot or versionid.",
        ),
        (None, false) => Ok(Scope::Blob),
        (Some("include"), false) => Ok(Scope::BlobAndSnapshots),
        (Some("only"), false) => Ok(Scope::Snapshots),
        (Some(_), false) => invalid(
            ErrorCode::InvalidHeaderValue,
            "x-ms-delete-snapshots is include or only.",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes() {
        let permanent = Some("permanent");
        let table = [
            (None, None, false, Ok(Scope::Blob)),
            (None, None, true, Ok(Scope::State)),
            (None, Some("include"), false, Ok(Scope::BlobAndSnapshots)),
            (None, Some("Only"), false, Ok(Scope::Snapshots)),
            (None, Some("all"), false, Err(ErrorCode::InvalidHeaderValue)),
            (
                None,
                Some("include"),
                true,
                Err(ErrorCode::InvalidQueryParameterValue),
            ),
            (permanent, None, true, Ok(Scope::DeletedState)),
            (permanent, None, false, Err(ErrorCode::InvalidOperation)),
            (
                permanent,
                Some("include"),
                false,
                Err(ErrorCode::InvalidOperation),
            ),
            (
                permanent,
                Some("only"),
                true,
                Err(ErrorCode::InvalidQueryParameterValue),
            ),
            (
                Some("soft"),
                None,
                true,
                Err(ErrorCode::InvalidQueryParameterValue),
            ),
        ];
        for (kind, header, names_state, expected) in table {
            let found = scope(kind, header, names_state).map_err(|error| error.code);
            assert_eq!(found, expected, "{kind:?} {header:?} {names_state}");
        }
    }
}
