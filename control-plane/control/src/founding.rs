//! Founding a cluster: its authority, its first replica and its first administrator.

use std::sync::Arc;

use revoq_credentials::{Administrator, Fingerprint, Millis, Node, NodeId, NodeKind, Operation, Role, x509};
use revoq_proto::client::Identity;
use revoq_proto::context::Bundle;
use revoq_proto::pem;

use crate::config::Config;
use crate::data::{DataFolder, Member};
use crate::error::Error;
use crate::seal::KeyEncryptionKey;
use crate::signer::{
    ClusterAuthority, ClusterRole, FileSigner, GeneratedKey, NodeRequest, new_cluster_authority,
};
use crate::tickets::fresh_ticket_keys;

/// The name of a cluster whose founder gives none.
const CLUSTER: &str = "revoq";
/// The name of the first administrator.
const ADMINISTRATOR: &str = "administrator";
/// The number of the first replica.
const FIRST: NodeId = NodeId(1);
const ADMINISTRATOR_TTL_MS: u64 = 365 * 24 * 60 * 60 * 1_000;

/// A cluster that has not begun: its files are written, its first command is not.
pub(crate) struct Founding {
    pub(crate) member: Member,
    pub(crate) initialize: Operation,
}

/// Makes keys and certificates and writes them into the data folder.
pub(crate) fn found(
    config: &Config,
    data: &DataFolder,
    member: impl FnOnce(u64, String) -> Member,
    now: Millis,
) -> Result<Founding, Error> {
    data.begin_founding()?;
    let key_encryption_key = Arc::new(KeyEncryptionKey::generate()?);
    let signer = FileSigner::new(key_encryption_key.clone());
    let name = config.cluster.clone().unwrap_or_else(|| CLUSTER.to_owned());
    let founded = new_cluster_authority(&signer, &name, now)?;
    let authority = ClusterAuthority::open(signer, &founded.cluster)?;
    let member = member(FIRST.0, name);

    let replica = Issued::new(&authority, ClusterRole::Replica, &member.name, None, now)?;
    let first = ClusterRole::Administrator(Role::Administrator);
    let administrator = Issued::new(&authority, first, ADMINISTRATOR, Some(ADMINISTRATOR_TTL_MS), now)?;
    data.write_key_encryption_key(&key_encryption_key)?;
    data.write_root_key(&founded.root_key)?;
    data.write_identity(&replica.identity(&authority))?;
    data.write_administrator(&administrator.bundle(&authority, &member).to_toml())?;

    let initialize = Operation::Initialize {
        node: Node {
            id: FIRST,
            name: member.name.parse()?,
            kind: NodeKind::Replica,
            address: Some(member.address.clone()),
            fingerprint: replica.fingerprint(),
            joined: now,
            revision: None,
        },
        administrator: Administrator {
            name: ADMINISTRATOR.parse()?,
            role: Role::Administrator,
            fingerprint: administrator.fingerprint(),
            not_after: administrator.not_after()?,
        },
        ticket_keys: fresh_ticket_keys(key_encryption_key.as_ref(), None)?,
        cluster: founded.cluster,
    };
    Ok(Founding { member, initialize })
}

/// A certificate of the cluster authority with its key.
struct Issued {
    chain: Vec<Vec<u8>>,
    key: GeneratedKey,
}

impl Issued {
    fn new(
        authority: &ClusterAuthority,
        role: ClusterRole,
        name: &str,
        ttl_ms: Option<u64>,
        now: Millis,
    ) -> Result<Issued, Error> {
        let key = GeneratedKey::new()?;
        let chain = authority.issue(NodeRequest { role, name, public_key: key.public(), now, ttl_ms })?;
        Ok(Issued { chain, key })
    }

    fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.chain[0])
    }

    fn not_after(&self) -> Result<Millis, Error> {
        Ok(x509::parse(&self.chain[0]).map_err(|error| Error::Signing(error.to_string()))?.not_after)
    }

    fn identity(&self, authority: &ClusterAuthority) -> Identity {
        Identity {
            certificates_pem: pem::encode_certificates(&self.chain),
            key_pem: pem::encode(pem::PRIVATE_KEY, &self.key.private()),
            authority_pem: pem::encode(pem::CERTIFICATE, authority.root()),
        }
    }

    fn bundle(&self, authority: &ClusterAuthority, member: &Member) -> Bundle {
        let Identity { certificates_pem, key_pem, authority_pem } = self.identity(authority);
        Bundle {
            cluster: member.cluster.clone(),
            endpoints: vec![member.address.clone()],
            authority: authority_pem,
            certificate: certificates_pem,
            key: key_pem,
        }
    }
}
