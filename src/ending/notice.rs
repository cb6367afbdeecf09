//! Reminders: whoever is to have money that nobody collects is contacted after 7, 30 and 90 days; after a year it is the treasury's.
//! And whoever left with money still in an account has an item that says so.
//!
//! Each reminder is a row beside the item it reminds of, so that it is raised once, whatever process looks.

use sqlx::PgConnection;
use time::OffsetDateTime;

use super::{Endings, entity::YEAR_DAYS, item};
use crate::{
    db,
    ids::{CenterNo, DetaineeId},
    ledger::{Center, LedgerError, center},
    proto::{WorkFacts, work_facts},
    work::{self, WorkKind},
};

/// After how many days whoever is to have the money is contacted.
const CONTACT_DAYS: [i32; 3] = [7, 30, 90];
/// After how many days the money is the treasury's.
const TREASURY_DAYS: i32 = YEAR_DAYS as i32;

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
        let due = due(&mut tx, center.no, now, limit).await?;
        let mut raised = 0;
        for reminder in &due {
            if insert(&mut tx, center.no, reminder, now).await? {
                raise(&mut tx, center, reminder, now).await?;
                raised += 1;
            }
        }
        for (id, state) in without_item(&mut tx, center.no, limit).await? {
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

async fn raise(conn: &mut PgConnection, center: &Center, due: &Due, now: OffsetDateTime) -> Result<(), LedgerError> {
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

/// The reminders that are due, the oldest items first.
async fn due(conn: &mut PgConnection, center: CenterNo, now: OffsetDateTime, limit: i64) -> db::Result<Vec<Due>> {
    let mut days = CONTACT_DAYS.to_vec();
    days.push(TREASURY_DAYS);
    let rows = sqlx::query!(
        r#"select o.item_id, o.kind, o.subject, i.facts, d.days as "days!"
           from work_item_open o
           join work_item i on i.center_id = o.center_id and i.item_id = o.item_id
           cross join unnest($2::integer[]) d (days)
           where o.center_id = $1 and o.kind in ('UNCLAIMED_SUM', 'ESTATE') and i.opened_at + make_interval(days => d.days) <= $3
             and not exists (select from ending_notice n
                             where n.center_id = o.center_id and n.item_id = o.item_id and n.days = d.days)
           order by i.opened_at, o.item_id, d.days limit $4"#,
        center.0,
        &days,
        now,
        limit,
    )
    .fetch_all(conn)
    .await?;
    let due = rows.into_iter().map(|row| Due {
        item: row.item_id,
        kind: row.kind,
        subject: row.subject,
        facts: row.facts,
        days: row.days,
    });
    Ok(due.collect())
}

/// Writes a reminder down; false if it was before.
async fn insert(conn: &mut PgConnection, center: CenterNo, due: &Due, at: OffsetDateTime) -> db::Result<bool> {
    let done = sqlx::query!(
        "insert into ending_notice (center_id, item_id, days, raised_at) values ($1, $2, $3, $4) on conflict do nothing",
        center.0,
        due.item,
        due.days,
        at,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Whoever is gone, has money in an account, and no item that says so: a refund came back late, say.
async fn without_item(conn: &mut PgConnection, center: CenterNo, limit: i64) -> db::Result<Vec<(String, String)>> {
    let rows = sqlx::query!(
        "select d.detainee_id, d.state from detainee d
         where d.center_id = $1 and d.state in ('released', 'deceased', 'escaped', 'merged')
           and exists (select from account_balance b
                       where b.center_id = d.center_id and b.account_no between d.account_base and d.account_base + 3
                         and b.balance > 0)
           and not exists (select from work_item_open o
                           where o.center_id = d.center_id and o.kind = 'ESTATE'
                             and o.subject = 'detainees/' || d.detainee_id)
         order by d.detainee_id limit $2",
        center.0,
        limit,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (row.detainee_id, row.state)).collect())
}
