//! The rows as they will be once the pending batch is written.
use std::collections::BTreeMap;
use std::ops::Bound;

use revoq_credentials::{ReadError, Reader, Write};

use crate::reader::{get_row, scan_rows};
use crate::store::GroupStore;

type Row = (Vec<u8>, Vec<u8>);

/// What the commands of one batch have changed so far; `None` is a deletion.
#[derive(Default)]
pub(crate) struct Pending {
    rows: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
}

impl Pending {
    pub(crate) fn extend(&mut self, writes: Vec<Write>) {
        for write in writes {
            match write {
                Write::Put(key, value) => self.rows.insert(key, Some(value)),
                Write::Delete(key) => self.rows.insert(key, None),
            };
        }
    }

    pub(crate) fn take(&mut self) -> BTreeMap<Vec<u8>, Option<Vec<u8>>> {
        std::mem::take(&mut self.rows)
    }
}

/// Reads the pending rows over the written ones.
pub(crate) struct Overlay<'a> {
    pub(crate) pending: &'a Pending,
    pub(crate) store: &'a GroupStore,
}

impl Reader for Overlay<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, ReadError> {
        match self.pending.rows.get(key) {
            Some(row) => Ok(row.clone()),
            None => self.store.with_state(|db, family| get_row(db, family, key)).map_err(read_error),
        }
    }

    fn scan(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<Row>, ReadError> {
        if from >= to {
            return Ok(Vec::new());
        }
        let bounds = (Bound::Included(from), Bound::Excluded(to));
        let pending: Vec<_> = self.pending.rows.range::<[u8], _>(bounds).collect();
        // A pending row may hide a written one: so many more are read.
        let beneath = limit.saturating_add(pending.len());
        let written = self
            .store
            .with_state(|db, family| scan_rows(db, family, from, to, beneath))
            .map_err(read_error)?;
        Ok(merge(written, &pending, limit))
    }
}

fn merge(written: Vec<Row>, pending: &[(&Vec<u8>, &Option<Vec<u8>>)], limit: usize) -> Vec<Row> {
    if pending.is_empty() {
        return written;
    }
    let mut rows: BTreeMap<Vec<u8>, Vec<u8>> = written.into_iter().collect();
    for (key, row) in pending {
        match row {
            Some(value) => rows.insert((*key).clone(), value.clone()),
            None => rows.remove(*key),
        };
    }
    rows.into_iter().take(limit).collect()
}

#[expect(clippy::needless_pass_by_value, reason = "as map_err wants it")]
fn read_error(error: std::io::Error) -> ReadError {
    ReadError(error.to_string())
}
