//! Taking an erroneous credit back.
//!
//! The whole credit goes to suspense, but for what was refunded of it: what is still there of its parts, and for what is not a
//! claim against the detainee. From suspense it is refunded to its payer, under the reversal's number, or credited to whom it
//! was meant for. Nothing of it can be refunded out of the detainee's account any more: what comes back to that account of
//! what was bought with it is the detainee's, who owes the claim.

use futures::future::{BoxFuture, FutureExt as _};
use time::OffsetDateTime;

use super::{
    RefundRefusal as R, Refunds,
    ask::Payout,
    entity::{credit_facts, require_none_open},
    store,
    unspent::Unspent,
};
use crate::{
    approval::{NewApproval, Question, VALID, is_one_person},
    custody::{self, Detainee},
    db::Conn,
    distribution::reversal::{claim_in_tx, take_back_in_tx},
    ids::{DetaineeId, RemittanceId, Seq},
    ledger::{Center, Declined, Draft, JournalTx, LedgerError, RareCommand, Request, record, transaction},
    money::Amount,
    proto::{
        ApprovalFacts, CreditFacts, CreditReversalFacts, JournalRecord, ReverseCreditCommand, TransactionKind,
        journal_record::Facts,
    },
    remittance::suspense::{CREDIT_REVERSED, SuspendedPayment, suspend_in_tx},
};

impl Refunds {
    /// The record of a reversal.
    ///
    /// Errors: NOT_FOUND.
    pub async fn reversal(&self, center: &Center, reversal: Seq) -> Result<JournalRecord, LedgerError> {
        let found = transaction::get(&*self.lanes.database().read, center.no, reversal).await?;
        let found = found.filter(|found| found.record.kind() == TransactionKind::CreditReversed);
        found
            .map(|found| found.record)
            .ok_or_else(|| R::ReversalNotFound { reversal }.into())
    }
}

/// A credit is to be taken back.
pub(super) struct ReverseCredit {
    pub request: Request,
    pub credit: Seq,
    pub reason: String,
    /// Who allowed it.
    pub approval: Option<ApprovalFacts>,
}

/// A credit that can be taken back.
struct Reversible {
    facts: CreditFacts,
    detainee: Detainee,
    /// What is unspent of the part that could be spent.
    unspent: Amount,
    /// What was refunded of it.
    refunded: Amount,
    /// What goes to suspense.
    amount: Amount,
}

impl ReverseCredit {
    /// What there is to take back. `through` is the last transaction that counts.
    async fn reversible(&self, conn: &mut Conn, center: &Center, through: Seq) -> Result<Reversible, Declined> {
        let credit = self.credit(conn, center).await?;
        let facts = credit_facts(&credit)?.clone();
        let reversed = store::reversals(&mut *conn, center.no, &[self.credit]).await?;
        if let Some(reversal) = reversed.get(&self.credit) {
            return Err(R::AlreadyReversed { reversal: *reversal }.into());
        }
        let id = DetaineeId::parse(&facts.detainee).map_err(broken)?;
        if let Some((center, detainee)) = custody::where_now_in_tx(conn, center, &id).await? {
            let (center, detainee) = (center.id, detainee.id);
            return Err(R::MoneyMoved { center, detainee }.into());
        }
        let detainee = custody::active_detainee_in_tx(conn, center, &id).await?;
        require_none_open(store::count_open_of_credit(conn, center.no, self.credit).await?)?;
        let read = store::movements(conn, center, detainee.available(), through).await?;
        let (unspent, refunded) = Unspent::of(&read.movements, center.currency)?.of_remittance(&facts.remittance);
        let amount = Amount::parse(&facts.amount, center.currency)?.checked_sub(refunded)?;
        if !amount.is_positive() {
            return Err(R::NothingToReverse { refunded }.into());
        }
        Ok(Reversible {
            facts,
            detainee,
            unspent,
            refunded,
            amount,
        })
    }

    async fn asked(&self, conn: &mut Conn, center: &Center) -> Result<Option<NewApproval>, LedgerError> {
        let found = self.reversible(conn, center, Seq(i64::MAX)).await?;
        let command = ReverseCreditCommand {
            credit: self.credit.0,
            reason: self.reason.clone(),
        };
        Ok(Some(NewApproval {
            kind: Payout::Reversal.kind().name,
            subject: format!("transactions/{}", self.credit),
            command: record::canonical(&command),
            summary: format!(
                "Take {} {} of remittance {} back from detainee {} into suspense.",
                found.amount, center.currency, found.facts.remittance, found.facts.detainee
            ),
            amount: Some(found.amount),
            valid: VALID,
        }))
    }

    async fn reverse(&self, tx: &mut JournalTx) -> Result<Draft, Declined> {
        let (center, moment) = (tx.center().clone(), tx.moment());
        let approval = self.approval.as_ref().ok_or(R::NotAllowedAlone)?;
        let Reversible {
            facts,
            detainee,
            unspent,
            refunded,
            amount,
        } = self.reversible(tx.conn(), &center, moment.seq).await?;
        let taken = take_back_in_tx(tx, &detainee, &facts.parts, unspent).await?;
        let there = Amount::sum(taken.iter().map(|taken| taken.amount), center.currency)?;
        let claimed = amount.checked_sub(there)?;
        let mut postings: Vec<_> = taken.iter().filter_map(|taken| taken.posting).collect();
        if claimed.is_positive() {
            postings.push(claim_in_tx(tx, &detainee, self.credit, claimed).await?);
        }
        self.write(tx, &facts, amount, approval.approval).await?;
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
            approval: Some(approval.clone()),
        };
        let draft = Draft::new(TransactionKind::CreditReversed, postings, Facts::CreditReversal(facts));
        Ok(draft.reversing(self.credit))
    }

    /// The credit, which must be one of a remittance.
    async fn credit(&self, conn: &mut Conn, center: &Center) -> Result<JournalRecord, Declined> {
        let found = transaction::get(&mut *conn, center.no, self.credit).await?;
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
        facts: &CreditFacts,
        amount: Amount,
        approval: i64,
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
        store::insert_reversal(tx.conn(), center.no, self.credit, moment.seq, approval).await?;
        // What the detainee owes, and what of the remittance is in suspense, is what other decisions read.
        tracing::info!(center = %center.id, credit = %self.credit, detainee = facts.detainee, "a credit is reversed");
        tx.touch_rules();
        Ok(())
    }
}

/// Refuses whoever took a credit back when they are to send its money away as well: by two people only it leaves the center, since
/// what the detainee has spent of it is the center's until the claim is paid.
pub(super) async fn require_another(
    conn: &mut Conn,
    center: &Center,
    reversal: Seq,
    actor: &str,
) -> Result<(), Declined> {
    let found = transaction::get(&mut *conn, center.no, reversal).await?;
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

impl Question for ReverseCredit {
    fn check<'a>(
        &'a self,
        conn: &'a mut Conn,
        center: &'a Center,
        _: OffsetDateTime,
    ) -> BoxFuture<'a, Result<Option<NewApproval>, LedgerError>> {
        self.asked(conn, center).boxed()
    }
}
