//! Domain to wire and back. Wire to domain is strict: what is unknown, empty or out of range is refused with
//! the field, the value and what to do.
mod error;

pub use error::ConvertError;
