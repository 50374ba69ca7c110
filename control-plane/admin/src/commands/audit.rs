//! `revoqctl audit`: who did what, and proof that the log is whole.
use std::path::PathBuf;

use clap::{Args, Subcommand};
use revoq_credentials::audit::Verifier;
use revoq_proto::v1;
use revoq_proto::v1::audit_client::AuditClient;
use serde::Serialize;

use crate::api::Api;
use crate::app::App;
use crate::error::Error;
use crate::progress::Progress;
use crate::view::{AuditEntry, List, hex};

const PAGE_SIZE: u32 = 1_000;

/// The audit log: a chain of hashes over everything that was asked for
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List entries, oldest first; --output json is also the export that `audit verify` reads
    List(ListArgs),
    /// Verify the hashes of the whole log, or of exported files, offline
    Verify(VerifyArgs),
}

/// `audit list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Only entries with a number above this [default: those that make it the last 50]
    #[arg(long, value_name = "NUMBER")]
    pub after: Option<u64>,
    /// List at most this many
    #[arg(long, default_value_t = 50, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    pub limit: u64,
    /// List all, from the first
    #[arg(long, conflicts_with_all = ["after", "limit"])]
    pub all: bool,
}

/// `audit verify`.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// Exports of `audit list --output json`, in order; without any, the log of the cluster
    pub files: Vec<PathBuf>,
    /// The hash of the last entry, as it was noted earlier: shows that nothing was cut off at the end
    #[arg(long, value_name = "HASH")]
    pub expect_last: Option<String>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Verified {
    pub(super) entries: u64,
    pub(super) first: u64,
    pub(super) last: u64,
    pub(super) last_hash: String,
}

/// Does it.
///
/// # Errors
/// [`Error::Status`], [`Error::Audit`].
pub async fn run(app: &mut App<'_>, command: Command) -> Result<(), Error> {
    match command {
        Command::List(arguments) => list(app, &arguments).await,
        Command::Verify(arguments) => {
            let mut chain = Chain::default();
            if arguments.files.is_empty() {
                verify_live(&app.api()?, &mut chain).await?;
            }
            for path in &arguments.files {
                chain.add_file(path)?;
            }
            let verified = chain.finish(arguments.expect_last.as_deref())?;
            let Verified { entries, first, last, last_hash } = &verified;
            app.screen.either(&verified, || {
                format!("{entries} entries verified, {first} to {last}\nhash of the last: {last_hash}\n")
            })
        }
    }
}

async fn list(app: &mut App<'_>, arguments: &ListArgs) -> Result<(), Error> {
    let api = app.api()?;
    let (mut after, limit) = match (arguments.all, arguments.after) {
        (true, _) => (0, u64::MAX),
        (false, Some(after)) => (after, arguments.limit),
        (false, None) => {
            let last = page(&api, u64::MAX - 1, 1).await?.last;
            (last.saturating_sub(arguments.limit), arguments.limit)
        }
    };
    let progress = Progress::spinner("audit entries");
    let mut list = List::<AuditEntry> { revision: None, items: Vec::new() };
    loop {
        let wanted = (limit - list.items.len() as u64).min(PAGE_SIZE.into());
        let page = page(&api, after, u32::try_from(wanted).expect("at most a page")).await?;
        list.revision = Some(page.revision);
        let Some(newest) = page.entries.last() else { break };
        after = newest.number;
        list.items.extend(page.entries.into_iter().map(AuditEntry::from));
        progress.set(list.items.len() as u64);
        if list.items.len() as u64 >= limit || after >= page.last {
            break;
        }
    }
    drop(progress);
    app.screen.list(&list)
}

async fn page(api: &Api, after: u64, page_size: u32) -> Result<v1::ListAuditResponse, Error> {
    let call = |channel, request| async move { AuditClient::new(channel).list(request).await };
    // 0 would ask for the default number.
    api.read(v1::ListAuditRequest { after, page_size: page_size.max(1) }, call).await
}

async fn verify_live(api: &Api, chain: &mut Chain) -> Result<(), Error> {
    let progress = Progress::bar(0, "audit entries");
    let mut after = 0;
    loop {
        let page = page(api, after, PAGE_SIZE).await?;
        progress.set_length(page.last);
        if page.entries.is_empty() && after < page.last {
            let reason = format!("the cluster: entries {} to {} are missing", after + 1, page.last);
            return Err(Error::Audit(reason));
        }
        for entry in page.entries {
            after = entry.number;
            chain.add(entry.into(), "the cluster")?;
        }
        progress.set(after);
        if after >= page.last {
            return chain.demand_first("the cluster");
        }
    }
}

/// Entries that follow from each other.
#[derive(Default)]
pub(super) struct Chain {
    verifier: Verifier,
    entries: u64,
    first: Option<u64>,
}

impl Chain {
    fn add(&mut self, entry: AuditEntry, place: &str) -> Result<(), Error> {
        let number = entry.number;
        let entry = revoq_credentials::AuditEntry::try_from(entry)
            .map_err(|error| Error::Audit(format!("{place}: entry {number}: {error}")))?;
        self.verifier.check(&entry).map_err(|fault| Error::Audit(format!("{place}: {fault}")))?;
        self.entries += 1;
        self.first.get_or_insert(number);
        Ok(())
    }

    pub(super) fn add_file(&mut self, path: &std::path::Path) -> Result<(), Error> {
        let place = path.display().to_string();
        // Exports can be large: no limit of size as for certificates.
        let text = std::fs::read_to_string(path).map_err(Error::file("read", path))?;
        let list: List<AuditEntry> = serde_json::from_str(&text).map_err(|error| {
            Error::Audit(format!("{place}: not an export of `audit list --output json`: {error}"))
        })?;
        list.items.into_iter().try_for_each(|entry| self.add(entry, &place))
    }

    /// The cluster's own log starts at 1: a later start means that its beginning is gone.
    fn demand_first(&self, place: &str) -> Result<(), Error> {
        match self.first {
            Some(first) if first != 1 => {
                Err(Error::Audit(format!("{place}: the log starts at entry {first}, not 1")))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn finish(&self, expected_last: Option<&str>) -> Result<Verified, Error> {
        let last = self.verifier.last();
        let (last, hash) = last.ok_or_else(|| Error::Audit("there are no entries".to_owned()))?;
        let last_hash = hex(&hash);
        if let Some(expected) = expected_last.filter(|expected| !expected.eq_ignore_ascii_case(&last_hash)) {
            let reason = format!(
                "the last entry, {last}, has hash {last_hash} and not {expected}: entries are missing \
                                  at the end, or more have come"
            );
            return Err(Error::Audit(reason));
        }
        Ok(Verified { entries: self.entries, first: self.first.unwrap_or(last), last, last_hash })
    }
}
