//! Parsers and printers of setting values. Errors are remedies: what the setting takes.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::{ClientCertificate, StaleGrace, StaleNew};

const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// A value that is one of a few words.
pub(super) trait Word: Copy + Display + 'static {
    const ALL: &'static [Self];
}

impl Word for ClientCertificate {
    const ALL: &'static [Self] =
        &[ClientCertificate::Off, ClientCertificate::Optional, ClientCertificate::Required];
}

impl Word for StaleNew {
    const ALL: &'static [Self] = &[StaleNew::Refuse, StaleNew::Serve];
}

pub(super) fn word<T: Word>(text: &str, place: &mut T) -> Result<(), String> {
    let Some(found) = T::ALL.iter().find(|value| value.to_string() == text) else {
        let words = T::ALL.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        return Err(format!("give one of {words}"));
    };
    *place = *found;
    Ok(())
}

pub(super) fn boolean(text: &str, place: &mut bool) -> Result<(), String> {
    *place = text.parse().map_err(|_| "give true or false".to_owned())?;
    Ok(())
}

/// A duration within a range of milliseconds.
pub(super) fn range(
    text: &str,
    milliseconds: RangeInclusive<u64>,
    place: &mut Duration,
) -> Result<(), String> {
    let least = Duration::from_millis(*milliseconds.start());
    let most = Duration::from_millis(*milliseconds.end());
    let value = duration(text).filter(|value| (least..=most).contains(value)).ok_or_else(|| {
        format!(
            "give a duration from {} to {}, such as 300ms, 5s, 2h",
            format_duration(least),
            format_duration(most)
        )
    })?;
    *place = value;
    Ok(())
}

pub(super) fn grace(text: &str, place: &mut StaleGrace) -> Result<(), String> {
    if text == "never" {
        *place = StaleGrace::Never;
        return Ok(());
    }
    let mut value = Duration::ZERO;
    range(text, 0..=604_800_000, &mut value).map_err(|remedy| format!("{remedy}, or never"))?;
    *place = StaleGrace::Bounded(value);
    Ok(())
}

pub(super) fn duration(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
    let (_, factor) = UNITS.iter().find(|(name, _)| *name == unit)?;
    number.parse::<u64>().ok()?.checked_mul(*factor).map(Duration::from_millis)
}

/// In the largest unit that needs no fraction.
pub(super) fn format_duration(duration: Duration) -> String {
    let milliseconds = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    if milliseconds == 0 {
        return "0s".to_owned();
    }
    let (unit, factor) = UNITS
        .iter()
        .find(|(_, factor)| milliseconds % factor == 0)
        .expect("every number of milliseconds divides by one");
    format!("{}{unit}", milliseconds / factor)
}
