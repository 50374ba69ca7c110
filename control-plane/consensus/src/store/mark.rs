//! What RocksDB's files must still hold: a side file that RocksDB does not know.
//!
//! A log that was cut short looks like one whose last writes never reached the disk, which is what every crash
//! leaves. Only a record apart from the log can tell the two apart. It is written after each fdatasync of the log and
//! synced later, so that it never promises more than the log holds: killing the process leaves it as it is, and a loss
//! of power can only make it older. The same goes for the manifest, which names all other files.
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};

/// Two records, written in turn: whatever tears one leaves the other.
const SLOTS: u64 = 2;
/// Apart by more than a device writes at once.
const SLOT_BYTES: u64 = 4096;
const MAGIC: &[u8; 8] = b"revoqwal";
const RECORD_BYTES: usize = 40;

/// What was on disk at some time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Promise {
    /// Durable writes.
    pub(super) writes: u64,
    /// The manifest.
    pub(super) manifest: Manifest,
}

/// Which manifest, and its size in bytes: it only grows, and a later one replaces it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Manifest {
    number: u64,
    size: u64,
}

impl Manifest {
    /// The one in use by the database in `rows`.
    pub(super) fn in_use(rows: &Path) -> io::Result<Self> {
        let name = std::fs::read_to_string(rows.join("CURRENT"))?;
        let name = name.trim_end();
        let number = name.strip_prefix("MANIFEST-").and_then(|number| number.parse().ok());
        let number =
            number.ok_or_else(|| io::Error::new(ErrorKind::InvalidData, "CURRENT names no manifest"))?;
        Ok(Self { number, size: std::fs::metadata(rows.join(name))?.len() })
    }
}

/// The file, open.
pub(super) struct Mark {
    file: File,
    /// The last record, and the slot of the next one.
    state: Mutex<(Promise, u64)>,
    /// Something was written and not synced.
    unsynced: AtomicBool,
}

impl Mark {
    /// What the file at `path` promises; `None` where there is none.
    pub(super) fn read(path: &Path) -> io::Result<Option<Promise>> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let promises = (0..SLOTS).filter_map(|slot| read_slot(&file, slot));
        let unreadable = || io::Error::new(ErrorKind::InvalidData, "no record in it is whole");
        promises.max().map(Some).ok_or_else(unreadable)
    }

    /// Makes the file hold `promise`, on disk, whatever it held before.
    pub(super) fn create(path: &Path, promise: Promise) -> io::Result<Self> {
        let temporary = path.with_extension("new");
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).open(&temporary)?;
        let mut content = vec![0; usize::try_from(SLOTS * SLOT_BYTES).map_err(io::Error::other)?];
        content[..RECORD_BYTES].copy_from_slice(&record(promise));
        file.write_all(&content)?;
        file.sync_all()?;
        std::fs::rename(&temporary, path)?;
        File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()?;
        Ok(Self { file, state: Mutex::new((promise, 1)), unsynced: AtomicBool::new(false) })
    }

    /// Promises `writes`, to whoever reads after this process has ended.
    pub(super) fn hold_writes(&self, writes: u64) -> io::Result<()> {
        self.hold(|promise| promise.writes = writes)
    }

    /// Promises `manifest`, which is on disk.
    pub(super) fn hold_manifest(&self, manifest: Manifest) -> io::Result<()> {
        self.hold(|promise| promise.manifest = manifest)
    }

    fn hold(&self, change: impl FnOnce(&mut Promise)) -> io::Result<()> {
        let mut state = self.state.lock();
        let (mut promise, slot) = *state;
        change(&mut promise);
        if promise == state.0 {
            return Ok(());
        }
        self.file.write_all_at(&record(promise), slot * SLOT_BYTES)?;
        *state = (promise, (slot + 1) % SLOTS);
        self.unsynced.store(true, Ordering::Release);
        Ok(())
    }

    /// Makes the promise survive a loss of power too.
    pub(super) fn sync(&self) -> io::Result<()> {
        if self.unsynced.swap(false, Ordering::AcqRel) { self.file.sync_data() } else { Ok(()) }
    }
}

fn record(promise: Promise) -> [u8; RECORD_BYTES] {
    let mut record = [0; RECORD_BYTES];
    record[..8].copy_from_slice(MAGIC);
    record[8..16].copy_from_slice(&promise.writes.to_be_bytes());
    record[16..24].copy_from_slice(&promise.manifest.number.to_be_bytes());
    record[24..32].copy_from_slice(&promise.manifest.size.to_be_bytes());
    let checksum = Sha256::digest(&record[..32]);
    record[32..].copy_from_slice(&checksum[..8]);
    record
}

fn read_slot(file: &File, slot: u64) -> Option<Promise> {
    let mut found = [0; RECORD_BYTES];
    file.read_exact_at(&mut found, slot * SLOT_BYTES).ok()?;
    let number = |at: usize| found[at..at + 8].try_into().ok().map(u64::from_be_bytes);
    let manifest = Manifest { number: number(16)?, size: number(24)? };
    let promise = Promise { writes: number(8)?, manifest };
    (found == record(promise)).then_some(promise)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_whole_record_counts() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("durable");
        assert_eq!(Mark::read(&path).expect("absent"), None);
        let manifest = Manifest { number: 4, size: 100 };
        let promise = |writes| Promise { writes, manifest };
        let mark = Mark::create(&path, promise(7)).expect("created");
        let read = || Mark::read(&path).expect("whole");
        assert_eq!(read(), Some(promise(7)));
        mark.hold_writes(8).expect("written");
        assert_eq!(read(), Some(promise(8)));
        mark.hold_writes(9).expect("written");
        let manifest = Manifest { size: 120, ..manifest };
        mark.hold_manifest(manifest).expect("written");
        mark.sync().expect("synced");
        assert_eq!(read(), Some(Promise { writes: 9, manifest }));
        // The last record is torn: the one before is left.
        mark.file.write_all_at(b"??", SLOT_BYTES + 12).expect("written");
        assert_eq!(read(), Some(promise(9)));
        mark.file.write_all_at(b"?", 0).expect("written");
        assert_eq!(Mark::read(&path).expect_err("none is whole").kind(), ErrorKind::InvalidData);
        assert_eq!(
            Mark::create(&path, promise(3)).and_then(|_| Mark::read(&path)).expect("anew"),
            Some(promise(3))
        );
    }
}
