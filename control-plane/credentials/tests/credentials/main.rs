//! The domain, from outside: commands in; rows, outcomes, events and verdicts out.

mod apply_admin;
mod apply_certificates;
mod apply_transitions;
mod audit;
mod encoding;
mod limits;
mod model;
mod names;
mod passwords;
mod queries;
mod selectors;
mod settings;
mod states;
mod support;
mod view;
mod x509;
