//! The parent's side of a worker.

use std::process::Stdio;

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use super::{Job, Report};

/// A worker process. It ends when this is dropped.
pub(crate) struct Fleet {
    child: Child,
    input: Option<ChildStdin>,
    output: Lines<BufReader<ChildStdout>>,
}

impl Fleet {
    /// Starts a worker and returns when all its sessions are open.
    pub(crate) async fn open(job: &Job) -> Result<Fleet> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg("fleet")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("starting a worker")?;
        let mut input = child.stdin.take().context("the worker's input is piped")?;
        let output = BufReader::new(child.stdout.take().context("the worker's output is piped")?).lines();
        let mut line = serde_json::to_vec(job)?;
        line.push(b'\n');
        input.write_all(&line).await?;
        let mut fleet = Fleet { child, input: Some(input), output };
        match fleet.next().await? {
            Some(Report::Open) => Ok(fleet),
            other => bail!("the worker {} did not open its sessions: {other:?}", job.name),
        }
    }

    /// The next report; `None` once the worker has ended.
    pub(crate) async fn next(&mut self) -> Result<Option<Report>> {
        match self.output.next_line().await? {
            None => Ok(None),
            Some(line) => Ok(Some(serde_json::from_str(&line).with_context(|| format!("reading {line:?}"))?)),
        }
    }

    /// Tells the worker to stop; the reports that it had not said yet.
    pub(crate) async fn stop(mut self) -> Result<Vec<Report>> {
        drop(self.input.take());
        let mut rest = Vec::new();
        while let Some(report) = self.next().await? {
            rest.push(report);
        }
        self.child.wait().await?;
        Ok(rest)
    }
}
