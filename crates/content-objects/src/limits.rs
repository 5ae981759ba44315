//! Limits of the store, with their sources.

/// Content up to this length (as stored) goes by one PUT; longer content goes in parts of this
/// length. S3 wants at least 5 MiB; some providers want all parts but the last of one length.
pub(crate) const PART_BYTES: usize = 8 * 1024 * 1024;

/// Parts on their way at once: hides one round trip behind another without holding more memory.
pub(crate) const PARTS_IN_FLIGHT_MAX: usize = 2;

/// Parts of one upload. Source: S3's quotas. With [`PART_BYTES`] that bounds a content to 78 GiB.
pub(crate) const PARTS_MAX: usize = 10_000;

/// Tries to begin an upload whose answer breaks off: requests are retried by the client below, answers
/// that began are not. An upload that was begun for nothing is empty.
pub(crate) const BEGINS_MAX: usize = 5;

/// Frames fetched at once: 2 MiB and a bit. Also the memory of a reader.
pub(crate) const WINDOW_FRAMES: u64 = 32;

/// Footers read at once for a listing.
pub(crate) const FOOTERS_IN_FLIGHT_MAX: usize = 8;

/// Longest text of a provider's error that is passed on.
pub(crate) const ERROR_CHARS_MAX: usize = 1_500;

/// Longest that giving up an upload may take.
pub(crate) const ABORT_SECONDS_MAX: u64 = 60;
