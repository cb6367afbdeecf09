//! Money that moved with a detainee and is to go back to its payer: it returns to the center where it was paid, whose gateway account,
//! order and bill it belongs to, and from there to the payer by the way it came.
//!
//! Here two people allow it; one database transaction takes it from the detainee and puts it into suspense there, where it goes back
//! by itself like a payment that was over the cap. When the gateway cannot pay it, it is in suspense there, for people.

use futures::future::{BoxFuture, FutureExt as _};
use time::OffsetDateTime;

use super::{TransferRefusal as R, execute::elsewhere, posting};
use crate::{
    approval::{Kind, NewApproval, Question, VALID},
    commissary::spending,
    custody::{self, Detainee},
    db::Conn,
    ids::{CenterId, DetaineeId, RemittanceId, RequestId, Seq},
    ledger::{Center, Declined, Draft, JournalTx, LedgerError, Moment, RareCommand, Request, chart, record},
    money::Amount,
    proto::{
        ApprovalFacts, BringBackCommand, BroughtBackFacts, ElsewhereFacts, TransactionKind, journal_record::Facts,
    },
    refund::Layers,
    remittance::{
        self, BROUGHT_BACK, PaymentFacts, Remittance,
        suspense::{self, SuspendedPayment},
    },
};

/// The method that both sides' requests name. No caller can call it.
pub(super) const METHOD: &str = "custody.v1.TransferService/RunBringBack";

/// Money goes back to where it was paid.
pub const BRING_BACK: Kind = Kind {
    name: "remittance.bring_back",
    title: "return moved money to its payer",
    title_zh: "转所款项退回汇款人",
};

/// What is told of money to bring back.
#[derive(Debug, Clone)]
pub struct NewBringBack {
    /// Who has it now.
    pub detainee: DetaineeId,
    /// The remittance's name, in the center where it was paid.
    pub remittance: String,
    /// How much, above zero.
    pub amount: Amount,
    /// Why.
    pub reason: String,
    /// The number of the paper by which the detainee agreed: as for a refund of their money.
    pub consent: Option<String>,
}

/// Center and id of a remittance's name.
pub fn parts(name: &str) -> Option<(CenterId, RemittanceId)> {
    let (center, remittance) = name.strip_prefix("centers/")?.split_once("/remittances/")?;
    Some((CenterId::parse(center).ok()?, RemittanceId::parse(remittance).ok()?))
}

/// What is unspent of a remittance goes back to where it was paid.
pub(super) struct BringBack {
    pub request: Request,
    /// Where it was paid.
    pub origin: Center,
    pub new: NewBringBack,
    pub approval: Option<ApprovalFacts>,
}

/// Money that can go back.
struct Source {
    detainee: Detainee,
    remittance: Remittance,
    payment: PaymentFacts,
    unspent: Amount,
}

impl BringBack {
    async fn source(
        &self,
        conn: &mut Conn,
        center: &Center,
        (through, at): (Seq, OffsetDateTime),
    ) -> Result<Source, Declined> {
        let new = &self.new;
        let detainee = custody::active_detainee_in_tx(conn, center, &new.detainee).await?;
        spending::require_not_frozen_in_tx(conn, center, &new.detainee, at).await?;
        let layers = Layers::read_in_tx(conn, center, detainee.available(), through).await?;
        let not_here = || R::NotBroughtHere {
            remittance: new.remittance.clone(),
        };
        let (unspent, _) = layers.brought(&new.remittance).ok_or_else(not_here)?;
        if new.amount.exceeds(unspent)? {
            let amount = new.amount;
            return Err(R::ExceedsUnspent { unspent, amount }.into());
        }
        if new.consent.is_none() {
            return Err(R::NoConsent.into());
        }
        let (_, id) = parts(&new.remittance).ok_or_else(not_here)?;
        let remittance = remittance::remittance_in_tx(conn, &self.origin, &id).await?;
        let remittance = remittance.ok_or_else(not_here)?;
        let payment = remittance.payment().cloned().ok_or_else(not_here)?;
        Ok(Source {
            detainee,
            remittance,
            payment,
            unspent,
        })
    }

    async fn asked(
        &self,
        conn: &mut Conn,
        center: &Center,
        now: OffsetDateTime,
    ) -> Result<Option<NewApproval>, LedgerError> {
        let source = self.source(conn, center, (Seq(i64::MAX), now)).await?;
        let new = &self.new;
        let command = BringBackCommand {
            detainee: new.detainee.to_string(),
            remittance: new.remittance.clone(),
            amount: new.amount.to_string(),
            reason: new.reason.clone(),
            consent_document: new.consent.clone().unwrap_or_default(),
        };
        Ok(Some(NewApproval {
            kind: BRING_BACK.name,
            subject: format!("detainees/{}", new.detainee),
            command: record::canonical(&command),
            summary: format!(
                "Take {} {} of {} from detainee {}, back to center {} and to payer {} there.",
                new.amount, center.currency, new.remittance, new.detainee, self.origin.id, source.remittance.payer
            ),
            amount: Some(new.amount),
            valid: VALID,
        }))
    }

    async fn bring(&self, tx: &mut JournalTx) -> Result<Draft, Declined> {
        let (center, moment) = (tx.center().clone(), tx.moment());
        self.approval.as_ref().ok_or(R::NotAllowedAlone)?;
        let source = self
            .source(tx.conn(), &center, (moment.seq, moment.recorded_at))
            .await?;
        let amount = self.new.amount;
        let is_here = center.no == self.origin.no;
        let there = if is_here {
            moment
        } else {
            tx.next_moment(self.origin.no)?
        };
        self.suspend(tx, &source, there).await?;
        let origin = elsewhere(self.origin.id.as_str(), &source.remittance.detainee, there.seq);
        if is_here {
            let facts = self.facts(&source, self.new.detainee.as_str(), ElsewhereFacts { seq: 0, ..origin });
            let posting = posting::brought_back(source.detainee.available(), amount);
            return Ok(Draft::new(TransactionKind::BroughtBackOut, vec![posting], facts));
        }
        let request = Request {
            id: RequestId::derived(&["brought back", &self.request.id.to_string()]),
            method: METHOD,
            body: self.request.body.clone(),
            actor: self.request.actor.clone(),
        };
        let here = elsewhere(center.id.as_str(), &self.new.detainee, moment.seq);
        let facts = self.facts(&source, source.remittance.detainee.as_str(), here);
        let posting = posting::brought_back(chart::INTER_CENTER, amount);
        let draft = Draft::new(TransactionKind::BroughtBackIn, vec![posting], facts);
        tx.add(self.origin.no, request, draft)?;
        let facts = self.facts(&source, self.new.detainee.as_str(), origin);
        let posting = posting::left(source.detainee.available(), amount);
        Ok(Draft::new(TransactionKind::BroughtBackOut, vec![posting], facts))
    }

    /// Writes down that the money is in suspense where it was paid, and goes back from there.
    async fn suspend(&self, tx: &mut JournalTx, source: &Source, at: Moment) -> Result<(), Declined> {
        let nothing = Amount::zero(self.origin.currency);
        let payment = SuspendedPayment {
            seq: at.seq,
            remittance: source.remittance.id.clone(),
            gateway_transaction: source.payment.gateway_transaction.clone(),
            paid_at: source.payment.paid_at,
            amount: self.new.amount,
            reason: BROUGHT_BACK.to_owned(),
            recorded_at: at.recorded_at,
            taken: nothing,
            put_back: nothing,
            paid_back: nothing,
            credited: nothing,
        };
        suspense::suspend_in_tx(tx.conn(), &self.origin, &payment).await?;
        suspense::goes_back_in_tx(tx.conn(), self.origin.no, &payment).await?;
        Ok(())
    }

    fn facts(&self, source: &Source, detainee: &str, other: ElsewhereFacts) -> Facts {
        Facts::BroughtBack(BroughtBackFacts {
            detainee: detainee.to_owned(),
            other: Some(other),
            remittance: self.new.remittance.clone(),
            payer: source.remittance.payer.to_string(),
            channel: source.remittance.channel.clone(),
            gateway_transaction: source.payment.gateway_transaction.clone(),
            paid_at: Some(record::timestamp(source.payment.paid_at)),
            amount: self.new.amount.to_string(),
            unspent: source.unspent.to_string(),
            original: source.remittance.amount.to_string(),
            reason: self.new.reason.clone(),
            consent_document: self.new.consent.clone().unwrap_or_default(),
            approval: self.approval.clone(),
        })
    }
}

impl RareCommand for BringBack {
    fn request(&self) -> &Request {
        &self.request
    }

    fn other(&self) -> Option<&Center> {
        Some(&self.origin)
    }

    fn run<'a>(&'a self, tx: &'a mut JournalTx) -> BoxFuture<'a, Result<Draft, Declined>> {
        self.bring(tx).boxed()
    }
}

impl Question for BringBack {
    fn check<'a>(
        &'a self,
        conn: &'a mut Conn,
        center: &'a Center,
        now: OffsetDateTime,
    ) -> BoxFuture<'a, Result<Option<NewApproval>, LedgerError>> {
        self.asked(conn, center, now).boxed()
    }
}
