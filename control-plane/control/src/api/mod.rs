//! The services, as administrators and nodes call them.
//!
//! Each service is a file: thin methods of its trait, and behind them methods that speak [`Error`]. Reads are
//! linearizable unless they say otherwise, and lists name the revision that they are at.

mod administrators;
mod audit;
mod authorities;
mod certificates;
mod cluster;
mod credentials;
mod devices;
mod explain;
mod node;
mod pages;
mod passwords;
mod sessions;
mod settings;
mod tenants;

use std::sync::Arc;

use revoq_consensus::StateReader;
use revoq_credentials::{Applied, Command, Millis, Operation, Outcome, Refusal, Revision};
use revoq_proto::{GRPC_MESSAGE_MAX, v1};
use tonic::service::Routes;
use tonic::{Response, Status};

use crate::access::{Access, Caller};
use crate::error::Error;
use crate::metrics::Metrics;
use crate::plane::Plane;
use crate::seal::KeyEncryptionKey;
use crate::signer::{ClusterAuthority, FileSigner};

const DAY_MS: u64 = 24 * 60 * 60 * 1_000;
const YEAR_MS: u64 = 365 * DAY_MS;
/// The longest validity that can be asked for.
const TTL_MAX_MS: u64 = 100 * YEAR_MS;

/// What the services work with; clones share it.
#[derive(Clone)]
pub(crate) struct Api {
    plane: Arc<Plane>,
    access: Arc<Access>,
    signer: FileSigner,
    key_encryption_key: Arc<KeyEncryptionKey>,
    metrics: Arc<Metrics>,
}

impl Api {
    pub(crate) fn new(
        plane: Arc<Plane>,
        access: Arc<Access>,
        key_encryption_key: Arc<KeyEncryptionKey>,
        metrics: Arc<Metrics>,
    ) -> Api {
        let signer = FileSigner::new(key_encryption_key.clone());
        Api { plane, access, signer, key_encryption_key, metrics }
    }

    /// All services of this file's folder.
    pub(crate) fn routes(&self) -> Routes {
        macro_rules! routes {
            ($($module:ident :: $Server:ident),* $(,)?) => {{
                let mut routes = Routes::default();
                $(routes = routes.add_service(
                    v1::$module::$Server::new(self.clone())
                        .max_decoding_message_size(GRPC_MESSAGE_MAX)
                        .max_encoding_message_size(GRPC_MESSAGE_MAX),
                );)*
                routes
            }};
        }
        routes!(
            administrators_server::AdministratorsServer,
            audit_server::AuditServer,
            authorities_server::AuthoritiesServer,
            certificates_server::CertificatesServer,
            cluster_server::ClusterServer,
            credentials_server::CredentialsServer,
            devices_server::DevicesServer,
            node_server::NodeServer,
            passwords_server::PasswordsServer,
            sessions_server::SessionsServer,
            settings_server::SettingsServer,
            tenants_server::TenantsServer,
        )
    }

    fn now(&self) -> Millis {
        self.plane.clock.now()
    }

    /// Proposes a change in the caller's name.
    pub(crate) async fn change(&self, caller: &Caller, operation: Operation) -> Result<Outcome, Error> {
        let done = self.plane.propose(&caller.to_string(), operation).await?;
        if let Err(Refusal::Limit { name, .. }) = &done {
            self.metrics.counts.state_limit(name);
        }
        Ok(done?)
    }

    /// What a change would do now, and changes nothing: the same code, its writes dropped.
    fn rehearse(
        &self,
        reader: &StateReader,
        caller: &Caller,
        operation: Operation,
    ) -> Result<Applied, Error> {
        let command = Command::new(caller.to_string(), self.now(), operation);
        Ok(revoq_credentials::apply(reader, Revision(reader.applied() + 1), &command)?)
    }

    async fn read(&self) -> Result<StateReader, Error> {
        self.plane.read().await
    }

    /// The cluster authority, out of the replicated row.
    fn cluster_authority(&self, reader: &StateReader) -> Result<ClusterAuthority, Error> {
        let cluster = revoq_credentials::query::cluster(reader)?.ok_or_else(|| {
            Error::Unavailable("this replica has not caught up with the cluster yet".to_owned())
        })?;
        ClusterAuthority::open(self.signer.clone(), &cluster)
    }
}

fn answer<T>(result: Result<T, Error>) -> Result<Response<T>, Status> {
    Ok(Response::new(result?))
}

fn changed(outcome: &Outcome) -> v1::ChangeResponse {
    v1::ChangeResponse { revision: outcome.revision.0 }
}

/// A validity in ms; 0 is `default`.
fn ttl(ms: u64, default: u64, most: u64) -> Result<u64, Error> {
    match ms {
        0 => Ok(default),
        1_000.. if ms <= most => Ok(ms),
        _ => {
            let remedy =
                format!("from 1,000 (a second) to {most} ({} days), or 0 for the default", most / DAY_MS);
            Err(Error::invalid("ttl_ms", ms, remedy))
        }
    }
}

/// A subject common name: short enough for X.520, and printable.
fn common_name(text: &str) -> Result<&str, Error> {
    let length = text.chars().count();
    if length > crate::signer::SUBJECT_CHARACTERS_MAX || text.chars().any(char::is_control) {
        return Err(Error::invalid(
            "common_name",
            text,
            "at most 64 characters, none of them a control character",
        ));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn validities_have_bounds() {
        assert_eq!(ttl(0, 7, 9_000).ok(), Some(7));
        assert_eq!(ttl(9_000, 7, 9_000).ok(), Some(9_000));
        for wrong in [1, 999, 9_001, u64::MAX] {
            let error = ttl(wrong, 7, 9_000).expect_err("out of bounds").to_string();
            assert!(error.starts_with(&format!("ttl_ms `{wrong}` is not valid: from 1,000")), "{error}");
        }
        common_name(&"x".repeat(64)).expect("fits");
        common_name(&"x".repeat(65)).expect_err("too long");
        common_name("a\nb").expect_err("a control character");
    }
}
