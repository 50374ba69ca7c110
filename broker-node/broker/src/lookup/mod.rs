//! Certificates that no authority vouches for: are they registered as they are? And the passwords of usernames. Asked on
//! first use, and cached.

mod passwords;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use revoq_credentials::{
    AuthorityName, Credential, DeviceName, Fingerprint, Millis, Principal, State, TenantName,
};
use revoq_proto::client::{ControlChannel, Persistence};
use revoq_proto::v1;
use tokio::sync::Semaphore;

use crate::cache::Cache;
use crate::config::Limits;
use crate::metrics::Metrics;
pub(crate) use passwords::{FoundPassword, KnownPassword};

/// How long an answer is kept, milliseconds. Events void it earlier; the time only bounds what no event names.
const KEPT_MS: u64 = 300_000;
/// The same for "not registered".
const KEPT_UNKNOWN_MS: u64 = 5_000;
/// A look-up is given up after this.
const TIMEOUT: std::time::Duration = std::time::Duration::from_secs(5);

/// The control plane's word on a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// Registered; the view may still deny it.
    Registered(Principal),
    /// Registered, and suspended, revoked or deleted.
    Denied(State),
    /// Not registered.
    Unknown,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoAnswer {
    /// Too many look-ups are under way.
    Busy,
    /// The control plane cannot be reached.
    Unavailable,
}

/// Cached look-ups.
pub(crate) struct LookUps {
    channel: ControlChannel,
    under_way: Semaphore,
    cache: Cached<Found>,
    /// By the key that a username is looked up by.
    passwords: Cached<Arc<FoundPassword>>,
}

/// What was found, until when (boot clock).
struct Cached<T> {
    answers: Cache<(T, u64)>,
    /// Counted up when an event voids what is known of a fingerprint with that first byte. An answer that was asked
    /// for before is not kept.
    voids: [AtomicU64; 256],
}

impl LookUps {
    pub(crate) fn new(channel: ControlChannel, limits: &Limits) -> LookUps {
        LookUps {
            channel,
            under_way: Semaphore::new(limits.lookups_max.min(Semaphore::MAX_PERMITS)),
            cache: Cached::new(limits.lookups_cached_max),
            passwords: Cached::new(limits.lookups_cached_max),
        }
    }

    /// Who owns this certificate. `now` is of the boot clock.
    pub(crate) async fn find(
        &self,
        fingerprint: Fingerprint,
        now: u64,
        metrics: &Metrics,
    ) -> Result<Found, NoAnswer> {
        if let Some(found) = self.cache.find(&fingerprint, now) {
            return Ok(found);
        }
        let asked = self.cache.voids(&fingerprint);
        let found = self.limited(self.ask(fingerprint), metrics).await?;
        let kept = if found == Found::Unknown { KEPT_UNKNOWN_MS } else { KEPT_MS };
        self.cache.keep(fingerprint, found.clone(), now.saturating_add(kept), asked);
        Ok(found)
    }

    /// One of so many that are under way.
    async fn limited<T>(
        &self,
        ask: impl Future<Output = Result<T, NoAnswer>>,
        metrics: &Metrics,
    ) -> Result<T, NoAnswer> {
        let Ok(_permit) = self.under_way.try_acquire() else {
            metrics.limits.lookups.inc();
            return Err(NoAnswer::Busy);
        };
        tokio::time::timeout(TIMEOUT, ask).await.map_err(|_| NoAnswer::Unavailable)?
    }

    async fn ask(&self, fingerprint: Fingerprint) -> Result<Found, NoAnswer> {
        let request = v1::LookUpRequest { fingerprint: fingerprint.0.to_vec().into() };
        let response = self
            .channel
            .call(Persistence::READ, |channel| {
                let mut client = v1::node_client::NodeClient::new(channel);
                let request = request.clone();
                async move { client.look_up(request).await }
            })
            .await;
        let response = response.map_err(|status| {
            tracing::debug!(%fingerprint, %status, "look-up failed");
            NoAnswer::Unavailable
        })?;
        read(fingerprint, response.into_inner()).ok_or_else(|| {
            tracing::warn!(%fingerprint, "the answer to a look-up cannot be read");
            NoAnswer::Unavailable
        })
    }

    /// An event named this certificate, or this username.
    pub(crate) fn void(&self, fingerprint: &Fingerprint) {
        self.cache.void(fingerprint);
        self.passwords.void(fingerprint);
    }

    /// Answers that are kept.
    pub(crate) fn cached(&self) -> usize {
        self.cache.answers.len() + self.passwords.answers.len()
    }

    /// A snapshot replaced the view.
    pub(crate) fn void_all(&self) {
        self.cache.void_all();
        self.passwords.void_all();
    }
}

impl<T: Clone> Cached<T> {
    fn new(entries_max: usize) -> Cached<T> {
        Cached { answers: Cache::new(entries_max), voids: std::array::from_fn(|_| AtomicU64::new(0)) }
    }

    fn find(&self, fingerprint: &Fingerprint, now: u64) -> Option<T> {
        self.answers.find(fingerprint).filter(|(_, until)| now < *until).map(|(found, _)| found)
    }

    fn voids(&self, fingerprint: &Fingerprint) -> u64 {
        self.voids[usize::from(fingerprint.0[0])].load(Ordering::SeqCst)
    }

    /// `asked` is what `voids` was when the question was asked.
    fn keep(&self, fingerprint: Fingerprint, found: T, until: u64, asked: u64) {
        self.answers.keep(fingerprint, (found, until));
        // Looked at after keeping: of this and `void`, the later one sees the other.
        if self.voids(&fingerprint) != asked {
            self.answers.remove(&fingerprint);
        }
    }

    fn void(&self, fingerprint: &Fingerprint) {
        self.voids[usize::from(fingerprint.0[0])].fetch_add(1, Ordering::SeqCst);
        self.answers.remove(fingerprint);
    }

    fn void_all(&self) {
        for count in &self.voids {
            count.fetch_add(1, Ordering::SeqCst);
        }
        self.answers.clear();
    }
}

/// `None`: the answer makes no sense.
fn read(fingerprint: Fingerprint, response: v1::LookUpResponse) -> Option<Found> {
    let effective = response.effective();
    let Some(certificate) = response.certificate else { return Some(Found::Unknown) };
    match effective {
        v1::State::Unspecified => None,
        v1::State::Suspended => Some(Found::Denied(State::Suspended)),
        v1::State::Revoked => Some(Found::Denied(State::Revoked)),
        v1::State::Deleted => Some(Found::Denied(State::Deleted)),
        v1::State::Inactive | v1::State::Active => {
            let tenant: TenantName = certificate.tenant.parse().ok()?;
            let device: DeviceName = certificate.device.parse().ok()?;
            let authority = match certificate.authority.as_str() {
                "" => None,
                name => Some(name.parse::<AuthorityName>().ok()?),
            };
            let not_after = Millis(certificate.not_after_ms);
            let credential = Credential::Certificate { fingerprint, authority, not_after };
            let device = Some(device);
            Some(Found::Registered(Principal { tenant, device, credential, password: None }))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Fingerprint = Fingerprint([1; 32]);

    fn response(state: v1::State) -> v1::LookUpResponse {
        let certificate = v1::Certificate {
            tenant: "t".into(),
            device: "d".into(),
            not_after_ms: 9,
            ..v1::Certificate::default()
        };
        v1::LookUpResponse { certificate: Some(certificate), effective: state.into(), revision: 7 }
    }

    #[test]
    fn answers_are_read() {
        let Some(Found::Registered(principal)) = read(ONE, response(v1::State::Inactive)) else {
            panic!("an inactive certificate authenticates");
        };
        assert_eq!(principal.tenant.as_ref(), "t");
        assert_eq!(
            principal.credential,
            Credential::Certificate { fingerprint: ONE, authority: None, not_after: Millis(9) }
        );
        assert_eq!(read(ONE, response(v1::State::Suspended)), Some(Found::Denied(State::Suspended)));
        assert_eq!(read(ONE, v1::LookUpResponse::default()), Some(Found::Unknown));
        assert_eq!(read(ONE, response(v1::State::Unspecified)), None);
    }

    #[test]
    fn answers_are_kept_for_their_time() {
        let cached = Cached::new(100);
        cached.keep(ONE, Found::Unknown, 7, 0);
        assert_eq!(cached.find(&ONE, 6), Some(Found::Unknown));
        assert_eq!(cached.find(&ONE, 7), None);
        cached.keep(ONE, Found::Denied(State::Revoked), 9, 0);
        assert_eq!(cached.find(&ONE, 8), Some(Found::Denied(State::Revoked)));
    }

    #[test]
    fn an_event_voids_what_is_kept_and_what_is_under_way() {
        let cached = Cached::new(100);
        cached.keep(ONE, Found::Unknown, 9, cached.voids(&ONE));
        cached.void(&ONE);
        assert_eq!(cached.find(&ONE, 1), None);
        let asked = cached.voids(&ONE);
        cached.void(&ONE);
        cached.keep(ONE, Found::Unknown, 9, asked);
        assert_eq!(cached.find(&ONE, 1), None);
        let asked = cached.voids(&ONE);
        cached.void_all();
        cached.keep(ONE, Found::Unknown, 9, asked);
        assert_eq!(cached.find(&ONE, 1), None);
    }
}
