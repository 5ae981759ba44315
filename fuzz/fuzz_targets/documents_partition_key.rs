//! Partition keys as a header brings them: any text is refused, or read as a key that its own text
//! names again and that has a place among the partitions.
#![no_main]

use documents::{PartitionKey, PartitionKeyDefinition};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let Ok(key) = PartitionKey::from_header(text) else {
        return;
    };
    let again = PartitionKey::from_header(&key.to_json().to_string());
    assert_eq!(again.as_ref().ok(), Some(&key), "{again:?}");
    assert!(key.is_prefix_of(&key));
    // Parsed from text so that the types need no crates of their own here.
    let definitions = [
        r#"{"paths": ["/a"], "kind": "Hash", "version": 1}"#,
        r#"{"paths": ["/a"], "kind": "Hash", "version": 2}"#,
        r#"{"paths": ["/a", "/b", "/c"], "kind": "MultiHash", "version": 2}"#,
    ];
    for definition in definitions {
        let Some(definition) = definition
            .parse()
            .ok()
            .and_then(|value| PartitionKeyDefinition::from_value(Some(&value)).ok())
        else {
            unreachable!("{definition}");
        };
        if key.components().len() <= definition.paths.len() && !key.components().is_empty() {
            assert!(!definition.effective(&key).is_empty());
        }
    }
});
