//! What moves with a detainee from one center's commissary to another's: what is spent of the month, and what they must not have.

use time::{Date, OffsetDateTime};

use super::{
    buyer::{Buyer, store as buyers},
    store,
};
use crate::{
    db::{self, Conn},
    ids::{CenterNo, DetaineeId},
    ledger::Center,
    money::Amount,
};

/// What a detainee has spent in a month that counts against its limit.
pub async fn spent_in_tx(conn: &mut Conn, center: &Center, detainee: &DetaineeId, month: Date) -> db::Result<Amount> {
    let mut months = store::spending(conn, center, std::slice::from_ref(detainee)).await?;
    let spent = months
        .remove(detainee.as_str())
        .and_then(|months| months.get(&month).copied());
    Ok(spent.unwrap_or(Amount::zero(center.currency)))
}

/// What somebody who is received has spent elsewhere in a month counts here. The caller has the rules touched.
pub async fn receive_spent_in_tx(
    conn: &mut Conn,
    center: CenterNo,
    detainee: &DetaineeId,
    month: Date,
    spent: Amount,
) -> db::Result<()> {
    if spent.is_positive() {
        store::insert_spending(conn, center, detainee, month, spent).await?;
    }
    Ok(())
}

/// What a detainee must not have is the person's own, wherever they live; where they live here is still to be told. The caller
/// has the rules touched.
pub async fn move_buyer_in_tx(
    conn: &mut Conn,
    (from, before): (CenterNo, &DetaineeId),
    (to, detainee): (CenterNo, &DetaineeId),
    (document, by, at): (&str, &str, OffsetDateTime),
) -> db::Result<()> {
    let known = buyers::buyer(conn, from, before).await?;
    if known.version == 0 {
        return Ok(());
    }
    let buyer = Buyer {
        housing_unit: String::new(),
        version: 1,
        changed_at: Some(at),
        ..known
    };
    buyers::insert(conn, to, detainee, &buyer, (document, by, at)).await
}
