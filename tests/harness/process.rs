//! Programs that we did not write, and our own command line, as processes.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

/// A program that answers within this is not hanging, on the busiest machine.
const ANSWERS_WITHIN: Duration = Duration::from_secs(180);

/// What a program did.
#[derive(Debug)]
pub struct Done {
    /// Its exit code; -1 where a signal ended it.
    pub code: i32,
    /// Its standard output.
    pub out: String,
    /// Its standard error.
    pub err: String,
}

/// Runs a program to its end.
pub async fn run<A: AsRef<OsStr>>(
    program: impl AsRef<OsStr>,
    arguments: impl IntoIterator<Item = A>,
) -> Result<Done> {
    run_with(Command::new(program).args(arguments)).await
}

/// Runs a prepared command to its end, without standard input.
pub async fn run_with(command: &mut Command) -> Result<Done> {
    let output =
        tokio::time::timeout(ANSWERS_WITHIN, command.stdin(Stdio::null()).kill_on_drop(true).output())
            .await
            .with_context(|| format!("{command:?} did not end within {ANSWERS_WITHIN:?}"))?
            .with_context(|| format!("{command:?} did not start"))?;
    Ok(Done {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

/// The path of one of our binaries, which `tests/run` builds beside the tests.
pub fn binary(name: &str) -> Result<PathBuf> {
    let test = std::env::current_exe()?;
    let folder = test.ancestors().nth(2).context("tests are built below target/<profile>/deps")?;
    let binary = folder.join(name);
    if !binary.is_file() {
        bail!("{} is not built: run tests/run, or cargo build --workspace --bins", binary.display());
    }
    Ok(binary)
}

/// A file below `target`, where `tests/run` puts what it installs.
fn installed(file: &str) -> Result<PathBuf> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target").join(file);
    if !path.is_file() {
        bail!("{} is not there: run tests/run", path.display());
    }
    Ok(path)
}

/// The Python of the virtual environment with that version of paho-mqtt.
pub fn python(paho: &str) -> Result<PathBuf> {
    installed(&format!("python/paho-{paho}/bin/python"))
}

/// The tests of an MQTT 5.0 broker in the sources of that version of paho-mqtt.
pub fn paho_broker_tests(version: &str) -> Result<PathBuf> {
    installed(&format!("python/paho-mqtt-{version}/tests/test_mqttv5.py"))
}

/// Node.js, with the libraries of `tests/clients/package-lock.json`.
pub fn node() -> Result<Command> {
    let mut command = Command::new(installed("node/wheel/bin/node")?);
    command.env("NODE_PATH", concat!(env!("CARGO_MANIFEST_DIR"), "/../target/node/node_modules"));
    Ok(command)
}

/// A program that talks in lines while it runs. It ends when this is dropped.
pub struct Talker {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    heard: Vec<String>,
}

impl Talker {
    /// Starts it; lines of standard output and standard error are heard alike if it is told to merge them.
    pub fn start(command: &mut Command) -> Result<Talker> {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("{command:?} did not start"))?;
        let out = child.stdout.take().context("its output is piped")?;
        Ok(Talker { child, lines: BufReader::new(out).lines(), heard: Vec::new() })
    }

    /// The next line that contains `text`; those before it are passed over.
    pub async fn hear(&mut self, text: &str, limit: Duration) -> Result<String> {
        let listen = async {
            while let Some(line) = self.lines.next_line().await? {
                self.heard.push(line.clone());
                if line.contains(text) {
                    return Ok(line);
                }
            }
            bail!("it ended without saying {text:?}")
        };
        let result = tokio::time::timeout(limit, listen).await;
        result
            .unwrap_or_else(|_| bail!("{text:?} was not heard within {limit:?}"))
            .with_context(|| format!("heard: {:#?}", self.heard))
    }

    /// All lines that were heard so far.
    pub fn heard(&self) -> &[String] {
        &self.heard
    }

    /// Waits for its end.
    pub async fn end(mut self, limit: Duration) -> Result<i32> {
        let status = tokio::time::timeout(limit, self.child.wait()).await.context("it did not end")??;
        Ok(status.code().unwrap_or(-1))
    }
}
