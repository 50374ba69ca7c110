//! The snapshot: the changes from which a broker builds its view.

use crate::codec::decode_row;
use crate::event::{AuthorityView, Change};
use crate::keys;
use crate::records::{Authority, Tenant};
use crate::state::State;
use crate::store::{ReadError, Reader};

use super::page::successor;
use super::{settings, ticket_keys};

/// Where the next part of a snapshot begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotCursor {
    table: Table,
    from: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Table {
    Tenants,
    Authorities,
    Denied,
}

impl SnapshotCursor {
    fn start(table: Table) -> SnapshotCursor {
        SnapshotCursor { table, from: keys::table(table.key()) }
    }
}

impl Table {
    fn key(self) -> [u8; 2] {
        match self {
            Table::Tenants => keys::TENANTS,
            Table::Authorities => keys::AUTHORITIES,
            Table::Denied => keys::DENIED,
        }
    }

    fn next(self) -> Option<Table> {
        match self {
            Table::Tenants => Some(Table::Authorities),
            Table::Authorities => Some(Table::Denied),
            Table::Denied => None,
        }
    }

    /// What a row is to a broker; what is deleted is nothing.
    fn change(self, key: &[u8], bytes: &[u8]) -> Result<Option<Change>, ReadError> {
        Ok(match self {
            Table::Tenants => {
                let Tenant { name, status, created } = decode_row(key, bytes)?;
                let change = Change::Tenant { name, state: status.state, created };
                (status.state != State::Deleted).then_some(change)
            }
            Table::Authorities => {
                let authority: Authority = decode_row(key, bytes)?;
                let change = Change::Authority(AuthorityView::from(&authority));
                (authority.status.state != State::Deleted).then_some(change)
            }
            Table::Denied => Some(Change::Denied(decode_row(key, bytes)?)),
        })
    }
}

/// A part of the snapshot: about `limit` changes, and where the next part begins (`None`: this was the last). The
/// first part, that of cursor `None`, has the settings and ticket keys besides. All parts are to be read from one
/// reader.
pub fn snapshot(
    reader: &dyn Reader,
    cursor: Option<SnapshotCursor>,
    limit: usize,
) -> Result<(Vec<Change>, Option<SnapshotCursor>), ReadError> {
    let mut changes = Vec::new();
    let cursor = match cursor {
        Some(cursor) => cursor,
        None => {
            changes = unpaged(reader)?;
            SnapshotCursor::start(Table::Tenants)
        }
    };
    let limit = limit.max(1);
    let (_, to) = keys::prefix(keys::table(cursor.table.key()));
    let rows = reader.scan(&cursor.from, &to, limit)?;
    let exhausted = rows.len() < limit;
    let mut from = cursor.from;
    for (key, bytes) in rows {
        changes.extend(cursor.table.change(&key, &bytes)?);
        from = successor(&key);
    }
    let next = if exhausted {
        cursor.table.next().map(SnapshotCursor::start)
    } else {
        Some(SnapshotCursor { table: cursor.table, from })
    };
    Ok((changes, next))
}

fn unpaged(reader: &dyn Reader) -> Result<Vec<Change>, ReadError> {
    let settings = settings(reader)?;
    let settings = settings.iter().map(|(key, value)| Change::Setting { key: key.to_owned(), value });
    Ok(settings.chain(ticket_keys(reader)?.map(Change::TicketKeys)).collect())
}
