//! The register "state of a credential": what each change makes of each state.
//!
//! ```text
//!     inactive ──first authentication──▶ active ──suspend──▶ suspended ──reactivate──▶ (the state before)
//!         └──────────── suspend ─────────────────▶ ┘
//!     inactive, active, suspended ── revoke ──▶ revoked            any ── delete ──▶ gone
//! ```
//!
//! Written from the diagram and not from the product's code, which it judges.

use super::record::{Change, State};

/// The register's value: more than a reader sees, because a reactivation goes back to the state before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Register {
    /// Never used.
    Inactive,
    /// In use.
    Active,
    /// Suspended before its first use was known.
    SuspendedUnused,
    /// Suspended when it was in use.
    SuspendedUsed,
    /// Refused for ever.
    Revoked,
    /// Deleted.
    Gone,
}

impl Register {
    /// All.
    pub const ALL: [Register; 6] = [
        Register::Inactive,
        Register::Active,
        Register::SuspendedUnused,
        Register::SuspendedUsed,
        Register::Revoked,
        Register::Gone,
    ];

    /// What a reader sees.
    #[must_use]
    pub fn state(self) -> State {
        match self {
            Register::Inactive => State::Inactive,
            Register::Active => State::Active,
            Register::SuspendedUnused | Register::SuspendedUsed => State::Suspended,
            Register::Revoked => State::Revoked,
            Register::Gone => State::Gone,
        }
    }

    /// After a change; `None` where the state refuses it.
    #[must_use]
    pub fn after(self, change: Change) -> Option<Register> {
        match (change, self) {
            (Change::Suspend, Register::Inactive) => Some(Register::SuspendedUnused),
            (Change::Suspend, Register::Active) => Some(Register::SuspendedUsed),
            (Change::Reactivate, Register::SuspendedUnused) => Some(Register::Inactive),
            (Change::Reactivate, Register::SuspendedUsed) => Some(Register::Active),
            (Change::Suspend | Change::Reactivate, _) => None,
            (Change::Revoke, Register::Revoked | Register::Gone) => None,
            (Change::Revoke, _) => Some(Register::Revoked),
            (Change::Delete, Register::Gone) => None,
            (Change::Delete, _) => Some(Register::Gone),
        }
    }

    /// After a report of its first use; `None` where that changes nothing. The report may come after a suspension.
    #[must_use]
    pub fn used(self) -> Option<Register> {
        match self {
            Register::Inactive => Some(Register::Active),
            Register::SuspendedUnused => Some(Register::SuspendedUsed),
            _ => None,
        }
    }
}
