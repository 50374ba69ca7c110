//! The session as its driver and its client see it: text scenarios, tables of faults, arbitrary input.

mod cuts;
mod faults;
mod limits;
mod line;
mod robust;
mod scenarios;
mod show;
mod stage;
