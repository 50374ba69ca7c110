//! The sending side: one SST file at a time is written, streamed in chunks and removed.
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use revoq_proto::v1::RaftSnapshotChunk;
use rocksdb::SstFileWriter;
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;

use super::SnapshotData;
use crate::config::{SNAPSHOT_CHUNK_BYTES, SNAPSHOT_FILE_BYTES};
use crate::reader::StateReader;
use crate::store::{GroupStore, state_options};
use crate::types::io_error;

/// Chunks that may wait for the network.
const QUEUE: usize = 4;

/// Writes the rows of `reader` into SST files in `folder`, and hands each to `finished` until that says no.
pub(super) fn export(
    reader: &StateReader,
    folder: &Path,
    mut finished: impl FnMut(PathBuf) -> io::Result<bool>,
) -> io::Result<()> {
    let options = state_options();
    let mut count = 0_u32;
    let mut open: Option<(SstFileWriter<'_>, PathBuf, u64)> = None;
    reader.each_raw(|key, value| {
        if open.is_none() {
            let path = folder.join(format!("{count:06}.sst"));
            let writer = SstFileWriter::create(&options);
            writer.open(&path).map_err(io_error)?;
            open = Some((writer, path, 0));
            count += 1;
        }
        let Some((writer, _, bytes)) = open.as_mut() else { return Ok(true) };
        writer.put(key, value).map_err(io_error)?;
        *bytes += (key.len() + value.len()) as u64;
        if *bytes < SNAPSHOT_FILE_BYTES {
            return Ok(true);
        }
        open.take().map_or(Ok(true), |file| finish(file, &mut finished))
    })?;
    open.take().map_or(Ok(()), |file| finish(file, &mut finished).map(drop))
}

fn finish(
    (mut writer, path, _): (SstFileWriter<'_>, PathBuf, u64),
    finished: &mut impl FnMut(PathBuf) -> io::Result<bool>,
) -> io::Result<bool> {
    writer.finish().map_err(io_error)?;
    finished(path)
}

/// Streams a snapshot: the header, the files, and at last a chunk without a file whose hash is over the hashes of all
/// files, so that a stream that was cut off is never taken for a whole one.
pub(crate) fn stream(
    store: Arc<GroupStore>,
    group: u32,
    header: Vec<u8>,
    data: SnapshotData,
) -> mpsc::Receiver<RaftSnapshotChunk> {
    let (sender, receiver) = mpsc::channel(QUEUE);
    tokio::task::spawn_blocking(move || {
        if let Err(error) = feed(&store, group, header, data, &sender) {
            // Its own disk: the peer is not at fault.
            let database = &store.shared.database;
            database.fail(database.fault_of(format!("a snapshot could not be sent: {error}")));
        }
    });
    receiver
}

fn feed(
    store: &GroupStore,
    group: u32,
    header: Vec<u8>,
    data: SnapshotData,
    sender: &mpsc::Sender<RaftSnapshotChunk>,
) -> io::Result<()> {
    let reader = match data {
        SnapshotData::View(reader) => reader,
        SnapshotData::Compacted(_) | SnapshotData::Files(_) => StateReader::new(store)?,
    };
    let send = |chunk| sender.blocking_send(chunk).is_ok();
    let mut whole = Sha256::new();
    if !send(RaftSnapshotChunk { group, header: header.into(), ..Default::default() }) {
        return Ok(());
    }
    let folder = store.shared.scratch()?;
    let mut gone = false;
    export(&reader, folder.path(), |path| {
        match send_file(&path, group, &send)? {
            Some(hash) => whole.update(hash),
            None => gone = true,
        }
        std::fs::remove_file(&path)?;
        Ok(!gone)
    })?;
    if !gone {
        send(RaftSnapshotChunk { group, sha256: hash_bytes(whole), ..Default::default() });
    }
    Ok(())
}

/// `None`: nobody listens any more.
fn send_file(
    path: &Path,
    group: u32,
    send: &impl Fn(RaftSnapshotChunk) -> bool,
) -> io::Result<Option<Bytes>> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut file = File::open(path)?;
    let mut left = file.metadata()?.len();
    let mut hash = Sha256::new();
    loop {
        let size = left.min(SNAPSHOT_CHUNK_BYTES as u64);
        let mut data = vec![0; usize::try_from(size).unwrap_or(SNAPSHOT_CHUNK_BYTES)];
        file.read_exact(&mut data)?;
        hash.update(&data);
        left -= size;
        let sha256 = if left == 0 { hash_bytes(hash.clone()) } else { Bytes::new() };
        let chunk = RaftSnapshotChunk {
            group,
            file: name.clone(),
            data: data.into(),
            sha256: sha256.clone(),
            ..Default::default()
        };
        if !send(chunk) {
            return Ok(None);
        }
        if left == 0 {
            return Ok(Some(sha256));
        }
    }
}

fn hash_bytes(hash: Sha256) -> Bytes {
    Bytes::copy_from_slice(&hash.finalize())
}
