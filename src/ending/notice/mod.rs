//! Reminders: whoever is to have money that nobody collects is contacted after 7, 30 and 90 days; after a year it is the treasury's.
//! And whoever left with money still in an account has an item that says so.
//!
//! Each reminder is a row beside the item it reminds of, so that it is raised once, whatever process looks.

mod store;

use time::OffsetDateTime;

use super::{Endings, entity::YEAR_DAYS, item};
use crate::{
    db::Conn,
    ids::DetaineeId,
    ledger::{Center, LedgerError, center},
    proto::{WorkFacts, work_facts},
    work::{self, WorkKind},
};

/// After how many days whoever is to have the money is contacted.
const CONTACT_DAYS: [i32; 3] = [7, 30, 90];
/// After how many days the money is the treasury's.
const TREASURY_DAYS: i32 = YEAR_DAYS;

/// A reminder that is due.
struct Due {
    item: String,
    kind: String,
    subject: String,
    facts: Vec<u8>,
    days: i32,
}

impl Endings {
    /// Raises up to `limit` reminders of a center that are due, and the items of whoever left with money still in an account; how
    /// many.
    pub async fn remind(&self, center: &Center, limit: i64) -> Result<usize, LedgerError> {
        let mut tx = self.lanes.database().lane.begin().await?;
        // Whatever ends an item waits, so that nobody is reminded of what is over.
        let head = center::head(&mut tx, center.no, true).await?;
        let now = self.lanes.clock().now().max(head.recorded_at);
        let due = store::due(&mut tx, center.no, now, limit).await?;
        let mut raised = 0;
        for reminder in &due {
            if store::insert(&mut tx, center.no, reminder, now).await? {
                raise(&mut tx, center, reminder, now).await?;
                raised += 1;
            }
        }
        for (id, state) in store::without_item(&mut tx, center.no, limit).await? {
            let id = DetaineeId::parse(&id).map_err(|_| LedgerError::Internal)?;
            let item = item::new(
                WorkKind::Estate,
                item::detainee_subject(&id),
                id.as_str(),
                None,
                &state,
                now,
            );
            work::raise_in_tx(&mut tx, center.no, &item).await?;
            raised += 1;
        }
        if raised > 0 {
            tx.commit().await?;
        }
        Ok(raised)
    }
}

async fn raise(conn: &mut Conn, center: &Center, due: &Due, now: OffsetDateTime) -> Result<(), LedgerError> {
    let known: WorkFacts = crate::ledger::record::read_canonical(&due.facts)?;
    let Some(work_facts::Facts::Ending(known)) = known.facts else {
        tracing::error!(center = %center.id, item = due.item, "an item of somebody who left has other facts");
        return Err(LedgerError::Internal);
    };
    let (kind, reason) = if due.days == TREASURY_DAYS {
        (WorkKind::TreasuryDue, "a year is over".to_owned())
    } else if due.kind == "ESTATE" && known.reason == "escaped" {
        // Nobody is there to be contacted.
        return Ok(());
    } else {
        (WorkKind::ContactDue, format!("{} days are over", due.days))
    };
    let amount = crate::money::Amount::parse(&known.amount, center.currency).ok();
    let item = item::new(kind, due.subject.clone(), &known.detainee, amount, &reason, now);
    Ok(work::raise_in_tx(conn, center.no, &item).await?)
}
