//! One client's MQTT protocol state machine.
//!
//! [`Session`] is a plain value: bytes and events go in with the time, outputs and bytes come out, and a small
//! driver does what they say. It has no socket, clock, thread or randomness.
//!
//! Statement numbers `[MQTT-x.x.x-n]` are those of MQTT 5.0 unless 3.1.1 is named.

mod acks;
mod aliases;
mod config;
mod error;
mod message;
mod outbound;
mod output;
mod rate;
mod session;
mod state;
mod stream;
mod tick;

pub use acks::PublishToken;
pub use config::Config;
pub use error::Error;
pub use message::{Delivery, Message, SubscriptionTerms};
pub use outbound::Counters;
pub use output::{
    Accept, Admission, AuthenticationAnswer, AuthenticationRequest, Cause, CloseReason, ConnectRequest,
    Output,
};
pub use rate::Rate;
pub use session::Session;
pub use state::SessionState;
pub use stream::{DATA_STREAMS_MAX, StreamId};
pub use tick::Tick;
