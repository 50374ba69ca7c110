//! Pages of lists, bounded in rows and in bytes.

use prost::Message;
use revoq_credentials::ReadError;
use revoq_credentials::query::{Page, PageToken};

use crate::error::Error;

/// Rows where the caller does not say.
const ROWS: usize = 100;
/// Rows at most.
const ROWS_MAX: usize = 1_000;
/// Bytes of a page: under the message limit, with room for what stands around it.
const BYTES_MAX: usize = 3 * 1_024 * 1_024;

/// How many rows a page has.
pub(super) fn size(asked: u32) -> usize {
    match usize::try_from(asked) {
        Ok(0) => ROWS,
        Ok(rows) => rows.min(ROWS_MAX),
        Err(_) => ROWS_MAX,
    }
}

/// Where a page begins; empty text is the beginning.
pub(super) fn token(text: &str) -> Result<Option<PageToken>, Error> {
    if text.is_empty() { Ok(None) } else { Ok(Some(text.parse()?)) }
}

/// A page on the wire with the token of the next, empty after the last. A page that is too large is read again
/// with half the rows.
pub(super) fn fit<T, W: Message>(
    mut rows: usize,
    read: impl Fn(usize) -> Result<Page<T>, ReadError>,
    wire: impl Fn(&T) -> W,
) -> Result<(Vec<W>, String), Error> {
    loop {
        let page = read(rows)?;
        let items: Vec<W> = page.items.iter().map(&wire).collect();
        let bytes: usize = items.iter().map(Message::encoded_len).sum();
        if bytes <= BYTES_MAX || rows == 1 {
            return Ok((items, page.next.map(|token| token.to_string()).unwrap_or_default()));
        }
        rows = (rows / 2).max(1);
    }
}

/// As many of the first as fit.
pub(super) fn cut<W: Message>(items: &mut Vec<W>) {
    let mut bytes = 0;
    let fit = items.iter().take_while(|item| {
        bytes += item.encoded_len();
        bytes <= BYTES_MAX
    });
    let fit = fit.count();
    items.truncate(fit);
}

#[cfg(test)]
mod tests {
    use revoq_proto::v1;

    use super::*;

    #[test]
    fn pages_are_bounded() -> Result<(), Error> {
        assert_eq!([0, 1, 1_000, 1_001, u32::MAX].map(size), [100, 1, 1_000, 1_000, 1_000]);
        assert!(token("")?.is_none());
        assert!(token("zz").is_err());
        let read = |rows: usize| Ok(Page { items: vec![(); rows], next: None });
        let wire = |(): &()| v1::Certificate { der: vec![0; 16_000].into(), ..Default::default() };
        let (items, next) = fit(1_000, read, wire)?;
        assert_eq!((items.len(), next.as_str()), (125, ""), "as many as fit");
        let mut many = vec![wire(&()); 1_000];
        cut(&mut many);
        assert_eq!(many.len(), 196);
        Ok(())
    }
}
