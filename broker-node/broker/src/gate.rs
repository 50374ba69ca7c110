//! The gate of a connection: once shut, it lets nothing through either way.

use std::sync::atomic::{AtomicU8, Ordering};
use std::task::Waker;

use futures_util::task::AtomicWaker;
use revoq_mqtt::ReasonCode;

/// Why a gate was shut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub(crate) enum Shut {
    /// The credential, its device, authority or tenant was suspended, revoked or deleted.
    Denied = 1,
    /// The certificate's notAfter has passed.
    Expired = 2,
    /// Client certificates became required, and this client has none.
    CertificateRequired = 3,
    /// An administrator ended the session.
    Ordered = 4,
    /// The view is older than lease and grace permit.
    Lapsed = 5,
    /// Another connection claimed the client id.
    TakenOver = 6,
    /// The client did not take what it subscribed to.
    TooSlow = 7,
    /// The node is shutting down.
    Draining = 8,
}

impl Shut {
    pub(crate) const ALL: [Shut; 8] = [
        Shut::Denied,
        Shut::Expired,
        Shut::CertificateRequired,
        Shut::Ordered,
        Shut::Lapsed,
        Shut::TakenOver,
        Shut::TooSlow,
        Shut::Draining,
    ];

    /// Its place in [`Shut::ALL`].
    pub(crate) fn index(self) -> usize {
        self as usize - 1
    }

    /// For DISCONNECT, MQTT 5.0 section 3.14.2.1.
    pub(crate) fn reason_code(self) -> ReasonCode {
        match self {
            Shut::Denied | Shut::Ordered => ReasonCode::AdministrativeAction,
            Shut::Expired | Shut::CertificateRequired => ReasonCode::NotAuthorized,
            Shut::Lapsed => ReasonCode::UseAnotherServer,
            Shut::TakenOver => ReasonCode::SessionTakenOver,
            Shut::TooSlow => ReasonCode::QuotaExceeded,
            Shut::Draining => ReasonCode::ServerShuttingDown,
        }
    }

    /// Did the credential end, so that the setting `will_on_cut` applies?
    pub(crate) fn is_cut(self) -> bool {
        matches!(self, Shut::Denied | Shut::Expired | Shut::CertificateRequired | Shut::Lapsed)
    }

    /// For logs and metrics.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Shut::Denied => "denied",
            Shut::Expired => "expired",
            Shut::CertificateRequired => "certificate_required",
            Shut::Ordered => "ordered",
            Shut::Lapsed => "lapsed",
            Shut::TakenOver => "taken_over",
            Shut::TooSlow => "too_slow",
            Shut::Draining => "draining",
        }
    }
}

/// One atomic that only ever goes from open to shut, and the waker of the connection's task.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    /// Zero: open; else a [`Shut`].
    state: AtomicU8,
    waker: AtomicWaker,
}

impl Gate {
    /// Shuts the gate; true if it was open. The task is not woken: a sweep shuts all gates before it wakes any task.
    pub(crate) fn shut(&self, why: Shut) -> bool {
        self.state.compare_exchange(0, why as u8, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }

    /// Why it is shut; `None` while it is open.
    #[inline]
    pub(crate) fn shut_by(&self) -> Option<Shut> {
        let state = self.state.load(Ordering::SeqCst);
        if state == 0 {
            return None;
        }
        Shut::ALL.into_iter().find(|why| *why as u8 == state)
    }

    #[inline]
    pub(crate) fn is_open(&self) -> bool {
        self.state.load(Ordering::SeqCst) == 0
    }

    /// The connection's task wants to be woken by what happens from now on. Register first, look then.
    #[inline]
    pub(crate) fn register(&self, waker: &Waker) {
        self.waker.register(waker);
    }

    /// Wakes the connection's task.
    #[inline]
    pub(crate) fn wake(&self) {
        self.waker.wake();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn it_is_shut_once_and_for_its_first_reason() {
        let gate = Gate::default();
        assert!(gate.is_open() && gate.shut_by().is_none());
        assert!(gate.shut(Shut::Denied));
        assert!(!gate.shut(Shut::Draining));
        assert_eq!(gate.shut_by(), Some(Shut::Denied));
    }

    #[test]
    fn every_reason_is_read_back() {
        for why in Shut::ALL {
            let gate = Gate::default();
            assert!(gate.shut(why));
            assert_eq!(gate.shut_by(), Some(why));
        }
    }

    #[test]
    fn waking_is_apart_from_shutting() {
        let (gate, count) = (Gate::default(), Arc::new(Count::default()));
        gate.register(&count.clone().into());
        gate.shut(Shut::Ordered);
        assert_eq!(count.0.load(Ordering::SeqCst), 0);
        gate.wake();
        assert_eq!(count.0.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn one_of_many_threads_shuts_it() {
        let gate = Gate::default();
        let won = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| won.fetch_add(usize::from(gate.shut(Shut::Denied)), Ordering::SeqCst));
            }
        });
        assert_eq!(won.load(Ordering::SeqCst), 1);
    }
}
