//! The cluster's first command, nodes, and the tokens with which they join.

use crate::command::NewNode;
use crate::event::Change;
use crate::ids::NodeId;
use crate::keys;
use crate::limits::{ADDRESS_BYTES_MAX, JOIN_TOKENS_MAX, NODES_MAX, SEALED_BYTES_MAX};
use crate::names::TenantName;
use crate::outcome::{Error, Refusal};
use crate::query::{self, expect_found};
use crate::records::{Administrator, Cluster, JoinToken, Node, NodeKind, SealedTicketKeys};
use crate::store::ReadError;
use crate::transaction::{Draft, Transaction};

use super::{Done, administrators, check_length, check_limit, settings, tenants};

const CLUSTER_NAME_BYTES_MAX: usize = 64;

pub(super) fn initialize(
    transaction: &mut Transaction<'_>,
    cluster: &Cluster,
    node: &Node,
    administrator: &Administrator,
    ticket_keys: &SealedTicketKeys,
) -> Result<Done, Error> {
    if let Some(other) = query::cluster(transaction)? {
        return Err(Refusal::exists("cluster", &other.name, "join it instead").into());
    }
    check_length("cluster name", cluster.name.len(), CLUSTER_NAME_BYTES_MAX)?;
    check_length("sealed key", cluster.sealed_authority_key.len(), SEALED_BYTES_MAX)?;
    check_address(node.kind, node.address.as_deref())?;
    if node.kind != NodeKind::Replica {
        return Err(Refusal::invalid("node kind", &node.kind, "the first node is a replica").into());
    }
    transaction.put(keys::cluster(), cluster);
    transaction.entries.push(Draft {
        subject: format!("cluster {}", cluster.name),
        detail: format!("first replica {} ({})", node.id, node.name),
        ..Draft::default()
    });
    add_node(transaction, node)?;
    tenants::create_tenant(transaction, &TenantName::default())?;
    administrators::add(transaction, administrator)?;
    settings::rotate_ticket_keys(transaction, ticket_keys)?;
    Ok(Done { node: Some(node.id), ..Done::one() })
}

fn add_node(transaction: &mut Transaction<'_>, node: &Node) -> Result<(), ReadError> {
    transaction.put(keys::node(node.id), node);
    transaction.put(keys::node_fingerprint(&node.fingerprint), &node.id);
    transaction.count(|counts| {
        counts.nodes += 1;
        counts.last_node = counts.last_node.max(node.id);
    })
}

pub(super) fn create_token(transaction: &mut Transaction<'_>, token: &JoinToken) -> Result<Done, Error> {
    match (token.kind, token.uses_left) {
        (_, Some(0)) => return Err(Refusal::invalid("uses", &0, "give at least 1").into()),
        (NodeKind::Replica, None) => {
            return Err(
                Refusal::invalid("uses", "without limit", "a token for replicas needs a limit").into()
            );
        }
        _ => {}
    }
    if token.expires <= transaction.time {
        return Err(Refusal::invalid("expiry", &token.expires, "give a time to come").into());
    }
    forget_expired(transaction)?;
    if transaction.exists(&keys::join_token(&token.hash))? {
        return Err(Refusal::exists("join token", "", "draw another secret").into());
    }
    let there_are = query::counts(transaction)?.join_tokens;
    check_limit("join_tokens_max", there_are, JOIN_TOKENS_MAX, "wait until some have expired")?;
    transaction.put(keys::join_token(&token.hash), token);
    transaction.count(|counts| counts.join_tokens += 1)?;
    let uses = token.uses_left.map_or("without limit".to_owned(), |uses| format!("{uses} times"));
    transaction.entries.push(Draft {
        subject: format!("join token for a {}", token.kind),
        detail: format!("{uses}, until {}", token.expires),
        ..Draft::default()
    });
    Ok(Done::one())
}

fn forget_expired(transaction: &mut Transaction<'_>) -> Result<(), ReadError> {
    for token in query::join_tokens(transaction)? {
        if token.expires <= transaction.time {
            remove_token(transaction, &token)?;
        }
    }
    Ok(())
}

fn remove_token(transaction: &mut Transaction<'_>, token: &JoinToken) -> Result<(), ReadError> {
    transaction.delete(keys::join_token(&token.hash));
    transaction.count(|counts| counts.join_tokens -= 1)
}

pub(super) fn join(transaction: &mut Transaction<'_>, hash: &[u8; 32], new: &NewNode) -> Result<Done, Error> {
    let token = query::join_token(transaction, hash)?
        .ok_or_else(|| Refusal::token("is unknown, or has been used up"))?;
    check_token(transaction, &token, new)?;
    check_node(transaction, new)?;
    use_up(transaction, token)?;
    let id = NodeId(query::counts(transaction)?.last_node.0 + 1);
    let node = Node {
        id,
        name: new.name.clone(),
        kind: new.kind,
        address: new.address.clone(),
        fingerprint: new.fingerprint,
        joined: transaction.time,
        revision: Some(transaction.revision),
    };
    add_node(transaction, &node)?;
    transaction.entries.push(Draft {
        subject: format!("{} {}", node.kind, node.name),
        detail: format!("node {id}, fingerprint {}", node.fingerprint),
        ..Draft::default()
    });
    Ok(Done { node: Some(id), ..Done::one() })
}

fn check_token(transaction: &Transaction<'_>, token: &JoinToken, new: &NewNode) -> Result<(), Refusal> {
    if token.expires <= transaction.time {
        return Err(Refusal::token(format!("expired at {}", token.expires)));
    }
    if token.kind != new.kind {
        return Err(Refusal::token(format!("is for a {}, and this is a {}", token.kind, new.kind)));
    }
    Ok(())
}

fn check_node(transaction: &Transaction<'_>, new: &NewNode) -> Result<(), Error> {
    check_address(new.kind, new.address.as_deref())?;
    if transaction.exists(&keys::node_fingerprint(&new.fingerprint))? {
        let remedy = "ask for a new certificate";
        return Err(Refusal::exists("node with fingerprint", &new.fingerprint, remedy).into());
    }
    // A broker node writes no disk: when it starts again it is a new node of the same name.
    if new.kind == NodeKind::Replica {
        let nodes = query::nodes(transaction)?;
        if nodes.iter().any(|node| node.kind == NodeKind::Replica && node.name == new.name) {
            return Err(Refusal::exists("replica", &new.name, "remove it first, or give another name").into());
        }
    }
    let there_are = query::counts(transaction)?.nodes;
    Ok(check_limit("nodes_max", there_are, NODES_MAX, "remove nodes that are gone")?)
}

fn check_address(kind: NodeKind, address: Option<&str>) -> Result<(), Refusal> {
    let address = address.unwrap_or_default();
    check_length("address", address.len(), ADDRESS_BYTES_MAX)?;
    if kind == NodeKind::Replica && address.is_empty() {
        return Err(Refusal::invalid("address", "", "give host:port at which other replicas reach this one"));
    }
    Ok(())
}

fn use_up(transaction: &mut Transaction<'_>, mut token: JoinToken) -> Result<(), ReadError> {
    match &mut token.uses_left {
        None => Ok(()),
        Some(uses) if *uses > 1 => {
            *uses -= 1;
            transaction.put(keys::join_token(&token.hash), &token);
            Ok(())
        }
        Some(_) => remove_token(transaction, &token),
    }
}

pub(super) fn remove(transaction: &mut Transaction<'_>, id: NodeId) -> Result<Done, Error> {
    let node = expect_found(query::node(transaction, id)?, "node", &id.to_string())?;
    if node.kind == NodeKind::Replica {
        let nodes = query::nodes(transaction)?;
        if nodes.iter().filter(|node| node.kind == NodeKind::Replica).count() == 1 {
            let remedy = "let another replica join first";
            return Err(Refusal::precondition(format!("node {id}"), "is the last replica", remedy).into());
        }
    }
    transaction.delete(keys::node(id));
    transaction.delete(keys::node_fingerprint(&node.fingerprint));
    transaction.count(|counts| counts.nodes -= 1)?;
    transaction.changes.push(Change::NodeRemoved(id));
    transaction.entries.push(Draft {
        subject: format!("node {id}"),
        before: format!("{} {}", node.kind, node.name),
        ..Draft::default()
    });
    Ok(Done { node: Some(id), ..Done::one() })
}
