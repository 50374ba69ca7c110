//! Bytes that nobody meant as a packet.

use bytes::{Bytes, BytesMut};
use proptest::collection::vec;
use proptest::prelude::*;
use revoq_mqtt::{Fault, PACKET_SIZE_MAX, Peek, Version, decode, encode, peek};

use crate::generate;

/// Decodes as a driver does: frame by frame, with a limit. What decodes must survive another round.
fn drive(mut input: &[u8], version: Version, limit: u32) -> Result<(), TestCaseError> {
    loop {
        match peek(input, limit) {
            Ok(Peek::Need(more)) => {
                prop_assert!(more > 0);
                let total = input.len() + more;
                prop_assert!(total <= (limit as usize).max(5), "asks for {} of {}", total, limit);
                return Ok(());
            }
            Ok(Peek::Frame(len)) => {
                prop_assert!(len <= limit as usize && len >= 2);
                again(Bytes::copy_from_slice(&input[..len]), version)?;
                input = &input[len..];
            }
            Err(_) => return Ok(()),
        }
    }
}

fn again(frame: Bytes, version: Version) -> Result<(), TestCaseError> {
    if let Ok(packet) = decode(frame, version) {
        let mut out = BytesMut::new();
        encode(&packet, version, &mut out).expect("what was decoded is legal");
        prop_assert_eq!(decode(out.freeze(), version), Ok(packet));
    }
    Ok(())
}

#[test]
fn the_limit_acts_on_the_header_alone() {
    // 256 MiB announced, three bytes there.
    let header = [0x30, 0xFF, 0xFF, 0xFF, 0x7F];
    assert_eq!(peek(&header[..4], 1024), Ok(Peek::Need(1)));
    assert_eq!(peek(&header, 1024).expect_err("too large").fault, Fault::PacketTooLarge);
    assert_eq!(peek(&header, PACKET_SIZE_MAX), Ok(Peek::Need(268_435_455)));
    assert_eq!(peek(&[], 1024), Ok(Peek::Need(2)));
    assert_eq!(peek(&[0x00], 1024).expect_err("reserved").fault, Fault::PacketType);
    let endless = [0x30, 0xFF, 0xFF, 0xFF, 0xFF];
    assert_eq!(peek(&endless, 1024).expect_err("too long").fault, Fault::VariableByteInteger);
}

#[test]
fn a_property_bomb_is_decoded_in_its_own_bytes() {
    let bomb = [&[0x26, 0, 0, 0, 0][..]; 20_000].concat();
    let packet = crate::bytes::frame(0x30, &[&crate::bytes::s("a"), &crate::bytes::props(&[&bomb])]);
    let range = packet.as_ptr_range();
    let revoq_mqtt::Packet::Publish(publish) = decode(packet, Version::V5).expect("legal") else {
        panic!("a PUBLISH")
    };
    assert!(range.contains(&publish.properties.forwarded.bytes().as_ptr()));
    assert_eq!(publish.properties.forwarded.iter().count(), 20_000);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn random_bytes(bytes in vec(any::<u8>(), 0..200), version in generate::version(), limit in 0..300_u32) {
        drive(&bytes, version, limit)?;
        // Without the driver's care too.
        let _ = decode(Bytes::from(bytes), version);
    }

    #[test]
    fn random_bodies(first in any::<u8>(), body in vec(any::<u8>(), 0..120), version in generate::version()) {
        again(crate::bytes::frame(first, &[&body]), version)?;
    }

    #[test]
    fn mutated_packets(
        (version, packet) in generate::version().prop_flat_map(|version| (Just(version), generate::packet(version))),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        read_as in generate::version(),
    ) {
        let mut out = BytesMut::new();
        encode(&packet, version, &mut out).expect("a legal packet");
        for (index, byte) in changes {
            let at = index.index(out.len());
            out[at] = byte;
        }
        drive(&out, read_as, 1024)?;
    }

    #[test]
    fn truncated_packets(
        packet in generate::packet(Version::V5),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut out = BytesMut::new();
        encode(&packet, Version::V5, &mut out).expect("a legal packet");
        let body_at = 1 + out[1..].iter().position(|byte| byte & 0x80 == 0).expect("a length") + 1;
        let body = &out[body_at..];
        if !body.is_empty() {
            again(crate::bytes::frame(out[0], &[&body[..cut.index(body.len())]]), Version::V5)?;
        }
    }
}
