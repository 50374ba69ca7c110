//! Where results go: a table for people, JSON or YAML for programs.
use std::io::Write;

use clap::ValueEnum;
use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;

use crate::error::Error;
use crate::view::{List, View};

/// `--output`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Columns for people.
    #[default]
    Table,
    /// One JSON document; one a line where results stream.
    Json,
    /// One YAML document; several, with `---` before each, where results stream.
    Yaml,
}

/// Standard output in the wanted format.
pub struct Screen<'a> {
    out: &'a mut dyn Write,
    format: Format,
    streamed: bool,
}

impl<'a> Screen<'a> {
    /// Everything goes to `out`.
    pub fn new(out: &'a mut dyn Write, format: Format) -> Screen<'a> {
        Screen { out, format, streamed: false }
    }

    /// The wanted format.
    #[must_use]
    pub fn format(&self) -> Format {
        self.format
    }

    /// One record: every field on its line.
    ///
    /// # Errors
    /// [`Error::Output`], as everything here.
    pub fn one<V: View>(&mut self, view: &V) -> Result<(), Error> {
        match self.format {
            Format::Table => self.text(&details(view)),
            _ => self.document(view),
        }
    }

    /// Records under a header line.
    ///
    /// # Errors
    /// [`Error::Output`].
    pub fn list<V: View>(&mut self, list: &List<V>) -> Result<(), Error> {
        match self.format {
            Format::Table => self.text(&rows(&list.items)),
            _ => self.document(list),
        }
    }

    /// A document for programs; nothing in table format, where the caller says it in its own words.
    ///
    /// # Errors
    /// [`Error::Output`].
    pub fn document<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        match self.format {
            Format::Table => Ok(()),
            Format::Json => self.text(&(to_json(value, true) + "\n")),
            Format::Yaml => self.text(&to_yaml(value)),
        }
    }

    /// One of many documents that arrive over time. In table format the text, which ends in a newline.
    ///
    /// # Errors
    /// [`Error::Output`].
    pub fn streamed<T: Serialize>(&mut self, value: &T, text: impl FnOnce() -> String) -> Result<(), Error> {
        match self.format {
            Format::Table => self.text(&text())?,
            Format::Json => self.text(&(to_json(value, false) + "\n"))?,
            Format::Yaml => {
                let separator = if self.streamed { "---\n" } else { "" };
                self.text(&(separator.to_owned() + &to_yaml(value)))?;
            }
        }
        self.streamed = true;
        self.out.flush().map_err(Error::Output)
    }

    /// The document for programs, or this text for people.
    ///
    /// # Errors
    /// [`Error::Output`].
    pub fn either<T: Serialize>(&mut self, value: &T, text: impl FnOnce() -> String) -> Result<(), Error> {
        match self.format {
            Format::Table => self.text(&text()),
            _ => self.document(value),
        }
    }

    /// Text as it is.
    ///
    /// # Errors
    /// [`Error::Output`].
    pub fn text(&mut self, text: &str) -> Result<(), Error> {
        self.out.write_all(text.as_bytes()).map_err(Error::Output)
    }
}

/// A header and a line each; columns wide enough for their content, nothing wrapped, so that tools can cut it.
#[must_use]
pub fn rows<V: View>(items: &[V]) -> String {
    let mut table = plain_table();
    table.set_header(V::COLUMNS.iter().map(|c| c.to_uppercase().replace('_', " ")));
    for item in items {
        let fields = item.fields();
        let cell = |column: &&str| {
            let field = fields.iter().find(|(name, _)| name == column);
            printable(field.map_or("", |(_, text)| text.as_str()))
        };
        table.add_row(V::COLUMNS.iter().map(cell));
    }
    trimmed(&table)
}

/// A line a field; empty fields are left out.
#[must_use]
pub fn details<V: View>(view: &V) -> String {
    let mut table = plain_table();
    for (name, text) in view.fields().into_iter().filter(|(_, text)| !text.is_empty()) {
        table.add_row([format!("{}:", name.replace('_', " ")), printable(&text)]);
    }
    trimmed(&table)
}

/// Clients choose their ids and administrators their comments: none of them writes to a terminal.
#[must_use]
pub fn printable(text: &str) -> String {
    let escape = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
    text.chars().map(escape).collect()
}

fn plain_table() -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table
}

fn trimmed(table: &Table) -> String {
    let lines = table.lines();
    lines.map(|line| line.strip_prefix(' ').unwrap_or(&line).trim_end().to_owned() + "\n").collect()
}

fn to_json<T: Serialize + ?Sized>(value: &T, pretty: bool) -> String {
    let text = if pretty { serde_json::to_string_pretty(value) } else { serde_json::to_string(value) };
    text.expect("views have string keys and no failing serializers")
}

fn to_yaml<T: Serialize + ?Sized>(value: &T) -> String {
    serde_yaml_ng::to_string(value).expect("views have string keys and no failing serializers")
}
