//! What changes answer with.
use revoq_proto::{pem, v1};
use serde::Serialize;

use super::{Certificate, Fence, NodeCount};

/// A change was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// Its position in the log.
    pub revision: u64,
    /// With `--wait`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fence: Option<Fence>,
}

impl From<v1::ChangeResponse> for Change {
    fn from(wire: v1::ChangeResponse) -> Change {
        Change { revision: wire.revision, fence: None }
    }
}

/// States were changed, or would be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TransitionResult {
    /// `suspend`, `reactivate`, `revoke` or `delete`.
    pub transition: String,
    /// Of what.
    pub selector: String,
    /// Nothing was changed, only counted.
    pub dry_run: bool,
    /// Null on a dry run.
    pub revision: Option<u64>,
    /// Certificates whose state changes.
    pub credentials: u64,
    /// Matched and in the wanted state already, or beyond it.
    pub unchanged: u64,
    /// Dry run: live sessions that would be cut.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sessions: Vec<NodeCount>,
    /// With `--wait`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fence: Option<Fence>,
}

impl TransitionResult {
    /// From the answer.
    #[must_use]
    pub fn new(
        transition: String,
        selector: String,
        dry_run: bool,
        wire: v1::TransitionResponse,
    ) -> TransitionResult {
        TransitionResult {
            transition,
            selector,
            dry_run,
            revision: (!dry_run).then_some(wire.revision),
            credentials: wire.credentials,
            unchanged: wire.unchanged,
            sessions: wire.sessions.into_iter().map(NodeCount::from).collect(),
            fence: None,
        }
    }

    /// A sentence or two.
    #[must_use]
    pub fn summary(&self) -> String {
        let unchanged = match self.unchanged {
            0 => String::new(),
            n => format!(", {n} already so"),
        };
        let what = format!(
            "{} {}: {}{unchanged}",
            self.transition,
            self.selector,
            plural(self.credentials, "certificate")
        );
        match self.revision {
            Some(revision) => format!("{what}; revision {revision}\n"),
            None => {
                let sessions = self.sessions.iter().map(|count| count.sessions).sum();
                format!("dry run: {what}, {} would be cut\n", plural(sessions, "live session"))
            }
        }
    }
}

/// `1 session`, `2 sessions`.
fn plural(count: u64, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

/// A certificate that was issued or registered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Issued {
    /// The revision of the change.
    pub revision: u64,
    /// The certificate.
    pub certificate: Certificate,
    /// Leaf first, root last.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub chain_pem: String,
    /// Shown once and stored nowhere; left out where it was written to a file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_pem: Option<String>,
    /// Files that were written.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<String>,
}

impl Issued {
    /// From the answer; `None` where the certificate is missing in it.
    #[must_use]
    pub fn new(wire: v1::IssueCertificateResponse) -> Option<Issued> {
        let key = &wire.private_key;
        Some(Issued {
            revision: wire.revision,
            certificate: wire.certificate?.into(),
            chain_pem: pem::encode_certificates(&wire.chain),
            key_pem: (!key.is_empty()).then(|| pem::encode(pem::PRIVATE_KEY, key)),
            files: Vec::new(),
        })
    }
}
