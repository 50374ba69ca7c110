//! The contexts file: named bundles, one of them current. It holds private keys, so only its owner reads it.
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use revoq_proto::context::Bundle;
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::files;

/// Below the home folder.
const DEFAULT_PATH: &str = ".config/revoq/contexts.toml";

/// What the file holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contexts {
    /// Used where no context is named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current: Option<String>,
    /// By name.
    #[serde(default)]
    pub contexts: BTreeMap<String, Bundle>,
}

/// Where the contexts file is: as given, or in the home folder.
///
/// # Errors
/// [`Error::Context`] where there is no home folder.
pub fn path(given: Option<&Path>, home: Option<&Path>) -> Result<PathBuf, Error> {
    match (given, home) {
        (Some(path), _) => Ok(path.to_owned()),
        (None, Some(home)) => Ok(home.join(DEFAULT_PATH)),
        (None, None) => Err(Error::Context {
            place: "contexts file".to_owned(),
            reason: "$HOME is not set".to_owned(),
            remedy: "set $REVOQ_CONFIG to the path of the contexts file".to_owned(),
        }),
    }
}

impl Contexts {
    /// Reads the file; none is an empty one.
    ///
    /// # Errors
    /// [`Error::File`] or [`Error::Context`].
    pub fn load(path: &Path) -> Result<Contexts, Error> {
        if !path.exists() {
            return Ok(Contexts::default());
        }
        toml::from_str(&files::read_text(path)?).map_err(|error| Error::Context {
            place: path.display().to_string(),
            reason: error.message().to_owned(),
            remedy: "correct the file, or move it away and add the contexts again: `revoqctl context add`"
                .to_owned(),
        })
    }

    /// Writes the file and its folder.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn save(&self, path: &Path) -> Result<(), Error> {
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            files::make_private_folder(folder)?;
        }
        let text = toml::to_string_pretty(self).expect("strings, lists and tables are TOML");
        files::write(path, &text, files::PRIVATE, true)
    }

    /// The bundle of a name.
    ///
    /// # Errors
    /// [`Error::Context`] naming those that there are.
    pub fn named(&self, name: &str) -> Result<&Bundle, Error> {
        self.contexts.get(name).ok_or_else(|| {
            let names: Vec<&str> = self.contexts.keys().map(String::as_str).collect();
            let known = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
            Error::Context {
                place: format!("context {name:?}"),
                reason: format!("there is no context and no bundle file of this name; contexts: {known}"),
                remedy: "`revoqctl context add NAME BUNDLE` adds one, `--context path/to/administrator.toml` uses a \
                         bundle as it is"
                    .to_owned(),
            }
        })
    }
}

/// A context by its name, or a bundle file by its path; without a choice the current context.
///
/// # Errors
/// [`Error::Context`], [`Error::File`] or what is wrong with the bundle.
pub fn resolve(choice: Option<&str>, path: &Path) -> Result<(String, Bundle), Error> {
    let Some(choice) = choice else {
        let contexts = Contexts::load(path)?;
        let name = contexts.current.clone().ok_or_else(none_current)?;
        let bundle = contexts.named(&name)?.clone();
        return checked(name, bundle);
    };
    let looks_like_path = choice.contains('/') || choice.ends_with(".toml");
    if !looks_like_path {
        let contexts = Contexts::load(path)?;
        if contexts.contexts.contains_key(choice) || !Path::new(choice).is_file() {
            return checked(choice.to_owned(), contexts.named(choice)?.clone());
        }
    }
    let bundle = read_bundle(Path::new(choice))?;
    Ok((choice.to_owned(), bundle))
}

/// A bundle file.
///
/// # Errors
/// [`Error::File`], or [`Error::Context`] with what is wrong in it.
pub fn read_bundle(path: &Path) -> Result<Bundle, Error> {
    let text = files::read_text(path)?;
    Bundle::parse(&text).map_err(|error| unusable(path.display().to_string(), &error))
}

fn checked(name: String, bundle: Bundle) -> Result<(String, Bundle), Error> {
    bundle.check().map_err(|error| unusable(format!("context {name:?}"), &error))?;
    Ok((name, bundle))
}

fn unusable(place: String, error: &revoq_proto::Error) -> Error {
    Error::Context {
        place,
        reason: error.to_string(),
        remedy: "the bundle that `revoq-control` writes at its first start (administrator.toml), or one of \
                 `revoqctl administrator issue`, is what is needed"
            .to_owned(),
    }
}

fn none_current() -> Error {
    Error::Context {
        place: "context".to_owned(),
        reason: "no context is chosen".to_owned(),
        remedy: "`revoqctl context add NAME path/to/administrator.toml`, or give --context NAME|FILE"
            .to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use revoq_proto::pem;

    use super::*;

    fn bundle(cluster: &str) -> Bundle {
        Bundle {
            cluster: cluster.to_owned(),
            endpoints: vec!["127.0.0.1:9440".to_owned()],
            authority: pem::encode(pem::CERTIFICATE, &[0x30, 1]),
            certificate: pem::encode(pem::CERTIFICATE, &[0x30, 2]),
            key: pem::encode(pem::PRIVATE_KEY, &[0x30, 3]),
        }
    }

    #[test]
    fn by_name_by_file_and_by_default() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("deep/contexts.toml");
        let contexts = Contexts {
            current: Some("north".to_owned()),
            contexts: [("north", bundle("N")), ("south", bundle("S"))].map(|(n, b)| (n.to_owned(), b)).into(),
        };
        contexts.save(&path).expect("saved");
        assert_eq!(Contexts::load(&path).expect("own output"), contexts);

        let file = folder.path().join("administrator.toml");
        std::fs::write(&file, bundle("F").to_toml()).expect("written");
        let cluster = |choice: Option<&str>| resolve(choice, &path).map(|(_, bundle)| bundle.cluster);
        assert_eq!(cluster(None).expect("current"), "N");
        assert_eq!(cluster(Some("south")).expect("named"), "S");
        assert_eq!(cluster(file.to_str()).expect("file"), "F");
        let error = cluster(Some("east")).expect_err("unknown").to_string();
        assert!(error.contains("contexts: north, south"), "{error}");
    }

    #[test]
    fn nothing_chosen_and_broken_files() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("contexts.toml");
        let error = resolve(None, &path).expect_err("no context");
        assert!(error.remedy().expect("a remedy").contains("context add"));
        std::fs::write(&path, "current = 7").expect("written");
        let error = resolve(None, &path).expect_err("not a string").to_string();
        assert!(error.contains("contexts.toml"), "{error}");
        std::fs::write(&path, "cluster = 'x'").expect("written");
        let error = resolve(path.to_str(), &path).expect_err("not a bundle").to_string();
        assert!(error.contains("not an administrator bundle"), "{error}");
    }

    #[test]
    fn where_the_file_is() {
        let (home, given) = (Path::new("/home/a"), Path::new("/etc/c.toml"));
        assert_eq!(path(None, Some(home)).expect("home"), Path::new("/home/a/.config/revoq/contexts.toml"));
        assert_eq!(path(Some(given), Some(home)).expect("given"), given);
        assert!(path(None, None).is_err());
    }
}
