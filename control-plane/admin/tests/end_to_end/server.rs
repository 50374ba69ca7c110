//! The stand-in: services whose answers are a script.
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use revoq_proto::client::Identity;
use revoq_proto::v1::audit_server::{Audit, AuditServer};
use revoq_proto::v1::certificates_server::{Certificates, CertificatesServer};
use revoq_proto::v1::credentials_server::{Credentials, CredentialsServer};
use revoq_proto::v1::settings_server::{Settings, SettingsServer};
use revoq_proto::{SERVER_NAME, v1};
use tokio_stream::Stream;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Certificate, ServerTlsConfig};
use tonic::{Request, Response, Status};

pub(crate) struct Pki(CertifiedIssuer<'static, KeyPair>);

impl Pki {
    pub(crate) fn new() -> Pki {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Pki(CertifiedIssuer::self_signed(params, KeyPair::generate().expect("keys")).expect("a root"))
    }

    pub(crate) fn identity(&self, name: &str) -> Identity {
        let key = KeyPair::generate().expect("keys");
        let params = CertificateParams::new(vec![name.to_owned()]).expect("a DNS name");
        let certificate = params.signed_by(&key, &self.0).expect("signed");
        Identity {
            certificates_pem: certificate.pem(),
            key_pem: key.serialize_pem(),
            authority_pem: self.0.pem(),
        }
    }
}

/// What a replica answers. Each stream gives its messages and ends.
#[derive(Clone)]
pub(crate) struct Script {
    pub(crate) transition: Result<v1::TransitionResponse, Status>,
    pub(crate) fence: Vec<Result<v1::FenceUpdate, Status>>,
    pub(crate) events: Vec<Result<v1::Event, Status>>,
    pub(crate) issued: v1::IssueCertificateResponse,
    pub(crate) audit: Vec<v1::AuditEntry>,
    pub(crate) certificates: u32,
}

impl Default for Script {
    fn default() -> Script {
        Script {
            transition: Ok(v1::TransitionResponse { revision: 18, credentials: 2, ..Default::default() }),
            fence: Vec::new(),
            events: Vec::new(),
            issued: v1::IssueCertificateResponse::default(),
            audit: Vec::new(),
            certificates: 0,
        }
    }
}

impl Script {
    /// One that refuses transitions.
    pub(crate) fn refusing(status: Status) -> Script {
        Script { transition: Err(status), ..Script::default() }
    }
}

#[derive(Clone)]
struct Replica {
    script: Arc<Script>,
    seen: Arc<Mutex<Vec<v1::TransitionRequest>>>,
}

pub(crate) struct Server {
    pub(crate) address: String,
    seen: Arc<Mutex<Vec<v1::TransitionRequest>>>,
}

impl Server {
    pub(crate) async fn start(pki: &Pki, script: Script) -> Server {
        let identity = pki.identity(SERVER_NAME);
        let tls = ServerTlsConfig::new()
            .identity(tonic::transport::Identity::from_pem(identity.certificates_pem, identity.key_pem))
            .client_ca_root(Certificate::from_pem(identity.authority_pem));
        let incoming = TcpIncoming::bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a free port");
        let address = incoming.local_addr().expect("bound").to_string();
        let replica = Replica { script: Arc::new(script), seen: Arc::default() };
        let seen = replica.seen.clone();
        let served = tonic::transport::Server::builder()
            .tls_config(tls)
            .expect("its own certificate")
            .add_service(CredentialsServer::new(replica.clone()))
            .add_service(CertificatesServer::new(replica.clone()))
            .add_service(SettingsServer::new(replica.clone()))
            .add_service(AuditServer::new(replica))
            .serve_with_incoming(incoming);
        tokio::spawn(served);
        Server { address, seen }
    }

    /// The transitions that were asked for.
    pub(crate) fn seen(&self) -> Vec<v1::TransitionRequest> {
        self.seen.lock().expect("no panic while it is held").clone()
    }
}

type Messages<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

fn messages<T: Clone + Send + 'static>(script: &[Result<T, Status>]) -> Response<Messages<T>> {
    Response::new(Box::pin(tokio_stream::iter(script.to_vec())))
}

#[tonic::async_trait]
impl Credentials for Replica {
    type FenceStream = Messages<v1::FenceUpdate>;
    type WatchStream = Messages<v1::Event>;

    async fn transition(
        &self,
        request: Request<v1::TransitionRequest>,
    ) -> Result<Response<v1::TransitionResponse>, Status> {
        self.seen.lock().expect("no panic while it is held").push(request.into_inner());
        self.script.transition.clone().map(Response::new)
    }

    async fn fence(&self, _: Request<v1::FenceRequest>) -> Result<Response<Self::FenceStream>, Status> {
        Ok(messages(&self.script.fence))
    }

    async fn watch(&self, request: Request<v1::WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let after = request.into_inner().revision;
        let newer =
            |event: &&Result<v1::Event, Status>| event.as_ref().map_or(true, |event| event.revision > after);
        let script: Vec<_> = self.script.events.iter().filter(newer).cloned().collect();
        Ok(messages(&script))
    }
}

#[tonic::async_trait]
impl Certificates for Replica {
    async fn issue(
        &self,
        _: Request<v1::IssueCertificateRequest>,
    ) -> Result<Response<v1::IssueCertificateResponse>, Status> {
        Ok(Response::new(self.script.issued.clone()))
    }

    async fn sign(
        &self,
        _: Request<v1::SignCertificateRequest>,
    ) -> Result<Response<v1::IssueCertificateResponse>, Status> {
        let private_key = Default::default();
        Ok(Response::new(v1::IssueCertificateResponse { private_key, ..self.script.issued.clone() }))
    }

    async fn register(
        &self,
        _: Request<v1::RegisterCertificateRequest>,
    ) -> Result<Response<v1::RegisterCertificateResponse>, Status> {
        Err(Status::unimplemented("not asked for here"))
    }

    async fn list(
        &self,
        request: Request<v1::ListCertificatesRequest>,
    ) -> Result<Response<v1::ListCertificatesResponse>, Status> {
        let request = request.into_inner();
        let start = request.page_token.parse::<u32>().unwrap_or(0);
        let end = (start + request.page_size.min(1_000)).min(self.script.certificates);
        let certificate = |n| v1::Certificate { id: format!("{n:032x}"), state: 2, ..Default::default() };
        let next_page_token = if end < self.script.certificates { end.to_string() } else { String::new() };
        let certificates = (start..end).map(certificate).collect();
        Ok(Response::new(v1::ListCertificatesResponse { certificates, next_page_token, revision: 5 }))
    }

    async fn show(&self, _: Request<v1::Selector>) -> Result<Response<v1::Certificate>, Status> {
        Err(Status::not_found("there is no certificate of this id"))
    }

    async fn explain(&self, _: Request<v1::Selector>) -> Result<Response<v1::ExplainResponse>, Status> {
        let check = |subject: &str, finding: &str, passed| v1::explain_response::Check {
            subject: subject.to_owned(),
            finding: finding.to_owned(),
            passed,
        };
        let checks = vec![check("tenant default", "active", true), check("certificate 00", "revoked", false)];
        Ok(Response::new(v1::ExplainResponse { allowed: false, checks, revision: 5 }))
    }
}

#[tonic::async_trait]
impl Settings for Replica {
    async fn list(
        &self,
        _: Request<v1::ListSettingsRequest>,
    ) -> Result<Response<v1::ListSettingsResponse>, Status> {
        let setting = |key: &str, value: &str| v1::Setting {
            key: key.to_owned(),
            value: value.to_owned(),
            ..Default::default()
        };
        let settings = vec![setting("client_certificate", "required"), setting("lease", "5s")];
        Ok(Response::new(v1::ListSettingsResponse { settings, revision: 5 }))
    }

    async fn set(&self, _: Request<v1::SetSettingRequest>) -> Result<Response<v1::ChangeResponse>, Status> {
        Ok(Response::new(v1::ChangeResponse { revision: 18 }))
    }
}

#[tonic::async_trait]
impl Audit for Replica {
    async fn list(
        &self,
        request: Request<v1::ListAuditRequest>,
    ) -> Result<Response<v1::ListAuditResponse>, Status> {
        let v1::ListAuditRequest { after, page_size } = request.into_inner();
        let all = &self.script.audit;
        let newer = all.iter().filter(|entry| entry.number > after);
        let entries = newer.take(page_size.min(3) as usize).cloned().collect();
        let last = all.last().map_or(0, |entry| entry.number);
        Ok(Response::new(v1::ListAuditResponse { entries, revision: 5, last }))
    }
}
