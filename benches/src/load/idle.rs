//! Connections that stay and say nothing.

use std::net::{IpAddr, Ipv4Addr};

use anyhow::{Context, Result};

use super::Idle;
use super::link::{Link, tls};

/// Well below the ports that one address has.
const PER_ADDRESS: usize = 8_000;

/// Opens them, in some threads, from as many loopback addresses as they need.
pub(super) fn run(job: &Idle) -> Result<Vec<Link>> {
    let config = job.target.tls.as_ref().map(|credentials| tls(credentials, false)).transpose()?;
    let one = |n: usize| {
        let source = u8::try_from(2 + n / PER_ADDRESS).context("too many connections")?;
        let source = IpAddr::V4(Ipv4Addr::new(127, 0, 0, source));
        let client_id = format!("{}-{n}", job.name);
        Link::open(&job.target, config.as_ref(), Some(source), &client_id).with_context(|| client_id.clone())
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..job.threads)
            .map(|thread| {
                scope.spawn(move || {
                    (thread..job.count).step_by(job.threads).map(one).collect::<Result<Vec<_>>>()
                })
            })
            .collect();
        let mut links = Vec::with_capacity(job.count);
        for thread in threads {
            links.append(&mut thread.join().expect("it does not panic")?);
        }
        Ok(links)
    })
}
