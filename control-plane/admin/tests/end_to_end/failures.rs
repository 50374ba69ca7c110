//! What goes wrong: the exit code, and what people read.
use revoq_proto::v1;
use tonic::{Code, Status};

use super::{Lab, Script};

const SUSPEND: &str = "certificate suspend --device pump";

#[tokio::test]
async fn each_refusal_has_its_exit_code_and_next_step() {
    let table = [
        (Code::InvalidArgument, 2, "revoqctl: the text", ""),
        (Code::NotFound, 3, "not found: the text", "list command"),
        (Code::AlreadyExists, 4, "exists already: the text", ""),
        (Code::FailedPrecondition, 4, "refused: the text", ""),
        (Code::ResourceExhausted, 4, "limit reached: the text", ""),
        (Code::PermissionDenied, 5, "permission denied: the text", "context list"),
        (Code::Unauthenticated, 5, "not authenticated: the text", "administrator issue"),
        (Code::Unavailable, 6, "the text", "nothing was changed"),
        (Code::Unknown, 8, "connection lost: the text", "before you repeat it"),
        (Code::DeadlineExceeded, 8, "no answer in time: the text", "before you repeat it"),
        (Code::Internal, 1, "the control plane failed (Internal): the text", ""),
    ];
    for (code, expected, text, remedy) in table {
        let lab = Lab::start([Script::refusing(Status::new(code, "the text"))]).await;
        let done = lab.ctl(SUSPEND).await;
        assert_eq!(done.code, expected, "{code:?}: {done:?}");
        assert!(done.notes.contains(text) && done.notes.contains(remedy), "{code:?}: {done:?}");
        assert_eq!(done.out, "", "{code:?}");
    }
}

#[tokio::test]
async fn a_replica_without_quorum_is_passed_over() {
    let lab = Lab::start([Script::refusing(Status::unavailable("no quorum")), Script::default()]).await;
    lab.ok(SUSPEND).await;
    assert_eq!((lab.servers[0].seen().len(), lab.servers[1].seen().len()), (1, 1));
    let chosen = lab.servers[1].address.clone();
    lab.ok(&format!("--endpoint {chosen} {SUSPEND}")).await;
    assert_eq!((lab.servers[0].seen().len(), lab.servers[1].seen().len()), (1, 2));
}

#[tokio::test]
async fn nobody_is_there() {
    let lab = Lab::start([Script::default()]).await;
    let done = lab.ctl(&format!("--timeout 100ms --endpoint 127.0.0.1:1 {SUSPEND}")).await;
    assert_eq!(done.code, 6, "{done:?}");
    assert!(done.notes.contains("127.0.0.1:1") && done.notes.contains("refused"), "{done:?}");
}

#[tokio::test]
async fn an_unconfirmed_fence_shows_who_it_is() {
    let node = |n: u64, state: v1::FenceState| v1::FenceNode {
        node: n,
        name: format!("broker-{n}"),
        state: state.into(),
        ..Default::default()
    };
    let nodes = vec![node(1, v1::FenceState::Confirmed), node(2, v1::FenceState::Unconfirmed)];
    let fence = vec![Ok(v1::FenceUpdate { revision: 18, nodes, complete: true })];
    let lab = Lab::start([Script { fence, ..Script::default() }]).await;
    for line in ["setting set lease 7s --wait", "device suspend pump --wait"] {
        let done = lab.ctl(line).await;
        assert_eq!(done.code, 7, "{done:?}");
        assert!(done.out.contains("broker-2  unconfirmed"), "{done:?}");
        assert!(done.notes.contains("1 of 2 broker nodes have not confirmed"), "{done:?}");
        assert!(done.notes.contains("revoqctl cluster fence 18"), "{done:?}");
    }
}

#[tokio::test]
async fn a_fence_that_breaks_off_goes_on_elsewhere() {
    let waiting = v1::FenceUpdate { revision: 18, nodes: Vec::new(), complete: false };
    let node = v1::FenceNode { name: "broker-1".to_owned(), state: 2, ..Default::default() };
    let done = v1::FenceUpdate { revision: 18, nodes: vec![node], complete: true };
    let scripts = [vec![Ok(waiting)], vec![Ok(done)]].map(|fence| Script { fence, ..Script::default() });
    let lab = Lab::start(scripts).await;
    let out = lab.ok("device suspend pump --wait").await;
    assert!(out.contains("broker-1  confirmed"), "{out}");
}

/// An exit code that says that nothing was changed would be wrong.
#[tokio::test]
async fn the_change_is_shown_even_if_the_waiting_fails() {
    for (status, text) in [
        (Status::permission_denied("not for auditors"), "permission denied: not for auditors"),
        (Status::unavailable("nobody leads"), "control plane unavailable: nobody leads"),
    ] {
        let lab = Lab::start([Script { fence: vec![Err(status)], ..Script::default() }]).await;
        for line in ["device suspend pump --wait", "setting set lease 7s --wait"] {
            let done = lab.ctl(&format!("--timeout 300ms {line}")).await;
            assert_eq!(done.code, 7, "{done:?}");
            assert!(done.out.contains("revision 18"), "{done:?}");
            let expected = format!("revision 18 is committed, but its fence cannot be followed: {text}");
            assert!(done.notes.contains(&expected), "{done:?}");
            assert!(done.notes.contains("revoqctl cluster fence 18"), "{done:?}");
        }
        let done = lab.ctl("--timeout 300ms cluster fence 18").await;
        assert!([5, 6].contains(&done.code), "nothing was changed here: {done:?}");
    }
}

#[tokio::test]
async fn usage_is_refused_before_anything_is_asked() {
    let lab = Lab::start([Script::default()]).await;
    for (line, expected) in [
        ("certificate suspend", "nothing is selected"),
        ("certificate suspend --device a --tenant-all", "more than one thing"),
        ("certificate revoke --device a --reason because", "keyCompromise"),
        ("certificate suspend --device a --dry-run --wait", "cannot be used with"),
        ("certificate show", "name a certificate"),
        ("device suspend a --wait-timeout 5s", "--wait"),
        ("device suspend a --timeout soon", "90s"),
        ("tenant create Über", "a-z 0-9"),
        ("session disconnect", "--client-id"),
        ("session list --limit 0", "1..=10000"),
        ("setting set lease", "VALUE"),
        ("certificate issue a --replace", "--out"),
        ("nonsense", "unrecognized"),
    ] {
        let done = lab.ctl(line).await;
        assert_eq!(done.code, 2, "{line}: {done:?}");
        assert!(done.notes.contains(expected), "{line}: {done:?}");
    }
    assert!(lab.servers[0].seen().is_empty());
}

#[tokio::test]
async fn what_is_not_there() {
    let lab = Lab::start([Script::default()]).await;
    for (line, expected) in [
        ("certificate show 00112233445566778899aabbccddeeff", "not found: there is no certificate"),
        ("setting get lesae", "setting \"lesae\" does not exist"),
    ] {
        let done = lab.ctl(line).await;
        assert_eq!(done.code, 3, "{line}: {done:?}");
        assert!(done.notes.contains(expected) && done.notes.contains("next: "), "{line}: {done:?}");
    }
    let done = lab.run("--context {}/absent.toml setting get").await;
    assert!(done.code == 1 && done.notes.contains("absent.toml"), "{done:?}");
}

#[tokio::test]
async fn explanations_are_no_failures() {
    let lab = Lab::start([Script::default()]).await;
    let out = lab.ok("certificate explain 00112233445566778899aabbccddeeff").await;
    assert!(out.contains("REFUSED  certificate 00  revoked") && out.contains("would be refused"), "{out}");
}

#[tokio::test]
async fn a_log_with_holes_does_not_verify() {
    let entry = |number| v1::AuditEntry { number, ..Default::default() };
    for audit in [vec![entry(1)], vec![entry(5)]] {
        let lab = Lab::start([Script { audit, ..Script::default() }]).await;
        let done = lab.ctl("audit verify").await;
        assert!(done.code == 9 && done.notes.contains("does not verify"), "{done:?}");
    }
}
