//! Connections that are opened, one after the other, and then closed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustls::ClientConfig;

use super::link::{Link, in_threads, tls};
use super::{Handshakes, Shaken};
use crate::usage::cpu_us;

/// Of each thread, before the first that counts: code and tickets are where they should be.
const WARM: usize = 2;
/// A server has done with the last connection after this.
const SETTLE: Duration = Duration::from_millis(300);

/// Opens so many, in some threads, and then closes them.
pub(super) fn run(job: &Handshakes) -> Result<Shaken> {
    let credentials = job.target.tls.as_ref().context("a handshake is of TLS")?;
    // As devices do, each thread keeps the ticket that it was given: out of one store they would take each other's, and
    // find none now and then.
    let configs = (0..job.threads).map(|_| tls(credentials, job.resume)).collect::<Result<Vec<_>>>()?;
    close(open(job, &configs, WARM * job.threads, "warm")?);
    let before = settled_cpu_us(job)?;
    let begun = Instant::now();
    let links = open(job, &configs, job.count, "counted")?;
    let seconds = begun.elapsed().as_secs_f64();
    let opened = settled_cpu_us(job)?;
    let resumed = links.iter().flatten().filter(|link| link.is_resumed()).count();
    close(links);
    let closed = settled_cpu_us(job)?;
    Ok(Shaken {
        count: job.count,
        resumed,
        seconds,
        server_cpu_us: opened - before,
        ends_cpu_us: closed - opened,
    })
}

/// What the server has used, once it has done what it was asked.
fn settled_cpu_us(job: &Handshakes) -> Result<f64> {
    std::thread::sleep(SETTLE);
    cpu_us(job.target.process)
}

/// Those of each thread.
fn open(
    job: &Handshakes,
    configs: &[Arc<ClientConfig>],
    count: usize,
    phase: &str,
) -> Result<Vec<Vec<Link>>> {
    in_threads(job.threads, count, |thread, n| {
        Link::open(&job.target, Some(&configs[thread]), None, &format!("{}-{phase}-{n}", job.name))
    })
}

/// Closes them in as many threads.
fn close(links: Vec<Vec<Link>>) {
    std::thread::scope(|scope| {
        for links in links {
            scope.spawn(move || links.into_iter().for_each(Link::close));
        }
    });
}
