//! What the node knows of one connection from CONNECT on.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};

use revoq_credentials::{Credential, Millis, Principal};
use revoq_mqtt::{ClientId, Version};

use super::mailbox::Mailbox;
use crate::gate::{Gate, Shut};

/// How a client is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Transport {
    Tcp,
    Tls12,
    Tls13,
    WebSocket,
    SecureWebSocket12,
    SecureWebSocket13,
    Quic,
}

impl Transport {
    /// As `revoqctl session list` shows it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Transport::Tcp => "TCP",
            Transport::Tls12 => "TLS 1.2",
            Transport::Tls13 => "TLS 1.3",
            Transport::WebSocket => "WebSocket",
            Transport::SecureWebSocket12 => "WebSocket TLS 1.2",
            Transport::SecureWebSocket13 => "WebSocket TLS 1.3",
            Transport::Quic => "QUIC",
        }
    }
}

/// One connection: who it is, its gate, and what waits for it.
#[derive(Debug)]
pub(crate) struct Entry {
    /// Unique on this node.
    pub(crate) id: u64,
    pub(crate) principal: Principal,
    pub(crate) client_id: ClientId,
    pub(crate) version: Version,
    pub(crate) address: SocketAddr,
    pub(crate) transport: Transport,
    pub(crate) connected: Millis,
    /// Whether the session is kept when the connection ends.
    pub(crate) outlives: bool,
    pub(crate) gate: Gate,
    pub(crate) mailbox: Mailbox,
    /// Set when the verdict allowed it. What was never let in is not counted as cut.
    admitted: AtomicBool,
}

/// What makes an [`Entry`].
pub(crate) struct NewEntry {
    pub(crate) principal: Principal,
    pub(crate) client_id: ClientId,
    pub(crate) version: Version,
    pub(crate) address: SocketAddr,
    pub(crate) transport: Transport,
    pub(crate) connected: Millis,
    pub(crate) outlives: bool,
}

impl Entry {
    pub(super) fn new(id: u64, new: NewEntry) -> Entry {
        let NewEntry { principal, client_id, version, address, transport, connected, outlives } = new;
        Entry {
            id,
            principal,
            client_id,
            version,
            address,
            transport,
            connected,
            outlives,
            gate: Gate::default(),
            mailbox: Mailbox::default(),
            admitted: AtomicBool::new(false),
        }
    }

    /// When the certificate ends the session by itself.
    #[inline]
    pub(crate) fn not_after(&self) -> Option<Millis> {
        match &self.principal.credential {
            Credential::Certificate { not_after, .. } => Some(*not_after),
            Credential::Anonymous => None,
        }
    }

    pub(crate) fn admit(&self) {
        self.admitted.store(true, Ordering::SeqCst);
    }

    /// A session in the administrator's sense: let in, and not cut.
    pub(crate) fn is_live(&self) -> bool {
        self.admitted.load(Ordering::SeqCst) && self.gate.is_open()
    }

    /// Shuts the gate and wakes the task.
    pub(crate) fn cut(&self, why: Shut) -> bool {
        let shut = self.gate.shut(why);
        self.gate.wake();
        shut
    }

    /// Shuts the gate without waking; true if that ended a live session.
    pub(super) fn gate_for_sweep(&self, why: Shut) -> bool {
        let admitted = self.admitted.load(Ordering::SeqCst);
        self.gate.shut(why) && admitted
    }
}
