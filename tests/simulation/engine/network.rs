//! The network: what is sent arrives late, in another order, twice, or not at all. A stream keeps its order, as TCP
//! does, and breaks.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::{Engine, What};
use crate::clock::Time;
use crate::packet::{Address, Hello, Packet, Said};

type Link = (Address, Address);

/// The state of all links.
#[derive(Debug, Default)]
pub(super) struct Network {
    /// Nothing passes from the first to the second.
    blocked: BTreeSet<Link>,
    /// What passes takes so long, at most.
    slow: BTreeMap<Link, Time>,
    /// What TCP sends again when the link is there again.
    stalled: BTreeMap<Link, VecDeque<Parcel>>,
    streams: BTreeMap<u64, Stream>,
}

#[derive(Debug)]
struct Parcel {
    packet: Packet,
    life: u32,
}

#[derive(Debug)]
struct Stream {
    ends: [Address; 2],
    /// When the last message of each end arrives at the other.
    last: [Time; 2],
    /// One end has closed it: nothing more is sent.
    closed: bool,
}

impl Stream {
    fn side(&self, of: Address) -> usize {
        usize::from(self.ends[0] != of)
    }
}

impl Engine {
    /// Nothing passes from `from` to `to` any more.
    pub(crate) fn block(&mut self, from: Address, to: Address) {
        self.network.blocked.insert((from, to));
    }

    /// Everything passes again, and what was under way is sent again.
    pub(crate) fn unblock(&mut self, from: Address, to: Address) {
        self.network.blocked.remove(&(from, to));
        for parcel in self.network.stalled.remove(&(from, to)).unwrap_or_default() {
            self.transmit(from, to, parcel);
        }
    }

    pub(crate) fn unblock_all(&mut self) {
        for (from, to) in self.network.blocked.clone() {
            self.unblock(from, to);
        }
        self.network.slow.clear();
    }

    /// Messages from `from` to `to` take up to this long; zero: as all others.
    pub(crate) fn slow_down(&mut self, from: Address, to: Address, most: Time) {
        if most == 0 {
            self.network.slow.remove(&(from, to));
        } else {
            self.network.slow.insert((from, to), most);
        }
    }

    /// Sends a packet that belongs to no stream.
    pub(crate) fn send(&mut self, from: Address, to: Address, packet: Packet) {
        let Some(life) = self.alive(to) else {
            if let Packet::Call { call, .. } = packet {
                self.bounce(from, Packet::Unsent { call });
            }
            return;
        };
        if self.chance.below(1_000) < self.plan.lost_permille {
            return;
        }
        if matches!(packet, Packet::Raft(_)) && self.chance.below(1_000) < self.plan.doubled_permille {
            self.transmit(from, to, Parcel { packet: packet.clone(), life });
        }
        self.transmit(from, to, Parcel { packet, life });
    }

    /// Nobody listens at the other end.
    fn bounce(&mut self, to: Address, packet: Packet) {
        let Some(life) = self.alive(to) else { return };
        let at = self.now + self.delay((to, to));
        self.schedule(at, to, life, What::Packet { from: to, packet });
    }

    fn delay(&mut self, link: Link) -> Time {
        let (least, most) = self.plan.delay;
        let most = self.network.slow.get(&link).copied().unwrap_or(most);
        self.chance.between(least, most.max(least))
    }

    fn transmit(&mut self, from: Address, to: Address, parcel: Parcel) {
        let link = (from, to);
        let stream = match &parcel.packet {
            Packet::Open { stream, .. }
            | Packet::Accepted { stream }
            | Packet::Said { stream, .. }
            | Packet::Closed { stream } => Some(*stream),
            _ => None,
        };
        if self.network.blocked.contains(&link) {
            // A call whose connection nobody keeps is lost; a stream's bytes are sent again for as long as it lives.
            if stream.is_some() || self.chance.percent(50) {
                self.network.stalled.entry(link).or_default().push_back(parcel);
            }
            return;
        }
        let mut at = self.now + self.delay(link);
        if let Some(stream) = stream.and_then(|stream| self.network.streams.get_mut(&stream)) {
            let side = stream.side(from);
            at = at.max(stream.last[side] + 1);
            stream.last[side] = at;
        }
        self.schedule(at, to, parcel.life, What::Packet { from, packet: parcel.packet });
    }

    /// Opens a stream; what is said on it follows the opening.
    pub(crate) fn open(&mut self, from: Address, to: Address, hello: Hello) -> u64 {
        let stream = self.name();
        let Some(life) = self.alive(to) else {
            self.bounce(from, Packet::Closed { stream });
            return stream;
        };
        self.network.streams.insert(stream, Stream { ends: [from, to], last: [0, 0], closed: false });
        self.transmit(from, to, Parcel { packet: Packet::Open { stream, hello }, life });
        stream
    }

    pub(crate) fn say(&mut self, from: Address, stream: u64, said: Said) {
        if self.chance.below(20_000) < self.plan.lost_permille {
            return self.break_stream(stream);
        }
        self.pass(from, stream, Packet::Said { stream, said });
    }

    /// The other end hears that its stream is open.
    pub(crate) fn accept(&mut self, from: Address, stream: u64) {
        self.pass(from, stream, Packet::Accepted { stream });
    }

    fn pass(&mut self, from: Address, stream: u64, packet: Packet) {
        let Some(known) = self.network.streams.get(&stream).filter(|known| !known.closed) else { return };
        let to = known.ends[1 - known.side(from)];
        let Some(life) = self.alive(to) else { return };
        self.transmit(from, to, Parcel { packet, life });
    }

    /// One end closes a stream: the other hears of it after all that was said.
    pub(crate) fn hang_up(&mut self, from: Address, stream: u64) {
        self.pass(from, stream, Packet::Closed { stream });
        if let Some(known) = self.network.streams.get_mut(&stream) {
            known.closed = true;
        }
    }

    /// A stream breaks in the middle: both ends hear of it.
    pub(crate) fn break_stream(&mut self, stream: u64) {
        let Some(known) = self.network.streams.remove(&stream) else { return };
        for end in known.ends {
            self.bounce(end, Packet::Closed { stream });
        }
    }

    /// Any stream of this process.
    pub(crate) fn any_stream(&mut self, of: Address) -> Option<u64> {
        let streams = self.network.streams.iter().filter(|(_, stream)| stream.ends.contains(&of));
        let streams: Vec<u64> = streams.map(|(name, _)| *name).collect();
        (!streams.is_empty()).then(|| self.chance.pick(&streams))
    }

    pub(super) fn forget_stream(&mut self, stream: u64) {
        self.network.streams.remove(&stream);
    }

    /// A process ended: the other ends hear of it, unless its machine fell silent.
    pub(super) fn cut_streams(&mut self, address: Address, silent: bool) {
        let of = |stream: &Stream| stream.ends.contains(&address);
        let cut: Vec<u64> =
            self.network.streams.iter().filter(|(_, s)| of(s)).map(|(name, _)| *name).collect();
        for name in cut {
            if !silent {
                self.hang_up(address, name);
            }
            if let Some(stream) = self.network.streams.get_mut(&name) {
                stream.closed = true;
            }
        }
    }
}
