//! The receiving side: chunks into files, each checked by its hash before anything is installed.
use std::io;

use revoq_proto::v1::RaftSnapshotChunk;
use sha2::{Digest as _, Sha256};
use tokio::fs::File;
use tokio::io::AsyncWriteExt as _;
use tokio_stream::{Stream, StreamExt as _};

use super::Files;
use crate::store::Shared;

/// A file that is being received.
struct Open {
    name: String,
    file: File,
    hash: Sha256,
}

/// Takes the chunks that follow the header. The names that a peer gives only tell files apart.
pub(crate) async fn receive<S>(shared: &Shared, mut chunks: S) -> io::Result<Files>
where
    S: Stream<Item = io::Result<RaftSnapshotChunk>> + Unpin,
{
    let folder = shared.scratch()?;
    let mut paths = Vec::new();
    let mut whole = Sha256::new();
    let mut open: Option<Open> = None;
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk?;
        if chunk.file.is_empty() {
            let complete = open.is_none() && whole.finalize().as_slice() == chunk.sha256;
            return if complete {
                Ok(Files { _folder: folder, paths })
            } else {
                Err(damaged("the snapshot"))
            };
        }
        let mut current = match open.take() {
            Some(current) if current.name == chunk.file => current,
            Some(_) => return Err(damaged("a file")),
            None => {
                let path = folder.path().join(format!("{:06}.sst", paths.len()));
                let file = File::create_new(&path).await?;
                paths.push(path);
                Open { name: chunk.file, file, hash: Sha256::new() }
            }
        };
        current.file.write_all(&chunk.data).await?;
        current.hash.update(&chunk.data);
        if chunk.sha256.is_empty() {
            open = Some(current);
        } else {
            current.file.flush().await?;
            if current.hash.finalize().as_slice() != chunk.sha256 {
                return Err(damaged("a file"));
            }
            whole.update(&chunk.sha256);
        }
    }
    Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the snapshot was cut off"))
}

fn damaged(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{what} was damaged on its way"))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::store::Store;

    fn hash(parts: &[&[u8]]) -> Bytes {
        let mut hash = Sha256::new();
        parts.iter().for_each(|part| hash.update(part));
        Bytes::copy_from_slice(&hash.finalize())
    }

    fn chunk(file: &str, data: &'static [u8], sha256: Bytes) -> RaftSnapshotChunk {
        RaftSnapshotChunk { file: file.to_owned(), data: data.into(), sha256, ..Default::default() }
    }

    /// Two files of three chunks, and the end.
    fn chunks() -> Vec<RaftSnapshotChunk> {
        let (one, two) = (hash(&[b"first", b"second"]), hash(&[b"third"]));
        let whole = hash(&[&one, &two]);
        vec![
            chunk("1", b"first", Bytes::new()),
            chunk("1", b"second", one),
            chunk("../2", b"third", two),
            chunk("", b"", whole),
        ]
    }

    async fn take(chunks: Vec<RaftSnapshotChunk>) -> Result<Vec<Vec<u8>>, io::ErrorKind> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let store =
            Store::open(folder.path()).expect("a fresh store opens").group(1).expect("a fresh group opens");
        let stream = tokio_stream::iter(chunks.into_iter().map(Ok));
        let files = receive(&store.shared, stream).await.map_err(|e| e.kind())?;
        Ok(files.paths().iter().map(|path| std::fs::read(path).expect("the file is there")).collect())
    }

    #[tokio::test]
    async fn whole_files_are_taken() {
        assert_eq!(take(chunks()).await, Ok(vec![b"firstsecond".to_vec(), b"third".to_vec()]));
    }

    #[tokio::test]
    async fn damage_is_noticed() {
        let (damaged, cut) = (Err(io::ErrorKind::InvalidData), Err(io::ErrorKind::UnexpectedEof));
        let mut changed = chunks();
        changed[0].data = Bytes::from_static(b"First");
        assert_eq!(take(changed).await, damaged);
        let mut mixed = chunks();
        mixed.swap(1, 2);
        assert_eq!(take(mixed).await, damaged);
        let mut lost = chunks();
        lost.remove(2);
        assert_eq!(take(lost).await, damaged);
        let mut short = chunks();
        short.pop();
        assert_eq!(take(short).await, cut);
        assert_eq!(take(Vec::new()).await, cut);
    }
}
