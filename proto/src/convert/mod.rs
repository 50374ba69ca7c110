//! Domain to wire and back.
//!
//! Domain to wire is `From` and cannot fail. Wire to domain is strict (`TryFrom`, and the functions of [`values`]):
//! what is unknown, empty or out of range is refused with the field, the value and what to do.
//!
//! Ticket keys are the exception. The domain carries them sealed, the wire in the clear to brokers and not at all
//! to administrators: [`event_for_broker`] takes a function that opens them, [`event_for_administrator`] leaves
//! them out. Going back, a broker's [`Change::TicketKeys`](revoq_credentials::Change::TicketKeys) holds the encoded
//! [`v1::TicketKeys`](crate::v1::TicketKeys).
mod error;
mod event;
mod records;
#[cfg(test)]
mod records_tests;
mod selector;
pub mod values;

pub use error::ConvertError;
pub use event::{change_for_broker, event_for_administrator, event_for_broker};
pub use values::{labels, parse, parse_optional, transition};
