//! Delete Blob: what goes.
//!
//! Source: "Delete Blob", "Request headers".

use crate::error::{BlobsError, ErrorCode};

/// What a deletion is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// One snapshot, which the address names.
    Snapshot,
    /// The blob, which must have no snapshots.
    Blob,
    /// The blob and all its snapshots.
    BlobAndSnapshots,
    /// All its snapshots.
    Snapshots,
}

/// Reads `x-ms-delete-snapshots`, beside whether the address names a snapshot.
///
/// # Errors
/// `InvalidHeaderValue`, `InvalidQueryParameterValue`.
pub fn scope(header: Option<&str>, names_snapshot: bool) -> Result<Scope, BlobsError> {
    match (header.map(str::to_ascii_lowercase).as_deref(), names_snapshot) {
        (None, true) => Ok(Scope::Snapshot),
        (Some(_), true) => Err(BlobsError::with(
            ErrorCode::InvalidQueryParameterValue,
            "x-ms-delete-snapshots is for blobs, not for one of their snapshots.",
        )),
        (None, false) => Ok(Scope::Blob),
        (Some("include"), false) => Ok(Scope::BlobAndSnapshots),
        (Some("only"), false) => Ok(Scope::Snapshots),
        (Some(_), false) => Err(BlobsError::with(
            ErrorCode::InvalidHeaderValue,
            "x-ms-delete-snapshots is include or only.",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes() {
        let table = [
            (None, false, Ok(Scope::Blob)),
            (None, true, Ok(Scope::Snapshot)),
            (Some("include"), false, Ok(Scope::BlobAndSnapshots)),
            (Some("Only"), false, Ok(Scope::Snapshots)),
            (Some("all"), false, Err(ErrorCode::InvalidHeaderValue)),
            (Some("include"), true, Err(ErrorCode::InvalidQueryParameterValue)),
        ];
        for (header, snapshot, expected) in table {
            let found = scope(header, snapshot).map_err(|error| error.code);
            assert_eq!(found, expected, "{header:?} {snapshot}");
        }
    }
}
