//! Keeps the server certificates current: from files, or from the control plane.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use revoq_credentials::Millis;
use revoq_proto::client::{ControlChannel, Persistence};
use revoq_proto::v1;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{ServerCertificate, from_files, from_issued, new_request};
use crate::Error;
use crate::clock;

/// How often the files are looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);
const PAUSE_MIN: Duration = Duration::from_millis(500);
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// A certificate is looked at at least this often, however long it lasts: the wall clock may be moved.
const SLEEP_MAX: Duration = Duration::from_secs(3600);

/// Where certificates come from.
pub(crate) enum Source {
    /// Pairs of a certificate and its key, at least one.
    Files(Vec<(PathBuf, PathBuf)>),
    Issued {
        channel: ControlChannel,
        names: Vec<String>,
    },
}

impl Source {
    /// What must be right at the start already: the files, or the names.
    pub(crate) fn check(&self, current: &ServerCertificate) -> Result<(), Error> {
        match self {
            Source::Files(pairs) => read(pairs, current)?,
            Source::Issued { names, .. } => drop(new_request(names)?),
        }
        Ok(())
    }

    /// Keeps `current` current. Never returns.
    pub(crate) async fn keep(self, current: Arc<ServerCertificate>) {
        match self {
            Source::Files(pairs) => keep_files(&pairs, &current).await,
            Source::Issued { channel, names } => keep_issued(&channel, &names, &current).await,
        }
    }
}

/// All of them or none: one that does not fit leaves the old ones in place.
fn read(pairs: &[(PathBuf, PathBuf)], current: &ServerCertificate) -> Result<(), Error> {
    let read: Result<Vec<_>, Error> =
        pairs.iter().map(|(certificate, key)| from_files(certificate, key)).collect();
    let mut read = read?.into_iter();
    if let Some(first) = read.next() {
        current.set(first, read.collect());
    }
    Ok(())
}

async fn keep_files(pairs: &[(PathBuf, PathBuf)], current: &ServerCertificate) {
    let mut hangup = signal(SignalKind::hangup()).ok();
    let mut seen = stamps(pairs);
    loop {
        let asked = wait(hangup.as_mut()).await;
        let stamps = stamps(pairs);
        if !asked && stamps == seen {
            continue;
        }
        seen = stamps;
        match read(pairs, current) {
            Ok(()) => tracing::info!("server certificates reloaded"),
            // Perhaps one of two is written and the other is not yet; the old ones serve on.
            Err(error) => tracing::warn!(%error, "server certificates not reloaded"),
        }
    }
}

/// True: SIGHUP came. False: it is time to look.
async fn wait(hangup: Option<&mut Signal>) -> bool {
    let Some(hangup) = hangup else {
        tokio::time::sleep(LOOK_INTERVAL).await;
        return false;
    };
    tokio::select! {
        _ = hangup.recv() => true,
        () = tokio::time::sleep(LOOK_INTERVAL) => false,
    }
}

fn stamps(pairs: &[(PathBuf, PathBuf)]) -> Vec<Option<(SystemTime, u64)>> {
    let stamp = |path: &PathBuf| {
        let metadata = std::fs::metadata(path).ok()?;
        Some((metadata.modified().ok()?, metadata.len()))
    };
    pairs.iter().flat_map(|(certificate, key)| [stamp(certificate), stamp(key)]).collect()
}

async fn keep_issued(channel: &ControlChannel, names: &[String], current: &ServerCertificate) {
    let mut pause = PAUSE_MIN;
    let mut renew = Millis(0);
    loop {
        let left = Duration::from_millis(renew.0.saturating_sub(clock::now().wall));
        if !left.is_zero() {
            tokio::time::sleep(left.min(SLEEP_MAX)).await;
            continue;
        }
        match issue(channel, names, current).await {
            Ok(next) => {
                // A certificate that is past two thirds of its life already must not be asked for without end.
                renew = next.max(Millis(clock::now().wall + 60_000));
                pause = PAUSE_MIN;
            }
            Err(reason) => {
                tracing::warn!(reason, "no server certificate from the control plane");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(PAUSE_MAX);
            }
        }
    }
}

/// When to renew it.
async fn issue(
    channel: &ControlChannel,
    names: &[String],
    current: &ServerCertificate,
) -> Result<Millis, String> {
    let (csr, key) = new_request(names).map_err(|error| error.to_string())?;
    let request = v1::IssueServerCertificateRequest { csr: csr.into(), names: names.to_vec() };
    let issued = channel.call(Persistence::READ, |channel| {
        let mut client = v1::node_client::NodeClient::new(channel);
        let request = request.clone();
        async move { client.issue_server_certificate(request).await }
    });
    let issued = issued.await.map_err(|status| status.message().to_owned())?.into_inner();
    let chain = issued.certificates.iter().map(|der| der.to_vec()).collect();
    let (certified, renew) = from_issued(chain, &key).map_err(|error| error.to_string())?;
    current.set(certified, Vec::new());
    tracing::info!("server certificate issued");
    Ok(renew)
}
