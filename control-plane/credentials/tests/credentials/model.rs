//! Random commands against a naive model: maps of what there is, and one loop over all of it.

use std::collections::BTreeMap;

use proptest::prelude::*;
use revoq_credentials::*;

use crate::support::*;

const TENANTS: [&str; 2] = ["default", "t1"];
const AUTHORITIES: [&str; 2] = ["ca", "cb"];
const DEVICES: [&str; 3] = ["d1", "d2", "d3"];

/// What one step is made of; what each means depends on the kind.
type Step = (u8, [u8; 4]);

struct Owned {
    new: NewCertificate,
    status: Status,
    issued: Millis,
}

#[derive(Default)]
struct Model {
    tenants: BTreeMap<&'static str, Status>,
    authorities: BTreeMap<(&'static str, &'static str), Status>,
    /// With the site that each is labelled with.
    devices: BTreeMap<(String, String), (Status, String)>,
    certificates: BTreeMap<Fingerprint, Owned>,
    optional: bool,
}

fn pick<const N: usize>(from: [&'static str; N], number: u8) -> &'static str {
    from[usize::from(number) % N]
}

fn transition(number: u8) -> Transition {
    TRANSITIONS[usize::from(number) % 4]
}

/// The selector of a step. Tenants are hit rarely, as everything below stands still then.
fn selector([which, a, b, _]: [u8; 4], model: &Model, now: Millis) -> Selector {
    let tenant = pick(TENANTS, a);
    let of_any = || {
        let index = usize::from(b) % model.certificates.len().max(1);
        model
            .certificates
            .values()
            .nth(index)
            .map_or_else(|| certificate("t1", "d1", 0, None, now), |o| o.new.clone())
    };
    match which % 16 {
        0..=2 => Selector::Id(of_any().id),
        3..=4 => Selector::Fingerprint(of_any().fingerprint),
        5 => Selector::Serial { issuer: Issuer::Der(of_any().issuer), serial: of_any().serial },
        6 => Selector::Serial { issuer: Issuer::Text(of_any().issuer_text), serial: of_any().serial },
        7..=9 => Selector::Device { tenant: name(tenant), name: name(pick(DEVICES, b)) },
        10..=11 => Selector::Label {
            tenant: name(tenant),
            key: name("site"),
            value: name(pick(["north", "south"], b)),
        },
        12..=13 => {
            let authority = (b % 2 == 0).then(|| name(pick(AUTHORITIES, b / 2)));
            Selector::IssuedBefore {
                tenant: name(tenant),
                authority,
                time: now.minus(u64::from(b) * DAY / 2),
            }
        }
        14 => Selector::Authority { tenant: name(tenant), name: name(pick(AUTHORITIES, b)) },
        _ => Selector::Tenant(name(tenant)),
    }
}

fn operation((kind, parts): Step, model: &Model, number: u32, now: Millis) -> Operation {
    let [a, b, c, d] = parts;
    let tenant = pick(TENANTS, a);
    match kind % 16 {
        0 => Operation::CreateTenant { name: name("t1") },
        1 => create_authority(tenant, pick(AUTHORITIES, b)),
        2 => create_device(tenant, pick(DEVICES, b), &[("site", pick(["north", "south"], c))]),
        3..=6 => {
            let authority = (c % 3 != 0).then(|| pick(AUTHORITIES, c));
            // Some come again, under another id.
            let which = if d < 50 { u32::from(d) % 4 } else { number };
            let mut new = certificate(tenant, pick(DEVICES, b), which, authority, now);
            new.id.0[..4].copy_from_slice(&number.to_be_bytes());
            new.not_after = now.plus([DAY, 50 * DAY, 1_000 * DAY][usize::from(d) % 3]);
            Operation::AddCertificate { certificate: Box::new(new) }
        }
        7 => {
            let value = ["optional", "required"][usize::from(a) % 2].to_owned();
            Operation::SetSetting { key: "client_certificate".to_owned(), value: Some(value) }
        }
        8..=9 => {
            let used = model.certificates.keys().skip(usize::from(a) % 4).step_by(2).copied().collect();
            Operation::RecordUsage { used, time: now }
        }
        _ => {
            let selector = selector([a, b, c, d], model, now);
            Operation::Transition { selector, transition: transition(d), comment: String::new() }
        }
    }
}

fn key(tenant: &TenantName, device: &DeviceName) -> (String, String) {
    (tenant.to_string(), device.to_string())
}

impl Model {
    fn new() -> Model {
        let mut model = Model::default();
        model.tenants.insert("default", Status::ACTIVE);
        model.authorities.insert(("default", "ca"), Status::ACTIVE);
        model
    }

    /// Follows an operation that was carried out; for certificates, says how many changed.
    fn follow(&mut self, operation: &Operation, now: Millis) -> Option<u64> {
        let known = |names: [&'static str; 2], wanted: &str| {
            names.into_iter().find(|name| *name == wanted).expect("one of two")
        };
        match operation {
            Operation::CreateTenant { name } => {
                self.tenants.insert(known(TENANTS, name.as_str()), Status::ACTIVE);
            }
            Operation::CreateAuthority { authority: Authority { tenant, name, .. } } => {
                let key = (known(TENANTS, tenant.as_str()), known(AUTHORITIES, name.as_str()));
                self.authorities.insert(key, Status::ACTIVE);
            }
            Operation::CreateDevice { tenant, name, labels } => {
                let site = labels.values().next().map(ToString::to_string).unwrap_or_default();
                self.devices.insert(key(tenant, name), (Status::ACTIVE, site));
            }
            Operation::AddCertificate { certificate } => {
                let new = NewCertificate::clone(certificate);
                let device = (Status::ACTIVE, String::new());
                self.devices.entry(key(&new.tenant, &new.device)).or_insert(device);
                let owned = Owned { status: Status::INACTIVE, issued: now, new };
                self.certificates.insert(owned.new.fingerprint, owned);
            }
            Operation::SetSetting { value, .. } => self.optional = value.as_deref() == Some("optional"),
            Operation::RecordUsage { used, .. } => {
                for fingerprint in used {
                    let owned = self.certificates.get_mut(fingerprint).expect("of the model");
                    owned.status = owned.status.used().unwrap_or(owned.status);
                }
            }
            Operation::Transition { selector, transition, .. } => return self.change(selector, *transition),
            _ => {}
        }
        None
    }

    fn change(&mut self, selector: &Selector, transition: Transition) -> Option<u64> {
        let apply = |status: &mut Status| *status = status.apply(transition).expect("was carried out");
        match selector {
            Selector::Tenant(name) => apply(self.tenants.get_mut(name.as_str())?),
            Selector::Authority { tenant, name } => {
                let found =
                    self.authorities.iter_mut().find(|(key, _)| **key == (tenant.as_str(), name.as_str()));
                apply(found?.1);
            }
            Selector::Device { tenant, name } => {
                let key = key(tenant, name);
                apply(&mut self.devices.get_mut(&key)?.0);
                if transition == Transition::Delete {
                    self.devices.remove(&key);
                    for owned in self.certificates.values_mut() {
                        if owned.new.tenant == *tenant && owned.new.device == *name {
                            owned.status = owned.status.apply(transition).unwrap_or(owned.status);
                        }
                    }
                }
            }
            _ => {
                let matched: Vec<_> = self
                    .certificates
                    .values()
                    .filter(|o| self.matches(selector, o))
                    .map(|o| o.new.fingerprint)
                    .collect();
                let mut changed = 0;
                for fingerprint in matched {
                    let owned = self.certificates.get_mut(&fingerprint).expect("matched");
                    if let Ok(status) = owned.status.apply(transition) {
                        owned.status = status;
                        changed += 1;
                    }
                }
                return Some(changed);
            }
        }
        None
    }

    fn matches(&self, selector: &Selector, Owned { new, status, issued }: &Owned) -> bool {
        let live = status.state != State::Deleted;
        match selector {
            Selector::Id(id) => new.id == *id,
            Selector::Fingerprint(fingerprint) => new.fingerprint == *fingerprint,
            Selector::Serial { issuer: Issuer::Der(der), serial } => {
                new.issuer == *der && new.serial == *serial
            }
            Selector::Serial { issuer: Issuer::Text(text), serial } => {
                new.issuer_text == *text && new.serial == *serial
            }
            Selector::Label { tenant, value, .. } => {
                let device = self.devices.get(&key(&new.tenant, &new.device));
                live && new.tenant == *tenant && device.is_some_and(|(_, site)| site == value.as_str())
            }
            Selector::IssuedBefore { tenant, authority, time } => {
                let authority = authority.is_none() || new.authority == *authority;
                live && new.tenant == *tenant && authority && issued < time
            }
            _ => unreachable!("not a selector of certificates"),
        }
    }

    /// By looking at everything. Two answers may be right: what expired long ago may have been forgotten.
    fn verdicts(&self, Owned { new, status, .. }: &Owned, now: Millis) -> Vec<Verdict> {
        let deny = |cause| vec![Verdict::Deny(cause)];
        let tenant = self.tenants.get(new.tenant.as_str()).map_or(State::Deleted, |status| status.state);
        if tenant.is_denied() {
            return deny(Cause::Tenant(tenant));
        }
        if let Some(authority) = &new.authority {
            let found =
                self.authorities.iter().find(|(key, _)| **key == (new.tenant.as_str(), authority.as_str()));
            match found.expect("it issued").1.state {
                State::Deleted => return deny(Cause::AuthorityUnknown),
                state if state.is_denied() => return deny(Cause::Authority(state)),
                _ => {}
            }
        }
        let device = self
            .devices
            .get(&key(&new.tenant, &new.device))
            .map_or(State::Active, |(status, _)| status.state);
        let effective = if device.is_denied() { status.state.max(device) } else { status.state };
        let expired = now > new.not_after;
        match (effective.is_denied(), expired) {
            (true, false) => deny(Cause::Certificate(effective)),
            (true, true) => vec![Verdict::Deny(Cause::Certificate(effective)), Verdict::Deny(Cause::Expired)],
            (false, true) => deny(Cause::Expired),
            (false, false) => vec![Verdict::Allow],
        }
    }
}

/// Whether the sweep that was ordered reaches a principal.
fn reached(affected: &[Affected], principal: &Principal) -> bool {
    affected.iter().any(|affected| match (affected, &principal.credential) {
        (Affected::All | Affected::Settings, _) => true,
        (Affected::Tenant(tenant), _) => *tenant == principal.tenant,
        (Affected::Credential(swept), Credential::Certificate { fingerprint, .. }) => swept == fingerprint,
        (Affected::Authority { tenant, name }, Credential::Certificate { authority, .. }) => {
            *tenant == principal.tenant && authority.as_ref() == Some(name)
        }
        _ => false,
    })
}

fn step(plane: &mut Plane, model: &mut Model, step: Step, number: u32) -> Result<(), TestCaseError> {
    let operation = operation(step, model, number, plane.time);
    let before = plane.view.clone();
    if let Ok(outcome) = plane.run(operation.clone()) {
        let expected = model.follow(&operation, plane.time);
        prop_assert_eq!(expected.unwrap_or(outcome.changed), outcome.changed, "{:?}", operation);
    }
    for owned in model.certificates.values() {
        let (principal, new) = (principal(&owned.new), &owned.new);
        let verdict = plane.view.verdict(&principal, plane.time);
        let expected = model.verdicts(owned, plane.time);
        prop_assert!(expected.contains(&verdict), "{verdict:?} is none of {expected:?} for {new:?}");
        let changed = before.verdict(&principal, plane.time) != verdict;
        prop_assert!(
            !changed || reached(&plane.affected, &principal),
            "{operation:?} does not sweep {new:?}"
        );
    }
    for tenant in TENANTS {
        let verdict = plane.view.verdict(&anonymous(tenant), plane.time);
        let state = model.tenants.get(tenant).map_or(State::Deleted, |status| status.state);
        prop_assert_eq!(verdict == Verdict::Allow, model.optional && !state.is_denied());
        let changed = before.verdict(&anonymous(tenant), plane.time) != verdict;
        prop_assert!(!changed || reached(&plane.affected, &anonymous(tenant)));
    }
    let live = model.certificates.values().filter(|owned| owned.status.state != State::Deleted).count();
    prop_assert_eq!(plane.counts().certificates, live as u64);
    prop_assert_eq!(plane.counts().denied, plane.view.denied_len() as u64);
    prop_assert_eq!(plane.counts().devices, model.devices.len() as u64);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    /// [`Plane::run`] besides compares the view that events fed with that of a snapshot, after each command.
    #[test]
    fn the_view_agrees_with_a_naive_model(steps in prop::collection::vec((any::<Step>(), 0..8_u64), 1..80)) {
        let (mut plane, mut model) = (Plane::new(), Model::new());
        for (number, (parts, days)) in (100..).zip(steps) {
            plane.time = plane.time.plus(days * DAY);
            step(&mut plane, &mut model, parts, number)?;
        }
        let entries = query::audit(&plane.store, 0, 1_000).expect("reads");
        prop_assert_eq!(audit::verify(&entries), Ok(()));
    }

    /// Replicas that apply the same commands write the same bytes.
    #[test]
    fn equal_commands_give_equal_bytes(steps in prop::collection::vec(any::<Step>(), 1..40)) {
        let (mut one, mut two) = (Plane::new(), Plane::new());
        let mut model = Model::new();
        for (number, parts) in (100..).zip(steps) {
            let operation = operation(parts, &model, number, one.time);
            let results = (one.run_unchecked(operation.clone()), two.run_unchecked(operation.clone()));
            prop_assert_eq!(&results.0, &results.1);
            prop_assert_eq!(one.event.as_ref().map(Event::encode), two.event.as_ref().map(Event::encode));
            if results.0.is_ok() {
                model.follow(&operation, one.time);
            }
        }
        prop_assert!(one.store.rows().eq(two.store.rows()));
    }
}
