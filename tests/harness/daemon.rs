//! One of our processes on a host: started, killed, stopped, continued, started again.

use std::ffi::OsString;
use std::fs::File;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Child;
use tokio::sync::Mutex;

use crate::hosts::{Host, Hosts};
use crate::wait::until;

/// A signal that cannot be caught takes effect within this.
const SIGNALLED_WITHIN: Duration = Duration::from_secs(10);
/// Lines of each log that a test shows at its end; of a passing test nobody sees them.
const LINES_SHOWN: usize = 60;

/// A program with its arguments. It is killed when this is dropped, and the end of its log is shown.
pub struct Daemon {
    host: Host,
    program: PathBuf,
    arguments: Vec<OsString>,
    environment: Vec<(String, String)>,
    log: PathBuf,
    running: Mutex<Option<Child>>,
}

impl Daemon {
    /// A daemon that does not run yet; it logs to `log`, each start after the one before.
    pub(crate) fn new(host: Host, program: PathBuf, log: PathBuf) -> Daemon {
        let (arguments, environment) = (Vec::new(), Vec::new());
        Daemon { host, program, arguments, environment, log, running: Mutex::default() }
    }

    /// Adds `--name value` to every start.
    pub(crate) fn flag(&mut self, name: &str, value: impl Into<OsString>) {
        self.arguments.extend([name.into(), value.into()]);
    }

    /// Adds a variable to every start.
    pub(crate) fn variable(&mut self, name: &str, value: &str) {
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    /// Starts it; `more` variables are for this time only.
    pub(crate) async fn start(&self, hosts: &Hosts, more: &[(&str, &str)]) -> Result<()> {
        let mut running = self.running.lock().await;
        ensure!(running.is_none(), "{} is running", self.host);
        let log = File::options().create(true).append(true).open(&self.log)?;
        let mut command = hosts.command(self.host, &self.program);
        command.args(&self.arguments).envs(self.environment.iter().cloned()).envs(more.iter().copied());
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).kill_on_drop(true);
        let child = command.spawn().with_context(|| format!("starting {}", self.host))?;
        hosts.started(self.host, child.id().context("it runs")?);
        *running = Some(child);
        Ok(())
    }

    /// Whether it was started and has not ended.
    pub async fn is_running(&self) -> Result<bool> {
        match &mut *self.running.lock().await {
            Some(child) => Ok(child.try_wait()?.is_none()),
            None => Ok(false),
        }
    }

    /// Its resident memory in KiB.
    pub async fn resident_kib(&self) -> Result<u64> {
        figure(&self.proc().await?, "VmRSS").with_context(|| self.host.to_string())
    }

    /// How often its threads have gone to sleep since they began.
    pub async fn sleeps(&self) -> Result<u64> {
        let mut sleeps = 0;
        for thread in std::fs::read_dir(self.proc().await?.join("task"))? {
            sleeps +=
                figure(&thread?.path(), "voluntary_ctxt_switches").with_context(|| self.host.to_string())?;
        }
        Ok(sleeps)
    }

    async fn proc(&self) -> Result<PathBuf> {
        let pid = self.running.lock().await.as_ref().and_then(Child::id);
        Ok(PathBuf::from(format!("/proc/{}", pid.with_context(|| self.not_running())?)))
    }

    /// Ends it at once: SIGKILL. Returns when it is gone.
    pub async fn kill(&self) -> Result<()> {
        let mut child = self.running.lock().await.take().with_context(|| self.not_running())?;
        child.kill().await.with_context(|| format!("killing {}", self.host))
    }

    /// Asks it to end in order: SIGTERM. Returns how it did.
    pub async fn terminate(&self, limit: Duration) -> Result<ExitStatus> {
        self.signal(Signal::TERM).await?;
        self.ended(limit).await
    }

    /// Stops it where it is: SIGSTOP. Returns when no thread of it runs any more.
    pub async fn pause(&self) -> Result<()> {
        let pid = self.signal(Signal::STOP).await?;
        let what = format!("{} stops", self.host);
        until(&what, SIGNALLED_WITHIN, || async { Ok(threads_are_stopped(pid)?.then_some(())) }).await
    }

    /// Lets it run on: SIGCONT.
    pub async fn resume(&self) -> Result<()> {
        self.signal(Signal::CONT).await.map(|_| ())
    }

    async fn signal(&self, signal: Signal) -> Result<Pid> {
        let running = self.running.lock().await;
        let child = running.as_ref().with_context(|| self.not_running())?;
        // It is ours until it is waited for, so that the number cannot be another's.
        let pid = child.id().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
        let pid = pid.with_context(|| self.not_running())?;
        kill_process(pid, signal).with_context(|| format!("{signal:?} to {}", self.host))?;
        Ok(pid)
    }

    /// Waits until it has ended by itself, and says how.
    pub async fn ended(&self, limit: Duration) -> Result<ExitStatus> {
        let what = format!("{} ends", self.host);
        let status = until(&what, limit, || async {
            match &mut *self.running.lock().await {
                Some(child) => Ok(child.try_wait()?),
                None => bail!(self.not_running()),
            }
        })
        .await?;
        self.running.lock().await.take();
        Ok(status)
    }

    /// All that it has logged, each start after the one before.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// How much it has logged, for [`Daemon::log_since`].
    pub fn log_length(&self) -> usize {
        self.log().len()
    }

    /// What it has logged after the first `length` bytes.
    pub fn log_since(&self, length: usize) -> String {
        self.log().split_off(length)
    }

    fn not_running(&self) -> String {
        format!("{} is not running", self.host)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        let shown = &lines[lines.len().saturating_sub(LINES_SHOWN)..];
        eprintln!("--- {}: the last {} of {} lines", self.host, shown.len(), lines.len());
        shown.iter().for_each(|line| eprintln!("{line}"));
        // A folder or a namespace can be removed only when the process has let go of it.
        if let Some(child) = self.running.get_mut()
            && child.start_kill().is_ok()
        {
            let end = std::time::Instant::now() + SIGNALLED_WITHIN;
            while matches!(child.try_wait(), Ok(None)) && std::time::Instant::now() < end {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }
}

/// SIGSTOP takes effect when each thread next returns from the kernel.
fn threads_are_stopped(pid: Pid) -> Result<bool> {
    let tasks = Path::new("/proc").join(pid.as_raw_nonzero().to_string()).join("task");
    for task in std::fs::read_dir(tasks)? {
        let stat = std::fs::read_to_string(task?.path().join("stat")).unwrap_or_default();
        // The state comes after the name, which is in parentheses and may hold anything.
        let state = stat.rsplit(')').next().and_then(|rest| rest.trim_start().chars().next());
        if state.is_some_and(|state| state != 'T') {
            return Ok(false);
        }
    }
    Ok(true)
}

/// How a process ended, in words.
pub fn how(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "neither exit code nor signal".to_owned(),
    }
}

/// A number in the `status` of a process or thread, by its folder in `/proc`.
fn figure(folder: &Path, name: &str) -> Result<u64> {
    let status = std::fs::read_to_string(folder.join("status"))?;
    let value = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let number = value.and_then(|value| value.split_whitespace().next()?.parse().ok());
    number.with_context(|| format!("no {name} in {}", folder.display()))
}
