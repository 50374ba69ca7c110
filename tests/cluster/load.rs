//! The load generator itself: what it counts must add up. Small here; the figures come from a release build.

use anyhow::{Context, Result, ensure};
use revoq_tests::process::{binary, run};
use serde_json::Value;

/// Runs `revoq-bench` and gives the runs of its line of JSON.
async fn bench(command: &str, arguments: &[&str]) -> Result<Vec<Value>> {
    let done = run(binary("revoq-bench")?, [&[command, "--runs", "1"], arguments].concat()).await?;
    ensure!(done.code == 0, "{done:?}");
    let line = done.out.lines().last().context("a line of JSON")?;
    let line: Value = serde_json::from_str(line)?;
    Ok(line["runs"].as_array().context("runs are a list")?.clone())
}

fn long() -> bool {
    std::env::var_os("REVOQ_LONG").is_some()
}

#[tokio::test]
async fn suspensions_one_after_the_other_cut_what_they_name_and_nothing_else() -> Result<()> {
    let (sessions, certificates) = if long() { ("2000", "1000") } else { ("60", "20") };
    let arguments = ["--sessions", sessions, "--certificates", certificates, "--suspensions", certificates];
    for run in bench("revoke", &arguments).await? {
        let all = sessions.parse::<u64>()?;
        let expected = serde_json::json!({"cut": all, "told_why": all, "wrongly_cut": 0, "wrongly_left": 0});
        ensure!(run["verdict"] == expected, "{run:#}");
        ensure!(run["ratio_p50"].as_f64().is_some_and(|ratio| ratio > 0.0), "{run:#}");
    }
    Ok(())
}

#[tokio::test]
async fn an_authority_with_all_its_sessions_goes_at_once_and_no_other_message_is_lost() -> Result<()> {
    let (sessions, certificates) = if long() { ("9000", "1000") } else { ("300", "30") };
    let arguments =
        ["--scenario", "authority", "--sessions", sessions, "--certificates", certificates, "--flows", "5"];
    for run in bench("revoke", &arguments).await? {
        ensure!(run["verdict"]["cut"] == sessions.parse::<u64>()?, "{run:#}");
        ensure!(run["verdict"]["wrongly_cut"] == 0 && run["verdict"]["wrongly_left"] == 0, "{run:#}");
        ensure!(run["lost"] == 0 && run["acknowledged"].as_u64() > Some(0), "{run:#}");
    }
    Ok(())
}

/// No watcher missed an event, had one twice, or lost its lease.
fn complete(reach: &Value) -> bool {
    ["missed", "repeated", "lapsed", "failed", "snapshots"].into_iter().all(|figure| reach[figure] == 0)
}

#[tokio::test]
async fn each_watcher_sees_each_revision_once_whatever_others_do_and_resumes_by_revision() -> Result<()> {
    let (watchers, slow, events) = if long() { (1_000, 100, 1_000) } else { (60, 6, 100) };
    let text = |number: u64| number.to_string();
    let (all, some, each) = (text(watchers), text(slow), text(events));
    let mut arguments = vec!["--watchers", &all, "--slow", &some, "--events", &each, "--slow-s", "2"];
    if !long() {
        arguments.extend([
            "--processes",
            "1",
            "--burst",
            "0",
            "--settle-ms",
            "500",
            "--changes-in-memory",
            "500",
        ]);
    }
    for run in bench("watch", &arguments).await? {
        ensure!(complete(&run["steady"]) && complete(&run["beside_slow"]), "{run:#}");
        ensure!(run["steady"]["commit_to_fence"]["count"] == events, "{run:#}");
        ensure!(run["connect"]["by_snapshot"] == watchers, "they have nothing yet: {run:#}");
        let reconnect = &run["reconnect"];
        ensure!(reconnect["by_revision"] == watchers && reconnect["by_snapshot"] == 0, "{run:#}");
        // Every replica gets its share, also of those that lost another one.
        for gathering in ["connect", "reconnect"] {
            let spread = run[gathering]["spread"].as_array().context("a list")?;
            let shares: Vec<u64> = spread.iter().filter_map(Value::as_u64).collect();
            ensure!(shares.iter().all(|share| share.abs_diff(watchers / 3) <= 2), "{run:#}");
        }
        let failover = &run["failover"];
        ensure!(failover["by_snapshot"] == 0 && failover["by_revision"].as_u64() > Some(0), "{run:#}");
        // Of a small crowd much is what the allocator rounds up to.
        let kib_max = if long() { 64.0 } else { 512.0 };
        for moment in ["connected_kib", "steady_kib", "beside_slow_kib", "end_kib"] {
            ensure!(run["memory"][moment].as_f64() < Some(kib_max), "{run:#}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_broker_is_ready_soon_beside_many_certificates_and_holds_the_denied_alone() -> Result<()> {
    let (certificates, denied, replicas) =
        if long() { ("1000000", "10000", "3") } else { ("20000", "2000", "1") };
    let arguments = ["--certificates", certificates, "--denied", denied, "--replicas", replicas];
    for run in bench("start", &[&arguments[..], &["--suspensions", "10"]].concat()).await? {
        ensure!(run["denied"] == denied.parse::<f64>()?, "{run:#}");
        ensure!(run["ready_ms"].as_f64() < Some(5_000.0), "{run:#}");
        ensure!(run["commit_to_ack"]["count"] == 20, "{run:#}");
    }
    Ok(())
}

#[tokio::test]
async fn messages_of_every_shape_and_qos_arrive_once_and_in_order() -> Result<()> {
    let arguments: &[&str] = if long() {
        &["--qos", "0,1,2", "--seconds", "3"]
    } else {
        &["--servers", "revoq", "--qos", "0,1,2", "--clients", "10", "--warm-ms", "50", "--seconds", "0.2"]
    };
    let runs = bench("messages", arguments).await?;
    let ours: Vec<&Value> = runs.iter().filter(|run| run["server"] == "revoq").collect();
    ensure!(ours.len() == 2 * 2 * 3 * 3, "pressures, transports, shapes, QoS: {}", ours.len());
    for run in ours {
        let counts = &run["delivered"]["counts"];
        let expected = counts["expected"].as_u64();
        ensure!(expected > Some(0) && counts["delivered"].as_u64() == expected, "{run:#}");
        for fault in ["lost", "duplicated", "reordered", "unacknowledged"] {
            ensure!(counts[fault] == 0, "{fault}: {run:#}");
        }
        ensure!(run["delivered"]["deliveries"].as_u64() > Some(0), "{run:#}");
        ensure!(run["cpu_us"].as_f64() > Some(0.0), "{run:#}");
    }
    Ok(())
}

#[tokio::test]
async fn handshakes_are_resumed_and_idle_connections_are_small() -> Result<()> {
    let (connections, handshakes) = if long() { ("10000", "5000") } else { ("500", "100") };
    let arguments = ["--servers", "revoq", "--connections", connections, "--handshakes", handshakes];
    for run in bench("connections", &arguments).await? {
        ensure!(run["full_us"].as_f64() > run["resumed_us"].as_f64(), "{run:#}");
        ensure!(run["resumed_us"].as_f64() > Some(0.0), "{run:#}");
        let kib = run["idle_kib"].as_f64();
        ensure!(kib > Some(0.0) && kib < Some(64.0), "{run:#}");
    }
    Ok(())
}
