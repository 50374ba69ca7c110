//! Connections that are opened and closed, one after the other.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustls::ClientConfig;

use super::link::{Link, tls};
use super::{Handshakes, Shaken};
use crate::usage::cpu_us;

/// Before the first that counts: code and tickets are where they should be.
const WARM: usize = 32;
/// A server has let go of the last connection after this.
const SETTLE: Duration = Duration::from_millis(300);

/// Opens and closes so many, in some threads.
pub(super) fn run(job: &Handshakes) -> Result<Shaken> {
    let credentials = job.target.tls.as_ref().context("a handshake is of TLS")?;
    let config = tls(credentials, job.resume)?;
    each(job, &config, WARM, "warm")?;
    std::thread::sleep(SETTLE);
    let (begun, before) = (Instant::now(), cpu_us(job.target.process)?);
    let resumed = each(job, &config, job.count, "counted")?;
    let seconds = begun.elapsed().as_secs_f64();
    std::thread::sleep(SETTLE);
    let server_cpu_us = cpu_us(job.target.process)? - before;
    Ok(Shaken { count: job.count, resumed, seconds, server_cpu_us })
}

/// How many were resumed.
fn each(job: &Handshakes, config: &Arc<ClientConfig>, count: usize, phase: &str) -> Result<usize> {
    let one = |n: usize| {
        let link = Link::open(&job.target, Some(config), None, &format!("{}-{phase}-{n}", job.name))?;
        let resumed = link.is_resumed();
        link.close();
        Ok::<_, anyhow::Error>(usize::from(resumed))
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..job.threads)
            .map(|thread| {
                scope.spawn(move || (thread..count).step_by(job.threads).map(one).sum::<Result<usize>>())
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("it does not panic")).sum()
    })
}
