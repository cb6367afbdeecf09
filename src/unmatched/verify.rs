//! Money without an order against its transactions; and all of suspense against what is in it.

use std::collections::{BTreeMap, BTreeSet};

use futures::future::{BoxFuture, FutureExt as _};
use rust_decimal::Decimal;

use super::{SumEnd, store, subject};
use crate::{
    db::Conn,
    ids::{DetaineeId, Seq},
    ledger::{
        balance, chart, record,
        verify::{Check, Owner, Page, VerifyError},
    },
    proto::journal_record::Facts,
    remittance::suspense,
    work::{self, WorkKind},
};

/// Every sum and its end are what the records say. Suspense is what is left of the payments of remittances and the sums that
/// wait, to the last cent, and each of them has an open work item.
#[derive(Debug, Default)]
pub struct UnmatchedCheck;

impl Check for UnmatchedCheck {
    fn page<'a>(&'a mut self, conn: &'a mut Conn, page: &'a Page<'a>) -> BoxFuture<'a, Result<(), VerifyError>> {
        async move {
            received(conn, page).await?;
            ended(conn, page).await
        }
        .boxed()
    }

    fn end<'a>(&'a mut self, conn: &'a mut Conn, page: &'a Page<'a>) -> BoxFuture<'a, Result<(), VerifyError>> {
        explained(conn, page).boxed()
    }
}

async fn received(conn: &mut Conn, page: &Page<'_>) -> Result<(), VerifyError> {
    let rows = sqlx::query!(
        "select seq, channel, reference, amount, value_date, recorded_at from unmatched_sum
         where center_id = $1 and seq > $2 and seq <= $3",
        page.center.no.0,
        page.after.0,
        page.through.0,
    )
    .fetch_all(conn)
    .await?;
    let stored = rows.into_iter().map(|row| {
        let at = Some(record::timestamp(row.recorded_at));
        (
            row.seq,
            (row.channel, row.reference, row.amount, row.value_date.to_string(), at),
        )
    });
    let mut told = BTreeMap::new();
    for record in page.records {
        if let Some(Facts::Unmatched(facts)) = record.facts.clone() {
            page.parties(record, &[Owner::channel(&facts.channel)])?;
            let amount = page.amount(record, &facts.amount)?;
            let row = (
                facts.channel,
                facts.reference,
                amount,
                facts.value_date,
                record.recorded_at,
            );
            told.insert(record.seq, row);
        }
    }
    page.same_rows("unmatched_sum", &told, &stored.collect())
}

async fn ended(conn: &mut Conn, page: &Page<'_>) -> Result<(), VerifyError> {
    let rows = sqlx::query!(
        r#"select e.seq, e.end_seq, e.state, e.detainee_id, e.approval_no, s.amount as "amount?"
           from unmatched_end e left join unmatched_sum s on s.center_id = e.center_id and s.seq = e.seq
           where e.center_id = $1 and e.end_seq > $2 and e.end_seq <= $3"#,
        page.center.no.0,
        page.after.0,
        page.through.0,
    )
    .fetch_all(conn)
    .await?;
    let stored = rows.into_iter().map(|row| {
        let end = (
            row.end_seq,
            row.state,
            row.detainee_id,
            row.amount,
            Some(row.approval_no),
        );
        (row.seq, end)
    });
    let mut told = BTreeMap::new();
    for record in page.records {
        let (end, amount, approval) = match &record.facts {
            Some(Facts::UnmatchedCredit(facts)) => {
                page.parties(record, &[Owner::detainee(&facts.detainee)])?;
                let detainee = DetaineeId::parse(&facts.detainee)
                    .map_err(|error| page.differs(record, format!("its detainee: {error}")))?;
                (SumEnd::Credited(detainee), &facts.amount, &facts.approval)
            }
            // To somebody who has moved: what the other side got, their own check looks at.
            Some(Facts::Forwarded(facts)) if record.reverses != 0 && facts.remittance.is_empty() => {
                let told = match &facts.other {
                    Some(other) if other.seq == 0 => &other.detainee,
                    _ => &facts.detainee,
                };
                let detainee =
                    DetaineeId::parse(told).map_err(|error| page.differs(record, format!("its detainee: {error}")))?;
                (SumEnd::Credited(detainee), &facts.amount, &facts.approval)
            }
            Some(Facts::UnmatchedReturn(facts)) => {
                page.parties(record, &[])?;
                (SumEnd::Returned, &facts.amount, &facts.approval)
            }
            _ => continue,
        };
        let amount = page.amount(record, amount)?;
        let name = end.name().to_owned();
        let detainee = match end {
            SumEnd::Credited(detainee) => Some(detainee.to_string()),
            SumEnd::Returned => None,
        };
        let approval = approval.as_ref().map(|approval| approval.approval);
        told.insert(record.reverses, (record.seq, name, detainee, Some(amount), approval));
    }
    page.same_rows("unmatched_end", &told, &stored.collect())
}

/// Suspense is what is open, and what is open is in the work queue.
async fn explained(conn: &mut Conn, page: &Page<'_>) -> Result<(), VerifyError> {
    let center = page.center;
    let waiting = store::waiting(conn, center.no).await?;
    let left = suspense::all_left(conn, center).await?;
    let mut open = Decimal::ZERO;
    let amounts = waiting.iter().map(|(_, amount)| *amount);
    for amount in amounts.chain(left.values().map(|amount| amount.value())) {
        let more = open.checked_add(amount);
        open = more.ok_or_else(|| page.row_differs("unmatched_sum", "(all)", "what is open overflows"))?;
    }
    let (balances, _) = balance::now(&mut *conn, center, &[chart::SUSPENSE]).await?;
    let balance = balances.first().map_or(Decimal::ZERO, |balance| balance.value());
    if balance != open {
        let what = format!("suspense is {balance}, and {open} of it is explained by what is open");
        return Err(page.row_differs("account_balance", chart::SUSPENSE, what));
    }
    let sums: BTreeSet<String> = waiting.iter().map(|(seq, _)| subject(*seq)).collect();
    let payments: BTreeSet<String> = left.keys().map(|seq: &Seq| format!("transactions/{seq}")).collect();
    // What is held for review waits in the queue as such.
    let of_payments = &[WorkKind::SuspendedPayment, WorkKind::HeldRemittance][..];
    for (kinds, expected) in [(&[WorkKind::UnmatchedSum][..], sums), (of_payments, payments)] {
        let mut queued: BTreeSet<String> = BTreeSet::new();
        for kind in kinds {
            queued.extend(work::open_subjects(conn, center.no, *kind).await?);
        }
        if let Some(subject) = expected.symmetric_difference(&queued).next() {
            let what = if queued.contains(subject) {
                "is in the queue, but nothing of it is in suspense"
            } else {
                "is in suspense, but not in the queue"
            };
            return Err(page.row_differs("work_item_open", subject, what));
        }
    }
    Ok(())
}
