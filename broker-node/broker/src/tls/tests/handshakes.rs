use revoq_credentials::{AuthorityName, Credential, Millis, State};
use rustls::{AlertDescription, CertificateError};

use super::certificates::{Authority, Leaf, denied, self_signed_ca, setting, version_1, view};
use super::*;
use crate::clock;

const VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS12, &TLS13];
const DEVICE: &str = "urn:revoq:default:meter-1";

fn identify(side: &Side, connection: &ServerConnection) -> Identity {
    let chain = connection.peer_certificates().expect("there is a certificate");
    side.trust.identify(chain, clock::now().millis()).expect("it is readable and valid")
}

fn refusal(side: &Side, leaf: Option<&Leaf>, version: &'static SupportedProtocolVersion) -> Box<Failed> {
    connect(side, &client(leaf, version)).expect_err("it is refused")
}

fn alert(description: AlertDescription) -> Option<Error> {
    Some(Error::AlertReceived(description))
}

#[test]
fn an_issued_certificate_names_its_device() {
    let authority = Authority::new("devices");
    let side = Side::new(view([authority.change("devices", State::Active, true)]));
    let leaf = authority.issue(DEVICE);
    for version in VERSIONS {
        let connection = connect(&side, &client(Some(&leaf), version)).expect("it is accepted");
        let Identity::Vouched(principal) = identify(&side, &connection) else { panic!("nobody vouches") };
        assert_eq!(principal.device.expect("a device").as_ref(), "meter-1");
        let Credential::Certificate { fingerprint, authority, .. } = principal.credential else {
            panic!("it has a certificate")
        };
        assert_eq!(fingerprint, leaf.fingerprint());
        assert_eq!(authority.as_ref().map(AuthorityName::as_ref), Some("devices"));
    }
}

#[test]
fn a_denied_certificate_gets_the_alert() {
    let authority = Authority::new("devices");
    let known = authority.change("devices", State::Active, true);
    let (issued, registered) = (authority.issue(DEVICE), self_signed_ca());
    let side = Side::new(view([known, denied(&issued), denied(&registered)]));
    for (leaf, version) in
        [(&issued, &TLS12), (&issued, &TLS13), (&registered, &TLS12), (&registered, &TLS13)]
    {
        let Failed { server, client } = *refusal(&side, Some(leaf), version);
        assert_eq!(server, Error::InvalidCertificate(CertificateError::Revoked));
        assert_eq!(client, alert(AlertDescription::CertificateRevoked));
    }
    side.publish(view([authority.change("devices", State::Active, true)]));
    connect(&side, &client(Some(&issued), &TLS13)).expect("it is reactivated");
}

#[test]
fn a_suspended_authority_or_tenant_denies_what_is_below() {
    let authority = Authority::new("devices");
    let leaf = authority.issue(DEVICE);
    let side = Side::new(view([authority.change("devices", State::Suspended, true)]));
    let Failed { client, .. } = *refusal(&side, Some(&leaf), &TLS13);
    assert_eq!(client, alert(AlertDescription::CertificateRevoked));
}

#[test]
fn leaves_that_nobody_vouches_for_pass_to_the_look_up() {
    let stranger = Authority::new("stranger").issue(DEVICE);
    let side = Side::new(view([]));
    for leaf in [&version_1(), &self_signed_ca(), &stranger] {
        for version in VERSIONS {
            let connection = connect(&side, &client(Some(leaf), version)).expect("its signature is good");
            let Identity::Unknown { fingerprint, .. } = identify(&side, &connection) else {
                panic!("who vouches?")
            };
            assert_eq!(fingerprint, leaf.fingerprint());
        }
    }
}

#[test]
fn a_stolen_certificate_without_its_key_is_refused() {
    for (leaf, other) in [(version_1(), version_1()), (self_signed_ca(), self_signed_ca())] {
        let side = Side::new(view([]));
        for version in VERSIONS {
            let mut config = ClientConfig::clone(&client(None, version));
            config.client_auth_cert_resolver = resolver(leaf.chain(), &other);
            let Failed { server, .. } = *connect(&side, &Arc::new(config)).expect_err("it is refused");
            assert_eq!(server, Error::InvalidCertificate(CertificateError::BadSignature));
        }
    }
}

#[test]
fn an_authority_vouches_for_its_own_tenant_and_only_if_it_is_ours() {
    let authority = Authority::new("devices");
    let foreign = authority.issue("urn:revoq:other:meter-1");
    let ours = authority.issue(DEVICE);
    let now = clock::now().millis();
    let side = Side::new(view([authority.change("devices", State::Active, true)]));
    assert!(matches!(side.trust.identify(&foreign.chain(), now), Ok(Identity::Unknown { .. })));
    let side = Side::new(view([authority.change("devices", State::Active, false)]));
    assert!(matches!(side.trust.identify(&ours.chain(), now), Ok(Identity::Unknown { .. })));
}

#[test]
fn an_expired_certificate_gets_its_own_alert() {
    let authority = Authority::new("devices");
    let side = Side::new(view([authority.change("devices", State::Active, true)]));
    let leaf = authority.issue_until(DEVICE, 2001);
    let Failed { server, client } = *refusal(&side, Some(&leaf), &TLS13);
    assert_eq!(server, Error::InvalidCertificate(CertificateError::Expired));
    assert_eq!(client, alert(AlertDescription::CertificateExpired));
    // Also when it was verified before it expired: then the verdict says so.
    let leaf = authority.issue_until(DEVICE, 2030);
    side.trust.identify(&leaf.chain(), clock::now().millis()).expect("it is valid");
    let identity = side.trust.identify(&leaf.chain(), Millis(u64::MAX)).expect("it is remembered");
    let Identity::Vouched(principal) = identity else { panic!("nobody vouches") };
    let verdict = side.view.load().verdict(&principal, Millis(u64::MAX));
    assert_eq!(verdict, revoq_credentials::Verdict::Deny(revoq_credentials::Cause::Expired));
}

#[test]
fn whether_certificates_are_asked_for_is_read_live() {
    let side = Side::new(view([setting("client_certificate", "off")]));
    let leaf = version_1();
    for version in VERSIONS {
        side.publish(view([setting("client_certificate", "off")]));
        let connection = connect(&side, &client(Some(&leaf), version)).expect("nobody is asked");
        assert!(connection.peer_certificates().is_none());
        side.publish(view([setting("client_certificate", "optional")]));
        connect(&side, &client(None, version)).expect("none is fine");
        let connection = connect(&side, &client(Some(&leaf), version)).expect("one is fine");
        assert!(connection.peer_certificates().is_some());
        side.publish(view([setting("client_certificate", "required")]));
        let Failed { server, .. } = *refusal(&side, None, version);
        assert_eq!(server, Error::NoCertificatesPresented);
    }
}

#[test]
fn aes_128_is_chosen_though_clients_put_aes_256_first() {
    let side = Side::new(view([setting("client_certificate", "optional")]));
    for version in VERSIONS {
        let connection = connect(&side, &client(None, version)).expect("it is accepted");
        let suite = connection.negotiated_cipher_suite().expect("the handshake is over").suite();
        let name = suite.as_str().expect("it has a name");
        assert!(name.ends_with("AES_128_GCM_SHA256"), "{name}");
    }
}
