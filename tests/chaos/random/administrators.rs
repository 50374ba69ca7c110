//! Administrators: they change states through any replica, wait for fences, and read.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use futures_util::future::join_all;
use rand::RngExt as _;
use rand::rngs::SmallRng;
use revoq_proto::client::is_unsent;
use revoq_proto::v1;
use revoq_proto::v1::certificates_client::CertificatesClient;
use revoq_proto::v1::credentials_client::CredentialsClient;
use revoq_tests::access::TENANT;
use revoq_tests::history::{Action, Brokers, Change, Outcome, State};
use tokio::time::timeout;
use tonic::transport::Channel;
use tonic::{Code, Status};

use super::devices::connect;
use super::scene::{BROKERS, Credential, REPLICAS, Scene};

/// An administrator does not wait longer for one answer.
const ANSWERS_WITHIN: Duration = Duration::from_secs(4);
/// Nor for a fence: beyond lease and grace, and an election.
const FENCED_WITHIN: Duration = Duration::from_secs(10);
/// Between two operations, milliseconds.
const THINKS: std::ops::Range<u64> = 5..80;
/// After an answer that nobody leads, milliseconds.
const RETRIES: std::ops::Range<u64> = 20..200;

/// Somebody who works with the control plane: one operation after the other.
pub(super) struct Administrator {
    pub(super) scene: Arc<Scene>,
    pub(super) process: u32,
    pub(super) random: SmallRng,
    /// To each replica.
    channels: Vec<Channel>,
}

impl Administrator {
    pub(super) fn new(scene: &Arc<Scene>, process: u32, random: SmallRng) -> Result<Administrator> {
        let channels = (0..REPLICAS).map(|n| scene.fleet.channel(n)).collect::<Result<_>>()?;
        Ok(Administrator { scene: Arc::clone(scene), process, random, channels })
    }

    fn channel(&mut self) -> Channel {
        self.channels[self.random.random_range(0..REPLICAS)].clone()
    }

    /// Changes, until the workload ends.
    pub(super) async fn change_states(mut self) {
        while self.scene.goes_on() {
            let credential = self.scene.pick(&mut self.random);
            let change = choose(&credential, &mut self.random);
            let outcome = self.change(&credential, change).await;
            self.go_on(&credential, outcome).await;
        }
    }

    /// Changes of what has sessions, and waits for each fence, until the workload ends.
    pub(super) async fn fence_off(mut self) {
        while self.scene.goes_on() {
            let credential = self.scene.pick_like(&mut self.random, Credential::is_connected);
            let change = choose(&credential, &mut self.random);
            let outcome = self.change(&credential, change).await;
            if let Outcome::Done { revision } = outcome {
                let fenced = self.fence(&credential, revision).await;
                if fenced && change != Change::Reactivate {
                    self.probe(&credential).await;
                }
            }
            self.go_on(&credential, outcome).await;
        }
    }

    /// Tries whether the fence was right: its sessions, and new ones at every broker.
    async fn probe(&self, credential: &Credential) {
        credential.fenced.notify_waiters();
        join_all((0..BROKERS).map(|broker| connect(&self.scene, self.process, credential, broker))).await;
    }

    /// Reads, until the workload ends.
    pub(super) async fn read_states(mut self) {
        while self.scene.goes_on() {
            let credential = self.scene.pick(&mut self.random);
            let outcome = self.read(&credential).await;
            self.go_on(&credential, outcome).await;
        }
    }

    async fn go_on(&mut self, credential: &Arc<Credential>, outcome: Outcome) {
        let state = match outcome {
            Outcome::Refused { state } | Outcome::Seen { state, .. } => Some(state),
            _ => None,
        };
        if let Some(state) = state {
            *credential.seen.lock() = state;
        }
        if matches!(*credential.seen.lock(), State::Revoked | State::Gone) {
            let replica = self.random.random_range(0..REPLICAS);
            self.scene.replace(credential, replica).await;
        }
        let pause = if outcome == Outcome::NotDone { RETRIES } else { THINKS };
        self.scene.pause(Duration::from_millis(self.random.random_range(pause))).await;
    }

    async fn change(&mut self, credential: &Credential, change: Change) -> Outcome {
        let mut client = CredentialsClient::new(self.channel());
        let number = self.scene.recorder.ask(self.process, credential.number, Action::Change(change));
        let request = v1::TransitionRequest {
            transition: transition(change).into(),
            selector: Some(selector(credential)),
            comment: comment(number),
            ..Default::default()
        };
        let outcome = match timeout(ANSWERS_WITHIN, client.transition(request)).await {
            Ok(Ok(answer)) => Outcome::Done { revision: answer.into_inner().revision },
            Ok(Err(status)) => refusal(&status),
            Err(_) => Outcome::Unknown,
        };
        self.scene.recorder.answer(number, outcome);
        if matches!(outcome, Outcome::Done { .. }) {
            *credential.seen.lock() = after(change);
        }
        outcome
    }

    /// Whether it is complete.
    async fn fence(&mut self, credential: &Credential, revision: u64) -> bool {
        let client = CredentialsClient::new(self.channel());
        let number = self.scene.recorder.ask(self.process, credential.number, Action::Fence { revision });
        let outcome = timeout(FENCED_WITHIN, follow(client, revision)).await.ok().flatten();
        self.scene.recorder.answer(number, outcome.unwrap_or(Outcome::Unknown));
        outcome.is_some()
    }

    async fn read(&mut self, credential: &Credential) -> Outcome {
        let client = CertificatesClient::new(self.channel());
        let number = self.scene.recorder.ask(self.process, credential.number, Action::Read);
        let by_list = self.random.random_bool(0.6);
        let read =
            async { if by_list { list(client, credential).await } else { show(client, credential).await } };
        let outcome = match timeout(ANSWERS_WITHIN, read).await {
            Ok(Ok(seen)) => seen,
            Ok(Err(_)) => Outcome::NotDone,
            Err(_) => Outcome::Unknown,
        };
        self.scene.recorder.answer(number, outcome);
        outcome
    }
}

/// Mostly one that the state allows; rarely one that is for ever.
pub(super) fn choose(credential: &Credential, random: &mut SmallRng) -> Change {
    let fits = match *credential.seen.lock() {
        State::Suspended => Change::Reactivate,
        _ => Change::Suspend,
    };
    match random.random_range(0..200) {
        0 => Change::Revoke,
        1 => Change::Delete,
        2..20 if fits == Change::Suspend => Change::Reactivate,
        2..20 => Change::Suspend,
        _ => fits,
    }
}

/// How the audit log names an operation.
pub(super) fn comment(number: usize) -> String {
    format!("operation {number}")
}

pub(super) fn after(change: Change) -> State {
    match change {
        Change::Suspend => State::Suspended,
        Change::Reactivate => State::Active,
        Change::Revoke => State::Revoked,
        Change::Delete => State::Gone,
    }
}

fn transition(change: Change) -> v1::Transition {
    match change {
        Change::Suspend => v1::Transition::Suspend,
        Change::Reactivate => v1::Transition::Reactivate,
        Change::Revoke => v1::Transition::Revoke,
        Change::Delete => v1::Transition::Delete,
    }
}

fn selector(credential: &Credential) -> v1::Selector {
    let id = credential.device.certificate.id.clone();
    v1::Selector { selector: Some(v1::selector::Selector::CertificateId(id)) }
}

/// What a change came to that was not made.
fn refusal(status: &Status) -> Outcome {
    match status.code() {
        Code::FailedPrecondition => {
            refused_as(status.message()).map_or(Outcome::Unknown, |state| Outcome::Refused { state })
        }
        _ if is_unsent(status) => Outcome::NotDone,
        _ => Outcome::Unknown,
    }
}

/// The state that a refusal tells: "certificate … is suspended and cannot become suspended".
pub(super) fn refused_as(text: &str) -> Option<State> {
    let (before, _) = text.split_once(" and cannot become ")?;
    named(before.rsplit(' ').next()?)
}

/// A state by the name that people read.
pub(super) fn named(text: &str) -> Option<State> {
    Some(match text {
        "inactive" => State::Inactive,
        "active" => State::Active,
        "suspended" => State::Suspended,
        "revoked" => State::Revoked,
        "deleted" => State::Gone,
        _ => return None,
    })
}

/// A fence to its end; `None` where it is cut off.
async fn follow(mut client: CredentialsClient<Channel>, revision: u64) -> Option<Outcome> {
    let mut updates = client.fence(v1::FenceRequest { revision }).await.ok()?.into_inner();
    while let Some(update) = updates.message().await.ok()? {
        if update.complete {
            return Some(complete(update.nodes.iter().map(|node| (&*node.name, node.state()))));
        }
    }
    None
}

fn complete<'a>(nodes: impl Iterator<Item = (&'a str, v1::FenceState)>) -> Outcome {
    let (mut fenced, mut unconfirmed) = (Brokers::default(), Brokers::default());
    for (name, state) in nodes {
        let Some(broker) = broker(name) else { continue };
        match state {
            v1::FenceState::Confirmed => {}
            v1::FenceState::Fenced => fenced = fenced.and(broker),
            _ => unconfirmed = unconfirmed.and(broker),
        }
    }
    Outcome::Complete { fenced, unconfirmed }
}

/// A broker by its name, `broker-1`.
pub(super) fn broker(name: &str) -> Option<Brokers> {
    let number: u16 = name.strip_prefix("broker-")?.parse().ok()?;
    Some(Brokers::one(number.checked_sub(1)?))
}

/// Reads the state and the revision at which it is read. What is deleted is in no list.
async fn list(mut client: CertificatesClient<Channel>, credential: &Credential) -> Result<Outcome, Status> {
    let request = v1::ListCertificatesRequest {
        tenant: TENANT.into(),
        device: credential.device.name.clone(),
        ..Default::default()
    };
    let answer = client.list(request).await?.into_inner();
    let at = answer.revision;
    Ok(match answer.certificates.first() {
        Some(certificate) => Outcome::Seen { state: state(certificate), changed: certificate.revision, at },
        None => Outcome::Seen { state: State::Gone, changed: 0, at },
    })
}

async fn show(mut client: CertificatesClient<Channel>, credential: &Credential) -> Result<Outcome, Status> {
    let certificate = client.show(selector(credential)).await?.into_inner();
    Ok(Outcome::Seen { state: state(&certificate), changed: certificate.revision, at: 0 })
}

fn state(certificate: &v1::Certificate) -> State {
    match certificate.state() {
        v1::State::Active => State::Active,
        v1::State::Suspended => State::Suspended,
        v1::State::Revoked => State::Revoked,
        v1::State::Deleted => State::Gone,
        v1::State::Inactive | v1::State::Unspecified => State::Inactive,
    }
}
