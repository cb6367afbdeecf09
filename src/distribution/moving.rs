//! What a detainee owes, to courts and to the center, when they move to another center.

use time::OffsetDateTime;

use super::{
    entity::{CourtOrder, CourtOrderEvent, CourtOrderState, Debt, DebtKind},
    store,
};
use crate::{
    db::{self, Conn, decoding},
    ids::{CenterNo, CourtOrderId, DetaineeId, Seq},
    ledger::{Center, Declined},
    money::Amount,
    proto::{MovedCourtOrder, MovedDebt},
};

/// Who moves what a detainee owes, when, and by which document.
#[derive(Debug, Clone, Copy)]
pub struct MovedBy<'a> {
    /// The transfer's document.
    pub document: &'a str,
    /// As the journal names them.
    pub actor: &'a str,
    /// When.
    pub at: OffsetDateTime,
}

/// The court orders of a detainee that have not ended, as they were recorded, and the debts of which something is still owed.
pub async fn owed_in_tx(
    conn: &mut Conn,
    center: &Center,
    detainee: &DetaineeId,
) -> Result<(Vec<CourtOrder>, Vec<Debt>), Declined> {
    let id = std::slice::from_ref(detainee);
    let mut orders = store::court_orders(conn, center, id).await?;
    let mut debts = store::debts(conn, center, id).await?;
    let mut orders = orders.remove(detainee.as_str()).unwrap_or_default();
    orders.retain(|order| order.state != CourtOrderState::Ended);
    let mut owed = Vec::new();
    for debt in debts.remove(detainee.as_str()).unwrap_or_default() {
        if debt.owed()?.is_positive() {
            owed.push(debt);
        }
    }
    Ok((orders, owed))
}

/// A court order as a record tells that it moves.
pub fn moved_order(order: &CourtOrder) -> MovedCourtOrder {
    MovedCourtOrder {
        court_order: order.id.to_string(),
        document: order.document.clone(),
        rank: order.rank,
        total: order.total.to_string(),
        collected: order.collected.to_string(),
        suspended: order.state == CourtOrderState::Suspended,
    }
}

/// Ends the court orders of a detainee who leaves: another center collects them.
pub async fn end_orders_in_tx(
    conn: &mut Conn,
    center: CenterNo,
    detainee: &DetaineeId,
    orders: &[CourtOrder],
    by: MovedBy<'_>,
) -> db::Result<()> {
    for order in orders {
        store::insert_court_order_event(conn, center, detainee, &order.id, &event(CourtOrderState::Ended, by)).await?;
    }
    Ok(())
}

/// Goes on with the court orders of a detainee who is received, where the other center has stopped.
pub async fn receive_orders_in_tx(
    conn: &mut Conn,
    center: &Center,
    detainee: &DetaineeId,
    orders: &[MovedCourtOrder],
    by: MovedBy<'_>,
) -> Result<(), Declined> {
    for (position, told) in (1..).zip(orders) {
        let order = CourtOrder {
            id: CourtOrderId::parse(&told.court_order).map_err(decoding)?,
            document: told.document.clone(),
            total: Amount::parse(&told.total, center.currency)?,
            collected: Amount::parse(&told.collected, center.currency)?,
            rank: told.rank,
            position,
            state: CourtOrderState::Active,
            created_at: by.at,
        };
        store::insert_court_order(conn, center, detainee, &order, by.actor).await?;
        if order.collected.is_positive() {
            store::insert_collected(conn, center.no, detainee, &order.id, order.collected).await?;
        }
        if told.suspended {
            let event = event(CourtOrderState::Suspended, by);
            store::insert_court_order_event(conn, center.no, detainee, &order.id, &event).await?;
        }
    }
    Ok(())
}

fn event(state: CourtOrderState, by: MovedBy<'_>) -> CourtOrderEvent {
    CourtOrderEvent {
        state,
        document: by.document.to_owned(),
        at: by.at,
        by: by.actor.to_owned(),
    }
}

/// A debt as a record tells that it moves. A claim's document is a transaction of the center where it arose.
pub fn moved_debt(center: &Center, debt: &Debt) -> MovedDebt {
    let document = match debt.kind {
        DebtKind::Claim if !debt.document.starts_with("centers/") => format!("centers/{}/{}", center.id, debt.document),
        _ => debt.document.clone(),
    };
    MovedDebt {
        kind: debt.kind.name().to_owned(),
        document,
        consented: debt.is_consented,
    }
}

/// Nothing of a debt is owed here any more: the debtor has moved with it.
pub async fn move_debt_out_in_tx(conn: &mut Conn, center: CenterNo, debt: &Debt) -> Result<(), Declined> {
    let repaid = debt.amount.checked_sub(debt.written_off)?;
    Ok(store::put_repaid(conn, center, debt.seq, repaid).await?)
}

/// What is still owed of a debt is owed here, under the number of the transaction that brings it.
pub async fn move_debt_in_in_tx(
    conn: &mut Conn,
    center: &Center,
    (detainee, amount, told): (&DetaineeId, Amount, &MovedDebt),
    (seq, at, transfer): (Seq, OffsetDateTime, Seq),
) -> Result<(), Declined> {
    let kind = DebtKind::from_name(&told.kind);
    let debt = Debt {
        seq,
        detainee: detainee.clone(),
        kind: kind.ok_or_else(|| Declined::Broken(format!("a debt of the kind {}", told.kind)))?,
        document: told.document.clone(),
        amount,
        repaid: Amount::zero(center.currency),
        written_off: Amount::zero(center.currency),
        is_consented: told.consented,
        recorded_at: at,
        approval: None,
    };
    store::insert_debt(conn, center, &debt, Some(transfer)).await?;
    Ok(())
}
