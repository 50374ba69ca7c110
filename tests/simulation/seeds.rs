//! Many seeds, one after the other.

use std::collections::BTreeSet;
use std::ops::Range;
use std::time::Instant;

use crate::totals::Totals;
use crate::world::{Report, run};

/// Seeds of each half.
const SEEDS: u64 = 1_000;
const SEEDS_LONG: u64 = 50_000;

/// Lines of a trace that are printed.
const LINES: usize = 60;

fn half(of: u64) -> Range<u64> {
    let seeds = if std::env::var_os("REVOQ_LONG").is_some() { SEEDS_LONG } else { SEEDS };
    of * seeds..(of + 1) * seeds
}

/// Runs seeds until one breaks a promise, and says what all came to.
fn sweep(seeds: Range<u64>) -> Totals {
    let (begun, mut totals) = (Instant::now(), Totals::default());
    let count = seeds.end - seeds.start;
    for seed in seeds {
        let report = run(seed, None, false);
        totals += report.totals;
        if report.broken.is_some() {
            fail(seed);
        }
    }
    let took = begun.elapsed().as_secs_f64();
    println!(
        "{count} seeds in {took:.1} s, {:.0} seeds/s: {totals}",
        f64::from(u32::try_from(count).expect("few")) / took
    );
    totals
}

/// Runs a seed again, and says how it went wrong.
fn fail(seed: u64) -> ! {
    let Report { totals, broken, lines, .. } = run(seed, None, true);
    print(&lines);
    let broken = broken.expect("the same seed takes the same steps");
    panic!(
        "seed {seed}, step {}: {broken}\nrun it alone with REVOQ_SEED={seed} and the test one_seed",
        totals.steps
    );
}

/// The end of a trace; all of it that was kept, for who asked for one seed.
fn print(lines: &[String]) {
    let all = std::env::var_os("REVOQ_SEED").is_some();
    let skip = if all { 0 } else { lines.len().saturating_sub(LINES) };
    lines.iter().skip(skip).for_each(|line| println!("{line}"));
}

/// Every kind of thing has happened.
fn is_rich(totals: Totals) {
    let text = totals.to_string();
    assert!(!text.split(", ").any(|part| part.starts_with("0 ")), "something never happened: {text}");
}

#[test]
fn the_first_half_of_the_seeds_breaks_no_promise() {
    is_rich(sweep(half(0)));
}

#[test]
fn the_second_half_of_the_seeds_breaks_no_promise() {
    is_rich(sweep(half(1)));
}

/// The one of `REVOQ_SEED`, with the end of its trace.
#[test]
fn one_seed() {
    let seed = std::env::var("REVOQ_SEED").ok().map(|seed| seed.parse().expect("REVOQ_SEED is a number"));
    let seed = seed.unwrap_or(1);
    let report = run(seed, None, true);
    if report.broken.is_some() {
        fail(seed);
    }
    print(&report.lines);
    println!("seed {seed}: {}", report.totals);
}

#[test]
fn the_same_seed_takes_the_same_steps() {
    for seed in 0..20 {
        let (one, other) = (run(seed, None, false), run(seed, None, true));
        assert_eq!((one.hash, one.totals), (other.hash, other.totals), "seed {seed}");
    }
}

#[test]
fn another_seed_takes_other_steps() {
    let hashes: BTreeSet<u64> = (0..20).map(|seed| run(seed, None, false).hash).collect();
    assert_eq!(hashes.len(), 20);
}
