//! Command-line values, parsed once.
mod label;
mod selector;
mod time;

pub use label::label;
pub use selector::{certificate, certificate_file, issuer, reason};
pub use time::{clock, duration, instant};
