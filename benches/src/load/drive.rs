//! The loop: what is readable is read, what the window or the clock allows is published, what waits is written.

use std::ops::Range;
use std::time::Duration;

use anyhow::{Context, Result};
use hdrhistogram::Histogram;
use revoq_mqtt::QoS;
use rustix::event::epoll;
use rustix::fd::OwnedFd;
use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec};

use super::clients::{Publisher, Subscriber, stamped};
use super::link::{Link, tls};
use super::order::Stream;
use super::wire::frame;
use super::{Counts, Delivered, Messages, Shape};
use crate::clock::now_ns;
use crate::statistics::Spread;
use crate::usage::cpu_us;

const SCRATCH: usize = 128 * 1024;
/// The loop turns at least so often.
const TURN: Timespec = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };
const TIMER: u64 = u64::MAX;
/// The timer of a rate fires no more often; then several messages are due at once.
const TICK_MIN_NS: u64 = 50_000;
/// Messages that nothing was heard of for so long are lost, and no place in the window is kept for them.
const STALLED_NS: u64 = 1_000_000_000;
/// What has not come so long after the last that came is lost.
const DRAINED_NS: u64 = 2_000_000_000;

struct Drive<'a> {
    job: &'a Messages,
    epoll: OwnedFd,
    timer: Option<OwnedFd>,
    events: Vec<epoll::Event>,
    scratch: Vec<u8>,
    /// Publishers, then subscribers.
    links: Vec<Link>,
    /// The socket takes no more for now.
    blocked: Vec<bool>,
    publishers: Vec<Publisher>,
    subscribers: Vec<Subscriber>,
    latency: Histogram<u64>,
    deliveries: u64,
    /// When the last message or acknowledgement came.
    heard: u64,
    pace: Option<Pace>,
}

/// A message each `every`, of each publisher in turn.
struct Pace {
    begun: u64,
    every_ns: u64,
    done: u64,
}

/// Runs the job from the first connection to the last message.
pub(super) fn run(job: &Messages) -> Result<Delivered> {
    let mut drive = Drive::open(job)?;
    drive.turn_for(job.warm)?;
    let cpu = || Ok::<_, anyhow::Error>((cpu_us(job.target.process)?, cpu_us(std::process::id())?));
    drive.latency.reset();
    let (before, deliveries, begun) = (cpu()?, drive.deliveries, now_ns());
    drive.turn_for(job.measured)?;
    let (after, latency) = (cpu()?, Spread::of_histogram(&drive.latency));
    let (deliveries, ended) = (drive.deliveries - deliveries, now_ns());
    drive.drain()?;
    Ok(Delivered {
        deliveries,
        seconds: (ended - begun) as f64 / 1e9,
        server_cpu_us: after.0 - before.0,
        clients_cpu_us: after.1 - before.1,
        latency,
        counts: drive.counts(),
    })
}

impl<'a> Drive<'a> {
    fn open(job: &'a Messages) -> Result<Drive<'a>> {
        let config = job.target.tls.as_ref().map(|credentials| tls(credentials, false)).transpose()?;
        let qos = QoS::try_from(job.qos).map_err(|fault| anyhow::anyhow!("QoS {}: {fault:?}", job.qos))?;
        let (publishers, subscribers) = match job.shape {
            Shape::FanOut => (1, job.clients),
            Shape::FanIn => (job.clients, 1),
            Shape::Pairs => (job.clients, job.clients),
        };
        let topic = |n: usize| format!("{}/{n}", job.name);
        let open = |name: String| Link::open(&job.target, config.as_ref(), None, &name).with_context(|| name);
        let mut links = Vec::new();
        for n in 0..publishers {
            links.push(open(format!("{}-from-{n}", job.name))?);
        }
        for n in 0..subscribers {
            let mut link = open(format!("{}-to-{n}", job.name))?;
            let filter = match job.shape {
                Shape::FanOut => topic(0),
                Shape::FanIn => format!("{}/+", job.name),
                Shape::Pairs => topic(n),
            };
            link.subscribe(&filter, qos)?;
            links.push(link);
        }
        let subscribers = (0..subscribers).map(|n| match job.shape {
            Shape::FanOut => Subscriber::new(0, 1),
            Shape::FanIn => Subscriber::new(0, job.clients),
            Shape::Pairs => Subscriber::new(n, 1),
        });
        let subscribers = subscribers.collect();
        let publishers = (0..publishers).map(|n| Publisher::new(&topic(n), qos, job.payload));
        let publishers = publishers.collect::<Result<_>>()?;
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        for (n, link) in links.iter().enumerate() {
            link.unblock()?;
            epoll::add(&epoll, link, epoll::EventData::new_u64(n as u64), epoll::EventFlags::IN)?;
        }
        let mut drive = Drive {
            job,
            epoll,
            timer: None,
            events: Vec::with_capacity(links.len() + 1),
            scratch: vec![0; SCRATCH],
            blocked: vec![false; links.len()],
            links,
            publishers,
            subscribers,
            latency: Histogram::new(3)?,
            deliveries: 0,
            heard: now_ns(),
            pace: None,
        };
        drive.set_pace()?;
        Ok(drive)
    }

    fn set_pace(&mut self) -> Result<()> {
        let Some(rate) = self.job.rate else { return Ok(()) };
        let each = if self.job.shape == Shape::FanOut { self.job.clients } else { 1 } as u64;
        let every_ns = 1_000_000_000 * each / u64::from(rate.max(1));
        let tick = every_ns.max(TICK_MIN_NS);
        let tick = Timespec {
            tv_sec: i64::try_from(tick / 1_000_000_000)?,
            tv_nsec: (tick % 1_000_000_000).try_into()?,
        };
        let timer = rustix::time::timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK)?;
        let each = Itimerspec { it_interval: tick, it_value: tick };
        rustix::time::timerfd_settime(&timer, TimerfdTimerFlags::empty(), &each)?;
        epoll::add(&self.epoll, &timer, epoll::EventData::new_u64(TIMER), epoll::EventFlags::IN)?;
        self.timer = Some(timer);
        self.pace = Some(Pace { begun: now_ns(), every_ns, done: 0 });
        Ok(())
    }

    fn turn_for(&mut self, time: Duration) -> Result<()> {
        let end = now_ns() + u64::try_from(time.as_nanos())?;
        while now_ns() < end {
            self.publish();
            self.turn()?;
        }
        Ok(())
    }

    /// Publishes nothing more, and waits for what is under way.
    fn drain(&mut self) -> Result<()> {
        while self.is_under_way() && now_ns() < self.heard + DRAINED_NS {
            self.turn()?;
        }
        Ok(())
    }

    fn is_under_way(&self) -> bool {
        let unheard = |n| self.seen(n) < self.publishers[n].sent || self.publishers[n].unacknowledged() > 0;
        (0..self.publishers.len()).any(unheard)
    }

    /// Writes, waits, reads.
    fn turn(&mut self) -> Result<()> {
        for n in 0..self.links.len() {
            if self.links[n].has_output() && !self.blocked[n] && !self.links[n].flush()? {
                self.wait_for_room(n, true)?;
            }
        }
        let mut events = std::mem::take(&mut self.events);
        epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), Some(&TURN))?;
        for event in events.drain(..) {
            let (flags, data) = (event.flags, event.data.u64());
            if data == TIMER {
                let timer = self.timer.as_ref().context("only a timer has this number")?;
                rustix::io::read(timer, &mut [0; 8])?;
                continue;
            }
            let n = usize::try_from(data)?;
            if flags.contains(epoll::EventFlags::OUT) {
                self.wait_for_room(n, false)?;
            }
            if flags.intersects(epoll::EventFlags::IN | epoll::EventFlags::ERR | epoll::EventFlags::HUP) {
                self.receive(n).with_context(|| self.name(n))?;
            }
        }
        self.events = events;
        Ok(())
    }

    fn name(&self, n: usize) -> String {
        match n.checked_sub(self.publishers.len()) {
            None => format!("publisher {n}"),
            Some(n) => format!("subscriber {n}"),
        }
    }

    fn wait_for_room(&mut self, n: usize, blocked: bool) -> Result<()> {
        self.blocked[n] = blocked;
        let room = if blocked { epoll::EventFlags::OUT } else { epoll::EventFlags::empty() };
        let data = epoll::EventData::new_u64(n as u64);
        epoll::modify(&self.epoll, &self.links[n], data, epoll::EventFlags::IN | room)?;
        Ok(())
    }

    fn receive(&mut self, n: usize) -> Result<()> {
        let link = &mut self.links[n];
        link.read(&mut self.scratch)?;
        self.heard = now_ns();
        let input = link.take_input();
        let mut taken = 0;
        while let Some((frame, size)) = frame(&input[taken..])? {
            taken += size;
            match n.checked_sub(self.publishers.len()) {
                None => self.publishers[n].take(&frame, link.output())?,
                Some(subscriber) => {
                    if let Some(stamp) = stamped(&frame)? {
                        self.subscribers[subscriber].take(stamp)?;
                        self.deliveries += 1;
                        self.latency.record(self.heard.saturating_sub(stamp.sent_ns).max(1))?;
                    }
                    Subscriber::answer(&frame, link.output());
                }
            }
        }
        link.put_back(input, taken);
        Ok(())
    }

    /// What every subscriber has of a publisher, or nobody waits for any more.
    fn seen(&self, publisher: usize) -> u64 {
        let audience = &self.subscribers[self.audience(publisher)];
        audience.iter().filter_map(|one| one.of(publisher)).map(Stream::seen).min().unwrap_or_default()
    }

    /// The subscribers of a publisher.
    fn audience(&self, publisher: usize) -> Range<usize> {
        match self.job.shape {
            Shape::FanOut => 0..self.job.clients,
            Shape::FanIn => 0..1,
            Shape::Pairs => publisher..publisher + 1,
        }
    }

    fn publish(&mut self) {
        let now = now_ns();
        if now > self.heard + STALLED_NS && self.is_under_way() {
            self.write_off(now);
        }
        if let Some(mut pace) = self.pace.take() {
            let due = now.saturating_sub(pace.begun) / pace.every_ns;
            while pace.done < due {
                let n = usize::try_from(pace.done % self.publishers.len() as u64).unwrap_or_default();
                if self.room(n) == 0 {
                    break;
                }
                self.publishers[n].put(n, now, self.links[n].output());
                pace.done += 1;
            }
            self.pace = Some(pace);
            return;
        }
        for n in 0..self.publishers.len() {
            for _ in 0..self.room(n) {
                self.publishers[n].put(n, now, self.links[n].output());
            }
        }
    }

    /// Messages that a publisher may send now.
    fn room(&self, n: usize) -> u64 {
        let publisher = &self.publishers[n];
        let under_way = (publisher.sent - self.seen(n)).max(publisher.unacknowledged());
        (self.job.window as u64).saturating_sub(under_way)
    }

    fn write_off(&mut self, now: u64) {
        for (n, publisher) in self.publishers.iter_mut().enumerate() {
            publisher.write_off();
            for subscriber in &mut self.subscribers {
                subscriber.write_off(n, publisher.sent);
            }
        }
        self.heard = now;
    }

    fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for (n, publisher) in self.publishers.iter().enumerate() {
            counts.unacknowledged += publisher.never_acknowledged();
            for stream in self.subscribers[self.audience(n)].iter().filter_map(|one| one.of(n)) {
                counts.add(stream.counts(publisher.sent));
            }
        }
        counts
    }
}
