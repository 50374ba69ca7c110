//! The fuzz targets without libFuzzer: each corpus is replayed, and then mutated by a seed for some seconds, with
//! `REVOQ_LONG` for an hour each.
//!
//! `REVOQ_FUZZ_SECONDS` and `REVOQ_FUZZ_SEED` say otherwise. An input that breaks a promise is shown in hexadecimal and left
//! in `target/fuzz`: mend the code, and add the input to the corpus. With `REVOQ_FUZZ_GROW` inputs that lead to
//! something new are added to the corpus, as far as it may grow.

mod mutate;
mod targets;

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use mutate::Mutator;
use targets::Target;

/// Bytes of an input.
const INPUT_MAX: usize = 1024;
/// Inputs that are mutated.
const POPULATION_MAX: usize = 20_000;
/// Inputs of one corpus, which is in the repository.
const CORPUS_MAX: usize = 250;
const SHORT: Duration = Duration::from_secs(3);
const LONG: Duration = Duration::from_secs(3600);

/// Shows the input when the target panics.
struct Witness<'a> {
    target: &'a str,
    input: &'a [u8],
}

impl Drop for Witness<'_> {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        let hex: String = self.input.iter().map(|byte| format!("{byte:02x}")).collect();
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/fuzz");
        let path = folder.join(format!("{}-{:016x}", self.target, mutate::digest(self.input)));
        let kept = std::fs::create_dir_all(&folder).and_then(|()| std::fs::write(&path, self.input));
        eprintln!("{}: the input {hex} is in {}: {kept:?}", self.target, path.display());
    }
}

fn corpus(target: &Target) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target.name)
}

fn read_corpus(folder: &Path) -> Vec<Vec<u8>> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("it can be listed").path()).collect();
    paths.sort();
    paths.iter().map(|path| std::fs::read(path).expect("it can be read")).collect()
}

/// Whether the input led to anything that is not in `seen`.
fn is_new(target: &Target, input: &[u8], seen: &mut HashSet<u64>) -> bool {
    let witness = Witness { target: target.name, input };
    let outcome = (target.run)(input);
    drop(witness);
    // Each pair is to be entered, so the first that is new is not the end.
    outcome.pairs().filter(|pair| seen.insert(*pair)).count() > 0
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|error| panic!("{variable}={text}: {error}")))
}

fn fuzz(target: &Target) {
    let is_long = std::env::var_os("REVOQ_LONG").is_some();
    let seed = number("REVOQ_FUZZ_SEED").unwrap_or_else(|| if is_long { rand::random() } else { 1 });
    let given = number("REVOQ_FUZZ_SECONDS").map(Duration::from_secs);
    let time = given.unwrap_or(if is_long { LONG } else { SHORT });
    let grows = std::env::var_os("REVOQ_FUZZ_GROW").is_some();
    let folder = corpus(target);
    let mut population = read_corpus(&folder);
    let mut seen = HashSet::new();
    let replayed = population.iter().filter(|input| is_new(target, input, &mut seen)).count();
    let (mut kept, known) = (population.len(), seen.len());
    assert!(replayed > 10 && known > 20, "the corpus in {} shows little", folder.display());
    let mut mutator = Mutator::new(seed);
    let (start, mut runs) = (Instant::now(), 0_u64);
    while start.elapsed() < time {
        let input = mutator.mutate(&population, INPUT_MAX);
        runs += 1;
        if !is_new(target, &input, &mut seen) {
            continue;
        }
        if grows && kept < CORPUS_MAX {
            let path = folder.join(format!("{:016x}", mutate::digest(&input)));
            std::fs::write(path, &input).expect("the corpus can be written");
            kept += 1;
        }
        if population.len() < POPULATION_MAX {
            population.push(input);
        }
    }
    let (name, all, found) = (target.name, population.len(), seen.len());
    println!(
        "{name}: seed {seed}: {kept} in the corpus, {runs} mutated; {all} inputs led to {found} pairs of events"
    );
    assert!(runs > 100, "{runs} runs in {time:?} are too few");
}

#[test]
fn decode() {
    fuzz(&targets::DECODE);
}

#[test]
fn round_trip() {
    fuzz(&targets::ROUND_TRIP);
}

#[test]
fn matching() {
    fuzz(&targets::MATCHING);
}

#[test]
fn session() {
    fuzz(&targets::SESSION);
}

#[test]
fn a_corpus_is_small() {
    for target in [targets::DECODE, targets::ROUND_TRIP, targets::MATCHING, targets::SESSION] {
        let inputs = read_corpus(&corpus(&target));
        let bytes: usize = inputs.iter().map(Vec::len).sum();
        assert!(inputs.len() <= CORPUS_MAX && bytes <= 75 * 1024, "{}: {bytes} bytes", target.name);
    }
}
