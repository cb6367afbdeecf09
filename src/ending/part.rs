//! How the parts of a payout end at the bank.

use futures::future::{BoxFuture, FutureExt as _};

use super::{
    entity::{PartEnd, Purpose},
    error::EndingRefusal as R,
    item::{self, payout_subject},
    posting, store,
};
use crate::{
    approval::{person_of, relation},
    custody::{self, DetaineeState},
    ids::Seq,
    ledger::{Declined, Draft, JournalTx, RareCommand, Request},
    proto::{PayoutPartEndFacts, TransactionKind, journal_record::Facts},
};

/// A part left the bank, or could not.
pub(super) struct EndPart {
    pub request: Request,
    pub payout: Seq,
    /// From 1.
    pub part: i32,
    pub end: PartEnd,
    /// The bank's reference, or why it failed.
    pub told: String,
}

impl EndPart {
    async fn end(&self, tx: &mut JournalTx) -> Result<Draft, Declined> {
        let (center, moment) = (tx.center().clone(), tx.moment());
        let (payout, part) = (self.payout, self.part);
        let row = store::payout(tx.conn(), center.no, payout).await?;
        let row = row.ok_or(R::PayoutNotFound { payout })?;
        relation::require_unrelated(tx.conn(), center.no, &self.request.actor, &row.detainee).await?;
        let parts = store::parts(tx.conn(), &center, payout).await?;
        let index = usize::try_from(part).ok().and_then(|part| part.checked_sub(1));
        let told = index.and_then(|index| parts.get(index));
        let told = told.ok_or(R::PartNotFound { payout, part })?;
        if let Some((end, _)) = told.end {
            return Err(R::NotInTransit { state: end.name() }.into());
        }
        let ended_by = person_of(&self.request.actor);
        if self.end == PartEnd::Paid && ended_by == row.opened_by {
            return Err(R::CreatedBySame { payout }.into());
        }
        let by = (row.opened_by.as_str(), ended_by.as_str());
        store::insert_part_end(tx.conn(), center.no, (payout, part), (self.end, moment.seq), by).await?;
        let (kind, posting) = match self.end {
            PartEnd::Paid => (TransactionKind::PayoutPartPaid, posting::paid(told.amount)),
            PartEnd::Failed => {
                let (id, at) = (&row.detainee, moment.recorded_at);
                store::insert_sum(tx.conn(), center.no, moment.seq, id, told.amount, at).await?;
                let sum = (moment.seq, id, told.amount);
                item::raise_sum(tx.conn(), &center, sum, Some(&self.told), at).await?;
                (TransactionKind::PayoutPartFailed, posting::came_back(told.amount))
            }
        };
        let ended = parts.iter().filter(|part| part.end.is_some()).count();
        if i32::try_from(ended).is_ok_and(|ended| ended + 1 == row.part_count) {
            item::close(tx, &payout_subject(payout), &self.request.actor, "every part has ended").await?;
            if row.purpose == Purpose::Release {
                custody::set_state_in_tx(tx.conn(), &center, &row.detainee, DetaineeState::Released).await?;
                item::raise_owing(tx, &row.detainee).await?;
                tx.touch_rules();
            }
        }
        let is_paid = self.end == PartEnd::Paid;
        let told = |is_told: bool| if is_told { self.told.clone() } else { String::new() };
        let facts = PayoutPartEndFacts {
            detainee: row.detainee.to_string(),
            part,
            reference: told(is_paid),
            reason: told(!is_paid),
        };
        Ok(Draft::new(kind, vec![posting], Facts::PayoutPartEnd(facts)).reversing(payout))
    }
}

impl RareCommand for EndPart {
    fn request(&self) -> &Request {
        &self.request
    }

    fn run<'a>(&'a self, tx: &'a mut JournalTx) -> BoxFuture<'a, Result<Draft, Declined>> {
        self.end(tx).boxed()
    }
}
