//! Reading the state: rows of the moment, and views that stay as they are while the state moves on.
use std::io;
use std::sync::Arc;

use revoq_credentials::{ReadError, Reader};
use rocksdb::{DBAccess, DBRawIteratorWithThreadMode, ReadOptions, SnapshotWithThreadMode};
use self_cell::self_cell;

use crate::digest::Digest;
use crate::store::{Database, Db, Family, GroupStore, Standing, change_key, row_key, standing_row};
use crate::types::{decode, io_error};

type Row = (Vec<u8>, Vec<u8>);

/// The state as it was when this was made. It pins what it sees: don't keep it for longer than a request.
pub struct StateReader {
    view: View,
    standing: Standing,
}

self_cell!(
    struct View {
        owner: Arc<Database>,
        #[not_covariant]
        dependent: Pinned,
    }
);

struct Pinned<'a> {
    snapshot: SnapshotWithThreadMode<'a, Db>,
    family: Family<'a>,
}

impl StateReader {
    pub(crate) fn new(store: &GroupStore) -> io::Result<Self> {
        let view = store.with_state_name(|name| {
            View::try_new(Arc::clone(&store.shared.database), |database| {
                let missing = || io::Error::other(format!("column family {name} is missing"));
                let family = database.db.cf_handle(name).ok_or_else(missing)?;
                Ok::<_, io::Error>(Pinned { snapshot: database.db.snapshot(), family })
            })
        })?;
        let mut reader = Self { view, standing: Standing::default() };
        if let Some(row) = reader.raw(standing_row())? {
            reader.standing = decode(&row)?;
        }
        Ok(reader)
    }

    /// The index of the last command that this state contains.
    #[must_use]
    pub fn applied(&self) -> u64 {
        self.standing.index()
    }

    /// The digest of this state: equal on each replica at the same index.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.standing.digest
    }

    pub(crate) fn standing(&self) -> &Standing {
        &self.standing
    }

    /// Rows of changes after `after`, at most `limit`.
    pub(crate) fn changes(&self, after: u64, limit: usize) -> io::Result<Vec<(u64, Vec<u8>)>> {
        let (from, to) = (change_key(after.saturating_add(1)), change_key(u64::MAX));
        let mut changes = Vec::new();
        self.each(&from, &to, |key, value| {
            let index =
                key[1..].try_into().map_err(|_| io::Error::other("a change row has a strange key"))?;
            changes.push((u64::from_be_bytes(index), value.to_vec()));
            Ok(changes.len() < limit)
        })?;
        Ok(changes)
    }

    /// Every row of the group's state, the machine's or not, in the order of the keys, until `visit` says no.
    pub(crate) fn each_raw(&self, visit: impl FnMut(&[u8], &[u8]) -> io::Result<bool>) -> io::Result<()> {
        self.each(&[], &[u8::MAX], visit)
    }

    fn raw(&self, key: &[u8]) -> io::Result<Option<Vec<u8>>> {
        self.view.with_dependent(|_, pinned| pinned.snapshot.get_cf(&pinned.family, key)).map_err(io_error)
    }

    fn each(
        &self,
        from: &[u8],
        to: &[u8],
        visit: impl FnMut(&[u8], &[u8]) -> io::Result<bool>,
    ) -> io::Result<()> {
        self.view.with_dependent(|_, pinned| {
            let rows = pinned.snapshot.raw_iterator_cf_opt(&pinned.family, below(to));
            walk(rows, from, visit)
        })
    }
}

impl Reader for StateReader {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, ReadError> {
        self.raw(&row_key(key)).map_err(|e| ReadError(e.to_string()))
    }

    fn scan(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<Row>, ReadError> {
        let mut rows = Vec::new();
        self.each(&row_key(from), &row_key(to), |key, value| Ok(take_row(&mut rows, key, value, limit)))
            .map_err(|e| ReadError(e.to_string()))?;
        Ok(rows)
    }
}

/// The machine's row `key` as of now.
pub(crate) fn get_row(db: &Db, family: &Family<'_>, key: &[u8]) -> io::Result<Option<Vec<u8>>> {
    db.get_cf(family, row_key(key)).map_err(io_error)
}

/// The machine's rows `from..to` as of now, at most `limit`.
pub(crate) fn scan_rows(
    db: &Db,
    family: &Family<'_>,
    from: &[u8],
    to: &[u8],
    limit: usize,
) -> io::Result<Vec<Row>> {
    let mut rows = Vec::new();
    let iterator = db.raw_iterator_cf_opt(family, below(&row_key(to)));
    walk(iterator, &row_key(from), |key, value| Ok(take_row(&mut rows, key, value, limit)))?;
    Ok(rows)
}

fn take_row(rows: &mut Vec<Row>, key: &[u8], value: &[u8], limit: usize) -> bool {
    if rows.len() < limit {
        rows.push((key[1..].to_vec(), value.to_vec()));
    }
    rows.len() < limit
}

/// Calls `visit` for each row from `from` on while it says to go on.
pub(crate) fn walk<D: DBAccess>(
    mut rows: DBRawIteratorWithThreadMode<'_, D>,
    from: &[u8],
    mut visit: impl FnMut(&[u8], &[u8]) -> io::Result<bool>,
) -> io::Result<()> {
    rows.seek(from);
    while let Some((key, value)) = rows.item() {
        if !visit(key, value)? {
            return Ok(());
        }
        rows.next();
    }
    rows.status().map_err(io_error)
}

pub(crate) fn below(to: &[u8]) -> ReadOptions {
    let mut options = ReadOptions::default();
    options.set_iterate_upper_bound(to);
    options
}
