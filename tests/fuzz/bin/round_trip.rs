//! `cargo +nightly fuzz run --fuzz-dir tests/fuzz round_trip`
#![no_main]

#[path = "../targets/mod.rs"]
#[expect(dead_code, reason = "the others have programs of their own")]
mod targets;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    (targets::ROUND_TRIP.run)(data);
});
