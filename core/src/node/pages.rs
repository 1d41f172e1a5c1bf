//! Pages of rows: what is asked for, and whether what comes is that.

use core::cmp::Reverse;

use bytes::Bytes;

use super::reach::stored;
use crate::disk::{DiskKind, Page, RecordKey, Row};
use crate::id::{NameTag, NamespaceId};
use crate::seal::META_MAX;
use crate::version::RecordId;
use crate::wire::message::{self, DamagedRow, RowParts, Rows, kind};

/// What rows are asked for, and in which order they come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// The newest record of each name, by rising tag.
    Names(NamespaceId),
    /// Every record of a name, the newest first.
    Versions(RecordKey),
}

/// Where a row stands in its order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    Name(NameTag),
    Version(Reverse<RecordId>),
}

/// One page that is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Query {
    pub(super) order: Order,
    /// It begins behind this.
    pub(super) behind: Option<Place>,
    /// The most that its rows may come to, but for the first.
    pub(super) max: u32,
}

impl Order {
    pub(super) fn place(&self, row: &Row) -> Place {
        match self {
            Self::Names(_) => Place::Name(row.tag()),
            Self::Versions(_) => Place::Version(Reverse(row.id())),
        }
    }

    /// The name that a row speaks of.
    pub(super) fn key(&self, row: &Row) -> RecordKey {
        match self {
            Self::Names(namespace) => RecordKey {
                namespace: *namespace,
                tag: row.tag(),
            },
            Self::Versions(key) => *key,
        }
    }

    /// Whether a row speaks of what was asked for, as far as it says.
    fn covers(&self, row: &Row) -> bool {
        let key = self.key(row);
        match row {
            Row::Record(record) => record.key == key && record.content.is_empty(),
            Row::Damaged { tag, .. } => *tag == key.tag,
        }
    }
}

impl Place {
    fn tag(self) -> Option<NameTag> {
        match self {
            Self::Name(tag) => Some(tag),
            Self::Version(_) => None,
        }
    }

    fn id(self) -> Option<RecordId> {
        match self {
            Self::Version(Reverse(id)) => Some(id),
            Self::Name(_) => None,
        }
    }
}

impl Query {
    pub(super) fn disk(&self) -> DiskKind {
        let Self { behind, max, .. } = *self;
        match self.order {
            Order::Names(namespace) => DiskKind::ListNames {
                namespace,
                after: behind.and_then(Place::tag),
                max,
            },
            Order::Versions(key) => DiskKind::ListVersions {
                key,
                below: behind.and_then(Place::id),
                max,
            },
        }
    }

    /// The kind of the request, and of its answer.
    pub(super) fn kind(&self) -> u8 {
        match self.order {
            Order::Names(_) => kind::LIST,
            Order::Versions(_) => kind::HISTORY,
        }
    }

    /// The body of the request.
    pub(super) fn body(&self) -> Bytes {
        let Self { behind, max, .. } = *self;
        match self.order {
            Order::Names(namespace) => message::encode(&message::List {
                namespace,
                after: behind.and_then(Place::tag),
                max,
            }),
            Order::Versions(key) => message::encode(&message::History {
                key,
                below: behind.and_then(Place::id),
                max,
            }),
        }
    }

    /// The page that a peer's answer holds; `None` if it is not what was asked
    /// for.
    pub(super) fn read(&self, body: &[u8]) -> Option<Page> {
        let Rows { rows, more } = message::decode(body).ok()?;
        let rows = rows.into_iter().map(row).collect::<Option<_>>()?;
        let page = Page { rows, more };
        self.is_answered_by(&page).then_some(page)
    }

    /// Whether a page is what was asked for. Signatures are not looked at.
    pub(super) fn is_answered_by(&self, page: &Page) -> bool {
        //# LIST-3: A page MUST have only rows of the namespace or name that was asked for,
        //# without contents, strictly in order, all of them behind where it was to begin,
        //# none of a head above 2,112 or a meta above 2,048 bytes; together no longer than
        //# was asked for, unless it is one row; and say that there are more only if it
        //# has any. Anything else is a fault.
        let (mut behind, mut cost) = (self.behind, 0_usize);
        for row in &page.rows {
            let place = self.order.place(row);
            if behind.is_some_and(|behind| place <= behind) || !self.order.covers(row) {
                return false;
            }
            if row.cost() > Row::COST_MAX {
                return false;
            }
            behind = Some(place);
            cost += row.cost();
        }
        let fits = cost <= self.max as usize || page.rows.len() == 1;
        fits && !(page.more && page.rows.is_empty())
    }
}

/// A peer's row, not verified: `None` if it is neither of the two, or does not
/// parse.
fn row(parts: RowParts) -> Option<Row> {
    match (parts.record, parts.damaged) {
        (Some(record), None) if record.meta.len() <= META_MAX => Some(Row::Record(stored(record)?)),
        (None, Some(damaged)) => {
            let DamagedRow { tag, id } = *damaged;
            Some(Row::Damaged { tag, id })
        }
        _ => None,
    }
}
