//! All brokers of a run, in their processes.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use super::Arguments;
use super::scene::Scene;
use crate::watchers::{Job, Standing, Tally, Watchers};

const LOOK_EVERY: Duration = Duration::from_millis(50);

/// All brokers of a run. The slow ones are in the last process.
pub(crate) struct Crowd {
    processes: Vec<Watchers>,
    slow: bool,
}

impl Crowd {
    /// Starts the processes and waits until every broker has joined.
    pub(crate) async fn join(scene: &mut Scene, arguments: &Arguments) -> Result<Crowd> {
        let token = scene.cluster.leading().await?.broker_token().await?;
        let job = |name: String, brokers| Job {
            name,
            brokers,
            replicas: scene.cluster.addresses.clone(),
            token: token.clone(),
        };
        let (quick, each) = (arguments.watchers - arguments.slow, arguments.processes.max(1));
        let mut processes = Vec::new();
        for n in 0..each {
            let brokers = (quick + n) / each;
            processes.push(Watchers::start(&job(format!("quick-{n}"), brokers)).await?);
        }
        if arguments.slow > 0 {
            processes.push(Watchers::start(&job("slow".to_owned(), arguments.slow)).await?);
        }
        for process in &mut processes {
            process.joined().await?;
        }
        Ok(Crowd { processes, slow: arguments.slow > 0 })
    }

    /// Every broker opens its stream.
    pub(crate) async fn watch(&mut self) -> Result<()> {
        for process in &mut self.processes {
            process.watch().await?;
        }
        Ok(())
    }

    /// Every broker drops its connection.
    pub(crate) async fn drop_connections(&mut self) -> Result<()> {
        for process in &mut self.processes {
            process.drop_connections().await?;
        }
        Ok(())
    }

    /// The process of the slow ones.
    pub(crate) fn slow(&self) -> Option<&Watchers> {
        self.processes.last().filter(|_| self.slow)
    }

    fn quick_mut(&mut self) -> &mut [Watchers] {
        let quick = self.processes.len() - usize::from(self.slow);
        &mut self.processes[..quick]
    }

    /// How many of the brokers are not slow.
    pub(crate) fn quick_brokers(&mut self) -> usize {
        self.quick_mut().iter().map(|process| process.brokers).sum()
    }

    /// What the brokers that are not slow have counted since the last time.
    pub(crate) async fn quick_tally(&mut self) -> Result<Tally> {
        let mut sum = Tally::default();
        for process in self.quick_mut() {
            sum.add(process.tally().await?);
        }
        Ok(sum)
    }

    /// What all have counted since the last time.
    pub(crate) async fn tally(&mut self) -> Result<Tally> {
        let mut sum = Tally::default();
        for process in &mut self.processes {
            sum.add(process.tally().await?);
        }
        Ok(sum)
    }

    pub(crate) async fn standings(&mut self) -> Result<Vec<Standing>> {
        let mut all = Vec::new();
        for process in &mut self.processes {
            all.extend(process.standings().await?);
        }
        Ok(all)
    }

    /// Waits until the standing of every broker is `good`.
    pub(crate) async fn until(
        &mut self,
        what: &str,
        limit: Duration,
        good: impl Fn(&Standing) -> bool,
    ) -> Result<Vec<Standing>> {
        let end = tokio::time::Instant::now() + limit;
        loop {
            let standings = self.standings().await?;
            let bad = standings.iter().filter(|standing| !good(standing)).count();
            if bad == 0 {
                return Ok(standings);
            }
            if tokio::time::Instant::now() > end {
                let tally = self.tally().await?;
                bail!(
                    "{bad} brokers are not {what} after {limit:?}; streams were lost for: {:#?}",
                    tally.lost
                );
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    fn slow_mut(&mut self) -> Result<&mut Watchers> {
        self.processes.last_mut().filter(|_| self.slow).context("there are slow ones")
    }

    /// Waits until every slow one has acknowledged this event.
    pub(crate) async fn slow_until(&mut self, revision: u64, limit: Duration) -> Result<()> {
        let slow = self.slow_mut()?;
        let end = tokio::time::Instant::now() + limit;
        let mut acknowledged = 0;
        while acknowledged < slow.brokers as u64 {
            let tally = slow.tally().await?;
            acknowledged += tally.acknowledged.get(&revision).map_or(0, |event| event.brokers);
            if tokio::time::Instant::now() > end {
                bail!("{acknowledged} slow brokers have {revision} after {limit:?}: {:#?}", tally.lost);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    /// Waits until every slow one has a grant on a stream that it asked for since `asked`.
    pub(crate) async fn slow_again(&mut self, asked: u64, limit: Duration) -> Result<()> {
        let slow = self.slow_mut()?;
        let end = tokio::time::Instant::now() + limit;
        while slow.standings().await?.iter().any(|stand| stand.asked_ns < asked || stand.granted_ns == 0) {
            if tokio::time::Instant::now() > end {
                bail!("slow brokers are not served again after {limit:?}");
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    /// Microseconds that all processes together have used.
    pub(crate) fn cpu_us(&self) -> Result<u64> {
        self.processes.iter().map(|process| Ok(process.usage()?.cpu_us)).sum()
    }
}
