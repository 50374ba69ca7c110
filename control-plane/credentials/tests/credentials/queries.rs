//! Lists in pages, look-ups, standings.

use revoq_credentials::query::{self, CertificateFilter, Page, PageToken};
use revoq_credentials::*;

use crate::support::*;

/// All items of a list, page by page.
fn all<T>(mut page: impl FnMut(Option<&PageToken>) -> Page<T>) -> Vec<T> {
    let (mut items, mut token) = (Vec::new(), None);
    loop {
        let Page { items: more, next } = page(token.as_ref());
        items.extend(more);
        let Some(next) = next else { return items };
        token = Some(next.to_string().parse().expect("its own text"));
    }
}

#[test]
fn certificates_in_pages() {
    let mut plane = Plane::new();
    let tenant = TenantName::default();
    let new: Vec<_> = (0..25)
        .map(|number| {
            plane.time = START.plus(u64::from(number));
            let authority = (number % 3 != 0).then_some("ca");
            plane.add(if number % 2 == 0 { "even" } else { "odd" }, number, authority)
        })
        .collect();
    plane.transition(Selector::Id(new[4].id), Transition::Suspend).expect("suspends");
    plane.transition(Selector::Id(new[5].id), Transition::Delete).expect("deletes");
    let list = |filter: &CertificateFilter, size: usize| {
        all(|token| query::list_certificates(&plane.store, &tenant, filter, size, token).expect("reads"))
    };
    let everything = CertificateFilter::default();
    for size in [0, 1, 7, 24, 25, 100_000] {
        let found = list(&everything, size);
        let expected: Vec<_> =
            new.iter().filter(|n| n.id != new[5].id).map(|n| (n.id, n.der.clone())).collect();
        assert_eq!(found.into_iter().map(|found| (found.id, found.der)).collect::<Vec<_>>(), expected);
    }
    let odd = CertificateFilter { device: Some(name("odd")), ..everything.clone() };
    assert_eq!(list(&odd, 5).len(), 11);
    let odd_of_ca = CertificateFilter { authority: Some(name("ca")), ..odd };
    assert_eq!(list(&odd_of_ca, 2).len(), 7);
    let suspended = CertificateFilter { state: Some(State::Suspended), ..everything };
    let found = list(&suspended, 1);
    assert_eq!(found.iter().map(|found| found.id).collect::<Vec<_>>(), [new[4].id]);
}

#[test]
fn a_filter_that_matches_little_pages_on() {
    let mut plane = Plane::new();
    let new: Vec<_> = (0..60)
        .map(|number| {
            plane.time = START.plus(u64::from(number));
            let new = certificate("default", "d1", number, None, plane.time);
            let operation = Operation::AddCertificate { certificate: Box::new(new.clone()) };
            plane.run_unchecked(operation).expect("adds");
            new
        })
        .collect();
    plane.transition(Selector::Id(new[59].id), Transition::Suspend).expect("suspends");
    let filter = CertificateFilter { state: Some(State::Suspended), ..CertificateFilter::default() };
    let mut pages = 0;
    let found = all(|token| {
        pages += 1;
        query::list_certificates(&plane.store, &TenantName::default(), &filter, 1, token).expect("reads")
    });
    assert_eq!(found.len(), 1);
    assert!(pages > 1, "no call looks at everything");
}

#[test]
fn tenants_devices_and_authorities() {
    let mut plane = Plane::new();
    for tenant in ["t1", "t2", "t3"] {
        plane.run(Operation::CreateTenant { name: name(tenant) }).expect("creates");
    }
    plane.transition(Selector::Tenant(name("t2")), Transition::Delete).expect("deletes");
    let tenants = all(|token| query::list_tenants(&plane.store, 1, token).expect("reads"));
    assert_eq!(
        tenants.iter().map(|tenant| tenant.name.as_str()).collect::<Vec<_>>(),
        ["default", "t1", "t3"]
    );

    for number in 0..5 {
        let site = if number < 3 { "north" } else { "south" };
        plane.run(create_device("t1", &format!("d{number}"), &[("site", site)])).expect("creates");
    }
    plane.run(create_device("t1", "d", &[("site", "north-2")])).expect("creates");
    let (key, value): (LabelKey, LabelValue) = (name("site"), name("north"));
    let devices = |label| {
        all(|token| query::list_devices(&plane.store, &name("t1"), label, 2, token).expect("reads")).len()
    };
    assert_eq!((devices(None), devices(Some((&key, &value)))), (6, 3));

    for authority in ["a", "b", "c"] {
        plane.run(create_authority("t1", authority)).expect("creates");
    }
    let b = Selector::Authority { tenant: name("t1"), name: name("b") };
    plane.transition(b, Transition::Delete).expect("deletes");
    let authorities = query::list_authorities(&plane.store, &name("t1")).expect("reads");
    assert_eq!(authorities.iter().map(|authority| authority.name.as_str()).collect::<Vec<_>>(), ["a", "c"]);
}

#[test]
fn a_token_of_another_list_is_harmless() {
    let plane = Plane::new();
    for text in ["ff", "00", "6365"] {
        let token: PageToken = text.parse().expect("hexadecimal");
        query::list_tenants(&plane.store, 5, Some(&token)).expect("reads");
    }
    for text in ["", "x", &"00".repeat(2_000)] {
        let error = text.parse::<PageToken>().expect_err("not a token").to_string();
        assert!(error.contains("next_page_token"), "{error}");
    }
}

#[test]
fn standings() {
    let mut plane = Plane::new();
    let new = plane.add("d1", 1, Some("ca"));
    let worst = |plane: &Plane| {
        let certificate = plane.certificate(&new).expect("is there");
        query::standing(&plane.store, &certificate).expect("reads").worst()
    };
    assert_eq!(worst(&plane), State::Inactive);
    plane.transition(device("d1"), Transition::Suspend).expect("suspends");
    assert_eq!(worst(&plane), State::Suspended);
    plane.transition(Selector::Tenant(new.tenant.clone()), REVOKE).expect("revokes");
    assert_eq!(worst(&plane), State::Revoked);
    plane.transition(device("d1"), Transition::Delete).expect("deletes");
    assert_eq!(worst(&plane), State::Deleted);
    plane.transition(authority_selector("ca"), REVOKE).expect("revokes");
    let certificate = plane.certificate(&new).expect("is there");
    let authority = query::standing(&plane.store, &certificate).expect("reads").authority;
    assert_eq!(authority.expect("is there").status.state, State::Revoked);
}

#[test]
fn a_damaged_row_is_a_read_error_that_names_it() {
    let mut plane = Plane::new();
    let (key, _) = plane.store.rows().find(|(key, _)| key.starts_with(b"te")).expect("a tenant");
    let damaged = Write::Put(key.to_vec(), vec![0xff]);
    plane.store.commit(&[damaged]);
    let error = query::tenant(&plane.store, &TenantName::default()).expect_err("damaged").to_string();
    assert!(error.contains("row tedefault\\x00 cannot be decoded"), "{error}");
    let command = Command::new("a", START, Operation::CreateTenant { name: TenantName::default() });
    assert!(apply(&plane.store, Revision(9), &command).is_err(), "nothing is applied");
}
