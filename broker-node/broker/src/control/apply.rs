//! From an event to the gates: the view first, then the sweep, then the acknowledgement.

use std::sync::Arc;
use std::time::Instant;

use prost::Message as _;
use revoq_credentials::{Affected, Change, Event, Revision, View};
use revoq_proto::v1;
use v1::broker_message::Cut;

use crate::clock::since_boot;
use crate::node::{Node, Sweep};
use crate::registry::Swept;

/// What was done about a batch of events or a snapshot. The gates are shut; the connections are not closed yet.
pub(super) struct Applied {
    /// For the acknowledgement: the revision of the view.
    pub(super) revision: u64,
    pub(super) cuts: Vec<Cut>,
    /// This node was removed from the cluster.
    pub(super) is_removed: bool,
    sweeps: Vec<Swept>,
    /// Certificates about which something is new.
    credentials: Vec<Affected>,
}

/// Applies events that came at `received`.
pub(super) fn events(node: &Node, events: &[Event], received: Instant) -> Applied {
    let mut view = View::clone(&node.view.load());
    let affected: Vec<_> = events.iter().map(|event| (event.revision, view.apply(event))).collect();
    let is_removed = affected.iter().any(|(_, affected)| affected.contains(&Affected::Node(node.id)));
    if is_removed {
        // Before the acknowledgement: after it no fence counts this node.
        let sessions = node.remove();
        tracing::error!(sessions, "this node was removed from the cluster; its sessions are closed");
    }
    publish(node, view);
    let mut applied = Applied { is_removed, ..Applied::new(node.view.load().revision()) };
    for (revision, affected) in affected {
        applied.sweep(node, revision, affected, received);
    }
    applied.tell(node);
    applied
}

/// Replaces the view by a snapshot: every session is judged again.
pub(super) fn snapshot(node: &Node, revision: Revision, changes: Vec<Change>, received: Instant) -> Applied {
    let view = View::from_snapshot(revision, changes.into_iter());
    let affected = view.affected_by_snapshot();
    publish(node, view);
    let mut applied = Applied::new(revision);
    applied.sweep(node, revision, affected, received);
    applied.tell(node);
    applied
}

/// Nothing of concern happened up to this revision.
pub(super) fn progress(node: &Node, revision: u64) {
    let mut view = View::clone(&node.view.load());
    view.advance(Revision(revision));
    node.view.store(Arc::new(view));
}

/// From here on every verdict is by this view. What comes after finds the connections that asked before.
fn publish(node: &Node, view: View) {
    node.freshness.set_grace(view.settings().stale_grace);
    node.view.store(Arc::new(view));
}

impl Applied {
    fn new(revision: Revision) -> Applied {
        Applied {
            revision: revision.0,
            cuts: Vec::new(),
            is_removed: false,
            sweeps: Vec::new(),
            credentials: Vec::new(),
        }
    }

    fn sweep(&mut self, node: &Node, revision: Revision, affected: Vec<Affected>, received: Instant) {
        if affected.is_empty() {
            return;
        }
        let swept = node.sweep(&affected);
        let took = received.elapsed();
        if swept.sessions > 0 {
            node.metrics.gate_seconds.observe(took.as_secs_f64());
            let gate_micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
            self.cuts.push(Cut { revision: revision.0, sessions: swept.sessions, gate_micros });
        }
        self.sweeps.push(swept);
        self.credentials.extend(affected);
    }

    /// The gates are shut: for who measures that moment.
    fn tell(&self, node: &Node) {
        if node.sweeps.receiver_count() > 0 {
            // A receiver that went away in between needs nothing.
            let _ = node.sweeps.send(Sweep { revision: self.revision, at: since_boot() });
        }
    }

    /// What can wait until after the acknowledgement: closing, and what is derived from the view.
    pub(super) fn finish(self, node: &Node) {
        for swept in self.sweeps {
            node.finish(swept);
        }
        for affected in &self.credentials {
            match affected {
                Affected::Credential(fingerprint) => {
                    node.lookups.void(fingerprint);
                    node.usage.forget(fingerprint);
                    node.discard_sessions(Some(fingerprint));
                }
                Affected::All => {
                    node.lookups.void_all();
                    node.discard_sessions(None);
                }
                Affected::Tenant(_) | Affected::Authority { .. } => node.discard_sessions(None),
                Affected::Settings | Affected::Node(_) => {}
            }
        }
        let view = node.view.load();
        node.trust.update(&view);
        update_tickets(node, &view);
        for cut in &self.cuts {
            tracing::info!(cut.revision, cut.sessions, cut.gate_micros, "sessions cut");
        }
    }
}

/// In a broker's view the keys are as the wire has them: a broker holds them in the clear.
fn update_tickets(node: &Node, view: &View) {
    let Some(keys) = view.ticket_keys() else { return };
    let Ok(keys) = v1::TicketKeys::decode(keys.0.as_slice()) else {
        tracing::warn!("ticket keys cannot be read");
        return;
    };
    let refused = node.tickets.set(keys.keys.iter().map(|key| (&key.name[..], &key.key[..])));
    if refused > 0 {
        tracing::warn!(refused, "ticket keys of a wrong length");
    }
}
