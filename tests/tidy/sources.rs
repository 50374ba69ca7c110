//! Sizes of files and functions, and leftovers.

use std::path::{Path, PathBuf};
use std::process::Command;

use syn::spanned::Spanned;
use syn::visit::Visit;

const FILE_LINES_MAX: usize = 400;
const FUNCTION_LINES_MAX: usize = 70;

/// The files that git tracks or would track, with one of these endings.
pub(crate) fn tracked(endings: &[&str]) -> Vec<PathBuf> {
    let root = super::root();
    let output = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(&root)
        .output()
        .expect("git lists the files");
    assert!(output.status.success(), "git ls-files: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout)
        .expect("names are UTF-8")
        .lines()
        .filter(|name| endings.iter().any(|ending| name.ends_with(ending)))
        .map(|name| root.join(name))
        .filter(|path| path.is_file())
        .collect()
}

pub(crate) fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn files_are_small() {
    let large: Vec<String> = tracked(&[".rs", ".sh", "run", "up"])
        .iter()
        .map(|path| (path, read(path).lines().count()))
        .filter(|(_, lines)| *lines > FILE_LINES_MAX)
        .map(|(path, lines)| format!("{}: {lines} lines", path.display()))
        .collect();
    assert!(large.is_empty(), "over {FILE_LINES_MAX} lines:\n{}", large.join("\n"));
}

struct Functions<'a> {
    path: &'a Path,
    long: Vec<String>,
}

impl Functions<'_> {
    fn measure(&mut self, name: &syn::Ident, item: &impl Spanned) {
        let span = item.span();
        let lines = span.end().line - span.start().line + 1;
        if lines > FUNCTION_LINES_MAX {
            self.long.push(format!("{}: {name}: {lines} lines", self.path.display()));
        }
    }
}

impl<'ast> Visit<'ast> for Functions<'_> {
    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.measure(&item.sig.ident, &item.block);
        syn::visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.measure(&item.sig.ident, &item.block);
        syn::visit::visit_impl_item_fn(self, item);
    }
}

#[test]
fn functions_are_short() {
    let mut long = Vec::new();
    for path in tracked(&[".rs"]) {
        let parsed =
            syn::parse_file(&read(&path)).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let mut functions = Functions { path: &path, long: Vec::new() };
        functions.visit_file(&parsed);
        long.append(&mut functions.long);
    }
    assert!(long.is_empty(), "over {FUNCTION_LINES_MAX} lines:\n{}", long.join("\n"));
}

#[test]
fn nothing_is_left_over() {
    // Spelt apart, so that this file does not find itself.
    let leftovers = [
        concat!("FIX", "ME"),
        concat!("TO", "DO"),
        concat!("todo", "!("),
        concat!("unimplemented", "!("),
        concat!("#[ig", "nore"),
    ];
    for path in tracked(&[".rs", ".proto", ".sh", ".toml", "run", "up"]) {
        for (number, line) in read(&path).lines().enumerate() {
            for leftover in leftovers {
                assert!(!line.contains(leftover), "{}:{}: {leftover}", path.display(), number + 1);
            }
        }
    }
}

/// A run must follow from its seed alone; only what counts seeds a second may look at a clock.
#[test]
fn the_simulation_knows_no_input_and_output() {
    let beyond =
        ["tokio", "std::thread", "std::net", "std::fs", "HashMap", "HashSet", "SystemTime", "Instant::now"];
    let simulation = super::root().join("tests/simulation");
    let files: Vec<PathBuf> =
        tracked(&[".rs"]).into_iter().filter(|path| path.starts_with(&simulation)).collect();
    assert!(files.len() > 20, "{files:?}");
    for path in files.iter().filter(|path| !path.ends_with("seeds.rs")) {
        let text = read(path);
        let found = beyond.iter().find(|used| text.contains(**used));
        assert!(found.is_none(), "{}: {found:?}", path.display());
    }
}

#[test]
fn every_module_file_is_used() {
    for path in tracked(&[".rs"]) {
        let name = path.file_stem().and_then(|stem| stem.to_str()).expect("names are UTF-8").to_owned();
        if ["lib", "main", "mod", "build"].contains(&name.as_str()) {
            continue;
        }
        let folder = path.parent().expect("a file has a folder");
        // Binaries, integration tests, benches and examples are roots of their own.
        if ["bin", "tests", "benches", "examples"].iter().any(|root| folder.ends_with(root)) {
            continue;
        }
        let parents = ["lib.rs", "main.rs", "mod.rs"].map(|file| folder.join(file));
        let beside = folder.with_extension("rs");
        let declared = parents.iter().chain([&beside]).filter(|file| file.is_file()).any(|file| {
            let text = read(file);
            text.lines().any(|line| line.trim_end().ends_with(&format!("mod {name};")))
        });
        assert!(declared, "{}: no module declares it", path.display());
    }
}
