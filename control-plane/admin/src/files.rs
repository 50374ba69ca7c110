//! Files: certificates in, certificates and keys out.
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use crate::error::Error;

/// Larger files are no certificate, CSR or bundle.
const FILE_SIZE_MAX: u64 = 1 << 20;
/// Readable by their owner alone: keys.
pub const PRIVATE: u32 = 0o600;
/// Readable by all: certificates.
pub const PUBLIC: u32 = 0o644;

/// The content of a small file; `-` is standard input.
///
/// # Errors
/// [`Error::File`], also for one that is too large.
pub fn read(path: &Path) -> Result<Vec<u8>, Error> {
    use std::io::Read as _;
    let mut content = Vec::new();
    let limit = FILE_SIZE_MAX + 1;
    let taken = if path == Path::new("-") {
        std::io::stdin().lock().take(limit).read_to_end(&mut content)
    } else {
        fs::File::open(path).and_then(|file| file.take(limit).read_to_end(&mut content))
    };
    let length = taken.map_err(Error::file("read", path))?;
    if length as u64 > FILE_SIZE_MAX {
        let reason = std::io::Error::other("larger than 1 MiB: this is no certificate, CSR or bundle");
        return Err(Error::file("read", path)(reason));
    }
    Ok(content)
}

/// As [`read`], for text.
///
/// # Errors
/// [`Error::File`], also for what is not UTF-8.
pub fn read_text(path: &Path) -> Result<String, Error> {
    String::from_utf8(read(path)?)
        .map_err(|e| Error::file("read", path)(std::io::Error::other(e.utf8_error())))
}

/// Writes a new file; one that exists is replaced only with `replace`. The mode is set before the content.
///
/// # Errors
/// [`Error::File`].
pub fn write(path: &Path, content: &str, mode: u32, replace: bool) -> Result<(), Error> {
    if replace {
        return write_atomically(path, content, mode);
    }
    let mut options = fs::OpenOptions::new();
    let opened = options.write(true).create_new(true).mode(mode).open(path);
    opened.and_then(|mut file| file.write_all(content.as_bytes())).map_err(Error::file("write", path))
}

/// Through a file beside it, so that a crash leaves the old content or the new one.
fn write_atomically(path: &Path, content: &str, mode: u32) -> Result<(), Error> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let beside = path.with_file_name(format!(".{name}.{}", std::process::id()));
    let _ = fs::remove_file(&beside);
    write(&beside, content, mode, false)?;
    fs::rename(&beside, path).map_err(Error::file("write", path))
}

/// Makes a folder that only its owner reads, with its parents.
///
/// # Errors
/// [`Error::File`].
pub fn make_private_folder(path: &Path) -> Result<(), Error> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(Error::file("create", path))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn modes_and_collisions() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("a/key.pem");
        make_private_folder(path.parent().expect("it has one")).expect("made");
        write(&path, "one", PRIVATE, false).expect("new");
        let error = write(&path, "two", PRIVATE, false).expect_err("exists").to_string();
        assert!(error.contains("key.pem"), "{error}");
        assert_eq!(read_text(&path).expect("readable"), "one");
        write(&path, "two", PRIVATE, true).expect("replaced");
        assert_eq!(read_text(&path).expect("readable"), "two");
        let mode = fs::metadata(&path).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, PRIVATE);
        assert_eq!(
            fs::read_dir(folder.path().join("a")).expect("listed").count(),
            1,
            "nothing is left beside"
        );
    }

    #[test]
    fn large_files_are_refused() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("large");
        fs::write(&path, vec![b'x'; 1 + (1 << 20)]).expect("written");
        assert!(read(&path).expect_err("too large").to_string().contains("larger than 1 MiB"));
    }
}
