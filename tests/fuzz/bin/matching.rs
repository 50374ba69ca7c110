//! `cargo +nightly fuzz run --fuzz-dir tests/fuzz matching`
#![no_main]

#[path = "../targets/mod.rs"]
#[expect(dead_code, reason = "the others have programs of their own")]
mod targets;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    (targets::MATCHING.run)(data);
});
