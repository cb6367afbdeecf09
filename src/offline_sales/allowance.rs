//! Setting money aside for a terminal, and releasing what it did not sell.

use futures::future::{BoxFuture, FutureExt as _};
use time::{Duration, OffsetDateTime};

use super::{
    OfflineRefusal as R,
    entity::{Allowance, AllowanceEnd, EndReason},
    posting, sale, store,
};
use crate::{
    commissary::spending::{self, Totals},
    custody::room::DetaineeRoom,
    ids::{DetaineeId, Seq, TerminalId},
    ledger::{Declined, Draft, JournalTx, RareCommand, Request, record},
    money::Amount,
    proto::{AllowanceEndFacts, AllowanceFacts, TransactionKind, journal_record::Facts},
    terminal,
};

/// The method that the end by the clock names. No caller can call it.
pub(super) const EXPIRE_METHOD: &str = "custody.v1.OfflineSalesService/ExpireAllowance";

/// Sets money of a detainee aside for a terminal.
pub(super) struct Reserve {
    pub request: Request,
    pub terminal: TerminalId,
    pub detainee: DetaineeId,
    pub amount: Amount,
    pub expires_at: OffsetDateTime,
}

impl Reserve {
    async fn reserve(&self, tx: &mut JournalTx) -> Result<Draft, Declined> {
        let (center, moment) = (tx.center().clone(), tx.moment());
        let settings = store::settings(tx.conn(), &center).await?.settings;
        if settings.allowance_max.is_zero() {
            return Err(R::NotAllowed.into());
        }
        let found = terminal::terminal_in_tx(tx.conn(), &center, &self.terminal).await?;
        if found.is_none_or(|found| found.revoked.is_some() || found.certificate.is_none()) {
            let terminal = self.terminal.clone();
            return Err(R::NotEnrolled { terminal }.into());
        }
        let latest = moment.recorded_at + Duration::hours(settings.hours_max.into());
        if self.expires_at <= moment.recorded_at || self.expires_at > latest {
            return Err(R::TooLong { latest }.into());
        }
        let known = store::set_aside(tx.conn(), &center, &self.detainee).await?;
        let left = settings.allowance_max.checked_sub(known)?;
        if self.amount.exceeds(left)? {
            let left = if left.is_negative() {
                Amount::zero(center.currency)
            } else {
                left
            };
            let asked = self.amount;
            return Err(R::LimitExceeded { asked, left }.into());
        }
        let mut state = tx.known(|state| spending::want_amount(state, &self.detainee)).await?;
        let totals = Totals {
            total: self.amount,
            counted: self.amount,
        };
        let (standing, spending) = spending::check_amount(&state, &moment, &self.detainee, &totals)?;
        let date = spending::date_of(&spending)?;
        spending::count_amount(&mut state, tx.rows(), &self.detainee, date, self.amount)?;
        let releases_at = self.expires_at + Duration::hours(settings.report_hours.into());
        let allowance = Allowance {
            seq: moment.seq,
            terminal: self.terminal.clone(),
            detainee: self.detainee.clone(),
            amount: self.amount,
            remaining: self.amount,
            counted_on: date,
            reserved_at: moment.recorded_at,
            expires_at: self.expires_at,
            releases_at,
            end: None,
        };
        store::insert_allowance(tx.conn(), center.no, &allowance).await?;
        let facts = AllowanceFacts {
            detainee: self.detainee.to_string(),
            terminal: self.terminal.to_string(),
            amount: self.amount.to_string(),
            expire_time: Some(record::timestamp(self.expires_at)),
            release_time: Some(record::timestamp(releases_at)),
            spending: Some(spending),
        };
        Ok(Draft::new(
            TransactionKind::AllowanceReserved,
            vec![posting::reserved(standing.available(), standing.held(), self.amount)],
            Facts::Allowance(facts),
        ))
    }
}

impl RareCommand for Reserve {
    fn request(&self) -> &Request {
        &self.request
    }

    fn run<'a>(&'a self, tx: &'a mut JournalTx) -> BoxFuture<'a, Result<Draft, Declined>> {
        self.reserve(tx).boxed()
    }
}

/// Releases what is left of an allowance.
pub(super) struct End {
    pub request: Request,
    pub allowance: Seq,
    /// The terminal that reports, whose it has to be; none when the time to report is over.
    pub terminal: Option<TerminalId>,
    pub reason: EndReason,
    /// The last number that the terminal reports; none when the time to report is over.
    pub last_number: Option<i64>,
}

impl End {
    async fn end(&self, tx: &mut JournalTx) -> Result<Draft, Declined> {
        let (center, moment) = (tx.center().clone(), tx.moment());
        let found = store::allowance(tx.conn(), &center, self.allowance).await?;
        let allowance = self.allowance;
        // What is another's is nothing to it.
        let own = found.filter(|found| {
            self.terminal
                .as_ref()
                .is_none_or(|terminal| *terminal == found.terminal)
        });
        let found = own.ok_or(R::AllowanceNotFound { allowance })?;
        if found.end.is_some() {
            return Err(R::AllowanceEnded { allowance }.into());
        }
        if let Some(told) = self.last_number {
            let last = sale::store::chain(tx.conn(), center.no, &found.terminal).await?.last;
            if told > last {
                let first = last + 1;
                return Err(R::SalesMissing { first, last: told }.into());
            }
            if told < last {
                return Err(R::MoreSales { last, told }.into());
            }
        }
        let rest = found.remaining;
        let mut state = tx.known(|state| spending::want_amount(state, &found.detainee)).await?;
        let standing = state.room::<DetaineeRoom>()?.get(&found.detainee)?;
        spending::count_amount(&mut state, tx.rows(), &found.detainee, found.counted_on, rest.negated())?;
        let end = AllowanceEnd {
            seq: moment.seq,
            released: rest,
            reason: self.reason,
        };
        store::end_allowance(tx.conn(), center.no, allowance, &end).await?;
        let facts = AllowanceEndFacts {
            detainee: found.detainee.to_string(),
            terminal: found.terminal.to_string(),
            released: rest.to_string(),
            reason: self.reason.name().to_owned(),
            last_number: self.last_number.unwrap_or_default(),
            counted_on: found.counted_on.to_string(),
        };
        let postings = if rest.is_zero() {
            Vec::new()
        } else {
            vec![posting::released(standing.held(), standing.available(), rest)]
        };
        let draft = Draft::new(TransactionKind::AllowanceEnded, postings, Facts::AllowanceEnd(facts));
        Ok(draft.reversing(allowance))
    }
}

impl RareCommand for End {
    fn request(&self) -> &Request {
        &self.request
    }

    fn run<'a>(&'a self, tx: &'a mut JournalTx) -> BoxFuture<'a, Result<Draft, Declined>> {
        self.end(tx).boxed()
    }
}
