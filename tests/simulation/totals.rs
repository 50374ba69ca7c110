//! What runs came to, in numbers.

use std::fmt;
use std::ops::AddAssign;

macro_rules! totals {
    ($($name:ident: $text:literal,)*) => {
        /// Sums over one run or many.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub(crate) struct Totals {
            $(pub(crate) $name: u64,)*
        }

        impl AddAssign for Totals {
            fn add_assign(&mut self, other: Totals) {
                $(self.$name += other.$name;)*
            }
        }

        impl fmt::Display for Totals {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let parts = [$(format!("{} {}", self.$name, $text)),*];
                f.write_str(&parts.join(", "))
            }
        }
    };
}

totals! {
    operations: "operations",
    acknowledged: "acknowledged",
    refused: "refused",
    not_done: "surely not done",
    unknown: "unknown",
    committed: "entries",
    fences: "fences completed",
    confirmed: "nodes confirmed",
    fenced: "fenced",
    unconfirmed: "unconfirmed",
    admitted: "sessions",
    cut: "cut",
    lapsed: "lapsed",
    passed: "packets passed",
    snapshots: "snapshots to brokers",
    elections: "leader changes",
    crashes: "crashes",
    pauses: "pauses",
    partitions: "partitions",
    replaced: "replicas replaced",
    installed: "snapshots to replicas",
    steps: "steps",
}
