//! What machine a figure comes from.

use serde::Serialize;

/// Printed beside every result.
#[derive(Debug, Serialize)]
pub(crate) struct Machine {
    cores: usize,
    model: String,
    kernel: String,
    profile: &'static str,
}

impl Machine {
    /// Of this machine, read from `/proc`.
    pub(crate) fn read() -> Machine {
        let field = |file: &str, key: &str| {
            std::fs::read_to_string(file)
                .ok()
                .and_then(|text| {
                    let line = text.lines().find(|line| line.starts_with(key))?.to_owned();
                    Some(line.rsplit(':').next().unwrap_or_default().trim().to_owned())
                })
                .unwrap_or_else(|| "unknown".to_owned())
        };
        Machine {
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            model: field("/proc/cpuinfo", "model name"),
            kernel: field("/proc/sys/kernel/osrelease", ""),
            profile: if cfg!(debug_assertions) { "dev" } else { "release" },
        }
    }
}

impl std::fmt::Display for Machine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} cores, {}, Linux {}, profile {}", self.cores, self.model, self.kernel, self.profile)
    }
}
