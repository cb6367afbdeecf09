//! Payouts, unclaimed sums, merged bookings, and where everybody stands, against the transactions that say so.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
};

use futures::future::{BoxFuture, FutureExt as _};
use rust_decimal::Decimal;

use super::entity::Purpose;
use crate::{
    custody::DetaineeState,
    db::Conn,
    ledger::{
        chart, record,
        verify::{Check, Owner, Page, VerifyError},
    },
    proto::{JournalRecord, PayoutFacts, TransactionKind, journal_record::Facts},
    work::{self, WorkKind},
};

/// Who stands where, which payouts are on their way, and what was not collected.
#[derive(Debug, Default)]
pub struct EndingsCheck {
    /// Everybody who is not active.
    states: BTreeMap<String, &'static str>,
    /// Release payouts in transit: whose.
    releases: BTreeMap<i64, String>,
    /// Payouts in transit: whose, for what, and how many parts have not ended.
    payouts: BTreeMap<i64, (String, String, usize)>,
    /// What waits to be claimed.
    waiting: BTreeMap<i64, Decimal>,
}

impl Check for EndingsCheck {
    fn page<'a>(&'a mut self, conn: &'a mut Conn, page: &'a Page<'a>) -> BoxFuture<'a, Result<(), VerifyError>> {
        async move {
            for record in page.records {
                self.release(record);
                self.ending(page, record)?;
            }
            changes(conn, page).await?;
            payouts(conn, page).await?;
            parts(conn, page).await?;
            part_ends(conn, page).await?;
            sums(conn, page).await?;
            sum_ends(conn, page).await?;
            merges(conn, page).await
        }
        .boxed()
    }

    fn end<'a>(&'a mut self, conn: &'a mut Conn, page: &'a Page<'a>) -> BoxFuture<'a, Result<(), VerifyError>> {
        async move {
            self.detainees(conn, page).await?;
            self.unclaimed(conn, page).await?;
            self.items(conn, page).await?;
            stays(conn, page).await
        }
        .boxed()
    }
}

impl EndingsCheck {
    fn stands(&mut self, detainee: &str, state: DetaineeState) {
        if state == DetaineeState::Active {
            self.states.remove(detainee);
        } else {
            self.states.insert(detainee.to_owned(), state.name());
        }
    }

    /// Release payouts to one destination.
    fn release(&mut self, record: &JournalRecord) {
        if let Some(Facts::Release(facts)) = &record.facts {
            let is_over = record.postings.is_empty();
            let state = if is_over {
                DetaineeState::Released
            } else {
                self.releases.insert(record.seq, facts.detainee.clone());
                DetaineeState::Releasing
            };
            self.stands(&facts.detainee, state);
        }
        let state = match record.kind() {
            TransactionKind::ReleasePaid => DetaineeState::Released,
            TransactionKind::ReleaseFailed => DetaineeState::Active,
            _ => return,
        };
        if let Some(detainee) = self.releases.remove(&record.reverses) {
            self.stands(&detainee, state);
        }
    }

    fn ending(&mut self, page: &Page<'_>, record: &JournalRecord) -> Result<(), VerifyError> {
        match &record.facts {
            Some(Facts::CustodyChange(facts)) => {
                let state = DetaineeState::from_name(&facts.state);
                let state = state.ok_or_else(|| page.differs(record, format!("{} is no state", facts.state)))?;
                self.stands(&facts.detainee, state);
            }
            Some(Facts::Payout(facts)) => self.payout(page, record, facts)?,
            Some(Facts::PayoutPartEnd(facts)) => {
                page.parties(record, &[])?;
                let payout = self.payouts.get_mut(&record.reverses);
                let payout = payout.filter(|(detainee, ..)| *detainee == facts.detainee);
                let (_, purpose, open) = payout
                    .ok_or_else(|| page.differs(record, format!("payout {} is not on its way", record.reverses)))?;
                *open = open.saturating_sub(1);
                let is_over = *open == 0;
                let is_release = is_over && purpose.as_str() == Purpose::Release.name();
                if is_over {
                    self.payouts.remove(&record.reverses);
                }
                if is_release {
                    self.stands(&facts.detainee, DetaineeState::Released);
                }
                if record.kind() == TransactionKind::PayoutPartFailed {
                    self.waiting.insert(record.seq, moved(page, record)?);
                }
            }
            Some(Facts::MadeUnclaimed(facts)) => {
                page.parties(record, &[Owner::detainee(&facts.detainee)])?;
                self.waiting.insert(record.seq, page.amount(record, &facts.amount)?);
                self.stands(&facts.detainee, DetaineeState::Released);
            }
            Some(Facts::Treasury(facts)) => {
                page.parties(record, &[Owner::detainee(&facts.detainee)])?;
                if facts.unclaimed != 0 {
                    self.leaves(page, record, facts.unclaimed)?;
                }
            }
            Some(Facts::Merge(facts)) => {
                page.parties(
                    record,
                    &[Owner::detainee(&facts.detainee), Owner::detainee(&facts.into)],
                )?;
                self.stands(&facts.detainee, DetaineeState::Merged);
            }
            Some(Facts::Transfer(facts)) if record.kind() == TransactionKind::TransferOut => {
                self.stands(&facts.detainee, DetaineeState::Transferred);
            }
            _ => {}
        }
        Ok(())
    }

    fn payout(&mut self, page: &Page<'_>, record: &JournalRecord, facts: &PayoutFacts) -> Result<(), VerifyError> {
        page.parties(record, &[Owner::detainee(&facts.detainee)])?;
        let mut sum = Decimal::ZERO;
        for part in &facts.parts {
            let amount = page.amount(record, &part.amount)?;
            let more = sum.checked_add(amount);
            sum = more.ok_or_else(|| page.differs(record, "its parts overflow"))?;
        }
        if sum != page.amount(record, &facts.amount)? || sum != moved(page, record)? {
            return Err(page.differs(record, format!("its parts add up to {sum}")));
        }
        let is_claim = facts.purpose == Purpose::Claim.name();
        if is_claim && !facts.from_treasury {
            self.leaves(page, record, facts.unclaimed)?;
        }
        if facts.purpose == Purpose::Release.name() {
            self.stands(&facts.detainee, DetaineeState::Releasing);
        }
        let open = (facts.detainee.clone(), facts.purpose.clone(), facts.parts.len());
        self.payouts.insert(record.seq, open);
        Ok(())
    }

    /// A sum does not wait any more.
    fn leaves(&mut self, page: &Page<'_>, record: &JournalRecord, sum: i64) -> Result<(), VerifyError> {
        let waited = self.waiting.remove(&sum);
        let waited = waited.ok_or_else(|| page.differs(record, format!("unclaimed sum {sum} does not wait")))?;
        if waited == moved(page, record)? {
            return Ok(());
        }
        Err(page.differs(record, format!("unclaimed sum {sum} is {waited}")))
    }

    /// Everybody who is not active is where the records say.
    async fn detainees(&self, conn: &mut Conn, page: &Page<'_>) -> Result<(), VerifyError> {
        let rows = sqlx::query!(
            "select detainee_id, state from detainee where center_id = $1 and state <> $2",
            page.center.no.0,
            DetaineeState::Active.name(),
        )
        .fetch_all(conn)
        .await?;
        let stored = rows.into_iter().map(|row| (row.detainee_id, row.state)).collect();
        let explained = self.states.iter().map(|(id, state)| (id.clone(), (*state).to_owned()));
        page.same_rows("detainee", &explained.collect(), &stored)
    }

    /// What waits is the balance of the one account that it is in.
    async fn unclaimed(&self, conn: &mut Conn, page: &Page<'_>) -> Result<(), VerifyError> {
        let balance = sqlx::query_scalar!(
            "select balance from account_balance where center_id = $1 and account_no = $2",
            page.center.no.0,
            chart::UNCLAIMED.0,
        )
        .fetch_one(conn)
        .await?;
        let mut waiting = self.waiting.values();
        let waits = waiting.try_fold(Decimal::ZERO, |sum, amount| sum.checked_add(*amount));
        if waits == Some(balance) {
            return Ok(());
        }
        let what = format!("it is {balance}, the sums that wait come to {waits:?}");
        Err(page.row_differs("account_balance", chart::UNCLAIMED, what))
    }

    /// What is on its way and what waits has its item, and nothing else has.
    async fn items(&self, conn: &mut Conn, page: &Page<'_>) -> Result<(), VerifyError> {
        for (kind, collection, open) in [
            (
                WorkKind::PayoutInTransit,
                "payouts",
                self.payouts.keys().copied().collect::<BTreeSet<i64>>(),
            ),
            (
                WorkKind::UnclaimedSum,
                "unclaimedSums",
                self.waiting.keys().copied().collect(),
            ),
        ] {
            let stored = work::open_subjects(conn, page.center.no, kind).await?;
            let stored: BTreeMap<String, ()> = stored.into_iter().map(|subject| (subject, ())).collect();
            let explained = open.iter().map(|seq| (format!("{collection}/{seq}"), ()));
            page.same_rows("work_item_open", &explained.collect(), &stored)?;
        }
        for subject in work::open_subjects(conn, page.center.no, WorkKind::Estate).await? {
            let id = subject.strip_prefix("detainees/").unwrap_or_default();
            if !self.states.contains_key(id) {
                return Err(page.row_differs("work_item_open", subject, "is about somebody who is here"));
            }
        }
        Ok(())
    }
}

/// What a record moves into or out of the accounts in transit and of what is not collected.
fn moved(page: &Page<'_>, record: &JournalRecord) -> Result<Decimal, VerifyError> {
    let mut sum = Decimal::ZERO;
    for posting in &record.postings {
        let amount = page.amount(record, &posting.amount)?;
        let more = sum.checked_add(amount);
        sum = more.ok_or_else(|| page.differs(record, "what it moves overflows"))?;
    }
    Ok(sum)
}

/// Rows that records explain, by the transaction's number.
fn explain<V: Debug + PartialEq>(
    page: &Page<'_>,
    told: impl Fn(&JournalRecord) -> Result<Option<V>, VerifyError>,
) -> Result<BTreeMap<i64, V>, VerifyError> {
    let mut explained = BTreeMap::new();
    for record in page.records {
        if let Some(row) = told(record)? {
            explained.insert(record.seq, row);
        }
    }
    Ok(explained)
}

async fn changes(conn: &mut Conn, page: &Page<'_>) -> Result<(), VerifyError> {
    let rows = sqlx::query!(
        "select seq, detainee_id, state, document, changed_at from custody_change
         where center_id = $1 and seq > $2 and seq <= $3",
        page.center.no.0,
        page.after.0,
        page.through.0,
    )
    .fetch_all(conn)
    .await?;
    let stored = rows.into_iter().map(|row| {
        let at = Some(record::timestamp(row.changed_at));
        (row.seq, (row.detainee_id, row.state, row.document, at))
    });
    let explained = explain(page, |record| {
        let Some(Facts::CustodyChange(facts)) = &record.facts else {
            return Ok(None);
        };
        let facts = facts.clone();
        Ok(Some((facts.detainee, facts.state, facts.document, record.recorded_at)))
    })?;
    page.same_rows("custody_change", &explained, &stored.collect())
}

async fn payouts(conn: &mut Conn, page: &Page<'_>) -> Result<(), VerifyError> {
    let rows = sqlx::query!(
        "select seq, detainee_id, purpose, unclaimed_seq, amount, approval_no from payout
         where center_id = $1 and seq > $2 and seq <= $3",
        page.center.no.0,
        page.after.0,
        page.through.0,
    )
    .fetch_all(conn)
    .await?;
    let stored = rows.into_iter().map(|row| {
        let unclaimed = row.unclaimed_seq.unwrap_or(0);
        (
            row.seq,
            (row.detainee_id, row.purpose, unclaimed, row.amount, row.approval_no),
        )
    });
    let explained = explain(page, |record| {
        let Some(Facts::Payout(facts)) = &record.facts else {
            return Ok(None);
        };
        let amount = page.amount(record, &facts.amount)?;
        let approval = facts.approval.as_ref().map(|approval| approval.approval);
        let (detainee, purpose) = (facts.detainee.clone(), facts.purpose.clone());
        Ok(Some((detainee, purpose, facts.unclaimed, amount, approval)))
    })?;
    page.same_rows("payout", &explained, &stored.collect())
}

async fn parts(conn: &mut Conn, page: &Page<'_>) -> Result<(), VerifyError> {
    let rows = sqlx::query!(
        "select seq, part, amount, payee, heir_id, secret_id from payout_part
         where center_id = $1 and seq > $2 and seq <= $3",
        page.center.no.0,
        page.after.0,
        page.through.0,
    )
    .fetch_all(conn)
    .await?;
    let stored = rows.into_iter().map(|row| {
        let key = format!("{} {}", row.seq, row.part);
        (key, (row.amount, row.payee, row.heir_id, row.secret_id))
    });
    let mut explained = BTreeMap::new();
    for record in page.records {
        if let Some(Facts::Payout(facts)) = &record.facts {
            for (number, part) in (1..).zip(&facts.parts) {
                let amount = page.amount(record, &part.amount)?;
                let row = (amount, part.payee.clone(), part.heir.clone(), part.secret.clone());
                let number: i32 = number;
                explained.insert(format!("{} {number}", record.seq), row);
            }
        }
    }
    page.same_rows("payout_part", &explained, &stored.collect())
}

async fn part_ends(conn: &mut Conn, page: &Page<'_>) -> Result<(), VerifyError> {
    let rows = sqlx::query!(
        "select seq, part, end_seq, state from payout_part_end where center_id = $1 and end_seq > $2 and end_seq <= $3",
        page.center.no.0,
        page.after.0,
        page.through.0,
    )
    .fetch_all(conn)
    .await?;
    let stored = rows
        .into_iter()
        .map(|row| (row.end_seq, (row.seq, row.part, row.state)));
    let explained = explain(page, |record| {
        let Some(Facts::PayoutPartEnd(facts)) = &record.facts else {
            return Ok(None);
        };
        let state = match record.kind() {
            TransactionKind::PayoutPartPaid => "PAID",
            _ => "FAILED",
        };
        Ok(Some((record.reverses, facts.part, state.to_owned())))
    })?;
    page.same_rows("payout_part_end", &explained, &stored.collect())
}

async fn sums(conn: &mut Conn, page: &Page<'_>) -> Result<(), VerifyError> {
    let rows = sqlx::query!(
        "select seq, detainee_id, amount, made_at from unclaimed_sum where center_id = $1 and seq > $2 and seq <= $3",
        page.center.no.0,
        page.after.0,
        page.through.0,
    )
    .fetch_all(conn)
    .await?;
    let stored = rows.into_iter().map(|row| {
        let at = Some(record::timestamp(row.made_at));
        (row.seq, (row.detainee_id, row.amount, at))
    });
    let explained = explain(page, |record| {
        let (detainee, amount) = match &record.facts {
            Some(Facts::PayoutPartEnd(facts)) if record.kind() == TransactionKind::PayoutPartFailed => {
                (facts.detainee.clone(), moved(page, record)?)
            }
            Some(Facts::MadeUnclaimed(facts)) => (facts.detainee.clone(), page.amount(record, &facts.amount)?),
            Some(Facts::Treasury(facts)) if facts.unclaimed == 0 => {
                (facts.detainee.clone(), page.amount(record, &facts.amount)?)
            }
            _ => return Ok(None),
        };
        Ok(Some((detainee, amount, record.recorded_at)))
    })?;
    page.same_rows("unclaimed_sum", &explained, &stored.collect())
}

async fn sum_ends(conn: &mut Conn, page: &Page<'_>) -> Result<(), VerifyError> {
    let rows = sqlx::query!(
        "select seq, end_seq, state from unclaimed_end where center_id = $1 and end_seq > $2 and end_seq <= $3",
        page.center.no.0,
        page.after.0,
        page.through.0,
    )
    .fetch_all(conn)
    .await?;
    let stored = rows.into_iter().map(|row| (row.end_seq, (row.seq, row.state)));
    let explained = explain(page, |record| {
        let row = match &record.facts {
            Some(Facts::Payout(facts)) if facts.unclaimed != 0 => (facts.unclaimed, "PAYOUT"),
            Some(Facts::Treasury(facts)) if facts.unclaimed != 0 => (facts.unclaimed, "TREASURY"),
            Some(Facts::Treasury(_)) => (record.seq, "TREASURY"),
            _ => return Ok(None),
        };
        Ok(Some((row.0, row.1.to_owned())))
    })?;
    page.same_rows("unclaimed_end", &explained, &stored.collect())
}

async fn merges(conn: &mut Conn, page: &Page<'_>) -> Result<(), VerifyError> {
    let rows = sqlx::query!(
        "select seq, detainee_id, into_id, approval_no from detainee_merge where center_id = $1 and seq > $2 and seq <= $3",
        page.center.no.0,
        page.after.0,
        page.through.0,
    )
    .fetch_all(conn)
    .await?;
    let stored = rows
        .into_iter()
        .map(|row| (row.seq, (row.detainee_id, row.into_id, Some(row.approval_no))));
    let explained = explain(page, |record| {
        let Some(Facts::Merge(facts)) = &record.facts else {
            return Ok(None);
        };
        let approval = facts.approval.as_ref().map(|approval| approval.approval);
        Ok(Some((facts.detainee.clone(), facts.into.clone(), approval)))
    })?;
    page.same_rows("detainee_merge", &explained, &stored.collect())
}

/// A stay that another follows is over, and began before it. No record tells of them.
async fn stays(conn: &mut Conn, page: &Page<'_>) -> Result<(), VerifyError> {
    let wrong = sqlx::query!(
        "select s.detainee_id, s.former_id, f.state from stay s
         join detainee d on d.center_id = s.center_id and d.detainee_id = s.detainee_id
         join detainee f on f.center_id = s.center_id and f.detainee_id = s.former_id
         where s.center_id = $1 and (f.state <> 'released' or f.admitted_at > d.admitted_at)
         order by s.detainee_id limit 1",
        page.center.no.0,
    )
    .fetch_optional(conn)
    .await?;
    match wrong {
        Some(row) => {
            let what = format!("it follows {}, which is {}", row.former_id, row.state);
            Err(page.row_differs("stay", row.detainee_id, what))
        }
        None => Ok(()),
    }
}
