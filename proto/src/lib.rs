//! The wire: protobuf services, generated code, conversion to the domain.
//!
//! - [`v1`]: messages, clients and servers, generated from `proto/revoq/v1/*.proto`.
//! - [`codec`]: how their messages are encoded.
//! - [`convert`]: wire to domain and back. Generated types stop there, in the API adapters and in the clients.
//! - [`client`]: channels to the control plane, with fail-over between its replicas.
//! - [`context`] and [`token`]: what an administrator or a new node is handed to find and trust a cluster.
//! - [`pem`]: the text form of certificates and keys.

pub mod client;
pub mod codec;
pub mod context;
pub mod convert;
mod error;
pub mod pem;
pub mod token;

pub use error::Error;

/// Generated from `proto/revoq/v1/*.proto`; the comments there are its documentation.
#[allow(
    missing_docs,
    unreachable_pub,
    unused_qualifications,
    clippy::all,
    clippy::pedantic,
    reason = "generated"
)]
pub mod v1 {
    tonic::include_proto!("revoq.v1");
}

/// The compiled `.proto` files, for gRPC server reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// The largest gRPC message that either side sends or accepts, in bytes. It is also tonic's default for
/// decoding, so that a client which sets nothing agrees.
pub const GRPC_MESSAGE_MAX: usize = 4 * 1024 * 1024;

/// The metadata of the answer to `Credentials.Watch` that says after which revision its events begin, so that a client
/// that asked for "from now on" can go on at another replica before it has seen any event.
pub const WATCH_REVISION: &str = "revoq-revision";

/// The DNS name in each replica's certificate: clients know replicas by address and check this name.
pub const SERVER_NAME: &str = "control-plane.revoq";
