//! Tenants, devices, certificates, passwords and authorities: states, commands, events, view.
//!
//! This crate is the domain and does no I/O: no clock, no randomness, no sockets, no files. A replica feeds it
//! [`Command`]s in log order through [`apply()`], which reads through a [`Reader`] and answers with the rows to
//! write, the outcome or refusal, and the [`Event`] for the brokers. A broker feeds those events to its [`View`]
//! and asks it for a [`Verdict`] on each connection.
//!
//! ```text
//!  administrator ── Command ──▶ apply(reader) ──▶ Applied { writes, result, event }
//!                                   │                                      │
//!                         rows, audit entries                              ▼
//!                                   ▼                          View::apply ──▶ Affected: what to sweep
//!                            query::* (reads)                  View::verdict(principal, now)
//! ```
//!
//! A dry run of a command is [`apply()`] on a reader of now, its writes dropped: it counts as the command would.

pub mod apply;
pub mod audit;
mod codec;
pub mod command;
pub mod event;
mod held;
pub mod ids;
mod keys;
pub mod limits;
pub mod names;
pub mod outcome;
mod password;
pub mod query;
pub mod records;
pub mod selector;
pub mod settings;
pub mod state;
pub mod store;
mod transaction;
pub mod view;
pub mod x509;

pub use apply::{Applied, apply};
pub use command::{Command, NewCertificate, NewNode, NewPassword, Operation};
pub use event::{AuthorityView, Change, Denial, Event};
pub use held::Held;
pub use ids::{CertificateId, Fingerprint, Millis, NodeId, Revision, Serial};
pub use names::{
    AdministratorName, AuthorityName, DeviceName, LabelKey, LabelValue, Labels, NameError, NodeName,
    TenantName, Username,
};
pub use outcome::{Error, Outcome, Refusal};
pub use password::{Password, Verifier, check_iterations};
pub use records::{
    Administrator, AuditEntry, Authority, Certificate, Cluster, Device, JoinToken, Node, NodeKind, Role,
    SealedTicketKeys, Tenant,
};
pub use selector::{Issuer, SELECTOR_MATCH_MAX, Selector};
pub use settings::{ClientCertificate, Settings, StaleGrace, StaleNew};
pub use state::{IllegalTransition, RevocationReason, State, Status, Transition};
pub use store::{MemoryStore, ReadError, Reader, Write};
pub use view::{Affected, Cause, Credential, Principal, Verdict, View};
