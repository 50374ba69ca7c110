//! Driver: plain HTTP: health, metrics and root certificates, for those who cannot speak gRPC.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use revoq_credentials::query;
use revoq_proto::pem;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::error::Error;
use crate::health::Health;
use crate::metrics::Metrics;
use crate::plane::Plane;

const PEM: (HeaderName, &str) = (header::CONTENT_TYPE, "application/x-pem-file");
const METRICS: (HeaderName, &str) =
    (header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8");

/// What the handlers need.
#[derive(Clone)]
pub(crate) struct Pages {
    pub(crate) plane: Arc<Plane>,
    pub(crate) health: Arc<Health>,
    pub(crate) metrics: Arc<Metrics>,
}

fn router(pages: Pages) -> Router {
    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .route("/root.pem", get(root))
        .route("/authorities/{tenant}/{name}/root.pem", get(authority))
        .with_state(pages)
}

/// Serves until `shutdown`; answers where.
pub(crate) async fn serve(
    pages: Pages,
    listen: SocketAddr,
    shutdown: CancellationToken,
) -> Result<(JoinHandle<()>, SocketAddr), Error> {
    let failed = |source| Error::Listen { address: listen.to_string(), source };
    let listener = TcpListener::bind(listen).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let server = tokio::spawn(async move {
        let serving = axum::serve(listener, router(pages)).with_graceful_shutdown(shutdown.cancelled_owned());
        if let Err(error) = serving.await {
            tracing::error!(%error, "the HTTP server ended");
        }
    });
    Ok((server, address))
}

async fn ready(State(pages): State<Pages>) -> Response {
    match pages.health.unready() {
        None => "ready\n".into_response(),
        Some(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {reason}\n")).into_response(),
    }
}

async fn metrics(State(pages): State<Pages>) -> impl IntoResponse {
    let status = pages.plane.group.status();
    let gauges = &pages.metrics.gauges;
    let count = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    gauges.leader.set(i64::from(status.leader == Some(status.node)));
    gauges.ready.set(i64::from(pages.health.unready().is_none()));
    gauges.term.set(count(status.term));
    gauges.applied.set(count(status.applied));
    gauges.committed.set(count(status.committed));
    gauges.members.set(i64::try_from(status.members.len()).unwrap_or(i64::MAX));
    gauges.differing.set(i64::try_from(status.differing.len()).unwrap_or(i64::MAX));
    gauges.watchers.set(i64::try_from(pages.plane.watchers.count()).unwrap_or(i64::MAX));
    gauges.usage_dropped.set(count(pages.plane.usage().dropped()));
    ([METRICS], pages.metrics.text())
}

async fn root(State(pages): State<Pages>) -> Response {
    let read = || {
        let reader = pages.plane.stale_read()?;
        Ok(query::cluster(&reader)?.map(|cluster| cluster.authority_der))
    };
    certificate(read())
}

async fn authority(State(pages): State<Pages>, Path((tenant, name)): Path<(String, String)>) -> Response {
    let read = || {
        let reader = pages.plane.stale_read()?;
        let (Ok(tenant), Ok(name)) = (tenant.parse(), name.parse()) else { return Ok(None) };
        Ok(query::authority(&reader, &tenant, &name)?.map(|authority| authority.der))
    };
    certificate(read())
}

fn certificate(found: Result<Option<Vec<u8>>, Error>) -> Response {
    match found {
        Ok(Some(der)) => ([PEM], pem::encode(pem::CERTIFICATE, &der)).into_response(),
        Ok(None) => (StatusCode::NOT_FOUND, "no such authority\n").into_response(),
        Err(error) => {
            tracing::error!(%error, "cannot read an authority");
            (StatusCode::INTERNAL_SERVER_ERROR, "internal error; the replica's log says more\n")
                .into_response()
        }
    }
}
