//! Which processors servers run on, and which are left to everything else: neither takes the other's time, and a server is
//! asked what it makes of so many.

use std::path::Path;

use anyhow::{Context, Result};
use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use tokio::process::{Child, Command};

/// How the processors of this machine are shared out.
pub(crate) struct Processors {
    servers: CpuSet,
    others: CpuSet,
    /// Of `servers`; 0: all share all.
    apart: usize,
}

impl Processors {
    /// Gives servers so many of those that this process may use, but leaves one. This process keeps to the others, and so
    /// does what it starts.
    pub(crate) fn share_out(wanted: usize) -> Result<Processors> {
        let all = sched_getaffinity(None)?;
        let mine: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|processor| all.is_set(*processor)).collect();
        let apart = wanted.min(mine.len() - 1);
        if apart == 0 {
            return Ok(Processors { servers: all, others: all, apart });
        }
        let (servers, others) = mine.split_at(apart);
        let shared_out = Processors { servers: set(servers), others: set(others), apart };
        shared_out.confine_this_process()?;
        Ok(shared_out)
    }

    /// Starts a server.
    pub(crate) fn spawn(&self, command: &mut Command) -> Result<Child> {
        // A process starts where the thread that starts it may run.
        sched_setaffinity(None, &self.servers)?;
        let child = command.spawn().with_context(|| format!("starting {command:?}"));
        sched_setaffinity(None, &self.others)?;
        child
    }

    fn confine_this_process(&self) -> Result<()> {
        let tasks = Path::new("/proc/self/task");
        for task in tasks.read_dir().context("reading /proc/self/task")? {
            let id = task?.file_name().to_str().and_then(|id| id.parse().ok()).and_then(Pid::from_raw);
            sched_setaffinity(Some(id.context("the number of a thread")?), &self.others)?;
        }
        Ok(())
    }
}

impl std::fmt::Display for Processors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.apart {
            0 => write!(f, "servers and clients share all processors"),
            apart => write!(
                f,
                "{apart} processor(s) for each server, the others for clients and the control plane"
            ),
        }
    }
}

fn set(processors: &[usize]) -> CpuSet {
    let mut set = CpuSet::new();
    processors.iter().for_each(|processor| set.set(*processor));
    set
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(process: Option<Pid>) -> Vec<usize> {
        let set = sched_getaffinity(process).expect("readable");
        (0..CpuSet::MAX_CPU).filter(|processor| set.is_set(*processor)).collect()
    }

    #[tokio::test]
    async fn servers_have_theirs_and_this_process_the_others() {
        let before = allowed(None);
        let processors = Processors::share_out(1).expect("there is always one");
        let server = processors.spawn(Command::new("sleep").arg("60").kill_on_drop(true)).expect("it starts");
        let server = server.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        let (first, others) = before.split_at(1.min(before.len() - 1));
        assert_eq!(allowed(None), others);
        assert_eq!(allowed(server), if first.is_empty() { others } else { first });
        assert_eq!(sched_setaffinity(None, &set(&before)), Ok(()));
    }
}
