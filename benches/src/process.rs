//! Processes of this program beside the first one, so that memory and processor time can be told apart. They are told
//! and tell in lines of JSON.

use std::process::Stdio;

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines, Stdin};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

/// A process of this program. It ends when this is dropped.
pub(crate) struct Process {
    child: Child,
    id: u32,
    input: Option<ChildStdin>,
    output: Lines<BufReader<ChildStdout>>,
}

impl Process {
    /// Starts this program with a subcommand.
    pub(crate) fn start(subcommand: &str) -> Result<Process> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg(subcommand)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("starting {subcommand}"))?;
        let id = child.id().context("it has just been started")?;
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().context("its output is piped")?).lines();
        Ok(Process { child, id, input, output })
    }

    /// Its number.
    pub(crate) fn id(&self) -> u32 {
        self.id
    }

    /// Says one thing.
    pub(crate) async fn say(&mut self, what: &impl Serialize) -> Result<()> {
        let mut line = serde_json::to_vec(what)?;
        line.push(b'\n');
        self.input.as_mut().context("its input is closed")?.write_all(&line).await?;
        Ok(())
    }

    /// The next thing that it says; `None` once it has ended.
    pub(crate) async fn hear<T: DeserializeOwned>(&mut self) -> Result<Option<T>> {
        match self.output.next_line().await? {
            None => Ok(None),
            Some(line) => Ok(Some(serde_json::from_str(&line).with_context(|| format!("reading {line:?}"))?)),
        }
    }

    /// Says one thing and waits for the answer.
    pub(crate) async fn ask<T: DeserializeOwned>(&mut self, what: &impl Serialize) -> Result<T> {
        self.say(what).await?;
        self.hear().await?.context("the process ended instead of answering")
    }

    /// Lets it know that nothing more will be said.
    pub(crate) fn close_input(&mut self) {
        self.input = None;
    }

    /// Waits for its end.
    pub(crate) async fn wait(&mut self) -> Result<()> {
        self.child.wait().await?;
        Ok(())
    }

    /// Ends it at once, and waits until it is gone.
    pub(crate) async fn kill(&mut self) -> Result<()> {
        self.child.kill().await?;
        Ok(())
    }

    /// Stops it: it does nothing until it is told to go on, and reads nothing.
    pub(crate) fn pause(&self) -> Result<()> {
        self.signal(Signal::STOP)
    }

    /// Lets it go on.
    pub(crate) fn go_on(&self) -> Result<()> {
        self.signal(Signal::CONT)
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let id = i32::try_from(self.id).ok().and_then(Pid::from_raw).context("a process has a number")?;
        Ok(kill_process(id, signal)?)
    }
}

/// The other end: what the first process says, line by line.
pub(crate) struct Orders(Lines<BufReader<Stdin>>);

impl Orders {
    pub(crate) fn new() -> Orders {
        Orders(BufReader::new(tokio::io::stdin()).lines())
    }

    /// `None` once nothing more will be said.
    pub(crate) async fn next<T: DeserializeOwned>(&mut self) -> Result<Option<T>> {
        match self.0.next_line().await? {
            None => Ok(None),
            Some(line) => Ok(Some(serde_json::from_str(&line).with_context(|| format!("reading {line:?}"))?)),
        }
    }
}

/// Answers the first process.
pub(crate) async fn answer(what: &impl Serialize) -> Result<()> {
    let mut line = serde_json::to_vec(what)?;
    line.push(b'\n');
    let mut out = tokio::io::stdout();
    out.write_all(&line).await?;
    out.flush().await?;
    Ok(())
}
