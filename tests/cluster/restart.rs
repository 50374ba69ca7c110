//! A restart of everything keeps everything.

use anyhow::{Result, ensure};
use revoq_proto::v1::selector::Selector;
use revoq_proto::v1::{self, Transition};
use revoq_tests::{Device, Lab};

/// All that an administrator can list.
async fn everything(lab: &Lab) -> Result<String> {
    let channel = lab.channel(0)?;
    let tenant = String::from("default");
    let tenants = v1::tenants_client::TenantsClient::new(channel.clone())
        .list(v1::ListTenantsRequest {})
        .await?
        .into_inner()
        .tenants;
    let authorities = v1::authorities_client::AuthoritiesClient::new(channel.clone())
        .list(v1::ListAuthoritiesRequest { tenant: tenant.clone() })
        .await?
        .into_inner()
        .authorities;
    let devices = v1::devices_client::DevicesClient::new(channel.clone())
        .list(v1::ListDevicesRequest { tenant: tenant.clone(), ..Default::default() })
        .await?
        .into_inner()
        .devices;
    let mut certificates = v1::certificates_client::CertificatesClient::new(channel.clone())
        .list(v1::ListCertificatesRequest { tenant, ..Default::default() })
        .await?
        .into_inner()
        .certificates;
    // The first use is recorded in batches, some time after it.
    for certificate in &mut certificates {
        (certificate.first_used_ms, certificate.last_used_ms) = (0, 0);
    }
    let settings = v1::settings_client::SettingsClient::new(channel)
        .list(v1::ListSettingsRequest {})
        .await?
        .into_inner()
        .settings;
    Ok(format!("{tenants:#?}\n{authorities:#?}\n{devices:#?}\n{certificates:#?}\n{settings:#?}"))
}

async fn audit(lab: &Lab) -> Result<Vec<v1::AuditEntry>> {
    let mut client = v1::audit_client::AuditClient::new(lab.channel(0)?);
    let list = client.list(v1::ListAuditRequest { after: 0, page_size: 1_000 }).await?;
    Ok(list.into_inner().entries)
}

fn by_id(device: &Device) -> Selector {
    Selector::CertificateId(device.certificate.id.clone())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_everything_keeps_everything() -> Result<()> {
    let lab = Lab::start(3, 2).await?;
    let (good, suspended, revoked) =
        (lab.issue("good").await?, lab.issue("suspended").await?, lab.issue("revoked").await?);
    lab.change(0, Transition::Suspend, by_id(&suspended)).await?;
    lab.change(1, Transition::Revoke, by_id(&revoked)).await?;
    lab.set("cut_deadline", "3s").await?;
    let (before, audited) = (everything(&lab).await?, audit(&lab).await?);

    let lab = lab.restart().await?;
    ensure!(everything(&lab).await? == before, "before: {before}\nafter: {}", everything(&lab).await?);
    let audited_now = audit(&lab).await?;
    ensure!(audited_now.starts_with(&audited), "{audited:#?}\n{audited_now:#?}");
    for broker in 0..2 {
        lab.connect(broker, &good, "good").await?.ping().await?;
        ensure!(lab.try_connect(broker, &suspended, "suspended").await?.is_err());
        ensure!(lab.try_connect(broker, &revoked, "revoked").await?.is_err());
    }
    lab.change(2, Transition::Reactivate, by_id(&suspended)).await?;
    lab.connect(1, &suspended, "suspended").await?.ping().await?;
    // The authority's key was kept, sealed: it still signs.
    lab.connect(0, &lab.issue("later").await?, "later").await?.ping().await?;
    lab.cluster.shutdown().await;
    Ok(())
}
