//! Whole connections over loopback, against a node whose view the test holds in its hands.

mod bench;
mod cuts;
mod handshakes;
mod messages;
mod sessions;
mod stopped;
