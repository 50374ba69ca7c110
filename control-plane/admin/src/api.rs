//! Calls to the control plane: fail-over, time limits, and what to show meanwhile.
use std::time::Duration;

use revoq_proto::client::{ControlChannel, Options, Persistence};
use revoq_proto::context::Bundle;
use tonic::transport::Channel;
use tonic::{Response, Status};

use crate::error::Error;
use crate::progress::Progress;

/// The replicas of the context's cluster.
pub struct Api {
    channel: ControlChannel,
    bundle: Bundle,
    timeout: Duration,
}

impl Api {
    /// Connects to nothing yet. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// [`Error::Input`] for an identity or an address that cannot be used.
    pub fn new(bundle: Bundle, timeout: Duration) -> Result<Api, Error> {
        let channel = ControlChannel::new(&bundle.endpoints, &bundle.identity().into(), Options::default())?;
        Ok(Api { channel, bundle, timeout })
    }

    /// The context in use.
    #[must_use]
    pub fn bundle(&self) -> &Bundle {
        &self.bundle
    }

    /// For streams, which fail over by themselves.
    #[must_use]
    pub fn channel(&self) -> &ControlChannel {
        &self.channel
    }

    /// For how long a stream goes on trying.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// A request that changes nothing: asked again at will.
    ///
    /// # Errors
    /// [`Error::Status`].
    pub async fn read<M, T, F, R>(&self, request: M, call: F) -> Result<T, Error>
    where
        M: Clone,
        F: Fn(Channel, M) -> R,
        R: Future<Output = Result<Response<T>, Status>>,
    {
        // Half of the time for one replica leaves the other half for the next.
        let persistence = Persistence::READ.with_answer_timeout(self.timeout / 2);
        self.call(persistence, request, call).await
    }

    /// A request that changes something: asked again only when it surely changed nothing.
    ///
    /// # Errors
    /// [`Error::Status`].
    pub async fn change<M, T, F, R>(&self, request: M, call: F) -> Result<T, Error>
    where
        M: Clone,
        F: Fn(Channel, M) -> R,
        R: Future<Output = Result<Response<T>, Status>>,
    {
        let persistence = Persistence::CHANGE.with_answer_timeout(self.timeout);
        self.call(persistence, request, call).await
    }

    async fn call<M, T, F, R>(&self, persistence: Persistence, request: M, call: F) -> Result<T, Error>
    where
        M: Clone,
        F: Fn(Channel, M) -> R,
        R: Future<Output = Result<Response<T>, Status>>,
    {
        let _progress = Progress::spinner("waiting for the control plane");
        let persistence = persistence.with_patience(self.timeout);
        let answer = self.channel.call(persistence, |channel| call(channel, request.clone())).await?;
        Ok(answer.into_inner())
    }
}
