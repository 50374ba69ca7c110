use revoq_credentials::{Cause, State, Verdict};
use rustls::HandshakeKind;

use super::certificates::{Authority, denied, setting, view};
use super::*;
use crate::clock;

const DEVICE: &str = "urn:revoq:default:meter-1";

fn set_keys(side: &Side, keys: &[u8]) {
    let keys: Vec<_> = keys.iter().map(|key| ([*key; 16], [*key; 32])).collect();
    side.tickets.set(keys.iter().map(|(name, key)| (&name[..], &key[..])));
}

fn kind(side: &Side, client: &Arc<ClientConfig>) -> HandshakeKind {
    connect(side, client).expect("it is accepted").handshake_kind().expect("it is over")
}

#[test]
fn a_session_resumes_at_another_node_with_the_same_keys() {
    let authority = Authority::new("devices");
    let new_side = || Side::new(view([authority.change("devices", State::Active, true)]));
    let (one, two) = (new_side(), new_side());
    let leaf = authority.issue(DEVICE);
    for version in [&TLS12, &TLS13] {
        let client = client(Some(&leaf), version);
        set_keys(&one, &[1]);
        set_keys(&two, &[1]);
        assert_eq!(kind(&one, &client), HandshakeKind::Full);
        assert_eq!(kind(&two, &client), HandshakeKind::Resumed);
        // Rotated: the older key still opens, and new tickets are under the new one.
        set_keys(&one, &[2, 1]);
        assert_eq!(kind(&one, &client), HandshakeKind::Resumed);
        set_keys(&two, &[2]);
        assert_eq!(kind(&two, &client), HandshakeKind::Resumed);
        // Dropped: full again.
        set_keys(&one, &[3]);
        assert_ne!(kind(&one, &client), HandshakeKind::Resumed);
        // None: no tickets at all.
        set_keys(&one, &[]);
        assert_ne!(kind(&one, &client), HandshakeKind::Resumed);
        assert_ne!(kind(&one, &client), HandshakeKind::Resumed);
    }
}

#[test]
fn the_verdict_after_a_resumed_handshake_is_that_of_now() {
    let authority = Authority::new("devices");
    let leaf = authority.issue(DEVICE);
    for version in [&TLS12, &TLS13] {
        let side = Side::new(view([authority.change("devices", State::Active, true)]));
        set_keys(&side, &[1]);
        let client = client(Some(&leaf), version);
        connect(&side, &client).expect("it is accepted");
        side.publish(view([authority.change("devices", State::Active, true), denied(&leaf)]));
        // TLS itself lets it in: nobody asks the verifier.
        let connection = connect(&side, &client).expect("a ticket resumes");
        assert_eq!(connection.handshake_kind(), Some(HandshakeKind::Resumed));
        let chain = connection.peer_certificates().expect("the ticket brings the chain back");
        let now = clock::now().millis();
        let Ok(Identity::Vouched(principal)) = side.trust.identify(chain, now) else {
            panic!("nobody vouches")
        };
        let verdict = side.view.load().verdict(&principal, now);
        assert_eq!(verdict, Verdict::Deny(Cause::Certificate(State::Suspended)));
    }
}

#[test]
fn a_ticket_from_before_certificates_were_required_brings_no_identity() {
    let side = Side::new(view([setting("client_certificate", "off")]));
    set_keys(&side, &[1]);
    let client = client(None, &TLS13);
    connect(&side, &client).expect("nobody is asked");
    side.publish(view([setting("client_certificate", "required")]));
    let connection = connect(&side, &client).expect("a ticket resumes");
    assert_eq!(connection.handshake_kind(), Some(HandshakeKind::Resumed));
    assert!(
        connection.peer_certificates().is_none(),
        "it is anonymous, and the verdict says what that means"
    );
}
