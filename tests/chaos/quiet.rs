//! Nothing happens, and nobody looks whether it does: who is idle leaves the processor to others.

use std::time::Duration;

use anyhow::{Result, ensure};
use revoq_tests::{Fleet, Plan};
use tokio::time::sleep;

/// What a start leaves behind is over by then.
const SETTLES_WITHIN: Duration = Duration::from_secs(3);
const WATCHED: Duration = Duration::from_secs(10);
/// A replica goes to sleep 10 times a second, a node 11 times. With heartbeats to nobody it was 82.
const SLEEPS_A_SECOND_MAX: u64 = 30;

#[tokio::test]
async fn a_replica_that_is_alone_and_an_idle_node_sleep() -> Result<()> {
    let fleet = Fleet::start(Plan::single("required", [])).await?;
    fleet.wait_ready().await?;
    sleep(SETTLES_WITHIN).await;
    for process in [fleet.replica_process(0), fleet.broker_process(0)] {
        let before = process.sleeps().await?;
        sleep(WATCHED).await;
        let a_second = (process.sleeps().await? - before) / WATCHED.as_secs();
        ensure!((1..=SLEEPS_A_SECOND_MAX).contains(&a_second), "it goes to sleep {a_second} times a second");
    }
    Ok(())
}
