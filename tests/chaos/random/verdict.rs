//! What the run comes to, when all is whole again.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures_util::future::join_all;
use revoq_proto::v1;
use revoq_tests::history::{History, Summary, Violation, check};
use revoq_tests::until;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::audit;
use super::scene::{BROKERS, Credential, REPLICAS, Scene};

/// Every credential is let in and kept out as its state says, within this.
const SETTLES_WITHIN: Duration = Duration::from_secs(30);
/// All replicas stand at one revision within this.
const AGREES_WITHIN: Duration = Duration::from_secs(60);
/// Between two looks at who leads.
const LOOKS: Duration = Duration::from_millis(100);
/// Violations that are printed.
const SHOWN_MAX: usize = 20;

/// Figures, and what was broken.
pub(super) struct Verdict {
    history: History,
    violations: Vec<Violation>,
    revision: u64,
    entries: String,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Verdict { history, violations, revision, entries } = self;
        write!(
            f,
            "{} violations; {}; equal digests at revision {revision}; audit log: {entries}",
            violations.len(),
            Summary::of(history)
        )
    }
}

impl Verdict {
    /// # Errors
    /// Where anything was broken, with the records that show it.
    pub(super) fn stands(&self) -> Result<()> {
        let shown = self.violations.iter().take(SHOWN_MAX);
        let shown: Vec<String> = shown.map(|found| found.show(&self.history).to_string()).collect();
        ensure!(shown.is_empty(), "{} violations:\n{}", self.violations.len(), shown.join("\n"));
        Ok(())
    }
}

/// Waits until the cluster is whole, and checks everything.
pub(super) async fn reach(scene: &Scene) -> Result<Verdict> {
    scene.fleet.wait_ready().await?;
    for credential in scene.in_use() {
        settles(scene, &credential).await?;
    }
    let (revision, _) = scene.fleet.agreed(AGREES_WITHIN).await?;
    let history = History { records: scene.recorder.records(), bounds: Some(Scene::bounds()) };
    let log = audit::log(scene, 0).await?;
    let violations = check(&history, &log);
    let verified = scene.fleet.revoqctl_ok(&["audit", "verify"]).await?;
    let entries = verified.lines().next().unwrap_or_default().to_owned();
    Ok(Verdict { history, violations, revision, entries })
}

/// Every broker lets it in, or keeps it out, as its state says.
async fn settles(scene: &Scene, credential: &Credential) -> Result<()> {
    let id = credential.device.certificate.id.clone();
    let selector = v1::Selector { selector: Some(v1::selector::Selector::CertificateId(id)) };
    let mut client = v1::certificates_client::CertificatesClient::new(scene.fleet.channel(0)?);
    let state = client.show(selector).await?.into_inner().state();
    let allowed = matches!(state, v1::State::Inactive | v1::State::Active);
    for broker in 0..BROKERS {
        let what = format!(
            "{} is {}, and treated so at broker {broker}",
            credential.device.name,
            state.as_str_name()
        );
        until(&what, SETTLES_WITHIN, || async {
            let attempt = scene.fleet.try_connect(broker, &credential.device, "the last").await?;
            Ok((attempt.is_ok() == allowed).then_some(()))
        })
        .await?;
    }
    Ok(())
}

/// Counts changes of the leader, as a majority of the replicas sees them.
pub(super) struct Leaders {
    changes: u64,
    terms: f64,
}

impl fmt::Display for Leaders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "leader changes: {}, terms: {}", self.changes, self.terms)
    }
}

impl Leaders {
    /// Until the workload ends.
    pub(super) fn count(scene: &Arc<Scene>) -> impl Future<Output = Result<Leaders>> + use<> {
        let scene = Arc::clone(scene);
        let counting: JoinHandle<Result<Leaders>> = tokio::spawn(async move {
            let first = term(&scene).await?;
            let (mut last, mut changes) = (None, 0);
            while scene.goes_on() {
                if let Ok(Ok(leader)) = timeout(LOOKS * 5, scene.fleet.leader()).await {
                    changes += u64::from(last.is_some_and(|last| last != leader));
                    last = Some(leader);
                }
                scene.pause(LOOKS).await;
            }
            Ok(Leaders { changes, terms: term(&scene).await? - first })
        });
        async { counting.await.context("counting leaders")? }
    }
}

/// The highest term that a replica knows.
async fn term(scene: &Scene) -> Result<f64> {
    let terms = (0..REPLICAS).map(|n| scene.fleet.replica_metric(n, "revoq_control_term"));
    join_all(terms).await.into_iter().flatten().reduce(f64::max).context("a replica tells its term")
}
