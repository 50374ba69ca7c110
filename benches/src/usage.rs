//! What a process has used, read from `/proc`.

use anyhow::{Context, Result};

/// Processor time since the start and memory now.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    /// User and system, microseconds.
    pub(crate) cpu_us: u64,
    /// Resident and private, bytes: without what is mapped from files.
    pub(crate) memory: u64,
}

impl Usage {
    /// Of a process that runs.
    pub(crate) fn of(process: u32) -> Result<Usage> {
        let read = |file: &str| {
            let path = format!("/proc/{process}/{file}");
            std::fs::read_to_string(&path).with_context(|| format!("reading {path}"))
        };
        let (stat, status) = (read("stat")?, read("status")?);
        Ok(Usage {
            cpu_us: ticks_us(&stat).context("utime and stime")?,
            memory: memory(&status).context("RssAnon")?,
        })
    }
}

/// Microseconds that the threads of a process that runs have used, and those of its children, in full: `stat` counts in
/// hundredths of a second. A thread that has ended is left out, so servers are measured between two moments of their life.
pub(crate) fn cpu_us(process: u32) -> Result<f64> {
    let mut nanoseconds = 0;
    let mut processes = vec![process.to_string()];
    while let Some(process) = processes.pop() {
        let folder = format!("/proc/{process}/task");
        for thread in std::fs::read_dir(&folder).with_context(|| format!("reading {folder}"))? {
            let thread = thread?.path();
            // A thread may end in between.
            let Ok(used) = std::fs::read_to_string(thread.join("schedstat")) else { continue };
            let used = used.split(' ').next().and_then(|used| used.parse::<u64>().ok());
            nanoseconds += used.with_context(|| format!("reading {}", thread.display()))?;
            let children = std::fs::read_to_string(thread.join("children")).unwrap_or_default();
            processes.extend(children.split_whitespace().map(str::to_owned));
        }
    }
    Ok(nanoseconds as f64 / 1e3)
}

/// Fields 14 and 15 of proc(5), after the name, which may hold anything.
fn ticks_us(stat: &str) -> Option<u64> {
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks: u64 = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
    Some(ticks * 1_000_000 / rustix::param::clock_ticks_per_second())
}

fn memory(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1_024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_uses_something() {
        let before = Usage::of(std::process::id()).expect("readable");
        let block = vec![1_u8; 32 << 20];
        let mut sum = 0_u64;
        while Usage::of(std::process::id()).expect("readable").cpu_us < before.cpu_us + 20_000 {
            sum += block.iter().map(|byte| u64::from(*byte)).sum::<u64>();
        }
        let after = Usage::of(std::process::id()).expect("readable");
        assert!(after.memory > before.memory + (30 << 20), "{before:?} {after:?} {sum}");
    }

    #[test]
    fn both_ways_of_reading_agree() {
        let ticks = || Usage::of(std::process::id()).expect("readable").cpu_us as f64;
        let (begun, exact) = (ticks(), cpu_us(std::process::id()).expect("readable"));
        while ticks() < begun + 100_000.0 {}
        let (ticks, exact) = (ticks() - begun, cpu_us(std::process::id()).expect("readable") - exact);
        assert!((ticks - exact).abs() < 30_000.0, "{ticks} {exact}");
    }

    #[test]
    fn a_name_may_hold_anything() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 1 0 0 0 30 12 0 0 20 0 1 0 5 1 1";
        assert_eq!(ticks_us(stat), Some(42 * 1_000_000 / rustix::param::clock_ticks_per_second()));
    }
}
