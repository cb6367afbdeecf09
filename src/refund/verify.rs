//! Refunds and release payouts, and how they ended, against their transactions.

use std::collections::{BTreeMap, HashMap};

use futures::future::{BoxFuture, FutureExt as _};
use rust_decimal::Decimal;

use super::{RETURN_METHOD, RefundState, ReleaseEnd};
use crate::{
    approval::person_of,
    db::Conn,
    ledger::{
        chart, record,
        verify::{Check, Owner, Page, VerifyError},
    },
    proto::{JournalRecord, OutcomeFacts, TransactionKind, journal_record::Facts},
    work::{self, WorkKind},
};

/// Whom the refunds and release payouts in transit are about.
#[derive(Debug, Default)]
pub struct RefundsCheck {
    refunds: HashMap<i64, [Owner; 2]>,
    releases: HashMap<i64, String>,
}

impl Check for RefundsCheck {
    fn page<'a>(&'a mut self, conn: &'a mut Conn, page: &'a Page<'a>) -> BoxFuture<'a, Result<(), VerifyError>> {
        async move {
            for record in page.records {
                self.refund(page, record)?;
                self.release(page, record)?;
            }
            refunds(conn, page).await?;
            refund_ends(conn, page).await?;
            redirects_paid(conn, page).await?;
            releases(conn, page).await?;
            release_ends(conn, page).await?;
            reversals(conn, page).await
        }
        .boxed()
    }

    fn end<'a>(&'a mut self, conn: &'a mut Conn, page: &'a Page<'a>) -> BoxFuture<'a, Result<(), VerifyError>> {
        async move { self.open_refunds(conn, page).await }.boxed()
    }
}

/// How a record ended a refund, if it did.
fn refund_end(record: &JournalRecord) -> Option<(RefundState, &OutcomeFacts)> {
    let end = match record.kind() {
        TransactionKind::RefundSucceeded => RefundState::Succeeded,
        TransactionKind::RefundFailed => RefundState::Failed,
        _ => return None,
    };
    match &record.facts {
        Some(Facts::Outcome(facts)) => Some((end, facts)),
        _ => None,
    }
}

/// Which release payout a record ended, and how, if it did. Who has nothing is released by the transaction that opens it.
fn release_end(record: &JournalRecord) -> Option<(i64, ReleaseEnd)> {
    match record.kind() {
        TransactionKind::ReleaseOpened if record.postings.is_empty() => Some((record.seq, ReleaseEnd::Paid)),
        TransactionKind::ReleasePaid => Some((record.reverses, ReleaseEnd::Paid)),
        TransactionKind::ReleaseFailed => Some((record.reverses, ReleaseEnd::Failed)),
        _ => None,
    }
}

impl RefundsCheck {
    fn refund(&mut self, page: &Page<'_>, record: &JournalRecord) -> Result<(), VerifyError> {
        if let Some(Facts::Refund(facts)) = &record.facts {
            let parties = [Owner::detainee(&facts.detainee), Owner::channel(&facts.channel)];
            page.parties(record, &parties)?;
            self.refunds.insert(record.seq, parties);
        } else if record.kind() == TransactionKind::RefundRedirected {
            let parties = self.refunds.get(&record.reverses);
            let parties =
                parties.ok_or_else(|| page.differs(record, format!("refund {} is not in transit", record.reverses)))?;
            page.parties(record, parties)?;
        } else if refund_end(record).is_some() {
            let parties = self
                .refunds
                .remove(&record.reverses)
                .ok_or_else(|| page.differs(record, format!("refund {} is not in transit", record.reverses)))?;
            page.parties(record, &parties)?;
        }
        Ok(())
    }

    fn release(&mut self, page: &Page<'_>, record: &JournalRecord) -> Result<(), VerifyError> {
        if let Some(Facts::Release(facts)) = &record.facts {
            page.parties(record, &[Owner::detainee(&facts.detainee)])?;
            self.releases.insert(record.seq, facts.detainee.clone());
        }
        let Some((release, _)) = release_end(record) else {
            return Ok(());
        };
        let detainee = self
            .releases
            .remove(&release)
            .ok_or_else(|| page.differs(record, format!("release {release} is not in transit")))?;
        page.parties(record, &[Owner::detainee(&detainee)])
    }

    async fn open_refunds(&self, conn: &mut Conn, page: &Page<'_>) -> Result<(), VerifyError> {
        let rows = sqlx::query_scalar!("select seq from refund_open where center_id = $1", page.center.no.0)
            .fetch_all(&mut *conn)
            .await?;
        let stored: BTreeMap<i64, &str> = rows.into_iter().map(|seq| (seq, "open")).collect();
        for subject in work::open_subjects(conn, page.center.no, WorkKind::AbnormalRefund).await? {
            let seq = subject.rsplit('/').next().and_then(|seq| seq.parse().ok());
            if !seq.is_some_and(|seq: i64| stored.contains_key(&seq)) {
                return Err(page.row_differs("work_item_open", subject, "is in the queue, but the refund has ended"));
            }
        }
        let explained = self.refunds.keys().map(|seq| (*seq, "open")).collect();
        page.same_rows("refund_open", &explained, &stored)
    }
}

async fn refunds(conn: &mut Conn, page: &Page<'_>) -> Result<(), VerifyError> {
    let rows = sqlx::query!(
        r#"select f.seq, f.remittance_id, f.detainee_id, f.channel, f.amount, f.from_suspense, f.credit_seq, f.approval_no, f.by_itself,
                  l.at as "requested_at?", t.record as "credit?"
           from refund f
           left join refund_leg l on l.center_id = f.center_id and l.seq = f.seq and l.state = 'REQUESTED'
           left join journal_transaction t on t.center_id = f.center_id and t.seq = f.credit_seq
           where f.center_id = $1 and f.seq > $2 and f.seq <= $3"#,
        page.center.no.0,
        page.after.0,
        page.through.0,
    )
    .fetch_all(conn)
    .await?;
    let mut stored = BTreeMap::new();
    for row in rows {
        let credit = row.credit.as_deref().map(record::decode).transpose()?;
        let credited = match credit.and_then(|record| record.facts) {
            Some(Facts::Credit(facts)) if !row.from_suspense => Some(facts.remittance),
            Some(Facts::Suspense(facts)) if row.from_suspense => Some(facts.remittance),
            Some(Facts::CreditReversal(facts)) if row.from_suspense => Some(facts.remittance),
            Some(Facts::BroughtBack(facts)) if row.from_suspense => {
                facts.remittance.rsplit('/').next().map(ToOwned::to_owned)
            }
            // What was over the cap.
            Some(Facts::Credit(facts)) if row.from_suspense && !facts.excess.is_empty() => Some(facts.remittance),
            _ => None,
        };
        let suspense = row.from_suspense.then_some(row.credit_seq);
        let of = (row.remittance_id, credited, row.detainee_id, row.channel, suspense);
        let allowed = (row.approval_no, row.by_itself);
        stored.insert(
            row.seq,
            (of, allowed, row.amount, row.requested_at.map(record::timestamp)),
        );
    }
    let mut explained = BTreeMap::new();
    for record in page.records {
        if let Some(Facts::Refund(facts)) = &record.facts {
            let of = (
                facts.remittance.clone(),
                Some(facts.remittance.clone()),
                facts.detainee.clone(),
                facts.channel.clone(),
                (record.reverses != 0).then_some(record.reverses),
            );
            let amount = page.amount(record, &facts.amount)?;
            let approval = facts.rejection.as_ref().or(facts.approval.as_ref());
            let allowed = (
                approval.map(|approval| approval.approval),
                record.method == RETURN_METHOD,
            );
            explained.insert(record.seq, (of, allowed, amount, record.recorded_at));
        }
    }
    page.same_rows("refund", &explained, &stored)
}

async fn refund_ends(conn: &mut Conn, page: &Page<'_>) -> Result<(), VerifyError> {
    let rows = sqlx::query!(
        r#"select l.seq, l.state, l.at, l.detail, l.end_seq as "end_seq!", r.seq is not null as "by_bank!"
           from refund_leg l left join refund_payout r on r.center_id = l.center_id and r.seq = l.seq
           where l.center_id = $1 and l.end_seq > $2 and l.end_seq <= $3"#,
        page.center.no.0,
        page.after.0,
        page.through.0,
    )
    .fetch_all(conn)
    .await?;
    let stored = rows
        .into_iter()
        .map(|row| {
            let key = format!("{} {}", row.seq, row.state);
            // Whatever has an account to go to is paid by the bank.
            let by_bank = row.by_bank && row.state == RefundState::Succeeded.name();
            (key, (row.end_seq, row.detail, Some(record::timestamp(row.at)), by_bank))
        })
        .collect();
    let explained = page.records.iter().filter_map(|record| {
        let (end, facts) = refund_end(record)?;
        let key = format!("{} {}", record.reverses, end.name());
        let by_bank = record.postings.iter().any(|leg| leg.credit == chart::BANK.0);
        Some((key, (record.seq, facts.reason.clone(), record.recorded_at, by_bank)))
    });
    page.same_rows("refund_leg", &explained.collect(), &stored)
}

/// What the gateway has paid to the center, and nobody else's word for it.
async fn redirects_paid(conn: &mut Conn, page: &Page<'_>) -> Result<(), VerifyError> {
    let rows = sqlx::query!(
        "select seq, paid_seq, gateway_refund, paid_at from refund_redirect_paid
         where center_id = $1 and paid_seq > $2 and paid_seq <= $3",
        page.center.no.0,
        page.after.0,
        page.through.0,
    )
    .fetch_all(conn)
    .await?;
    let stored = rows
        .into_iter()
        .map(|row| {
            let told = (row.paid_seq, row.gateway_refund, Some(record::timestamp(row.paid_at)));
            (row.seq, told)
        })
        .collect();
    let explained = page.records.iter().filter_map(|record| match &record.facts {
        Some(Facts::Outcome(facts)) if record.kind() == TransactionKind::RefundRedirected => {
            let told = (record.seq, facts.reference.clone(), record.recorded_at);
            Some((record.reverses, told))
        }
        _ => None,
    });
    page.same_rows("refund_redirect_paid", &explained.collect(), &stored)
}

async fn reversals(conn: &mut Conn, page: &Page<'_>) -> Result<(), VerifyError> {
    let rows = sqlx::query!(
        "select credit_seq, seq, approval_no from credit_reversal where center_id = $1 and seq > $2 and seq <= $3",
        page.center.no.0,
        page.after.0,
        page.through.0,
    )
    .fetch_all(conn)
    .await?;
    let stored = rows
        .into_iter()
        .map(|row| (row.credit_seq, (row.seq, row.approval_no)))
        .collect();
    let reversed = page
        .records
        .iter()
        .filter(|record| record.kind() == TransactionKind::CreditReversed);
    let approval = |record: &JournalRecord| match &record.facts {
        Some(Facts::CreditReversal(facts)) => facts.approval.as_ref().map_or(0, |approval| approval.approval),
        _ => 0,
    };
    let explained = reversed
        .map(|record| (record.reverses, (record.seq, approval(record))))
        .collect();
    page.same_rows("credit_reversal", &explained, &stored)
}

async fn releases(conn: &mut Conn, page: &Page<'_>) -> Result<(), VerifyError> {
    let rows = sqlx::query!(
        "select seq, detainee_id, amount, opened_by, approval_no from release where center_id = $1 and seq > $2 and seq <= $3",
        page.center.no.0,
        page.after.0,
        page.through.0,
    )
    .fetch_all(conn)
    .await?;
    type Row = (String, Decimal, String, Option<i64>);
    let stored: BTreeMap<i64, Row> = rows
        .into_iter()
        .map(|row| {
            let told = (row.detainee_id, row.amount, row.opened_by, row.approval_no);
            (row.seq, told)
        })
        .collect();
    let mut explained = BTreeMap::new();
    for record in page.records {
        if let Some(Facts::Release(facts)) = &record.facts {
            let amount = page.amount(record, &facts.amount)?;
            let approval = facts.approval.as_ref().map(|approval| approval.approval);
            let told = (facts.detainee.clone(), amount, person_of(&record.actor), approval);
            explained.insert(record.seq, told);
        }
    }
    page.same_rows("release", &explained, &stored)
}

async fn release_ends(conn: &mut Conn, page: &Page<'_>) -> Result<(), VerifyError> {
    let rows = sqlx::query!(
        "select seq, end_seq, state from release_end where center_id = $1 and end_seq > $2 and end_seq <= $3",
        page.center.no.0,
        page.after.0,
        page.through.0,
    )
    .fetch_all(conn)
    .await?;
    let stored = rows
        .into_iter()
        .map(|row| (row.seq, (row.end_seq, row.state)))
        .collect();
    let explained = page.records.iter().filter_map(|record| {
        let (release, end) = release_end(record)?;
        Some((release, (record.seq, end.name().to_owned())))
    });
    page.same_rows("release_end", &explained.collect(), &stored)
}
