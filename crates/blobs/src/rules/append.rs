//! Append Block: what of a blob it may be added to.
//!
//! Source: "Append Block", "Remarks".

use crate::error::ErrorCode;
use crate::limits::APPEND_BLOCKS_MAX;

/// What is appended to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    /// Whether it is an append blob.
    pub appendable: bool,
    /// Whether it was sealed.
    pub sealed: bool,
    /// Its length.
    pub length_bytes: u64,
    /// How many blocks it has.
    pub blocks: usize,
}

/// What a request demands of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Demand {
    /// `x-ms-blob-condition-appendpos`: its length before.
    pub position_bytes: Option<u64>,
    /// `x-ms-blob-condition-maxsize`: its length afterwards, at most.
    pub length_bytes_max: Option<u64>,
}

/// Decides whether a block of so many bytes may be appended.
///
/// # Errors
/// The protocol's code.
pub fn append(target: Target, demand: Demand, block_bytes: u64) -> Result<(), ErrorCode> {
    seal(target, demand)?;
    if target.sealed {
        return Err(ErrorCode::BlobIsSealed);
    }
    let length = target.length_bytes.saturating_add(block_bytes);
    if demand.length_bytes_max.is_some_and(|max| length > max) {
        return Err(ErrorCode::MaxBlobSizeConditionNotMet);
    }
    if target.blocks >= APPEND_BLOCKS_MAX {
        return Err(ErrorCode::BlockCountExceedsLimit);
    }
    Ok(())
}

/// Decides whether it may be sealed; one that is sealed already is left as it is.
///
/// # Errors
/// The protocol's code.
pub fn seal(target: Target, demand: Demand) -> Result<(), ErrorCode> {
    if !target.appendable {
        return Err(ErrorCode::InvalidBlobType);
    }
    if demand.position_bytes.is_some_and(|at| at != target.length_bytes) {
        return Err(ErrorCode::AppendPositionConditionNotMet);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_appended_to() {
        let target = Target {
            appendable: true,
            sealed: false,
            length_bytes: 10,
            blocks: 2,
        };
        let none = Demand::default();
        let at = |position| Demand {
            position_bytes: Some(position),
            ..none
        };
        let up_to = |length| Demand {
            length_bytes_max: Some(length),
            ..none
        };
        let table = [
            (target, none, Ok(())),
            (target, at(10), Ok(())),
            (target, at(9), Err(ErrorCode::AppendPositionConditionNotMet)),
            (target, up_to(15), Ok(())),
            (target, up_to(14), Err(ErrorCode::MaxBlobSizeConditionNotMet)),
            (
                Target {
                    sealed: true,
                    ..target
                },
                none,
                Err(ErrorCode::BlobIsSealed),
            ),
            (
                Target {
                    appendable: false,
                    ..target
                },
                none,
                Err(ErrorCode::InvalidBlobType),
            ),
            (
                Target {
                    blocks: APPEND_BLOCKS_MAX,
                    ..target
                },
                none,
                Err(ErrorCode::BlockCountExceedsLimit),
            ),
        ];
        for (target, demand, expected) in table {
            assert_eq!(append(target, demand, 5), expected, "{target:?} {demand:?}");
        }
        assert_eq!(
            seal(
                Target {
                    sealed: true,
                    ..target
                },
                none
            ),
            Ok(())
        );
    }
}
