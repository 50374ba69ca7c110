//! Channels against servers that answer, refuse, hang, die, or are somebody else.
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use revoq_proto::client::{ControlChannel, Identity, Options, Persistence, Tls, is_unsent};
use revoq_proto::v1::tenants_client::TenantsClient;
use revoq_proto::v1::tenants_server::{Tenants, TenantsServer};
use revoq_proto::{SERVER_NAME, v1};
use tokio::runtime::Runtime;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Certificate, Channel, Server, ServerTlsConfig};
use tonic::{Code, Request, Response, Status};

const PATIENCE: Duration = Duration::from_secs(10);
const FROZEN_FOR: Duration = Duration::from_secs(3);

/// A cluster authority.
struct Pki(CertifiedIssuer<'static, KeyPair>);

impl Pki {
    fn new() -> Pki {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Pki(CertifiedIssuer::self_signed(params, KeyPair::generate().expect("keys")).expect("a root"))
    }

    fn identity(&self, name: &str) -> Identity {
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

/// What a replica does with a call.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Manner {
    Answer,
    Refuse(Code),
    Hang,
    /// It answers nothing more, not even the transport's pings.
    Freeze,
}

#[derive(Clone)]
struct Replica {
    manner: Manner,
    calls: Arc<AtomicUsize>,
}

#[tonic::async_trait]
impl Tenants for Replica {
    async fn create(
        &self,
        _: Request<v1::CreateTenantRequest>,
    ) -> Result<Response<v1::ChangeResponse>, Status> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        match self.manner {
            Manner::Answer => Ok(Response::new(v1::ChangeResponse { revision: 7 })),
            Manner::Refuse(code) => Err(Status::new(code, "so it is")),
            Manner::Hang => std::future::pending().await,
            Manner::Freeze => {
                // Its runtime has one thread.
                std::thread::sleep(FROZEN_FOR);
                Err(Status::aborted("too late"))
            }
        }
    }

    async fn list(
        &self,
        _: Request<v1::ListTenantsRequest>,
    ) -> Result<Response<v1::ListTenantsResponse>, Status> {
        Err(Status::unimplemented("not asked for here"))
    }
}

/// A replica on a runtime of its own, so that it can die with its connections.
struct Running {
    address: String,
    calls: Arc<AtomicUsize>,
    runtime: Option<Runtime>,
}

impl Running {
    fn start(pki: &Pki, manner: Manner) -> Running {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let replica = Replica { manner, calls: Arc::default() };
        let calls = replica.calls.clone();
        let identity = pki.identity(SERVER_NAME);
        let tls = ServerTlsConfig::new()
            .identity(tonic::transport::Identity::from_pem(identity.certificates_pem, identity.key_pem))
            .client_ca_root(Certificate::from_pem(identity.authority_pem));
        let address = {
            let _context = runtime.enter();
            let any = SocketAddr::from(([127, 0, 0, 1], 0));
            let incoming = TcpIncoming::bind(any).expect("a free port");
            let address = incoming.local_addr().expect("bound").to_string();
            let mut server = Server::builder().tls_config(tls).expect("its own certificate");
            let served = server.add_service(TenantsServer::new(replica)).serve_with_incoming(incoming);
            runtime.spawn(served);
            address
        };
        Running { address, calls, runtime: Some(runtime) }
    }

    fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    fn kill(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

/// An address where nobody listens.
fn deserted() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("bound").to_string()
}

fn channel(pki: &Pki, addresses: &[&str]) -> ControlChannel {
    let tls = Tls::from(pki.identity("administrator"));
    ControlChannel::new(addresses, &tls, Options::default()).expect("good addresses")
}

async fn create(channel: Channel) -> Result<u64, Status> {
    let request = v1::CreateTenantRequest { name: "acme".to_owned() };
    TenantsClient::new(channel).create(request).await.map(|answer| answer.into_inner().revision)
}

#[tokio::test]
async fn the_next_replica_when_one_is_gone() {
    let pki = Pki::new();
    let (gone, live) = (deserted(), Running::start(&pki, Manner::Answer));
    let channel = channel(&pki, &[&gone, &live.address]);
    assert_eq!(channel.call(Persistence::CHANGE, create).await.expect("answered"), 7);
    assert_eq!(channel.current().0, live.address, "the one that answers stays preferred");
    assert_eq!(channel.clone().current().0, live.address, "clones know it too");
}

#[tokio::test]
async fn a_change_moves_on_from_a_replica_that_is_unavailable() {
    let pki = Pki::new();
    let first = Running::start(&pki, Manner::Refuse(Code::Unavailable));
    let second = Running::start(&pki, Manner::Answer);
    let channel = channel(&pki, &[&first.address, &second.address]);
    assert_eq!(channel.call(Persistence::CHANGE, create).await.expect("answered"), 7);
    assert_eq!((first.calls(), second.calls()), (1, 1));
}

#[tokio::test]
async fn a_refusal_is_final() {
    let pki = Pki::new();
    let first = Running::start(&pki, Manner::Refuse(Code::FailedPrecondition));
    let second = Running::start(&pki, Manner::Answer);
    let channel = channel(&pki, &[&first.address, &second.address]);
    let status = channel.call(Persistence::READ, create).await.expect_err("refused");
    assert_eq!((status.code(), status.message()), (Code::FailedPrecondition, "so it is"));
    assert_eq!(second.calls(), 0);
}

/// Calls the first of two replicas, which dies with the call in its hands.
async fn die_during(persistence: Persistence) -> (Result<u64, Status>, usize) {
    let pki = Pki::new();
    let mut first = Running::start(&pki, Manner::Hang);
    let second = Running::start(&pki, Manner::Answer);
    let channel = channel(&pki, &[&first.address, &second.address]);
    let call = tokio::spawn(async move { channel.call(persistence, create).await });
    let taken = async {
        while first.calls() == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, taken).await.expect("the call arrives");
    first.kill();
    let answer = tokio::time::timeout(PATIENCE, call).await.expect("it is noticed").expect("no panic");
    (answer, second.calls())
}

#[tokio::test]
async fn a_change_is_not_repeated_when_it_may_have_happened() {
    let (answer, repeated) = die_during(Persistence::CHANGE).await;
    let status = answer.expect_err("unknown");
    assert!(status.code() == Code::Unknown && !is_unsent(&status), "{status:?}");
    assert_eq!(repeated, 0);
}

#[tokio::test]
async fn a_change_at_a_replica_that_freezes_is_unknown() {
    let pki = Pki::new();
    let (first, second) = (Running::start(&pki, Manner::Freeze), Running::start(&pki, Manner::Answer));
    let options = Options {
        keep_alive_interval: Duration::from_millis(300),
        keep_alive_timeout: Duration::from_millis(300),
        ..Options::default()
    };
    let tls = Tls::from(pki.identity("administrator"));
    let channel = ControlChannel::new(&[&first.address, &second.address], &tls, options);
    let channel = channel.expect("good addresses");
    // The transport calls it UNAVAILABLE, which a replica says when it has done nothing.
    let status = channel.call(Persistence::CHANGE, create).await.expect_err("unknown");
    assert_eq!(status.code(), Code::Unknown, "{status:?}");
    assert!(status.message().contains(&first.address), "{status:?}");
    assert_eq!((first.calls(), second.calls()), (1, 0));
}

#[tokio::test]
async fn a_read_is_repeated_elsewhere() {
    let (answer, repeated) = die_during(Persistence::READ).await;
    assert_eq!((answer.expect("answered"), repeated), (7, 1));
}

#[tokio::test]
async fn a_replica_that_does_not_answer() {
    let pki = Pki::new();
    let (first, second) = (Running::start(&pki, Manner::Hang), Running::start(&pki, Manner::Answer));
    let channel = channel(&pki, &[&first.address, &second.address]);
    let limit = Duration::from_millis(300);
    let status =
        channel.call(Persistence::CHANGE.with_answer_timeout(limit), create).await.expect_err("hangs");
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert_eq!(
        channel.call(Persistence::READ.with_answer_timeout(limit), create).await.expect("answered"),
        7
    );
}

#[tokio::test]
async fn nobody_answers() {
    let pki = Pki::new();
    let (one, two) = (deserted(), deserted());
    let channel = channel(&pki, &[&one, &two]);
    let persistence = Persistence::CHANGE.with_patience(Duration::from_millis(200));
    let status = channel.call(persistence, create).await.expect_err("nobody");
    assert_eq!(status.code(), Code::Unavailable);
    for expected in [one.as_str(), two.as_str(), "refused"] {
        assert!(status.message().contains(expected), "{}", status.message());
    }
    assert!(is_unsent(&status));
}

#[tokio::test]
async fn only_our_own_control_plane_is_trusted() {
    let (ours, theirs) = (Pki::new(), Pki::new());
    let stranger = Running::start(&theirs, Manner::Answer);
    let status = channel(&ours, &[&stranger.address]).call(Persistence::CHANGE, create).await;
    let status = status.expect_err("not ours");
    assert!(is_unsent(&status) && status.message().contains("invalid peer certificate"), "{status:?}");
    assert_eq!(stranger.calls(), 0);
}

#[tokio::test]
async fn what_cannot_be_used_is_refused_at_once() {
    let pki = Pki::new();
    let tls = Tls::from(pki.identity("administrator"));
    let refused = |addresses: &[&str], tls: &Tls| {
        ControlChannel::new(addresses, tls, Options::default()).expect_err("refused").to_string()
    };
    assert!(refused(&[], &tls).contains("no control-plane endpoint"));
    assert!(refused(&["10.0.0.1"], &tls).contains("host:port"));
    let nonsense = Tls::Anonymous { authority_pem: "nonsense".to_owned() };
    assert!(
        refused(&["10.0.0.1:1"], &nonsense).contains("cluster authority: expected a PEM block CERTIFICATE")
    );
    let mut mixed = pki.identity("a");
    mixed.key_pem = pki.identity("b").key_pem;
    assert!(refused(&["10.0.0.1:1"], &mixed.into()).contains("belong together"));
}
