//! The decoder: no panic, nothing beyond the frame, nothing larger than the frame, and what it reads it can write.

use std::mem::discriminant;

use bytes::{Bytes, BytesMut};
use revoq_mqtt::{Packet, Peek, Version, decode, encode, peek};

use super::input::{Input, Outcome};

/// The first byte is the version, the second the limit of a packet, the rest a stream.
pub(super) fn run(data: &[u8]) -> Outcome {
    let (mut input, mut outcome) = (Input::new(data), Outcome::default());
    let version = [Version::V31, Version::V311, Version::V5][usize::from(input.below(3).unwrap_or(0))];
    let limit = u32::from(input.byte().unwrap_or(0)) * 16;
    let mut stream = input.rest();
    // A driver asks first. Without that nothing worse than an error may come of it.
    let whole = decode(Bytes::copy_from_slice(stream), version);
    outcome.note(whole.map(|packet| discriminant(&packet)).map_err(|error| error.fault.to_string()));
    loop {
        match peek(stream, limit) {
            Ok(Peek::Need(more)) => {
                assert!(more > 0, "asks for nothing");
                assert!(stream.len() + more <= (limit as usize).max(5), "asks for {more} more than {limit}");
                break;
            }
            Ok(Peek::Frame(len)) => {
                assert!((2..=limit as usize).contains(&len), "a frame of {len} bytes");
                let (frame, rest) = stream.split_at(len);
                read(frame, version, &mut outcome);
                stream = rest;
            }
            Err(error) => {
                outcome.note(error.fault.to_string());
                break;
            }
        }
    }
    outcome
}

fn read(frame: &[u8], version: Version, outcome: &mut Outcome) {
    let frame = Bytes::copy_from_slice(frame);
    let packet = match decode(frame.clone(), version) {
        Ok(packet) => packet,
        Err(error) => return outcome.note(error.fault.to_string()),
    };
    outcome.note(discriminant(&packet));
    let own = match &packet {
        Packet::Connect(connect) => connect.version,
        _ => version,
    };
    bounded(&packet, &frame);
    let mut out = BytesMut::new();
    encode(&packet, own, &mut out).expect("what was read is legal");
    assert_eq!(decode(out.freeze(), own), Ok(packet), "reads otherwise when it is written");
}

/// Slices lie in the frame, and lists are no longer than their bytes.
fn bounded(packet: &Packet, frame: &Bytes) {
    let range = frame.as_ptr_range();
    let within = |bytes: &[u8]| {
        let part = bytes.as_ptr_range();
        assert!(bytes.is_empty() || (range.start <= part.start && part.end <= range.end), "beyond the frame");
    };
    let len = frame.len();
    match packet {
        Packet::Publish(publish) => {
            within(publish.topic.as_bytes());
            within(&publish.payload);
            // A copy, where other properties stand between them.
            assert!(publish.properties.forwarded.bytes().len() <= len);
            assert!(publish.properties.subscription_ids.len() * 2 <= len);
            assert!(publish.properties.forwarded.iter().count() * 2 <= len);
        }
        Packet::Connect(connect) => {
            within(connect.client_id.as_bytes());
            within(connect.password.as_deref().unwrap_or_default());
            within(connect.will.as_ref().map_or(&[], |will| &will.payload));
        }
        Packet::Subscribe(subscribe) => {
            subscribe.subscriptions.iter().for_each(|one| within(one.filter.as_bytes()));
            assert!(subscribe.subscriptions.len() * 3 <= len);
        }
        Packet::Unsubscribe(unsubscribe) => {
            unsubscribe.filters.iter().for_each(|filter| within(filter.as_bytes()));
            assert!(unsubscribe.filters.len() * 2 <= len);
        }
        Packet::SubAck(suback) => assert!(suback.reasons.len() <= len),
        Packet::UnsubAck(unsuback) => assert!(unsuback.reasons.len() <= len),
        _ => {}
    }
}
