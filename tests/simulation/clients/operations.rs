//! What administrators ask for next.

use revoq_credentials::{
    Issuer, NewCertificate, NodeId, Operation, RevocationReason, SealedTicketKeys, Selector, Transition,
};

use super::beginning::START;
use super::book::{Book, DAY, authority, name};
use crate::chance::Chance;
use crate::plan::{GRACES, LEASES, Plan};

/// Draws operations that make sense of what is in the book.
#[derive(Debug)]
pub(crate) struct Generator<'a> {
    pub(crate) book: &'a mut Book,
    pub(crate) chance: &'a mut Chance,
    pub(crate) plan: &'a Plan,
}

impl Generator<'_> {
    /// The next operation; of a certificate, with the device that it is for.
    pub(crate) fn next(&mut self) -> (Operation, Option<(usize, NewCertificate)>) {
        let terms = if self.plan.terms_change { 8 } else { 0 };
        match self.chance.weighted(&[62, 8, 8, terms, 4, 2, 2, 3, 2]) {
            0 => (self.transition(), None),
            1 => self.certificate(true),
            2 => self.certificate(false),
            3 => (self.terms(), None),
            4 => (self.setting(), None),
            5 => (
                Operation::RotateTicketKeys { keys: SealedTicketKeys(vec![self.chance.pick(&[1, 2, 3])]) },
                None,
            ),
            6 => (self.tenant_or_authority(), None),
            7 => (self.remove_node(), None),
            _ => (self.device(), None),
        }
    }

    fn transition(&mut self) -> Operation {
        let selector = self.selector();
        let broad = matches!(selector, Selector::Tenant(_) | Selector::Authority { .. });
        // What is broad and for good would leave nothing to do.
        let weights = if broad { [50, 50, 2, 1] } else { [42, 40, 10, 8] };
        let transition = match self.chance.weighted(&weights) {
            0 => Transition::Suspend,
            1 => Transition::Reactivate,
            2 => Transition::Revoke(RevocationReason::KeyCompromise),
            _ => Transition::Delete,
        };
        Operation::Transition { selector, transition, comment: String::new() }
    }

    fn selector(&mut self) -> Selector {
        let place = self.chance.index(self.book.certificates.len());
        let of = self.book.certificates[place].1.clone();
        match self.chance.weighted(&[22, 14, 8, 22, 9, 10, 5, 6]) {
            0 => Selector::Id(of.id),
            1 => Selector::Fingerprint(of.fingerprint),
            2 => Selector::Serial { issuer: Issuer::Der(of.issuer), serial: of.serial },
            3 => Selector::Device { tenant: of.tenant, name: of.device },
            4 => Selector::Label {
                tenant: of.tenant,
                key: name("site"),
                value: name(self.chance.pick(&["north", "south"])),
            },
            5 => {
                let place = self.chance.index(self.book.authorities.len());
                let (tenant, of) = &self.book.authorities[place];
                Selector::Authority { tenant: tenant.clone(), name: name(of) }
            }
            6 => {
                let place = self.chance.index(self.book.tenants.len());
                Selector::Tenant(self.book.tenants[place].clone())
            }
            _ => {
                let authority = of.authority.filter(|_| self.chance.percent(50));
                Selector::IssuedBefore {
                    tenant: of.tenant,
                    authority,
                    time: START.plus(self.chance.pick(&[0, 1, DAY, 400 * DAY])),
                }
            }
        }
    }

    /// A certificate that is issued, or registered: a new one, or one that was deleted perhaps.
    fn certificate(&mut self, issue: bool) -> (Operation, Option<(usize, NewCertificate)>) {
        let place = self.chance.index(self.book.certificates.len());
        let (device, of) = self.book.certificates[place].clone();
        let (tenant, owner) = (of.tenant.to_string(), of.device.to_string());
        let again = !issue && of.authority.is_none() && self.chance.percent(60);
        let new = if again {
            let mut id = of.id;
            id.0[..4].copy_from_slice(&self.book.number().to_be_bytes());
            // Of another device now and then, in another tenant perhaps.
            let other = self.chance.index(self.book.certificates.len());
            let other = self.book.certificates[other].1.clone();
            let moved = self.chance.percent(30);
            let (tenant, device) = if moved { (other.tenant, other.device) } else { (of.tenant, of.device) };
            NewCertificate { id, tenant, device, ..of }
        } else {
            let authority = if tenant == "default" && self.chance.percent(50) { "cb" } else { "ca" };
            self.book.certificate(&tenant, &owner, issue.then_some(authority), START)
        };
        let operation = Operation::AddCertificate { certificate: Box::new(new.clone()) };
        (operation, Some((device, new)))
    }

    fn terms(&mut self) -> Operation {
        if self.chance.percent(50) {
            return set("lease", self.chance.pick(&LEASES));
        }
        let never = self.plan.may_never && self.chance.percent(40);
        set("stale_grace", if never { "never" } else { self.chance.pick(&GRACES) })
    }

    fn setting(&mut self) -> Operation {
        if self.chance.percent(15) {
            return set("stale_new", self.chance.pick(&["refuse", "serve"]));
        }
        set("client_certificate", self.chance.pick(&["required", "optional", "off"]))
    }

    fn tenant_or_authority(&mut self) -> Operation {
        let number = self.book.number();
        if self.chance.percent(50) {
            return Operation::CreateTenant { name: name(&format!("t{number}")) };
        }
        let place = self.chance.index(self.book.tenants.len());
        let tenant = self.book.tenants[place].to_string();
        let of = format!("c{number}");
        self.book.authorities.push((name(&tenant), of.clone()));
        Operation::CreateAuthority { authority: authority(&tenant, &of, START) }
    }

    /// A node that is gone; or any, where a grace bounds what it may still do.
    fn remove_node(&mut self) -> Operation {
        let alive = !self.plan.may_never && self.chance.percent(60);
        let from = if alive { &self.book.nodes } else { &self.book.gone };
        let node = if from.is_empty() { 0 } else { from[self.chance.index(from.len())] };
        Operation::RemoveNode { node: NodeId(node) }
    }

    fn device(&mut self) -> Operation {
        let number = self.book.number();
        let labels = [(name("site"), name("north"))].into_iter().collect();
        Operation::CreateDevice { tenant: name("default"), name: name(&format!("n{number}")), labels }
    }
}

pub(super) fn set(key: &str, value: &str) -> Operation {
    Operation::SetSetting { key: key.to_owned(), value: Some(value.to_owned()) }
}
