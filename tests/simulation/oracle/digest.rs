//! A digest of rows, kept up to date write by write from what the store then holds.

use revoq_credentials::{MemoryStore, Reader as _, Write};

/// A sum over all rows, so that their order does not matter and each can be taken out again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Digest(u128);

impl Digest {
    /// Of all rows.
    pub(crate) fn of(store: &MemoryStore) -> Digest {
        Digest(store.rows().fold(0, |sum, (key, value)| sum.wrapping_add(row(key, value))))
    }

    /// Carries out writes, and follows what they did to the rows.
    pub(crate) fn write(&mut self, store: &mut MemoryStore, writes: &[Write]) {
        let sum = |store: &MemoryStore| {
            let rows = writes.iter().filter_map(|write| {
                let (Write::Put(key, _) | Write::Delete(key)) = write;
                store.get(key).expect("memory can be read").map(|value| row(key, &value))
            });
            rows.fold(0, u128::wrapping_add)
        };
        let before = sum(store);
        store.commit(writes);
        self.0 = self.0.wrapping_sub(before).wrapping_add(sum(store));
    }

    /// The lower half, for traces.
    pub(crate) fn short(self) -> u64 {
        u64::try_from(self.0 & u128::from(u64::MAX)).expect("64 bits")
    }
}

fn row(key: &[u8], value: &[u8]) -> u128 {
    let (one, other) = (hash(0x51, key, value), hash(0xa7, key, value));
    u128::from(one) << 64 | u128::from(other)
}

/// FNV-1a with a length in between, so that no part of the key can pass for a part of the value.
fn hash(start: u8, key: &[u8], value: &[u8]) -> u64 {
    let length = (key.len() as u64).to_be_bytes();
    let bytes = [start].into_iter().chain(length).chain(key.iter().copied()).chain(value.iter().copied());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(key: &str, value: &str) -> Write {
        Write::Put(key.into(), value.into())
    }

    #[test]
    fn it_follows_the_rows_whatever_led_to_them() {
        let (mut store, mut digest) = (MemoryStore::new(), Digest::default());
        digest.write(&mut store, &[put("a", "1"), put("b", "2"), put("ab", "")]);
        digest
            .write(&mut store, &[put("a", "3"), Write::Delete(b"b".to_vec()), Write::Delete(b"x".to_vec())]);
        assert_eq!(digest, Digest::of(&store));
        let (mut other, mut direct) = (MemoryStore::new(), Digest::default());
        direct.write(&mut other, &[put("ab", ""), put("a", "3")]);
        assert_eq!(digest, direct);
        direct.write(&mut other, &[put("a", "4")]);
        assert_ne!(digest, direct);
    }
}
