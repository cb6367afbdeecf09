//! The work queue against itself and the transactions that ended items.

use futures::future::{BoxFuture, FutureExt as _};

use crate::{
    db::Conn,
    ledger::verify::{Check, Page, VerifyError},
};

/// Every item that did not end is in the queue with its own deadline, and no other is; an end names a transaction that is there.
#[derive(Debug, Default)]
pub struct WorkCheck;

impl Check for WorkCheck {
    fn page<'a>(&'a mut self, _: &'a mut Conn, _: &'a Page<'a>) -> BoxFuture<'a, Result<(), VerifyError>> {
        // Which transaction needs or ends an item is for the domains that raise items to know.
        async { Ok(()) }.boxed()
    }

    fn end<'a>(&'a mut self, conn: &'a mut Conn, page: &'a Page<'a>) -> BoxFuture<'a, Result<(), VerifyError>> {
        async move {
            queue(conn, page).await?;
            ends(conn, page).await
        }
        .boxed()
    }
}

async fn queue(conn: &mut Conn, page: &Page<'_>) -> Result<(), VerifyError> {
    let wrong = sqlx::query_scalar!(
        r#"select coalesce(i.item_id, o.item_id) as "item_id!"
           from (select * from work_item where center_id = $1) i
           full join (select * from work_item_open where center_id = $1) o on o.item_id = i.item_id
           left join work_item_leg e on e.center_id = $1 and e.item_id = i.item_id and e.state in ('DONE', 'CANCELLED')
           where i.item_id is null or (e.item_id is null) <> (o.item_id is not null)
              or (o.kind, o.subject, o.deadline_at) is distinct from (i.kind, i.subject, i.deadline_at) and o.item_id is not null
           order by 1 limit 1"#,
        page.center.no.0,
    )
    .fetch_optional(conn)
    .await?;
    wrong.map_or(Ok(()), |id| {
        Err(page.row_differs(
            "work_item_open",
            id,
            "it must be there, with its deadline, exactly until the item ends",
        ))
    })
}

async fn ends(conn: &mut Conn, page: &Page<'_>) -> Result<(), VerifyError> {
    let wrong = sqlx::query!(
        r#"select l.item_id, l.seq as "seq!" from work_item_leg l
           left join journal_transaction t on t.center_id = l.center_id and t.seq = l.seq
           where l.center_id = $1 and l.seq is not null and t.seq is null
           order by l.item_id limit 1"#,
        page.center.no.0,
    )
    .fetch_optional(conn)
    .await?;
    wrong.map_or(Ok(()), |row| {
        let what = format!("transaction {} is not there", row.seq);
        Err(page.row_differs("work_item_leg", row.item_id, what))
    })
}
