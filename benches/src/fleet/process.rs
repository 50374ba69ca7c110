//! The parent's side of a worker.

use anyhow::{Result, bail};

use super::{Job, Report};
use crate::process::Process;

/// A worker process. It ends when this is dropped.
pub(crate) struct Fleet(Process);

impl Fleet {
    /// Starts a worker and returns when all its sessions are open.
    pub(crate) async fn open(job: &Job) -> Result<Fleet> {
        let mut fleet = Fleet(Process::start("fleet")?);
        fleet.0.say(job).await?;
        match fleet.next().await? {
            Some(Report::Open) => Ok(fleet),
            other => bail!("the worker {} did not open its sessions: {other:?}", job.name),
        }
    }

    /// The next report; `None` once the worker has ended.
    pub(crate) async fn next(&mut self) -> Result<Option<Report>> {
        self.0.hear().await
    }

    /// Tells the worker to stop; the reports that it had not said yet.
    pub(crate) async fn stop(mut self) -> Result<Vec<Report>> {
        self.0.close_input();
        let mut rest = Vec::new();
        while let Some(report) = self.next().await? {
            rest.push(report);
        }
        self.0.wait().await?;
        Ok(rest)
    }
}
