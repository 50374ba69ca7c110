//! Whole connections over loopback, against a node whose view the test holds in its hands.

mod authenticate;
mod bench;
mod cuts;
mod figures;
mod handshakes;
mod messages;
mod proxy;
mod quic;
mod rates;
mod sessions;
mod stopped;
mod streams;
mod websocket;
