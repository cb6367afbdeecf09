//! Taking an erroneous credit back.
//!
//! The whole credit goes to suspense, but for what was refunded of it: what is still there of its parts, and for what is not a
//! claim against the detainee. From suspense it is refunded to its payer, under the reversal's number, or credited to whom it
//! was meant for. Nothing of it can be refunded out of the detainee's account any more: what comes back to that account of
//! what was bought with it is the detainee's, who owes the claim.

use futures::future::{BoxFuture, FutureExt as _};

use super::{RefundRefusal as R, Refunds, create::active_detainee, entity::credit_facts, store, unspent::Unspent};
use crate::{
    approval::is_one_person,
    custody::Detainee,
    distribution::reversal::{claim_in_tx, take_back_in_tx},
    ids::{DetaineeId, RemittanceId, Seq},
    ledger::{Center, Declined, Draft, JournalTx, LedgerError, Posted, RareCommand, Request, record, transaction},
    money::Amount,
    proto::{CreditFacts, CreditReversalFacts, JournalRecord, TransactionKind, journal_record::Facts},
    remittance::suspense::{CREDIT_REVERSED, SuspendedPayment, suspend_in_tx},
};

impl Refunds {
    /// Takes an erroneous credit back into suspense, once. Who may ask for it, and who has to agree, is for the caller to see to.
    ///
    /// Errors: NOT_FOUND for what is no credit of a remittance, DETAINEE_NOT_ACTIVE, ALREADY_REVERSED, MONEY_IN_FLIGHT while a
    /// refund of it has no outcome, NOTHING_TO_REVERSE when all of it was refunded.
    pub async fn reverse_credit(
        &self,
        center: &Center,
        request: Request,
        credit: Seq,
        reason: String,
    ) -> Result<Posted, LedgerError> {
        let command = ReverseCredit {
            request,
            credit,
            reason,
        };
        self.lanes.submit_rare(center, command).await
    }

    /// The record of a reversal.
    ///
    /// Errors: NOT_FOUND.
    pub async fn reversal(&self, center: &Center, reversal: Seq) -> Result<JournalRecord, LedgerError> {
        let found = transaction::get(&self.lanes.database().read, center.no, reversal).await?;
        let found = found.filter(|found| found.record.kind() == TransactionKind::CreditReversed);
        found
            .map(|found| found.record)
            .ok_or_else(|| R::ReversalNotFound { reversal }.into())
    }
}

struct ReverseCredit {
    request: Request,
    credit: Seq,
    reason: String,
}

impl ReverseCredit {
    async fn reverse(&self, tx: &mut JournalTx) -> Result<Draft, Declined> {
        let (center, moment) = (tx.center().clone(), tx.moment());
        let credit = self.credit(tx).await?;
        let facts = credit_facts(&credit)?;
        let reversed = store::reversals(tx.conn(), center.no, &[self.credit]).await?;
        if let Some(reversal) = reversed.get(&self.credit) {
            return Err(R::AlreadyReversed { reversal: *reversal }.into());
        }
        let id = DetaineeId::parse(&facts.detainee).map_err(broken)?;
        let detainee = active_detainee(tx, &id).await?;
        let refunds = store::count_open_of_credit(tx.conn(), center.no, self.credit).await?;
        if refunds > 0 {
            return Err(R::RefundsOpen { refunds }.into());
        }
        let (movements, _) = store::movements(tx.conn(), &center, detainee.available(), moment.seq).await?;
        let (unspent, refunded) = Unspent::of(&movements, center.currency)?.of_remittance(&facts.remittance);
        let amount = Amount::parse(&facts.amount, center.currency)?.checked_sub(refunded)?;
        if !amount.is_positive() {
            return Err(R::NothingToReverse { refunded }.into());
        }
        let taken = take_back_in_tx(tx, &detainee, &facts.parts, unspent).await?;
        let there = Amount::sum(taken.iter().map(|taken| taken.amount), center.currency)?;
        let claimed = amount.checked_sub(there)?;
        let mut postings: Vec<_> = taken.iter().filter_map(|taken| taken.posting).collect();
        if claimed.is_positive() {
            postings.push(claim_in_tx(tx, &detainee, self.credit, claimed).await?);
        }
        self.write(tx, &detainee, facts, amount).await?;
        let facts = CreditReversalFacts {
            remittance: facts.remittance.clone(),
            detainee: facts.detainee.clone(),
            payer: facts.payer.clone(),
            channel: facts.channel.clone(),
            gateway_transaction: facts.gateway_transaction.clone(),
            paid_at: facts.paid_at,
            amount: amount.to_string(),
            refunded: refunded.to_string(),
            parts: taken.into_iter().map(|taken| taken.part).collect(),
            claimed: claimed.to_string(),
            reason: self.reason.clone(),
        };
        let draft = Draft::new(TransactionKind::CreditReversed, postings, Facts::CreditReversal(facts));
        Ok(draft.reversing(self.credit))
    }

    /// The credit, which must be one of a remittance.
    async fn credit(&self, tx: &mut JournalTx) -> Result<JournalRecord, Declined> {
        let center = tx.center().no;
        let found = transaction::get(tx.conn(), center, self.credit).await?;
        let credit = found.map(|found| found.record);
        let credit = credit.filter(|credit| matches!(credit.facts, Some(Facts::Credit(_))));
        let not_a_credit = R::NotACredit {
            transaction: self.credit,
        };
        Ok(credit.ok_or(not_a_credit)?)
    }

    /// Writes down that the credit is reversed, and that its payment is in suspense.
    async fn write(
        &self,
        tx: &mut JournalTx,
        detainee: &Detainee,
        facts: &CreditFacts,
        amount: Amount,
    ) -> Result<(), Declined> {
        let (center, moment) = (tx.center().clone(), tx.moment());
        let paid_at = facts.paid_at.as_ref().and_then(record::instant);
        let nothing = Amount::zero(center.currency);
        let payment = SuspendedPayment {
            seq: moment.seq,
            remittance: RemittanceId::parse(&facts.remittance).map_err(broken)?,
            gateway_transaction: facts.gateway_transaction.clone(),
            paid_at: paid_at.ok_or_else(|| broken("a credit without the time of its payment"))?,
            amount,
            reason: CREDIT_REVERSED.to_owned(),
            recorded_at: moment.recorded_at,
            taken: nothing,
            put_back: nothing,
            paid_back: nothing,
            credited: nothing,
        };
        suspend_in_tx(tx.conn(), &center, &payment).await?;
        store::insert_reversal(tx.conn(), center.no, self.credit, moment.seq).await?;
        // What the detainee owes, and what of the remittance is in suspense, is what other decisions read.
        tracing::info!(center = %center.id, credit = %self.credit, detainee = %detainee.id, "a credit is reversed");
        tx.touch_rules();
        Ok(())
    }
}

/// Refuses whoever took a credit back when they are to send its money away as well: by two people only it leaves the center, since
/// what the detainee has spent of it is the center's until the claim is paid.
pub(super) async fn require_another(tx: &mut JournalTx, reversal: Seq, actor: &str) -> Result<(), Declined> {
    let center = tx.center().no;
    let found = transaction::get(tx.conn(), center, reversal).await?;
    let found = found.ok_or_else(|| broken(format!("reversal {reversal} is not in the journal")))?;
    if is_one_person(&found.record.actor, actor) {
        return Err(R::ReversedBySame { reversal }.into());
    }
    Ok(())
}

fn broken(error: impl std::fmt::Display) -> Declined {
    Declined::Broken(error.to_string())
}

impl RareCommand for ReverseCredit {
    fn request(&self) -> &Request {
        &self.request
    }

    fn run<'a>(&'a self, tx: &'a mut JournalTx) -> BoxFuture<'a, Result<Draft, Declined>> {
        self.reverse(tx).boxed()
    }
}
