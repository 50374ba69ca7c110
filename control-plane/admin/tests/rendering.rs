//! What comes out, in every format, against `tests/rendering.txt`. `REVOQ_UPDATE=1` rewrites that file: review the
//! difference, scripts depend on it.
use std::path::Path;

use revoq_admin::screen::{Format, Screen};
use revoq_admin::view::{
    AuditEntry, Authority, Certificate, Device, Event, Explanation, Fence, List, Node, Session, Setting,
    Status, TransitionResult, View,
};
use revoq_proto::v1;

const TIME: u64 = 1_772_366_400_250;

/// Titled texts, one after the other.
#[derive(Default)]
struct Album(String);

impl Album {
    fn add(&mut self, title: &str, print: impl Fn(&mut Screen<'_>)) {
        for format in [Format::Table, Format::Json, Format::Yaml] {
            let mut out = Vec::new();
            print(&mut Screen::new(&mut out, format));
            let text = String::from_utf8(out).expect("text");
            self.0.push_str(&format!("=== {title}, {format:?}\n{text}"));
        }
    }

    fn list<V: View + Clone>(&mut self, title: &str, items: Vec<V>) {
        let list = List { revision: Some(17), items };
        self.add(title, |screen| screen.list(&list).expect("written to memory"));
    }

    fn one<V: View>(&mut self, title: &str, view: &V) {
        self.add(title, |screen| screen.one(view).expect("written to memory"));
    }
}

fn certificate(state: v1::State, reason: v1::RevocationReason) -> Certificate {
    Certificate::from(v1::Certificate {
        id: "00112233445566778899aabbccddeeff".to_owned(),
        tenant: "default".to_owned(),
        device: "pump-7".to_owned(),
        authority: "factory".to_owned(),
        fingerprint: vec![0xab; 32].into(),
        serial: vec![1, 0].into(),
        issuer: vec![0x30, 0].into(),
        issuer_text: "CN=factory".to_owned(),
        subject_text: "CN=pump-7".to_owned(),
        not_before_ms: TIME,
        not_after_ms: TIME + 1_000,
        state: state.into(),
        reason: reason.into(),
        issued_ms: TIME,
        first_used_ms: 0,
        last_used_ms: TIME,
        revision: 12,
        der: vec![0x30, 0].into(),
    })
}

fn certificates(album: &mut Album) {
    use v1::{RevocationReason as Reason, State};
    let active = certificate(State::Active, Reason::Unspecified);
    let revoked = certificate(State::Revoked, Reason::KeyCompromise);
    album.one("certificate", &revoked);
    album.list("certificates", vec![active.without_pem(), revoked.without_pem()]);
    album.list::<Certificate>("no certificates", Vec::new());
    let check = |subject: &str, finding: &str, passed| v1::explain_response::Check {
        subject: subject.to_owned(),
        finding: finding.to_owned(),
        passed,
    };
    let explanation = Explanation::from(v1::ExplainResponse {
        allowed: false,
        checks: vec![check("tenant default", "active", true), check("device pump-7", "suspended", false)],
        revision: 17,
    });
    album.list("checks", explanation.checks.clone());
}

fn transitions(album: &mut Album) {
    let count = |node, sessions| v1::SessionCount { node, node_name: format!("broker-{node}"), sessions };
    let answer = v1::TransitionResponse {
        revision: 18,
        credentials: 2,
        unchanged: 1,
        sessions: vec![count(4, 1), count(5, 0)],
    };
    let result = |dry_run, answer| {
        TransitionResult::new("suspend".to_owned(), "device default/pump-7".to_owned(), dry_run, answer)
    };
    let dry = result(true, answer.clone());
    album.add("dry run", |screen| screen.either(&dry, || dry.summary()).expect("written"));
    let done = result(false, v1::TransitionResponse { sessions: Vec::new(), unchanged: 0, ..answer });
    album.add("transition", |screen| screen.either(&done, || done.summary()).expect("written"));
    let node = |node, state: v1::FenceState, until_ms| v1::FenceNode {
        node,
        name: format!("broker-{node}"),
        state: state.into(),
        sessions_cut: 3,
        gate_micros: 140,
        confirmed_micros: 1_900,
        until_ms,
    };
    let fence = Fence::from(v1::FenceUpdate {
        revision: 18,
        nodes: vec![
            node(4, v1::FenceState::Confirmed, 0),
            node(5, v1::FenceState::Fenced, TIME),
            node(6, v1::FenceState::Waiting, TIME),
            node(7, v1::FenceState::Unconfirmed, 0),
        ],
        complete: true,
    });
    assert!(!fence.effective && fence.unsettled() == 2);
    album.list("fence", fence.nodes);
}

fn cluster(album: &mut Album) {
    let node = |node, kind: v1::NodeKind, status: &str| v1::NodeStatus {
        node,
        name: format!("node-{node}"),
        kind: kind.into(),
        address: if kind == v1::NodeKind::Replica { format!("10.0.0.{node}:9440") } else { String::new() },
        status: status.to_owned(),
        revision: 17,
        sessions: if kind == v1::NodeKind::Broker { 1_000 } else { 0 },
        joined_ms: TIME,
        lease_until_ms: 0,
    };
    let status = Status::from(v1::ClusterStatusResponse {
        cluster: "north".to_owned(),
        leader: 1,
        revision: 17,
        nodes: vec![node(1, v1::NodeKind::Replica, "leader"), node(2, v1::NodeKind::Broker, "fresh")],
        lease_ms: 5_000,
        tenants: 1,
        devices: 2,
        certificates: 3,
        denied: 1,
        node: 1,
        digest: vec![0xcd; 4].into(),
    });
    album.one("cluster status", &status);
    album.list::<Node>("nodes", status.nodes);
    let setting = v1::Setting {
        key: "lease".to_owned(),
        value: "5s".to_owned(),
        default: "5s".to_owned(),
        description: "For how long a view may be used".to_owned(),
    };
    album.one("setting", &Setting::from(setting));
}

fn others(album: &mut Album) {
    let label = v1::Label { key: "site".to_owned(), value: "berlin".to_owned() };
    let device = v1::Device {
        tenant: "default".to_owned(),
        name: "pump-7".to_owned(),
        labels: vec![label],
        state: v1::State::Active.into(),
        created_ms: TIME,
        certificates: 2,
    };
    album.list("devices", vec![Device::from(device)]);
    let authority = v1::Authority {
        tenant: "default".to_owned(),
        name: "factory".to_owned(),
        state: v1::State::Active.into(),
        certificate: vec![0x30, 0].into(),
        fingerprint: vec![1; 32].into(),
        not_before_ms: TIME,
        not_after_ms: TIME,
        created_ms: TIME,
        signs: true,
    };
    album.one("authority", &Authority::from(authority));
    // Clients choose their ids: an escape sequence must not reach the terminal.
    let session =
        v1::Session { client_id: "pump\u{1b}[2J\n".to_owned(), connected_ms: TIME, ..Default::default() };
    album.list("sessions", vec![Session::from(session)]);
    let entry = v1::AuditEntry { number: 1, actor: "alice".to_owned(), time_ms: TIME, ..Default::default() };
    album.list("audit", vec![AuditEntry::from(entry)]);
}

fn events(album: &mut Album) {
    use v1::change::Change;
    let change = |change| v1::Change { change: Some(change) };
    let denied = v1::change::Denied { fingerprint: vec![2; 32].into(), state: 3, ..Default::default() };
    let setting = v1::change::Setting { key: "lease".to_owned(), value: "7s".to_owned() };
    let event = |revision, action: &str, changes| {
        Event::from(v1::Event {
            revision,
            time_ms: TIME,
            actor: "alice".to_owned(),
            action: action.to_owned(),
            changes,
        })
    };
    let events = [
        event(18, "suspend", vec![change(Change::Denied(denied))]),
        event(19, "setting.set", vec![change(Change::Setting(setting))]),
    ];
    album.add("events", |screen| {
        for event in &events {
            screen.streamed(event, || event.text()).expect("written to memory");
        }
    });
}

#[test]
fn everything_looks_as_it_did() {
    let mut album = Album::default();
    certificates(&mut album);
    transitions(&mut album);
    cluster(&mut album);
    others(&mut album);
    events(&mut album);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rendering.txt");
    if std::env::var_os("REVOQ_UPDATE").is_some() {
        std::fs::write(&path, &album.0).expect("written");
    }
    let expected = std::fs::read_to_string(&path).expect("REVOQ_UPDATE=1 makes it");
    for (number, (found, expected)) in album.0.lines().zip(expected.lines()).enumerate() {
        assert_eq!(found, expected, "rendering.txt line {}", number + 1);
    }
    assert_eq!(album.0.lines().count(), expected.lines().count());
}
