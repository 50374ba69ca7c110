//! A disk that can be filled: a tmpfs of its own.

use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use tokio::time::sleep;

const FILL_EVERY: Duration = Duration::from_millis(100);

/// A small file system mounted on a folder, until dropped.
pub struct SmallDisk {
    path: PathBuf,
}

impl SmallDisk {
    /// Mounts it. `None`, with a word on standard error, where the right for that is missing.
    pub fn mount(path: &Path, bytes: u64) -> Result<Option<SmallDisk>> {
        let options = std::ffi::CString::new(format!("size={bytes},mode=0700"))?;
        match mount("revoq-tests", path, "tmpfs", MountFlags::empty(), &*options) {
            Ok(()) => Ok(Some(SmallDisk { path: path.to_owned() })),
            Err(rustix::io::Errno::PERM) => {
                eprintln!("no small disk: only root can mount one");
                Ok(None)
            }
            Err(error) => Err(error).with_context(|| format!("mounting on {}", path.display())),
        }
    }

    /// Fills what is free with a file that is not the processes'.
    fn fill(&self) -> Result<()> {
        let space = rustix::fs::statvfs(&self.path)?;
        let mut file = std::fs::File::options().append(true).create(true).open(self.ballast())?;
        let block = vec![0; 64 * 1024];
        let mut rest = space.f_bavail * space.f_frsize;
        while rest > 0 {
            let count = usize::try_from(rest).unwrap_or(usize::MAX).min(block.len());
            match file.write_all(&block[..count]) {
                // Somebody else took it.
                Err(error) if error.kind() == ErrorKind::StorageFull => break,
                written => written?,
            }
            rest -= count as u64;
        }
        Ok(())
    }

    /// Fills it again and again: a process may have reserved what it gives back. Returns only if that fails.
    pub async fn keep_full(&self) -> anyhow::Error {
        loop {
            if let Err(error) = self.fill() {
                return error;
            }
            sleep(FILL_EVERY).await;
        }
    }

    /// Frees what [`SmallDisk::keep_full`] took.
    pub fn free(&self) -> Result<()> {
        Ok(std::fs::remove_file(self.ballast())?)
    }

    fn ballast(&self) -> PathBuf {
        self.path.join("ballast")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // A process that was just killed may hold it for a moment: it goes when nobody does.
        if let Err(error) = unmount(&self.path, UnmountFlags::DETACH) {
            eprintln!("{} stays mounted: {error}", self.path.display());
        }
    }
}
