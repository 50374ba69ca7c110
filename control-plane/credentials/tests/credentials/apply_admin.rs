//! Clusters, tenants, authorities, devices, nodes, tokens and administrators.

use revoq_credentials::*;

use crate::support::*;

fn refused(plane: &mut Plane, operation: Operation) -> String {
    let refusal = plane.run(operation).expect_err("is refused");
    format!("{}: {refusal}", refusal.code())
}

fn token(number: u8, kind: NodeKind, uses_left: Option<u32>) -> JoinToken {
    JoinToken { hash: [number; 32], kind, uses_left, expires: START.plus(DAY) }
}

fn join(number: u8, node: &str, kind: NodeKind, fingerprint: u8) -> Operation {
    let address = (kind == NodeKind::Replica).then(|| "10.0.0.1:7000".to_owned());
    let node = NewNode { name: name(node), kind, address, fingerprint: Fingerprint([fingerprint; 32]) };
    Operation::JoinNode { token: [number; 32], node }
}

#[test]
fn initialize_comes_first_and_once() {
    let mut plane = Plane::empty();
    let operation = Operation::CreateTenant { name: name("t1") };
    assert_eq!(
        refused(&mut plane, operation),
        "failed_precondition: the cluster is not initialized; start its first replica"
    );
    let outcome = plane.run(initialize()).expect("initializes");
    assert_eq!(outcome.node, Some(NodeId(1)));
    assert_eq!(plane.view.tenant(&TenantName::default()), Some(State::Active));
    assert_eq!(plane.view.ticket_keys(), Some(&SealedTicketKeys(vec![3])));
    let counts = plane.counts();
    assert_eq!((counts.tenants, counts.nodes, counts.administrators), (1, 1, 1));
    assert_eq!(query::cluster(&plane.store).expect("reads").expect("is there").name, "plant");
    assert_eq!(refused(&mut plane, initialize()), "exists: cluster `plant` exists already; join it instead");
}

#[test]
fn versions_and_actors() {
    let plane = Plane::new();
    for (version, actor, ok) in
        [(1, "a", true), (0, "a", false), (2, "a", false), (1, &*"a".repeat(257), false)]
    {
        let operation = Operation::CreateTenant { name: name("t1") };
        let command = Command { version, actor: actor.to_owned(), time: START, operation };
        let applied = apply(&plane.store, Revision(9), &command).expect("reads");
        assert_eq!(applied.result.is_ok(), ok, "{version} {}", actor.len());
    }
}

#[test]
fn tenants() {
    let mut plane = Plane::new();
    plane.run(Operation::CreateTenant { name: name("t1") }).expect("creates");
    assert_eq!(plane.changes().len(), 1);
    assert_eq!(
        refused(&mut plane, Operation::CreateTenant { name: name("t1") }),
        "exists: tenant `t1` exists already; give another name"
    );
    plane.transition(Selector::Tenant(name("t1")), Transition::Delete).expect("deletes");
    assert_eq!(plane.view.tenant(&name("t1")), None);
    assert_eq!(query::tenant(&plane.store, &name("t1")).expect("reads"), None);
    let refusal = refused(&mut plane, Operation::CreateTenant { name: name("t1") });
    assert!(refusal.contains("names are not used twice"), "{refusal}");
    let refusal = refused(&mut plane, create_device("t1", "d1", &[]));
    assert_eq!(refusal, "not_found: there is no tenant `t1`");
}

#[test]
fn authorities() {
    let mut plane = Plane::new();
    plane.run(Operation::CreateTenant { name: name("t1") }).expect("creates");
    let created = query::authority(&plane.store, &TenantName::default(), &name("ca")).expect("reads");
    let created = created.expect("is there");
    assert_eq!(plane.view.authority_by_fingerprint(&created.fingerprint), plane.view.authorities().next());
    assert!(plane.view.authorities().all(|authority| authority.signs));
    assert!(
        refused(&mut plane, create_authority("default", "ca")).starts_with("exists: authority `default/ca`")
    );
    let twin = Authority { tenant: name("t1"), ..authority("default", "ca") };
    let refusal = refused(&mut plane, Operation::CreateAuthority { authority: twin });
    assert!(refusal.contains("it is authority default/ca"), "{refusal}");
    let other = Authority { fingerprint: Fingerprint([0; 32]), ..authority("t1", "x") };
    assert!(
        refused(&mut plane, Operation::CreateAuthority { authority: other })
            .starts_with("invalid: fingerprint")
    );
    let expired = Authority { not_after: START.minus(1), ..authority("t1", "x") };
    assert!(refused(&mut plane, Operation::CreateAuthority { authority: expired }).contains("it has passed"));
    let huge = Authority { sealed_key: Some(vec![0; 70_000]), ..authority("t1", "x") };
    assert!(
        refused(&mut plane, Operation::CreateAuthority { authority: huge }).contains("at most 65536 bytes")
    );
    assert!(
        refused(&mut plane, create_authority("t2", "x")).starts_with("not_found: there is no tenant `t2`")
    );
    let trusted = Authority { sealed_key: None, status: Status::INACTIVE, ..authority("t1", "x") };
    plane.run(Operation::CreateAuthority { authority: trusted }).expect("trusts");
    assert_eq!(plane.last_entry().action, "authority.trust");
    let [Change::Authority(view)] = plane.changes() else { panic!("one change") };
    assert!(!view.signs && view.state == State::Active);
}

#[test]
fn devices() {
    let mut plane = Plane::new();
    plane.run(create_device("default", "d1", &[("site", "north"), ("line", "")])).expect("creates");
    assert_eq!(plane.last_entry().detail, "line= site=north");
    assert_eq!(plane.changes(), []);
    assert!(plane.event.is_some(), "whoever watches sees it");
    assert!(refused(&mut plane, create_device("default", "d1", &[])).contains("device `default/d1` exists"));
    plane.transition(Selector::Tenant(TenantName::default()), REVOKE).expect("revokes");
    assert!(refused(&mut plane, create_device("default", "d2", &[])).contains("tenant default is revoked"));
}

#[test]
fn joining() {
    let mut plane = Plane::new();
    plane.run(Operation::CreateJoinToken { token: token(1, NodeKind::Broker, Some(2)) }).expect("creates");
    plane.run(Operation::CreateJoinToken { token: token(2, NodeKind::Replica, Some(1)) }).expect("creates");
    plane.run(Operation::CreateJoinToken { token: token(3, NodeKind::Broker, None) }).expect("creates");
    let kind = refused(&mut plane, join(2, "b1", NodeKind::Broker, 10));
    assert!(kind.contains("the join token is for a replica, and this is a broker"), "{kind}");
    assert!(refused(&mut plane, join(9, "b1", NodeKind::Broker, 10)).starts_with("token_invalid"));

    let first = plane.run(join(1, "b1", NodeKind::Broker, 10)).expect("joins").node;
    let again = plane.run(join(1, "b1", NodeKind::Broker, 11)).expect("joins under the same name").node;
    assert_eq!((first, again), (Some(NodeId(2)), Some(NodeId(3))));
    assert!(refused(&mut plane, join(1, "b1", NodeKind::Broker, 12)).contains("has been used up"));
    assert!(refused(&mut plane, join(3, "b2", NodeKind::Broker, 10)).contains("node with fingerprint"));
    for fingerprint in 20..25 {
        plane.run(join(3, "b2", NodeKind::Broker, fingerprint)).expect("without limit");
    }
    assert!(
        refused(&mut plane, join(2, "replica-1", NodeKind::Replica, 30))
            .contains("replica `replica-1` exists")
    );
    plane.run(join(2, "replica-2", NodeKind::Replica, 30)).expect("joins");
    let found = query::node_by_fingerprint(&plane.store, &Fingerprint([30; 32])).expect("reads");
    assert_eq!(found.expect("is there").name, name("replica-2"));
    assert_eq!(query::nodes(&plane.store).expect("reads").len(), 9);

    plane.time = START.plus(DAY);
    assert!(refused(&mut plane, join(3, "b3", NodeKind::Broker, 40)).contains("expired at 2026-01-02T"));
    let late = JoinToken { expires: START.plus(2 * DAY), ..token(4, NodeKind::Broker, None) };
    plane.run(Operation::CreateJoinToken { token: late }).expect("creates");
    assert_eq!(query::join_tokens(&plane.store).expect("reads").len(), 1, "expired ones are forgotten");
    assert_eq!(plane.counts().join_tokens, 1);
}

#[test]
fn tokens_that_cannot_be() {
    let mut plane = Plane::new();
    for (token, text) in [
        (token(1, NodeKind::Broker, Some(0)), "give at least 1"),
        (token(1, NodeKind::Replica, None), "a token for replicas needs a limit"),
        (JoinToken { expires: START, ..token(1, NodeKind::Broker, None) }, "give a time to come"),
    ] {
        let refusal = refused(&mut plane, Operation::CreateJoinToken { token });
        assert!(refusal.contains(text), "{refusal}");
    }
    plane.run(Operation::CreateJoinToken { token: token(1, NodeKind::Broker, None) }).expect("creates");
    let refusal = refused(&mut plane, Operation::CreateJoinToken { token: token(1, NodeKind::Broker, None) });
    assert!(refusal.contains("draw another secret"), "{refusal}");
    plane.run(Operation::CreateJoinToken { token: token(2, NodeKind::Replica, Some(1)) }).expect("creates");
    let Operation::JoinNode { token, node } = join(2, "r", NodeKind::Replica, 9) else { panic!("joins") };
    let node = NewNode { address: None, ..node };
    assert!(refused(&mut plane, Operation::JoinNode { token, node }).contains("give host:port"));
}

#[test]
fn removing_nodes() {
    let mut plane = Plane::new();
    let refusal = refused(&mut plane, Operation::RemoveNode { node: NodeId(1) });
    assert!(refusal.contains("node 1 is the last replica; let another replica join first"), "{refusal}");
    plane.run(Operation::CreateJoinToken { token: token(1, NodeKind::Broker, None) }).expect("creates");
    plane.run(join(1, "b1", NodeKind::Broker, 10)).expect("joins");
    plane.run(Operation::RemoveNode { node: NodeId(2) }).expect("removes");
    assert_eq!(plane.changes(), [Change::NodeRemoved(NodeId(2))]);
    assert_eq!(plane.affected, [Affected::Node(NodeId(2))]);
    assert!(refused(&mut plane, Operation::RemoveNode { node: NodeId(2) }).contains("there is no node `2`"));
    assert_eq!(query::node_by_fingerprint(&plane.store, &Fingerprint([10; 32])).expect("reads"), None);
    let outcome = plane.run(join(1, "b1", NodeKind::Broker, 11)).expect("joins");
    assert_eq!(outcome.node, Some(NodeId(3)), "numbers are never used twice");
}

#[test]
fn administrators() {
    let mut plane = Plane::new();
    let add = |administrator| Operation::AddAdministrator { administrator };
    let remove = |who: &str| Operation::RemoveAdministrator { name: name(who) };
    plane.run(add(administrator("olga", Role::Operator, 2))).expect("adds");
    assert!(refused(&mut plane, add(administrator("olga", Role::Auditor, 3))).contains("remove it first"));
    assert!(
        refused(&mut plane, add(administrator("otto", Role::Auditor, 2)))
            .contains("a certificate of its own")
    );
    let last = refused(&mut plane, remove("root"));
    assert!(last.contains("is the last of its role with a valid certificate"), "{last}");
    let expired =
        Administrator { not_after: START.minus(1), ..administrator("adam", Role::Administrator, 4) };
    plane.run(add(expired)).expect("adds");
    assert_eq!(refused(&mut plane, remove("root")), last, "one that has expired does not count");
    plane.run(add(administrator("anna", Role::Administrator, 5))).expect("adds");
    plane.run(remove("root")).expect("removes");
    plane.run(remove("olga")).expect("removes");
    assert!(refused(&mut plane, remove("olga")).contains("there is no administrator `olga`"));
    let by = |number| {
        query::administrator_by_fingerprint(&plane.store, &Fingerprint([number; 32])).expect("reads")
    };
    assert_eq!(by(1), None);
    assert_eq!(by(5).expect("is there").role, Role::Administrator);
    assert_eq!(query::administrators(&plane.store).expect("reads").len(), 2);
}

#[test]
fn ticket_keys() {
    let mut plane = Plane::new();
    let keys = SealedTicketKeys(vec![9; 100]);
    plane.run(Operation::RotateTicketKeys { keys: keys.clone() }).expect("rotates");
    assert_eq!(plane.view.ticket_keys(), Some(&keys));
    assert_eq!(plane.affected, []);
    assert_eq!(query::ticket_keys(&plane.store).expect("reads"), Some(keys));
    let keys = SealedTicketKeys(vec![9; 70_000]);
    assert!(refused(&mut plane, Operation::RotateTicketKeys { keys }).contains("at most 65536 bytes"));
}
