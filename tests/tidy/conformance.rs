//! Conformance by number: each normative statement of both standards has an entry in `tests/conformance/statements.txt`, each
//! entry says what proves it or why nothing does, each test that it names is there, and each case proves a statement.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use proc_macro2::TokenTree;
use syn::visit::Visit;

use super::root;
use super::sources::{read, tracked};

/// Section, and how many statements it has, in the order of appendix B. One section of MQTT 5.0 begins with 2.
type Sections = &'static [(&'static str, u32)];

/// OASIS standard of 29 October 2014. It prints two numbers as 3.1.2.7 and 3-8.3-4: they are 3.1.2-7 and 3.8.3-4 here.
#[rustfmt::skip]
const V311: Sections = &[
    ("1.5.3", 3), ("2.2.2", 2), ("2.3.1", 7), ("3.1.0", 2), ("3.1.2", 24), ("3.1.3", 11), ("3.1.4", 5), ("3.2.0", 1),
    ("3.2.2", 6), ("3.3.1", 12), ("3.3.2", 3), ("3.3.4", 1), ("3.3.5", 2), ("3.6.1", 1), ("3.8.1", 1), ("3.8.3", 4),
    ("3.8.4", 6), ("3.9.3", 2), ("3.10.1", 1), ("3.10.3", 2), ("3.10.4", 6), ("3.12.4", 1), ("3.14.1", 1),
    ("3.14.4", 3), ("4.1.0", 2), ("4.3.1", 1), ("4.3.2", 2), ("4.3.3", 2), ("4.4.0", 1), ("4.5.0", 2), ("4.6.0", 6),
    ("4.7.1", 3), ("4.7.2", 1), ("4.7.3", 4), ("4.8.0", 2), ("6.0.0", 4), ("7.0.0", 2), ("7.1.1", 1), ("7.1.2", 1),
];
const V311_TOTAL: usize = 141;

/// OASIS standard of 7 March 2019.
#[rustfmt::skip]
const V5: Sections = &[
    ("1.5.4", 3), ("1.5.5", 1), ("1.5.7", 1), ("2.1.3", 1), ("2.2.1", 6), ("2.2.2", 1), ("3.1.0", 2), ("3.1.2", 30),
    ("3.1.3", 12), ("3.1.4", 6), ("3.2.0", 2), ("3.2.2", 22), ("3.3.1", 13), ("3.3.2", 20), ("3.3.4", 10), ("3.4.2", 3),
    ("3.5.2", 3), ("3.6.1", 1), ("3.6.2", 3), ("3.7.2", 3), ("3.8.1", 1), ("3.8.3", 5), ("3.8.4", 8), ("3.9.2", 2),
    ("3.9.3", 2), ("3.10.1", 1), ("3.10.3", 2), ("3.10.4", 6), ("3.11.2", 2), ("3.11.3", 2), ("3.12.4", 1),
    ("3.14.0", 1), ("3.14.1", 1), ("3.14.2", 4), ("3.14.4", 3), ("3.15.1", 1), ("3.15.2", 3), ("4.1.0", 2),
    ("4.2.0", 1), ("4.3.1", 1), ("4.3.2", 5), ("4.3.3", 13), ("4.4.0", 2), ("4.5.0", 2), ("4.6.0", 6), ("4.7.0", 1),
    ("4.7.1", 2), ("4.7.2", 1), ("4.7.3", 4), ("4.8.2", 6), ("4.9.0", 3), ("4.12.0", 7), ("4.12.1", 2), ("4.13.1", 1),
    ("4.13.2", 1), ("6.0.0", 4),
];
const V5_TOTAL: usize = 251;
/// Its number is not given to any statement.
const V5_NOT_GIVEN: &str = "2.2.1-1";

/// What an entry says that is no test.
const CLIENT_ONLY: &str = "client only";
const EXCUSE: &str = "excuse: ";
/// A written excuse says something.
const EXCUSE_LENGTH_MIN: usize = 20;

struct Entry {
    line: usize,
    number: String,
    text: String,
    proof: String,
}

impl Entry {
    fn tests(&self) -> impl Iterator<Item = &str> {
        let excused = self.proof == CLIENT_ONLY || self.proof.starts_with(EXCUSE);
        self.proof.split(' ').filter(move |_| !excused)
    }
}

/// The entries of each standard, by its heading.
fn entries(text: &str) -> BTreeMap<String, Vec<Entry>> {
    let mut all: BTreeMap<String, Vec<Entry>> = BTreeMap::new();
    let mut standard = String::new();
    for (line, content) in text.lines().enumerate().map(|(line, content)| (line + 1, content.trim())) {
        if content.is_empty() || content.starts_with('#') {
            continue;
        }
        if let Some(heading) = content.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            standard = heading.to_owned();
            continue;
        }
        let mut fields = content.split(" | ").map(str::to_owned);
        let (Some(number), Some(text), Some(proof), None) =
            (fields.next(), fields.next(), fields.next(), fields.next())
        else {
            panic!("statements.txt:{line}: expected number | text | proof");
        };
        all.entry(standard.clone()).or_default().push(Entry { line, number, text, proof });
    }
    all
}

fn statements() -> BTreeMap<String, Vec<Entry>> {
    entries(&read(&root().join("tests/conformance/statements.txt")))
}

fn numbers(sections: Sections, not_given: &str) -> Vec<String> {
    let all =
        sections.iter().flat_map(|(section, count)| (1..=*count).map(move |n| format!("{section}-{n}")));
    all.filter(|number| number != not_given).collect()
}

#[test]
fn each_statement_of_both_standards_has_an_entry() {
    let all = statements();
    for (standard, expected, total) in
        [("MQTT 3.1.1", numbers(V311, ""), V311_TOTAL), ("MQTT 5.0", numbers(V5, V5_NOT_GIVEN), V5_TOTAL)]
    {
        assert_eq!(expected.len(), total, "{standard} has so many statements");
        let found: Vec<&str> = all[standard].iter().map(|entry| &*entry.number).collect();
        let missing: Vec<_> = expected.iter().filter(|number| !found.contains(&&***number)).collect();
        assert!(missing.is_empty(), "{standard}: no entry for {missing:?}");
        assert_eq!(found, expected, "{standard}: each number once, in order, and no other");
    }
}

#[test]
fn each_statement_is_proven_or_excused() {
    for entry in statements().values().flatten() {
        let place = format!("statements.txt:{}: {}", entry.line, entry.number);
        assert!(!entry.text.is_empty() && !entry.proof.is_empty(), "{place}: text and proof are given");
        if let Some(excuse) = entry.proof.strip_prefix(EXCUSE) {
            assert!(excuse.len() >= EXCUSE_LENGTH_MIN, "{place}: say why in {excuse:?}");
        } else if entry.proof != CLIENT_ONLY {
            let wrong = entry.tests().find(|test| !test.contains("::"));
            assert!(
                wrong.is_none(),
                "{place}: neither a test, nor {CLIENT_ONLY:?}, nor an excuse: {wrong:?}"
            );
        }
    }
}

/// The cases of `tests/conformance`: what stands in `cases!(…)`, as `module::case`.
fn cases() -> BTreeSet<String> {
    let folder = root().join("tests/conformance");
    let mut all = BTreeSet::new();
    for path in tracked(&[".rs"]).iter().filter(|path| path.starts_with(&folder)) {
        let module = path.strip_prefix(&folder).expect("it is in there").with_extension("");
        let module = module.to_str().expect("names are UTF-8").replace('/', "::");
        for item in syn::parse_file(&read(path)).expect("it parses").items {
            let syn::Item::Macro(item) = item else { continue };
            if item.mac.path.segments.last().is_some_and(|last| last.ident == "cases") {
                for token in item.mac.tokens {
                    if let TokenTree::Ident(case) = token {
                        all.insert(format!("{module}::{case}"));
                    }
                }
            }
        }
    }
    all
}

/// Whether a source has a function of that name with a `test` attribute.
fn has_test(path: &Path, name: &str) -> bool {
    struct Tests<'a> {
        name: &'a str,
        found: bool,
    }
    impl<'ast> Visit<'ast> for Tests<'_> {
        fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
            let is_test = |attribute: &syn::Attribute| {
                attribute.path().segments.last().is_some_and(|last| last.ident == "test")
            };
            self.found |= item.sig.ident == self.name && item.attrs.iter().any(is_test);
        }
    }
    let mut tests = Tests { name, found: false };
    tests.visit_file(&syn::parse_file(&read(path)).expect("it parses"));
    tests.found
}

#[test]
fn each_test_that_a_statement_names_is_there() {
    let cases = cases();
    assert!(cases.len() > 100, "the cases were not found: {cases:?}");
    let unknown = |test: &str| match test.split_once(".rs::") {
        Some((file, name)) => {
            let path = root().join(format!("{file}.rs"));
            !path.is_file() || !has_test(&path, name)
        }
        None => !cases.contains(test),
    };
    for entry in statements().values().flatten() {
        let wrong: Vec<&str> = entry.tests().filter(|test| unknown(test)).collect();
        assert!(wrong.is_empty(), "statements.txt:{}: {}: no such test: {wrong:?}", entry.line, entry.number);
    }
}

#[test]
fn each_case_proves_a_statement() {
    let all = statements();
    let named: BTreeSet<&str> = all.values().flatten().flat_map(Entry::tests).collect();
    let idle: Vec<String> = cases().into_iter().filter(|case| !named.contains(&**case)).collect();
    assert!(idle.is_empty(), "no statement names {idle:?}");
}
