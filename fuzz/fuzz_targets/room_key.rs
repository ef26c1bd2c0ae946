//! Keys: one that is taken keeps every promise about keys.
#![no_main]

use innkeeper_api::RoomKey;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(key) = text.parse::<RoomKey>() {
        assert_eq!(key.as_str(), text);
        assert!((1..=255).contains(&text.len()));
        assert!(!text.chars().any(char::is_control));
    }
});
