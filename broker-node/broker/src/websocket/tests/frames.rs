use rand::{RngExt, SeedableRng};
use tungstenite::protocol::frame::coding::{CloseCode, Control, Data, OpCode};
use tungstenite::protocol::frame::{CloseFrame, Frame};

use super::super::frames::{Fault, Reader};

const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// As a client sends it.
fn bytes(mut frame: Frame) -> Vec<u8> {
    frame.header_mut().mask = Some(MASK);
    let mut bytes = Vec::new();
    frame.format(&mut bytes).expect("memory takes it");
    bytes
}

fn data(data: Data, is_final: bool, payload: &[u8]) -> Vec<u8> {
    bytes(Frame::message(payload.to_vec(), OpCode::Data(data), is_final))
}

fn close(code: u16, reason: &str) -> Vec<u8> {
    bytes(Frame::close(Some(CloseFrame { code: CloseCode::from(code), reason: reason.into() })))
}

/// Feeds it in pieces of that size: the payload.
fn read(reader: &mut Reader, bytes: &[u8], size: usize) -> Result<Vec<u8>, Fault> {
    let mut payload = Vec::new();
    for piece in bytes.chunks(size) {
        let mut piece = piece.to_vec();
        let count = reader.take(&mut piece)?;
        payload.extend(&piece[..count]);
    }
    Ok(payload)
}

#[test]
fn payload_comes_out_however_it_is_cut() {
    let long: Vec<u8> = (0..70_000_u32).map(|n| (n % 251) as u8).collect();
    let mut stream = Vec::new();
    let mut expected = Vec::new();
    for size in [0, 1, 3, 125, 126, 127, 65_535, 65_536, 70_000] {
        stream.extend(data(Data::Binary, true, &long[..size]));
        expected.extend(&long[..size]);
    }
    // A message in three frames with pings between them, and frames without payload.
    stream.extend(data(Data::Binary, false, b"MQ"));
    stream.extend(bytes(Frame::ping(&b"first"[..])));
    stream.extend(data(Data::Continue, false, b""));
    stream.extend(bytes(Frame::pong(&b"nobody asked"[..])));
    stream.extend(data(Data::Continue, true, b"TT"));
    stream.extend(bytes(Frame::ping(&b"last"[..])));
    expected.extend(b"MQTT");
    for size in [1, 2, 7, 13, 1000, 16_384, stream.len()] {
        let mut reader = Reader::new(100_000);
        assert!(read(&mut reader, &stream, size) == Ok(expected.clone()), "in pieces of {size}");
        assert_eq!(reader.take_ping().as_deref(), Some(&b"last"[..]), "only the latest is answered");
        assert_eq!(reader.take_ping(), None);
        assert!(!reader.is_closed());
    }
}

#[test]
fn each_fault_has_its_code() {
    let unmasked = |frame: Frame| {
        let mut bytes = Vec::new();
        frame.format(&mut bytes).expect("memory takes it");
        bytes
    };
    let changed = |mut bytes: Vec<u8>, at: usize, bits: u8| {
        bytes[at] ^= bits;
        bytes
    };
    let good = data(Data::Binary, true, b"x");
    let large = [&[0x82, 0xff, 0, 0, 0, 0, 0, 1, 0, 0][..], &MASK].concat();
    let cases = [
        (data(Data::Text, true, b"x"), Fault::Text, 1003),
        (unmasked(Frame::message(&b"x"[..], OpCode::Data(Data::Binary), true)), Fault::Protocol, 1002),
        (changed(good.clone(), 0, 0x40), Fault::Protocol, 1002),
        (changed(good.clone(), 0, 0x10), Fault::Protocol, 1002),
        // Opcodes 3 and 11 are reserved.
        (changed(good.clone(), 0, 0x01), Fault::Protocol, 1002),
        (changed(good.clone(), 0, 0x09), Fault::Protocol, 1002),
        // A length of 1 in 16 bits.
        ([&[0x82, 0xfe, 0, 1][..], &MASK, b"x"].concat(), Fault::Protocol, 1002),
        // A ping that is cut into frames, and one of 126 bytes.
        (changed(bytes(Frame::ping(&b"x"[..])), 0, 0x80), Fault::Protocol, 1002),
        ([&[0x89, 0xfe, 0, 126][..], &MASK].concat(), Fault::Protocol, 1002),
        (data(Data::Continue, true, b"x"), Fault::Protocol, 1002),
        ([data(Data::Binary, false, b"x"), good.clone()].concat(), Fault::Protocol, 1002),
        (bytes(Frame::from_close_payload(&[3])), Fault::Protocol, 1002),
        (close(1005, ""), Fault::Protocol, 1002),
        (bytes(Frame::from_close_payload(&[3, 232, 0xff])), Fault::NotUtf8, 1007),
        // 65536 bytes are announced, none has come.
        (large, Fault::TooLarge, 1009),
        (
            [data(Data::Binary, false, &[0; 60]), data(Data::Continue, true, &[0; 41])].concat(),
            Fault::TooLarge,
            1009,
        ),
    ];
    for (number, (bytes, fault, code)) in cases.into_iter().enumerate() {
        for size in [1, bytes.len()] {
            assert_eq!(read(&mut Reader::new(100), &bytes, size), Err(fault), "case {number}: {bytes:x?}");
        }
        assert_eq!(u16::from(fault.code()), code);
    }
}

#[test]
fn a_close_frame_is_answered_with_its_code_and_ends_everything() {
    for (frame, code) in [
        (bytes(Frame::close(None)), 1000),
        (close(1000, ""), 1000),
        (close(1001, "bye"), 1001),
        (close(4000, ""), 4000),
    ] {
        let mut reader = Reader::new(100);
        let stream = [data(Data::Binary, true, b"x"), frame, data(Data::Text, true, b"late")].concat();
        assert_eq!(read(&mut reader, &stream, stream.len()).as_deref(), Ok(&b"x"[..]));
        assert!(reader.is_closed());
        assert_eq!(reader.close_code().map(u16::from), Some(code));
    }
}

#[test]
fn no_bytes_make_it_panic_or_grow() {
    let mut random = rand::rngs::SmallRng::seed_from_u64(1);
    for _ in 0..20_000 {
        let mut reader = Reader::new(1000);
        let mut bytes: Vec<u8> = (0..random.random_range(1..200_usize)).map(|_| random.random()).collect();
        // Mostly plausible: final, known opcode, masked, short.
        if random.random_bool(0.8) {
            bytes[0] = [0x82, 0x02, 0x00, 0x80, 0x89, 0x8a, 0x88][random.random_range(0..7)];
            if let Some(second) = bytes.get_mut(1) {
                *second = 0x80 | random.random_range(0..40_u8);
            }
        }
        let length = bytes.len();
        while let Ok(payload) = reader.take(&mut bytes) {
            assert!(payload <= length);
            if reader.is_closed() || random.random_bool(0.3) {
                break;
            }
        }
    }
}

trait ClosePayload {
    fn from_close_payload(payload: &[u8]) -> Frame;
}

impl ClosePayload for Frame {
    fn from_close_payload(payload: &[u8]) -> Frame {
        let mut frame = Frame::ping(payload.to_vec());
        frame.header_mut().opcode = OpCode::Control(Control::Close);
        frame
    }
}
