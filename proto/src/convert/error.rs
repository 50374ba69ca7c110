//! What is wrong with a message.
use revoq_credentials::NameError;

/// A field whose value the domain does not take.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} `{value}` is not valid: {remedy}")]
pub struct ConvertError {
    /// As in the `.proto` file, with dots into messages.
    pub field: &'static str,
    /// What was sent, shortened.
    pub value: String,
    /// What is expected.
    pub remedy: String,
}

impl ConvertError {
    /// Longest value that is repeated in a message, in characters.
    const VALUE_MAX: usize = 64;

    /// Shortens the value.
    pub fn new(field: &'static str, value: impl AsRef<str>, remedy: impl Into<String>) -> ConvertError {
        let value = value.as_ref();
        let mut shortened: String = value.chars().take(Self::VALUE_MAX).collect();
        if shortened.len() < value.len() {
            shortened.push('…');
        }
        ConvertError { field, value: shortened, remedy: remedy.into() }
    }

    /// A message field that must be there and is not.
    #[must_use]
    pub fn missing(field: &'static str) -> ConvertError {
        ConvertError::new(field, "", "it must be present")
    }

    /// The rule of a name, under the name of the wire's field.
    #[must_use]
    pub fn name(field: &'static str, error: NameError) -> ConvertError {
        // The value is shortened already.
        ConvertError { field, value: error.value, remedy: error.rule.to_owned() }
    }
}
