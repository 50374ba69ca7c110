//! Commands that go well.
use std::os::unix::fs::PermissionsExt as _;

use revoq_credentials::audit::{GENESIS, hash};
use revoq_credentials::{AuditEntry, Millis, Revision};
use revoq_proto::v1::selector::Selector;
use revoq_proto::{pem, v1};
use serde_json::Value;

use super::{Lab, Script};

fn fence(states: &[v1::FenceState], complete: bool) -> v1::FenceUpdate {
    let node = |(state, n): (&v1::FenceState, u64)| v1::FenceNode {
        node: n,
        name: format!("broker-{n}"),
        state: (*state).into(),
        sessions_cut: 3,
        gate_micros: 140,
        ..Default::default()
    };
    v1::FenceUpdate { revision: 18, nodes: states.iter().zip(1..).map(node).collect(), complete }
}

#[tokio::test]
async fn suspend_and_wait() {
    use v1::FenceState::{Confirmed, Fenced, Waiting};
    let fence = vec![
        Ok(fence(&[Waiting, Waiting], false)),
        Ok(fence(&[Confirmed, Waiting], false)),
        Ok(fence(&[Confirmed, Fenced], true)),
    ];
    let lab = Lab::start([Script { fence, ..Script::default() }]).await;
    let out = lab.ok("certificate suspend --label site=north --wait --comment lost").await;
    for expected in ["2 certificates; revision 18", "broker-1  confirmed", "broker-2  fenced"] {
        assert!(out.contains(expected), "{expected}: {out}");
    }
    let json: Value =
        serde_json::from_str(&lab.ok("-o json device suspend pump --wait").await).expect("JSON");
    assert_eq!(json["fence"]["effective"], true, "{json:#}");
    assert_eq!(json["fence"]["nodes"][0]["gate_micros"], 140, "{json:#}");

    let seen = lab.servers[0].seen();
    assert_eq!(seen[0].comment, "lost");
    let label = v1::Label { key: "site".to_owned(), value: "north".to_owned() };
    let expected = v1::DeviceLabel { tenant: "default".to_owned(), label: Some(label) };
    assert_eq!(seen[0].selector.as_ref().and_then(|s| s.selector.clone()), Some(Selector::Label(expected)));
    assert_eq!(seen[1].transition(), v1::Transition::Suspend);
}

#[tokio::test]
async fn each_kind_of_thing_has_each_transition() {
    let lab = Lab::start([Script::default()]).await;
    let verbs = ["suspend", "reactivate", "revoke --yes --reason superseded", "delete --yes"];
    let things = [
        ("certificate", "00112233445566778899aabbccddeeff"),
        ("device", "pump"),
        ("authority", "factory"),
        ("tenant", "acme"),
    ];
    for (thing, name) in things {
        for verb in verbs {
            let (verb, flags) = verb.split_once(' ').unwrap_or((verb, ""));
            lab.ok(&format!("{thing} {verb} {name} {flags}")).await;
        }
    }
    let seen = lab.servers[0].seen();
    assert_eq!(seen.len(), 16);
    let reasons = seen.iter().filter(|request| request.reason() == v1::RevocationReason::Superseded).count();
    assert_eq!(reasons, 4);
}

#[tokio::test]
async fn a_dry_run_says_so_and_asks_for_one() {
    let lab = Lab::start([Script::default()]).await;
    let out = lab.ok("tenant revoke acme --dry-run").await;
    assert!(
        out.starts_with("dry run: revoke tenant acme: 2 certificates, 0 live sessions would be cut"),
        "{out}"
    );
    assert!(lab.servers[0].seen()[0].dry_run);
}

fn issued() -> v1::IssueCertificateResponse {
    v1::IssueCertificateResponse {
        certificate: Some(v1::Certificate { id: "00".repeat(16), state: 1, ..Default::default() }),
        chain: vec![vec![0x30, 1].into(), vec![0x30, 2].into()],
        private_key: vec![0x30, 3].into(),
        revision: 9,
    }
}

#[tokio::test]
async fn issued_certificates_go_to_files() {
    let lab = Lab::start([Script { issued: issued(), ..Script::default() }]).await;
    lab.ok("certificate issue pump --ttl 30d --san DNS:pump.local --out {}/pump").await;
    let read = |name: &str| std::fs::read_to_string(lab.path(name)).expect(name);
    assert_eq!(read("pump/cert.pem"), pem::encode(pem::CERTIFICATE, &[0x30, 1]));
    assert_eq!(read("pump/chain.pem"), pem::encode_certificates(&[[0x30, 1], [0x30, 2]]));
    assert_eq!(read("pump/key.pem"), pem::encode(pem::PRIVATE_KEY, &[0x30, 3]));
    let mode = std::fs::metadata(lab.path("pump/key.pem")).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    let again = lab.ctl("certificate issue pump --out {}/pump").await;
    assert!(again.code == 2 && again.notes.contains("--replace"), "{again:?}");
    lab.ok("certificate issue pump --out {}/pump --replace").await;

    std::fs::write(lab.path("csr.pem"), "any").expect("written");
    lab.ok("certificate sign pump --csr {}/csr.pem --out {}/signed").await;
    assert!(lab.path("signed/chain.pem").exists() && !lab.path("signed/key.pem").exists());
}

#[tokio::test]
async fn issued_certificates_go_to_the_screen() {
    let lab = Lab::start([Script { issued: issued(), ..Script::default() }]).await;
    let done = lab.ctl("certificate issue pump").await;
    let labels: Vec<String> =
        pem::decode("out", &done.out).expect("PEM").into_iter().map(|b| b.label).collect();
    assert_eq!(labels, ["PRIVATE KEY", "CERTIFICATE", "CERTIFICATE"]);
    assert!(done.notes.contains("shown this once"), "{done:?}");
    let json: Value = serde_json::from_str(&lab.ok("-o json certificate issue pump").await).expect("JSON");
    assert!(json["key_pem"].is_string() && json["revision"] == 9, "{json:#}");
}

#[tokio::test]
async fn long_lists_come_whole() {
    let lab = Lab::start([Script { certificates: 2_500, ..Script::default() }]).await;
    assert_eq!(lab.ok("certificate list").await.lines().count(), 2_501);
    assert_eq!(lab.ok("certificate list --limit 1200").await.lines().count(), 1_201);
    let yaml = lab.ok("-o yaml certificate list --limit 1").await;
    assert!(yaml.starts_with("revision: 5\nitems:\n- id: '00000000000000000000000000000000'\n"), "{yaml}");
}

fn log(count: u64) -> Vec<v1::AuditEntry> {
    let mut previous_hash = GENESIS;
    let entry = |number| {
        let text = || "x".to_owned();
        let mut entry = AuditEntry {
            number,
            revision: Revision(number),
            time: Millis(number),
            actor: text(),
            action: text(),
            subject: text(),
            before: text(),
            after: text(),
            detail: text(),
            outcome: "ok".to_owned(),
            previous_hash,
            hash: GENESIS,
        };
        entry.hash = hash(&entry);
        previous_hash = entry.hash;
        v1::AuditEntry::from(&entry)
    };
    (1..=count).map(entry).collect()
}

#[tokio::test]
async fn the_audit_log_live_and_exported() {
    let lab = Lab::start([Script { audit: log(10), ..Script::default() }]).await;
    let out = lab.ok("audit verify").await;
    assert!(out.starts_with("10 entries verified, 1 to 10\n"), "{out}");
    assert_eq!(
        lab.ok("audit list --limit 4").await.lines().nth(1).expect("a row").split(' ').next(),
        Some("7")
    );
    std::fs::write(lab.path("export.json"), lab.ok("-o json audit list --all").await).expect("written");
    let offline = lab.run("audit verify {}/export.json").await;
    assert_eq!((offline.code, offline.out), (0, out));
}

#[tokio::test]
async fn events_go_on_at_another_replica() {
    let event = |revision| v1::Event { revision, action: "suspend".to_owned(), ..Default::default() };
    let dies = vec![Ok(event(18)), Ok(event(19)), Err(tonic::Status::unavailable("shutting down"))];
    let lives = vec![Ok(event(18)), Ok(event(19)), Ok(event(20))];
    let scripts = [dies, lives].map(|events| Script { events, ..Script::default() });
    let lab = Lab::start(scripts).await;
    let out = lab.ok("-o json watch --after 17 --count 3").await;
    let revisions: Vec<Value> = out
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON")["revision"].clone())
        .collect();
    assert_eq!(revisions, [18, 19, 20]);
}

#[tokio::test]
async fn settings_one_and_all() {
    let lab = Lab::start([Script::default()]).await;
    assert_eq!(lab.ok("setting get").await.lines().count(), 3);
    assert!(lab.ok("setting get lease -o yaml").await.contains("value: 5s"));
    assert!(lab.ok("setting set lease 7s").await.contains("lease is set to 7s; revision 18"));
    assert!(lab.ok("setting set lease --default").await.contains("its default"));
}

#[tokio::test]
async fn contexts_from_a_bundle() {
    let lab = Lab::start([Script::default()]).await;
    let run = async |line: &str| {
        let done = lab.run(line).await;
        assert_eq!(done.code, 0, "{line}: {done:?}");
        done.out
    };
    run("context add north {}/administrator.toml").await;
    run("context add south {}/administrator.toml").await;
    assert!(run("context list").await.contains("*        north"));
    run("setting get lease").await;
    run("context use south").await;
    let shown = run("context show").await;
    assert!(shown.contains("name:           south") && !shown.contains("PRIVATE"), "{shown}");
    run("--context north setting get lease").await;
    run("context remove south").await;
    assert_eq!(lab.run("setting get lease").await.code, 1, "no context is current any more");
    assert_eq!(lab.run("context add north {}/administrator.toml").await.code, 1, "it exists");
}

#[tokio::test]
async fn completions_for_each_shell() {
    let lab = Lab::start([]).await;
    for shell in ["bash", "zsh", "fish"] {
        let done = lab.run(&format!("completion {shell}")).await;
        assert!(done.code == 0 && done.out.contains("reactivate"), "{shell}");
    }
}
