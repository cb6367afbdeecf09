//! Release payouts: the whole balance of a person who leaves.

use futures::future::{BoxFuture, FutureExt as _};

use super::{
    RefundRefusal as R, Refunds, Release,
    create::active_detainee,
    entity::{ReleaseEnd, ReleaseRow},
    posting, store,
};
use crate::{
    custody::{self, DetaineeState},
    ids::{AccountNo, DetaineeId, Seq},
    ledger::{Center, Declined, Draft, JournalTx, LedgerError, Posted, RareCommand, Request, transaction},
    money::Amount,
    proto::{JournalRecord, OutcomeFacts, ReleaseFacts, TransactionKind, journal_record::Facts},
};

impl Refunds {
    /// Blocks a detainee's orders and payments, and sets the whole balance aside. Who has nothing is released at once.
    ///
    /// Errors: NOT_FOUND, DETAINEE_NOT_ACTIVE, MONEY_IN_FLIGHT.
    pub async fn open_release(
        &self,
        center: &Center,
        request: Request,
        detainee: DetaineeId,
        destination: String,
    ) -> Result<Posted, LedgerError> {
        let command = OpenRelease {
            request,
            detainee,
            destination,
        };
        self.lanes.submit_rare(center, command).await
    }

    /// The payout left the bank, under its reference: the detainee is released.
    ///
    /// Errors: NOT_FOUND, NOT_IN_TRANSIT.
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
        let row = store::release(&self.lanes.database().read, center.no, release).await?;
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
        let rows = store::releases(&self.lanes.database().read, center.no, detainee, from, limit).await?;
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

struct OpenRelease {
    request: Request,
    detainee: DetaineeId,
    destination: String,
}

impl OpenRelease {
    async fn open(&self, tx: &mut JournalTx) -> Result<Draft, Declined> {
        let (center, moment) = (tx.center().clone(), tx.moment());
        let detainee = active_detainee(tx, &self.detainee).await?;
        let refunds = store::count_open(tx.conn(), center.no, &self.detainee).await?;
        if refunds > 0 {
            return Err(R::RefundsOpen { refunds }.into());
        }
        let [available, held, savings, withheld] = detainee.accounts();
        let withheld = tx.balance(withheld).await?;
        if !withheld.is_zero() {
            return Err(R::Withheld { withheld }.into());
        }
        let mut balances = Vec::with_capacity(3);
        for account in [available, held, savings] {
            balances.push((account, tx.balance(account).await?));
        }
        let amount = Amount::sum(balances.iter().map(|(_, balance)| *balance), center.currency)?;
        store::insert_release(tx.conn(), center.no, moment.seq, &self.detainee, amount).await?;
        // With nothing to pay out there is nothing to wait for.
        let state = if amount.is_zero() {
            store::insert_release_end(tx.conn(), center.no, moment.seq, moment.seq, ReleaseEnd::Paid).await?;
            DetaineeState::Released
        } else {
            DetaineeState::Releasing
        };
        custody::set_state_in_tx(tx.conn(), &center, &self.detainee, state).await?;
        tx.touch_rules();
        let facts = ReleaseFacts {
            detainee: self.detainee.to_string(),
            amount: amount.to_string(),
            destination: self.destination.clone(),
        };
        Ok(Draft::new(
            TransactionKind::ReleaseOpened,
            posting::opened(&balances),
            Facts::Release(facts),
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
        store::insert_release_end(tx.conn(), center.no, row.seq, end_seq, self.end).await?;
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
