//! Driver: whether this replica can serve, for `/readyz` and gRPC health.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use revoq_credentials::query;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use crate::plane::Plane;

const CHECK_EVERY: Duration = Duration::from_millis(250);

/// Ready: founded or joined, caught up, and a leader is known.
pub(crate) struct Health {
    plane: Arc<Plane>,
    draining: AtomicBool,
}

impl Health {
    pub(crate) fn new(plane: Arc<Plane>) -> Arc<Health> {
        Arc::new(Health { plane, draining: AtomicBool::new(false) })
    }

    /// From now on not ready: this replica is going away.
    pub(crate) fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Why this replica is not ready; `None` when it is.
    pub(crate) fn unready(&self) -> Option<Cow<'static, str>> {
        if let Some(fault) = self.plane.group.fault() {
            return Some(Cow::Owned(fault.to_string()));
        }
        self.not_yet().map(Cow::Borrowed)
    }

    fn not_yet(&self) -> Option<&'static str> {
        if self.draining.load(Ordering::Relaxed) {
            return Some("shutting down");
        }
        let Ok(reader) = self.plane.stale_read() else { return Some("the state cannot be read") };
        match query::cluster(&reader) {
            Ok(Some(_)) => {}
            Ok(None) => return Some("this replica has not caught up with the cluster yet"),
            Err(_) => return Some("the state cannot be read"),
        }
        let leader = self.plane.group.leadership().borrow().leader;
        leader.is_none().then_some("no leader is known")
    }

    /// Tells the gRPC health service, until `shutdown`.
    pub(crate) async fn report(self: Arc<Self>, reporter: HealthReporter, shutdown: CancellationToken) {
        let mut ticks = interval(CHECK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut told = None;
        loop {
            let ready = self.unready().is_none();
            if told != Some(ready) {
                let status = if ready { ServingStatus::Serving } else { ServingStatus::NotServing };
                reporter.set_service_status("", status).await;
                told = Some(ready);
            }
            tokio::select! {
                () = shutdown.cancelled() => return,
                _ = ticks.tick() => {}
            }
        }
    }
}
