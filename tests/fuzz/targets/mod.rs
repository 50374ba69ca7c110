//! What is fuzzed: each target takes arbitrary bytes, panics where a promise is broken, and tells what the bytes led to. The same functions are driven by libFuzzer (`bin/`) and by the test `fuzz`.

mod decode;
mod input;
mod matching;
mod round_trip;
mod session;

pub(crate) use input::Outcome;

/// A target by its name, which is that of its corpus.
pub(crate) struct Target {
    /// As in `corpus/NAME`.
    pub(crate) name: &'static str,
    /// Does with an input what the target is about.
    pub(crate) run: fn(&[u8]) -> Outcome,
}

/// Bytes that nobody meant as packets.
pub(crate) const DECODE: Target = Target { name: "decode", run: decode::run };
/// Packets of every kind, written and read back.
pub(crate) const ROUND_TRIP: Target = Target { name: "round_trip", run: round_trip::run };
/// Subscriptions and topics, against the naive matcher.
pub(crate) const MATCHING: Target = Target { name: "matching", run: matching::run };
/// One session between a client and a driver that do what they like.
pub(crate) const SESSION: Target = Target { name: "session", run: session::run };
