//! What each client does, drawn from a seed before anything runs.

use std::time::Duration;

use rand::rngs::ChaCha8Rng;
use rand::{RngExt as _, SeedableRng as _};
use revoq_mqtt::{QoS, Version};

/// Topics below that of a client.
pub(super) const TOPICS: u64 = 3;
const QOS: [QoS; 3] = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];

/// A message to be published.
#[derive(Clone, Debug)]
pub(super) struct Draft {
    pub(super) topic: u64,
    pub(super) qos: QoS,
    pub(super) size: usize,
}

#[derive(Clone, Debug)]
pub(super) enum Step {
    /// In one write.
    Publish(Vec<Draft>),
    /// Reads for so long.
    Listen(Duration),
    /// Reads nothing for so long.
    Stall(Duration),
    /// Reads, and acknowledges nothing: exchanges stay half-finished. Then the connection ends.
    Withhold(Duration),
    /// Unsubscribes from a filter, or subscribes to it again.
    Toggle(usize),
    Leave(Leave),
    /// Connects by the same client id while the connection lives.
    TakeOver,
}

/// How a connection ends.
#[derive(Clone, Debug)]
pub(super) enum Leave {
    Close,
    Reset,
    /// Within a PUBLISH.
    MidPacket(Draft),
    Disconnect,
    /// PUBLISH and DISCONNECT in one write.
    PublishAndDisconnect(Draft),
    /// With the session: what was owed in it is owed no more.
    EndSession,
}

/// What one client is and does.
#[derive(Clone, Debug)]
pub(super) struct Part {
    pub(super) version: Version,
    /// Shows a certificate, and comes over TLS only.
    pub(super) is_certified: bool,
    pub(super) shares: bool,
    pub(super) filters: Vec<(String, QoS)>,
    /// Receive Maximum and Topic Alias Maximum of MQTT 5.0.
    pub(super) receive_max: u16,
    pub(super) topic_alias_max: u16,
    pub(super) steps: Vec<Step>,
    /// For the transport of each connection, and the pause before it.
    pub(super) seed: u64,
}

/// The parts of all clients. The first half publishes; of the others the last three are the shared group.
pub(super) fn draw(seed: u64, clients: usize, steps: usize) -> Vec<Part> {
    (0..clients).map(|client| Draw::new(seed, client).part(client, clients, steps)).collect()
}

pub(super) struct Draw(ChaCha8Rng);

impl Draw {
    pub(super) fn new(seed: u64, of: usize) -> Draw {
        Draw(ChaCha8Rng::seed_from_u64(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(of as u64)))
    }

    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.0.random_range(0..end)
    }

    pub(super) fn ms(&mut self, least: u64, most: u64) -> Duration {
        Duration::from_millis(self.0.random_range(least..=most))
    }

    fn one_in(&mut self, cases: u64) -> bool {
        self.below(cases) == 0
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[usize::try_from(self.below(from.len() as u64)).expect("below a length")]
    }

    fn part(&mut self, client: usize, clients: usize, steps: usize) -> Part {
        let publishes = client < clients / 2;
        let shares = client + 3 >= clients;
        let filters = match (publishes, shares) {
            (_, true) => vec![("$share/group/o/+/2".to_owned(), QoS::ExactlyOnce)],
            // Half of the publishers listen as well.
            (true, _) if self.one_in(2) => Vec::new(),
            _ => self.filters(clients as u64 / 2),
        };
        // Sessions that end are those of two who only listen.
        let ends = !publishes && !shares && client.is_multiple_of(2);
        let toggles = if shares { 0 } else { filters.len() };
        let version = if client.is_multiple_of(2) { Version::V5 } else { Version::V311 };
        let steps = (0..steps).map(|_| self.step(publishes, ends, toggles)).collect();
        let receive_max = self.pick(&[1, 2, 7, 20, 100]);
        let topic_alias_max = self.pick(&[0, 2, 10]);
        let (is_certified, seed) = (client % 4 == 3, self.below(u64::MAX));
        Part { version, is_certified, shares, filters, receive_max, topic_alias_max, steps, seed }
    }

    /// One to four, which overlap more often than not.
    fn filters(&mut self, publishers: u64) -> Vec<(String, QoS)> {
        let count = 1 + self.below(4);
        let mut filters: Vec<(String, QoS)> = Vec::new();
        for _ in 0..count {
            let (publisher, topic) = (self.below(publishers), self.below(TOPICS));
            let filter = match self.below(6) {
                0 => "o/#".to_owned(),
                1 => format!("o/+/{topic}"),
                2 => format!("o/{publisher}/#"),
                3 => format!("o/{publisher}/+"),
                4 => format!("+/{publisher}/{topic}"),
                _ => format!("o/{publisher}/{topic}"),
            };
            if !filters.iter().any(|(other, _)| *other == filter) {
                filters.push((filter, self.pick(&QOS)));
            }
        }
        filters
    }

    fn step(&mut self, publishes: bool, ends: bool, toggles: usize) -> Step {
        match self.below(100) {
            0..45 if publishes => Step::Publish((0..=self.below(10)).map(|_| self.draft()).collect()),
            0..50 => Step::Listen(self.ms(1, 60)),
            50..56 => Step::Stall(self.ms(20, 250)),
            56..66 => Step::Withhold(self.ms(1, 60)),
            66..72 if toggles > 0 => Step::Toggle(self.pick(&(0..toggles).collect::<Vec<_>>())),
            66..76 => Step::TakeOver,
            76..92 => Step::Leave(self.leave(publishes, ends)),
            _ => Step::Listen(self.ms(1, 20)),
        }
    }

    fn leave(&mut self, publishes: bool, ends: bool) -> Leave {
        match self.below(6) {
            0 => Leave::Close,
            1 => Leave::Reset,
            2 if publishes => Leave::MidPacket(self.draft()),
            3 if publishes => Leave::PublishAndDisconnect(self.draft()),
            4 if ends => Leave::EndSession,
            2 | 3 => Leave::Reset,
            _ => Leave::Disconnect,
        }
    }

    fn draft(&mut self) -> Draft {
        let size = match self.below(20) {
            0 => 20_000 + self.below(20_000),
            1..4 => 1_000 + self.below(8_000),
            _ => 10 + self.below(200),
        };
        let size = usize::try_from(size).expect("a few kilobytes");
        Draft { topic: self.below(TOPICS), qos: self.pick(&QOS), size }
    }
}
