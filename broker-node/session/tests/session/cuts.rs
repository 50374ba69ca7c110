//! A cut before the client was answered.

use bytes::BytesMut;
use revoq_mqtt::ReasonCode;
use revoq_session::{Accept, Admission, Cause, Config, Output, Session, Tick};

/// CONNECT of version `level` from `a`, with a will.
fn connect(level: u8) -> BytesMut {
    let properties: &[u8] = if level == 5 { &[0] } else { &[] };
    let body =
        [b"\0\x04MQTT", &[level, 0x06, 0, 60][..], properties, b"\0\x01a", properties, b"\0\x01w\0\x01x"]
            .concat();
    let mut packet = vec![0x10, u8::try_from(body.len()).expect("short")];
    packet.extend(body);
    BytesMut::from(&packet[..])
}

/// Let in; CONNACK stands in the write buffer.
fn let_in(level: u8) -> Session {
    let mut session = Session::new(Config::default().into(), Tick(0));
    session.handle_bytes(Tick(0), &mut connect(level));
    assert!(matches!(session.poll_output(), Some(Output::Connect(_))));
    session.handle_admission(Tick(1), Admission::Accept(Accept::default()));
    session
}

/// What the client is told, when `taken` with the bytes in the driver's hands.
fn told(level: u8, taken: bool) -> Vec<u8> {
    let mut session = let_in(level);
    if taken {
        let bytes = std::mem::take(session.write_buffer());
        assert_eq!(bytes[0], 0x20);
        session.put_back(bytes);
    }
    session.handle_cut(Tick(2), ReasonCode::AdministrativeAction);
    match session.poll_output() {
        Some(Output::Closed(reason)) => {
            assert_eq!(reason.cause, Cause::Cut(ReasonCode::AdministrativeAction));
            assert!(reason.will.is_none(), "the client was never let in, as far as it knows");
        }
        other => panic!("{other:?}"),
    }
    assert!(session.poll_output().is_none() && session.is_closed());
    session.write_buffer().to_vec()
}

#[test]
fn who_was_not_answered_yet_is_refused() {
    for taken in [false, true] {
        assert_eq!(told(5, taken), [0x20, 3, 0, 0x87, 0]);
        assert_eq!(told(4, taken), [0x20, 2, 0, 5]);
    }
}

#[test]
fn who_was_answered_is_disconnected() {
    let mut session = let_in(5);
    drop(std::mem::take(session.write_buffer()));
    session.handle_cut(Tick(2), ReasonCode::AdministrativeAction);
    let expected = [&[0xe0, 26, 0x98, 24, 0x1f, 0, 21][..], b"Administrative action"].concat();
    assert_eq!(session.write_buffer().to_vec(), expected);
}
