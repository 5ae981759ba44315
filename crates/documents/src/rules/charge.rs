//! The request charge: a function of the work done, never of time, so the same query over the
//! same data costs the same.
//!
//! Anchored where the service documents it: a point read of 1 KB is 1 RU, of 100 KB 10.

/// Whole KiB, at least one.
#[allow(clippy::cast_precision_loss, reason = "sizes are far below 2^53")]
fn kib(bytes: usize) -> f64 {
    bytes.div_ceil(1_024).max(1) as f64
}

/// A point read.
pub(crate) fn read(bytes: usize) -> f64 {
    rounded(1.0 + 0.091 * (kib(bytes) - 1.0))
}

/// A creation or removal that changes `index_changes` index entries.
#[allow(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
pub(crate) fn write(bytes: usize, index_changes: usize) -> f64 {
    rounded(5.0 + 0.455 * (kib(bytes) - 1.0) + 0.1 * index_changes as f64)
}

/// A replacement: a removal and a creation.
pub(crate) fn replace(bytes: usize, index_changes: usize) -> f64 {
    rounded(2.0 * write(bytes, index_changes))
}

/// A page of a query or feed.
#[allow(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
pub(crate) fn page(bytes_loaded: u64, items_loaded: u64, index_keys: u64) -> f64 {
    rounded(
        2.3 + 0.03 * (bytes_loaded as f64 / 1_024.0) + 0.02 * items_loaded as f64 + 0.002 * index_keys as f64,
    )
}

/// A script's own work; a step is a call or a turn of a loop. A second of it is about a thousand.
#[allow(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
pub(crate) fn script(steps: u64) -> f64 {
    rounded(1.0 + steps as f64 / 20_000.0)
}

/// The work of functions that a query calls; steps as in [`script`].
#[allow(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
pub(crate) fn functions(steps: u64) -> f64 {
    rounded(steps as f64 / 20_000.0)
}

fn rounded(charge: f64) -> f64 {
    (charge * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documented_points() {
        assert!((read(1_000) - 1.0).abs() < 0.01);
        assert!((read(100 * 1_024) - 10.0).abs() < 0.1);
        assert!((write(1_000, 0) - 5.0).abs() < 0.01);
        assert!((write(100 * 1_024, 0) - 50.0).abs() < 0.1);
        assert!(replace(1_000, 5) > write(1_000, 5));
        assert!(page(0, 0, 0) > 2.0);
    }
}
