//! Every connection from CONNECT on, its gate, and what waits for it. Stands for `registry/`, `gate.rs`, `claims.rs`,
//! `router.rs` and the loop of `connection/run.rs`.

use std::collections::BTreeMap;

use revoq_credentials::{Affected, Cause, Credential, Millis, Principal, Verdict, View};
use revoq_lease::Now;

use super::Broker;
use crate::engine::Engine;
use crate::fault::Fault;
use crate::oracle::{Direction, Fact};
use crate::packet::{Timer, Told};

/// Why a gate was shut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shut {
    Denied,
    Expired,
    Lapsed,
    TakenOver,
    Draining,
    /// The client left.
    Left,
}

/// One connection from CONNECT on.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) device: usize,
    pub(crate) attempt: u64,
    pub(crate) principal: Principal,
    /// `None` while the gate is open.
    pub(crate) shut: Option<Shut>,
    /// The verdict allowed it.
    pub(crate) admitted: bool,
    /// Messages that wait for it.
    mailbox: u32,
}

impl Session {
    /// Let in, and not cut.
    pub(crate) fn is_live(&self) -> bool {
        self.admitted && self.shut.is_none()
    }

    /// Shuts the gate; whether that ended a live session.
    fn shut(&mut self, why: Shut) -> bool {
        let live = self.is_live();
        self.shut.get_or_insert(why);
        live
    }
}

/// All connections by their number.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    last: u64,
    sessions: BTreeMap<u64, Session>,
}

impl Registry {
    /// Enters a connection. Only after this may its verdict be taken.
    pub(super) fn register(&mut self, device: usize, attempt: u64, principal: Principal) -> u64 {
        self.last += 1;
        let session = Session { device, attempt, principal, shut: None, admitted: false, mailbox: 0 };
        self.sessions.insert(self.last, session);
        self.last
    }

    pub(super) fn remove(&mut self, number: u64) -> Option<Session> {
        self.sessions.remove(&number)
    }

    pub(super) fn get_mut(&mut self, number: u64) -> Option<&mut Session> {
        self.sessions.get_mut(&number)
    }

    pub(super) fn of_attempt(&self, attempt: u64) -> Option<u64> {
        self.sessions.iter().find(|(_, session)| session.attempt == attempt).map(|(number, _)| *number)
    }

    pub(super) fn len(&self) -> u64 {
        self.sessions.len() as u64
    }

    pub(crate) fn live(&self) -> impl Iterator<Item = (u64, &Session)> {
        self.sessions
            .iter()
            .filter(|(_, session)| session.is_live())
            .map(|(number, session)| (*number, session))
    }

    /// Judges every connection that a change names; how many live sessions that ended.
    pub(super) fn sweep(&mut self, affected: &[Affected], view: &View, now: Millis) -> u64 {
        let mut ended = 0;
        for session in self.sessions.values_mut() {
            if affected.iter().any(|one| names(one, &session.principal))
                && let Some(why) = judge(view, &session.principal, now)
            {
                ended += u64::from(session.shut(why));
            }
        }
        ended
    }

    /// Shuts every gate; how many live sessions that ended.
    pub(super) fn shut_all(&mut self, why: Shut) -> u64 {
        self.sessions.values_mut().map(|session| u64::from(session.shut(why))).sum()
    }

    /// The connections whose gate is shut: their tasks have something to do.
    pub(super) fn shut_ones(&self) -> Vec<u64> {
        self.sessions
            .iter()
            .filter(|(_, session)| session.shut.is_some())
            .map(|(number, _)| *number)
            .collect()
    }
}

/// Can a change of this kind concern this principal?
fn names(affected: &Affected, principal: &Principal) -> bool {
    match (affected, &principal.credential) {
        (Affected::All | Affected::Settings, _) => true,
        (Affected::Tenant(tenant), _) => principal.tenant == *tenant,
        (
            Affected::Authority { tenant, name },
            Credential::Certificate { authority: Some(authority), .. },
        ) => principal.tenant == *tenant && authority == name,
        (Affected::Credential(named), Credential::Certificate { fingerprint, .. }) => named == fingerprint,
        _ => false,
    }
}

/// The verdict on one principal, as the reason to shut its gate.
pub(super) fn judge(view: &View, principal: &Principal, now: Millis) -> Option<Shut> {
    match view.verdict(principal, now) {
        Verdict::Allow => None,
        Verdict::Deny(Cause::Expired) => Some(Shut::Expired),
        Verdict::Deny(_) => Some(Shut::Denied),
    }
}

impl Broker {
    /// Is the gate shut? It is shut here when the packets' own clock says so. `Connection::shut_by`.
    fn shut_by(&mut self, engine: &mut Engine, number: u64, now: Now) -> Option<Shut> {
        let lapsed = self.is_lapsed(now) && !engine.has(Fault::FreshnessByTimer);
        let session = self.registry.get_mut(number)?;
        if session.shut.is_none() && lapsed && session.shut(Shut::Lapsed) {
            engine.totals.lapsed += 1;
        }
        session.shut
    }

    /// A client's PUBLISH arrives: it passes to everybody in the tenant who listens here, or the connection ends.
    pub(super) fn publish(&mut self, engine: &mut Engine, number: u64) {
        let now = self.now(engine);
        if self.registry.get_mut(number).is_none() {
            return;
        }
        if self.shut_by(engine, number, now).is_some() {
            return self.end(engine, number);
        }
        let session = self.registry.get_mut(number).expect("it was there");
        let principal = session.principal.clone();
        engine.tell(Fact::Passed {
            broker: self.seat,
            number,
            principal: principal.clone(),
            direction: Direction::In,
        });
        let mut woken = Vec::new();
        for (other, session) in &mut self.registry.sessions {
            if *other != number && session.is_live() && session.principal.tenant == principal.tenant {
                session.mailbox += 1;
                if session.mailbox == 1 {
                    woken.push(*other);
                }
            }
        }
        for other in woken {
            let delay = engine.step_delay();
            engine.after(delay, self.address(), Timer::Deliver { number: other });
        }
    }

    /// A connection's task takes its mail to its client.
    pub(super) fn deliver(&mut self, engine: &mut Engine, number: u64) {
        let now = self.now(engine);
        if self.registry.get_mut(number).is_none() {
            return;
        }
        if self.shut_by(engine, number, now).is_some() {
            return self.end(engine, number);
        }
        let session = self.registry.get_mut(number).expect("it was there");
        for _ in 0..std::mem::take(&mut session.mailbox) {
            let (principal, direction) = (session.principal.clone(), Direction::Out);
            engine.tell(Fact::Passed { broker: self.seat, number, principal, direction });
        }
    }

    /// The connections that were shut close.
    pub(super) fn close_shut(&mut self, engine: &mut Engine) {
        for number in self.registry.shut_ones() {
            self.end(engine, number);
        }
    }

    /// The connection is gone, and its client knows.
    fn end(&mut self, engine: &mut Engine, number: u64) {
        let Some(session) = self.registry.remove(number) else { return };
        if session.admitted && session.shut != Some(Shut::Left) {
            self.tell(engine, session.device, session.attempt, Told::Closed);
        }
    }

    /// The client has gone.
    pub(super) fn left(&mut self, engine: &mut Engine, attempt: u64) {
        self.abandon(attempt);
        if let Some(number) = self.registry.of_attempt(attempt) {
            if let Some(session) = self.registry.get_mut(number) {
                session.shut = Some(Shut::Left);
            }
            self.end(engine, number);
        }
    }

    /// Gives the client id to a connection: the one that had it is gated.
    pub(super) fn claim(&mut self, engine: &mut Engine, number: u64) {
        let Some(device) = self.registry.get_mut(number).map(|session| session.device) else { return };
        let others = self.registry.sessions.iter_mut();
        let others = others
            .filter(|(other, session)| **other != number && session.device == device && session.admitted);
        let ended = others.map(|(_, session)| u64::from(session.shut(Shut::TakenOver))).sum::<u64>();
        if ended > 0 {
            engine.totals.cut += ended;
            self.close_shut(engine);
        }
    }
}
