//! The data folder of a replica. Everything secret in it is readable by its owner alone.
//!
//! | file | content |
//! |---|---|
//! | `node.toml` | cluster, node id, name and address; written last: with it the folder is complete |
//! | `authority.pem`, `certificate.pem`, `key.pem` | whom the replica trusts, who it is |
//! | `key-encryption-key` | seals signing keys; the same on every replica |
//! | `state/` | `RocksDB`: log and state machine |
//! | `administrator.toml` | the first administrator's bundle, on the replica that founded the cluster |
//! | `cluster-root-key.pem` | there too: to be moved to a safe place off the machine |
//! | `founding` | present while a cluster is being founded |
//! | `joining` | present from the beginning of a join until `state/` is made |

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use revoq_consensus::Store;
use revoq_proto::client::Identity;
use revoq_proto::pem;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::error::Error;
use crate::seal::KeyEncryptionKey;

const NODE: &str = "node.toml";
const AUTHORITY: &str = "authority.pem";
const CERTIFICATE: &str = "certificate.pem";
const KEY: &str = "key.pem";
const KEY_ENCRYPTION_KEY: &str = "key-encryption-key";
const STATE: &str = "state";
const ADMINISTRATOR: &str = "administrator.toml";
const ROOT_KEY: &str = "cluster-root-key.pem";
const FOUNDING: &str = "founding";
const JOINING: &str = "joining";

/// Readable by its owner alone.
const PRIVATE: u32 = 0o600;
const PUBLIC: u32 = 0o644;

/// What a replica knows of itself before it has read any state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Member {
    pub(crate) cluster: String,
    pub(crate) node: u64,
    pub(crate) name: String,
    /// Where it listened at its first start: a drawn port is kept.
    pub(crate) listen: SocketAddr,
    /// Where others reach it.
    pub(crate) address: String,
}

/// The data folder.
#[derive(Clone, Debug)]
pub(crate) struct DataFolder {
    path: PathBuf,
}

impl DataFolder {
    /// Makes the folder where it does not exist.
    pub(crate) fn open(path: &Path) -> Result<DataFolder, Error> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(Error::file(path))?;
        let folder = DataFolder { path: path.to_owned() };
        folder.clear_unfinished()?;
        Ok(folder)
    }

    /// A cluster whose founding was cut short promised nothing to anybody: it is founded anew. A member without its
    /// state did promise: its votes, and that it keeps what it acknowledged.
    fn clear_unfinished(&self) -> Result<(), Error> {
        let complete = self.path.join(NODE).exists();
        if self.path.join(FOUNDING).exists() {
            if !complete && self.state().exists() {
                fs::remove_dir_all(self.state()).map_err(Error::file(self.state()))?;
            }
            if !complete {
                return Ok(());
            }
            self.remove(FOUNDING)?;
        }
        if !complete && self.state().exists() {
            let what = format!("the data folder {}", self.path.display());
            return Err(Error::corrupt(what, "there is state/ but no node.toml; restore it, or start empty"));
        }
        if complete && !self.is_joining() && !Store::is_in(self.state()) {
            return Err(Error::StateGone { path: self.state() });
        }
        Ok(())
    }

    /// Marks the beginning of a join, which [`DataFolder::settle`] ends.
    pub(crate) fn begin_joining(&self) -> Result<(), Error> {
        self.write(JOINING, PUBLIC, b"")
    }

    /// A join was begun here, and nothing was promised to anybody yet.
    pub(crate) fn is_joining(&self) -> bool {
        self.path.join(JOINING).exists()
    }

    /// The store is made: from now on a member without it has lost it.
    pub(crate) fn settle(&self) -> Result<(), Error> {
        if self.is_joining() { self.remove(JOINING) } else { Ok(()) }
    }

    /// Marks the beginning of a founding; [`DataFolder::complete`] ends it.
    pub(crate) fn begin_founding(&self) -> Result<(), Error> {
        self.write(FOUNDING, PUBLIC, b"")
    }

    /// From now on the folder belongs to this member.
    pub(crate) fn complete(&self, member: &Member) -> Result<(), Error> {
        let text = toml::to_string(member).map_err(|error| Error::corrupt(NODE, error))?;
        self.write(NODE, PUBLIC, text.as_bytes())?;
        self.remove(FOUNDING)
    }

    /// `None` where the folder is new.
    pub(crate) fn member(&self) -> Result<Option<Member>, Error> {
        if !self.path.join(NODE).exists() {
            return Ok(None);
        }
        let text = self.read(NODE)?;
        let member = toml::from_str(&text);
        member
            .map(Some)
            .map_err(|error| Error::corrupt(self.path.join(NODE).display().to_string(), error.message()))
    }

    pub(crate) fn write_identity(&self, identity: &Identity) -> Result<(), Error> {
        self.write(KEY, PRIVATE, identity.key_pem.as_bytes())?;
        self.write(CERTIFICATE, PRIVATE, identity.certificates_pem.as_bytes())?;
        self.write(AUTHORITY, PUBLIC, identity.authority_pem.as_bytes())
    }

    pub(crate) fn identity(&self) -> Result<Identity, Error> {
        Ok(Identity {
            certificates_pem: self.read(CERTIFICATE)?,
            key_pem: self.read(KEY)?,
            authority_pem: self.read(AUTHORITY)?,
        })
    }

    pub(crate) fn write_key_encryption_key(&self, key: &KeyEncryptionKey) -> Result<(), Error> {
        self.write(KEY_ENCRYPTION_KEY, PRIVATE, key.bytes())
    }

    pub(crate) fn key_encryption_key(&self) -> Result<KeyEncryptionKey, Error> {
        let path = self.path.join(KEY_ENCRYPTION_KEY);
        let bytes = Zeroizing::new(fs::read(&path).map_err(Error::file(&path))?);
        KeyEncryptionKey::from_bytes(&bytes)
            .map_err(|_| Error::corrupt(path.display().to_string(), "expected 32 bytes"))
    }

    /// The first administrator's bundle.
    pub(crate) fn write_administrator(&self, toml: &str) -> Result<(), Error> {
        self.write(ADMINISTRATOR, PRIVATE, toml.as_bytes())
    }

    pub(crate) fn administrator(&self) -> PathBuf {
        self.path.join(ADMINISTRATOR)
    }

    /// The root's key, which the operator takes away.
    pub(crate) fn write_root_key(&self, pkcs8: &[u8]) -> Result<(), Error> {
        let text = Zeroizing::new(pem::encode(pem::PRIVATE_KEY, pkcs8));
        self.write(ROOT_KEY, PRIVATE, text.as_bytes())
    }

    pub(crate) fn root_key(&self) -> PathBuf {
        self.path.join(ROOT_KEY)
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.path.join(STATE)
    }

    fn read(&self, name: &str) -> Result<String, Error> {
        let path = self.path.join(name);
        fs::read_to_string(&path).map_err(Error::file(&path))
    }

    /// Whole or not at all, and on disk when this returns.
    fn write(&self, name: &str, mode: u32, content: &[u8]) -> Result<(), Error> {
        let path = self.path.join(name);
        let temporary = self.path.join(format!("{name}.new"));
        let write = || {
            remove_if_there(&temporary)?;
            let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary)?;
            file.write_all(content)?;
            file.sync_all()?;
            fs::rename(&temporary, &path)?;
            File::open(&self.path)?.sync_all()
        };
        write().map_err(Error::file(&path))
    }

    fn remove(&self, name: &str) -> Result<(), Error> {
        let path = self.path.join(name);
        let remove = || {
            remove_if_there(&path)?;
            File::open(&self.path)?.sync_all()
        };
        remove().map_err(Error::file(&path))
    }
}

fn remove_if_there(path: &Path) -> std::io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn member() -> Member {
        let listen = "127.0.0.1:1".parse().expect("an address");
        Member { cluster: "c".into(), node: 3, name: "n".into(), listen, address: "h:1".into() }
    }

    #[test]
    fn secrets_are_private_and_read_back() -> Result<(), Box<dyn std::error::Error>> {
        let root = tempfile::tempdir()?;
        let path = root.path().join("a/b");
        let data = DataFolder::open(&path)?;
        assert_eq!(data.member()?, None);
        let key = KeyEncryptionKey::generate()?;
        let text = |text: &str| text.to_owned();
        let identity = Identity { certificates_pem: text("c"), key_pem: text("k"), authority_pem: text("a") };
        data.write_key_encryption_key(&key)?;
        data.write_identity(&identity)?;
        data.write_administrator("bundle")?;
        data.write_root_key(b"root")?;
        for name in [KEY, KEY_ENCRYPTION_KEY, ADMINISTRATOR, ROOT_KEY] {
            assert_eq!(fs::metadata(path.join(name))?.permissions().mode() & 0o777, PRIVATE, "{name}");
        }
        make_state(&data)?;
        data.complete(&member())?;
        let again = DataFolder::open(&path)?;
        assert_eq!(again.member()?, Some(member()));
        assert_eq!(again.identity()?, identity);
        assert_eq!(again.key_encryption_key()?.bytes(), key.bytes());
        Ok(())
    }

    /// As a store leaves it.
    fn make_state(data: &DataFolder) -> std::io::Result<()> {
        fs::create_dir_all(data.state().join("rocksdb"))?;
        fs::write(data.state().join("rocksdb/CURRENT"), "MANIFEST-000001\n")
    }

    #[test]
    fn only_an_unfinished_founding_is_cleared() -> Result<(), Box<dyn std::error::Error>> {
        let root = tempfile::tempdir()?;
        let data = DataFolder::open(root.path())?;
        data.begin_founding()?;
        fs::create_dir(data.state())?;
        let data = DataFolder::open(root.path())?;
        assert!(!data.state().exists(), "the founding begins anew");
        make_state(&data)?;
        data.complete(&member())?;
        // The founding was cut short between its last two steps.
        data.begin_founding()?;
        assert!(DataFolder::open(root.path())?.state().exists());
        assert!(!root.path().join(FOUNDING).exists());
        fs::remove_file(root.path().join(NODE))?;
        let error = DataFolder::open(root.path()).expect_err("state without its member").to_string();
        assert!(error.contains("no node.toml"), "{error}");
        assert!(data.state().exists(), "nothing is deleted");
        Ok(())
    }

    #[test]
    fn a_member_that_lost_its_state_is_refused() -> Result<(), Box<dyn std::error::Error>> {
        let root = tempfile::tempdir()?;
        let data = DataFolder::open(root.path())?;
        // A join may be cut short after each of its steps.
        data.begin_joining()?;
        assert!(DataFolder::open(root.path())?.is_joining());
        data.complete(&member())?;
        assert_eq!(DataFolder::open(root.path())?.member()?, Some(member()), "it has promised nothing yet");
        make_state(&data)?;
        DataFolder::open(root.path())?.settle()?;
        assert!(!DataFolder::open(root.path())?.is_joining());

        let refused = |wiped: &str| {
            let error = DataFolder::open(root.path()).expect_err(wiped);
            assert_eq!(error.exit_code(), 4, "{error}");
            let text = error.to_string();
            assert!(text.contains("forgotten its votes") && text.contains("cluster remove"), "{text}");
        };
        fs::remove_dir_all(data.state())?;
        refused("without the folder");
        refused("again");
        fs::create_dir_all(data.state().join("rocksdb"))?;
        refused("an empty folder");
        Ok(())
    }
}
