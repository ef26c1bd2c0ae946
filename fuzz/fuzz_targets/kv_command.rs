//! Lines of the key-value protocol: words come through as they are, and only whole commands do.
#![no_main]

use innkeeper_server::kv::command::Command;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|line: &str| {
    let words: Vec<&str> = line.split_whitespace().collect();
    match Command::parse(line) {
        Some(Command::Put { bucket, key, value }) => {
            assert_eq!(words, ["PUT", bucket, key, value]);
        }
        Some(Command::Get { bucket, key }) => assert_eq!(words, ["GET", bucket, key]),
        Some(Command::Create { bucket }) => assert_eq!(words, ["CREATE", bucket]),
        Some(_) | None => {}
    }
});
