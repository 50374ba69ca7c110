//! `KEY=VALUE`.
use revoq_credentials::{LabelKey, LabelValue};

/// A device label: everything up to the first `=` is the key.
///
/// # Errors
/// What is wrong, for clap.
pub fn label(text: &str) -> Result<(LabelKey, LabelValue), String> {
    let (key, value) = text.split_once('=').ok_or("expected KEY=VALUE, for example site=berlin")?;
    let key = key.parse::<LabelKey>().map_err(|e| e.to_string())?;
    let value = value.parse::<LabelValue>().map_err(|e| e.to_string())?;
    Ok((key, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_values() {
        let (key, value) = label("site=berlin-3").expect("valid");
        assert_eq!((key.as_ref(), value.as_ref()), ("site", "berlin-3"));
        assert_eq!(label("site=").expect("an empty value is one").1.as_ref(), "");
        assert!(label("site").expect_err("no =").contains("KEY=VALUE"));
        for bad in ["=x", "a b=c", "a=b=c", "a=ü"] {
            label(bad).expect_err(bad);
        }
    }
}
