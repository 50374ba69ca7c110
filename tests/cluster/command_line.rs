//! `revoqctl` as a person or a script uses it.

use anyhow::{Context, Result, ensure};
use revoq_tests::Lab;
use serde_json::Value;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_day_of_an_operator() -> Result<()> {
    let lab = Lab::start(3, 2).await?;
    let status: Value =
        serde_json::from_str(&lab.revoqctl_ok(&["cluster", "status", "--output", "json"]).await?)?;
    let nodes = status["nodes"].as_array().context("nodes are a list")?;
    ensure!(nodes.len() == 5, "{status:#}");

    lab.revoqctl_ok(&["device", "create", "pump", "--label", "site=north"]).await?;
    lab.revoqctl_ok(&["certificate", "issue", "pump", "--out", "pump"]).await?;
    let key = std::fs::metadata(lab.folder().join("pump/key.pem"))?;
    ensure!(
        std::os::unix::fs::PermissionsExt::mode(&key.permissions()) & 0o777 == 0o600,
        "key.pem is readable"
    );
    let listed: Value =
        serde_json::from_str(&lab.revoqctl_ok(&["certificate", "list", "--output", "json"]).await?)?;
    ensure!(listed.to_string().contains("pump"), "{listed:#}");

    let dry = lab.revoqctl_ok(&["certificate", "suspend", "--label", "site=north", "--dry-run"]).await?;
    ensure!(dry.contains('1'), "{dry}");
    let wet = lab.revoqctl_ok(&["certificate", "suspend", "--device", "pump", "--wait"]).await?;
    for named in ["broker-1", "broker-2", "confirmed"] {
        ensure!(wet.contains(named), "{named} is not in {wet}");
    }
    let explained = lab.revoqctl(&["certificate", "explain", "--device", "pump"]).await?;
    ensure!(format!("{}{}", explained.out, explained.err).contains("suspended"), "{explained:?}");
    lab.revoqctl_ok(&["certificate", "reactivate", "--device", "pump", "--wait"]).await?;
    lab.revoqctl_ok(&["setting", "set", "cut_deadline", "1s"]).await?;
    let setting = lab.revoqctl_ok(&["setting", "get", "cut_deadline", "--output", "yaml"]).await?;
    ensure!(setting.contains("1s"), "{setting}");
    lab.revoqctl_ok(&["audit", "verify"]).await?;
    lab.cluster.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exit_codes_and_errors_for_people() -> Result<()> {
    let lab = Lab::start(1, 0).await?;
    lab.revoqctl_ok(&["certificate", "issue", "pump", "--out", "pump"]).await?;
    let usage = lab.revoqctl(&["certificate", "suspend"]).await?;
    ensure!(usage.code == 2, "{usage:?}");
    let missing = lab.revoqctl(&["device", "show", "nobody"]).await?;
    ensure!(missing.code == 3 && missing.err.contains("nobody"), "{missing:?}");
    lab.revoqctl_ok(&["certificate", "revoke", "pump/cert.pem", "--reason", "key-compromise"]).await?;
    let illegal = lab.revoqctl(&["certificate", "reactivate", "pump/cert.pem"]).await?;
    ensure!(illegal.code == 4 && illegal.err.contains("revoked"), "{illegal:?}");
    let completion = lab.revoqctl_ok(&["completion", "bash"]).await?;
    ensure!(completion.contains("revoqctl"));
    lab.cluster.shutdown().await;
    Ok(())
}
