//! Documents: those that must be there, links inside them, and the two commands at the top of the README.

use revoq_credentials::settings::definitions;

use super::root;
use super::sources::{read, tracked};

const DOCUMENTS: &[&str] =
    &["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md", "LICENSE"];

#[test]
fn the_root_documents_are_there() {
    for document in DOCUMENTS {
        assert!(read(&root().join(document)).len() > 200, "{document} is missing or empty");
    }
}

#[test]
fn the_readme_shows_the_two_commands_first() {
    let readme = read(&root().join("README.md"));
    let code: Vec<&str> = readme.split("```").nth(1).expect("the README has a code block").lines().collect();
    assert!(code.iter().any(|line| line.starts_with("deploy/local/up")), "no deploy/local/up in {code:?}");
    assert!(code.iter().any(|line| line.starts_with("tests/run")), "no tests/run in {code:?}");
}

#[test]
fn links_between_documents_lead_somewhere() {
    for path in tracked(&[".md"]) {
        let folder = path.parent().expect("a file has a folder");
        for link in read(&path).split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let target = link.split('#').next().unwrap_or_default();
            if target.is_empty() || target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            assert!(folder.join(target).exists(), "{}: {link} leads nowhere", path.display());
        }
    }
}

#[test]
fn each_crate_stands_in_the_architecture_document() {
    let architecture = read(&root().join("ARCHITECTURE.md"));
    for manifest in tracked(&["Cargo.toml"]) {
        let folder = manifest.parent().expect("a file has a folder");
        let folder =
            folder.strip_prefix(root()).expect("tracked files are below the root").display().to_string();
        assert!(architecture.contains(&folder), "ARCHITECTURE.md does not mention {folder}");
    }
}

#[test]
fn each_setting_stands_in_the_configuration_document() {
    let document = read(&root().join("deploy/CONFIGURATION.md"));
    let control = read(&root().join("control-plane/control/src/config/layers.rs"));
    let listed = control.split_once("const KEYS").and_then(|(_, rest)| rest.split_once("];"));
    let (listed, _) = listed.expect("the replica's keys are a list");
    let mut keys: Vec<String> = revoq_broker::Config::keys().map(str::to_owned).collect();
    keys.extend(quoted(listed).map(str::to_owned));
    keys.extend(definitions().iter().map(|definition| definition.key.to_owned()));
    keys.retain(|key| !document.contains(&format!("`{key}`")));
    assert!(keys.is_empty(), "deploy/CONFIGURATION.md does not mention {keys:?}");
}

/// What stands between quotation marks.
fn quoted(source: &str) -> impl Iterator<Item = &str> {
    source.split('"').skip(1).step_by(2)
}
