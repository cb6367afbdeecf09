//! Settlements and how they ended against their transactions.

use std::collections::{BTreeMap, HashMap};

use futures::future::{BoxFuture, FutureExt as _};

use rust_decimal::Decimal;

use super::{End, PAYOUT, store};
use crate::{
    approval, commissary,
    db::Conn,
    ids::{Seq, VendorId},
    ledger::{
        record,
        verify::{Check, Owner, Page, VerifyError},
    },
    proto::{
        ApproveSettlementCommand, JournalRecord, OutcomeFacts, SettlementFacts, TransactionKind, journal_record::Facts,
    },
};

/// Each settlement is what its lines come to, ended once, and was paid only if it was allowed. Remembers the vendors of the
/// settlements that are in transit.
#[derive(Debug, Default)]
pub struct SettlementsCheck {
    in_transit: HashMap<i64, (Owner, String)>,
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

    fn end<'a>(&'a mut self, conn: &'a mut Conn, page: &'a Page<'a>) -> BoxFuture<'a, Result<(), VerifyError>> {
        allowed(conn, page).boxed()
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
            self.in_transit.insert(record.seq, (vendor, record.actor.clone()));
        } else if let Some((end, _)) = end_of(record) {
            let (vendor, closed_by) = self
                .in_transit
                .remove(&record.reverses)
                .ok_or_else(|| page.differs(record, format!("settlement {} is not in transit", record.reverses)))?;
            page.parties(record, &[vendor])?;
            if end == End::Paid && approval::is_one_person(&closed_by, &record.actor) {
                return Err(page.differs(record, "whoever closed the settlement says that it was paid"));
            }
        }
        Ok(())
    }
}

async fn closed(conn: &mut Conn, page: &Page<'_>) -> Result<(), VerifyError> {
    let rows = sqlx::query!(
        "select seq, vendor_id, through_date, after_seq, through_seq, total, commission from settlement
         where center_id = $1 and seq > $2 and seq <= $3",
        page.center.no.0,
        page.after.0,
        page.through.0,
    )
    .fetch_all(&mut *conn)
    .await?;
    let stored = rows
        .into_iter()
        .map(|row| {
            let covers = (row.through_date.to_string(), row.after_seq, row.through_seq);
            (row.seq, (row.vendor_id, covers, row.total, row.commission))
        })
        .collect();
    let mut explained = BTreeMap::new();
    for record in page.records {
        if let Some(Facts::Settlement(facts)) = &record.facts {
            let covers = (facts.through_date.clone(), facts.after_seq, facts.through_seq);
            let total = page.amount(record, &facts.total)?;
            let commission = commission_of(page, record, facts)?;
            explained.insert(record.seq, (facts.vendor.clone(), covers, total, commission));
            lines(conn, page, record, facts, total + commission).await?;
        }
    }
    page.same_rows("settlement", &explained, &stored)
}

/// What the center kept, below zero when it gave back.
fn commission_of(page: &Page<'_>, record: &JournalRecord, facts: &SettlementFacts) -> Result<Decimal, VerifyError> {
    match facts.commission.strip_prefix('-') {
        Some(given_back) => Ok(-page.amount(record, given_back)?),
        None if facts.commission.is_empty() => Ok(Decimal::ZERO),
        None => page.amount(record, &facts.commission),
    }
}

/// A settlement is what its lines come to.
async fn lines(
    conn: &mut Conn,
    page: &Page<'_>,
    record: &JournalRecord,
    facts: &SettlementFacts,
    gross: Decimal,
) -> Result<(), VerifyError> {
    let vendor =
        VendorId::parse(&facts.vendor).map_err(|error| page.differs(record, format!("its vendor: {error}")))?;
    let vendor = commissary::vendor_in_tx(conn, page.center, &vendor).await?;
    let vendor = vendor.ok_or_else(|| page.differs(record, "its vendor is not stored"))?;
    let (after, through) = (Seq(facts.after_seq), Seq(facts.through_seq));
    let sums = store::sums(conn, page.center, &vendor, after, through).await?;
    let put_back = match facts.put_back.as_str() {
        "" => Decimal::ZERO,
        text => page.amount(record, text)?,
    };
    let told = (
        facts.line_count,
        page.amount(record, &facts.credited)?,
        page.amount(record, &facts.returned)?,
        put_back,
    );
    let found = (
        sums.count,
        sums.credited.value(),
        sums.returned.value(),
        sums.put_back.value(),
    );
    if told != found || found.1 - found.2 != gross {
        return Err(page.differs(
            record,
            format!("its lines come to {found:?}, it says {told:?} and pays {gross}"),
        ));
    }
    Ok(())
}

/// Every settlement that was allowed was so by enough people, for what it pays; and what was paid was allowed.
async fn allowed(conn: &mut Conn, page: &Page<'_>) -> Result<(), VerifyError> {
    let unallowed = sqlx::query_scalar!(
        "select e.seq from settlement_end e
         left join settlement_approval a on a.center_id = e.center_id and a.seq = e.seq
         where e.center_id = $1 and e.state = 'PAID' and a.seq is null order by e.seq limit 1",
        page.center.no.0,
    )
    .fetch_optional(&mut *conn)
    .await?;
    if let Some(seq) = unallowed {
        return Err(page.row_differs("settlement_end", seq, "it was paid, and nobody had allowed it"));
    }
    let mut after = 0;
    loop {
        let rows = sqlx::query!(
            "select a.seq, a.approval_no, s.total from settlement_approval a
             join settlement s on s.center_id = a.center_id and s.seq = a.seq
             where a.center_id = $1 and a.seq > $2 order by a.seq limit 500",
            page.center.no.0,
            after,
        )
        .fetch_all(&mut *conn)
        .await?;
        for row in &rows {
            let approval = approval::find_in_tx(conn, page.center, row.approval_no).await?;
            let command = ApproveSettlementCommand {
                seq: row.seq,
                total: page.center.amount(row.total)?.to_string(),
            };
            let is_of_it = |approval: &approval::Approval| {
                approval.is_approved()
                    && approval.kind == PAYOUT.name
                    && approval.command == record::canonical(&command)
                    && approval.amount.is_some_and(|amount| amount.value() == row.total)
            };
            if !approval.as_ref().is_some_and(is_of_it) {
                let what = format!("approval {} has not allowed it", row.approval_no);
                return Err(page.row_differs("settlement_approval", row.seq, what));
            }
        }
        match rows.last() {
            Some(last) => after = last.seq,
            None => return Ok(()),
        }
    }
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
