//! What the tests share: clusters, an MQTT client that shows what the wire says, programs that we did not write, and
//! predicates with a time limit.

pub mod lab;
pub mod mqtt;
pub mod process;
pub mod wait;

pub use lab::{Device, Lab};
pub use mqtt::{Client, End, Leaf, Refused};
pub use wait::until;
