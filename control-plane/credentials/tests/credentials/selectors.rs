//! What each selector names.

use revoq_credentials::query::{Selection, select};
use revoq_credentials::*;

use crate::support::*;

/// Two devices in the north with two certificates each, one in the south, a leaf without a label.
fn plant() -> (Plane, Vec<NewCertificate>) {
    let mut plane = Plane::new();
    plane.run(create_authority("default", "cb")).expect("creates");
    for (device, site) in [("n1", "north"), ("n2", "north"), ("s1", "south")] {
        plane.run(create_device("default", device, &[("site", site)])).expect("creates");
    }
    let mut all = Vec::new();
    for (number, device, authority) in [
        (1, "n1", Some("ca")),
        (2, "n1", None),
        (3, "n2", Some("ca")),
        (4, "n2", Some("cb")),
        (5, "s1", Some("ca")),
        (6, "x", None),
    ] {
        plane.time = START.plus(u64::from(number) * 1_000);
        all.push(plane.add(device, number, authority));
    }
    (plane, all)
}

/// The numbers (from 1) of the certificates that a selector names.
fn numbers(plane: &Plane, all: &[NewCertificate], selector: &Selector) -> Vec<usize> {
    let selection = select(&plane.store, selector).expect("names something");
    let fingerprints = selection.fingerprints();
    let mut numbers: Vec<_> = fingerprints
        .iter()
        .map(|found| 1 + all.iter().position(|new| new.fingerprint == *found).expect("is one of all"))
        .collect();
    numbers.sort_unstable();
    numbers
}

fn label(site: &str) -> Selector {
    Selector::Label { tenant: TenantName::default(), key: name("site"), value: name(site) }
}

fn issued_before(authority: Option<&str>, seconds: u64) -> Selector {
    let time = START.plus(seconds * 1_000);
    Selector::IssuedBefore { tenant: TenantName::default(), authority: authority.map(name), time }
}

#[test]
fn what_they_name() {
    let (plane, all) = plant();
    let serial = |issuer| Selector::Serial { issuer, serial: all[2].serial.clone() };
    for (selector, expected) in [
        (Selector::Id(all[0].id), vec![1]),
        (Selector::Fingerprint(all[1].fingerprint), vec![2]),
        (serial(Issuer::Der(b"ca".to_vec())), vec![3]),
        (serial(Issuer::Text("CN=ca,O=Plant,C=DE".to_owned())), vec![3]),
        (serial(Issuer::Text("C = de, O = \"plant\", CN = CA".to_owned())), vec![3]),
        (device("n2"), vec![3, 4]),
        (label("north"), vec![1, 2, 3, 4]),
        (label("south"), vec![5]),
        (issued_before(None, 4), vec![1, 2, 3]),
        (issued_before(None, 100), vec![1, 2, 3, 4, 5, 6]),
        (issued_before(Some("ca"), 5), vec![1, 3]),
        (issued_before(Some("cb"), 5), vec![4]),
        (authority_selector("ca"), vec![]),
        (Selector::Tenant(TenantName::default()), vec![]),
    ] {
        assert_eq!(numbers(&plane, &all, &selector), expected, "{selector}");
    }
    let found = select(&plane.store, &authority_selector("ca")).expect("is there");
    assert!(matches!(found, Selection::Authority(authority) if authority.name == name("ca")));
    for selector in [issued_before(None, 1), issued_before(Some("cb"), 4), label("east")] {
        assert!(matches!(select(&plane.store, &selector), Err(Error::Refused(Refusal::NotFound { .. }))));
    }
}

#[test]
fn several_are_counted_where_one_is_refused() {
    let (mut plane, all) = plant();
    plane.transition(Selector::Id(all[0].id), REVOKE).expect("revokes");
    plane.transition(Selector::Id(all[2].id), Transition::Suspend).expect("suspends");
    let outcome = plane.transition(label("north"), Transition::Suspend).expect("suspends the others");
    assert_eq!((outcome.changed, outcome.unchanged), (2, 2));
    assert_eq!(plane.changes().len(), 2);
    let again = plane.transition(label("north"), Transition::Suspend).expect("changes nothing");
    assert_eq!((again.changed, again.unchanged), (0, 4));
    assert_eq!(plane.event, None);
    assert_eq!(plane.last_entry().detail, "0 changed, 4 unchanged");
    let outcome = plane.transition(label("north"), Transition::Reactivate).expect("reactivates");
    assert_eq!((outcome.changed, outcome.unchanged), (3, 1));
    assert_eq!(plane.state(&all[0]), State::Revoked);
    let refusal = plane.transition(Selector::Fingerprint(all[0].fingerprint), Transition::Suspend);
    assert!(matches!(refusal, Err(Refusal::Illegal { from: State::Revoked, to: State::Suspended, .. })));
    // A label leaves the devices alone.
    plane.transition(label("south"), Transition::Delete).expect("deletes");
    let device =
        query::device(&plane.store, &all[4].tenant, &all[4].device).expect("reads").expect("is there");
    assert_eq!((device.status, device.certificates), (Status::ACTIVE, 0));
}

#[test]
fn leaves_with_one_serial_number_are_changed_together() {
    let mut plane = Plane::new();
    let twins: Vec<_> = [1, 2]
        .into_iter()
        .map(|number| NewCertificate {
            serial: name("0x05"),
            ..certificate("default", "d1", number, None, START)
        })
        .collect();
    for new in &twins {
        plane.run(Operation::AddCertificate { certificate: Box::new(new.clone()) }).expect("adds");
    }
    let selector = Selector::Serial { issuer: Issuer::Der(b"self".to_vec()), serial: name("5") };
    assert_eq!(plane.transition(selector.clone(), Transition::Suspend).expect("suspends").changed, 2);
    assert_eq!(plane.transition(selector, Transition::Suspend).expect("counts").unchanged, 2);
}

#[test]
fn an_issuer_is_not_taken_for_another() {
    let (plane, all) = plant();
    for text in ["CN=ca,O=Plant", "CN=ca,C=DE,O=Plant", "CN=ca\\,O=Plant,C=DE", "", "ca"] {
        let selector =
            Selector::Serial { issuer: Issuer::Text(text.to_owned()), serial: all[0].serial.clone() };
        assert!(select(&plane.store, &selector).is_err(), "{text}");
    }
}
