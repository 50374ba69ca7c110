//! Clients in processes of their own, so that neither their descriptors nor their memory are the brokers'.
//!
//! The parent writes one [`Job`] as a line of JSON; the worker opens its sessions and answers a line for each
//! [`Report`]. When the parent closes the worker's standard input, the worker reports its flows and ends.

mod flow;
mod process;
mod work;

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

pub(crate) use process::Fleet;
pub(crate) use work::worker;

/// A certificate chain and its key, DER.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Leaf {
    pub(crate) chain: Vec<Vec<u8>>,
    pub(crate) key: Vec<u8>,
}

/// What a worker is to do.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Job {
    /// Told apart in client identifiers.
    pub(crate) name: String,
    /// DER.
    pub(crate) root: Vec<u8>,
    pub(crate) brokers: Vec<SocketAddr>,
    pub(crate) leaves: Vec<Leaf>,
    /// Idle sessions: session `i` uses leaf `i % leaves` and broker `(i / leaves + i) % brokers`, so that the sessions of one
    /// certificate are spread over the brokers.
    pub(crate) sessions: usize,
    /// Sessions that publish to themselves at QoS 1, as many a broker.
    pub(crate) flows: usize,
    /// Milliseconds between two messages of a flow.
    pub(crate) flow_every_ms: u64,
}

/// What a worker says.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Report {
    /// All sessions are open.
    Open,
    /// Something failed; the run is void.
    Failed(String),
    /// A session ended.
    Closed {
        /// The leaf that it used.
        leaf: usize,
        /// The broker that it was connected to.
        broker: usize,
        /// On [`crate::clock::now_ns`].
        at_ns: u64,
        /// Of the broker's DISCONNECT; 0 for none.
        reason: u8,
    },
    /// The last word: all flows together.
    Flows {
        /// Acknowledged by the broker.
        acknowledged: u64,
        /// Acknowledged and not delivered.
        lost: u64,
        /// Flows that ended before they were told to.
        broken: u64,
    },
}
