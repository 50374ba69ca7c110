//! Settings of a group, and the limits of this crate.
use std::sync::Arc;
use std::time::Duration;

use openraft::SnapshotPolicy;

use crate::Error;

/// Largest command, in bytes.
pub const COMMAND_SIZE_MAX: usize = 1024 * 1024;
/// Largest gRPC message between replicas, in bytes.
pub const MESSAGE_SIZE_MAX: usize = 4 * 1024 * 1024;
/// Bytes of log entries in one append; a single entry may exceed it.
pub(crate) const APPEND_BYTES_MAX: usize = MESSAGE_SIZE_MAX / 4;
/// Bytes of a batch of state before it is written and the next one begun.
pub(crate) const BATCH_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Bytes of one SST file of a snapshot.
pub(crate) const SNAPSHOT_FILE_BYTES: u64 = 64 * 1024 * 1024;
/// Bytes of one chunk of a snapshot on the wire.
pub(crate) const SNAPSHOT_CHUNK_BYTES: usize = 256 * 1024;
/// For how long a call is tried again while nobody leads.
pub(crate) const LEADERLESS_PATIENCE: Duration = Duration::from_millis(500);
/// After this a proposal's outcome is unknown.
pub(crate) const PROPOSE_TIMEOUT: Duration = Duration::from_secs(10);
/// A follower may take its time to flush; it is given up only when it could be dead.
pub(crate) const APPEND_TIMEOUT: Duration = Duration::from_secs(1);
/// How long the leader may take to prove itself to a quorum.
pub(crate) const PROOF_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a change of the membership may take, catching up included.
pub(crate) const MEMBERSHIP_TIMEOUT: Duration = Duration::from_secs(120);
/// How long one snapshot may take from the first byte to installed.
const SNAPSHOT_TIMEOUT: Duration = Duration::from_secs(30 * 60);

/// Settings of one group on one replica.
#[derive(Clone, Debug)]
pub struct Config {
    /// This replica, the same for ever.
    pub node: u64,
    /// Which group; groups of a process share its store.
    pub group: u32,
    /// How often a leader shows that it lives.
    pub heartbeat: Duration,
    /// Followers stay loyal to a silent leader for `election_max`. After that one waits at least this long before it
    /// stands for election.
    pub election_min: Duration,
    /// And at most this long: twice this is what it takes until somebody stands after a leader died.
    pub election_max: Duration,
    /// How often the states of the replicas are compared.
    pub compare: Duration,
    /// Log entries between two compactions, and the number that is kept for followers that lag.
    pub snapshot_logs: u64,
    /// Changes of this many last indices can be read by [`crate::Group::changes`].
    pub changes_kept: u64,
}

impl Config {
    /// The defaults for a replica of a group.
    #[must_use]
    pub fn new(node: u64, group: u32) -> Self {
        Self {
            node,
            group,
            heartbeat: Duration::from_millis(100),
            election_min: Duration::from_millis(300),
            election_max: Duration::from_millis(600),
            compare: Duration::from_secs(1),
            snapshot_logs: 20_000,
            changes_kept: 100_000,
        }
    }

    pub(crate) fn raft(&self) -> Result<Arc<openraft::Config>, Error> {
        let config = openraft::Config {
            cluster_name: format!("group-{}", self.group),
            heartbeat_interval: millis(self.heartbeat),
            election_timeout_min: millis(self.election_min),
            election_timeout_max: millis(self.election_max),
            install_snapshot_timeout: millis(SNAPSHOT_TIMEOUT),
            max_payload_entries: 1024,
            replication_lag_threshold: self.snapshot_logs.saturating_mul(2).max(1),
            snapshot_policy: SnapshotPolicy::LogsSinceLast(self.snapshot_logs.max(1)),
            max_in_snapshot_log_to_keep: self.snapshot_logs,
            purge_batch_size: (self.snapshot_logs / 4).clamp(1, 4096),
            // Followers write while the leader still flushes: a commit waits for the slower of the two, not for both.
            broadcast_submitted_on_append: Some(true),
            enable_pre_vote: Some(true),
            backoff: "20ms 50ms 100ms ...500ms".to_owned(),
            // A restarted leader must be elected anew: its state may be older than what it had answered.
            enable_leader_restore: Some(false),
            ..openraft::Config::default()
        };
        Ok(Arc::new(config.validate().map_err(|e| Error::Config(e.to_string()))?))
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
