//! What is left of a store that a crash, a disk or a person damaged: all that was acknowledged, or a refusal.
//!
//! The files are copied while the store is open, as the death of its process would leave them.
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use openraft::entry::RaftEntry as _;
use openraft::storage::{IOFlushed, RaftLogStorage as _};
use openraft::vote::RaftLeaderId as _;
use openraft::{EntryPayload, RaftLogReader as _};
use tempfile::TempDir;

use super::{MARK, ROWS, Store, options};
use crate::Error;
use crate::log::LogStore;
use crate::suite::folder;
use crate::types::{Blob, Entry, LogId, Vote};

const GROUP: u32 = 1;

fn entry(index: u64) -> Entry {
    let id =
        LogId::new(openraft::impls::leader_id_std::LeaderId::<u64, u64>::new(1, 1).to_committed(), index);
    // Some span blocks of the log, most don't.
    let size = if index % 9 == 4 { 40_000 } else { 40 + usize::try_from(index).expect("small") };
    Entry::new(id, EntryPayload::Normal(Blob(vec![7; size].into())))
}

/// A store that is written to, and what it has acknowledged.
struct Live {
    folder: TempDir,
    store: Store,
    log: LogStore,
    entries: u64,
    term: u64,
}

impl Live {
    fn open() -> Self {
        let folder = folder();
        let store = Store::open(folder.path()).expect("a fresh store opens");
        let log =
            LogStore::open(Arc::new(store.group(GROUP).expect("a fresh group opens"))).expect("an empty log");
        Self { folder, store, log, entries: 0, term: 0 }
    }

    /// Appends an entry, which is acknowledged when this returns.
    async fn append(&mut self) {
        self.log.append([entry(self.entries)], IOFlushed::noop()).await.expect("it is written");
        self.store.shared.flusher.flushed().await.expect("it is flushed");
        self.entries += 1;
    }

    async fn vote(&mut self) {
        self.term += 1;
        self.log.save_vote(&Vote::new(self.term, 1)).await.expect("it is durable");
    }

    /// Writes what reaches the file and is not acknowledged.
    fn write_on(&self, entries: u64) {
        let database = &self.store.shared.database;
        for index in self.entries..self.entries + entries {
            let mut batch = rocksdb::WriteBatch::default();
            let family = database.db.cf_handle("log.1").expect("it is there");
            batch.put_cf(&family, index.to_be_bytes(), crate::types::encode(&entry(index)).expect("encoded"));
            database.write(batch).expect("it is written");
        }
        database.db.flush_wal(false).expect("it reaches the file");
    }

    fn image(&self) -> Image {
        let files = files(self.folder.path());
        Image { files, entries: self.entries, term: self.term }
    }
}

fn files(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let rows =
        fs::read_dir(root.join(ROWS)).expect("it is there").map(|file| file.expect("listed").file_name());
    let names = rows.map(|name| Path::new(ROWS).join(name)).chain([MARK.into()]);
    names.map(|name| (name.clone(), fs::read(root.join(name)).expect("read"))).collect()
}

/// The files as they were found, and what had been acknowledged.
#[derive(Clone)]
struct Image {
    files: BTreeMap<PathBuf, Vec<u8>>,
    entries: u64,
    term: u64,
}

impl Image {
    /// The names of the logs, the oldest first.
    fn logs(&self) -> Vec<PathBuf> {
        let log = |name: &&PathBuf| name.extension().is_some_and(|extension| extension == "log");
        self.files.keys().filter(log).cloned().collect()
    }

    fn named(&self, part: &str) -> PathBuf {
        let found = self.files.keys().find(|name| name.to_string_lossy().contains(part));
        found.expect("there is such a file").clone()
    }

    fn with(&self, name: &Path, change: impl FnOnce(&mut Vec<u8>)) -> Image {
        let mut changed = self.clone();
        change(changed.files.get_mut(name).expect("there is such a file"));
        changed
    }

    fn without(&self, name: &Path) -> Image {
        let mut changed = self.clone();
        changed.files.remove(name);
        changed
    }

    /// Starts from these files. What was acknowledged is there, or the start is refused for a reason of this kind.
    async fn start(&self) -> Result<u64, Error> {
        let folder = folder();
        fs::create_dir(folder.path().join(ROWS)).expect("made");
        for (name, content) in &self.files {
            fs::write(folder.path().join(name), content).expect("written");
        }
        let opened = self.open(folder.path()).await;
        if let Err(refused) = &opened {
            assert!(refused.needs_replacement(), "{refused}");
            // The first attempt has cleared nothing up.
            let again = self.open(folder.path()).await;
            assert!(again.as_ref().is_err_and(Error::needs_replacement), "after {refused}: {again:?}");
        }
        opened
    }

    async fn open(&self, folder: &Path) -> Result<u64, Error> {
        let store = Store::open(folder)?;
        let mut log = LogStore::open(Arc::new(store.group(GROUP)?))?;
        let there = log.try_get_log_entries(..).await.expect("the entries are read");
        let indices: Vec<u64> = there.iter().map(|entry| entry.log_id.index).collect();
        let count = there.len() as u64;
        assert!(indices.into_iter().eq(0..count), "no entry is missing in between");
        assert!(count >= self.entries, "{count} of {} acknowledged entries", self.entries);
        let term = log.read_vote().await.expect("the vote is read").map_or(0, |vote| vote.leader_id.term);
        assert!(term >= self.term, "the vote of term {} is forgotten", self.term);
        assert!(there.iter().all(|found| found.payload == entry(found.log_id.index).payload), "as they were");
        drop(log);
        store.close().await;
        Ok(count)
    }
}

/// Offsets of a file, close together where few bytes make a difference.
fn sample(from: usize, to: usize, about: usize) -> Vec<usize> {
    let step = ((to - from) / about).max(1);
    // Odd, so that the samples wander through the fields of the records.
    (from..to).step_by(step | 1).chain([to.saturating_sub(1).max(from)]).collect()
}

#[tokio::test]
async fn a_log_that_was_cut_short_is_found_out() {
    let mut live = Live::open();
    let mut ends = Vec::new();
    for n in 0..24 {
        if n % 5 == 3 {
            live.vote().await;
        } else {
            live.append().await;
        }
        ends.push(live.image().files[&live.image().logs()[0]].len());
    }
    let synced = *ends.last().expect("there are some");
    live.write_on(6);
    let image = live.image();
    let [log] = &image.logs()[..] else { panic!("one log: {:?}", image.logs()) };
    let length = image.files[log].len();
    assert!(length > synced, "some is not acknowledged");
    assert!(matches!(image.start().await, Ok(count) if count == live.entries + 6));

    // Between records, inside of them, and at the last byte.
    let offsets = sample(0, synced, 30).into_iter().chain(ends.iter().copied().filter(|end| *end < synced));
    for offset in offsets.chain([synced - 1]) {
        let started = image.with(log, |bytes| bytes.truncate(offset)).start().await;
        assert!(matches!(started, Err(Error::Lost { .. })), "cut at {offset} of {synced}: {started:?}");
    }
    // A true torn tail.
    for offset in sample(synced, length, 20) {
        let started = image.with(log, |bytes| bytes.truncate(offset)).start().await;
        assert!(started.is_ok(), "cut at {offset}, {synced} are acknowledged: {started:?}");
    }
    let Err(lost) = image.without(log).start().await else { panic!("without its log") };
    assert!(matches!(lost, Error::Lost { lost: 24, held: 0, promised: 24, .. }), "{lost:?}");
    let text = lost.to_string();
    assert!(
        text.contains("lost 24 acknowledged writes (0 < 24)") && text.contains("cluster remove"),
        "{text}"
    );
}

#[tokio::test]
async fn flipped_bits_never_take_anything_away() {
    let mut live = Live::open();
    for _ in 0..12 {
        live.append().await;
        live.vote().await;
    }
    let synced = live.image().files[&live.image().logs()[0]].len();
    live.write_on(3);
    let image = live.image();
    let log = &image.logs()[0];
    let mut refused = 0;
    for (n, offset) in sample(0, image.files[log].len(), 60).into_iter().enumerate() {
        let started = image.with(log, |bytes| bytes[offset] ^= 1 << (n % 8)).start().await;
        // A flip in what RocksDB does not read, such as the padding of a block, does no harm.
        refused += usize::from(started.is_err());
        assert!(offset >= synced || refused > 0 || started.is_ok(), "{started:?}");
    }
    assert!(refused > 40, "{refused} were noticed");
}

#[tokio::test]
async fn an_older_log_is_watched_too() {
    let mut live = Live::open();
    for _ in 0..6 {
        live.append().await;
    }
    let flush = |family: &str| {
        let db = &live.store.shared.database.db;
        db.flush_cf(&db.cf_handle(family).expect("it is there")).expect("flushed");
    };
    // Another log begins, and the first one is kept for the entries in it.
    flush("meta.1");
    flush("default");
    for _ in 0..6 {
        live.append().await;
    }
    let image = live.image();
    let logs = image.logs();
    assert!(logs.len() > 1, "{logs:?}");
    assert!(matches!(image.start().await, Ok(12)));
    for log in &logs {
        let length = image.files[log].len();
        if length == 0 {
            continue;
        }
        image.without(log).start().await.expect_err("without one of its logs");
        for offset in sample(0, length, 6) {
            let started = image.with(log, |bytes| bytes.truncate(offset)).start().await;
            assert!(started.is_err(), "{} cut at {offset} of {length}", log.display());
        }
    }
}

#[tokio::test]
async fn a_store_that_cannot_be_read_says_how_to_replace_it() {
    let mut live = Live::open();
    live.append().await;
    live.vote().await;
    let image = live.image();
    let manifest = image.named("MANIFEST");
    let current = image.named("CURRENT");
    let mark = PathBuf::from(MARK);
    for (what, damaged) in [
        ("no MANIFEST", image.without(&manifest)),
        ("half a MANIFEST", image.with(&manifest, |bytes| bytes.truncate(bytes.len() / 2))),
        ("a changed MANIFEST", image.with(&manifest, |bytes| bytes[20] ^= 0xff)),
        ("no CURRENT", image.without(&current)),
        ("an empty CURRENT", image.with(&current, Vec::clear)),
        ("no mark", image.without(&mark)),
        ("a mark of zeros", image.with(&mark, |bytes| bytes.fill(0))),
        ("half a mark", image.with(&mark, |bytes| bytes.truncate(10))),
    ] {
        let Err(error) = damaged.start().await else { panic!("{what}: it started") };
        let text = error.to_string();
        assert!(text.contains("replace this replica: stop it, remove it"), "{what}: {text}");
    }
    // The older of its two records is torn.
    let torn = image.with(&mark, |bytes| bytes[4096..4104].fill(0));
    let also = image.with(&mark, |bytes| bytes[..8].fill(0));
    for (what, image) in [("the second", torn), ("the first", also)] {
        assert!(image.start().await.is_ok(), "{what} record of the mark is torn");
    }
}

#[tokio::test]
async fn a_store_of_an_earlier_version_is_taken_over_once() {
    let folder = folder();
    let rows = folder.path().join(ROWS);
    {
        let mut all = options::database_options();
        all.create_missing_column_families(true);
        let families = ["log.1", "meta.1", "state.1.0"].map(|name| (name, options::family_options(name)));
        let db = super::Db::open_cf_with_opts(&all, &rows, families).expect("it opens");
        let family = db.cf_handle("log.1").expect("it is there");
        let value = crate::types::encode(&entry(0)).expect("encoded");
        db.put_cf(&family, 0_u64.to_be_bytes(), value).expect("written");
        db.flush_wal(true).expect("durable");
    }
    assert!(Store::is_in(folder.path()));
    let store = Store::open(folder.path()).expect("it is taken over");
    let mut log =
        LogStore::open(Arc::new(store.group(GROUP).expect("the group opens"))).expect("the log opens");
    log.save_vote(&Vote::new(3, 1)).await.expect("it is durable");
    drop(log);
    store.close().await;
    let image = Image { files: files(folder.path()), entries: 1, term: 3 };
    assert!(matches!(image.start().await, Ok(1)));
    image.without(Path::new(MARK)).start().await.expect_err("only once");
}
