//! Driver: whether this replica can serve, for `/readyz` and gRPC health.

use std::borrow::Cow;
use std::sync::Arc;

use revoq_credentials::query;
use tokio_util::sync::CancellationToken;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use crate::plane::Plane;

/// Ready: founded or joined, caught up, and a leader is known.
pub(crate) struct Health {
    plane: Arc<Plane>,
    draining: CancellationToken,
}

impl Health {
    pub(crate) fn new(plane: Arc<Plane>) -> Arc<Health> {
        Arc::new(Health { plane, draining: CancellationToken::new() })
    }

    /// From now on not ready: this replica is going away.
    pub(crate) fn drain(&self) {
        self.draining.cancel();
    }

    /// Why this replica is not ready; `None` when it is.
    pub(crate) fn unready(&self) -> Option<Cow<'static, str>> {
        if let Some(fault) = self.plane.group.fault() {
            return Some(Cow::Owned(fault.to_string()));
        }
        self.not_yet().map(Cow::Borrowed)
    }

    fn not_yet(&self) -> Option<&'static str> {
        if self.draining.is_cancelled() {
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
        let (mut leadership, mut applied) = (self.plane.group.leadership(), self.plane.group.applied());
        let mut told = None;
        loop {
            leadership.mark_unchanged();
            applied.mark_unchanged();
            let ready = self.unready().is_none();
            if told != Some(ready) {
                let status = if ready { ServingStatus::Serving } else { ServingStatus::NotServing };
                reporter.set_service_status("", status).await;
                told = Some(ready);
            }
            tokio::select! {
                changed = leadership.changed() => if changed.is_err() { break },
                // The first state arrives.
                changed = applied.changed(), if !ready => if changed.is_err() { break },
                () = self.draining.cancelled() => break,
                _ = self.plane.group.stopped() => break,
                () = shutdown.cancelled() => return,
            }
        }
        reporter.set_service_status("", ServingStatus::NotServing).await;
    }
}
