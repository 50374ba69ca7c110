//! Who may call what. The one table; a test holds it against the `.proto` files.

use revoq_credentials::{Role, Selector};

/// What a caller must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Requirement {
    /// Anybody, without a certificate too.
    Anyone,
    Replica,
    Broker,
    /// An administrator of this role or a higher one.
    AtLeast(Role),
}

use Requirement::{Anyone, AtLeast, Broker, Replica};
use Role::{Administrator, Auditor, Operator};

/// Each method of each service.
pub(crate) const TABLE: &[(&str, &[(&str, Requirement)])] = &[
    (
        "revoq.v1.Cluster",
        &[
            ("Status", AtLeast(Auditor)),
            ("CreateJoinToken", AtLeast(Administrator)),
            ("RemoveNode", AtLeast(Administrator)),
            ("Root", Anyone),
        ],
    ),
    (
        "revoq.v1.Administrators",
        &[("Issue", AtLeast(Administrator)), ("List", AtLeast(Auditor)), ("Remove", AtLeast(Administrator))],
    ),
    ("revoq.v1.Tenants", &[("Create", AtLeast(Administrator)), ("List", AtLeast(Auditor))]),
    (
        "revoq.v1.Authorities",
        &[
            ("Create", AtLeast(Administrator)),
            ("Trust", AtLeast(Administrator)),
            ("List", AtLeast(Auditor)),
            ("Root", Anyone),
        ],
    ),
    (
        "revoq.v1.Devices",
        &[("Create", AtLeast(Operator)), ("List", AtLeast(Auditor)), ("Show", AtLeast(Auditor))],
    ),
    (
        "revoq.v1.Certificates",
        &[
            ("Issue", AtLeast(Operator)),
            ("Sign", AtLeast(Operator)),
            ("Register", AtLeast(Operator)),
            ("List", AtLeast(Auditor)),
            ("Show", AtLeast(Auditor)),
            ("Explain", AtLeast(Auditor)),
        ],
    ),
    (
        "revoq.v1.Passwords",
        &[("Set", AtLeast(Operator)), ("List", AtLeast(Auditor)), ("Show", AtLeast(Auditor))],
    ),
    (
        "revoq.v1.Credentials",
        &[
            // Tenants and authorities need more: see `transition`.
            ("Transition", AtLeast(Operator)),
            ("Fence", AtLeast(Auditor)),
            ("Watch", AtLeast(Auditor)),
        ],
    ),
    ("revoq.v1.Sessions", &[("List", AtLeast(Auditor)), ("Disconnect", AtLeast(Operator))]),
    ("revoq.v1.Settings", &[("List", AtLeast(Auditor)), ("Set", AtLeast(Administrator))]),
    ("revoq.v1.Audit", &[("List", AtLeast(Auditor))]),
    (
        "revoq.v1.Node",
        &[
            ("Join", Anyone),
            ("Watch", Broker),
            ("LookUp", Broker),
            ("LookUpPassword", Broker),
            ("IssueServerCertificate", Broker),
            ("Leave", Broker),
        ],
    ),
    ("revoq.v1.Raft", &[("Call", Replica), ("Snapshot", Replica)]),
    (
        "revoq.v1.Peer",
        &[("Liaise", Replica), ("Fence", Replica), ("Sessions", Replica), ("Brokers", Replica)],
    ),
    ("grpc.health.v1.Health", &[("Check", Anyone), ("List", Anyone), ("Watch", Anyone)]),
    ("grpc.reflection.v1.ServerReflection", &[("ServerReflectionInfo", Anyone)]),
    ("grpc.reflection.v1alpha.ServerReflection", &[("ServerReflectionInfo", Anyone)]),
];

/// For a path `/service/method`; `None` where there is no such method.
pub(crate) fn requirement(path: &str) -> Option<Requirement> {
    let (service, method) = path.strip_prefix('/')?.split_once('/')?;
    let (_, methods) = TABLE.iter().find(|(name, _)| *name == service)?;
    methods.iter().find(|(name, _)| *name == method).map(|(_, requirement)| *requirement)
}

/// What a transition needs beyond its method.
pub(crate) fn transition(selector: &Selector) -> Role {
    match selector {
        Selector::Tenant(_) | Selector::Authority { .. } => Administrator,
        _ => Operator,
    }
}

/// Whether `role` may do what needs `needed`.
pub(crate) fn suffices(role: Role, needed: Role) -> bool {
    let rank = |role| match role {
        Administrator => 2,
        Operator => 1,
        Auditor => 0,
    };
    rank(role) >= rank(needed)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use prost::Message;
    use prost_types::FileDescriptorSet;

    use super::*;

    #[test]
    fn the_table_is_the_protos() -> Result<(), prost::DecodeError> {
        let set = FileDescriptorSet::decode(revoq_proto::FILE_DESCRIPTOR_SET)?;
        let mut wire = BTreeSet::new();
        for file in &set.file {
            for service in &file.service {
                for method in &service.method {
                    wire.insert(format!("/{}.{}/{}", file.package(), service.name(), method.name()));
                }
            }
        }
        let mut table = BTreeSet::new();
        for (service, methods) in TABLE.iter().filter(|(service, _)| service.starts_with("revoq.")) {
            for (method, _) in *methods {
                table.insert(format!("/{service}/{method}"));
            }
        }
        assert!(!wire.is_empty());
        assert_eq!(wire, table);
        Ok(())
    }

    #[test]
    fn roles_contain_each_other() {
        let roles = [Auditor, Operator, Administrator];
        for (held, role) in roles.iter().enumerate() {
            for (needed, other) in roles.iter().enumerate() {
                assert_eq!(suffices(*role, *other), held >= needed, "{role} for {other}");
            }
        }
    }

    #[test]
    fn anonymous_calls_are_few_and_changes_never_an_auditors() {
        assert_eq!(requirement("/revoq.v1.Cluster/Root"), Some(Anyone));
        assert_eq!(requirement("/revoq.v1.Cluster/Nothing"), None);
        assert_eq!(requirement("revoq.v1.Cluster/Root"), None);
        let anyone: Vec<_> = TABLE
            .iter()
            .filter(|(service, _)| service.starts_with("revoq."))
            .flat_map(|(service, methods)| {
                methods.iter().map(move |(method, needs)| (*service, *method, *needs))
            })
            .filter(|(_, _, needs)| *needs == Anyone)
            .map(|(service, method, _)| format!("{service}/{method}"))
            .collect();
        assert_eq!(anyone, ["revoq.v1.Cluster/Root", "revoq.v1.Authorities/Root", "revoq.v1.Node/Join"]);
        for (_, methods) in TABLE {
            for (method, needs) in *methods {
                let reads = ["List", "Show", "Explain", "Status", "Fence", "Watch"].contains(method);
                assert_eq!(*needs == AtLeast(Auditor), reads && matches!(needs, AtLeast(_)), "{method}");
            }
        }
        let tenant = "default".parse().expect("a name");
        assert_eq!(transition(&Selector::Tenant(tenant)), Administrator);
    }
}
