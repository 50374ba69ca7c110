//! The rows that a command changes, over those that were there: reads see the writes before them.

use std::collections::BTreeMap;

use minicbor::Encode;

use crate::codec;
use crate::event::Change;
use crate::ids::{Millis, Revision};
use crate::keys;
use crate::names::{AuthorityName, TenantName};
use crate::query::{self, Counts, TenantCounts};
use crate::store::{ReadError, Reader, Rows, Write};

/// One command under way. Dropped, it has changed nothing.
pub(crate) struct Transaction<'a> {
    reader: &'a dyn Reader,
    /// In key order, so that equal commands give equal writes. `None`: the row is deleted.
    rows: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    pub(crate) revision: Revision,
    pub(crate) time: Millis,
    pub(crate) changes: Vec<Change>,
    pub(crate) entries: Vec<Draft>,
}

/// What an operation puts into an audit entry; the rest is the command's.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    pub(crate) subject: String,
    pub(crate) before: String,
    pub(crate) after: String,
    pub(crate) detail: String,
    /// Empty: `ok`.
    pub(crate) outcome: String,
}

impl<'a> Transaction<'a> {
    pub(crate) fn new(reader: &'a dyn Reader, revision: Revision, time: Millis) -> Transaction<'a> {
        Transaction {
            reader,
            rows: BTreeMap::new(),
            revision,
            time,
            changes: Vec::new(),
            entries: Vec::new(),
        }
    }

    pub(crate) fn put<T: Encode<()>>(&mut self, key: Vec<u8>, value: &T) {
        self.rows.insert(key, Some(codec::encode(value)));
    }

    /// A row as it is.
    pub(crate) fn put_bytes(&mut self, key: Vec<u8>, value: Vec<u8>) {
        self.rows.insert(key, Some(value));
    }

    /// An entry of an index: all of it is in the key.
    pub(crate) fn mark(&mut self, key: Vec<u8>) {
        self.rows.insert(key, Some(Vec::new()));
    }

    pub(crate) fn delete(&mut self, key: Vec<u8>) {
        self.rows.insert(key, None);
    }

    pub(crate) fn exists(&self, key: &[u8]) -> Result<bool, ReadError> {
        Ok(self.get(key)?.is_some())
    }

    /// Changes the counts of the cluster.
    pub(crate) fn count(&mut self, change: impl FnOnce(&mut Counts)) -> Result<(), ReadError> {
        let mut counts = query::counts(self)?;
        change(&mut counts);
        self.put(keys::counts(), &counts);
        Ok(())
    }

    /// Changes the counts of a tenant.
    pub(crate) fn count_tenant(
        &mut self,
        tenant: &TenantName,
        change: impl FnOnce(&mut TenantCounts),
    ) -> Result<(), ReadError> {
        let mut counts = query::tenant_counts(self, tenant)?;
        change(&mut counts);
        self.put(keys::tenant_counts(tenant), &counts);
        Ok(())
    }

    /// Changes the number of an authority's certificates.
    pub(crate) fn count_authority(
        &mut self,
        tenant: &TenantName,
        name: &AuthorityName,
        change: impl FnOnce(u64) -> u64,
    ) -> Result<(), ReadError> {
        let count = query::authority_count(self, tenant, name)?;
        self.put(keys::authority_count(tenant, name), &change(count));
        Ok(())
    }

    pub(crate) fn into_writes(self) -> Vec<Write> {
        let write = |(key, value)| match value {
            Some(value) => Write::Put(key, value),
            None => Write::Delete(key),
        };
        self.rows.into_iter().map(write).collect()
    }
}

impl Reader for Transaction<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, ReadError> {
        match self.rows.get(key) {
            Some(value) => Ok(value.clone()),
            None => self.reader.get(key),
        }
    }

    fn scan(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Rows, ReadError> {
        if from >= to {
            return Ok(Vec::new());
        }
        let changed = self.rows.range(from.to_vec()..to.to_vec());
        // Each changed row hides at most one row, so that as many more are enough.
        let stored = self.reader.scan(from, to, limit.saturating_add(changed.clone().count()))?;
        let mut rows: BTreeMap<_, _> = stored.into_iter().collect();
        for (key, value) in changed {
            match value {
                Some(value) => rows.insert(key.clone(), value.clone()),
                None => rows.remove(key),
            };
        }
        Ok(rows.into_iter().take(limit).collect())
    }
}
