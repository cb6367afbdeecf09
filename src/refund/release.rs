//! Release payouts: the whole balance of a person who leaves.

use futures::future::{BoxFuture, FutureExt as _};
use time::OffsetDateTime;

use super::{
    RefundRefusal as R, Refunds, Release,
    ask::Payout,
    entity::{ReleaseEnd, ReleaseRow, require_none_open},
    posting, store,
};
use crate::{
    approval::{NewApproval, Question, VALID, is_large_payout, person_of},
    commissary::spending,
    custody::{self, DetaineeState},
    db::Conn,
    ids::{AccountNo, DetaineeId, Seq},
    ledger::{
        Center, Declined, Draft, JournalTx, LedgerError, Posted, RareCommand, Request, balance, record, transaction,
    },
    money::Amount,
    offline_sales,
    proto::{ApprovalFacts, JournalRecord, OutcomeFacts, ReleaseFacts, TransactionKind, journal_record::Facts},
};

impl Refunds {
    /// The payout left the bank, under its reference: the detainee is released.
    ///
    /// Errors: NOT_FOUND, NOT_IN_TRANSIT, MAKER_IS_CHECKER for whoever created it.
    pub async fn confirm_release(
        &self,
        center: &Center,
        request: Request,
        release: Seq,
        reference: String,
    ) -> Result<Posted, LedgerError> {
        let command = EndRelease {
            request,
            release,
            end: ReleaseEnd::Paid,
            reference,
            reason: String::new(),
        };
        self.lanes.submit_rare(center, command).await
    }

    /// The payout failed: the money is back in the accounts it came from, and the detainee is active again.
    ///
    /// Errors: NOT_FOUND, NOT_IN_TRANSIT.
    pub async fn fail_release(
        &self,
        center: &Center,
        request: Request,
        release: Seq,
        reason: String,
    ) -> Result<Posted, LedgerError> {
        let command = EndRelease {
            request,
            release,
            end: ReleaseEnd::Failed,
            reference: String::new(),
            reason,
        };
        self.lanes.submit_rare(center, command).await
    }

    /// A release payout as it stands.
    pub async fn release(&self, center: &Center, release: Seq) -> Result<Release, LedgerError> {
        let row = store::release(&*self.lanes.database().read, center.no, release).await?;
        let row = row.ok_or(R::ReleaseNotFound { release })?;
        self.read_release(center, &row).await
    }

    /// The release payout that a transaction opened or ended, as it was right after that transaction.
    pub async fn release_as_of(&self, center: &Center, record: &JournalRecord) -> Result<Release, LedgerError> {
        if record.reverses == 0 {
            return Ok(Release {
                opened: record.clone(),
                end: None,
            });
        }
        Ok(Release {
            opened: self.record(center, Seq(record.reverses)).await?,
            end: Some(record.clone()),
        })
    }

    /// Up to `limit` release payouts before a number, newest first; of one detainee or of all.
    pub async fn list_releases(
        &self,
        center: &Center,
        detainee: Option<&DetaineeId>,
        before: Option<Seq>,
        limit: i64,
    ) -> Result<Vec<Release>, LedgerError> {
        let from = before.map_or(Seq(i64::MAX), |seq| Seq(seq.0.saturating_sub(1)));
        let rows = store::releases(&*self.lanes.database().read, center.no, detainee, from, limit).await?;
        let mut releases = Vec::with_capacity(rows.len());
        for row in &rows {
            releases.push(self.read_release(center, row).await?);
        }
        Ok(releases)
    }

    async fn read_release(&self, center: &Center, row: &ReleaseRow) -> Result<Release, LedgerError> {
        let end = match row.end {
            // Who had nothing left by the transaction that opened it.
            Some((seq, _)) if seq != row.seq => Some(self.record(center, seq).await?),
            _ => None,
        };
        Ok(Release {
            opened: self.record(center, row.seq).await?,
            end,
        })
    }
}

/// A person leaves with everything they have.
pub(super) struct OpenRelease {
    pub request: Request,
    pub detainee: DetaineeId,
    pub destination: String,
    /// The most that others have allowed, and who.
    pub allowed: Option<(Amount, ApprovalFacts)>,
}

/// Somebody who can leave, account by account.
struct Leaving {
    balances: Vec<(AccountNo, Amount)>,
    total: Amount,
}

impl OpenRelease {
    async fn leaving(&self, conn: &mut Conn, center: &Center, at: OffsetDateTime) -> Result<Leaving, Declined> {
        let detainee = custody::active_detainee_in_tx(conn, center, &self.detainee).await?;
        spending::require_not_frozen_in_tx(conn, center, &self.detainee, at).await?;
        require_none_open(store::count_open(conn, center.no, &self.detainee).await?)?;
        // What a terminal may have sold already must not be paid out.
        offline_sales::require_none_open_in_tx(conn, center, &self.detainee).await?;
        let [available, held, savings, withheld] = detainee.accounts();
        let (withheld, _) = balance::now(&mut *conn, center, &[withheld]).await?;
        if let Some(withheld) = withheld.into_iter().find(|withheld| !withheld.is_zero()) {
            return Err(R::Withheld { withheld }.into());
        }
        let accounts = [available, held, savings];
        let (balances, _) = balance::now(&mut *conn, center, &accounts).await?;
        Ok(Leaving {
            total: Amount::sum(balances.iter().copied(), center.currency)?,
            balances: accounts.into_iter().zip(balances).collect(),
        })
    }

    fn facts(&self, amount: Amount) -> ReleaseFacts {
        ReleaseFacts {
            detainee: self.detainee.to_string(),
            amount: amount.to_string(),
            destination: self.destination.clone(),
            approval: self.allowed.as_ref().map(|(_, approval)| approval.clone()),
        }
    }

    async fn asked(
        &self,
        conn: &mut Conn,
        center: &Center,
        now: OffsetDateTime,
    ) -> Result<Option<NewApproval>, LedgerError> {
        let total = self.leaving(conn, center, now).await?.total;
        if !is_large_payout(total) {
            return Ok(None);
        }
        Ok(Some(NewApproval {
            kind: Payout::Release.kind().name,
            subject: format!("detainees/{}", self.detainee),
            command: record::canonical(&self.facts(total)),
            summary: format!(
                "Release detainee {} and pay out the whole balance, at most {total} {}, to {}.",
                self.detainee, center.currency, self.destination
            ),
            amount: Some(total),
            valid: VALID,
        }))
    }

    /// Refuses what nobody else has allowed, or not so much of.
    fn check_allowed(&self, total: Amount) -> Result<(), Declined> {
        match &self.allowed {
            None if is_large_payout(total) => Err(R::NotAllowedAlone.into()),
            Some((allowed, _)) if total.exceeds(*allowed)? => {
                let (allowed, balance) = (*allowed, total);
                Err(R::MoreThanAllowed { allowed, balance }.into())
            }
            _ => Ok(()),
        }
    }

    async fn open(&self, tx: &mut JournalTx) -> Result<Draft, Declined> {
        let (center, moment) = (tx.center().clone(), tx.moment());
        let Leaving {
            balances,
            total: amount,
        } = self.leaving(tx.conn(), &center, moment.recorded_at).await?;
        self.check_allowed(amount)?;
        let opened_by = person_of(&self.request.actor);
        let by = (
            opened_by.as_str(),
            self.allowed.as_ref().map(|(_, approval)| approval.approval),
        );
        store::insert_release(tx.conn(), center.no, moment.seq, &self.detainee, amount, by).await?;
        // With nothing to pay out there is nothing to wait for.
        let state = if amount.is_zero() {
            let by = (opened_by.as_str(), opened_by.as_str());
            store::insert_release_end(tx.conn(), center.no, moment.seq, moment.seq, ReleaseEnd::Paid, by).await?;
            DetaineeState::Released
        } else {
            DetaineeState::Releasing
        };
        custody::set_state_in_tx(tx.conn(), &center, &self.detainee, state).await?;
        tx.touch_rules();
        Ok(Draft::new(
            TransactionKind::ReleaseOpened,
            posting::opened(&balances),
            Facts::Release(self.facts(amount)),
        ))
    }
}

impl RareCommand for OpenRelease {
    fn request(&self) -> &Request {
        &self.request
    }

    fn run<'a>(&'a self, tx: &'a mut JournalTx) -> BoxFuture<'a, Result<Draft, Declined>> {
        self.open(tx).boxed()
    }
}

impl Question for OpenRelease {
    fn check<'a>(
        &'a self,
        conn: &'a mut Conn,
        center: &'a Center,
        now: OffsetDateTime,
    ) -> BoxFuture<'a, Result<Option<NewApproval>, LedgerError>> {
        self.asked(conn, center, now).boxed()
    }
}

struct EndRelease {
    request: Request,
    release: Seq,
    end: ReleaseEnd,
    reference: String,
    reason: String,
}

impl EndRelease {
    async fn end(&self, tx: &mut JournalTx) -> Result<Draft, Declined> {
        let (center, end_seq) = (tx.center().clone(), tx.moment().seq);
        let row = store::release(tx.conn(), center.no, self.release).await?;
        let row = row.ok_or(R::ReleaseNotFound { release: self.release })?;
        if let Some((_, end)) = row.end {
            return Err(R::NotInTransit { state: end.name() }.into());
        }
        let ended_by = person_of(&self.request.actor);
        if self.end == ReleaseEnd::Paid && ended_by == row.opened_by {
            return Err(R::CreatedBySame { release: row.seq }.into());
        }
        let opened = transaction::get(tx.conn(), center.no, row.seq).await?;
        let opened = opened.ok_or_else(|| Declined::Broken(format!("transaction {} is gone", row.seq)))?;
        let mut total = Amount::zero(center.currency);
        let mut put_back = Vec::with_capacity(opened.record.postings.len());
        for leg in &opened.record.postings {
            let amount = Amount::parse(&leg.amount, center.currency)?;
            total = total.checked_add(amount)?;
            put_back.push(posting::put_back(AccountNo(leg.debit), amount));
        }
        let (kind, postings, state) = match self.end {
            ReleaseEnd::Paid => (
                TransactionKind::ReleasePaid,
                vec![posting::paid_out(total)],
                DetaineeState::Released,
            ),
            ReleaseEnd::Failed => (TransactionKind::ReleaseFailed, put_back, DetaineeState::Active),
        };
        let by = (row.opened_by.as_str(), ended_by.as_str());
        store::insert_release_end(tx.conn(), center.no, row.seq, end_seq, self.end, by).await?;
        custody::set_state_in_tx(tx.conn(), &center, &row.detainee, state).await?;
        tx.touch_rules();
        let facts = OutcomeFacts {
            reference: self.reference.clone(),
            reason: self.reason.clone(),
        };
        Ok(Draft::new(kind, postings, Facts::Outcome(facts)).reversing(row.seq))
    }
}

impl RareCommand for EndRelease {
    fn request(&self) -> &Request {
        &self.request
    }

    fn run<'a>(&'a self, tx: &'a mut JournalTx) -> BoxFuture<'a, Result<Draft, Declined>> {
        self.end(tx).boxed()
    }
}
