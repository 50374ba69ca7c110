use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use arc_swap::ArcSwap;
use revoq_credentials::{Change, Denial, Event, Millis, Revision, State, TenantName, View};
use revoq_mqtt::Version;

use super::*;
use crate::node::judge;

const NOW: Millis = Millis(1_000);

fn view() -> View {
    let tenant = Change::Tenant { name: TenantName::default(), state: State::Active, created: Millis(0) };
    let optional = Change::Setting { key: "client_certificate".into(), value: "optional".into() };
    View::from_snapshot(Revision(1), [tenant, optional].into_iter())
}

fn event(revision: u64, change: Change) -> Event {
    let (actor, action) = (String::new(), String::new());
    Event { revision: Revision(revision), time: NOW, actor, action, changes: vec![change] }
}

fn denied(fingerprint: Fingerprint) -> Change {
    Change::Denied(Denial { fingerprint, state: State::Suspended, reason: None, not_after: Millis(u64::MAX) })
}

fn new(fingerprint: Option<Fingerprint>) -> NewEntry {
    let credential = match fingerprint {
        None => Credential::Anonymous,
        Some(fingerprint) => {
            Credential::Certificate { fingerprint, authority: None, not_after: Millis(u64::MAX) }
        }
    };
    NewEntry {
        principal: Principal { tenant: TenantName::default(), device: None, credential, password: None },
        client_id: "c".parse().expect("a client id"),
        version: Version::V5,
        address: "127.0.0.1:1".parse().expect("an address"),
        transport: Transport::Tcp,
        connected: NOW,
        outlives: false,
    }
}

fn admitted(registry: &Arc<Registry>, fingerprint: Option<Fingerprint>) -> Registered {
    let registered = registry.register(new(fingerprint));
    registered.entry().admit();
    registered
}

#[test]
fn a_sweep_finds_all_sessions_of_a_certificate_and_no_other() {
    let registry = Registry::new();
    let (one, other) = (Fingerprint([1; 32]), Fingerprint([65; 32]));
    let hit = [admitted(&registry, Some(one)), admitted(&registry, Some(one))];
    let missed = [admitted(&registry, Some(other)), admitted(&registry, None)];
    let mut view = view();
    let affected = view.apply(&event(2, denied(one)));
    let swept = registry.sweep(&affected, |principal| judge(&view, principal, NOW));
    assert_eq!((swept.sessions, swept.sessions_by(Shut::Denied)), (2, 2));
    assert!(hit.iter().all(|session| session.entry().gate.shut_by() == Some(Shut::Denied)));
    assert!(missed.iter().all(|session| session.entry().gate.is_open()));
    let again = registry.sweep(&affected, |principal| judge(&view, principal, NOW));
    assert_eq!(again.sessions, 0, "a session is cut once");
}

#[test]
fn what_was_not_let_in_is_gated_and_not_counted() {
    let registry = Registry::new();
    let waiting = registry.register(new(Some(Fingerprint([1; 32]))));
    let swept = registry.sweep(&[Affected::All], |_| Some(Shut::Denied));
    assert_eq!(swept.sessions, 0);
    assert!(!waiting.entry().gate.is_open());
}

#[test]
fn settings_are_judged_for_everybody() {
    let registry = Registry::new();
    let with = admitted(&registry, Some(Fingerprint([1; 32])));
    let without = admitted(&registry, None);
    let mut view = view();
    let required = Change::Setting { key: "client_certificate".into(), value: "required".into() };
    let affected = view.apply(&event(2, required));
    let swept = registry.sweep(&affected, |principal| judge(&view, principal, NOW));
    assert_eq!(swept.sessions_by(Shut::CertificateRequired), 1);
    assert!(with.entry().gate.is_open() && !without.entry().gate.is_open());
}

#[test]
fn what_is_dropped_leaves_nothing_behind() {
    let registry = Registry::new();
    let one = Fingerprint([1; 32]);
    let sessions: Vec<_> = (0..100).map(|_| registry.register(new(Some(one)))).collect();
    assert_eq!((registry.len(), registry.of_fingerprint(&one).len()), (100, 100));
    drop(sessions);
    assert_eq!((registry.len(), registry.of_fingerprint(&one).len()), (0, 0));
    assert!(registry.by_fingerprint.iter().all(|shard| shard.lock().is_empty()));
}

/// Threads connect (register, then decide) while another suspends and reactivates (apply, then sweep). Whenever the
/// certificate is denied for good at the end, no session may be left that has both an open gate and a verdict.
#[test]
fn no_revocation_falls_between_registering_and_deciding() {
    let one = Fingerprint([1; 32]);
    for _ in 0..200 {
        let (registry, published) = (Registry::new(), ArcSwap::from_pointee(view()));
        let (started, done, left) = (AtomicU64::new(0), AtomicBool::new(false), Mutex::new(Vec::new()));
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    while !done.load(Ordering::SeqCst) {
                        let session = registry.register(new(Some(one)));
                        if judge(&published.load(), &session.entry().principal, NOW).is_none() {
                            session.entry().admit();
                            left.lock().push(session);
                        }
                        started.fetch_add(1, Ordering::SeqCst);
                    }
                });
            }
            while started.load(Ordering::SeqCst) < 20 {
                std::hint::spin_loop();
            }
            let mut view = View::clone(&published.load());
            let affected = view.apply(&event(2, denied(one)));
            published.store(Arc::new(view.clone()));
            registry.sweep(&affected, |principal| judge(&view, principal, NOW));
            done.store(true, Ordering::SeqCst);
        });
        let left = left.into_inner();
        assert!(!left.is_empty());
        assert!(
            left.iter().all(|session| !session.entry().gate.is_open()),
            "a session outlived its certificate"
        );
    }
}

#[test]
fn ten_thousand_gates_are_shut_quickly() {
    let fingerprint = |number: u32| Fingerprint::of(&number.to_be_bytes());
    let mut view = view();
    let suspended =
        Change::Tenant { name: TenantName::default(), state: State::Suspended, created: Millis(0) };
    let affected = view.apply(&event(2, suspended));
    let sweep = || {
        let registry = Registry::new();
        let sessions: Vec<_> =
            (0..10_000).map(|number| admitted(&registry, Some(fingerprint(number)))).collect();
        let start = std::time::Instant::now();
        let swept = registry.sweep(&affected, |principal| judge(&view, principal, NOW));
        let took = start.elapsed();
        assert_eq!(swept.sessions, sessions.len() as u64);
        took
    };
    // A few milliseconds on an idle machine; tests share theirs, and one of several has it for itself.
    let took: Vec<_> = (0..5).map(|_| sweep()).collect();
    assert!(took.iter().any(|took| *took < Duration::from_millis(100)), "{took:?}");
}

#[test]
fn a_session_of_a_certificate_and_a_password_falls_with_either() {
    let (certificate, password) = (Fingerprint([1; 32]), Fingerprint([2; 32]));
    for ended in [certificate, password] {
        let registry = Registry::new();
        let mut both = new(Some(certificate));
        both.principal.password = Some(password);
        let both = registry.register(both);
        both.entry().admit();
        let mut view = view();
        let affected = view.apply(&event(2, denied(ended)));
        let swept = registry.sweep(&affected, |principal| judge(&view, principal, NOW));
        assert_eq!((swept.sessions, both.entry().gate.shut_by()), (1, Some(Shut::Denied)));
        drop(both);
        assert!(
            registry.of_fingerprint(&certificate).is_empty() && registry.of_fingerprint(&password).is_empty()
        );
    }
}
