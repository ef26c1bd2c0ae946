//! Frames of Phoenix Channels: whatever is read keeps its parts, and nothing breaks the reader.
#![no_main]

use innkeeper_server::channels::frame::Frame;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(frame) = Frame::parse(text) {
        assert!(frame.payload().get().len() <= text.len());
    }
});
