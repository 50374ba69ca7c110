//! The audit log of the cluster, as the history check reads it.

use anyhow::{Context, Result, bail};
use revoq_proto::v1;
use revoq_proto::v1::audit_client::AuditClient;
use revoq_tests::history::{Change, Entry, Event, State};

use super::administrators::named;
use super::scene::Scene;

const PAGE: u32 = 1_000;

/// Every entry about a certificate of the history that took effect.
pub(super) async fn log(scene: &Scene, replica: usize) -> Result<Vec<Entry>> {
    let mut client = AuditClient::new(scene.fleet.channel(replica)?);
    let mut log = Vec::new();
    let mut after = 0;
    loop {
        let page = client.list(v1::ListAuditRequest { after, page_size: PAGE }).await?.into_inner();
        for line in &page.entries {
            after = line.number;
            log.extend(entry(scene, line).with_context(|| format!("{line:?}"))?);
        }
        if after >= page.last {
            return Ok(log);
        }
        if page.entries.is_empty() {
            bail!("entries {} to {} of the audit log are missing", after + 1, page.last);
        }
    }
}

/// `None` where the line is not about one of our certificates, or a refusal.
fn entry(scene: &Scene, line: &v1::AuditEntry) -> Result<Option<Entry>> {
    let event = match &*line.action {
        "issue" => Event::Issued,
        "activate" => Event::Used,
        "suspend" => Event::Changed(Change::Suspend),
        "reactivate" => Event::Changed(Change::Reactivate),
        "revoke" => Event::Changed(Change::Revoke),
        "delete" => Event::Changed(Change::Delete),
        _ => return Ok(None),
    };
    if line.outcome != "ok" {
        return Ok(None);
    }
    let id = line.subject.strip_prefix("certificate ").and_then(|rest| rest.split(' ').next());
    let Some(credential) = id.and_then(|id| scene.number(id)) else { return Ok(None) };
    let before = if line.before.is_empty() { None } else { Some(state(&line.before)?) };
    let operation = line.detail.rsplit_once("comment operation ");
    let operation = operation.map(|(_, number)| number.parse()).transpose()?;
    let after = state(&line.after)?;
    Ok(Some(Entry { revision: line.revision, credential, event, before, after, operation }))
}

fn state(text: &str) -> Result<State> {
    named(text).with_context(|| format!("{text:?} is no state"))
}
