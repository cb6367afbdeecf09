//! What courts have collected against the credits it was collected from.

use std::collections::BTreeMap;

use futures::future::{BoxFuture, FutureExt as _};
use rust_decimal::Decimal;

use super::COURT_ORDER;
use crate::{
    db::Conn,
    ledger::verify::{Check, Page, VerifyError},
    proto::journal_record::Facts,
};

/// What credits have collected for each court order, by detainee and document.
#[derive(Debug, Default)]
pub struct CollectedCheck {
    orders: BTreeMap<(String, String), Collected>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Collected {
    collected: Decimal,
    /// What the last credit says is still owed.
    owed: Decimal,
}

impl Check for CollectedCheck {
    fn page<'a>(&'a mut self, _: &'a mut Conn, page: &'a Page<'a>) -> BoxFuture<'a, Result<(), VerifyError>> {
        async move { self.collect(page) }.boxed()
    }

    fn end<'a>(&'a mut self, conn: &'a mut Conn, page: &'a Page<'a>) -> BoxFuture<'a, Result<(), VerifyError>> {
        self.compare(conn, page).boxed()
    }
}

impl CollectedCheck {
    fn collect(&mut self, page: &Page<'_>) -> Result<(), VerifyError> {
        for record in page.records {
            let (detainee, parts) = match &record.facts {
                Some(Facts::Credit(facts)) => (&facts.detainee, &facts.parts),
                Some(Facts::UnmatchedCredit(facts)) => (&facts.detainee, &facts.parts),
                _ => continue,
            };
            for part in parts.iter().filter(|part| part.rule == COURT_ORDER) {
                let amount = page.amount(record, &part.amount)?;
                let owed = page.amount(record, &part.still_owed)?;
                let key = (detainee.clone(), part.document.clone());
                let order = self.orders.entry(key).or_default();
                order.collected = order
                    .collected
                    .checked_add(amount)
                    .ok_or_else(|| page.differs(record, "what a court collected overflows"))?;
                order.owed = owed;
            }
        }
        Ok(())
    }

    async fn compare(&self, conn: &mut Conn, page: &Page<'_>) -> Result<(), VerifyError> {
        let rows = sqlx::query!(
            r#"select coalesce(o.detainee_id, c.detainee_id) as "detainee_id!",
                      coalesce(o.court_order_id, c.court_order_id) as "court_order_id!",
                      o.document as "document?", o.total as "total?", coalesce(c.collected, 0) as "collected!"
               from (select * from court_order where center_id = $1) o
               full join (select * from court_order_collected where center_id = $1) c
                 on c.detainee_id = o.detainee_id and c.court_order_id = o.court_order_id
               order by 1, 2"#,
            page.center.no.0,
        )
        .fetch_all(conn)
        .await?;
        let mut left = self.orders.clone();
        for row in rows {
            let key = format!("{} {}", row.detainee_id, row.court_order_id);
            let (Some(document), Some(total)) = (row.document, row.total) else {
                return Err(page.row_differs("court_order_collected", key, "has no court order"));
            };
            match left.remove(&(row.detainee_id, document)) {
                Some(told) if told.collected != row.collected => {
                    let what = format!("stored as {}, the records say {}", row.collected, told.collected);
                    return Err(page.row_differs("court_order_collected", key, what));
                }
                Some(told) if total.checked_sub(told.collected) != Some(told.owed) => {
                    let what = format!(
                        "its total is {total}; the records say {} collected and {} still owed",
                        told.collected, told.owed
                    );
                    return Err(page.row_differs("court_order", key, what));
                }
                None if !row.collected.is_zero() => {
                    let what = format!("stored as {}, no record explains it", row.collected);
                    return Err(page.row_differs("court_order_collected", key, what));
                }
                _ => {}
            }
        }
        match left.into_iter().next() {
            Some(((detainee, document), _)) => {
                let what = "not stored, but records collect for it";
                Err(page.row_differs("court_order", format!("{detainee} {document}"), what))
            }
            None => Ok(()),
        }
    }
}
