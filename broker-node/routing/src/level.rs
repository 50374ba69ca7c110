use std::borrow::Borrow;
use std::hash::{Hash, Hasher};

/// Bytes that find room in a [`Name`] itself: what makes it as large as the pointer, the length and the tag of a longer one.
const SHORT_MAX: usize = 22;

/// The name of a level, a copy: a slice of the packet would keep its whole frame in memory. Most are short, and stand where
/// they are compared, without memory of their own to allocate and to visit.
#[derive(Clone)]
pub(crate) enum Name {
    Short(u8, [u8; SHORT_MAX]),
    Long(Box<[u8]>),
}

impl From<&[u8]> for Name {
    fn from(bytes: &[u8]) -> Name {
        match u8::try_from(bytes.len()) {
            Ok(len) if bytes.len() <= SHORT_MAX => {
                let mut short = [0; SHORT_MAX];
                short[..bytes.len()].copy_from_slice(bytes);
                Name::Short(len, short)
            }
            _ => Name::Long(bytes.into()),
        }
    }
}

impl Name {
    pub(crate) fn as_slice(&self) -> &[u8] {
        match self {
            Name::Short(len, bytes) => &bytes[..usize::from(*len)],
            Name::Long(bytes) => bytes,
        }
    }
}

impl Borrow<[u8]> for Name {
    fn borrow(&self) -> &[u8] {
        self.as_slice()
    }
}

impl PartialEq for Name {
    fn eq(&self, other: &Name) -> bool {
        self.as_slice() == other.as_slice()
    }
}

impl Eq for Name {}

impl Hash for Name {
    // As slices do: they are what is looked up.
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_slice().hash(state);
    }
}

/// The next level of a topic from `at` on: its bytes, and where the one after it starts; `None` past the last.
pub(crate) fn next_level(topic: &[u8], at: usize) -> (&[u8], Option<usize>) {
    let rest = &topic[at..];
    match rest.iter().position(|&byte| byte == b'/') {
        Some(len) => (&rest[..len], Some(at + len + 1)),
        None => (rest, None),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_of_every_length_are_found_by_their_bytes() {
        assert_eq!(size_of::<Name>(), 24);
        let bytes: Vec<u8> = (0..64).collect();
        let names: HashSet<Name> = (0..=64).map(|len| Name::from(&bytes[..len])).collect();
        for len in 0..=64 {
            let name = names.get(&bytes[..len]).expect("it is there");
            assert_eq!(name.as_slice(), &bytes[..len]);
            assert_eq!(matches!(name, Name::Short(..)), len <= SHORT_MAX);
        }
        assert!(!names.contains(&bytes[1..2]) && names.len() == 65);
    }
}
