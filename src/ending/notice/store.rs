//! All SQL of reminders.

use sqlx::PgConnection;
use time::OffsetDateTime;

use super::{CONTACT_DAYS, Due, TREASURY_DAYS};
use crate::{db, ids::CenterNo};

/// The reminders that are due, the oldest items first.
pub(super) async fn due(
    conn: &mut PgConnection,
    center: CenterNo,
    now: OffsetDateTime,
    limit: i64,
) -> db::Result<Vec<Due>> {
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
pub(super) async fn insert(
    conn: &mut PgConnection,
    center: CenterNo,
    due: &Due,
    at: OffsetDateTime,
) -> db::Result<bool> {
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
pub(super) async fn without_item(
    conn: &mut PgConnection,
    center: CenterNo,
    limit: i64,
) -> db::Result<Vec<(String, String)>> {
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
