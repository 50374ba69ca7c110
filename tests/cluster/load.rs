//! The load generator itself: what it counts must add up. Small here; the figures come from a release build.

use anyhow::{Context, Result, ensure};
use revoq_tests::process::{binary, run};
use serde_json::Value;

/// Runs `revoq-bench revoke` and gives the runs of its line of JSON.
async fn bench(arguments: &[&str]) -> Result<Vec<Value>> {
    let done = run(binary("revoq-bench")?, [&["revoke", "--runs", "1"], arguments].concat()).await?;
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
    for run in bench(&arguments).await? {
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
    for run in bench(&arguments).await? {
        ensure!(run["verdict"]["cut"] == sessions.parse::<u64>()?, "{run:#}");
        ensure!(run["verdict"]["wrongly_cut"] == 0 && run["verdict"]["wrongly_left"] == 0, "{run:#}");
        ensure!(run["lost"] == 0 && run["acknowledged"].as_u64() > Some(0), "{run:#}");
    }
    Ok(())
}
