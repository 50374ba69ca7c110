//! Passwords: setting, replacing, and the one state machine; by hand, and at random against a naive model.

use std::collections::BTreeMap;

use proptest::prelude::*;
use revoq_credentials::limits::{DENIED_AFTER_EXPIRY_MS, PASSWORDS_PER_DEVICE_MAX};
use revoq_credentials::*;

use crate::support::*;

fn verifier(number: u8) -> Verifier {
    Verifier::new(vec![number; 16], 4_096, [number; 32], [!number; 32]).expect("in range")
}

fn set(username: &str, device: &str, number: u8) -> Operation {
    let new = NewPassword {
        tenant: TenantName::default(),
        username: name(username),
        device: name(device),
        verifier: verifier(number),
        client_id: None,
    };
    Operation::SetPassword { password: Box::new(new) }
}

fn selector(username: &str) -> Selector {
    Selector::Password { tenant: TenantName::default(), username: name(username) }
}

fn password(plane: &Plane, username: &str) -> Option<Password> {
    query::password(&plane.store, &TenantName::default(), &name(username)).expect("reads")
}

fn verdict(plane: &Plane, fingerprint: Fingerprint, certificate: Option<&NewCertificate>) -> Verdict {
    let of = certificate.map_or_else(|| anonymous("default"), principal);
    let principal = Principal { password: Some(fingerprint), ..of };
    plane.view.verdict(&principal, plane.time)
}

/// Where nobody needs a certificate.
fn plane() -> Plane {
    let mut plane = Plane::new();
    let optional = Some("optional".to_owned());
    let operation = Operation::SetSetting { key: "client_certificate".to_owned(), value: optional };
    plane.run(operation).expect("sets");
    plane
}

#[test]
fn a_password_is_set_used_and_cut() {
    let mut plane = plane();
    plane.run(set("pump", "d1", 1)).expect("sets");
    let first = password(&plane, "pump").expect("is there");
    assert_eq!((first.status, first.device.as_str()), (Status::INACTIVE, "d1"));
    let key = Password::look_up_key(&first.tenant, &first.username);
    assert_eq!(plane.changes(), [Change::Registered(key)], "what was looked up before is void");
    assert_eq!(plane.counts().passwords, 1);
    assert_eq!(verdict(&plane, first.fingerprint, None), Verdict::Allow);
    let used = Operation::RecordUsage { used: vec![first.fingerprint], time: START };
    plane.run(used).expect("records");
    assert_eq!(plane.last_entry().subject, "password default/pump of device default/d1");
    assert_eq!(password(&plane, "pump").expect("is there").status, Status::ACTIVE);
    plane.transition(selector("pump"), Transition::Suspend).expect("suspends");
    assert_eq!(plane.affected, [Affected::Credential(first.fingerprint)]);
    let suspended = Verdict::Deny(Cause::Password(State::Suspended));
    assert_eq!(verdict(&plane, first.fingerprint, None), suspended);
    plane.transition(selector("pump"), Transition::Reactivate).expect("reactivates");
    assert_eq!(verdict(&plane, first.fingerprint, None), Verdict::Allow);
    plane.transition(selector("pump"), REVOKE).expect("revokes");
    let error = plane.run(set("pump", "d1", 2)).expect_err("revoked is for ever").to_string();
    assert_eq!(error, "password default/pump is revoked; delete it first");
    plane.transition(selector("pump"), Transition::Delete).expect("deletes");
    assert_eq!(password(&plane, "pump"), None);
    assert_eq!(plane.counts().passwords, 0);
    plane.run(set("pump", "d2", 2)).expect("the name is free");
    let second = password(&plane, "pump").expect("is there").fingerprint;
    assert_eq!(verdict(&plane, second, None), Verdict::Allow);
    let deleted = Verdict::Deny(Cause::Password(State::Deleted));
    assert_eq!(verdict(&plane, first.fingerprint, None), deleted, "the one before stays out");
}

#[test]
fn another_password_ends_the_one_before() {
    let mut plane = plane();
    plane.run(set("pump", "d1", 1)).expect("sets");
    let first = password(&plane, "pump").expect("is there").fingerprint;
    let error = plane.run(set("pump", "d2", 2)).expect_err("another device's").to_string();
    assert!(error.starts_with("password default/pump is device d1's; give another username"), "{error}");
    plane.run(set("pump", "d1", 1)).expect("even the same verifier makes another credential");
    let second = password(&plane, "pump").expect("is there").fingerprint;
    assert!(plane.affected.contains(&Affected::Credential(first)), "its sessions are swept");
    assert_eq!(verdict(&plane, first, None), Verdict::Deny(Cause::Password(State::Suspended)));
    assert_eq!(verdict(&plane, second, None), Verdict::Allow);
    plane.transition(selector("pump"), Transition::Suspend).expect("suspends");
    plane.run(set("pump", "d1", 3)).expect("sets");
    let third = password(&plane, "pump").expect("is there");
    assert_eq!(third.status.state, State::Suspended, "a new password undoes no suspension");
    assert_eq!(verdict(&plane, third.fingerprint, None), Verdict::Deny(Cause::Password(State::Suspended)));
    assert_eq!((plane.counts().passwords, plane.counts().denied), (1, 3));
    plane.time = plane.time.plus(DENIED_AFTER_EXPIRY_MS + 2 * DAY);
    plane.run(set("valve", "d1", 4)).expect("prunes");
    assert_eq!(plane.counts().denied, 1, "those replaced are forgotten, the suspended one is not");
}

#[test]
fn selectors_of_what_is_above_reach_passwords() {
    let mut plane = plane();
    plane.run(create_device("default", "d1", &[("site", "north")])).expect("creates");
    let certificate = plane.add("d1", 1, Some("ca"));
    plane.run(set("pump", "d1", 1)).expect("sets");
    let fingerprint = password(&plane, "pump").expect("is there").fingerprint;
    let both = |plane: &Plane| (plane.verdict(&certificate), verdict(plane, fingerprint, None));
    let outcome = plane.transition(device("d1"), Transition::Suspend).expect("suspends");
    assert_eq!(outcome.changed, 2);
    let state = State::Suspended;
    let denied = (Verdict::Deny(Cause::Certificate(state)), Verdict::Deny(Cause::Password(state)));
    assert_eq!(both(&plane), denied);
    plane.transition(device("d1"), Transition::Reactivate).expect("reactivates");
    assert_eq!(both(&plane), (Verdict::Allow, Verdict::Allow));
    let label = Selector::Label { tenant: name("default"), key: name("site"), value: name("north") };
    assert_eq!(plane.transition(label.clone(), Transition::Suspend).expect("suspends").changed, 2);
    assert_eq!(both(&plane), denied);
    plane.transition(label, Transition::Reactivate).expect("reactivates");
    let tenant = Selector::Tenant(TenantName::default());
    assert_eq!(plane.transition(tenant.clone(), Transition::Suspend).expect("suspends").changed, 2);
    assert_eq!(verdict(&plane, fingerprint, None), Verdict::Deny(Cause::Tenant(state)));
    plane.transition(tenant, Transition::Reactivate).expect("reactivates");
    plane.transition(device("d1"), Transition::Delete).expect("deletes");
    assert_eq!(verdict(&plane, fingerprint, None), Verdict::Deny(Cause::Password(State::Deleted)));
    assert_eq!((password(&plane, "pump"), plane.counts().passwords), (None, 0));
}

#[test]
fn a_session_with_both_falls_with_either() {
    let mut plane = Plane::new();
    let certificate = plane.add("d1", 1, Some("ca"));
    plane.run(set("pump", "d1", 1)).expect("sets");
    let fingerprint = password(&plane, "pump").expect("is there").fingerprint;
    let required = Verdict::Deny(Cause::CertificateRequired);
    assert_eq!(verdict(&plane, fingerprint, None), required, "a password is no certificate");
    let both = |plane: &Plane| verdict(plane, fingerprint, Some(&certificate));
    assert_eq!(both(&plane), Verdict::Allow);
    plane.transition(selector("pump"), Transition::Suspend).expect("suspends");
    assert_eq!(both(&plane), Verdict::Deny(Cause::Password(State::Suspended)));
    plane.transition(selector("pump"), Transition::Reactivate).expect("reactivates");
    plane.transition(Selector::Id(certificate.id), REVOKE).expect("revokes");
    assert_eq!(both(&plane), Verdict::Deny(Cause::Certificate(State::Revoked)));
}

#[test]
fn lists_are_by_username_and_filtered() {
    let mut plane = plane();
    for (username, device) in [("c", "d1"), ("a", "d2"), ("b", "d1")] {
        plane.run(set(username, device, 1)).expect("sets");
    }
    plane.transition(selector("c"), Transition::Suspend).expect("suspends");
    let list = |device: Option<&str>, state| {
        let filter = query::PasswordFilter { device: device.map(name), state };
        let page = query::list_passwords(&plane.store, &TenantName::default(), &filter, 10, None);
        let items = page.expect("reads").items;
        items.iter().map(|password| password.username.to_string()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(list(None, None), "a b c");
    assert_eq!(list(Some("d1"), None), "b c");
    assert_eq!(list(Some("d1"), Some(State::Suspended)), "c");
    assert_eq!(list(None, Some(State::Inactive)), "a b");
}

#[test]
fn what_is_refused() {
    let mut plane = plane();
    for number in 0..PASSWORDS_PER_DEVICE_MAX {
        plane.run_unchecked(set(&format!("u{number}"), "d1", 1)).expect("sets");
    }
    let error = plane.run(set("more", "d1", 1)).expect_err("too many");
    assert!(matches!(error, Refusal::Limit { ref name, .. } if name == "passwords_per_device_max"));
    plane.run(set("u0", "d1", 2)).expect("another one of the same username takes no room");
    let Operation::SetPassword { mut password } = set("x", "d2", 1) else { panic!("sets") };
    for wrong in ["".to_owned(), "x".repeat(1_025)] {
        password.client_id = Some(wrong);
        let refused = plane.run(Operation::SetPassword { password: password.clone() });
        assert!(refused.expect_err("refused").to_string().starts_with("client id"));
    }
    plane.transition(device("d1"), REVOKE).expect("revokes");
    plane.run(set("u0", "d1", 3)).expect_err("the device is revoked");
    plane.transition(selector("nobody"), Transition::Suspend).expect_err("there is none");
}

#[test]
fn verifiers_have_ranges_and_are_not_printed() {
    let of = |salt: usize, iterations| Verifier::new(vec![7; salt], iterations, [7; 32], [7; 32]);
    for (salt, iterations) in [(8, 4_096), (64, 1_000_000)] {
        of(salt, iterations).expect("at the edge");
    }
    for (salt, iterations) in [(7, 4_096), (65, 4_096), (8, 4_095), (8, 1_000_001)] {
        of(salt, iterations).expect_err("beyond it");
    }
    assert_eq!(format!("{:?}", verifier(7)), "Verifier { iterations: 4096, .. }");
    let command = Command::new("alice", START, set("pump", "d1", 7));
    assert!(!format!("{command:?}").contains("7, 7"), "{command:?}");
    for text in ["", "a b", "a/b", "ä", "a\u{0}"] {
        text.parse::<Username>().expect_err(text);
    }
    for text in ["a,b=c", "user@example.org", &"x".repeat(128)] {
        text.parse::<Username>().expect(text);
    }
}

const DEVICES: [&str; 2] = ["d1", "d2"];
const USERNAMES: [&str; 3] = ["a", "b", "c"];

/// By username: fingerprint, own status, device; and whatever was there before, with how it ended.
#[derive(Default)]
struct Model {
    devices: BTreeMap<&'static str, Status>,
    passwords: BTreeMap<&'static str, (Fingerprint, Status, &'static str)>,
    ended: BTreeMap<Fingerprint, State>,
}

impl Model {
    fn set(&mut self, username: &'static str, device: &'static str, fingerprint: Fingerprint) {
        self.devices.entry(device).or_insert(Status::ACTIVE);
        let mut status = Status::INACTIVE;
        if let Some((before, kept, _)) = self.passwords.remove(username) {
            self.ended.insert(before, State::Suspended);
            if kept.state == State::Suspended {
                status = kept;
            }
        }
        self.passwords.insert(username, (fingerprint, status, device));
    }

    fn change_password(&mut self, username: &'static str, transition: Transition) {
        let (fingerprint, status, _) = self.passwords.get_mut(username).expect("was changed");
        *status = status.apply(transition).expect("was carried out");
        if transition == Transition::Delete {
            self.ended.insert(*fingerprint, State::Deleted);
            self.passwords.remove(username);
        }
    }

    fn change_device(&mut self, device: &'static str, transition: Transition) {
        let status = self.devices.get_mut(device).expect("was changed");
        *status = status.apply(transition).expect("was carried out");
        if transition == Transition::Delete {
            self.devices.remove(device);
            let gone = self.passwords.extract_if(.., |_, (_, _, owner)| *owner == device);
            self.ended.extend(gone.map(|(_, (fingerprint, _, _))| (fingerprint, State::Deleted)));
        }
    }

    fn expected(&self) -> impl Iterator<Item = (Fingerprint, Verdict)> + '_ {
        let of = |state: State| match state.is_denied() {
            true => Verdict::Deny(Cause::Password(state)),
            false => Verdict::Allow,
        };
        let there = self.passwords.values().map(move |(fingerprint, own, device)| {
            let above = self.devices[device].state;
            (*fingerprint, of(if above.is_denied() { own.state.max(above) } else { own.state }))
        });
        there.chain(self.ended.iter().map(move |(fingerprint, state)| (*fingerprint, of(*state))))
    }
}

fn step(plane: &mut Plane, model: &mut Model, [kind, a, b, c]: [u8; 4]) -> Result<(), TestCaseError> {
    let username = USERNAMES[usize::from(a) % 3];
    let device_name = DEVICES[usize::from(b) % 2];
    let transition = TRANSITIONS[usize::from(c) % 4];
    let before = plane.view.clone();
    match kind % 8 {
        0..=2 => {
            if plane.run(set(username, device_name, c)).is_ok() {
                let fingerprint = password(plane, username).expect("was set").fingerprint;
                model.set(username, device_name, fingerprint);
            }
        }
        3..=5 => {
            if plane.transition(selector(username), transition).is_ok() {
                model.change_password(username, transition);
            }
        }
        6 => {
            if plane.transition(device(device_name), transition).is_ok() {
                model.change_device(device_name, transition);
            }
        }
        _ => {
            let used = model.passwords.values().map(|(fingerprint, _, _)| *fingerprint).collect();
            plane.run(Operation::RecordUsage { used, time: plane.time }).expect("records");
            for (_, status, _) in model.passwords.values_mut() {
                *status = status.used().unwrap_or(*status);
            }
        }
    }
    for (fingerprint, expected) in model.expected() {
        prop_assert_eq!(verdict(plane, fingerprint, None), expected);
        let principal = Principal { password: Some(fingerprint), ..anonymous("default") };
        let changed = before.verdict(&principal, plane.time) != expected;
        prop_assert!(!changed || plane.affected.contains(&Affected::Credential(fingerprint)));
    }
    prop_assert_eq!(plane.counts().passwords, model.passwords.len() as u64);
    prop_assert_eq!(plane.counts().denied, plane.view.denied_len() as u64);
    for (username, (_, status, _)) in &model.passwords {
        prop_assert_eq!(password(plane, username).expect("is there").status, *status);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    /// [`Plane::run`] compares the view that events fed with that of a snapshot, after each command.
    #[test]
    fn the_view_agrees_with_a_naive_model(steps in prop::collection::vec(any::<[u8; 4]>(), 1..60)) {
        let (mut plane, mut model) = (plane(), Model::default());
        for parts in steps {
            step(&mut plane, &mut model, parts)?;
        }
    }

    /// Replicas that apply the same commands write the same bytes.
    #[test]
    fn equal_commands_give_equal_bytes(steps in prop::collection::vec(any::<[u8; 4]>(), 1..30)) {
        let (mut one, mut two) = (plane(), plane());
        let (mut of_one, mut of_two) = (Model::default(), Model::default());
        for parts in steps {
            step(&mut one, &mut of_one, parts)?;
            step(&mut two, &mut of_two, parts)?;
        }
        prop_assert!(one.store.rows().eq(two.store.rows()));
    }
}
