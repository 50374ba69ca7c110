//! Questions of administrators about live sessions, answered from the registry.

use std::collections::HashSet;
use std::sync::Arc;

use revoq_credentials::{Credential, Fingerprint};
use revoq_mqtt::Version;
use revoq_proto::v1;
use tokio::sync::mpsc;
use v1::broker_message::{Message, SessionsReply};
use v1::control_message::{Action, SessionsQuery};
use v1::session_filter::Filter;

use crate::gate::Shut;
use crate::node::Node;
use crate::registry::Entry;

/// Sessions of one reply: about 150 bytes each, far below the limit of a message.
const SESSIONS_MAX: usize = 500;

/// Answers one query. Runs on the workers' runtime: a long list is in no hurry.
pub(super) async fn answer(node: Arc<Node>, query: SessionsQuery, out: mpsc::Sender<v1::BrokerMessage>) {
    let found = find(&node, query.filter.as_ref().and_then(|filter| filter.filter.as_ref()));
    let count = match query.action() {
        Action::Disconnect => found.iter().filter(|entry| disconnect(&node, entry)).count(),
        Action::Count | Action::List | Action::Unspecified => found.len(),
    };
    let listed = match query.action() {
        Action::List => found.len().min(usize::try_from(query.limit).unwrap_or(usize::MAX)),
        Action::Count | Action::Disconnect | Action::Unspecified => 0,
    };
    let mut rest = &found[..listed];
    loop {
        let (now, later) = rest.split_at(rest.len().min(SESSIONS_MAX));
        rest = later;
        let reply = SessionsReply {
            query: query.query,
            count: count as u64,
            sessions: now.iter().map(|entry| describe(&node, entry)).collect(),
            more: !rest.is_empty(),
        };
        let message = v1::BrokerMessage { message: Some(Message::Sessions(reply)) };
        // The stream may be gone; then nobody waits for the rest.
        if out.send(message).await.is_err() || rest.is_empty() {
            return;
        }
    }
}

fn disconnect(node: &Node, entry: &Entry) -> bool {
    let cut = entry.cut(Shut::Ordered);
    if cut {
        node.metrics.cuts(Shut::Ordered).inc();
    }
    cut
}

fn find(node: &Node, filter: Option<&Filter>) -> Vec<Arc<Entry>> {
    let mut found = Vec::new();
    let mut take = |entry: &Arc<Entry>| {
        if entry.is_live() {
            found.push(entry.clone());
        }
    };
    match filter {
        None => {}
        Some(Filter::Fingerprints(wanted)) => {
            let wanted: HashSet<_> =
                wanted.fingerprints.iter().filter_map(|bytes| fingerprint(bytes)).collect();
            for fingerprint in &wanted {
                node.registry.of_fingerprint(fingerprint).iter().for_each(&mut take);
            }
            // One may have a certificate and a password that are both wanted.
            found.sort_unstable_by_key(|entry| entry.id);
            found.dedup_by_key(|entry| entry.id);
        }
        Some(filter) => node.registry.each(|entry| {
            if matches(filter, entry) {
                take(entry);
            }
        }),
    }
    found
}

fn matches(filter: &Filter, entry: &Entry) -> bool {
    let principal = &entry.principal;
    match filter {
        Filter::All(all) => *all,
        Filter::Fingerprints(_) => false,
        Filter::Tenant(tenant) => principal.tenant.as_ref() == tenant,
        Filter::Authority(authority) => {
            principal.tenant.as_ref() == authority.tenant && authority_of(entry) == authority.name
        }
        Filter::ClientId(client_id) => entry.client_id.as_bytes() == client_id.as_bytes(),
        Filter::WithoutCertificate(wanted) => *wanted && entry.principal.certificate().is_none(),
    }
}

fn fingerprint(bytes: &[u8]) -> Option<Fingerprint> {
    bytes.try_into().ok().map(Fingerprint)
}

fn authority_of(entry: &Entry) -> &str {
    match &entry.principal.credential {
        Credential::Certificate { authority: Some(authority), .. } => authority.as_ref(),
        Credential::Certificate { authority: None, .. } | Credential::Anonymous => "",
    }
}

fn describe(node: &Node, entry: &Entry) -> v1::Session {
    let bytes = |of: Option<Fingerprint>| of.map(|of| of.0.to_vec()).unwrap_or_default().into();
    v1::Session {
        node: node.id.0,
        node_name: node.name.clone(),
        connection: entry.id,
        client_id: entry.client_id.as_str().to_owned(),
        tenant: entry.principal.tenant.to_string(),
        device: entry.principal.device.as_ref().map(ToString::to_string).unwrap_or_default(),
        fingerprint: bytes(entry.principal.certificate()),
        password: bytes(entry.principal.password),
        authority: authority_of(entry).to_owned(),
        address: entry.address.to_string(),
        protocol: protocol(entry.version).to_owned(),
        transport: entry.transport.name().to_owned(),
        connected_ms: entry.connected.0,
    }
}

fn protocol(version: Version) -> &'static str {
    match version {
        Version::V31 => "3.1",
        Version::V311 => "3.1.1",
        Version::V5 => "5.0",
    }
}
