//! What no design on this machine goes below: a quorum commit of an empty entry with the same fsync, and a round trip of gRPC
//! over loopback, measured between the suspensions of the same run.

use anyhow::Result;
use revoq_proto::v1;
use serde::Serialize;

use super::scene::Scene;
use crate::clock::now_ns;
use crate::statistics::Spread;

#[derive(Default)]
pub(crate) struct Samples {
    commits: Vec<u64>,
    round_trips: Vec<u64>,
}

/// The floor of a run.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Floor {
    pub(crate) empty_commit: Spread,
    pub(crate) round_trip: Spread,
    /// The two medians together.
    pub(crate) p50_us: f64,
}

impl Samples {
    /// One commit, one round trip.
    pub(crate) async fn take(&mut self, scene: &Scene) -> Result<()> {
        let started = now_ns();
        scene.cluster.replica(scene.leader)?.commit_empty().await?;
        self.commits.push(now_ns() - started);
        let mut client = v1::cluster_client::ClusterClient::new(scene.channel.clone());
        let started = now_ns();
        client.root(v1::ClusterRootRequest {}).await?;
        self.round_trips.push(now_ns() - started);
        Ok(())
    }

    pub(crate) fn floor(self) -> Floor {
        let empty_commit = Spread::of(self.commits);
        let round_trip = Spread::of(self.round_trips);
        Floor { empty_commit, round_trip, p50_us: empty_commit.p50_us + round_trip.p50_us }
    }
}
