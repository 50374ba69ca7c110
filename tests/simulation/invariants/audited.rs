//! The audit log is one unbroken chain from its first entry to its last, on every replica, and holds each change that
//! was acknowledged or refused.

use std::collections::BTreeSet;

use revoq_credentials::audit::verify;
use revoq_credentials::{AuditEntry, MemoryStore, query};

use super::Invariant;
use crate::oracle::{Fact, Known, Scene};

/// Entries that are read at a time.
const PAGE: usize = 500;

#[derive(Debug, Default)]
pub(super) struct Audited;

fn entries(store: &MemoryStore) -> Vec<AuditEntry> {
    let mut entries: Vec<AuditEntry> = Vec::new();
    loop {
        let after = entries.last().map_or(0, |entry| entry.number);
        let page = query::audit(store, after, PAGE).expect("the rows are sound");
        if page.is_empty() {
            return entries;
        }
        entries.extend(page);
    }
}

impl Invariant for Audited {
    fn name(&self) -> &'static str {
        "audited"
    }

    fn check(&mut self, _: &Fact, _: &Scene<'_>) -> Result<(), String> {
        Ok(())
    }

    fn end(&mut self, scene: &Scene<'_>) -> Result<(), String> {
        for replica in scene.replicas {
            let store = &replica.machine.store;
            let entries = entries(store);
            verify(&entries).map_err(|fault| format!("replica {}: {fault}", replica.seat))?;
            let last = entries.last().map_or(0, |entry| entry.number);
            let head = query::audit_head(store).expect("the rows are sound").map_or(0, |head| head.number);
            if (entries.first().map(|entry| entry.number), head) != (Some(1), last) {
                return Err(format!("replica {} has entries up to {last} of {head}", replica.seat));
            }
            let revisions: BTreeSet<u64> = entries.iter().map(|entry| entry.revision.0).collect();
            for (operation, asked) in scene.history.iter() {
                let (Some(Known::Done(_)) | Some(Known::Refused { .. })) = asked.known else { continue };
                let revision = match asked.known {
                    Some(Known::Done(outcome)) => outcome.revision.0,
                    Some(Known::Refused { index }) => index,
                    _ => continue,
                };
                if !revisions.contains(&revision) {
                    return Err(format!("change {operation} at {revision} has no entry: {:?}", asked.what));
                }
            }
        }
        Ok(())
    }
}
