//! Connections that stay and say nothing.

use std::net::{IpAddr, Ipv4Addr};

use anyhow::{Context, Result};

use super::Idle;
use super::link::{Link, in_threads, tls};

/// Well below the ports that one address has.
const PER_ADDRESS: usize = 8_000;

/// Opens them, in some threads, from as many loopback addresses as they need.
pub(super) fn run(job: &Idle) -> Result<Vec<Link>> {
    let config = job.target.tls.as_ref().map(|credentials| tls(credentials, false)).transpose()?;
    let one = |_, n: usize| {
        let source = u8::try_from(2 + n / PER_ADDRESS).context("too many connections")?;
        let source = IpAddr::V4(Ipv4Addr::new(127, 0, 0, source));
        let client_id = format!("{}-{n}", job.name);
        Link::open(&job.target, config.as_ref(), Some(source), &client_id).with_context(|| client_id.clone())
    };
    Ok(in_threads(job.threads, job.count, one)?.into_iter().flatten().collect())
}
