//! Pages of lists.

use std::fmt;
use std::str::FromStr;

use crate::ids::{hex_bytes, to_hex};
use crate::keys;
use crate::limits::PAGE_SIZE_MAX;
use crate::names::NameError;
use crate::store::{ReadError, Reader};

/// Rows that a page looks at, for each row that it may hold, before it ends early: a filter that matches little
/// costs many short calls rather than one long one.
const LOOK_FACTOR: usize = 20;

/// A part of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// May be fewer than asked for, or none, although more follow.
    pub items: Vec<T>,
    /// Where the next page begins; `None`: this was the last.
    pub next: Option<PageToken>,
}

/// Where a page begins: after a key. Opaque text to the one who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageToken(Vec<u8>);

impl fmt::Display for PageToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&to_hex(&self.0))
    }
}

impl FromStr for PageToken {
    type Err = NameError;

    fn from_str(text: &str) -> Result<PageToken, NameError> {
        hex_bytes(text).filter(|bytes| bytes.len() <= 1_024).map(PageToken).ok_or_else(|| {
            NameError::new(
                "page token",
                text,
                "the next_page_token of the page before, or empty for the first",
            )
        })
    }
}

/// A page of the rows below a prefix. `item` turns a row into an item, or passes over it.
pub(super) fn list<T>(
    reader: &dyn Reader,
    prefix: Vec<u8>,
    size: usize,
    token: Option<&PageToken>,
    mut item: impl FnMut(&[u8], &[u8]) -> Result<Option<T>, ReadError>,
) -> Result<Page<T>, ReadError> {
    let size = size.clamp(1, PAGE_SIZE_MAX);
    let (mut from, to) = keys::prefix(prefix);
    if let Some(PageToken(after)) = token {
        from = from.max(successor(after));
    }
    let mut items = Vec::new();
    for _ in 0..LOOK_FACTOR {
        let rows = reader.scan(&from, &to, size)?;
        let exhausted = rows.len() < size;
        for (key, bytes) in rows {
            items.extend(item(&key, &bytes)?);
            if items.len() == size {
                return Ok(Page { items, next: Some(PageToken(key)) });
            }
            from = successor(&key);
        }
        if exhausted {
            return Ok(Page { items, next: None });
        }
    }
    from.pop();
    Ok(Page { items, next: Some(PageToken(from)) })
}

/// The first key after this one.
pub(super) fn successor(key: &[u8]) -> Vec<u8> {
    let mut next = key.to_vec();
    next.push(0);
    next
}
