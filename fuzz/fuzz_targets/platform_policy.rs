//! Policies: any text is a policy or refused, and a policy answers.
#![no_main]

use libfuzzer_sys::fuzz_target;
use platform_storage::decision::{Attributes, Policy};

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Ok(policy) = Policy::parse(text, "ttd", "a") {
        let _ = policy.evaluate(&Attributes::default());
    }
});
