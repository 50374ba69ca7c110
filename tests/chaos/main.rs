//! Real processes on hosts of their own that are killed, stopped, cut off, and run out of disk.
//!
//! What fails, what must happen then, and the test that shows it:
//!
//! | what fails | what happens | test |
//! |---|---|---|
//! | a broker node is killed | its sessions end, other nodes are not disturbed, the fence counts it out in time | `quorum::a_broker_that_is_killed_…` |
//! | a broker node is stopped and runs on | nothing passes for whoever was denied meanwhile | `stopped::…` |
//! | the leader is killed | no acknowledged change is lost, a call that was cut off is unknown, watches resume, elections end in time | `crash::what_is_acknowledged_…` |
//! | a broker is cut off, both ways or one way | it stops by itself, the fence completes without it, it resumes by revision | `cut_off::a_broker_that_…` |
//! | … together with a replica, be it the leader | the lease is not prolonged | `cut_off::a_follower_…`, `cut_off::a_leader_…` |
//! | … where no grace ends | the fence names it as unconfirmed | `cut_off::where_no_grace_ends_…` |
//! | control-plane quorum | no changes; brokers serve inside their lease, then by the stale policy | `quorum::without_a_quorum_…` |
//! | packets between a broker and the replicas | each fence keeps its bound | `quorum::a_fence_over_a_network_…` |
//! | disk full on a replica | the replica stops and says why, the cluster goes on, it catches up | `disks::a_full_disk_…` |
//! | write-ahead log torn on a replica | it loses nothing acknowledged, or refuses and is replaced as it says | `disks::a_torn_…`, `disks::a_replica_with_a_torn_log_…` |
//! | the data of a replica is gone | it joins anew by a snapshot while changes go on | `disks::a_wiped_replica_…` |
//! | nothing at all | those that have nothing to do sleep | `quiet::…` |
//! | a wall clock is wrong | monotonic clocks decide leases | unit tests of `revoq_lease::Freshness`; the processes of one machine share its clock |

mod crash;
mod cut_off;
mod disks;
mod quiet;
mod quorum;
mod random;
mod stopped;
mod support;
mod watchers;
