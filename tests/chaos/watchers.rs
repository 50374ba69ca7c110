//! Watchers of the credentials that go on at another replica when one goes away, and what each of them saw.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use revoq_proto::v1::WatchRequest;
use revoq_proto::v1::credentials_client::CredentialsClient;
use revoq_tests::Fleet;
use revoq_tests::process::Talker;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tonic::transport::Channel;

const RETRY_PAUSE: Duration = Duration::from_millis(50);
/// The last event reaches every watcher within this.
const ENDS_WITHIN: Duration = Duration::from_secs(60);

/// The action of the event after which watchers end: a change of a setting, which a workload does not do.
const LAST: &str = "setting.set";

/// Watchers that began at one revision: one that prefers each replica, and `revoqctl watch`.
pub(crate) struct Watchers {
    after: u64,
    running: JoinSet<Result<Seen>>,
    command: Talker,
}

/// What one watcher saw.
struct Seen {
    who: String,
    revisions: Vec<u64>,
    streams: usize,
}

impl Watchers {
    /// Starts them with the events after the present revision.
    pub(crate) async fn start(fleet: &Fleet) -> Result<Watchers> {
        let after = fleet.status(fleet.leader().await?).await?.revision;
        let mut running = JoinSet::new();
        for first in 0..fleet.replicas() {
            let mut channels = (0..fleet.replicas()).map(|n| fleet.channel(n)).collect::<Result<Vec<_>>>()?;
            channels.rotate_left(first);
            running.spawn(watch(format!("the watcher at replica {}", first + 1), channels.into(), after));
        }
        let arguments = ["watch", "--output", "json", "--timeout", "30s", "--after", &after.to_string()];
        let command = Talker::start(&mut fleet.revoqctl_command(&arguments)?)?;
        Ok(Watchers { after, running, command })
    }

    /// Waits until each has seen the event of `last`, and checks that each saw what the replicas have stored: each
    /// revision once, in order. How many events, and how many streams of all watchers broke.
    pub(crate) async fn finish(mut self, fleet: &Fleet, last: u64) -> Result<(usize, usize)> {
        let expected = stored(fleet, self.after, last).await?;
        let mut broken = 0;
        let mut all = Vec::new();
        let ended = async {
            while let Some(seen) = self.running.join_next().await {
                all.push(seen??);
            }
            Ok::<_, anyhow::Error>(())
        };
        timeout(ENDS_WITHIN, ended).await.context("a watcher did not see the last event")??;
        self.command.hear(&format!("\"revision\":{last},"), ENDS_WITHIN).await?;
        let shown = self.command.heard().iter().map(|line| revision_of(line)).collect::<Result<_>>()?;
        all.push(Seen { who: "revoqctl watch".to_owned(), revisions: shown, streams: 1 });
        for Seen { who, revisions, streams } in all {
            let same = revisions == expected;
            ensure!(same, "{who} saw\n{revisions:?}\nand not\n{expected:?}");
            broken += streams - 1;
        }
        Ok((expected.len(), broken))
    }
}

fn revision_of(line: &str) -> Result<u64> {
    let value: serde_json::Value = serde_json::from_str(line)?;
    value["revision"].as_u64().with_context(|| format!("no revision in {line}"))
}

/// Watches at one replica after the other until the last event.
async fn watch(who: String, channels: Arc<[Channel]>, after: u64) -> Result<Seen> {
    let mut seen = Seen { who, revisions: Vec::new(), streams: 0 };
    for channel in channels.iter().cycle() {
        let revision = seen.revisions.last().copied().unwrap_or(after);
        let opened = CredentialsClient::new(channel.clone()).watch(WatchRequest { revision }).await;
        if let Ok(events) = opened {
            let mut events = events.into_inner();
            seen.streams += 1;
            while let Ok(Some(event)) = events.message().await {
                seen.revisions.push(event.revision);
                if event.action == LAST {
                    return Ok(seen);
                }
            }
        }
        sleep(RETRY_PAUSE).await;
    }
    bail!("there are no replicas")
}

/// What every replica has stored, which must be the same.
async fn stored(fleet: &Fleet, after: u64, last: u64) -> Result<Vec<u64>> {
    let mut lists = Vec::new();
    for n in 0..fleet.replicas() {
        let mut client = CredentialsClient::new(fleet.channel(n)?);
        let mut events = client.watch(WatchRequest { revision: after }).await?.into_inner();
        let mut revisions = Vec::new();
        let read = async {
            while revisions.last() != Some(&last) {
                revisions.push(events.message().await?.context("the events end early")?.revision);
            }
            Ok::<_, anyhow::Error>(())
        };
        timeout(ENDS_WITHIN, read).await.context("the last event is not stored")??;
        lists.push(revisions);
    }
    ensure!(lists.iter().all(|list| *list == lists[0]), "the replicas' events differ: {lists:?}");
    ensure!(lists[0].is_sorted_by(|a, b| a < b), "{:?}", lists[0]);
    Ok(lists.swap_remove(0))
}
