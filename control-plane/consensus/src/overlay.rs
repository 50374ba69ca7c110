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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Store;

    fn put(key: &str) -> Write {
        Write::Put(key.into(), key.into())
    }

    fn keys(overlay: &Overlay<'_>, from: &str, to: &str, limit: usize) -> Vec<String> {
        let rows = overlay.scan(from.as_bytes(), to.as_bytes(), limit).expect("the rows are read");
        rows.into_iter().map(|(key, _)| String::from_utf8_lossy(&key).into_owned()).collect()
    }

    #[test]
    fn pending_rows_lie_over_the_written_ones() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let store = Store::open(folder.path()).expect("a fresh store opens");
        let store = store.group(1).expect("a fresh group opens");
        let write = |db: &crate::store::Db, family: &crate::store::Family<'_>| {
            for key in ["b", "c", "d", "e"] {
                db.put_cf(family, crate::store::row_key(key.as_bytes()), key)
                    .map_err(crate::types::io_error)?;
            }
            Ok(())
        };
        store.with_state(write).expect("the rows are written");
        let mut pending = Pending::default();
        pending.extend(vec![
            put("a"),
            Write::Delete(b"c".to_vec()),
            put("da"),
            put("x"),
            Write::Delete(b"x".to_vec()),
        ]);
        let overlay = Overlay { pending: &pending, store: &store };

        assert_eq!(overlay.get(b"a").expect("read"), Some(b"a".to_vec()));
        assert_eq!(overlay.get(b"c").expect("read"), None);
        assert_eq!(overlay.get(b"x").expect("read"), None);
        assert_eq!(overlay.get(b"d").expect("read"), Some(b"d".to_vec()));
        assert_eq!(keys(&overlay, "", "z", 99), ["a", "b", "d", "da", "e"]);
        assert_eq!(keys(&overlay, "b", "da", 99), ["b", "d"]);
        assert_eq!(keys(&overlay, "", "z", 3), ["a", "b", "d"]);
        assert_eq!(keys(&overlay, "z", "a", 3), Vec::<String>::new());
    }
}
