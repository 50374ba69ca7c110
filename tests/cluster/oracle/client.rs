//! One client: its side of the session, which outlives its connections, and the steps of its part.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use parking_lot::Mutex;
use revoq_mqtt::{
    Ack, Connect, Disconnect, Packet, PacketId, Publish, PublishProperties, QoS, ReasonCode, Subscribe,
    SubscribeOptions, Subscription, Topic, TopicFilter, Unsubscribe, Version,
};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::book::{Book, Key, Span, payload};
use super::plan::{Draft, Draw, Leave, Part, Step};
use crate::link::{Link, Route};

/// The broker answers within this, on the busiest machine.
const ANSWERS_WITHIN: Duration = Duration::from_secs(20);
/// PUBLISH packets under way, well below the broker's Receive Maximum.
const FLIGHTS_MAX: usize = 200;

/// A PUBLISH of ours whose exchange is not at its end.
pub(super) struct Flight {
    pub(super) packet_id: PacketId,
    pub(super) publish: Publish,
    pub(super) key: Key,
    /// PUBREC came.
    pub(super) is_received: bool,
}

pub(super) struct Client {
    pub(super) number: usize,
    pub(super) part: Part,
    pub(super) book: Arc<Mutex<Book>>,
    pub(super) routes: Vec<Route>,
    pub(super) client_id: String,
    draw: Draw,
    has_session: bool,
    /// In the order in which they were sent.
    pub(super) flights: Vec<Flight>,
    next_id: PacketId,
    /// QoS 2 messages that came, by identifier, until PUBREL: the message and its receipt.
    pub(super) taken: BTreeMap<PacketId, (Key, usize)>,
    /// QoS 1 messages that came and that were not acknowledged.
    pub(super) withheld: BTreeMap<PacketId, Key>,
    link: Option<Link>,
    // Of the connection:
    pub(super) aliases: BTreeMap<u16, Topic>,
    /// Of the broker's PUBLISH packets that count against our Receive Maximum.
    pub(super) open: BTreeSet<PacketId>,
    /// Answers to SUBSCRIBE, UNSUBSCRIBE and PINGREQ.
    pub(super) answers: usize,
    pub(super) acknowledges: bool,
}

impl Client {
    pub(super) fn new(
        number: usize,
        part: Part,
        book: Arc<Mutex<Book>>,
        routes: Vec<Route>,
        client_id: String,
    ) -> Client {
        let draw = Draw::new(part.seed, number);
        Client {
            number,
            part,
            book,
            routes,
            client_id,
            draw,
            has_session: false,
            flights: Vec::new(),
            next_id: PacketId::FIRST,
            taken: BTreeMap::new(),
            withheld: BTreeMap::new(),
            link: None,
            aliases: BTreeMap::new(),
            open: BTreeSet::new(),
            answers: 0,
            acknowledges: true,
        }
    }

    /// Connects and subscribes for the first time.
    pub(super) async fn begin(&mut self) -> Result<()> {
        self.connect().await?;
        for filter in 0..self.part.filters.len() {
            self.toggle(filter).await?;
        }
        Ok(())
    }

    /// Takes every step of its part.
    pub(super) async fn play(&mut self) -> Result<()> {
        for step in self.part.steps.clone() {
            if self.link.is_none() {
                let pause = self.draw.ms(0, 80);
                sleep(pause).await;
                if self.has_session { self.connect().await? } else { self.begin().await? }
            }
            let context = format!("client {}: {step:?}", self.client_id);
            self.take(step).await.context(context)?;
        }
        Ok(())
    }

    /// Finishes every exchange of its own; then everything that was sent before has come, or never will.
    pub(super) async fn finish(&mut self) -> Result<()> {
        if self.link.is_none() {
            self.connect().await?;
        }
        let deadline = Instant::now() + ANSWERS_WITHIN;
        while !self.flights.is_empty() {
            ensure!(
                Instant::now() < deadline,
                "{} exchanges of {} do not end",
                self.flights.len(),
                self.client_id
            );
            self.listen(Duration::from_millis(20)).await?;
        }
        self.answered(&Packet::PingReq).await
    }

    async fn take(&mut self, step: Step) -> Result<()> {
        match step {
            Step::Publish(drafts) => {
                if self.flights.len() + drafts.len() > FLIGHTS_MAX {
                    return self.listen(Duration::from_millis(100)).await;
                }
                let packets: Vec<Packet> = drafts.iter().map(|draft| self.publish(draft)).collect();
                self.send(&packets).await?;
                self.listen(Duration::from_millis(5)).await
            }
            Step::Listen(time) => self.listen(time).await,
            Step::Stall(time) => {
                sleep(time).await;
                Ok(())
            }
            Step::Withhold(time) => {
                self.acknowledges = false;
                let result = self.listen(time).await;
                self.acknowledges = true;
                result?;
                self.leave(Leave::Reset).await
            }
            Step::Toggle(filter) => self.toggle(filter).await,
            Step::Leave(leave) => self.leave(leave).await,
            Step::TakeOver => self.take_over().await,
        }
    }

    async fn connect(&mut self) -> Result<()> {
        let route = usize::try_from(self.draw.below(self.routes.len() as u64))?;
        let is_v5 = self.part.version == Version::V5;
        let mut connect = Connect::new(self.part.version, self.client_id.parse()?);
        connect.clean_start = is_v5 && !self.has_session;
        if is_v5 {
            connect.properties.session_expiry_s = Some(3600);
            connect.properties.receive_max = NonZeroU16::new(self.part.receive_max);
            connect.properties.topic_alias_max = self.part.topic_alias_max;
        }
        let attempt = async {
            let mut link = Link::open(&self.routes[route], self.part.version).await?;
            link.send(&[Packet::Connect(Box::new(connect))]).await?;
            let answer = link.read().await?;
            anyhow::Ok((link, answer))
        };
        let (link, answer) = timeout(ANSWERS_WITHIN, attempt).await.context("no CONNACK")??;
        let Some(Packet::ConnAck(ack)) = answer else { bail!("CONNACK expected, not {answer:?}") };
        ensure!(ack.reason == ReasonCode::Success, "refused: {:?}", ack.reason);
        if ack.session_present != self.has_session {
            let what = if self.has_session { "the session is lost" } else { "a session that was not there" };
            self.book.lock().fault(self.number, what);
        }
        if !ack.session_present {
            self.forget();
            self.book.lock().session_begins(self.number);
        }
        self.has_session = true;
        self.link = Some(link);
        self.aliases.clear();
        self.open.clear();
        self.book.lock().records[self.number].connections += 1;
        self.send_again().await
    }

    /// What is in flight, in order ([MQTT-4.4.0-1]).
    async fn send_again(&mut self) -> Result<()> {
        let mut packets = Vec::new();
        for flight in &self.flights {
            if flight.is_received {
                packets.push(Packet::PubRel(Ack::new(flight.packet_id, ReasonCode::Success)));
            } else {
                self.book.lock().sent[flight.key].times += 1;
                packets.push(Packet::Publish(Publish { dup: true, ..flight.publish.clone() }));
            }
        }
        self.send(&packets).await
    }

    fn forget(&mut self) {
        self.flights.clear();
        self.taken.clear();
        self.withheld.clear();
    }

    /// Writes a message down, and makes its packet.
    fn publish(&mut self, draft: &Draft) -> Packet {
        let topic: Topic = format!("o/{}/{}", self.number, draft.topic).parse().expect("a topic");
        let key = self.book.lock().publishes(self.number, &topic, draft.qos, draft.size);
        let mut publish = Publish {
            dup: false,
            qos: draft.qos,
            retain: false,
            topic,
            packet_id: None,
            properties: PublishProperties::default(),
            payload: payload(key, draft.size).into(),
        };
        if draft.qos > QoS::AtMostOnce {
            let packet_id = self.free_id();
            publish.packet_id = Some(packet_id);
            self.flights.push(Flight { packet_id, publish: publish.clone(), key, is_received: false });
        }
        Packet::Publish(publish)
    }

    fn free_id(&mut self) -> PacketId {
        loop {
            let id = self.next_id;
            self.next_id = id.next();
            if !self.flights.iter().any(|flight| flight.packet_id == id) {
                return id;
            }
        }
    }

    pub(super) async fn send(&mut self, packets: &[Packet]) -> Result<()> {
        let link = self.link.as_mut().context("it is connected")?;
        link.send(packets).await.with_context(|| format!("the broker ended {}", self.client_id))
    }

    /// Handles what comes, for so long.
    pub(super) async fn listen(&mut self, time: Duration) -> Result<()> {
        let deadline = Instant::now() + time;
        loop {
            let link = self.link.as_mut().context("it is connected")?;
            let Ok(read) = timeout_at(deadline, link.read()).await else { return Ok(()) };
            let packet = read.with_context(|| format!("the broker ended {}", self.client_id))?;
            let packet = packet.with_context(|| format!("the broker ended {}", self.client_id))?;
            self.handle(packet).await?;
        }
    }

    /// Sends what is answered, and listens to its answer.
    async fn answered(&mut self, packet: &Packet) -> Result<()> {
        let before = self.answers;
        self.send(std::slice::from_ref(packet)).await?;
        let deadline = Instant::now() + ANSWERS_WITHIN;
        while self.answers == before {
            ensure!(Instant::now() < deadline, "no answer to {packet:?}");
            self.listen(Duration::from_millis(2)).await?;
        }
        Ok(())
    }

    async fn toggle(&mut self, filter: usize) -> Result<()> {
        let packet_id = self.free_id();
        let (text, qos) = self.part.filters[filter].clone();
        let filter: TopicFilter = text.parse()?;
        let lives = |span: &Span| span.filter == filter && span.left.is_none();
        let user_properties = Default::default();
        let at = {
            let mut book = self.book.lock();
            let now = book.tick();
            let record = &mut book.records[self.number];
            let at = record.spans.iter().position(lives);
            match at {
                Some(at) => record.spans[at].left = Some(now),
                None => record.spans.push(Span {
                    filter: filter.clone(),
                    qos,
                    epoch: record.epoch,
                    asked: now,
                    granted: None,
                    left: None,
                    gone: None,
                }),
            }
            at
        };
        if let Some(at) = at {
            let filters = vec![filter];
            self.answered(&Packet::Unsubscribe(Unsubscribe { packet_id, user_properties, filters })).await?;
            let mut book = self.book.lock();
            let now = book.tick();
            book.records[self.number].spans[at].gone = Some(now);
            return Ok(());
        }
        let options = SubscribeOptions { qos, ..SubscribeOptions::default() };
        let subscriptions = vec![Subscription { filter, options }];
        let subscribe = Subscribe { packet_id, subscription_id: None, user_properties, subscriptions };
        self.answered(&Packet::Subscribe(subscribe)).await?;
        let mut book = self.book.lock();
        let now = book.tick();
        book.records[self.number].spans.last_mut().context("it was put there")?.granted = Some(now);
        Ok(())
    }

    async fn leave(&mut self, leave: Leave) -> Result<()> {
        let last = match &leave {
            Leave::MidPacket(draft) | Leave::PublishAndDisconnect(draft) => Some(self.publish(draft)),
            _ => None,
        };
        let mut link = self.link.take().context("it is connected")?;
        let mut disconnect = Disconnect::new(ReasonCode::Success);
        match leave {
            Leave::Close => link.close().await,
            Leave::Reset => link.reset(),
            Leave::MidPacket(_) => {
                link.send_half(&last.context("it was drawn")?).await?;
                link.close().await;
            }
            Leave::Disconnect | Leave::PublishAndDisconnect(_) => {
                let packets: Vec<Packet> = last.into_iter().chain([Packet::Disconnect(disconnect)]).collect();
                link.send(&packets).await?;
                link.close().await;
            }
            Leave::EndSession => {
                self.book.lock().session_ends(self.number);
                self.has_session = false;
                disconnect.session_expiry_s = Some(0);
                link.send(&[Packet::Disconnect(disconnect)]).await?;
                link.close().await;
                self.forget();
            }
        }
        Ok(())
    }

    /// The connection before ends, and says why; what came over it is for nobody.
    async fn take_over(&mut self) -> Result<()> {
        let mut before = self.link.take().context("it is connected")?;
        self.connect().await?;
        let mut last = None;
        let ended = timeout(ANSWERS_WITHIN, async {
            while let Ok(Some(packet)) = before.read().await {
                last = Some(packet);
            }
        });
        ended.await.context("the connection that was taken over does not end")?;
        // Where half a packet has left nothing can follow it.
        if let Some(Packet::Disconnect(said)) = &last
            && said.reason != ReasonCode::SessionTakenOver
        {
            self.book.lock().fault(self.number, format_args!("taken over, and told {said:?}"));
        }
        Ok(())
    }

    /// Ends the session, for the next round.
    pub(super) async fn end(mut self) -> Result<()> {
        if let Some(link) = self.link.take() {
            link.close().await;
        }
        let connect = Connect::new(self.part.version, self.client_id.parse()?);
        let mut link = Link::open(&self.routes[0], self.part.version).await?;
        link.send(&[Packet::Connect(Box::new(connect))]).await?;
        let answer = timeout(ANSWERS_WITHIN, link.read()).await.context("no CONNACK")??;
        ensure!(matches!(answer, Some(Packet::ConnAck(_))), "CONNACK expected, not {answer:?}");
        link.send(&[Packet::Disconnect(Disconnect::new(ReasonCode::Success))]).await?;
        link.close().await;
        Ok(())
    }
}
