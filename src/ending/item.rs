//! The work items of people who left.

use time::{Duration, OffsetDateTime};

use super::entity::year_after;
use crate::{
    db::{self, Conn},
    distribution,
    ids::{DetaineeId, Seq},
    ledger::{Center, JournalTx},
    money::Amount,
    proto::{EndingWork, WorkFacts, work_facts},
    work::{self, Closing, NewItem, WorkKind},
};

/// Where a detainee stands below its center.
pub(super) fn detainee_subject(id: &DetaineeId) -> String {
    format!("detainees/{id}")
}

/// Where a sum that was not collected stands below its center.
pub(super) fn sum_subject(sum: Seq) -> String {
    format!("unclaimedSums/{sum}")
}

/// Where a payout stands below its center.
pub(super) fn payout_subject(payout: Seq) -> String {
    format!("payouts/{payout}")
}

/// An item about somebody's money.
pub(super) fn new(
    kind: WorkKind,
    subject: String,
    detainee: &str,
    amount: Option<Amount>,
    reason: &str,
    at: OffsetDateTime,
) -> NewItem {
    let facts = WorkFacts {
        facts: Some(work_facts::Facts::Ending(EndingWork {
            detainee: detainee.to_owned(),
            amount: amount.map(|amount| amount.to_string()).unwrap_or_default(),
            reason: reason.to_owned(),
        })),
    };
    let item = NewItem::new(kind, subject, facts, at);
    match kind {
        WorkKind::UnclaimedSum | WorkKind::Estate => item.due(year_after(at)),
        // What is late already may not wait long.
        WorkKind::TreasuryDue => item.due(at + Duration::days(30)),
        _ => item,
    }
}

/// Money that was not collected waits: an item for the year, and, when the bank could not pay it, one on top of the queue.
pub(super) async fn raise_sum(
    conn: &mut Conn,
    center: &Center,
    (sum, detainee, amount): (Seq, &DetaineeId, Amount),
    rejected: Option<&str>,
    at: OffsetDateTime,
) -> db::Result<()> {
    let item = |kind, reason| new(kind, sum_subject(sum), detainee.as_str(), Some(amount), reason, at);
    work::raise_in_tx(conn, center.no, &item(WorkKind::UnclaimedSum, "not collected")).await?;
    if let Some(reason) = rejected {
        work::raise_in_tx(conn, center.no, &item(WorkKind::ReleaseRejected, reason)).await?;
    }
    Ok(())
}

/// Closes whatever is open about some money.
pub(super) async fn close(tx: &mut JournalTx, subject: &str, actor: &str, reason: &str) -> db::Result<()> {
    let (center, moment) = (tx.center().clone(), tx.moment());
    for kind in [
        WorkKind::ReleaseRejected,
        WorkKind::PayoutInTransit,
        WorkKind::UnclaimedSum,
        WorkKind::ContactDue,
        WorkKind::Estate,
        WorkKind::TreasuryDue,
    ] {
        let closing = Closing {
            kind,
            subject,
            at: moment.recorded_at,
            actor,
            reason,
            seq: Some(moment.seq),
        };
        work::close_in_tx(tx.conn(), center.no, &closing).await?;
    }
    Ok(())
}

/// Somebody has left: what they still owe is written off, or an item says so.
pub(super) async fn raise_owing(tx: &mut JournalTx, detainee: &DetaineeId) -> db::Result<()> {
    let (center, at) = (tx.center().clone(), tx.moment().recorded_at);
    distribution::raise_left_owing_in_tx(tx.conn(), &center, detainee, at).await
}
