//! Who uses the cluster: administrators that change it, and devices that connect to it.

mod administrators;
mod beginning;
mod book;
mod devices;
mod operations;
pub(crate) mod probe;

pub(crate) use administrators::Operator;
pub(crate) use beginning::{Beginning, START, begin, join};
pub(crate) use book::Book;
pub(crate) use devices::{Device, State};
