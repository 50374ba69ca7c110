//! `revoqctl context`: which cluster, and as whom.
use std::path::PathBuf;

use clap::{Args, Subcommand};
use revoq_credentials::x509;
use revoq_proto::context::Bundle;
use revoq_proto::pem;
use serde::Serialize;

use crate::app::App;
use crate::contexts::{self, Contexts};
use crate::error::Error;
use crate::files;
use crate::view::{List, Timestamp, View};

/// Which cluster to administer, and as whom
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Add a context, from a bundle or from its parts
    Add(AddArgs),
    /// List the contexts
    List,
    /// Make a context the current one
    Use {
        /// Its name
        name: String,
    },
    /// Show a context, without its key
    Show {
        /// Its name, or a bundle file [default: the context in use]
        name: Option<String>,
    },
    /// Remove a context
    Remove {
        /// Its name
        name: String,
    },
}

/// `context add`.
#[derive(Debug, Args)]
pub struct AddArgs {
    /// Its name
    pub name: String,
    /// The bundle: administrator.toml of `revoq-control`, or of `revoqctl administrator issue`
    #[arg(required_unless_present_all = ["authority", "certificate", "key"])]
    pub bundle: Option<PathBuf>,
    /// Instead of a bundle: the cluster authority's certificate, PEM; --endpoint says where the replicas are
    #[arg(long, value_name = "FILE", conflicts_with = "bundle", requires = "endpoint")]
    pub authority: Option<PathBuf>,
    /// Instead of a bundle: the administrator's certificate, PEM
    #[arg(long, value_name = "FILE", conflicts_with = "bundle")]
    pub certificate: Option<PathBuf>,
    /// Instead of a bundle: its private key, PEM
    #[arg(long, value_name = "FILE", conflicts_with = "bundle")]
    pub key: Option<PathBuf>,
    /// Make it the current one; the first context always becomes that
    #[arg(long = "use")]
    pub make_current: bool,
    /// Replace one of the same name
    #[arg(long)]
    pub replace: bool,
}

/// One context.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ContextView {
    /// Its name.
    pub name: String,
    /// Used where none is named.
    pub current: bool,
    /// The cluster's name.
    pub cluster: String,
    /// Its replicas.
    pub endpoints: Vec<String>,
    /// The subject of the administrator's certificate.
    pub administrator: String,
    /// Until when that is valid.
    pub not_after: Timestamp,
}

impl ContextView {
    fn new(name: &str, bundle: &Bundle, current: bool) -> ContextView {
        let der = pem::decode_all("certificate", pem::CERTIFICATE, &bundle.certificate).ok();
        let parsed = der.and_then(|mut all| x509::parse(&all.swap_remove(0)).ok());
        ContextView {
            name: name.to_owned(),
            current,
            cluster: bundle.cluster.clone(),
            endpoints: bundle.endpoints.clone(),
            administrator: parsed.as_ref().map_or("unreadable".to_owned(), |p| p.subject_text.clone()),
            not_after: Timestamp(parsed.map(|p| p.not_after)),
        }
    }
}

impl View for ContextView {
    const COLUMNS: &'static [&'static str] =
        &["current", "name", "cluster", "administrator", "not_after", "endpoints"];

    fn fields(&self) -> Vec<(&'static str, String)> {
        vec![
            ("current", if self.current { "*" } else { "" }.to_owned()),
            ("name", self.name.clone()),
            ("cluster", self.cluster.clone()),
            ("administrator", self.administrator.clone()),
            ("not_after", self.not_after.to_string()),
            ("endpoints", self.endpoints.join(",")),
        ]
    }
}

/// Does it; needs no cluster.
///
/// # Errors
/// [`Error::Context`], [`Error::File`].
pub fn run(app: &mut App<'_>, command: Command) -> Result<(), Error> {
    let path = app.contexts_path()?;
    let mut contexts = Contexts::load(&path)?;
    match command {
        Command::Add(arguments) => {
            add(app, &mut contexts, arguments)?;
            contexts.save(&path)
        }
        Command::List => {
            let is_current = |name: &String| contexts.current.as_ref() == Some(name);
            let views = contexts.contexts.iter().map(|(name, b)| ContextView::new(name, b, is_current(name)));
            app.screen.list(&List { revision: None, items: views.collect() })
        }
        Command::Use { name } => {
            contexts.named(&name)?;
            contexts.current = Some(name);
            contexts.save(&path)
        }
        Command::Show { name } => {
            let choice = name.or_else(|| app.global().context.clone());
            let (name, bundle) = contexts::resolve(choice.as_deref(), &path)?;
            let current = contexts.current.as_ref() == Some(&name);
            app.screen.one(&ContextView::new(&name, &bundle, current))
        }
        Command::Remove { name } => {
            contexts.named(&name)?;
            contexts.contexts.remove(&name);
            contexts.current = contexts.current.filter(|current| *current != name);
            contexts.save(&path)
        }
    }
}

fn add(app: &App<'_>, contexts: &mut Contexts, arguments: AddArgs) -> Result<(), Error> {
    if contexts.contexts.contains_key(&arguments.name) && !arguments.replace {
        return Err(Error::Context {
            place: format!("context {:?}", arguments.name),
            reason: "exists already".to_owned(),
            remedy: "choose another name, or give --replace".to_owned(),
        });
    }
    if arguments.name.is_empty() || arguments.name.contains('/') || arguments.name.ends_with(".toml") {
        return Err(Error::value(
            "NAME",
            &arguments.name,
            "a name that looks like a path would be taken for a file",
        ));
    }
    let mut bundle = match (&arguments.bundle, &arguments.authority, &arguments.certificate, &arguments.key) {
        (Some(path), ..) => contexts::read_bundle(path)?,
        (None, Some(authority), Some(certificate), Some(key)) => Bundle {
            cluster: arguments.name.clone(),
            endpoints: app.global().endpoint.clone(),
            authority: files::read_text(authority)?,
            certificate: files::read_text(certificate)?,
            key: files::read_text(key)?,
        },
        _ => return Err(Error::Usage("give a bundle, or --authority, --certificate and --key".to_owned())),
    };
    if !app.global().endpoint.is_empty() {
        bundle.endpoints.clone_from(&app.global().endpoint);
    }
    bundle.check()?;
    if arguments.make_current || contexts.current.is_none() {
        contexts.current = Some(arguments.name.clone());
    }
    contexts.contexts.insert(arguments.name, bundle);
    Ok(())
}
