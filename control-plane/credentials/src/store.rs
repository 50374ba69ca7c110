//! What `apply` and the queries read from, and what they write.

use std::collections::BTreeMap;

/// Keys and values, in key order.
pub type Rows = Vec<(Vec<u8>, Vec<u8>)>;

/// The rows of one consistent state.
pub trait Reader {
    /// The row of a key.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, ReadError>;

    /// The rows with `from <= key < to` in key order, at most `limit`.
    fn scan(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Rows, ReadError>;
}

/// The store failed, or a row in it cannot be decoded. Not the fault of the one who asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("reading the store: {0}")]
pub struct ReadError(pub String);

/// One change of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    /// Key and new value.
    Put(Vec<u8>, Vec<u8>),
    /// Key.
    Delete(Vec<u8>),
}

/// Rows in memory, for tests and simulation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MemoryStore {
    rows: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl MemoryStore {
    /// Without rows.
    pub fn new() -> MemoryStore {
        MemoryStore::default()
    }

    /// Carries out writes, in order.
    pub fn commit(&mut self, writes: &[Write]) {
        for write in writes {
            match write {
                Write::Put(key, value) => {
                    self.rows.insert(key.clone(), value.clone());
                }
                Write::Delete(key) => {
                    self.rows.remove(key);
                }
            }
        }
    }

    /// The rows in key order.
    pub fn rows(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.rows.iter().map(|(key, value)| (key.as_slice(), value.as_slice()))
    }
}

impl Reader for MemoryStore {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, ReadError> {
        Ok(self.rows.get(key).cloned())
    }

    fn scan(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Rows, ReadError> {
        if from >= to {
            return Ok(Vec::new());
        }
        let range = self.rows.range(from.to_vec()..to.to_vec());
        Ok(range.take(limit).map(|(key, value)| (key.clone(), value.clone())).collect())
    }
}
