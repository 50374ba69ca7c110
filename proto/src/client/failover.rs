//! One preferred replica, and the next one when it does not answer.
use std::error::Error as _;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};
use tonic::transport::Channel;
use tonic::{Code, ConnectError, Status};

use super::{Options, Tls, endpoint};
use crate::Error;

/// Between two rounds over all replicas: an election takes a few of these.
const ROUND_PAUSE_MIN: Duration = Duration::from_millis(50);
const ROUND_PAUSE_MAX: Duration = Duration::from_millis(500);

/// Lazy channels to the replicas of one cluster, cheap to clone. Clones share which replica is preferred.
///
/// Unary calls go through [`ControlChannel::call`]. For a stream take [`ControlChannel::current`], and when it
/// breaks tell [`ControlChannel::failed`] before you take the next.
#[derive(Clone)]
pub struct ControlChannel {
    replicas: Arc<[Replica]>,
    preferred: Arc<AtomicUsize>,
}

#[derive(Clone)]
struct Replica {
    address: String,
    channel: Channel,
}

/// How hard [`ControlChannel::call`] tries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Persistence {
    /// The request may run twice without harm: it is sent again also when it is unknown whether it ran.
    pub repeatable: bool,
    /// Rounds over all replicas start until this has passed. Zero: one round.
    pub patience: Duration,
    /// For one replica's answer; then `DEADLINE_EXCEEDED`, or the next replica where the request is repeatable.
    /// Zero: without limit.
    pub answer_timeout: Duration,
}

impl Persistence {
    /// For reads: repeated at will, one round.
    pub const READ: Persistence =
        Persistence { repeatable: true, patience: Duration::ZERO, answer_timeout: Duration::ZERO };
    /// For changes: the next replica only when this one surely did nothing; one round.
    pub const CHANGE: Persistence = Persistence { repeatable: false, ..Persistence::READ };

    /// The same with rounds until `patience` has passed.
    #[must_use]
    pub fn with_patience(self, patience: Duration) -> Persistence {
        Persistence { patience, ..self }
    }

    /// The same with a time limit for each replica's answer.
    #[must_use]
    pub fn with_answer_timeout(self, answer_timeout: Duration) -> Persistence {
        Persistence { answer_timeout, ..self }
    }

    fn moves_on(self, status: &Status) -> bool {
        is_unsent(status) || (self.repeatable && is_transient(status))
    }

    async fn limit<T>(self, answer: impl Future<Output = Result<T, Status>>) -> Result<T, Status> {
        if self.answer_timeout.is_zero() {
            return answer.await;
        }
        timeout(self.answer_timeout, answer).await.unwrap_or_else(|_| {
            Err(Status::deadline_exceeded(format!("no answer within {:?}", self.answer_timeout)))
        })
    }
}

/// Did this request surely have no effect? True when no connection was made, and when a replica itself says
/// that it is unavailable.
#[must_use]
pub fn is_unsent(status: &Status) -> bool {
    status.code() == Code::Unavailable && (status.source().is_none() || has_connect_error(status))
}

/// A status with a source was made on this side, out of a broken connection.
fn is_transient(status: &Status) -> bool {
    matches!(status.code(), Code::Unavailable | Code::DeadlineExceeded) || status.source().is_some()
}

fn has_connect_error(status: &Status) -> bool {
    let mut source = status.source();
    while let Some(error) = source {
        if error.is::<ConnectError>() {
            return true;
        }
        source = error.source();
    }
    false
}

impl ControlChannel {
    /// Connects to nothing yet. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// [`Error::NoEndpoint`], and those of [`endpoint`].
    pub fn new<A: AsRef<str>>(addresses: &[A], tls: &Tls, options: Options) -> Result<ControlChannel, Error> {
        let replicas = addresses
            .iter()
            .map(|address| {
                let address = address.as_ref();
                let channel = endpoint(address, tls, options)?.connect_lazy();
                Ok(Replica { address: address.to_owned(), channel })
            })
            .collect::<Result<Arc<[Replica]>, Error>>()?;
        if replicas.is_empty() {
            return Err(Error::NoEndpoint);
        }
        Ok(ControlChannel { replicas, preferred: Arc::default() })
    }

    /// Tries the replicas in an order of the client's own: any number, such as a node's. Clients with successive
    /// numbers spread over the replicas, and those that lose one spread over all others, not over the next one alone.
    #[must_use]
    pub fn in_order_of(self, seed: u64) -> ControlChannel {
        let order = permutation(self.replicas.len(), seed);
        let replicas = order.into_iter().map(|index| self.replicas[index].clone()).collect();
        ControlChannel { replicas, preferred: Arc::default() }
    }

    /// The addresses, in the order in which they are tried.
    pub fn addresses(&self) -> impl Iterator<Item = &str> {
        self.replicas.iter().map(|r| r.address.as_str())
    }

    /// The preferred replica: its address and channel.
    #[must_use]
    pub fn current(&self) -> (&str, Channel) {
        let replica = &self.replicas[self.preferred.load(Ordering::Relaxed)];
        (&replica.address, replica.channel.clone())
    }

    /// The next replica becomes the preferred one, unless another caller has moved on already.
    pub fn failed(&self, address: &str) {
        let Some(index) = self.replicas.iter().position(|r| r.address == address) else { return };
        let next = (index + 1) % self.replicas.len();
        // Losing the exchange means that somebody else moved on: just as well.
        let _ = self.preferred.compare_exchange(index, next, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Makes a call at the preferred replica, and at the next ones while they do not answer.
    ///
    /// # Errors
    /// The status of the replica that answered; `UNAVAILABLE` naming each address when none did; `UNKNOWN` when the
    /// connection broke after a request had left that is not sent again.
    pub async fn call<T, F, R>(&self, persistence: Persistence, mut request: F) -> Result<T, Status>
    where
        F: FnMut(Channel) -> R,
        R: Future<Output = Result<T, Status>>,
    {
        let deadline = Instant::now() + persistence.patience;
        let mut pause = ROUND_PAUSE_MIN;
        loop {
            let mut failures = Vec::with_capacity(self.replicas.len());
            for _ in 0..self.replicas.len() {
                let (address, channel) = self.current();
                match persistence.limit(request(channel)).await {
                    Err(status) if persistence.moves_on(&status) => {
                        self.failed(address);
                        failures.push((address, status));
                    }
                    Err(status) if status.source().is_some() => {
                        self.failed(address);
                        return Err(unknown(address, &status));
                    }
                    answer => return answer,
                }
            }
            if Instant::now() + pause >= deadline {
                return Err(unanswered(&failures));
            }
            sleep(pause).await;
            pause = (pause * 2).min(ROUND_PAUSE_MAX);
        }
    }
}

/// The connection broke under the request. The code that the transport gives says how and not what it means: a peer
/// that stopped answering is `UNAVAILABLE` there, which a replica says when it has done nothing.
fn unknown(address: &str, status: &Status) -> Status {
    let reason = reason(status);
    Status::unknown(format!("{address}: {reason}; the change may have happened: read before you try again"))
}

/// One status for all, with each replica's own words. Whatever they failed with, nothing was changed: a request
/// that may have changed something is not sent again, and its status is returned as it is.
fn unanswered(failures: &[(&str, Status)]) -> Status {
    let each: Vec<String> =
        failures.iter().map(|(address, status)| format!("{address}: {}", reason(status))).collect();
    let each = each.join("; ");
    Status::unavailable(if failures.len() == 1 { each } else { format!("no replica answered: {each}") })
}

/// The innermost cause: "Connection refused" says more than "transport error".
fn reason(status: &Status) -> String {
    let mut text = status.message().to_owned();
    let mut source = status.source();
    while let Some(error) = source {
        text = error.to_string();
        source = error.source();
    }
    text
}

/// The permutation of `0..count` with this number (modulo `count!`) in the factorial number system: over any `count!`
/// successive numbers, each comes once.
fn permutation(count: usize, number: u64) -> Vec<usize> {
    let mut left: Vec<usize> = (0..count).collect();
    let mut number = number;
    let mut order = Vec::with_capacity(count);
    while !left.is_empty() {
        let choices = left.len() as u64;
        let choice = usize::try_from(number % choices).expect("below the number of replicas");
        number /= choices;
        order.push(left.remove(choice));
    }
    order
}

impl std::fmt::Debug for ControlChannel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.addresses()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_replicas_clients_spread_over_all_others() {
        for count in [1, 3, 5] {
            let orders: Vec<_> = (1_000..1_600).map(|node| permutation(count, node)).collect();
            for first in 0..count {
                let here: Vec<_> = orders.iter().filter(|order| order[0] == first).collect();
                assert_eq!(here.len(), 600 / count, "{count} replicas: at {first}");
                for second in (0..count).filter(|second| *second != first) {
                    let next = here.iter().filter(|order| order[1] == second).count();
                    assert_eq!(next, here.len() / (count - 1), "{count} replicas: from {first} to {second}");
                }
            }
            for order in &orders {
                let mut sorted = order.clone();
                sorted.sort_unstable();
                assert_eq!(sorted, (0..count).collect::<Vec<_>>(), "each replica once");
            }
        }
        assert_eq!(permutation(3, u64::MAX).len(), 3);
    }
}
