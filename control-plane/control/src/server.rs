//! Driver: the gRPC server over the listener.

use std::sync::Arc;
use std::time::Duration;

use revoq_consensus::Hosted;
use revoq_proto::v1::peer_server::PeerServer;
use revoq_proto::{FILE_DESCRIPTOR_SET, GRPC_MESSAGE_MAX};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;
use tracing::error;

use crate::access::{Access, AccessLayer};
use crate::api::Api;
use crate::error::Error;
use crate::health::Health;
use crate::listener::Listener;
use crate::peer::PeerService;
use crate::plane::Plane;

/// A peer that does not answer a ping is gone.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(5);
/// Calls at a time on one connection.
const STREAMS_MAX: u32 = 1_024;
const STREAM_WINDOW: u32 = 4 * 1_024 * 1_024;
const CONNECTION_WINDOW: u32 = 16 * 1_024 * 1_024;

/// What is served.
pub(crate) struct Services {
    pub(crate) api: Api,
    pub(crate) plane: Arc<Plane>,
    pub(crate) access: Arc<Access>,
    pub(crate) health: Arc<Health>,
}

/// Serves until `shutdown`, and then until open calls have ended.
pub(crate) fn serve(
    services: Services,
    listener: Listener,
    shutdown: CancellationToken,
) -> Result<JoinHandle<()>, Error> {
    let (reporter, health) = tonic_health::server::health_reporter();
    tokio::spawn(services.health.report(reporter, shutdown.clone()));
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let failed = |error: tonic_reflection::server::Error| Error::Transport(error.to_string());
    let (current, older) =
        (reflection().build_v1().map_err(failed)?, reflection().build_v1alpha().map_err(failed)?);
    let peer = PeerServer::new(PeerService::new(services.plane.clone()))
        .max_decoding_message_size(GRPC_MESSAGE_MAX)
        .max_encoding_message_size(GRPC_MESSAGE_MAX);
    let routes = services
        .api
        .routes()
        .add_service(peer)
        .add_service(revoq_consensus::service([Hosted::from(services.plane.group.clone())]))
        .add_service(health)
        .add_service(current)
        .add_service(older);
    let router = Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .max_concurrent_streams(STREAMS_MAX)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .layer(AccessLayer { access: services.access })
        .add_routes(routes);
    let incoming = listener.incoming(shutdown.clone());
    Ok(tokio::spawn(async move {
        let served = router.serve_with_incoming_shutdown(incoming, shutdown.cancelled_owned()).await;
        if let Err(error) = served {
            error!(%error, "the gRPC server ended");
        }
    }))
}
