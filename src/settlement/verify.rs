//! Settlements and how they ended against their transactions.

use std::collections::{BTreeMap, HashMap};

use futures::future::{BoxFuture, FutureExt as _};

use super::End;
use crate::{
    db::Conn,
    ledger::verify::{Check, Owner, Page, VerifyError},
    proto::{JournalRecord, OutcomeFacts, TransactionKind, journal_record::Facts},
};

/// The vendors of the settlements that are in transit.
#[derive(Debug, Default)]
pub struct SettlementsCheck {
    in_transit: HashMap<i64, Owner>,
}

impl Check for SettlementsCheck {
    fn page<'a>(&'a mut self, conn: &'a mut Conn, page: &'a Page<'a>) -> BoxFuture<'a, Result<(), VerifyError>> {
        async move {
            for record in page.records {
                self.parties(page, record)?;
            }
            closed(conn, page).await?;
            ended(conn, page).await
        }
        .boxed()
    }

    fn end<'a>(&'a mut self, _: &'a mut Conn, _: &'a Page<'a>) -> BoxFuture<'a, Result<(), VerifyError>> {
        async { Ok(()) }.boxed()
    }
}

/// How a record ended a settlement, if it did.
fn end_of(record: &JournalRecord) -> Option<(End, &OutcomeFacts)> {
    let end = match record.kind() {
        TransactionKind::SettlementPaid => End::Paid,
        TransactionKind::SettlementFailed => End::Failed,
        _ => return None,
    };
    match &record.facts {
        Some(Facts::Outcome(facts)) => Some((end, facts)),
        _ => None,
    }
}

impl SettlementsCheck {
    fn parties(&mut self, page: &Page<'_>, record: &JournalRecord) -> Result<(), VerifyError> {
        if let Some(Facts::Settlement(facts)) = &record.facts {
            let vendor = Owner::vendor(&facts.vendor);
            page.parties(record, std::slice::from_ref(&vendor))?;
            self.in_transit.insert(record.seq, vendor);
        } else if end_of(record).is_some() {
            let vendor = self
                .in_transit
                .remove(&record.reverses)
                .ok_or_else(|| page.differs(record, format!("settlement {} is not in transit", record.reverses)))?;
            page.parties(record, &[vendor])?;
        }
        Ok(())
    }
}

async fn closed(conn: &mut Conn, page: &Page<'_>) -> Result<(), VerifyError> {
    let rows = sqlx::query!(
        "select seq, vendor_id, through_date, after_seq, through_seq, total from settlement
         where center_id = $1 and seq > $2 and seq <= $3",
        page.center.no.0,
        page.after.0,
        page.through.0,
    )
    .fetch_all(conn)
    .await?;
    let stored = rows
        .into_iter()
        .map(|row| {
            let covers = (row.through_date.to_string(), row.after_seq, row.through_seq);
            (row.seq, (row.vendor_id, covers, row.total))
        })
        .collect();
    let mut explained = BTreeMap::new();
    for record in page.records {
        if let Some(Facts::Settlement(facts)) = &record.facts {
            let covers = (facts.through_date.clone(), facts.after_seq, facts.through_seq);
            let total = page.amount(record, &facts.total)?;
            explained.insert(record.seq, (facts.vendor.clone(), covers, total));
        }
    }
    page.same_rows("settlement", &explained, &stored)
}

async fn ended(conn: &mut Conn, page: &Page<'_>) -> Result<(), VerifyError> {
    let rows = sqlx::query!(
        "select seq, end_seq, state, reference, reason from settlement_end
         where center_id = $1 and end_seq > $2 and end_seq <= $3",
        page.center.no.0,
        page.after.0,
        page.through.0,
    )
    .fetch_all(conn)
    .await?;
    let stored = rows
        .into_iter()
        .map(|row| (row.seq, (row.end_seq, row.state, row.reference, row.reason)))
        .collect();
    let explained = page.records.iter().filter_map(|record| {
        let (end, facts) = end_of(record)?;
        let row = (
            record.seq,
            end.name().to_owned(),
            facts.reference.clone(),
            facts.reason.clone(),
        );
        Some((record.reverses, row))
    });
    page.same_rows("settlement_end", &explained.collect(), &stored)
}
