//! Dependency edges between our crates, and from our crates to the libraries that only some may know.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand};

/// Which of our crates each may use. No other edge exists. `everything` stands for the outermost two.
const EDGES: &[(&str, &[&str])] = &[
    ("revoq-mqtt", &[]),
    ("revoq-session", &["revoq-mqtt"]),
    ("revoq-routing", &["revoq-mqtt"]),
    ("revoq-credentials", &["revoq-mqtt"]),
    ("revoq-lease", &["revoq-credentials"]),
    ("revoq-proto", &["revoq-credentials"]),
    ("revoq-consensus", &["revoq-credentials", "revoq-proto"]),
    ("revoq-control", &["revoq-consensus", "revoq-credentials", "revoq-lease", "revoq-proto"]),
    ("revoq-admin", &["revoq-credentials", "revoq-proto"]),
    (
        "revoq-broker",
        &["revoq-credentials", "revoq-lease", "revoq-mqtt", "revoq-proto", "revoq-routing", "revoq-session"],
    ),
    ("revoq-local", &["revoq-broker", "revoq-control"]),
];

/// The outermost crates: they may use everything, and nothing uses them.
const OUTERMOST: &[&str] = &["revoq-benches", "revoq-tests"];

/// Libraries that only the named crates may use (the outermost ones aside).
const CONFINED: &[(&str, &[&str])] = &[
    ("openraft", &["revoq-consensus"]),
    ("rocksdb", &["revoq-consensus"]),
    ("rustls", &["revoq-broker", "revoq-control"]),
    ("tokio-rustls", &["revoq-broker", "revoq-control"]),
    ("quinn", &["revoq-broker", "revoq-control"]),
    ("tokio-tungstenite", &["revoq-broker"]),
    ("tungstenite", &["revoq-broker"]),
];

/// Crates without sockets, files, threads, clocks and randomness, and what they must therefore not use.
const SANS_IO: &[&str] =
    &["revoq-credentials", "revoq-lease", "revoq-mqtt", "revoq-routing", "revoq-session"];
const NOT_SANS_IO: &[&str] =
    &["futures-util", "mio", "rand", "rustix", "socket2", "tokio", "tokio-util", "tonic"];

/// What must be nowhere in the graph.
const BANNED: &[&str] = &["native-tls", "openssl", "openssl-sys", "ring"];

fn metadata() -> Metadata {
    MetadataCommand::new()
        .manifest_path(super::root().join("Cargo.toml"))
        .other_options(vec!["--locked".into(), "--filter-platform".into(), "x86_64-unknown-linux-gnu".into()])
        .exec()
        .expect("cargo metadata reads the workspace")
}

/// Crate name to the names that it depends on, outside of tests and build scripts.
fn dependencies(metadata: &Metadata) -> BTreeMap<String, BTreeSet<String>> {
    metadata
        .workspace_packages()
        .into_iter()
        .map(|package| {
            let uses = package
                .dependencies
                .iter()
                .filter(|dependency| dependency.kind == DependencyKind::Normal)
                .map(|dependency| dependency.name.clone())
                .collect();
            (package.name.to_string(), uses)
        })
        .collect()
}

#[test]
fn our_crates_use_each_other_only_along_the_edges() {
    for (name, uses) in dependencies(&metadata()) {
        let ours = uses.iter().filter(|used| used.starts_with("revoq-"));
        if OUTERMOST.contains(&name.as_str()) {
            continue;
        }
        let allowed = EDGES.iter().find(|(of, _)| *of == name).map(|(_, allowed)| *allowed);
        let allowed = allowed.unwrap_or_else(|| panic!("{name}: give it a row in EDGES"));
        for used in ours {
            assert!(allowed.contains(&used.as_str()), "{name} may not use {used}");
        }
    }
}

#[test]
fn libraries_stay_where_they_belong() {
    for (name, uses) in dependencies(&metadata()) {
        if OUTERMOST.contains(&name.as_str()) {
            continue;
        }
        for (library, allowed) in CONFINED {
            assert!(
                !uses.contains(*library) || allowed.contains(&name.as_str()),
                "{name} may not use {library}: only {allowed:?} may"
            );
        }
    }
}

#[test]
fn sans_io_crates_know_no_input_and_output() {
    let dependencies = dependencies(&metadata());
    for name in SANS_IO {
        for used in NOT_SANS_IO {
            assert!(!dependencies[*name].contains(*used), "{name} is sans-IO and may not use {used}");
        }
    }
    let fence = |name: &str| {
        let control_plane = ["revoq-credentials", "revoq-lease"];
        let folder = if control_plane.contains(&name) { "control-plane" } else { "broker-node" };
        let file = super::root().join(folder).join(&name["revoq-".len()..]).join("clippy.toml");
        std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
    };
    let expected = fence(SANS_IO[0]);
    for used in ["Instant::now", "SystemTime::now", "std::net", "std::fs", "std::thread"] {
        assert!(expected.contains(used), "clippy.toml of sans-IO crates does not forbid {used}");
    }
    for name in SANS_IO {
        assert_eq!(fence(name), expected, "{name}: its clippy.toml differs from that of {}", SANS_IO[0]);
    }
}

/// What is compiled, with the features that are on; `cargo metadata` lists what is switched off too.
#[test]
fn one_cryptographic_library_and_no_banned_one() {
    let output = Command::new(env!("CARGO"))
        .args([
            "tree",
            "--locked",
            "--workspace",
            "--edges",
            "normal,build,dev",
            "--prefix",
            "none",
            "--format",
            "{p}",
        ])
        .current_dir(super::root())
        .output()
        .expect("cargo lists the graph");
    assert!(output.status.success(), "cargo tree: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("names are UTF-8");
    let packages: BTreeSet<&str> = text.lines().filter_map(|line| line.split(' ').next()).collect();
    assert!(packages.contains("aws-lc-rs"), "the graph was not read: {packages:?}");
    for banned in BANNED {
        assert!(!packages.contains(banned), "{banned} is in the graph: cargo tree -i {banned}");
    }
}

#[test]
fn everything_comes_from_the_registry() {
    for package in metadata().packages {
        let Some(source) = package.source else { continue };
        assert!(source.repr.starts_with("registry+"), "{} comes from {source}", package.name);
    }
}
