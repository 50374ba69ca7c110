//! Certificates that no authority vouches for: are they registered as they are? Asked on first use, and cached.

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
    cache: Cached,
}

/// What was found, until when (boot clock).
struct Cached {
    answers: Cache<(Found, u64)>,
    /// Counted up when an event voids what is known of a certificate with that first byte. An answer that was asked
    /// for before is not kept.
    voids: [AtomicU64; 256],
}

impl LookUps {
    pub(crate) fn new(channel: ControlChannel, limits: &Limits) -> LookUps {
        LookUps {
            channel,
            under_way: Semaphore::new(limits.lookups_max.min(Semaphore::MAX_PERMITS)),
            cache: Cached::new(limits.lookups_cached_max),
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
        let Ok(_permit) = self.under_way.try_acquire() else {
            metrics.limits.lookups.inc();
            return Err(NoAnswer::Busy);
        };
        let asked = self.cache.voids(&fingerprint);
        let answer = tokio::time::timeout(TIMEOUT, self.ask(fingerprint)).await;
        let found = answer.map_err(|_| NoAnswer::Unavailable)??;
        self.cache.keep(fingerprint, &found, now, asked);
        Ok(found)
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

    /// An event named this certificate.
    pub(crate) fn void(&self, fingerprint: &Fingerprint) {
        self.cache.void(fingerprint);
    }

    /// Answers that are kept.
    pub(crate) fn cached(&self) -> usize {
        self.cache.answers.len()
    }

    /// A snapshot replaced the view.
    pub(crate) fn void_all(&self) {
        self.cache.void_all();
    }
}

impl Cached {
    fn new(entries_max: usize) -> Cached {
        Cached { answers: Cache::new(entries_max), voids: std::array::from_fn(|_| AtomicU64::new(0)) }
    }

    fn find(&self, fingerprint: &Fingerprint, now: u64) -> Option<Found> {
        self.answers.find(fingerprint).filter(|(_, until)| now < *until).map(|(found, _)| found)
    }

    fn voids(&self, fingerprint: &Fingerprint) -> u64 {
        self.voids[usize::from(fingerprint.0[0])].load(Ordering::SeqCst)
    }

    fn keep(&self, fingerprint: Fingerprint, found: &Found, now: u64, asked: u64) {
        let kept = if *found == Found::Unknown { KEPT_UNKNOWN_MS } else { KEPT_MS };
        self.answers.keep(fingerprint, (found.clone(), now.saturating_add(kept)));
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
            Some(Found::Registered(Principal { tenant, device: Some(device), credential }))
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
        cached.keep(ONE, &Found::Unknown, 0, 0);
        assert_eq!(cached.find(&ONE, KEPT_UNKNOWN_MS - 1), Some(Found::Unknown));
        assert_eq!(cached.find(&ONE, KEPT_UNKNOWN_MS), None);
        cached.keep(ONE, &Found::Denied(State::Revoked), 0, 0);
        assert_eq!(cached.find(&ONE, KEPT_MS - 1), Some(Found::Denied(State::Revoked)));
    }

    #[test]
    fn an_event_voids_what_is_kept_and_what_is_under_way() {
        let cached = Cached::new(100);
        cached.keep(ONE, &Found::Unknown, 0, cached.voids(&ONE));
        cached.void(&ONE);
        assert_eq!(cached.find(&ONE, 1), None);
        let asked = cached.voids(&ONE);
        cached.void(&ONE);
        cached.keep(ONE, &Found::Unknown, 0, asked);
        assert_eq!(cached.find(&ONE, 1), None);
        let asked = cached.voids(&ONE);
        cached.void_all();
        cached.keep(ONE, &Found::Unknown, 0, asked);
        assert_eq!(cached.find(&ONE, 1), None);
    }
}
