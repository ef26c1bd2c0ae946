//! Frames between nodes: what is read can be said again and means the same, and the length that
//! somebody claims is believed only up to its bound.
#![no_main]

use bytes::Bytes;
use innkeeper_cluster::frame::{LENGTH_BYTES, decode, encode, length};
use innkeeper_cluster::limits::FRAME_BYTES_MAX;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(Some(length)) = length(bytes, FRAME_BYTES_MAX) {
        assert!(length <= FRAME_BYTES_MAX);
    }
    if let Ok(frame) = decode(&Bytes::copy_from_slice(bytes)) {
        let mut written = Vec::new();
        encode(&frame, &mut written).expect("it fitted into a frame");
        let body = Bytes::from(written).slice(LENGTH_BYTES..);
        assert_eq!(decode(&body), Ok(frame));
    }
});
