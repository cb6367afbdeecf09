//! Setting money aside for a payer.

use futures::future::{BoxFuture, FutureExt as _};

use super::{
    RefundRefusal as R, ReviewEnd,
    entity::{self, RefundRow, RefundState, next_ask, refund_number},
    posting,
    reverse::require_another,
    store,
    unspent::Unspent,
};
use crate::{
    custody::{self, CustodyRefusal, Detainee, DetaineeState},
    gateway::Channels,
    ids::{DetaineeId, RemittanceId, Seq},
    ledger::{Declined, Draft, JournalTx, Posting, RareCommand, Refusal, Request},
    money::Amount,
    proto::{RefundFacts, TransactionKind, journal_record::Facts},
    remittance::{
        self, LegState, Remittance,
        suspense::{self, SuspendedPayment},
    },
};

/// Money of a remittance is to go back to its payer.
pub(super) struct CreateRefund {
    pub request: Request,
    pub remittance: RemittanceId,
    /// The transaction that put the payment into suspense which is to go back; none for the remittance's own money.
    pub suspense: Option<Seq>,
    pub amount: Amount,
    pub reason: String,
    /// How this ends the review that the payment is held for.
    pub review: Option<ReviewEnd>,
    pub channels: Channels,
}

/// The detainee, who must be active.
///
/// Errors: NOT_FOUND, DETAINEE_NOT_ACTIVE.
pub(super) async fn active_detainee(tx: &mut JournalTx, id: &DetaineeId) -> Result<Detainee, Declined> {
    let center = tx.center().clone();
    let detainee = custody::detainee_in_tx(tx.conn(), &center, id).await?;
    let detainee = detainee.ok_or_else(|| Refusal::from(CustodyRefusal::DetaineeNotFound { detainee: id.clone() }))?;
    if detainee.state == DetaineeState::Active {
        return Ok(detainee);
    }
    let refusal = CustodyRefusal::DetaineeNotActive {
        detainee: id.clone(),
        state: detainee.state.name(),
    };
    Err(Refusal::from(refusal).into())
}

/// What a refund takes its money from, once it is known that it can.
struct Source {
    /// The transaction that put the money there.
    seq: Seq,
    /// What can be refunded of it.
    unspent: Amount,
    /// What moves.
    posting: Posting,
    /// Whether it is money in suspense.
    is_suspense: bool,
}

impl CreateRefund {
    async fn create(&self, tx: &mut JournalTx) -> Result<Draft, Declined> {
        let (center, moment) = (tx.center().clone(), tx.moment());
        let remittance = remittance::remittance_in_tx(tx.conn(), &center, &self.remittance).await?;
        let remittance = remittance.ok_or_else(|| self.not_there())?;
        if self.channels.get(&remittance.channel).is_none() {
            return Err(R::ChannelNotFound {
                channel: remittance.channel.clone(),
            }
            .into());
        }
        let credited = remittance.leg(LegState::Credited).and_then(|leg| leg.seq);
        let source = match (&self.suspense, credited) {
            (Some(seq), _) => {
                let payment = remittance.suspended.iter().find(|payment| payment.seq == *seq);
                let payment = payment.ok_or(R::PaymentNotSuspended { transaction: *seq })?;
                if payment.is_reversed() {
                    require_another(tx, *seq, &self.request.actor).await?;
                }
                self.of_suspense(payment)?
            }
            (None, Some(credit)) => self.of_account(tx, &remittance, credit).await?,
            (None, None) => {
                let payment = remittance.own_suspended().ok_or_else(|| self.not_there())?;
                self.of_suspense(payment)?
            }
        };
        self.check_review(&remittance, source.seq)?;
        let row = RefundRow {
            seq: moment.seq,
            remittance: remittance.id.clone(),
            detainee: remittance.detainee.clone(),
            channel: remittance.channel.clone(),
            credit: source.seq,
            from_suspense: source.is_suspense,
            amount: self.amount,
            state: RefundState::Requested,
            end: None,
        };
        let (at, ask_at) = (moment.recorded_at, next_ask(0, moment.recorded_at));
        store::insert_refund(tx.conn(), center.no, &row, at, ask_at).await?;
        let facts = RefundFacts {
            remittance: remittance.id.to_string(),
            payer: remittance.payer.to_string(),
            detainee: remittance.detainee.to_string(),
            channel: remittance.channel,
            refund_number: refund_number(center.no, moment.seq),
            amount: self.amount.to_string(),
            unspent: source.unspent.to_string(),
            reason: self.reason.clone(),
            rejection: match &self.review {
                Some(ReviewEnd::Rejected(approval)) => Some(approval.clone()),
                Some(ReviewEnd::TimedOut) | None => None,
            },
        };
        let facts = Facts::Refund(facts);
        let draft = Draft::new(TransactionKind::RefundRequested, vec![source.posting], facts);
        if !source.is_suspense {
            return Ok(draft);
        }
        self.take_from_suspense(tx, source.seq, source.unspent).await?;
        Ok(draft.reversing(source.seq))
    }

    /// Moves it out of suspense, of a payment of which so much is left there, and ends its review if it was held for one.
    async fn take_from_suspense(&self, tx: &mut JournalTx, payment: Seq, left: Amount) -> Result<(), Declined> {
        let (center, moment) = (tx.center().clone(), tx.moment());
        let told = suspense::Move {
            payment,
            seq: moment.seq,
            at: moment.recorded_at,
            actor: &self.request.actor,
            movement: suspense::Movement::Taken,
            amount: self.amount,
        };
        suspense::move_in_tx(tx.conn(), &center, &told).await?;
        if self.amount == left {
            suspense::all_taken_in_tx(tx.conn(), center.no, payment).await?;
        }
        if self.review.is_some() {
            let rejected = (moment.seq, moment.recorded_at);
            remittance::reject_in_tx(tx.conn(), &center, &self.remittance, rejected, &self.reason).await?;
            // Lanes have counted it as in flight, and as accepted.
            tx.touch_rules();
        }
        Ok(())
    }

    /// What is held for review goes back by its review and not otherwise.
    fn check_review(&self, remittance: &Remittance, source: Seq) -> Result<(), R> {
        let id = || self.remittance.clone();
        let is_held = remittance.under_review().is_some_and(|held| held.seq == Some(source));
        match (is_held, self.review.is_some()) {
            (true, false) => Err(R::UnderReview { remittance: id() }),
            (false, true) => Err(R::NotUnderReview { remittance: id() }),
            _ => Ok(()),
        }
    }

    fn not_there(&self) -> R {
        R::RemittanceNotCredited {
            remittance: self.remittance.clone(),
        }
    }

    /// Money of the detainee's, who must be active.
    async fn of_account(&self, tx: &mut JournalTx, remittance: &Remittance, credit: Seq) -> Result<Source, Declined> {
        let (center, moment) = (tx.center().clone(), tx.moment());
        if let Some(reversal) = store::reversals(tx.conn(), center.no, &[credit]).await?.get(&credit) {
            return Err(R::AlreadyReversed { reversal: *reversal }.into());
        }
        let detainee = active_detainee(tx, &remittance.detainee).await?;
        let (movements, _) = store::movements(tx.conn(), &center, detainee.available(), moment.seq).await?;
        let layers = Unspent::of(&movements, center.currency)?;
        // What went back before it was credited out of suspense counts, too.
        let before = match remittance.own_suspended() {
            Some(payment) => payment.refunded()?,
            None => Amount::zero(center.currency),
        };
        let unspent = entity::check_refund(&layers, remittance, before, self.amount)?;
        Ok(Source {
            seq: credit,
            unspent,
            posting: posting::requested(&detainee, self.amount),
            is_suspense: false,
        })
    }

    /// Money in suspense, wherever the detainee is: it is the payer's.
    fn of_suspense(&self, payment: &SuspendedPayment) -> Result<Source, Declined> {
        let (left, refunded) = (payment.left()?, payment.refunded()?);
        entity::check_amounts(payment.amount, refunded, left, self.amount)?;
        Ok(Source {
            seq: payment.seq,
            unspent: left,
            posting: posting::requested_from_suspense(self.amount),
            is_suspense: true,
        })
    }
}

impl RareCommand for CreateRefund {
    fn request(&self) -> &Request {
        &self.request
    }

    fn run<'a>(&'a self, tx: &'a mut JournalTx) -> BoxFuture<'a, Result<Draft, Declined>> {
        self.create(tx).boxed()
    }
}
