//! The configuration file: nothing breaks its reader.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let _ = innkeeper_cli::read_config(text);
});
