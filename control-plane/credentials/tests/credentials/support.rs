//! A control plane in memory that checks after each command what always holds.

use revoq_credentials::query::{self, SnapshotCursor};
use revoq_credentials::*;

pub(crate) const DAY: u64 = 86_400_000;
/// When the cluster is initialized.
pub(crate) const START: Millis = Millis(1_767_225_600_000);

pub(crate) struct Plane {
    pub(crate) store: MemoryStore,
    pub(crate) view: View,
    pub(crate) revision: Revision,
    pub(crate) time: Millis,
    pub(crate) event: Option<Event>,
    pub(crate) affected: Vec<Affected>,
}

impl Plane {
    /// Initialized, with authority `default/ca`.
    pub(crate) fn new() -> Plane {
        let mut plane = Plane::empty();
        plane.run(initialize()).expect("initializes");
        plane.run(create_authority("default", "ca")).expect("creates the authority");
        plane
    }

    pub(crate) fn empty() -> Plane {
        let (store, view) = (MemoryStore::new(), View::new());
        Plane { store, view, revision: Revision(0), time: START, event: None, affected: Vec::new() }
    }

    /// Applies, commits, and checks the invariants.
    pub(crate) fn run(&mut self, operation: Operation) -> Result<Outcome, Refusal> {
        let before = self.store.clone();
        let head = query::audit_head(&self.store).expect("reads").map_or(0, |head| head.number);
        let usage = matches!(operation, Operation::RecordUsage { .. });
        let result = self.run_unchecked(operation);
        let entries = query::audit(&self.store, head, 1_000).expect("reads");
        match &result {
            Ok(_) if usage => {}
            Ok(_) => assert!(entries.iter().any(|entry| entry.revision == self.revision), "no audit entry"),
            Err(refusal) => {
                assert_eq!(entries.len(), 1);
                assert_eq!(entries[0].outcome, refusal.code());
                assert_eq!(entries[0].detail, refusal.to_string());
                assert_eq!(without_audit(&before), without_audit(&self.store), "a refusal changed rows");
                assert_eq!(self.event, None);
            }
        }
        assert_eq!(self.view, snapshot_view(&self.store, self.revision), "events and snapshot differ");
        result
    }

    pub(crate) fn run_unchecked(&mut self, operation: Operation) -> Result<Outcome, Refusal> {
        self.revision.0 += 1;
        let command = Command::new("alice", self.time, operation);
        let command = Command::decode(&command.encode()).expect("decodes what it encodes");
        let applied = apply(&self.store, self.revision, &command).expect("the store is sound");
        self.store.commit(&applied.writes);
        self.affected = match &applied.event {
            Some(event) => {
                let event = Event::decode(&event.encode()).expect("decodes what it encodes");
                self.view.apply(&event)
            }
            None => Vec::new(),
        };
        self.view.advance(self.revision);
        self.event = applied.event;
        applied.result
    }

    pub(crate) fn transition(
        &mut self,
        selector: Selector,
        transition: Transition,
    ) -> Result<Outcome, Refusal> {
        self.run(Operation::Transition { selector, transition, comment: String::new() })
    }

    /// Issued by `default/ca`, or registered; the device is created. Numbers make different certificates.
    pub(crate) fn add(&mut self, device: &str, number: u32, authority: Option<&str>) -> NewCertificate {
        let new = certificate("default", device, number, authority, self.time);
        self.run(Operation::AddCertificate { certificate: Box::new(new.clone()) }).expect("adds");
        new
    }

    pub(crate) fn certificate(&self, new: &NewCertificate) -> Option<Certificate> {
        query::certificate_by_fingerprint(&self.store, &new.fingerprint).expect("reads")
    }

    pub(crate) fn state(&self, new: &NewCertificate) -> State {
        self.certificate(new).expect("is there").status.state
    }

    pub(crate) fn verdict(&self, new: &NewCertificate) -> Verdict {
        self.view.verdict(&principal(new), self.time)
    }

    pub(crate) fn changes(&self) -> &[Change] {
        self.event.as_ref().map_or(&[], |event| &event.changes)
    }

    pub(crate) fn counts(&self) -> query::Counts {
        query::counts(&self.store).expect("reads")
    }

    pub(crate) fn last_entry(&self) -> AuditEntry {
        let head = query::audit_head(&self.store).expect("reads").expect("there are entries");
        query::audit(&self.store, head.number - 1, 1).expect("reads").remove(0)
    }
}

/// The rows but those of the audit log.
fn without_audit(store: &MemoryStore) -> Vec<(Vec<u8>, Vec<u8>)> {
    let audit = |key: &[u8]| key.starts_with(b"ah") || key.starts_with(b"an");
    store.rows().filter(|(key, _)| !audit(key)).map(|(key, value)| (key.to_vec(), value.to_vec())).collect()
}

/// As a broker gets it, in small parts.
pub(crate) fn snapshot_view(store: &MemoryStore, revision: Revision) -> View {
    let mut changes = Vec::new();
    let mut cursor: Option<SnapshotCursor> = None;
    loop {
        let (part, next) = query::snapshot(store, cursor, 3).expect("reads");
        changes.extend(part);
        cursor = next;
        if cursor.is_none() {
            return View::from_snapshot(revision, changes.into_iter());
        }
    }
}

pub(crate) fn principal(new: &NewCertificate) -> Principal {
    Principal {
        tenant: new.tenant.clone(),
        device: Some(new.device.clone()),
        credential: Credential::Certificate {
            fingerprint: new.fingerprint,
            authority: new.authority.clone(),
            not_after: new.not_after,
        },
        password: None,
    }
}

pub(crate) fn anonymous(tenant: &str) -> Principal {
    Principal { tenant: name(tenant), device: None, credential: Credential::Anonymous, password: None }
}

/// Any name or id.
pub(crate) fn name<T: std::str::FromStr<Err = NameError>>(text: &str) -> T {
    text.parse().expect("a valid name")
}

pub(crate) fn initialize() -> Operation {
    Operation::Initialize {
        cluster: Cluster { name: "plant".to_owned(), authority_der: vec![1], sealed_authority_key: vec![2] },
        node: Node {
            id: NodeId(1),
            name: name("replica-1"),
            kind: NodeKind::Replica,
            address: Some("127.0.0.1:7000".to_owned()),
            fingerprint: Fingerprint([1; 32]),
            joined: START,
            revision: None,
        },
        administrator: administrator("root", Role::Administrator, 1),
        ticket_keys: SealedTicketKeys(vec![3]),
    }
}

pub(crate) fn administrator(who: &str, role: Role, number: u8) -> Administrator {
    Administrator {
        name: name(who),
        role,
        fingerprint: Fingerprint([number; 32]),
        not_after: START.plus(365 * DAY),
    }
}

pub(crate) fn authority(tenant: &str, authority: &str) -> Authority {
    let der = format!("{tenant}/{authority}").into_bytes();
    Authority {
        tenant: name(tenant),
        name: name(authority),
        status: Status::ACTIVE,
        fingerprint: Fingerprint::of(&der),
        der,
        not_before: START,
        not_after: START.plus(3650 * DAY),
        created: START,
        sealed_key: Some(vec![4]),
    }
}

pub(crate) fn create_authority(tenant: &str, of: &str) -> Operation {
    Operation::CreateAuthority { authority: authority(tenant, of) }
}

pub(crate) fn create_device(tenant: &str, device: &str, labels: &[(&str, &str)]) -> Operation {
    let labels = labels.iter().map(|(key, value)| (name(key), name(value))).collect();
    Operation::CreateDevice { tenant: name(tenant), name: name(device), labels }
}

pub(crate) fn certificate(
    tenant: &str,
    device: &str,
    number: u32,
    authority: Option<&str>,
    time: Millis,
) -> NewCertificate {
    let der = format!("certificate {number}").into_bytes();
    let fingerprint = Fingerprint::of(&der);
    let mut id = [0; 16];
    id.copy_from_slice(&fingerprint.0[..16]);
    let issuer = authority.unwrap_or("self");
    NewCertificate {
        id: CertificateId(id),
        tenant: name(tenant),
        device: name(device),
        authority: authority.map(name),
        fingerprint,
        serial: Serial::from_bytes(&number.to_be_bytes()).expect("a serial"),
        issuer: issuer.as_bytes().to_vec(),
        issuer_text: format!("CN={issuer},O=Plant,C=DE"),
        subject_text: format!("CN={device}"),
        not_before: time,
        not_after: time.plus(365 * DAY),
        der,
    }
}

pub(crate) fn device(name_of: &str) -> Selector {
    Selector::Device { tenant: TenantName::default(), name: name(name_of) }
}

pub(crate) fn authority_selector(of: &str) -> Selector {
    Selector::Authority { tenant: TenantName::default(), name: name(of) }
}

pub(crate) const REVOKE: Transition = Transition::Revoke(RevocationReason::KeyCompromise);
pub(crate) const TRANSITIONS: [Transition; 4] =
    [Transition::Suspend, Transition::Reactivate, REVOKE, Transition::Delete];
