//! TLS session tickets under keys that all nodes share, RFC 8446 section 4.6.1 and RFC 5077.

use std::fmt;

use arc_swap::ArcSwap;
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use rustls::server::ProducesTickets;

const NAME_LENGTH: usize = 16;
const NONCE_LENGTH: usize = 12;

/// Seconds. Short, because nothing of a ticket is checked again but what the verdict checks.
const LIFETIME: u32 = 3600;

/// The keys, current first; the others only decrypt. Without any, tickets are neither issued nor accepted.
#[derive(Default)]
pub(crate) struct Tickets {
    keys: ArcSwap<Vec<Key>>,
}

struct Key {
    name: [u8; NAME_LENGTH],
    key: LessSafeKey,
}

impl Tickets {
    /// Replaces all keys. A key of another length than 16 (name) and 32 (key) bytes is left out; their number is
    /// returned.
    pub(crate) fn set<'a>(&self, keys: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> usize {
        let mut refused = 0;
        let mut parsed = Vec::new();
        for (name, key) in keys {
            match (name.try_into(), UnboundKey::new(&AES_256_GCM, key)) {
                (Ok(name), Ok(key)) => parsed.push(Key { name, key: LessSafeKey::new(key) }),
                _ => refused += 1,
            }
        }
        self.keys.store(parsed.into());
        refused
    }
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        !self.keys.load().is_empty()
    }

    fn lifetime(&self) -> u32 {
        LIFETIME
    }

    /// Name, nonce, sealed state. Nonces are random: keys are rotated every few hours, far below 2^32 tickets.
    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let keys = self.keys.load();
        let Key { name, key } = keys.first()?;
        let mut nonce = [0; NONCE_LENGTH];
        aws_lc_rs::rand::fill(&mut nonce).ok()?;
        let mut body = plain.to_vec();
        key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(name), &mut body).ok()?;
        Some([&name[..], &nonce, &body].concat())
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let (name, rest) = ticket.split_at_checked(NAME_LENGTH)?;
        let (nonce, body) = rest.split_at_checked(NONCE_LENGTH)?;
        let keys = self.keys.load();
        let Key { name, key } = keys.iter().find(|key| key.name == name)?;
        let mut body = body.to_vec();
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let length = key.open_in_place(nonce, Aad::from(name), &mut body).ok()?.len();
        body.truncate(length);
        Some(body)
    }
}

impl fmt::Debug for Tickets {
    // The keys stay out of logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tickets({} keys)", self.keys.load().len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(keys: &[(u8, u8)]) -> Tickets {
        let tickets = Tickets::default();
        let keys: Vec<_> = keys.iter().map(|(name, key)| ([*name; 16], [*key; 32])).collect();
        assert_eq!(tickets.set(keys.iter().map(|(name, key)| (&name[..], &key[..]))), 0);
        tickets
    }

    #[test]
    fn another_node_with_the_same_keys_opens_it() {
        let ticket = with(&[(1, 7)]).encrypt(b"state").expect("there is a key");
        assert_eq!(with(&[(1, 7)]).decrypt(&ticket).as_deref(), Some(&b"state"[..]));
        assert_ne!(with(&[(1, 7)]).encrypt(b"state"), Some(ticket), "a nonce came twice");
    }

    #[test]
    fn older_keys_only_decrypt() {
        let old = with(&[(1, 7)]).encrypt(b"state").expect("there is a key");
        let rotated = with(&[(2, 8), (1, 7)]);
        assert_eq!(rotated.decrypt(&old).as_deref(), Some(&b"state"[..]));
        assert_eq!(rotated.encrypt(b"x").expect("there is a key")[..16], [2; 16]);
    }

    #[test]
    fn wrong_keys_and_damage_are_refused() {
        let ticket = with(&[(1, 7)]).encrypt(b"state").expect("there is a key");
        assert_eq!(with(&[(1, 8)]).decrypt(&ticket), None);
        assert_eq!(with(&[(2, 7)]).decrypt(&ticket), None);
        for at in 0..ticket.len() {
            let mut damaged = ticket.clone();
            damaged[at] ^= 1;
            assert_eq!(with(&[(1, 7)]).decrypt(&damaged), None, "byte {at}");
            assert_eq!(with(&[(1, 7)]).decrypt(&ticket[..at]), None, "cut at {at}");
        }
    }

    #[test]
    fn without_keys_there_are_no_tickets() {
        let tickets = Tickets::default();
        assert!(!tickets.enabled());
        assert_eq!(tickets.encrypt(b"state"), None);
        assert_eq!(tickets.set([(&[1; 16][..], &[1; 31][..]), (&[1; 15], &[1; 32])].into_iter()), 2);
        assert!(!tickets.enabled());
    }
}
