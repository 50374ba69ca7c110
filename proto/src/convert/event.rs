//! Events and their changes.
use prost::Message as _;
use revoq_credentials::{
    AuthorityView, Change, Denial, Event, Millis, NodeId, Revision, RevocationReason, SealedTicketKeys, State,
};

use super::ConvertError;
use super::values::{fingerprint, parse, revocation_reason, state, to_bytes};
use crate::v1;
use crate::v1::change::Change as Wire;

/// An event for a broker. `open` unseals ticket keys; where it gives none, the change is left out.
pub fn event_for_broker(
    event: &Event,
    open: &mut dyn FnMut(&SealedTicketKeys) -> Option<v1::TicketKeys>,
) -> v1::Event {
    v1::Event {
        revision: event.revision.0,
        time_ms: event.time.0,
        actor: event.actor.clone(),
        action: event.action.clone(),
        changes: event.changes.iter().filter_map(|change| change_for_broker(change, open)).collect(),
    }
}

/// An event for an administrator: without ticket keys.
#[must_use]
pub fn event_for_administrator(event: &Event) -> v1::Event {
    event_for_broker(event, &mut |_| None)
}

/// One change, as [`event_for_broker`] does it; snapshots consist of such.
pub fn change_for_broker(
    change: &Change,
    open: &mut dyn FnMut(&SealedTicketKeys) -> Option<v1::TicketKeys>,
) -> Option<v1::Change> {
    let wire = match change {
        Change::Denied(denial) => Wire::Denied(denied(denial)),
        Change::Allowed(fingerprint) => {
            Wire::Allowed(v1::change::Allowed { fingerprint: to_bytes(&fingerprint.0) })
        }
        Change::Tenant { name, state, created } => Wire::Tenant(v1::Tenant {
            name: name.to_string(),
            state: v1::State::from(*state).into(),
            created_ms: created.0,
        }),
        Change::Authority(authority) => Wire::Authority(authority.into()),
        Change::Setting { key, value } => {
            Wire::Setting(v1::change::Setting { key: key.clone(), value: value.clone() })
        }
        Change::Registered(fingerprint) => {
            Wire::Registered(v1::change::Registered { fingerprint: to_bytes(&fingerprint.0) })
        }
        Change::NodeRemoved(node) => Wire::NodeRemoved(v1::change::NodeRemoved { node: node.0 }),
        Change::TicketKeys(sealed) => Wire::TicketKeys(open(sealed)?),
    };
    Some(v1::Change { change: Some(wire) })
}

fn denied(denial: &Denial) -> v1::change::Denied {
    v1::change::Denied {
        fingerprint: to_bytes(&denial.fingerprint.0),
        state: v1::State::from(denial.state).into(),
        reason: denial.reason.map_or(v1::RevocationReason::Unspecified, Into::into).into(),
        not_after_ms: denial.not_after.0,
    }
}

impl TryFrom<v1::Event> for Event {
    type Error = ConvertError;

    fn try_from(wire: v1::Event) -> Result<Event, ConvertError> {
        Ok(Event {
            revision: Revision(wire.revision),
            time: Millis(wire.time_ms),
            actor: wire.actor,
            action: wire.action,
            changes: wire.changes.into_iter().map(Change::try_from).collect::<Result<_, _>>()?,
        })
    }
}

impl TryFrom<v1::Change> for Change {
    type Error = ConvertError;

    fn try_from(wire: v1::Change) -> Result<Change, ConvertError> {
        Ok(match wire.change.ok_or(ConvertError::missing("change"))? {
            Wire::Denied(denied) => Change::Denied(denied.try_into()?),
            Wire::Allowed(of) => Change::Allowed(fingerprint("allowed.fingerprint", &of.fingerprint)?),
            Wire::Tenant(tenant) => Change::Tenant {
                name: parse("tenant.name", &tenant.name)?,
                state: state("tenant.state", tenant.state)?,
                created: Millis(tenant.created_ms),
            },
            Wire::Authority(authority) => Change::Authority(AuthorityView::try_from(authority)?),
            Wire::Setting(setting) => Change::Setting { key: setting.key, value: setting.value },
            Wire::Registered(of) => {
                Change::Registered(fingerprint("registered.fingerprint", &of.fingerprint)?)
            }
            Wire::NodeRemoved(removed) => Change::NodeRemoved(NodeId(removed.node)),
            Wire::TicketKeys(keys) => Change::TicketKeys(SealedTicketKeys(keys.encode_to_vec())),
        })
    }
}

impl TryFrom<v1::change::Denied> for Denial {
    type Error = ConvertError;

    fn try_from(wire: v1::change::Denied) -> Result<Denial, ConvertError> {
        let state = state("denied.state", wire.state)?;
        if !state.is_denied() {
            let remedy = "expected suspended, revoked or deleted";
            return Err(ConvertError::new("denied.state", state.to_string(), remedy));
        }
        let reason = revocation_reason("denied.reason", wire.reason)?;
        // A reason outlives the deletion of what was revoked; unspecified says nothing about a deletion.
        let given =
            state == State::Revoked || (state == State::Deleted && reason != RevocationReason::Unspecified);
        Ok(Denial {
            fingerprint: fingerprint("denied.fingerprint", &wire.fingerprint)?,
            state,
            reason: given.then_some(reason),
            not_after: Millis(wire.not_after_ms),
        })
    }
}

impl From<&AuthorityView> for v1::Authority {
    fn from(authority: &AuthorityView) -> v1::Authority {
        v1::Authority {
            tenant: authority.tenant.to_string(),
            name: authority.name.to_string(),
            state: v1::State::from(authority.state).into(),
            certificate: to_bytes(&authority.der),
            fingerprint: to_bytes(&authority.fingerprint.0),
            not_before_ms: authority.not_before.0,
            not_after_ms: authority.not_after.0,
            created_ms: authority.created.0,
            signs: authority.signs,
        }
    }
}

impl TryFrom<v1::Authority> for AuthorityView {
    type Error = ConvertError;

    fn try_from(wire: v1::Authority) -> Result<AuthorityView, ConvertError> {
        Ok(AuthorityView {
            tenant: parse("authority.tenant", &wire.tenant)?,
            name: parse("authority.name", &wire.name)?,
            state: state("authority.state", wire.state)?,
            der: wire.certificate.to_vec(),
            fingerprint: fingerprint("authority.fingerprint", &wire.fingerprint)?,
            not_before: Millis(wire.not_before_ms),
            not_after: Millis(wire.not_after_ms),
            created: Millis(wire.created_ms),
            signs: wire.signs,
        })
    }
}

#[cfg(test)]
mod tests {
    use revoq_credentials::Fingerprint;

    use super::*;

    fn keys() -> v1::TicketKeys {
        let key = v1::ticket_keys::Key { name: vec![1; 16].into(), key: vec![2; 32].into() };
        v1::TicketKeys { keys: vec![key] }
    }

    fn changes() -> Vec<Change> {
        let denial = |state, reason| {
            Change::Denied(Denial { fingerprint: Fingerprint([1; 32]), state, reason, not_after: Millis(9) })
        };
        vec![
            denial(State::Suspended, None),
            denial(State::Revoked, Some(RevocationReason::Unspecified)),
            denial(State::Revoked, Some(RevocationReason::KeyCompromise)),
            denial(State::Deleted, Some(RevocationReason::KeyCompromise)),
            denial(State::Deleted, None),
            Change::Allowed(Fingerprint([2; 32])),
            Change::Tenant { name: "acme".parse().expect("valid"), state: State::Active, created: Millis(3) },
            Change::Authority(AuthorityView {
                tenant: "acme".parse().expect("valid"),
                name: "factory".parse().expect("valid"),
                state: State::Suspended,
                der: vec![0x30, 0],
                fingerprint: Fingerprint([4; 32]),
                not_before: Millis(1),
                not_after: Millis(2),
                created: Millis(3),
                signs: true,
            }),
            Change::Setting { key: "lease".to_owned(), value: "5s".to_owned() },
            Change::Registered(Fingerprint([5; 32])),
            Change::NodeRemoved(NodeId(7)),
            Change::TicketKeys(SealedTicketKeys(keys().encode_to_vec())),
        ]
    }

    fn event() -> Event {
        Event {
            revision: Revision(5),
            time: Millis(6),
            actor: "alice".to_owned(),
            action: "suspend".to_owned(),
            changes: changes(),
        }
    }

    #[test]
    fn round_trip_to_a_broker() {
        let mut open = |sealed: &SealedTicketKeys| v1::TicketKeys::decode(sealed.0.as_slice()).ok();
        let wire = event_for_broker(&event(), &mut open);
        assert_eq!(Event::try_from(wire), Ok(event()));
    }

    #[test]
    fn administrators_see_no_ticket_keys() {
        let wire = event_for_administrator(&event());
        assert_eq!(wire.changes.len(), changes().len() - 1);
        assert!(!wire.changes.iter().any(|c| matches!(c.change, Some(Wire::TicketKeys(_)))));
    }

    #[test]
    fn a_denial_needs_a_denied_state() {
        let wire = v1::change::Denied {
            fingerprint: to_bytes(&[1; 32]),
            state: v1::State::Active.into(),
            reason: 0,
            not_after_ms: 1,
        };
        let error = Denial::try_from(wire).expect_err("active").to_string();
        assert!(error.contains("denied.state `active`"), "{error}");
        Change::try_from(v1::Change::default()).expect_err("nothing is set");
    }
}
