//! `revoqctl watch`: events on the command line, as they happen, across the restart of the replica that it watches.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use revoq_proto::v1::Transition;
use revoq_proto::v1::selector::Selector;
use revoq_tests::process::{Talker, binary};
use revoq_tests::{Device, Lab};
use serde_json::Value;
use tokio::process::Command;

const WITHIN: Duration = Duration::from_secs(60);

/// Starts `revoqctl watch` as the first administrator: of the replicas it asks the first one first.
fn watch(lab: &Lab, arguments: &[&str]) -> Result<Talker> {
    let mut command = Command::new(binary("revoqctl")?);
    command.args(["--output", "json", "watch"]).args(arguments);
    command.env("REVOQ_CONTEXT", lab.cluster.bundle_path()?);
    command.env("REVOQ_CONFIG", lab.folder().join("contexts.toml"));
    Talker::start(&mut command)
}

/// Suspends or reactivates through replica `n`; the revision.
async fn change(lab: &Lab, n: usize, device: &Device, transition: Transition) -> Result<u64> {
    let selector = Selector::Fingerprint(device.certificate.fingerprint.clone());
    Ok(lab.transition(n, transition, selector, false).await?.revision)
}

/// Two changes through replica `n`.
async fn changes(lab: &Lab, n: usize, device: &Device) -> Result<[u64; 2]> {
    Ok([
        change(lab, n, device, Transition::Suspend).await?,
        change(lab, n, device, Transition::Reactivate).await?,
    ])
}

/// Revision and action of each event that was shown.
fn shown(talker: &Talker) -> Result<Vec<(u64, String)>> {
    let read = |line: &String| {
        let event: Value = serde_json::from_str(line)?;
        let revision = event["revision"].as_u64().with_context(|| line.clone())?;
        Ok((revision, event["action"].as_str().with_context(|| line.clone())?.to_owned()))
    };
    talker.heard().iter().map(read).collect()
}

async fn hear(talker: &mut Talker, revision: u64) -> Result<()> {
    talker.hear(&format!("\"revision\":{revision},"), WITHIN).await.map(drop)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_are_shown_in_order_and_once_across_a_restart_of_their_replica() -> Result<()> {
    let mut lab = Lab::start(3, 1).await?;
    let device = lab.issue("pump").await?;
    let before = change(&lab, 0, &device, Transition::Suspend).await?;
    // From a revision on, and not from now on: a process may start after the next change.
    let mut silent = watch(&lab, &["--after", &before.to_string()])?;
    let mut past = watch(&lab, &["--after", &(before - 1).to_string()])?;
    hear(&mut past, before).await?;
    let reactivated = change(&lab, 1, &device, Transition::Reactivate).await?;
    hear(&mut past, reactivated).await?;
    hear(&mut silent, reactivated).await?;
    let mut idle = watch(&lab, &["--after", &reactivated.to_string()])?;

    let mut expected = vec![before, reactivated];
    expected.extend(changes(&lab, 2, &device).await?);
    hear(&mut past, expected[3]).await?;
    lab.cluster.stop_replica(0).await;
    expected.extend(changes(&lab, 1, &device).await?);
    lab.cluster.start_replica(0).await?;
    expected.extend(changes(&lab, 0, &device).await?);
    expected.extend(changes(&lab, 2, &device).await?);
    let last = expected[expected.len() - 1];
    for talker in [&mut silent, &mut past, &mut idle] {
        hear(talker, last).await?;
    }
    let seen = shown(&past)?;
    ensure!(seen.is_sorted_by(|one, next| one.0 < next.0), "in order and once: {seen:?}");
    let times = |revision: &u64| seen.iter().filter(|(shown, _)| shown == revision).count();
    ensure!(expected.iter().all(|revision| times(revision) == 1), "{expected:?} in {seen:?}");
    // Whoever began later has seen the same from there on.
    let from =
        |first: u64| seen.iter().filter(move |(revision, _)| *revision >= first).cloned().collect::<Vec<_>>();
    ensure!(shown(&silent)? == from(reactivated), "{:?} is not the end of {seen:?}", shown(&silent)?);
    ensure!(shown(&idle)? == from(reactivated + 1), "{:?} is not the end of {seen:?}", shown(&idle)?);
    // And so does who reads it all from the rows, at a replica that was not there all the time.
    let mut again = watch(&lab, &["--after", &(before - 1).to_string()])?;
    hear(&mut again, last).await?;
    ensure!(shown(&again)? == seen, "{:?} is not {seen:?}", shown(&again)?);
    lab.cluster.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_now_on_misses_nothing_when_its_replica_goes_away_before_the_first_event() -> Result<()> {
    let mut lab = Lab::start(3, 0).await?;
    let device = lab.issue("pump").await?;
    let mut talker = watch(&lab, &["--count", "2"])?;
    // It says nothing: that it watches is seen in what its replica counts.
    let calls = format!("http://{}/metrics", lab.cluster.layout().replicas[0].http);
    revoq_tests::until("it watches", WITHIN, || async {
        let done = revoq_tests::process::run("curl", ["-sSf", "--max-time", "10", &calls]).await?;
        Ok(done.out.contains(r#"service="revoq.v1.Credentials",method="Watch"} 1"#).then_some(()))
    })
    .await?;
    lab.cluster.stop_replica(0).await;
    let missed = changes(&lab, 1, &device).await?;
    for revision in missed {
        hear(&mut talker, revision).await?;
    }
    ensure!(talker.end(WITHIN).await? == 0);
    lab.cluster.shutdown().await;
    Ok(())
}
