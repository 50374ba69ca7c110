//! What the tests share: clusters within the test's process, clusters of real processes on hosts of their own, an MQTT
//! client that shows what the wire says, programs that we did not write, predicates with a time
//! limit; and a check of what was answered.

pub mod access;
pub mod daemon;
pub mod disk;
pub mod fleet;
pub mod history;
pub mod hosts;
pub mod http;
pub mod lab;
pub mod mqtt;
pub mod process;
pub mod raw;
pub mod scram;
pub mod transports;
pub mod wait;

pub use access::{Access, Device};
pub use daemon::Daemon;
pub use fleet::{Fleet, Plan};
pub use hosts::{Host, Hosts};
pub use lab::Lab;
pub use mqtt::{Client, End, Leaf, Refused};
pub use wait::until;
