//! A seeded simulation of the sans-IO cores over an ordered log, with a simulated network and simulated clocks.
//!
//! `revoq_credentials` (`apply`, the `View`, the verdicts) and `revoq_lease` (`Leases`, `Freshness`) are the real ones.
//! What drives them in the product is imitated by plain state, each file naming the code that it stands for: [`raft`] the
//! ordered log, [`replica`] a replica of the control plane, [`broker`] a broker node, [`clients`] administrators and
//! devices. [`world`] puts them together and into trouble: partitions in both and in one direction, messages that are
//! late, lost, doubled, streams that break, crashes, power cuts, processes and machines that are stopped, clocks that run
//! apart as far as the margin of leases allows, replicas that are replaced, settings that change. [`oracle`] sees
//! everything and tells nobody; [`invariants`] hold what must be true against all that happens, one promise a file. In
//! the end all trouble ends, and everything must recover.
//!
//! A seed is a run: the same seed takes the same steps, on every machine. A seed that breaks a promise is printed with
//! the last lines of its trace, and can be run alone:
//!
//! ```text
//! REVOQ_SEED=1234 cargo nextest run -p revoq-tests --test simulation one_seed --no-capture
//! ```
//!
//! `REVOQ_LONG` makes a hundred thousand seeds of two thousand. What is not simulated: TLS, the encoding of messages
//! between processes, `RocksDB`, and whatever happens between the look at a gate and the packet that passes it, which
//! is one step here.

mod broker;
mod chance;
mod clients;
mod clock;
mod engine;
mod fault;
mod faults;
mod invariants;
mod oracle;
mod packet;
mod plan;
mod raft;
mod replica;
mod seeds;
mod totals;
mod trace;
mod world;
