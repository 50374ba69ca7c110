//! One connection, with or without TLS, that blocks while it is opened and does not after that.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use revoq_mqtt::{
    Connect, Packet, PacketId, PacketType, QoS, Subscribe, SubscribeOptions, Subscription, Version,
};
use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, HandshakeKind, RootCertStore};
use socket2::{Domain, Protocol, Socket, Type};

use super::wire::{Frame, frame, put};
use super::{Credentials, Target};

/// What a server does not answer within this, it does not answer.
const ANSWERS_WITHIN: Duration = Duration::from_secs(20);
/// Longer than any run, so that nothing has to be sent for it; some servers refuse none.
const KEEPALIVE_S: u16 = 60_000;
/// The whole packet.
const DISCONNECT: [u8; 2] = [(PacketType::Disconnect as u8) << 4, 0];
const OPENING_SCRATCH: usize = 8 * 1024;

/// A connection to a server.
pub(super) struct Link {
    socket: TcpStream,
    tls: Option<Box<ClientConnection>>,
    /// Read, and not taken.
    input: Vec<u8>,
    /// To be written, from `written` on; with TLS in clear.
    output: Vec<u8>,
    written: usize,
}

impl Link {
    /// Connects, from `source` where it is given, and waits for CONNACK with success.
    pub(super) fn open(
        target: &Target,
        tls: Option<&Arc<ClientConfig>>,
        source: Option<IpAddr>,
        client_id: &str,
    ) -> Result<Link> {
        let socket = Socket::new(Domain::for_address(target.address), Type::STREAM, Some(Protocol::TCP))?;
        if let Some(source) = source {
            socket
                .bind(&SocketAddr::new(source, 0).into())
                .with_context(|| format!("binding to {source}"))?;
        }
        socket
            .connect(&target.address.into())
            .with_context(|| format!("connecting to {}", target.address))?;
        let socket = TcpStream::from(socket);
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(ANSWERS_WITHIN))?;
        let tls = match tls {
            None => None,
            Some(config) => {
                let name = ServerName::try_from("localhost").expect("localhost is a name");
                let mut tls = ClientConnection::new(config.clone(), name)?;
                tls.set_buffer_limit(None);
                tls.complete_io(&mut &socket).context("TLS handshake")?;
                Some(Box::new(tls))
            }
        };
        let mut link = Link { socket, tls, input: Vec::new(), output: Vec::new(), written: 0 };
        let connect = Connect { keepalive_s: KEEPALIVE_S, ..Connect::new(Version::V311, client_id.parse()?) };
        let answer = link.ask(&Packet::Connect(Box::new(connect)), PacketType::ConnAck)?;
        ensure!(answer.get(3) == Some(&0), "{client_id} is not let in: CONNACK {answer:02x?}");
        Ok(link)
    }

    /// How TLS was agreed.
    pub(super) fn is_resumed(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.handshake_kind() == Some(HandshakeKind::Resumed))
    }

    /// Subscribes, and waits until the server has taken it.
    pub(super) fn subscribe(&mut self, filter: &str, qos: QoS) -> Result<()> {
        let options = SubscribeOptions { qos, ..SubscribeOptions::default() };
        let subscribe = Subscribe {
            packet_id: PacketId::FIRST,
            subscription_id: None,
            user_properties: Default::default(),
            subscriptions: vec![Subscription { filter: filter.parse()?, options }],
        };
        let answer = self.ask(&Packet::Subscribe(subscribe), PacketType::SubAck)?;
        ensure!(answer.last() == Some(&(qos as u8)), "{filter} is not granted: SUBACK {answer:02x?}");
        Ok(())
    }

    /// Says that no more comes: DISCONNECT, `close_notify`, FIN. A server may be quicker, and close first.
    pub(super) fn close(mut self) {
        self.output.extend_from_slice(&DISCONNECT);
        let said = self.flush();
        if let (Ok(_), Some(tls)) = (said, &mut self.tls) {
            tls.send_close_notify();
            let _ = self.flush();
        }
    }

    fn ask(&mut self, packet: &Packet, expected: PacketType) -> Result<Vec<u8>> {
        put(packet, &mut self.output)?;
        self.flush()?;
        let mut scratch = [0; OPENING_SCRATCH];
        loop {
            if let Some((frame, size)) = frame(&self.input)? {
                ensure!(frame == Frame::Other(expected), "{expected:?} was expected: {frame:?}");
                return Ok(self.input.drain(..size).collect());
            }
            self.read_once(&mut scratch)?;
        }
    }

    /// From now on nothing blocks.
    pub(super) fn unblock(&self) -> io::Result<()> {
        self.socket.set_nonblocking(true)
    }

    /// Where packets are appended that [`Link::flush`] writes.
    pub(super) fn output(&mut self) -> &mut Vec<u8> {
        &mut self.output
    }

    /// Whether something is to be written.
    pub(super) fn has_output(&self) -> bool {
        !self.output.is_empty() || self.tls.as_ref().is_some_and(|tls| tls.wants_write())
    }

    /// Writes what waits; true when all of it has left.
    pub(super) fn flush(&mut self) -> io::Result<bool> {
        if let Some(tls) = &mut self.tls {
            tls.writer().write_all(&self.output)?;
            self.output.clear();
            while tls.wants_write() {
                match tls.write_tls(&mut &self.socket) {
                    Ok(_) => {}
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                    Err(error) => return Err(error),
                }
            }
            return Ok(true);
        }
        while self.written < self.output.len() {
            match (&self.socket).write(&self.output[self.written..]) {
                Ok(count) => self.written += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        self.output.clear();
        self.written = 0;
        Ok(true)
    }

    /// Reads what there is.
    pub(super) fn read(&mut self, scratch: &mut [u8]) -> Result<()> {
        while self.read_once(scratch)? == scratch.len() {}
        Ok(())
    }

    fn read_once(&mut self, scratch: &mut [u8]) -> Result<usize> {
        let count = match (&self.socket).read(scratch) {
            Ok(0) => bail!("the server closed the connection"),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(0),
            Err(error) => return Err(error).context("reading"),
        };
        let Some(tls) = &mut self.tls else {
            self.input.extend_from_slice(&scratch[..count]);
            return Ok(count);
        };
        let mut records = &scratch[..count];
        while !records.is_empty() {
            tls.read_tls(&mut records)?;
            let state = tls.process_new_packets()?;
            let (start, plain) = (self.input.len(), state.plaintext_bytes_to_read());
            self.input.resize(start + plain, 0);
            tls.reader().read_exact(&mut self.input[start..])?;
            ensure!(!state.peer_has_closed(), "the server closed TLS");
        }
        Ok(count)
    }

    /// What was read.
    pub(super) fn take_input(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.input)
    }

    /// Gives it back, without what was taken.
    pub(super) fn put_back(&mut self, mut input: Vec<u8>, taken: usize) {
        input.drain(..taken);
        self.input = input;
    }
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Opens `count` connections in some threads, each by the number of its thread and its own; those of each thread.
pub(super) fn in_threads(
    threads: usize,
    count: usize,
    open: impl Fn(usize, usize) -> Result<Link> + Sync,
) -> Result<Vec<Vec<Link>>> {
    let open = &open;
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads)
            .map(|thread| {
                let mine = (thread..count).step_by(threads);
                scope.spawn(move || mine.map(|n| open(thread, n)).collect::<Result<Vec<_>>>())
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("it does not panic")).collect()
    })
}

/// TLS 1.3 with X25519, as all servers can.
pub(crate) fn tls(credentials: &Credentials, resume: bool) -> Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(credentials.root.clone()))?;
    let chain = credentials.leaf.chain.iter().map(|der| CertificateDer::from(der.clone())).collect();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(credentials.leaf.key.clone()));
    let mut provider = aws_lc_rs::default_provider();
    provider.kx_groups = vec![aws_lc_rs::kx_group::X25519];
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)?;
    if !resume {
        config.resumption = Resumption::disabled();
    }
    Ok(Arc::new(config))
}
