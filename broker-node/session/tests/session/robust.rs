//! Arbitrary input never panics, never hangs and never grows a buffer over its limit.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use proptest::collection::vec;
use proptest::prelude::*;
use revoq_mqtt::{ReasonCode, encode};
use revoq_session::{
    Accept, Admission, AuthenticationAnswer, Config, DATA_STREAMS_MAX, Delivery, Message, Output, Session,
    StreamId, Tick,
};

use crate::line::Line;
use crate::stage::Stage;

/// Packets to mutate: every kind that a client sends.
const PACKETS: &[&str] = &[
    "connect v=5 id=a",
    "publish topic=t/u payload=x user=a:b expiry=3",
    "publish topic=t qos=1 id=1 alias=1",
    "publish alias=1",
    "publish topic=t qos=2 id=3",
    "puback id=1",
    "pubrec id=1",
    "pubrel id=1",
    "subscribe id=2 qos=1 a/+ $share/g/x",
    "unsubscribe id=3 a/+",
    "pingreq",
    "auth",
    "auth reason=18 data=x",
    "connect v=5 id=a auth=SCRAM",
];

#[derive(Clone, Debug)]
enum Step {
    Packet(usize),
    Mutated(usize, usize, u8),
    Bytes(Vec<u8>),
    Deliver(u8, u16),
    Wait(u16),
    Take,
    Subscribed,
    Published,
    Cut,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..PACKETS.len()).prop_map(Step::Packet),
        2 => (0..PACKETS.len(), 0..64usize, any::<u8>()).prop_map(|(n, at, byte)| Step::Mutated(n, at, byte)),
        1 => vec(any::<u8>(), 0..64).prop_map(Step::Bytes),
        6 => (0..2u8, 0..400u16).prop_map(|(qos, size)| Step::Deliver(qos, size)),
        1 => any::<u16>().prop_map(Step::Wait),
        3 => Just(Step::Take),
        2 => Just(Step::Subscribed),
        2 => Just(Step::Published),
        1 => Just(Step::Cut),
    ]
}

#[derive(Clone, Debug)]
enum StreamStep {
    Open,
    Close,
    Packet(usize),
    Deliver(u8, u16),
    Take,
    Answer,
    Published,
}

fn stream_step() -> impl Strategy<Value = StreamStep> {
    prop_oneof![
        3 => Just(StreamStep::Open),
        2 => Just(StreamStep::Close),
        // Without CONNECT, PINGREQ and AUTH, which end the session on most streams.
        8 => (1..PACKETS.len() - 2).prop_map(StreamStep::Packet),
        6 => (0..3u8, 0..400u16).prop_map(|(qos, size)| StreamStep::Deliver(qos, size)),
        4 => Just(StreamStep::Take),
        2 => Just(StreamStep::Answer),
        3 => Just(StreamStep::Published),
    ]
}

fn delivery(stream: StreamId, qos: u8, size: u16) -> Delivery {
    let line = format!("deliver topic=t qos={qos} granted={qos} size={size}");
    let line = Line::parse(&line);
    let message = Arc::new(Message::new(line.publish(), Tick(0)));
    Delivery::new(&message, &line.terms(stream), false).expect("not the client's own")
}

fn config() -> Config {
    Config {
        packet_size_max: 256,
        connect_size_max: 256,
        write_bytes_high: 512,
        queue_max: 4,
        queue_bytes_max: 1024,
        inflight_max: 3,
        receive_max: 3,
        requests_max: 2,
        authentication_methods: &["SCRAM"],
        ..Config::default()
    }
}

fn bytes_of(line: &str) -> BytesMut {
    let packet = Line::parse(line).packet().expect("a packet");
    let mut out = BytesMut::new();
    encode(&packet, revoq_mqtt::Version::V5, &mut out).expect("encodes");
    out
}

/// A driver that gives answers late, and notes the tokens and requests that it owes.
#[derive(Default)]
struct Owed {
    tokens: Vec<revoq_session::PublishToken>,
    requests: Vec<(StreamId, revoq_mqtt::PacketId, usize)>,
    closed: usize,
}

impl Owed {
    fn drain(&mut self, session: &mut Session, now: Tick, stream: StreamId, input: &mut BytesMut) {
        loop {
            if stream == StreamId::CONTROL {
                session.handle_bytes(now, input);
            } else {
                session.handle_stream_bytes(now, stream, input);
            }
            let mut quiet = true;
            while let Some(output) = session.poll_output() {
                quiet = false;
                match output {
                    Output::Authenticate(request) => {
                        let answer = match request.begins {
                            true => AuthenticationAnswer::Continue(Bytes::from_static(b"challenge")),
                            false => AuthenticationAnswer::Success(None),
                        };
                        session.handle_authentication(now, answer);
                    }
                    Output::Connect(_) => {
                        let accept = Accept { client_id: "generated".parse().ok(), ..Accept::default() };
                        session.handle_admission(now, Admission::Accept(accept));
                    }
                    Output::Publish { token, .. } => self.tokens.extend(token),
                    Output::Subscribe { stream, packet_id, filters } => {
                        self.requests.push((stream, packet_id, filters.len()));
                    }
                    Output::Unsubscribe { stream, packet_id, filters } => {
                        self.requests.push((stream, packet_id, filters.len()));
                    }
                    Output::Closed(_) => self.closed += 1,
                }
            }
            if quiet {
                break;
            }
        }
    }

    fn answer_request(&mut self, session: &mut Session, now: Tick) {
        if let Some((stream, packet_id, filters)) = self.requests.pop() {
            session.handle_subscribed(now, stream, packet_id, vec![ReasonCode::Success; filters]);
            session.handle_unsubscribed(now, stream, packet_id, vec![ReasonCode::Success; filters]);
        }
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in vec(any::<u8>(), 0..2000), connected in any::<bool>(), chunk in 1..100usize) {
        let mut stage = if connected {
            Stage::connected(config(), "connect v=5 id=a")
        } else {
            Stage::new(config())
        };
        for chunk in bytes.chunks(chunk) {
            stage.run_bytes(chunk);
        }
    }

    #[test]
    fn arbitrary_steps_keep_the_limits(steps in vec(step(), 0..200)) {
        let mut stage = Stage::connected(config(), "connect v=5 id=a keepalive=60 auth=SCRAM");
        let mut input = BytesMut::new();
        let mut owed = Owed::default();
        let mut now = Tick(0);
        for step in steps {
            match step {
                Step::Packet(n) => input.extend_from_slice(&bytes_of(PACKETS[n])),
                Step::Mutated(n, at, byte) => {
                    let mut bytes = bytes_of(PACKETS[n]);
                    let at = at % bytes.len();
                    bytes[at] = byte;
                    input.extend_from_slice(&bytes);
                }
                Step::Bytes(bytes) => input.extend_from_slice(&bytes),
                Step::Deliver(qos, size) => {
                    let line = format!("deliver topic=t qos={qos} size={size}");
                    stage.now = now;
                    stage.step(&Line::parse(&line));
                }
                Step::Wait(ms) => {
                    now = now + u64::from(ms);
                    stage.session.handle_timeout(now);
                }
                Step::Take => stage.session.write_buffer().clear(),
                Step::Subscribed => owed.answer_request(&mut stage.session, now),
                Step::Published => {
                    if let Some(token) = owed.tokens.pop() {
                        stage.session.handle_published(now, token, ReasonCode::Success);
                    }
                }
                Step::Cut => stage.session.handle_cut(now, ReasonCode::AdministrativeAction),
            }
            owed.drain(&mut stage.session, now, StreamId::CONTROL, &mut input);
            let limit = 2 * 512 + 512;
            let held = stage.session.write_buffer().len();
            prop_assert!(held <= limit, "{} bytes in the buffer", held);
            prop_assert_eq!(owed.closed, usize::from(stage.session.is_closed()), "closed exactly once");
            prop_assert!(!stage.session.is_closed() || stage.session.next_timeout().is_none());
        }
    }

    #[test]
    fn arbitrary_steps_on_several_streams_keep_the_limits(
        steps in vec((0..4usize, stream_step()), 0..300),
        keeps in any::<bool>(),
    ) {
        let expiry = if keeps { "expiry=60" } else { "" };
        let mut stage = Stage::connected(config(), &format!("connect v=5 id=a receive_max=3 {expiry}"));
        let session = &mut stage.session;
        // The control stream is the first, and stays.
        let mut streams = vec![(StreamId::CONTROL, BytesMut::new())];
        let mut owed = Owed::default();
        let now = Tick(0);
        for (at, step) in steps {
            let at = at % streams.len();
            let (stream, input) = &mut streams[at];
            match step {
                StreamStep::Open => streams.extend(session.open_stream().map(|id| (id, BytesMut::new()))),
                StreamStep::Close if at > 0 => {
                    session.close_stream(now, *stream);
                    streams.remove(at);
                }
                StreamStep::Packet(n) => input.extend_from_slice(&bytes_of(PACKETS[n])),
                StreamStep::Deliver(qos, size) => session.handle_delivery(now, &delivery(*stream, qos, size)),
                StreamStep::Take if at > 0 => _ = session.take_stream_bytes(*stream),
                StreamStep::Take => session.write_buffer().clear(),
                StreamStep::Answer => owed.answer_request(session, now),
                StreamStep::Published => {
                    if let Some(token) = owed.tokens.pop() {
                        session.handle_published(now, token, ReasonCode::Success);
                    }
                }
                StreamStep::Close => {}
            }
            prop_assert!(streams.len() <= DATA_STREAMS_MAX + 1);
            for (stream, input) in &mut streams {
                owed.drain(session, now, *stream, input);
            }
            let held = session.write_buffer().len();
            prop_assert!(held <= 3 * 512, "{} bytes in the buffer", held);
            prop_assert_eq!(owed.closed, usize::from(session.is_closed()), "closed exactly once");
        }
        session.handle_eof(now);
        owed.drain(session, now, StreamId::CONTROL, &mut BytesMut::new());
        prop_assert_eq!(owed.closed, 1);
    }
}
