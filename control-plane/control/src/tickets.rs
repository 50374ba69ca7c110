//! Keys for TLS session tickets, which all brokers share. They travel the log sealed.

use aws_lc_rs::rand;
use prost::Message;
use revoq_credentials::SealedTicketKeys;
use revoq_proto::v1;
use zeroize::Zeroizing;

use crate::error::Error;
use crate::seal::Seal;

/// The current key and those that still open tickets.
const KEYS_KEPT: usize = 3;

/// A list with a new current key. `old` keys still open the tickets they sealed, as far as they are kept;
/// without `old`, every ticket given out is void.
pub fn fresh_ticket_keys(seal: &dyn Seal, old: Option<&SealedTicketKeys>) -> Result<SealedTicketKeys, Error> {
    let mut keys = vec![new_key()?];
    if let Some(old) = old {
        keys.extend(open_ticket_keys(seal, old)?.keys);
    }
    keys.truncate(KEYS_KEPT);
    let plain = Zeroizing::new(v1::TicketKeys { keys }.encode_to_vec());
    Ok(SealedTicketKeys(seal.seal(&plain)?))
}

/// The keys as brokers get them.
pub fn open_ticket_keys(seal: &dyn Seal, sealed: &SealedTicketKeys) -> Result<v1::TicketKeys, Error> {
    let plain = seal.open(&sealed.0)?;
    v1::TicketKeys::decode(plain.as_slice()).map_err(|error| Error::corrupt("the list of ticket keys", error))
}

fn new_key() -> Result<v1::ticket_keys::Key, Error> {
    let mut name = [0; 16];
    let mut key = Zeroizing::new([0; 32]);
    rand::fill(&mut name).map_err(|_| Error::Randomness)?;
    rand::fill(key.as_mut()).map_err(|_| Error::Randomness)?;
    Ok(v1::ticket_keys::Key { name: name.to_vec().into(), key: key.to_vec().into() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal::KeyEncryptionKey;

    #[test]
    fn rotation_keeps_a_few_and_a_drop_keeps_none() -> Result<(), Error> {
        let seal = KeyEncryptionKey::generate()?;
        let first = fresh_ticket_keys(&seal, None)?;
        let current = open_ticket_keys(&seal, &first)?.keys[0].clone();
        let mut list = first;
        for kept in 2..=4 {
            list = fresh_ticket_keys(&seal, Some(&list))?;
            let keys = open_ticket_keys(&seal, &list)?.keys;
            assert_eq!(keys.len(), kept.min(KEYS_KEPT));
            assert_eq!(keys.contains(&current), kept <= KEYS_KEPT);
        }
        assert_eq!(open_ticket_keys(&seal, &fresh_ticket_keys(&seal, None)?)?.keys.len(), 1);
        Ok(())
    }
}
