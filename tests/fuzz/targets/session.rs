//! A session between a client that sends anything and a driver that answers when it likes: no panic, no hang, bounded
//! buffers, one end, and nothing but whole packets to the client.

use std::mem::discriminant;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use revoq_mqtt::{
    ClientId, PacketId, Peek, Publish, PublishProperties, QoS, ReasonCode, SubscribeOptions, SubscriptionId,
    Version, decode, peek,
};
use revoq_session::{
    Accept, Admission, AuthenticationAnswer, AuthenticationRequest, Config, Delivery, Message, Output,
    PublishToken, Session, StreamId, SubscriptionTerms, Tick,
};

use super::input::{Input, Outcome};

/// Bytes of what is unsent that stop further messages.
const WRITE_HIGH: usize = 512;
/// Bytes of a packet from the client, and of the messages that are delivered to it.
const PACKET_MAX: u32 = 256;
/// `CONNECT` of MQTT 5.0, 3.1.1 and 3.1, client id `a`, keep-alive 60; then with the authentication method `S`.
const CONNECTS: [&[u8]; 4] = [
    b"\x10\x0e\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x01a",
    b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01a",
    b"\x10\x0f\x00\x06MQIsdp\x03\x02\x00\x3c\x00\x01a",
    b"\x10\x12\x00\x04MQTT\x05\x02\x00\x3c\x04\x15\x00\x01S\x00\x01a",
];

struct Side {
    session: Session,
    now: Tick,
    input: BytesMut,
    /// Known once the session tells that the client wants to connect.
    version: Option<Version>,
    /// A CONNECT that the driver has not answered.
    asked: bool,
    tokens: Vec<PublishToken>,
    subscribes: Vec<(StreamId, PacketId, usize)>,
    unsubscribes: Vec<(StreamId, PacketId, usize)>,
    /// Data streams, and what came on them.
    streams: Vec<(StreamId, BytesMut)>,
    closed: usize,
    outcome: Outcome,
}

pub(super) fn run(data: &[u8]) -> Outcome {
    let mut input = Input::new(data);
    let mut side = Side::new();
    while let Some(step) = input.below(16) {
        side.step(step, &mut input);
        side.drain();
        side.check();
    }
    side.session.handle_eof(side.now);
    side.drain();
    side.check();
    assert!(side.session.is_closed(), "the end of the stream ends it");
    side.outcome
}

fn config() -> Config {
    Config {
        packet_size_max: PACKET_MAX,
        connect_size_max: PACKET_MAX,
        write_bytes_high: WRITE_HIGH,
        queue_max: 4,
        queue_bytes_max: 1024,
        inflight_max: 3,
        receive_max: 3,
        requests_max: 2,
        authentication_methods: &["S"],
        ..Config::default()
    }
}

impl Side {
    fn new() -> Side {
        Side {
            session: Session::new(Arc::new(config()), Tick(0)),
            now: Tick(0),
            input: BytesMut::new(),
            version: None,
            asked: false,
            tokens: Vec::new(),
            subscribes: Vec::new(),
            unsubscribes: Vec::new(),
            streams: Vec::new(),
            closed: 0,
            outcome: Outcome::default(),
        }
    }

    fn step(&mut self, step: u8, input: &mut Input<'_>) {
        let now = self.now;
        match step {
            0..=3 => self.input.extend_from_slice(input.bytes()),
            4 => {
                let stream = self.streams.last_mut().map_or(&mut self.input, |(_, stream)| stream);
                stream.extend_from_slice(input.bytes());
            }
            5 => self.input.extend_from_slice(CONNECTS[usize::from(input.below(4).unwrap_or(0))]),
            6 if self.asked => self.admit(true),
            7 if self.asked => self.admit(input.below(2) == Some(0)),
            8 | 9 => self.deliver(input.byte().unwrap_or(0), input.byte().unwrap_or(0)),
            10 => {
                self.now = now + u64::from(input.byte().unwrap_or(0)) * 500;
                self.session.handle_timeout(self.now);
            }
            11 => self.read(),
            12 => {
                if let Some(token) = self.tokens.pop() {
                    let reason = match input.below(3) {
                        Some(0) => ReasonCode::Success,
                        Some(2) => ReasonCode::NotAuthorized,
                        _ => ReasonCode::NoMatchingSubscribers,
                    };
                    self.session.handle_published(now, token, reason);
                }
            }
            13 => {
                if let Some((stream, packet_id, filters)) = self.subscribes.pop() {
                    let codes = vec![ReasonCode::GrantedQos1; filters];
                    self.session.handle_subscribed(now, stream, packet_id, codes);
                }
            }
            14 => {
                if let Some((stream, packet_id, filters)) = self.unsubscribes.pop() {
                    let codes = vec![ReasonCode::Success; filters];
                    self.session.handle_unsubscribed(now, stream, packet_id, codes);
                }
            }
            15 => match input.below(8) {
                Some(0) => self.session.handle_cut(now, ReasonCode::AdministrativeAction),
                Some(1) => self.session.handle_eof(now),
                Some(2 | 3) => {
                    self.streams.extend(self.session.open_stream().map(|stream| (stream, BytesMut::new())));
                }
                Some(4) if !self.streams.is_empty() => {
                    let (stream, _) = self.streams.remove(0);
                    let rest = self.session.close_stream(now, stream).freeze();
                    self.look(rest);
                }
                // As a driver that has answered what it was asked, all at once.
                _ => self.read(),
            },
            _ => {}
        }
    }

    fn admit(&mut self, accepts: bool) {
        self.asked = false;
        let client_id: Option<ClientId> = "generated".parse().ok();
        let admission = if accepts {
            Admission::Accept(Accept { client_id, ..Accept::default() })
        } else {
            Admission::Refuse { reason: ReasonCode::NotAuthorized, text: None }
        };
        self.session.handle_admission(self.now, admission);
    }

    /// As the first byte of the data says.
    fn authenticate(&mut self, request: &AuthenticationRequest) {
        let answer = match request.data.first() {
            Some(0..=99) => AuthenticationAnswer::Continue(Bytes::from_static(b"more")),
            Some(100..=199) | None => AuthenticationAnswer::Success(None),
            Some(200..) => AuthenticationAnswer::Failure(ReasonCode::NotAuthorized),
        };
        self.session.handle_authentication(self.now, answer);
    }

    fn deliver(&mut self, kind: u8, size: u8) {
        let qos = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce][usize::from(kind % 3)];
        let expiry_s = (kind & 0x10 != 0).then_some(1);
        let properties = PublishProperties { expiry_s, ..PublishProperties::default() };
        let (topic, payload) = ("t/u".parse().expect("a topic"), Bytes::from(vec![0; usize::from(size)]));
        let retain = kind & 0x20 != 0;
        let publish = Publish { dup: false, qos, retain, topic, packet_id: None, properties, payload };
        let stream = self.streams.last().filter(|_| kind & 8 != 0).map_or(StreamId::CONTROL, |(id, _)| *id);
        let options = SubscribeOptions { qos, ..SubscribeOptions::default() };
        let terms = SubscriptionTerms { options, id: SubscriptionId::new(u32::from(kind & 0x40)), stream };
        let message = Arc::new(Message::new(publish, self.now));
        let delivery = Delivery::new(&message, &terms, false).expect("not the client's own");
        self.session.handle_delivery(self.now, &delivery);
    }

    /// The client reads everything: whole packets of its version.
    fn read(&mut self) {
        let written = self.session.write_buffer().split().freeze();
        self.look(written);
        for index in 0..self.streams.len() {
            let written = self.session.take_stream_bytes(self.streams[index].0).freeze();
            self.look(written);
        }
    }

    fn look(&mut self, mut written: Bytes) {
        while !written.is_empty() {
            let Ok(Peek::Frame(len)) = peek(&written, u32::MAX) else {
                panic!("no whole packet: {written:02x?}")
            };
            let frame = written.split_to(len);
            let is_its = |version: &Version| self.version.is_none_or(|own| own == *version);
            let versions = [Version::V31, Version::V311, Version::V5].into_iter().filter(is_its);
            let packet = versions.filter_map(|version| decode(frame.clone(), version).ok()).next();
            self.outcome.note(discriminant(&packet.expect("a packet of the client's version")));
        }
    }

    /// The driver's loop of the contract.
    fn drain(&mut self) {
        for _ in 0..10_000 {
            self.session.handle_bytes(self.now, &mut self.input);
            for (stream, input) in &mut self.streams {
                self.session.handle_stream_bytes(self.now, *stream, input);
            }
            let mut is_quiet = true;
            while let Some(output) = self.session.poll_output() {
                assert_eq!(self.closed, 0, "an output after the last: {output:?}");
                is_quiet = false;
                self.outcome.note(discriminant(&output));
                self.take(output);
            }
            if is_quiet {
                return;
            }
        }
        panic!("outputs without end");
    }

    fn take(&mut self, output: Output) {
        match output {
            Output::Authenticate(request) => self.authenticate(&request),
            Output::Connect(request) => (self.asked, self.version) = (true, Some(request.version)),
            Output::Publish { token, .. } => self.tokens.extend(token),
            Output::Subscribe { stream, packet_id, filters } => {
                self.subscribes.push((stream, packet_id, filters.len()));
            }
            Output::Unsubscribe { stream, packet_id, filters } => {
                self.unsubscribes.push((stream, packet_id, filters.len()));
            }
            Output::Closed(reason) => {
                self.closed += 1;
                self.outcome.note(discriminant(&reason.cause));
            }
        }
    }

    fn check(&mut self) {
        let (held, waiting) = (self.session.write_buffer().len(), self.input.len());
        assert!(held <= 2 * WRITE_HIGH + 2 * PACKET_MAX as usize, "{held} bytes for the client");
        assert_eq!(self.closed, usize::from(self.session.is_closed()), "closed exactly once");
        if self.session.is_closed() {
            assert_eq!((self.session.next_timeout(), waiting), (None, 0), "nothing more is expected");
        }
        self.outcome.note((held / 128, self.session.wants_bytes()));
    }
}
