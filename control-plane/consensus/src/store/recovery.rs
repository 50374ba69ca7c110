//! Opening what an earlier process left, and refusing to when acknowledged writes are not in it.
use std::path::Path;

use rocksdb::{DEFAULT_COLUMN_FAMILY_NAME, ErrorKind};

use super::database::surviving;
use super::mark::{Manifest, Mark, Promise};
use super::{Db, MARK, ROWS, options};
use crate::Error;

/// The database in `folder`, the number of its last durable write, and the mark that promises those.
pub(super) fn open(folder: &Path) -> Result<(Db, u64, Mark), Error> {
    let (rows, mark) = (folder.join(ROWS), folder.join(MARK));
    let promised = Mark::read(&mark).map_err(|error| unreadable(folder, &error))?;
    let present = rows.join("CURRENT").exists();
    if promised.is_none() && !present {
        // First, so that a store without it is an older one.
        create(folder, Promise::default())?;
    }
    let due = promised.unwrap_or_default();
    if !present && due.writes > 0 {
        return Err(Error::lost(folder, 0, due.writes));
    }
    if present {
        let manifest = Manifest::in_use(&rows).map_err(|error| unreadable(folder, &error))?;
        if manifest < due.manifest {
            return Err(damaged(
                folder,
                format!("its manifest is older than it was: {manifest:?} is there, {:?} was", due.manifest),
            ));
        }
    }
    let db = open_rows(&rows).map_err(|error| broken(folder, error))?;
    let (last, count) = surviving(&db)?;
    if count < last.max(due.writes) {
        return Err(Error::lost(folder, count, last.max(due.writes)));
    }
    if promised.is_none() && present {
        if last > 0 {
            let reason =
                format!("{} is missing: nobody can tell what the write-ahead log must hold", mark.display());
            return Err(damaged(folder, reason));
        }
        tracing::warn!(
            path = %folder.display(),
            "this store is of an earlier version: what its write-ahead log must hold is recorded from now on"
        );
    }
    // What was recovered from the log is in SST files by now, and the manifest has been written anew.
    let manifest = Manifest::in_use(&rows).map_err(|error| unreadable(folder, &error))?;
    let mark = create(folder, Promise { writes: last, manifest })?;
    Ok((db, last, mark))
}

fn open_rows(rows: &Path) -> Result<Db, rocksdb::Error> {
    let options = options::database_options();
    let mut names = vec![DEFAULT_COLUMN_FAMILY_NAME.to_owned()];
    if rows.join("CURRENT").exists() {
        names = Db::list_cf(&options, rows)?;
    }
    let families = names.into_iter().map(|name| {
        let options = options::family_options(&name);
        (name, options)
    });
    Db::open_cf_with_opts(&options, rows, families)
}

fn create(folder: &Path, promise: Promise) -> Result<Mark, Error> {
    Mark::create(&folder.join(MARK), promise).map_err(|error| Error::disk(folder, error.to_string()))
}

fn damaged(folder: &Path, reason: String) -> Error {
    Error::Damaged { path: folder.display().to_string(), reason }
}

/// Of the mark or the manifest.
fn unreadable(folder: &Path, error: &std::io::Error) -> Error {
    use std::io::ErrorKind::{InvalidData, NotFound};
    let reason = format!("the record of what it must hold, or its manifest: {error}");
    if matches!(error.kind(), InvalidData | NotFound) {
        damaged(folder, reason)
    } else {
        Error::disk(folder, reason)
    }
}

/// Whether a replacement, a look at the disk, or neither helps.
fn broken(folder: &Path, error: rocksdb::Error) -> Error {
    let kind = error.kind();
    let reason = error.into_string();
    // Another process has it open: no fault of the disk.
    let locked = reason.contains("lock ");
    let missing = reason.contains("No such file");
    match kind {
        _ if locked => Error::Storage(reason),
        ErrorKind::IOError if !missing => Error::disk(folder, reason),
        _ => damaged(folder, reason),
    }
}
