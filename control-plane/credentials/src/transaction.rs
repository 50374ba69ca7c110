//! The rows that a command changes.
