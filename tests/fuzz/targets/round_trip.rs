//! `decode(encode(x)) == x`, for packets that the generator of the codec's property tests makes of the input.

use std::mem::discriminant;

use bytes::BytesMut;
use proptest::prelude::Strategy;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use revoq_mqtt::{Packet, Peek, Version, decode, encode, peek};
use revoq_routing::stable_hash;

use super::input::{Input, Outcome};

#[path = "../../../broker-node/mqtt/tests/codec/generate.rs"]
#[expect(dead_code, reason = "the codec's own tests use all of it")]
mod generate;

/// The first byte is the version, the rest is the seed of what the generator takes for randomness. The bytes themselves cannot
/// be that: with some of them the generator does not come to an end.
pub(super) fn run(data: &[u8]) -> Outcome {
    let (mut input, mut outcome) = (Input::new(data), Outcome::default());
    let version = [Version::V31, Version::V311, Version::V5][usize::from(input.below(3).unwrap_or(0))];
    let config = Config { failure_persistence: None, ..Config::default() };
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &seed(input.rest()));
    let mut runner = TestRunner::new_with_rng(config, rng);
    let Ok(tree) = generate::packet(version).new_tree(&mut runner) else { return outcome };
    let packet = tree.current();
    let mut out = BytesMut::new();
    encode(&packet, version, &mut out).expect("a legal packet");
    let frame = out.freeze();
    assert_eq!(peek(&frame, u32::MAX), Ok(Peek::Frame(frame.len())));
    outcome.note((discriminant(&packet), version.is_v5(), frame.len() / 16));
    if let Packet::Publish(publish) = &packet {
        outcome.note((publish.qos as u8, publish.properties.forwarded.iter().count()));
    }
    assert_eq!(decode(frame, version), Ok(packet));
    outcome
}

fn seed(input: &[u8]) -> [u8; 32] {
    let mut seed = [0; 32];
    let mut next = stable_hash(input);
    for part in seed.chunks_mut(8) {
        part.copy_from_slice(&next.to_le_bytes());
        next = stable_hash(&next.to_le_bytes());
    }
    seed
}
