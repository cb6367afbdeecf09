//! Raising and closing items in a lane's statement.

use super::{
    Closing, NewItem,
    store::{ClosedItems, EndedItems, OpenedItems, RaisedItems},
};
use crate::ledger::Rows;

/// Raises an item with the batch. The caller knows that there is none: its subject is the batch's own transaction.
pub fn raise(rows: &mut Rows, new: NewItem) {
    if let Some(opened) = rows.of::<OpenedItems>() {
        opened.push(&new);
    }
    if let Some(raised) = rows.of::<RaisedItems>() {
        raised.push(new);
    }
}

/// Closes the open item of a kind for a subject with the batch, if there is one.
pub fn close(rows: &mut Rows, closing: &Closing<'_>) {
    if let Some(ended) = rows.of::<EndedItems>() {
        ended.push(closing);
    }
    if let Some(closed) = rows.of::<ClosedItems>() {
        closed.push(closing);
    }
}
