use std::future::poll_fn;
use std::io::Cursor;

use revoq_mqtt::{PACKET_SIZE_MAX, Packet, Peek, Publish, PublishProperties, QoS, Version, encode, peek};
use tokio::io::{AsyncReadExt, DuplexStream, duplex};
use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Data, OpCode};

use super::super::{FRAMES_MAX, WebSocket};

/// So many packets, of all sizes that have a header of their own.
fn packets(count: usize) -> Vec<u8> {
    let mut bytes = bytes::BytesMut::new();
    for size in [0, 1, 100, 125, 126, 300, 70_000].into_iter().cycle().take(count) {
        let publish = Publish {
            dup: false,
            qos: QoS::AtMostOnce,
            retain: false,
            topic: "t".parse().expect("a topic"),
            packet_id: None,
            properties: PublishProperties::default(),
            payload: vec![7; size].into(),
        };
        encode(&Packet::Publish(publish), Version::V5, &mut bytes).expect("it fits");
    }
    bytes.to_vec()
}

/// Writes `bytes` as the connection does, through a carrier that takes `room` at a time: the payloads of the frames.
async fn frames(bytes: &[u8], room: usize) -> Vec<Vec<u8>> {
    let (io, peer) = duplex(room);
    let mut socket = WebSocket::new(io, PACKET_SIZE_MAX);
    let write = async move {
        let mut rest = bytes;
        while !rest.is_empty() {
            let count = poll_fn(|cx| socket.poll_write(cx, rest)).await.expect("the peer reads");
            assert!(count > 0);
            rest = &rest[count..];
        }
        assert!(!socket.is_midway());
    };
    tokio::join!(write, read(peer)).1
}

async fn read(mut peer: DuplexStream) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    peer.read_to_end(&mut all).await.expect("it is open");
    let mut cursor = Cursor::new(&all[..]);
    let mut payloads = Vec::new();
    while let Some((header, length)) = FrameHeader::parse(&mut cursor).expect("a header") {
        assert!(header.is_final && header.opcode == OpCode::Data(Data::Binary), "{header:?}");
        let start = usize::try_from(cursor.position()).expect("it is in memory");
        let end = start + usize::try_from(length).expect("it is in memory");
        payloads.push(all[start..end].to_vec());
        cursor.set_position(end as u64);
    }
    payloads
}

#[tokio::test]
async fn each_packet_has_a_frame_however_the_carrier_takes_it() {
    let bytes = packets(2 * FRAMES_MAX + 3);
    for room in [1, 2, 3, 7, 1000, 1 << 20] {
        let payloads = frames(&bytes, room).await;
        assert_eq!(payloads.concat(), bytes, "{room}");
        assert_eq!(payloads.len(), 2 * FRAMES_MAX + 3, "{room}");
        for payload in payloads {
            assert_eq!(peek(&payload, PACKET_SIZE_MAX), Ok(Peek::Frame(payload.len())), "{room}");
        }
    }
}

#[tokio::test]
async fn a_part_of_a_packet_is_written_too() {
    let bytes = packets(3);
    let part = &bytes[..bytes.len() - 1];
    assert_eq!(frames(part, 9).await.concat(), part);
}
