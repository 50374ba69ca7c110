//! Lists that come in pages.
use crate::error::Error;
use crate::progress::Progress;
use crate::view::List;

/// The most that the control plane gives at once.
const PAGE_SIZE_MAX: usize = 1_000;

pub(super) struct Page<T> {
    pub(super) items: Vec<T>,
    pub(super) next_page_token: String,
    pub(super) revision: u64,
}

/// All pages, up to a limit. The revision is that of the first page: later ones may be newer.
pub(super) async fn collect<T, F, R>(what: &str, limit: Option<usize>, fetch: F) -> Result<List<T>, Error>
where
    F: Fn(u32, String) -> R,
    R: Future<Output = Result<Page<T>, Error>>,
{
    let limit = limit.unwrap_or(usize::MAX);
    let progress = Progress::spinner(what);
    let mut list = List { revision: None, items: Vec::new() };
    let mut token = String::new();
    while list.items.len() < limit {
        let wanted = (limit - list.items.len()).min(PAGE_SIZE_MAX);
        let page = fetch(u32::try_from(wanted).expect("at most a thousand"), token).await?;
        list.revision.get_or_insert(page.revision);
        list.items.extend(page.items.into_iter().take(wanted));
        progress.set(list.items.len() as u64);
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    Ok(list)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `total` numbers, in pages of at most 400.
    async fn numbers(total: usize, limit: Option<usize>) -> Vec<usize> {
        let fetch = |size: u32, token: String| async move {
            let start = token.parse::<usize>().unwrap_or(0);
            let end = (start + (size as usize).min(400)).min(total);
            let next_page_token = if end < total { end.to_string() } else { String::new() };
            Ok(Page { items: (start..end).collect(), next_page_token, revision: 7 + start as u64 })
        };
        let list = collect("numbers", limit, fetch).await.expect("no failure");
        assert!(limit == Some(0) || list.revision == Some(7));
        list.items
    }

    #[tokio::test]
    async fn every_page_once() {
        for (total, limit, expected) in [
            (0, None, 0),
            (400, None, 400),
            (2_001, None, 2_001),
            (2_001, Some(0), 0),
            (2_001, Some(401), 401),
            (10, Some(401), 10),
        ] {
            assert_eq!(numbers(total, limit).await, (0..expected).collect::<Vec<_>>(), "{total} {limit:?}");
        }
    }
}
