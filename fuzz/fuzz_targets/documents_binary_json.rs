//! Binary JSON bodies: any bytes are refused or become text that is JSON, or too deep for it.
#![no_main]

use documents::rules::{binary_json, json};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(text) = binary_json::to_text(data)
        && let Err(error) = json::parse(&text)
    {
        assert!(
            error.to_string().contains("deep") || error.to_string().contains("recursion"),
            "{error}"
        );
    }
});
