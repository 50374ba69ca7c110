//! Enhanced authentication: section 4.12, and AUTH, section 3.15, by SCRAM-SHA-256.

use anyhow::{Result, ensure};
use bytes::Bytes;
use revoq_mqtt::{Auth, Packet, QoS, ReasonCode, Version};
use revoq_tests::raw::Raw;
use revoq_tests::scram::{self, METHOD, Scram, auth, expect_auth};

use crate::cases;
use crate::site::{PASSWORD, Site, USERNAME};
use crate::wire::publish;

cases!(
    an_exchange_lets_the_client_in,
    the_server_refuses_on_the_way,
    auth_in_an_exchange_has_its_code_and_its_method,
    other_packets_in_an_exchange,
    a_client_may_go_on_the_way,
    a_client_authenticates_again,
    authenticating_again_with_another_method,
    authenticating_again_without_success,
);

fn right() -> Scram {
    Scram::new(USERNAME, PASSWORD)
}

/// A client that was sent its challenge, and what it answers.
async fn challenged(site: &Site) -> Result<(Raw, Bytes)> {
    let (mut raw, scram) = (site.bare(Version::V5).await?, right());
    raw.send_packet(&scram::connect(site.connect(Version::V5), &scram)).await?;
    let challenge = expect_auth(&mut raw, ReasonCode::ContinueAuthentication).await?;
    Ok((raw, scram.last(&challenge)?.0))
}

/// A client that is let in by its password.
async fn let_in(site: &Site) -> Result<Raw> {
    let mut raw = site.bare(Version::V5).await?;
    let ack = scram::log_in(&mut raw, site.connect(Version::V5), &right()).await?;
    ensure!(ack.reason == ReasonCode::Success, raw.failed("it is let in"));
    Ok(raw)
}

async fn an_exchange_lets_the_client_in(site: Site) -> Result<()> {
    // The helper looks at the method of each AUTH and of CONNACK.
    let mut raw = let_in(&site).await?;
    raw.quiet().await?;
    raw.subscribe_at(&site.topic("a"), QoS::AtLeastOnce).await
}

async fn the_server_refuses_on_the_way(site: Site) -> Result<()> {
    for scram in [Scram::new(USERNAME, "wrong"), Scram::new("nobody", PASSWORD)] {
        let mut raw = site.bare(Version::V5).await?;
        let ack = scram::log_in(&mut raw, site.connect(Version::V5), &scram).await?;
        ensure!(ack.reason == ReasonCode::NotAuthorized, raw.failed("0x87 was expected"));
        raw.ended().await?;
    }
    let (mut raw, _) = challenged(&site).await?;
    raw.send_packet(&auth(ReasonCode::ContinueAuthentication, METHOD, None)).await?;
    ensure!(raw.refused().await?.reason == ReasonCode::NotAuthorized);
    Ok(())
}

async fn auth_in_an_exchange_has_its_code_and_its_method(site: Site) -> Result<()> {
    for (reason, method) in [
        (ReasonCode::ReAuthenticate, METHOD),
        (ReasonCode::Success, METHOD),
        (ReasonCode::ContinueAuthentication, "SCRAM-SHA-1"),
    ] {
        let (mut raw, last) = challenged(&site).await?;
        raw.send_packet(&auth(reason, method, last)).await?;
        let ack = raw.refused().await?;
        ensure!(ack.reason == ReasonCode::ProtocolError, "{reason:?} {method}: {ack:?}");
    }
    let (mut raw, _) = challenged(&site).await?;
    let bare = Auth { reason: ReasonCode::Success, authentication: None, properties: Default::default() };
    raw.send_packet(&Packet::Auth(bare)).await?;
    ensure!(raw.refused().await?.reason == ReasonCode::ProtocolError);
    Ok(())
}

async fn other_packets_in_an_exchange(site: Site) -> Result<()> {
    for bytes in [vec![0xC0, 0], publish(Version::V5, "a", "x"), vec![0x40, 2, 0, 1]] {
        let (mut raw, _) = challenged(&site).await?;
        raw.send(&bytes).await?;
        let ack = raw.refused().await?;
        ensure!(ack.reason == ReasonCode::ProtocolError, "{bytes:x?}: {ack:?}");
    }
    Ok(())
}

async fn a_client_may_go_on_the_way(site: Site) -> Result<()> {
    let (mut raw, _) = challenged(&site).await?;
    raw.send([0xE0, 0]).await?;
    raw.ended().await
}

async fn a_client_authenticates_again(site: Site) -> Result<()> {
    let mut raw = let_in(&site).await?;
    scram::log_in_again(&mut raw, &right()).await?;
    let scram = right();
    raw.send_packet(&auth(ReasonCode::ReAuthenticate, METHOD, scram.first())).await?;
    let challenge = expect_auth(&mut raw, ReasonCode::ContinueAuthentication).await?;
    // Other packets go on meanwhile.
    raw.quiet().await?;
    raw.subscribe_at(&site.topic("a"), QoS::AtMostOnce).await?;
    raw.send_packet(&auth(ReasonCode::ContinueAuthentication, METHOD, scram.last(&challenge)?.0)).await?;
    expect_auth(&mut raw, ReasonCode::Success).await?;
    raw.quiet().await
}

async fn authenticating_again_with_another_method(site: Site) -> Result<()> {
    let mut raw = let_in(&site).await?;
    raw.send_packet(&auth(ReasonCode::ReAuthenticate, "SCRAM-SHA-1", right().first())).await?;
    raw.disconnected(ReasonCode::ProtocolError).await
}

async fn authenticating_again_without_success(site: Site) -> Result<()> {
    for scram in [Scram::new(USERNAME, "wrong"), Scram::new("nobody", PASSWORD)] {
        let mut raw = let_in(&site).await?;
        raw.send_packet(&auth(ReasonCode::ReAuthenticate, METHOD, scram.first())).await?;
        let challenge = expect_auth(&mut raw, ReasonCode::ContinueAuthentication).await?;
        let last = scram.last(&challenge)?.0;
        raw.send_packet(&auth(ReasonCode::ContinueAuthentication, METHOD, last)).await?;
        raw.disconnected(ReasonCode::NotAuthorized).await?;
    }
    // Out of turn.
    let mut raw = let_in(&site).await?;
    raw.send_packet(&auth(ReasonCode::ContinueAuthentication, METHOD, right().first())).await?;
    raw.disconnected(ReasonCode::ProtocolError).await
}
