//! What of a replica's memory is its watchers'.

use anyhow::Result;

use super::crowd::Crowd;
use super::events::burst;
use super::run::served;
use super::scene::Scene;
use crate::usage::Usage;

/// What each replica has without watchers. The ring of recent events is full, and how the store's memory grows with what is
/// committed is known, so that neither is taken for the watchers'.
pub(crate) struct Alone {
    /// Bytes.
    memory: Vec<f64>,
    /// Bytes more for each change.
    growth: Vec<f64>,
    /// After so many changes.
    changes: usize,
}

impl Alone {
    /// Commits twice as many changes as the ring holds.
    pub(crate) async fn measure(scene: &mut Scene, ring: usize) -> Result<Alone> {
        burst(scene, ring).await?;
        let full = bytes(&scene.cluster.usage()?);
        burst(scene, ring).await?;
        let memory = bytes(&scene.cluster.usage()?);
        let growth = full.iter().zip(&memory).map(|(full, more)| ((more - full) / ring as f64).max(0.0));
        Ok(Alone { growth: growth.collect(), memory, changes: scene.changes() })
    }

    /// KiB for each watcher now, of the replica where it is most.
    pub(crate) async fn per_watcher(&self, scene: &Scene, crowd: &mut Crowd) -> Result<f64> {
        self.of(&scene.cluster.usage()?, scene.changes(), crowd).await
    }

    /// The same of what was used after so many changes.
    pub(crate) async fn of(&self, usage: &[Usage], changes: usize, crowd: &mut Crowd) -> Result<f64> {
        let served = served(&crowd.standings().await?, usage.len());
        let since = (changes - self.changes) as f64;
        let watchers = bytes(usage).into_iter().zip(&self.memory).zip(&self.growth);
        let watchers = watchers.map(|((now, alone), growth)| now - alone - growth * since);
        let each = watchers.zip(served).filter(|(_, served)| *served > 0);
        Ok(each.map(|(bytes, served)| bytes / 1_024.0 / served as f64).fold(0.0, f64::max))
    }
}

fn bytes(usage: &[Usage]) -> Vec<f64> {
    usage.iter().map(|usage| usage.memory as f64).collect()
}
