//! A client of bare bytes: it sends what a test wrote down, and compares what comes byte for byte. A failure shows all that went over
//! the wire.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::time::Duration;

use anyhow::{Result, anyhow, bail, ensure};
use bytes::{Bytes, BytesMut};
use revoq_mqtt::{
    Ack, ConnAck, Packet, PacketId, PacketType, Peek, Publish, QoS, ReasonCode, SubAck, Subscribe,
    SubscribeOptions, Subscription, SubscriptionId, Version, decode, encode, peek,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use crate::transports::Wire;

/// Long enough for a busy machine; what takes longer hangs.
const ANSWERS_WITHIN: Duration = Duration::from_secs(20);
const PACKET_MAX: u32 = 2 * 1024 * 1024;
/// Bytes of one packet that a failure shows.
const BYTES_SHOWN: usize = 96;
/// Packets that a failure shows.
const PACKETS_SHOWN: usize = 40;

/// One connection, seen as bytes.
pub struct Raw {
    stream: Wire,
    version: Version,
    received: BytesMut,
    /// Packets that came before one that was waited for.
    ahead: VecDeque<Bytes>,
    transcript: Vec<String>,
    /// Of the packets that the helpers below send: from the upper half, so that a test's own stay apart.
    next_id: PacketId,
}

impl Raw {
    /// A connection on which nothing was sent. The version says how helpers encode and read packets.
    pub fn new(stream: Wire, version: Version) -> Raw {
        let next_id = PacketId::new(0x8000).expect("not zero");
        let (received, ahead, transcript) = (BytesMut::new(), VecDeque::new(), Vec::new());
        Raw { stream, version, received, ahead, transcript, next_id }
    }

    /// The version of the connection.
    pub fn version(&self) -> Version {
        self.version
    }

    /// Sends these bytes.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) -> Result<()> {
        let bytes = bytes.as_ref();
        self.transcript.push(format!("sent     {}", show(bytes)));
        let sent = async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        };
        let result = timeout(ANSWERS_WITHIN, sent).await.map_err(anyhow::Error::from);
        result
            .and_then(|sent| sent.map_err(anyhow::Error::from))
            .map_err(|error| self.failed(&format!("{error:#}")))
    }

    /// Sends a packet as the codec writes it.
    pub async fn send_packet(&mut self, packet: &Packet) -> Result<()> {
        let mut out = BytesMut::new();
        encode(packet, self.version, &mut out)?;
        self.send(out).await
    }

    /// Ends the connection without a DISCONNECT. When this returns the broker knows.
    pub async fn drop_connection(mut self) {
        let mut scrap = vec![0; 4096];
        let gone = async {
            self.stream.shutdown().await?;
            // Its own end comes last.
            while self.stream.read(&mut scrap).await? > 0 {}
            Ok::<_, std::io::Error>(())
        };
        let _ = timeout(ANSWERS_WITHIN, gone).await;
    }

    /// The next packet as bytes; `None` when the connection has ended.
    pub async fn frame(&mut self) -> Result<Option<Bytes>> {
        match self.ahead.pop_front() {
            Some(frame) => Ok(Some(frame)),
            None => self.frame_from_the_wire().await,
        }
    }

    async fn frame_from_the_wire(&mut self) -> Result<Option<Bytes>> {
        let read = timeout(ANSWERS_WITHIN, self.read()).await;
        match read {
            Ok(Ok(Some(frame))) => {
                self.transcript.push(format!("received {}", show(&frame)));
                Ok(Some(frame))
            }
            Ok(Ok(None)) => {
                self.transcript.push("received the end".to_owned());
                Ok(None)
            }
            Ok(Err(error)) => Err(self.failed(&format!("{error:#}"))),
            Err(_) => Err(self.failed("neither a packet nor the end came")),
        }
    }

    async fn read(&mut self) -> Result<Option<Bytes>> {
        loop {
            if let Peek::Frame(size) = peek(&self.received, PACKET_MAX)? {
                return Ok(Some(self.received.split_to(size).freeze()));
            }
            // A reset is an end too: the broker is free to close over bytes that it doesn't want.
            match self.stream.read_buf(&mut self.received).await {
                Ok(1..) => {}
                Ok(0) | Err(_) if self.received.is_empty() => return Ok(None),
                Ok(_) | Err(_) => bail!("the stream ended within a packet: {}", show(&self.received)),
            }
        }
    }

    /// The next packet, which must come and be well-formed.
    pub async fn packet(&mut self) -> Result<Packet> {
        let frame = self.frame().await?.ok_or_else(|| self.failed("a packet was expected"))?;
        decode(frame, self.version).map_err(|error| self.failed(&format!("not a packet: {error}")))
    }

    /// The next packet is these bytes.
    pub async fn expect(&mut self, bytes: impl AsRef<[u8]>) -> Result<()> {
        let frame = self.frame().await?;
        let expected = bytes.as_ref();
        match frame {
            Some(frame) if frame == expected => Ok(()),
            _ => Err(self.failed(&format!("expected {}", show(expected)))),
        }
    }

    /// The next packets are these, in any order: what is asked for by several packets has no order of answers.
    pub async fn expect_all(&mut self, all: &[Vec<u8>]) -> Result<()> {
        let mut left: Vec<&[u8]> = all.iter().map(Vec::as_slice).collect();
        while !left.is_empty() {
            let frame = self.frame().await?;
            let found = left.iter().position(|expected| frame.as_deref() == Some(*expected));
            let Some(found) = found else {
                let expected: Vec<String> = left.iter().map(|bytes| show(bytes)).collect();
                return Err(self.failed(&format!("expected one of {}", expected.join("; "))));
            };
            left.remove(found);
        }
        Ok(())
    }

    /// The next packet is this one as the codec writes it.
    pub async fn expect_packet(&mut self, packet: &Packet) -> Result<()> {
        let mut out = BytesMut::new();
        encode(packet, self.version, &mut out)?;
        self.expect(out).await
    }

    /// The connection ends, and no packet comes before that.
    pub async fn ended(mut self) -> Result<()> {
        match self.frame().await? {
            None => Ok(()),
            Some(_) => Err(self.failed("the end was expected")),
        }
    }

    /// The broker ends the session: MQTT 5.0 is told why, older versions are just closed upon.
    pub async fn disconnected(mut self, reason: ReasonCode) -> Result<()> {
        if self.version.is_v5() {
            match self.packet().await? {
                Packet::Disconnect(packet) if packet.reason == reason => {
                    // [MQTT-3.14.2-2]
                    ensure!(packet.session_expiry_s.is_none(), self.failed("a session expiry from a server"));
                }
                _ => return Err(self.failed(&format!("DISCONNECT {:#04x} was expected", reason.code()))),
            }
        }
        self.ended().await
    }

    /// The client is not let in: the CONNACK, then the end.
    pub async fn refused(mut self) -> Result<ConnAck> {
        match self.packet().await? {
            Packet::ConnAck(ack) if ack.reason.is_error() && !ack.session_present => {
                self.ended().await?;
                Ok(ack)
            }
            _ => Err(self.failed("a refusal was expected")),
        }
    }

    /// Everything that the broker has for us has come: PINGREQ is answered, and no packet comes before that.
    pub async fn quiet(&mut self) -> Result<()> {
        self.send([0xC0, 0]).await?;
        self.expect([0xD0, 0]).await
    }

    /// The packet identifier for a packet of the helpers.
    pub fn next_id(&mut self) -> PacketId {
        let id = self.next_id;
        self.next_id = PacketId::new(id.get().wrapping_add(1).max(0x8000)).expect("not zero");
        id
    }

    /// Subscribes; what was asked for is granted.
    pub async fn subscribe(&mut self, filter: &str, options: SubscribeOptions) -> Result<()> {
        self.subscribe_as(None, filter, options).await
    }

    /// Subscribes at that QoS; it is granted.
    pub async fn subscribe_at(&mut self, filter: &str, qos: QoS) -> Result<()> {
        self.subscribe(filter, SubscribeOptions { qos, ..SubscribeOptions::default() }).await
    }

    /// Subscribes with a subscription identifier; what was asked for is granted.
    pub async fn subscribe_as(
        &mut self,
        subscription_id: Option<SubscriptionId>,
        filter: &str,
        options: SubscribeOptions,
    ) -> Result<()> {
        let packet_id = self.next_id();
        let subscriptions = vec![Subscription { filter: filter.parse()?, options }];
        let user_properties = Default::default();
        let subscribe = Subscribe { packet_id, subscription_id, user_properties, subscriptions };
        self.send_packet(&Packet::Subscribe(subscribe)).await?;
        let reasons = vec![ReasonCode::try_from(options.qos as u8)?];
        self.expect_packet(&Packet::SubAck(SubAck { packet_id, reasons, properties: Default::default() }))
            .await
    }

    /// Publishes and sees the exchange to its end; nothing else may come meanwhile. A message of QoS 0 is with the router
    /// when this returns, as any other is.
    pub async fn publish(&mut self, mut publish: Publish) -> Result<()> {
        let qos = publish.qos;
        if qos == QoS::AtMostOnce {
            self.send_packet(&Packet::Publish(publish)).await?;
            return self.quiet().await;
        }
        let id = self.next_id();
        publish.packet_id = Some(id);
        self.send_packet(&Packet::Publish(publish)).await?;
        let ((Packet::PubAck(ack), QoS::AtLeastOnce) | (Packet::PubRec(ack), QoS::ExactlyOnce)) =
            (self.packet().await?, qos)
        else {
            return Err(self.failed("PUBACK or PUBREC was expected"));
        };
        ensure!(ack.packet_id == id && !ack.reason.is_error(), self.failed("refused, or of another"));
        if qos == QoS::AtLeastOnce {
            return Ok(());
        }
        self.send_packet(&Packet::PubRel(Ack::new(id, ReasonCode::Success))).await?;
        self.expect_packet(&Packet::PubComp(Ack::new(id, ReasonCode::Success))).await
    }

    /// The next packet, which must be a PUBLISH. It is not acknowledged.
    pub async fn delivery(&mut self) -> Result<Publish> {
        match self.packet().await? {
            Packet::Publish(publish) => Ok(publish),
            _ => Err(self.failed("PUBLISH was expected")),
        }
    }

    /// Acknowledges a message, to the end of the exchange. What comes before PUBREL stays to be read.
    pub async fn acknowledge(&mut self, publish: &Publish) -> Result<()> {
        let Some(id) = publish.packet_id else { return Ok(()) };
        let ack = Ack::new(id, ReasonCode::Success);
        if publish.qos == QoS::AtLeastOnce {
            return self.send_packet(&Packet::PubAck(ack)).await;
        }
        self.send_packet(&Packet::PubRec(ack.clone())).await?;
        let pubrel = [0x62, 2, id.get().to_be_bytes()[0], id.get().to_be_bytes()[1]];
        loop {
            let frame = self.frame_from_the_wire().await?;
            let frame = frame.ok_or_else(|| self.failed("PUBREL was expected"))?;
            if frame == pubrel[..] {
                return self.send_packet(&Packet::PubComp(ack)).await;
            }
            self.ahead.push_back(frame);
        }
    }

    /// The next packet is a PUBLISH with this payload, which is acknowledged.
    pub async fn take(&mut self, payload: &str) -> Result<Publish> {
        let publish = self.delivery().await?;
        ensure!(publish.payload == payload.as_bytes(), self.failed(&format!("{payload:?} was expected")));
        self.acknowledge(&publish).await?;
        Ok(publish)
    }

    /// An error with all that went over the wire.
    pub fn failed(&self, what: &str) -> anyhow::Error {
        let mut text = format!("MQTT {}: {what}", self.version);
        let skipped = self.transcript.len().saturating_sub(PACKETS_SHOWN);
        if skipped > 0 {
            let _ = write!(text, "\n    ... {skipped} more");
        }
        for line in &self.transcript[skipped..] {
            let _ = write!(text, "\n    {line}");
        }
        anyhow!(text)
    }
}

/// The packet's name and its bytes.
fn show(bytes: &[u8]) -> String {
    let name = match bytes.first().map(|first| PacketType::of(*first)) {
        None => "nothing".to_owned(),
        Some(None) => "reserved".to_owned(),
        Some(Some(kind)) => format!("{kind:?}"),
    };
    let mut text = format!("{name:<11}");
    for byte in &bytes[..bytes.len().min(BYTES_SHOWN)] {
        let _ = write!(text, " {byte:02x}");
    }
    if bytes.len() > BYTES_SHOWN {
        let _ = write!(text, " ... {} bytes", bytes.len());
    }
    text
}
