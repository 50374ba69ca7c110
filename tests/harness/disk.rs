//! A disk that can be filled: a tmpfs of its own.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

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

    /// Fills what is free, but for `left` bytes, with a file that is not the processes'.
    pub fn fill(&self, left: u64) -> Result<()> {
        let space = rustix::fs::statvfs(&self.path)?;
        let free = space.f_bavail * space.f_frsize;
        ensure!(free > left, "only {free} bytes are free");
        let mut file = std::fs::File::create(self.ballast())?;
        let block = vec![0; 64 * 1024];
        let mut rest = free - left;
        while rest > 0 {
            let count = usize::try_from(rest).unwrap_or(usize::MAX).min(block.len());
            file.write_all(&block[..count])?;
            rest -= count as u64;
        }
        Ok(())
    }

    /// Frees what [`SmallDisk::fill`] took.
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
