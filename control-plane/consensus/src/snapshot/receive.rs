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
