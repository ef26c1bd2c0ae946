//! Bytes of the key-value protocol: no line is longer than the bound, and none is lost or made up.
#![no_main]

use innkeeper_server::kv::line::{self, Line};
use libfuzzer_sys::fuzz_target;
use tokio::io::BufReader;

const BYTES_MAX: usize = 64;

fuzz_target!(|bytes: &[u8]| {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let mut stream = BufReader::with_capacity(7, bytes);
        let mut line = Vec::new();
        for expected in bytes.split_inclusive(|byte| *byte == b'\n') {
            let whole = expected.strip_suffix(b"\n");
            match line::read(&mut stream, &mut line, BYTES_MAX).await.unwrap() {
                Line::TooLong => return assert!(expected.len() > BYTES_MAX),
                Line::End => return assert!(whole.is_none()),
                Line::Whole => {
                    let whole = whole.expect("a line has an end");
                    assert!(whole.len() <= BYTES_MAX);
                    assert_eq!(line, whole.strip_suffix(b"\r").unwrap_or(whole));
                }
            }
        }
    });
});
