//! What is encoded is decoded to the same, at any cut, in every version.

use bytes::BytesMut;
use proptest::prelude::*;
use revoq_mqtt::{
    Ack, DecodeError, Fault, Packet, PacketId, Peek, ReasonCode, Text, Version, decode, encode, peek,
};

use crate::generate;

fn round_trip(packet: &Packet, version: Version) -> Result<(), TestCaseError> {
    let mut out = BytesMut::new();
    encode(packet, version, &mut out).expect("a legal packet");
    let frame = out.freeze();
    let size = u32::try_from(frame.len()).expect("a small packet");
    prop_assert_eq!(peek(&frame, size), Ok(Peek::Frame(frame.len())));
    let too_large = DecodeError::from(Fault::PacketTooLarge);
    prop_assert_eq!(peek(&frame, size - 1), Err(too_large));
    for cut in 0..frame.len() {
        let Ok(Peek::Need(more)) = peek(&frame[..cut], size) else { panic!("{cut} bytes are no packet") };
        prop_assert!(more > 0 && cut + more <= frame.len(), "{} more after {}", more, cut);
    }
    let decoded = decode(frame, version);
    prop_assert_eq!(decoded.as_ref(), Ok(packet));
    Ok(())
}

/// The length before a packet has one to three bytes, and so has that before its properties.
#[test]
fn lengths_around_a_byte_more() {
    for len in [120, 121, 122, 123, 124, 125, 126, 127, 128, 16_370, 16_375, 16_379, 16_380, 16_383, 16_384] {
        let text: Text = "x".repeat(len).parse().expect("a text");
        let mut ack = Ack::new(PacketId::FIRST, ReasonCode::UnspecifiedError);
        ack.properties.reason_string = Some(text);
        round_trip(&Packet::PubAck(ack), Version::V5).unwrap_or_else(|error| panic!("{len}: {error}"));
    }
}

proptest! {
    #[test]
    fn version_31(packet in generate::packet(Version::V31)) {
        round_trip(&packet, Version::V31)?;
    }

    #[test]
    fn version_311(packet in generate::packet(Version::V311)) {
        round_trip(&packet, Version::V311)?;
    }

    #[test]
    fn version_5(packet in generate::packet(Version::V5)) {
        round_trip(&packet, Version::V5)?;
    }
}
