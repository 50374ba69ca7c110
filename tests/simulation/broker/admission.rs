//! From the handshake to the verdict, step by step: who it is, then register, then decide, then claim the client id.
//! Stands for `admission.rs`, `connection/handshake.rs` and `tls/verifier.rs`.

use revoq_credentials::{Credential, Fingerprint, Millis, Principal, TenantName, Verdict};
use revoq_lease::Now;

use super::Broker;
use super::registry::judge;
use crate::clock::{SECOND, Time};
use crate::engine::Engine;
use crate::fault::Fault;
use crate::oracle::Fact;
use crate::packet::{Address, Found, Packet, Request, Timer, Told};

/// A look-up is given up after this.
const LOOKUP_TIMEOUT: Time = 5 * SECOND;

/// What the transport proved about a client.
#[derive(Clone, Debug)]
pub(crate) enum Evidence {
    Anonymous,
    /// An authority of ours vouches for it.
    Vouched(Principal),
    /// Nobody vouches for it: it may be registered as it is.
    Leaf {
        fingerprint: Fingerprint,
        not_after: Millis,
    },
}

/// A client that wants to be let in.
#[derive(Clone, Debug)]
pub(crate) struct Arrival {
    pub(crate) device: usize,
    pub(crate) attempt: u64,
    pub(crate) evidence: Evidence,
    /// The handshake was resumed: it asked nobody.
    pub(crate) resumed: bool,
}

/// A client on its way in.
#[derive(Debug)]
pub(super) struct Attempt {
    arrival: Arrival,
    stage: Stage,
    /// The clock as it was read before the registration.
    now: Option<Now>,
    /// Replicas that were asked about it.
    asked: u8,
    /// The state of the look-ups when it was asked.
    voids: u64,
}

/// What is to be done next.
#[derive(Clone, Debug)]
enum Stage {
    Handshake,
    Identify,
    /// A look-up is under way.
    LookUp,
    Register(Principal),
    /// Only where something is deliberately wrong.
    Enter(Principal),
    Decide(u64),
    Claim(u64),
}

impl Broker {
    pub(crate) fn arrive(&mut self, engine: &mut Engine, arrival: Arrival) {
        let attempt = arrival.attempt;
        let waiting = Attempt { arrival, stage: Stage::Handshake, now: None, asked: 0, voids: 0 };
        self.attempts.insert(attempt, waiting);
        engine.after(0, self.address(), Timer::Attempt { attempt });
    }

    /// The client has given up.
    pub(super) fn abandon(&mut self, attempt: u64) {
        self.attempts.remove(&attempt);
    }

    /// The next step of a client on its way in.
    pub(super) fn advance(&mut self, engine: &mut Engine, attempt: u64) {
        let Some(waiting) = self.attempts.get(&attempt) else { return };
        let now = self.now(engine);
        let next = match waiting.stage.clone() {
            Stage::Handshake => self.handshake(&waiting.arrival, now),
            Stage::Identify => self.identify(engine, attempt, now),
            Stage::LookUp => return,
            Stage::Register(principal) => self.register(engine, attempt, principal, now),
            Stage::Enter(principal) => self.enter(engine, attempt, &principal),
            Stage::Decide(number) => self.decide(engine, attempt, number),
            Stage::Claim(number) => return self.finish_attempt(engine, attempt, number),
        };
        match next {
            Some(stage) => self.go_on(engine, attempt, stage),
            None => self.refuse(engine, attempt),
        }
    }

    fn go_on(&mut self, engine: &mut Engine, attempt: u64, stage: Stage) {
        let Some(waiting) = self.attempts.get_mut(&attempt) else { return };
        waiting.stage = stage;
        let delay = engine.connection_delay();
        engine.after(delay, self.address(), Timer::Attempt { attempt });
    }

    fn refuse(&mut self, engine: &mut Engine, attempt: u64) {
        let Some(waiting) = self.attempts.remove(&attempt) else { return };
        if let Stage::Decide(number) | Stage::Claim(number) = waiting.stage {
            self.registry.remove(number);
        }
        self.tell(engine, waiting.arrival.device, attempt, Told::Refused);
    }

    /// What the verifier refuses inside the handshake; a resumed one does not ask it.
    fn handshake(&self, arrival: &Arrival, now: Now) -> Option<Stage> {
        let refused = match &arrival.evidence {
            Evidence::Vouched(principal) => judge(&self.view, principal, now.millis()).is_some(),
            Evidence::Leaf { fingerprint, .. } => self.view.denied(fingerprint).is_some(),
            Evidence::Anonymous => false,
        };
        (!refused || arrival.resumed).then_some(Stage::Identify)
    }

    fn identify(&mut self, engine: &mut Engine, attempt: u64, now: Now) -> Option<Stage> {
        if !self.serves_new(now) {
            return None;
        }
        let (fingerprint, not_after) = match self.attempts[&attempt].arrival.evidence.clone() {
            Evidence::Anonymous => {
                let tenant = TenantName::default();
                let anonymous =
                    Principal { tenant, device: None, credential: Credential::Anonymous, password: None };
                return Some(Stage::Register(anonymous));
            }
            Evidence::Vouched(principal) => return Some(Stage::Register(principal)),
            Evidence::Leaf { fingerprint, not_after } => (fingerprint, not_after),
        };
        if self.view.denied(&fingerprint).is_some() || not_after < now.millis() {
            return None;
        }
        if let Some(found) = self.lookups.find(&fingerprint, now.boot) {
            return registered(found);
        }
        let voids = self.lookups.voids(&fingerprint);
        if let Some(waiting) = self.attempts.get_mut(&attempt) {
            waiting.voids = voids;
        }
        self.ask(engine, attempt, fingerprint);
        Some(Stage::LookUp)
    }

    fn ask(&mut self, engine: &mut Engine, attempt: u64, fingerprint: Fingerprint) {
        let call = engine.name();
        self.lookups.calls.insert(call, attempt);
        let replica = Address::Replica(self.preferred);
        engine.send(self.address(), replica, Packet::Call { call, request: Request::LookUp { fingerprint } });
        engine.after(LOOKUP_TIMEOUT, self.address(), Timer::GiveUp { call });
    }

    /// Nobody listens at that replica: the next one, each once.
    pub(super) fn asked_in_vain(&mut self, engine: &mut Engine, call: u64) {
        let Some(attempt) = self.lookups.calls.remove(&call) else { return };
        let Some(waiting) = self.attempts.get_mut(&attempt) else { return };
        waiting.asked += 1;
        let Evidence::Leaf { fingerprint, .. } = waiting.arrival.evidence else { return };
        if waiting.asked >= engine.plan.replicas {
            return self.refuse(engine, attempt);
        }
        self.preferred = (self.preferred + 1) % engine.plan.replicas;
        self.ask(engine, attempt, fingerprint);
    }

    /// A look-up was answered; `None`: it was not.
    pub(super) fn found(&mut self, engine: &mut Engine, call: u64, found: Option<Found>) {
        let Some(attempt) = self.lookups.calls.remove(&call) else { return };
        let now = self.now(engine).boot;
        let Some(waiting) = self.attempts.get(&attempt) else { return };
        let Evidence::Leaf { fingerprint, .. } = waiting.arrival.evidence else { return };
        let next = found.and_then(|found| {
            self.lookups.keep(fingerprint, &found, now, waiting.voids);
            registered(found)
        });
        match next {
            Some(stage) => self.go_on(engine, attempt, stage),
            None => self.refuse(engine, attempt),
        }
    }

    fn register(
        &mut self,
        engine: &mut Engine,
        attempt: u64,
        principal: Principal,
        now: Now,
    ) -> Option<Stage> {
        let device = self.attempts[&attempt].arrival.device;
        if engine.has(Fault::DecideBeforeRegister) {
            return judge(&self.view, &principal, now.millis()).is_none().then_some(Stage::Enter(principal));
        }
        if let Some(waiting) = self.attempts.get_mut(&attempt) {
            waiting.now = Some(now);
        }
        Some(Stage::Decide(self.registry.register(device, attempt, principal)))
    }

    /// The verdict was taken before: what happened since is missed.
    fn enter(&mut self, engine: &mut Engine, attempt: u64, principal: &Principal) -> Option<Stage> {
        let now = self.now(engine);
        if !self.serves_new(now) {
            return None;
        }
        let device = self.attempts[&attempt].arrival.device;
        let number = self.registry.register(device, attempt, principal.clone());
        self.registry.get_mut(number)?.admitted = true;
        engine.tell(Fact::Admitted { broker: self.seat, number });
        Some(Stage::Claim(number))
    }

    /// Only now: an event that this view does not have yet will find the connection in the registry.
    fn decide(&mut self, engine: &mut Engine, attempt: u64, number: u64) -> Option<Stage> {
        let before = self.attempts[&attempt].now?;
        let now = if engine.has(Fault::AgeBeforeRegister) { before } else { self.now(engine) };
        if !self.serves_new(now) {
            return None;
        }
        let session = self.registry.get_mut(number)?;
        if let Verdict::Deny(_) = self.view.verdict(&session.principal, now.millis()) {
            return None;
        }
        session.admitted = true;
        if session.shut.is_some() {
            return None;
        }
        engine.tell(Fact::Admitted { broker: self.seat, number });
        Some(Stage::Claim(number))
    }

    fn finish_attempt(&mut self, engine: &mut Engine, attempt: u64, number: u64) {
        let Some(waiting) = self.attempts.remove(&attempt) else { return };
        self.claim(engine, number);
        if let Evidence::Vouched(Principal {
            credential: Credential::Certificate { fingerprint, .. }, ..
        })
        | Evidence::Leaf { fingerprint, .. } = waiting.arrival.evidence
            && self.reported.insert(fingerprint)
        {
            self.used.insert(fingerprint);
        }
        self.tell(engine, waiting.arrival.device, attempt, Told::Accepted { number });
    }
}

fn registered(found: Found) -> Option<Stage> {
    match found {
        Found::Registered(principal) => Some(Stage::Register(principal)),
        Found::Denied(_) | Found::Unknown => None,
    }
}
