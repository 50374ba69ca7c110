//! A session with a driver that does nothing by itself: each line of a scenario is a step of the client or of the
//! driver, and what comes out is told as text.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use revoq_mqtt::{Packet, Peek, ReasonCode, Version, decode, encode, peek};
use revoq_session::{
    Accept, Admission, AuthenticationAnswer, Config, Delivery, Message, Output, PublishToken, Session,
    SessionState, StreamId, Tick,
};

use crate::line::{Line, code};
use crate::show;

pub(crate) struct Stage {
    pub(crate) session: Session,
    pub(crate) now: Tick,
    /// By which the client reads what is written.
    pub(crate) version: Version,
    input: BytesMut,
    tokens: Vec<PublishToken>,
    told: Vec<String>,
    /// The client doesn't read: what is written stays where it is.
    stalled: bool,
    /// The router has each message at once.
    prompt: bool,
    config: Arc<Config>,
    /// Of a client that is away.
    away: Option<Box<SessionState>>,
    /// `stream=1` is the first of them.
    streams: Vec<DataStream>,
}

struct DataStream {
    id: StreamId,
    input: BytesMut,
    stalled: bool,
}

impl Stage {
    pub(crate) fn new(config: Config) -> Stage {
        let config = Arc::new(config);
        Stage {
            session: Session::new(config.clone(), Tick(0)),
            now: Tick(0),
            version: Version::V311,
            input: BytesMut::new(),
            tokens: Vec::new(),
            told: Vec::new(),
            stalled: false,
            prompt: false,
            config,
            away: None,
            streams: Vec::new(),
        }
    }

    /// A stage whose client is let in.
    pub(crate) fn connected(config: Config, connect: &str) -> Stage {
        let mut stage = Stage::new(config);
        stage.run(connect);
        if connect.contains(" auth=") {
            stage.run("authenticated");
        }
        stage.run("accept");
        stage
    }

    /// Takes a step and tells what came of it.
    pub(crate) fn run(&mut self, text: &str) -> Vec<String> {
        let line = Line::parse(text);
        match line.packet() {
            Some(packet) => self.send(&packet, line.value("stream")),
            None => self.step(&line),
        }
        self.drain();
        std::mem::take(&mut self.told)
    }

    /// The client sends these bytes.
    pub(crate) fn run_bytes(&mut self, bytes: &[u8]) -> Vec<String> {
        self.input.extend_from_slice(bytes);
        self.drain();
        std::mem::take(&mut self.told)
    }

    fn send(&mut self, packet: &Packet, stream: Option<usize>) {
        if let Packet::Connect(connect) = packet {
            self.version = connect.version;
        }
        let input = match stream {
            Some(number) => &mut self.streams[number - 1].input,
            None => &mut self.input,
        };
        encode(packet, self.version, input).expect("a packet that a client can send");
    }

    fn stream(&self, line: &Line<'_>) -> StreamId {
        line.value::<usize>("stream").map_or(StreamId::CONTROL, |number| self.streams[number - 1].id)
    }

    pub(crate) fn step(&mut self, line: &Line<'_>) {
        let stream = self.stream(line);
        let (session, now) = (&mut self.session, self.now);
        match line.command {
            "bytes" => {
                let hex = |word| u8::from_str_radix(word, 16).expect("a hexadecimal byte");
                self.input.extend(line.bare().map(hex));
            }
            "accept" => {
                let state = self.away.take().filter(|_| line.has("resume"));
                let (client_id, keepalive_s) = (line.value("id"), line.value("keepalive"));
                let accept = Accept { client_id, keepalive_s, session: state };
                session.handle_admission(now, Admission::Accept(accept));
            }
            "refuse" => {
                let text = line.text("text").map(str::to_owned);
                session.handle_admission(now, Admission::Refuse { reason: line.reason(), text });
            }
            "challenge" => {
                self.authentication(AuthenticationAnswer::Continue(line.data().unwrap_or_default()));
            }
            "authenticated" => self.authentication(AuthenticationAnswer::Success(line.data())),
            "unauthenticated" => self.authentication(AuthenticationAnswer::Failure(line.reason())),
            "published" => {
                let token = self.tokens[line.value::<usize>("n").expect("n= is given") - 1];
                session.handle_published(now, token, line.reason());
            }
            "subscribed" => session.handle_subscribed(now, stream, line.packet_id(), line.codes()),
            "unsubscribed" => session.handle_unsubscribed(now, stream, line.packet_id(), line.codes()),
            "deliver" => self.deliver(line),
            "cut" => session.handle_cut(now, code(line.bare().next().expect("a reason code"))),
            "eof" => session.handle_eof(now),
            "at" => {
                self.now = Tick(line.bare().next().and_then(|word| word.parse().ok()).expect("milliseconds"));
                session.handle_timeout(self.now);
            }
            "timeout" => {
                let timeout = session.next_timeout().map(|tick| tick.0);
                self.told.push(format!("timeout {timeout:?}"));
            }
            "reconnect" => {
                self.session = Session::new(self.config.clone(), now);
                self.input.clear();
                self.tokens.clear();
                self.streams.iter_mut().for_each(|stream| stream.stalled = true);
            }
            "stall" => *self.stalled(line) = true,
            "read" => *self.stalled(line) = false,
            "open" => {
                let id = session.open_stream().expect("there is room");
                self.streams.push(DataStream { id, input: BytesMut::new(), stalled: false });
                self.told.push(format!("stream {}", self.streams.len()));
            }
            "close" => {
                let rest = session.close_stream(now, stream).freeze();
                self.tell_written(line.text("stream").expect("stream= is given"), rest);
            }
            "prompt" => self.prompt = true,
            other => panic!("{other}: no such step"),
        }
    }

    fn authentication(&mut self, answer: AuthenticationAnswer) {
        self.session.handle_authentication(self.now, answer);
    }

    /// A message from another client, published `age=` milliseconds ago.
    fn deliver(&mut self, line: &Line<'_>) {
        let stream = self.stream(line);
        let received = Tick(self.now.0 - line.value::<u64>("age").unwrap_or(0));
        let message = Arc::new(Message::new(line.publish(), received));
        if let Some(mut delivery) = Delivery::new(&message, &line.terms(stream), line.has("own")) {
            if line.has("again") {
                delivery.join(&line.terms(stream), false);
            }
            for _ in 0..line.value("times").unwrap_or(1) {
                let Some(state) = &mut self.away else {
                    self.session.handle_delivery(self.now, &delivery);
                    continue;
                };
                if !state.handle_delivery(self.now, &delivery, &self.config) {
                    self.told.push("(not kept)".to_owned());
                }
            }
        } else {
            self.told.push("(not for this client)".to_owned());
        }
    }

    fn stalled(&mut self, line: &Line<'_>) -> &mut bool {
        match line.value::<usize>("stream") {
            Some(number) => &mut self.streams[number - 1].stalled,
            None => &mut self.stalled,
        }
    }

    /// The driver's loop of the contract.
    fn drain(&mut self) {
        loop {
            self.session.handle_bytes(self.now, &mut self.input);
            for stream in &mut self.streams {
                self.session.handle_stream_bytes(self.now, stream.id, &mut stream.input);
            }
            let mut quiet = true;
            while let Some(output) = self.session.poll_output() {
                quiet = false;
                if let Output::Publish { token: Some(token), .. } = &output {
                    self.tokens.push(*token);
                    if self.prompt {
                        self.session.handle_published(self.now, *token, ReasonCode::Success);
                    }
                }
                self.told.push(show::output(&output));
                if let Output::Closed(reason) = output {
                    self.away = reason.session;
                }
            }
            if quiet {
                break;
            }
        }
        while !self.stalled {
            let written = self.session.write_buffer().split().freeze();
            if written.is_empty() {
                break;
            }
            self.tell_written("", written);
        }
        for number in 1..=self.streams.len() {
            let DataStream { id, stalled: false, .. } = self.streams[number - 1] else { continue };
            loop {
                let written = self.session.take_stream_bytes(id).freeze();
                if written.is_empty() {
                    break;
                }
                self.tell_written(&number.to_string(), written);
            }
        }
    }

    /// Of the control stream after `>`, of a data stream after its number.
    fn tell_written(&mut self, stream: &str, mut written: Bytes) {
        while !written.is_empty() {
            let Ok(Peek::Frame(total)) = peek(&written, u32::MAX) else {
                panic!("not whole packets: {written:02x?}");
            };
            let packet = decode(written.split_to(total), self.version).expect("a packet of this version");
            self.told.push(format!("{stream}> {}", show::packet(&packet, self.version)));
        }
    }
}
