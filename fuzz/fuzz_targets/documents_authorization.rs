//! Authorization headers: any text is read or refused, and what was read has all its parts.
#![no_main]

use documents::parse_authorization;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Some(read) = parse_authorization(text) {
        assert!(
            !read.kind.contains('&') && !read.version.contains('&'),
            "{read:?}"
        );
    }
});
