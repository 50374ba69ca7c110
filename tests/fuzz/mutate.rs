//! Inputs from inputs: what a fuzzer does without a look into the program.

use std::hash::{DefaultHasher, Hasher};

use rand::rngs::ChaCha8Rng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

/// Where packets, lengths and strings change their meaning.
const INTERESTING: &[u8] = &[0x00, 0x01, 0x02, 0x04, 0x05, 0x0B, 0x1F, 0x26, 0x7F, 0x80, 0xC0, 0xFF];
/// Parts that chance hardly finds.
const WORDS: &[&[u8]] = &[
    b"MQTT\x05",
    b"MQTT\x04",
    b"\x00\x06MQIsdp\x03",
    b"\x10\x0e\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x01a",
    b"\x30\x05\x00\x01txx",
    b"\x32\x06\x00\x01t\x00\x01x",
    b"\x34\x07\x00\x01t\x00\x01\x00x",
    b"\x62\x02\x00\x01",
    b"\x82\x08\x00\x02\x00\x00\x02a/\x01",
    b"\xa2\x07\x00\x03\x00\x00\x02a/",
    b"$share/g/",
    b"$queue/",
    b"\xff\xff\xff\x7f",
    b"\xed\xa0\x80",
    b"\x26\x00\x01k\x00\x01v",
    b"a/+/#",
];

/// A series of inputs that follows from its seed and from what it is given.
pub(crate) struct Mutator(ChaCha8Rng);

impl Mutator {
    pub(crate) fn new(seed: u64) -> Mutator {
        Mutator(ChaCha8Rng::seed_from_u64(seed))
    }

    /// One of the population with some changes, at most `max` bytes.
    pub(crate) fn mutate(&mut self, population: &[Vec<u8>], max: usize) -> Vec<u8> {
        let mut input = population.choose(&mut self.0).cloned().unwrap_or_default();
        for _ in 0..self.0.random_range(1..=6) {
            self.change(&mut input, population);
        }
        input.truncate(max);
        input
    }

    fn change(&mut self, input: &mut Vec<u8>, population: &[Vec<u8>]) {
        let kind = self.0.random_range(0..9);
        let at = self.0.random_range(0..=input.len());
        let some = self.0.random_range(0..=(input.len() - at).min(32));
        match kind {
            0 if at < input.len() => input[at] ^= 1 << self.0.random_range(0..8),
            1 if at < input.len() => input[at] = self.0.random(),
            2 if at < input.len() => input[at] = *INTERESTING.choose(&mut self.0).expect("there are some"),
            3 if at < input.len() => input[at] = input[at].wrapping_add(1),
            4 => drop(input.drain(at..at + some)),
            5 => {
                let again = input[at..at + some].to_vec();
                input.splice(at..at, again);
            }
            6 => {
                let word = *WORDS.choose(&mut self.0).expect("there are some");
                input.splice(at..at + some.min(self.0.random_range(0..=word.len())), word.iter().copied());
            }
            7 => input.truncate(at),
            _ => {
                // The end of another one.
                let other = population.choose(&mut self.0).map_or(&[][..], Vec::as_slice);
                let from = self.0.random_range(0..=other.len());
                input.truncate(at);
                input.extend_from_slice(&other[from..]);
            }
        }
    }
}

/// Names an input.
pub(crate) fn digest(input: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(input);
    hasher.finish()
}
