//! Hosts that are network namespaces on one switch, which is a bridge in a namespace of its own.
//!
//! The lab number n gives the subnet 10.77.n.0/24, the test's own interface `revoq<n>`, and, with the test's process id,
//! the names `revoq-<pid>-<n>-<host>` of the namespaces. The interface is made first: of two labs that want the same
//! number one fails there and takes the next.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result, bail, ensure};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;
use tokio::sync::Mutex;

use super::{ALL, Faults, Host};

const PREFIX: &str = "revoq-";
const SWITCH: &str = "switch";
/// The last byte of the test's own address; hosts have 1, 2, ….
const OWN: u8 = 254;
const HOSTS_MAX: usize = 100;
const LABS_MAX: u32 = 250;

const CHAINS: &str = "table inet faults {
  chain in { type filter hook input priority filter; }
  chain out { type filter hook output priority filter; }
}
";

/// The namespaces of one lab, removed when dropped.
pub(super) struct Namespaces {
    lab: u8,
    hosts: Vec<Host>,
    /// The rules in force on each host.
    rules: Mutex<BTreeMap<Host, String>>,
}

impl Namespaces {
    /// Makes them; an error where the rights or the programs are missing.
    pub(super) async fn start(hosts: &[Host]) -> Result<Namespaces> {
        ensure!(hosts.len() <= HOSTS_MAX, "{} hosts are more than {HOSTS_MAX}", hosts.len());
        ensure!(rustix::process::geteuid().is_root(), "only root can make them");
        remove_leftovers().await?;
        let namespaces =
            Namespaces { lab: take_number().await?, hosts: hosts.to_owned(), rules: Mutex::default() };
        namespaces.build().await?;
        Ok(namespaces)
    }

    async fn build(&self) -> Result<()> {
        let (own, switch) = (interface(self.lab), self.name(SWITCH));
        let mut add = format!("netns add {switch}\n");
        for host in &self.hosts {
            writeln!(add, "netns add {}", self.name(host))?;
        }
        writeln!(add, "link set {own}p netns {switch} name uplink")?;
        writeln!(add, "addr add {}/24 dev {own}\nlink set {own} up", self.address(Host::Test))?;
        feed("ip", &["-batch", "-"], &add).await?;
        let mut ports = String::from("link add name br0 type bridge\nlink set br0 up\n");
        ports.push_str("link set uplink master br0 up\n");
        for (n, host) in self.hosts.iter().enumerate() {
            writeln!(ports, "link add name port{n} type veth peer name eth0 netns {}", self.name(host))?;
            writeln!(ports, "link set port{n} master br0 up")?;
        }
        feed("ip", &["-n", &switch, "-batch", "-"], &ports).await?;
        for host in &self.hosts {
            let name = self.name(host);
            let up =
                format!("addr add {}/24 dev eth0\nlink set eth0 up\nlink set lo up\n", self.address(*host));
            feed("ip", &["-n", &name, "-batch", "-"], &up).await?;
            feed("ip", &["netns", "exec", &name, "nft", "-f", "-"], CHAINS).await?;
        }
        Ok(())
    }

    fn name(&self, of: impl std::fmt::Display) -> String {
        format!("{PREFIX}{}-{}-{of}", std::process::id(), self.lab)
    }

    pub(super) fn address(&self, host: Host) -> Ipv4Addr {
        let place = self.hosts.iter().position(|other| *other == host);
        let last = place.and_then(|place| u8::try_from(place + 1).ok()).unwrap_or(OWN);
        Ipv4Addr::new(10, 77, self.lab, last)
    }

    pub(super) fn command(&self, host: Host, program: &OsStr) -> Command {
        if host == Host::Test {
            return Command::new(program);
        }
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name(host)]).arg(program);
        command
    }

    /// Puts these faults into force, and no other.
    pub(super) async fn apply(&self, faults: &Faults) -> Result<()> {
        let mut rules = self.rules.lock().await;
        for host in &self.hosts {
            let wanted = self.rules(*host, faults);
            let known = rules.get(host).map_or("", String::as_str);
            if known != wanted {
                let text = format!("flush chain inet faults in\nflush chain inet faults out\n{wanted}");
                let name = self.name(host);
                feed("ip", &["netns", "exec", &name, "nft", "-f", "-"], &text).await?;
                rules.insert(*host, wanted);
            }
        }
        Ok(())
    }

    /// What is lost is lost at the receiver. The test has no rules: what it would lose is lost at the sender.
    fn rules(&self, host: Host, faults: &Faults) -> String {
        let mut rules = String::new();
        for ((from, to), percent) in faults {
            let way = match (*from, *to) {
                (from, to) if to == host => format!("in ip saddr {}", self.address(from)),
                (from, Host::Test) if from == host => format!("out ip daddr {}", self.address(Host::Test)),
                _ => continue,
            };
            // nft takes no comparison that is always true.
            let share = match *percent {
                ALL => String::new(),
                percent => format!("numgen random mod {ALL} < {percent} "),
            };
            rules.push_str(&format!("add rule inet faults {way} {share}drop\n"));
        }
        rules
    }
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        // The interface goes with the switch, where its other end is; by its name, should that not have been made.
        let mut names = vec![self.name(SWITCH)];
        names.extend(self.hosts.iter().map(|host| self.name(host)));
        for name in names {
            run_and_forget(&["netns", "del", &name]);
        }
        run_and_forget(&["link", "del", &interface(self.lab)]);
    }
}

fn interface(lab: u8) -> String {
    format!("revoq{lab}")
}

/// Makes the interface of the first free number.
async fn take_number() -> Result<u8> {
    let start = std::process::id();
    for offset in 0..LABS_MAX {
        let lab = u8::try_from((start + offset) % LABS_MAX + 1).expect("at most 250");
        let own = interface(lab);
        let peer = format!("{own}p");
        let add = ["link", "add", "name", &own, "type", "veth", "peer", "name", &peer];
        match feed("ip", &add, "").await {
            Ok(_) => return Ok(lab),
            Err(error) if format!("{error:#}").contains("File exists") => {}
            Err(error) => return Err(error),
        }
    }
    bail!("all {LABS_MAX} numbers of labs are taken: `ip link` shows by whom")
}

/// Removes the namespaces of tests that were killed, and what still runs in them.
async fn remove_leftovers() -> Result<()> {
    let list = feed("ip", &["netns", "list"], "").await?;
    for name in list.lines().filter_map(|line| line.split(' ').next()) {
        let Some(pid) = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next()) else { continue };
        if pid.parse::<u32>().is_err() || Path::new("/proc").join(pid).exists() {
            continue;
        }
        // Another test may be doing the same at this moment: what is gone already is no error.
        let inside = feed("ip", &["netns", "pids", name], "").await.unwrap_or_default();
        for pid in inside.lines().filter_map(|pid| rustix::process::Pid::from_raw(pid.parse().ok()?)) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
        run_and_forget(&["netns", "del", name]);
    }
    Ok(())
}

/// Runs a program with that standard input; its standard output. What it says on standard error is the error.
async fn feed(program: &str, arguments: &[&str], input: &str) -> Result<String> {
    let shown = || format!("{program} {}", arguments.join(" "));
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.kill_on_drop(true).spawn().with_context(shown)?;
    let mut stdin = child.stdin.take().context("its input is piped")?;
    // One that ends without reading says why on standard error.
    let _ = stdin.write_all(input.as_bytes()).await;
    drop(stdin);
    let output = child.wait_with_output().await.with_context(shown)?;
    if !output.status.success() {
        let error = String::from_utf8_lossy(&output.stderr);
        bail!("{}: {}: {}\n{input}", shown(), output.status, error.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// For what may be gone already.
fn run_and_forget(arguments: &[&str]) {
    let mut command = std::process::Command::new("ip");
    let _ = command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
}
