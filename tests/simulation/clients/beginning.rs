//! The cluster as it is when trouble begins: tenants, authorities, devices with their certificates, broker nodes.

use std::collections::BTreeSet;
use std::rc::Rc;

use revoq_credentials::{
    Administrator, Cluster, Command, Fingerprint, JoinToken, MemoryStore, Millis, NewNode, Node, NodeId,
    NodeKind, Operation, Outcome, Revision, Role, SealedTicketKeys, apply,
};

use super::book::{Book, DAY, authority, evidence, name};
use super::devices::Device;
use crate::engine::Engine;
use crate::raft::{Members, Position};
use crate::replica::Image;

/// When the first command was proposed: 2026.
pub(crate) const START: Millis = Millis(1_767_225_600_000);

/// With which brokers join.
pub(crate) const TOKEN: [u8; 32] = [7; 32];

/// A cluster, and who uses it.
#[derive(Debug)]
pub(crate) struct Beginning {
    pub(crate) image: Rc<Image>,
    pub(crate) book: Book,
    pub(crate) devices: Vec<Device>,
    /// The numbers of the broker nodes.
    pub(crate) nodes: Vec<u64>,
    /// Certificates that are matched byte for byte.
    pub(crate) leaves: BTreeSet<Fingerprint>,
}

struct Builder {
    store: MemoryStore,
    revision: u64,
}

impl Builder {
    fn run(&mut self, operation: Operation) -> Outcome {
        self.revision += 1;
        let command = Command::new("beginning", START, operation);
        let applied = apply(&self.store, Revision(self.revision), &command).expect("memory can be read");
        self.store.commit(&applied.writes);
        applied.result.expect("a good command")
    }

    fn set(&mut self, key: &str, value: &str) {
        self.run(Operation::SetSetting { key: key.to_owned(), value: Some(value.to_owned()) });
    }
}

fn initialize() -> Operation {
    Operation::Initialize {
        cluster: Cluster {
            name: "simulated".to_owned(),
            authority_der: vec![1],
            sealed_authority_key: vec![2],
        },
        node: Node {
            id: NodeId(1),
            name: name("replica-1"),
            kind: NodeKind::Replica,
            address: Some("replica-1:1".to_owned()),
            fingerprint: Fingerprint([1; 32]),
            joined: START,
            revision: None,
        },
        administrator: Administrator {
            name: name("root"),
            role: Role::Administrator,
            fingerprint: Fingerprint([2; 32]),
            not_after: START.plus(365 * DAY),
        },
        ticket_keys: SealedTicketKeys(vec![3]),
    }
}

/// A broker that joins.
pub(crate) fn join(seat: u8, number: u32) -> Operation {
    let node = NewNode {
        name: name(&format!("broker-{seat}")),
        kind: NodeKind::Broker,
        address: None,
        fingerprint: Fingerprint::of(format!("node {number}").as_bytes()),
    };
    Operation::JoinNode { token: TOKEN, node }
}

/// Makes the cluster of a run.
pub(crate) fn begin(engine: &mut Engine) -> Beginning {
    let mut builder = Builder { store: MemoryStore::new(), revision: 0 };
    let mut book = Book::default();
    book.tenants = vec![name("default"), name("t1")];
    builder.run(initialize());
    builder.set("lease", engine.plan.lease);
    builder.set("stale_grace", engine.plan.grace);
    if engine.chance.percent(60) {
        builder.set("client_certificate", "optional");
    }
    builder.run(Operation::CreateTenant { name: name("t1") });
    for (tenant, of) in [("default", "ca"), ("default", "cb"), ("t1", "ca")] {
        builder.run(Operation::CreateAuthority { authority: authority(tenant, of, START) });
        book.authorities.push((name(tenant), of.to_owned()));
    }
    let expires = START.plus(365 * DAY);
    let token = JoinToken { hash: TOKEN, kind: NodeKind::Broker, uses_left: None, expires };
    builder.run(Operation::CreateJoinToken { token });
    let nodes = join_brokers(&mut builder, &mut book, engine.plan.brokers);
    let (devices, leaves) = make_devices(&mut builder, &mut book, engine);
    let voters: BTreeSet<u64> = (1..=u64::from(engine.plan.replicas)).collect();
    let seats = voters.iter().zip(0_u8..).map(|(id, seat)| (*id, seat)).collect();
    let members = Rc::new(Members { voters, learners: BTreeSet::new(), seats });
    let at = Position { index: builder.revision, term: 1 };
    let image = Rc::new(Image::new(at, members, builder.store));
    Beginning { image, book, devices, nodes, leaves }
}

fn join_brokers(builder: &mut Builder, book: &mut Book, brokers: u8) -> Vec<u64> {
    let mut nodes = Vec::new();
    for seat in 0..brokers {
        let outcome = builder.run(join(seat, book.number()));
        nodes.push(outcome.node.expect("a join gives a number").0);
    }
    book.nodes.clone_from(&nodes);
    nodes
}

fn make_devices(
    builder: &mut Builder,
    book: &mut Book,
    engine: &Engine,
) -> (Vec<Device>, BTreeSet<Fingerprint>) {
    let mut devices = Vec::new();
    let mut leaves = BTreeSet::new();
    for number in 0..engine.plan.devices {
        // The last one shows nothing.
        if number + 1 == engine.plan.devices {
            devices.push(Device::anonymous());
            continue;
        }
        let (tenant, authority) =
            [("default", Some("ca")), ("default", None), ("t1", Some("ca")), ("default", Some("cb"))]
                [number % 4];
        let (device, site) = (format!("d{number}"), ["north", "south"][number % 2]);
        let labels = [(name("site"), name(site))].into_iter().collect();
        builder.run(Operation::CreateDevice { tenant: name(tenant), name: name(&device), labels });
        let new = book.certificate(tenant, &device, authority, START);
        if authority.is_none() {
            leaves.insert(new.fingerprint);
        }
        builder.run(Operation::AddCertificate { certificate: Box::new(new.clone()) });
        devices.push(Device::with(evidence(&new)));
        book.certificates.push((number, new));
    }
    (devices, leaves)
}
