//! Sessions that outlive their connections: what is kept, what comes again, when they end, and their wills.

pub(crate) mod messages;
pub(crate) mod sessions;
pub(crate) mod wills;

use anyhow::{Result, ensure};
use revoq_mqtt::{Connect, QoS, ReasonCode, Version};
use revoq_tests::raw::Raw;

use crate::site::Site;

/// Seconds; longer than any case.
const LONG: u32 = 600;

/// A client whose session is to last.
fn lasting(site: &Site, version: Version) -> Connect {
    let mut connect = Connect { clean_start: false, ..site.connect(version) };
    connect.properties.session_expiry_s = version.is_v5().then_some(LONG);
    connect
}

/// Connects; the broker has the session, or has not.
async fn join(site: &Site, connect: &Connect, present: bool) -> Result<Raw> {
    let (raw, ack) = site.join(connect).await?;
    let right = ack.session_present == present && ack.reason == ReasonCode::Success;
    ensure!(right, raw.failed(&format!("session present {present} was expected")));
    Ok(raw)
}

/// A client with a session that has one subscription, and went away.
async fn absent(site: &Site, version: Version, filter: &str) -> Result<Connect> {
    let connect = lasting(site, version);
    let mut raw = join(site, &connect, false).await?;
    raw.subscribe_at(filter, QoS::ExactlyOnce).await?;
    leave(raw).await?;
    Ok(connect)
}

/// A normal disconnection.
async fn leave(mut raw: Raw) -> Result<()> {
    raw.send([0xE0, 0]).await?;
    raw.ended().await
}
