//! Every selector: its dry run counts what is then cut.

use anyhow::{Context, Result, ensure};
use revoq_proto::v1::devices_client::DevicesClient;
use revoq_proto::v1::selector::Selector;
use revoq_proto::v1::{self, Transition};
use revoq_tests::access::{AUTHORITY, TENANT};
use revoq_tests::{Client, Device, End, Lab};

/// Two devices that the selector means, one that it does not, each connected to both brokers.
struct Scene {
    meant: Vec<Device>,
    other: Device,
}

async fn connect_all(lab: &Lab, scene: &Scene) -> Result<(Vec<Client>, Vec<Client>)> {
    let (mut meant, mut others) = (Vec::new(), Vec::new());
    for broker in 0..2 {
        for device in &scene.meant {
            meant.push(lab.connect(broker, device, &format!("{}-{broker}", device.name)).await?);
        }
        others.push(lab.connect(broker, &scene.other, &format!("{}-{broker}", scene.other.name)).await?);
    }
    Ok((meant, others))
}

/// Dry run, then suspension: the counts agree, those that are meant end, the others live.
async fn check(lab: &Lab, scene: &Scene, selector: Selector) -> Result<()> {
    let (meant, mut others) = connect_all(lab, scene).await.with_context(|| format!("{selector:?}"))?;
    let dry = lab.transition(1, Transition::Suspend, selector.clone(), true).await?;
    ensure!(dry.revision == 0 && dry.credentials == scene.meant.len() as u64, "{selector:?}: {dry:?}");
    let expected: u64 = dry.sessions.iter().map(|node| node.sessions).sum();
    ensure!(expected == meant.len() as u64, "{selector:?}: {dry:?}");

    let wet = lab.transition(2, Transition::Suspend, selector.clone(), false).await?;
    ensure!((wet.credentials, wet.unchanged) == (dry.credentials, dry.unchanged), "{dry:?} {wet:?}");
    let fence = lab.fence(2, wet.revision).await?;
    for counted in &dry.sessions {
        let cut = fence.nodes.iter().find(|node| node.node == counted.node).map(|node| node.sessions_cut);
        ensure!(cut.unwrap_or_default() == counted.sessions, "{selector:?}: {dry:?} {fence:?}");
    }
    for client in meant {
        ensure!(matches!(client.ended().await?, End::Disconnect(_)), "{selector:?}");
    }
    for client in &mut others {
        client.ping().await.with_context(|| format!("{selector:?}"))?;
    }
    lab.change(0, Transition::Reactivate, selector).await?;
    for device in &scene.meant {
        lab.connect(0, device, "back").await?.ping().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_one_certificate_or_device() -> Result<()> {
    let lab = Lab::start(3, 2).await?;
    let scene = Scene { meant: vec![lab.issue("one").await?], other: lab.issue("other").await? };
    let certificate = &scene.meant[0].certificate;
    let serial = |text: &str, der: &[u8]| v1::SerialNumber {
        issuer_text: text.to_owned(),
        issuer_der: der.to_vec().into(),
        serial: certificate.serial.clone(),
    };
    let selectors = [
        Selector::CertificateId(certificate.id.clone()),
        Selector::Fingerprint(certificate.fingerprint.clone()),
        Selector::Serial(serial(&certificate.issuer_text, &[])),
        Selector::Serial(serial("", &certificate.issuer)),
        Selector::Device(v1::DeviceName { tenant: TENANT.into(), name: "one".into() }),
    ];
    for selector in selectors {
        check(&lab, &scene, selector).await?;
    }
    lab.cluster.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many() -> Result<()> {
    let lab = Lab::start(3, 2).await?;
    let label = v1::Label { key: "site".into(), value: "north".into() };
    let mut devices = DevicesClient::new(lab.channel(0)?);
    for name in ["first", "second"] {
        let labels = vec![label.clone()];
        devices.create(v1::CreateDeviceRequest { tenant: TENANT.into(), name: name.into(), labels }).await?;
    }
    let meant = vec![lab.issue("first").await?, lab.issue("second").await?];
    let before = meant.iter().map(|device| device.certificate.issued_ms).max().unwrap_or_default() + 1;
    revoq_tests::until("a later millisecond", std::time::Duration::from_secs(5), || async {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_millis();
        Ok((now > u128::from(before)).then_some(()))
    })
    .await?;
    lab.create_authority("elsewhere").await?;
    let scene = Scene { meant, other: lab.issue_by("elsewhere", "third").await? };
    let authority = v1::AuthorityName { tenant: TENANT.into(), name: AUTHORITY.into() };
    let issued_before = v1::IssuedBefore { tenant: TENANT.into(), authority: String::new(), time_ms: before };
    let selectors = [
        Selector::Label(v1::DeviceLabel { tenant: TENANT.into(), label: Some(label) }),
        Selector::IssuedBefore(issued_before),
        Selector::Authority(authority),
    ];
    for selector in selectors {
        check(&lab, &scene, selector).await?;
    }
    lab.cluster.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_tenant() -> Result<()> {
    let lab = Lab::start(3, 2).await?;
    let channel = lab.channel(0)?;
    let tenant = "acme";
    v1::tenants_client::TenantsClient::new(channel.clone())
        .create(v1::CreateTenantRequest { name: tenant.into() })
        .await?;
    let request =
        v1::CreateAuthorityRequest { tenant: tenant.into(), name: "theirs".into(), ..Default::default() };
    v1::authorities_client::AuthoritiesClient::new(channel).create(request).await?;
    let meant = vec![lab.issue_in(tenant, "theirs", "guest").await?];
    let scene = Scene { meant, other: lab.issue("host").await? };
    check(&lab, &scene, Selector::Tenant(tenant.into())).await?;
    lab.cluster.shutdown().await;
    Ok(())
}
