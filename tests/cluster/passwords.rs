//! Devices that authenticate by a password (SCRAM-SHA-256): who is let in, and what cuts them, on every node.

use anyhow::{Result, bail, ensure};
use revoq_broker::ListenerKind;
use revoq_mqtt::{ConnAck, Connect, Packet, ReasonCode, Version};
use revoq_tests::raw::Raw;
use revoq_tests::scram::{self, Challenge, METHOD, Scram, auth, expect_auth, set_password};
use revoq_tests::transports::open;
use revoq_tests::{Device, Fleet, Plan};

/// Two brokers that take clients without a certificate.
async fn fleet(client_certificate: &'static str) -> Result<Fleet> {
    let settings = vec![("client_certificate", client_certificate)];
    Fleet::start(Plan { replicas: 1, brokers: 2, settings, ..Plan::default() }).await
}

async fn socket(fleet: &Fleet, broker: usize, device: Option<&Device>) -> Result<Raw> {
    let tls = fleet.tls(device.map(|device| &device.leaf))?;
    let stream = open(ListenerKind::Tls, fleet.broker(broker), tls).await?;
    Ok(Raw::new(stream, Version::V5))
}

fn packet(client_id: &str) -> Result<Connect> {
    Ok(Connect { keepalive_s: 60, ..Connect::new(Version::V5, client_id.parse()?) })
}

/// Over TLS, with a certificate or without.
async fn log_in(
    fleet: &Fleet,
    broker: usize,
    device: Option<&Device>,
    client_id: &str,
    scram: &Scram,
) -> Result<(Raw, ConnAck)> {
    let mut raw = socket(fleet, broker, device).await?;
    let ack = scram::log_in(&mut raw, packet(client_id)?, scram).await?;
    Ok((raw, ack))
}

/// A session at each broker.
async fn sessions(fleet: &Fleet, scram: impl Fn() -> Scram) -> Result<Vec<Raw>> {
    let mut all = Vec::new();
    for broker in 0..2 {
        let (mut raw, ack) = log_in(fleet, broker, None, &format!("pump-{broker}"), &scram()).await?;
        ensure!(!ack.reason.is_error(), "{ack:?}");
        raw.quiet().await?;
        all.push(raw);
    }
    Ok(all)
}

async fn refused(fleet: &Fleet, scram: impl Fn() -> Scram) -> Result<()> {
    for broker in 0..2 {
        let (raw, ack) = log_in(fleet, broker, None, "again", &scram()).await?;
        ensure!(ack.reason == ReasonCode::NotAuthorized, "{ack:?}");
        raw.ended().await?;
    }
    Ok(())
}

async fn cut(sessions: Vec<Raw>) -> Result<()> {
    for raw in sessions {
        raw.disconnected(ReasonCode::AdministrativeAction).await?;
    }
    Ok(())
}

/// By the command line, which makes the verifier.
async fn set(fleet: &Fleet, username: &str, device: &str, password: &str) -> Result<String> {
    let file = fleet.folder().join("password");
    std::fs::write(&file, format!("{password}\n"))?;
    let file = file.display().to_string();
    let arguments = ["password", "set", username, "--device", device, "--password-file", &file, "--wait"];
    let shown = fleet.revoqctl_ok(&arguments).await?;
    ensure!(!shown.contains(password), "{shown}");
    Ok(shown)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_suspension_and_a_new_password_cut_the_sessions_on_every_node() -> Result<()> {
    let fleet = fleet("optional").await?;
    set(&fleet, "pump", "pump-7", "pencil").await?;
    let right = || Scram::new("pump", "pencil");
    let live = sessions(&fleet, right).await?;
    let listed = fleet.sessions().await?.sessions;
    ensure!(listed.len() == 2 && listed.iter().all(|one| one.device == "pump-7"), "{listed:#?}");
    ensure!(listed.iter().all(|one| one.fingerprint.is_empty() && one.password.len() == 32), "{listed:#?}");

    let dry = fleet.revoqctl_ok(&["password", "suspend", "pump", "--dry-run"]).await?;
    ensure!(dry.contains("broker-1") && dry.contains("broker-2"), "{dry}");
    let suspended = fleet.revoqctl_ok(&["password", "suspend", "pump", "--wait"]).await?;
    ensure!(suspended.contains("confirmed"), "{suspended}");
    cut(live).await?;
    refused(&fleet, right).await?;
    fleet.revoqctl_ok(&["password", "reactivate", "pump", "--wait"]).await?;

    let live = sessions(&fleet, right).await?;
    set(&fleet, "pump", "pump-7", "better").await?;
    cut(live).await?;
    refused(&fleet, right).await?;
    let better = || Scram::new("default/pump", "better");
    let live = sessions(&fleet, better).await?;
    fleet.revoqctl_ok(&["device", "suspend", "pump-7", "--wait"]).await?;
    cut(live).await?;
    refused(&fleet, better).await?;
    fleet.revoqctl_ok(&["device", "reactivate", "pump-7", "--wait"]).await?;

    let live = sessions(&fleet, better).await?;
    fleet.revoqctl_ok(&["password", "delete", "pump", "--wait", "--yes"]).await?;
    cut(live).await?;
    refused(&fleet, better).await?;
    let gone = fleet.revoqctl(&["password", "show", "pump"]).await?;
    ensure!(gone.code == 3, "{gone:?}");
    fleet.revoqctl_ok(&["audit", "verify"]).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_refused_and_that_names_cannot_be_probed() -> Result<()> {
    let fleet = fleet("off").await?;
    set_password(&fleet, "pump", "pump-7", "pencil").await?;
    let shown = fleet.revoqctl_ok(&["password", "list", "--output", "json"]).await?;
    ensure!(shown.contains("pump-7") && !shown.contains("salt"), "{shown}");
    let mut answers = Vec::new();
    for (username, password) in [("pump", "pencil "), ("nobody", "pencil"), ("ü/b", "x"), ("no such", "x")] {
        let mut salts = Vec::new();
        for broker in [0, 1, 0] {
            let mut raw = socket(&fleet, broker, None).await?;
            let scram = Scram::new(username, password);
            raw.send_packet(&scram::connect(packet("probe")?, &scram)).await?;
            let challenge = expect_auth(&mut raw, ReasonCode::ContinueAuthentication).await?;
            let Challenge { salt, .. } = Challenge::parse(&challenge)?;
            salts.push(salt);
            let last = scram.last(&challenge)?.0;
            raw.send_packet(&auth(ReasonCode::ContinueAuthentication, METHOD, last)).await?;
            answers.push(raw.frame().await?);
            raw.ended().await?;
        }
        ensure!(salts.iter().all(|salt| *salt == salts[0] && salt.len() == 16), "{username}: {salts:?}");
    }
    ensure!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    ensure!(answers[0].as_ref().is_some_and(|answer| answer[3] == 0x87), "{answers:?}");
    for first in ["", "n,,", "p=tls-exporter,,n=pump,r=x", "n,a=root,n=pump,r=x"] {
        let mut raw = socket(&fleet, 0, None).await?;
        let mut connect = packet("malformed")?;
        let data = Some(first.to_owned().into());
        connect.properties.authentication =
            Some(revoq_mqtt::Authentication { method: METHOD.parse()?, data });
        raw.send_packet(&Packet::Connect(Box::new(connect))).await?;
        let ack = raw.refused().await?;
        ensure!(ack.reason == ReasonCode::NotAuthorized, "{first:?}: {ack:?}");
    }
    let bound =
        ["password", "set", "bound", "--device", "pump-7", "--client-id", "mine", "--password-file", "-"];
    let done = fleet.revoqctl(&bound).await?;
    ensure!(done.code == 2 && done.err.contains("1 to 256 characters"), "no password came: {done:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn authenticating_again_and_being_revoked_on_the_way() -> Result<()> {
    let fleet = fleet("optional").await?;
    set_password(&fleet, "pump", "pump-7", "pencil").await?;
    set_password(&fleet, "other", "pump-7", "pencil").await?;
    let right = || Scram::new("pump", "pencil");
    let (mut raw, _) = log_in(&fleet, 0, None, "pump", &right()).await?;
    for _ in 0..3 {
        scram::log_in_again(&mut raw, &right()).await?;
        raw.quiet().await?;
    }
    // Traffic goes on meanwhile.
    raw.subscribe_at("news", revoq_mqtt::QoS::AtMostOnce).await?;
    raw.send_packet(&auth(ReasonCode::ReAuthenticate, METHOD, right().first())).await?;
    expect_auth(&mut raw, ReasonCode::ContinueAuthentication).await?;
    raw.quiet().await?;
    raw.send_packet(&auth(ReasonCode::ContinueAuthentication, METHOD, bytes::Bytes::from_static(b"x")))
        .await?;
    raw.disconnected(ReasonCode::NotAuthorized).await?;

    let (mut raw, _) = log_in(&fleet, 1, None, "pump", &right()).await?;
    // Another password, be it of the same device, is not what the session is by.
    let other = Scram::new("other", "pencil");
    raw.send_packet(&auth(ReasonCode::ReAuthenticate, METHOD, other.first())).await?;
    let challenge = expect_auth(&mut raw, ReasonCode::ContinueAuthentication).await?;
    let last = other.last(&challenge)?.0;
    raw.send_packet(&auth(ReasonCode::ContinueAuthentication, METHOD, last)).await?;
    raw.disconnected(ReasonCode::NotAuthorized).await?;

    let scrams = [right(), right()];
    let mut live = sessions(&fleet, right).await?;
    let mut challenges = Vec::new();
    for (raw, scram) in live.iter_mut().zip(&scrams) {
        raw.send_packet(&auth(ReasonCode::ReAuthenticate, METHOD, scram.first())).await?;
        challenges.push(expect_auth(raw, ReasonCode::ContinueAuthentication).await?);
    }
    fleet.revoqctl_ok(&["password", "revoke", "pump", "--wait", "--reason", "key-compromise"]).await?;
    for ((raw, scram), challenge) in live.iter_mut().zip(&scrams).zip(&challenges) {
        let last = scram.last(challenge)?.0;
        // The socket may be closed already; nothing of this may help.
        let _ = raw.send_packet(&auth(ReasonCode::ContinueAuthentication, METHOD, last)).await;
    }
    cut(live).await?;
    refused(&fleet, right).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_beside_a_certificate() -> Result<()> {
    let fleet = fleet("required").await?;
    let (pump, valve) = (fleet.issue("pump-7").await?, fleet.issue("valve-1").await?);
    set_password(&fleet, "pump", "pump-7", "pencil").await?;
    let right = || Scram::new("pump", "pencil");
    // Where the handshake itself is not refused, CONNECT is.
    if let Ok((_, ack)) = log_in(&fleet, 0, None, "bare", &right()).await {
        ensure!(ack.reason.is_error(), "a password is no certificate: {ack:?}");
    }
    let (raw, ack) = log_in(&fleet, 0, Some(&valve), "valve", &right()).await?;
    ensure!(ack.reason == ReasonCode::NotAuthorized, "another device's certificate: {ack:?}");
    raw.ended().await?;

    let (lab, device) = (&fleet, &pump);
    let both = |broker| async move { log_in(lab, broker, Some(device), "pump", &right()).await };
    for selector in ["password", "certificate"] {
        let (first, ack) = both(0).await?;
        ensure!(!ack.reason.is_error(), "{ack:?}");
        let mut bystander = fleet.connect(0, &valve, "valve").await?;
        let id = pump.certificate.id.clone();
        let name = if selector == "password" { "pump" } else { &id };
        fleet.revoqctl_ok(&[selector, "suspend", name, "--wait"]).await?;
        first.disconnected(ReasonCode::AdministrativeAction).await?;
        bystander.ping().await?;
        match both(1).await {
            Ok((_, ack)) => ensure!(ack.reason == ReasonCode::NotAuthorized, "{ack:?}"),
            Err(_) if selector == "certificate" => {}
            Err(error) => bail!(error),
        }
        fleet.revoqctl_ok(&[selector, "reactivate", name, "--wait"]).await?;
    }
    fleet.set("client_certificate", "optional").await?;
    let (bare, ack) = log_in(&fleet, 0, None, "bare", &right()).await?;
    ensure!(!ack.reason.is_error(), "{ack:?}");
    let (mut with, _) = both(1).await?;
    fleet.set("client_certificate", "required").await?;
    bare.disconnected(ReasonCode::NotAuthorized).await?;
    with.quiet().await
}
