//! Money back to payers by the way it came, and out with people who are released.
//!
//! # Layout
//! - `unspent`: whose money is not spent yet; `layers`: the same, for other centers. `entity`: numbers, states, decisions.
//! - `create`: setting money aside. `outcome`: taking it to the gateway, and what becomes of it. `end`: the command that ends one.
//! - `bank`: refunds that the bank pays, where the way that the money came is closed.
//! - `ask`: what others have to allow, and what then runs.
//! - `redirect`: refunds that the gateway cannot pay.
//! - `release`: the whole balance of a person who leaves. `reverse`: a credit that should not have been made.
//! - `returns`: what goes back by itself. `review`: two people end the review of a payment. `journey`, `words`: what payers are told.
//!
//! # Invariants
//! 1. A refund is at most what is unspent of its remittance, or left of it in suspense, and all refunds of a payment are at
//!    most what was paid.
//! 2. A refund has one outcome: its request id is made of the refund's number.
//! 3. Money in suspense, and 500.00 and more, goes out by several people, or by itself when the rules say. Whoever creates a
//!    release payout never says that it was paid.
//! 4. What a gateway paid to the center is still owed to the payer until the bank has paid it.
//! 5. Whatever is lost in between (an answer, a notification, a process) is found again by asking the gateway.

mod ask;
pub mod bank;
mod create;
mod end;
mod entity;
mod error;
mod journey;
mod layers;
mod outcome;
mod posting;
mod redirect;
mod release;
mod returns;
mod reverse;
mod review;
mod store;
mod unspent;
mod verify;
mod words;

pub use ask::PUT_BACK_METHOD;
use entity::RefundRow;
pub use entity::{Refund, RefundState, Release, ReleaseEnd, parse_refund_number, refund_number};
pub use error::RefundRefusal;
pub use journey::{Journey, Stage, Step};
pub use layers::{Layers, layer_name};
pub use returns::{METHOD as RETURN_METHOD, REVIEW_TIMED_OUT};
pub use review::{Review, ReviewRunner, ask as ask_for_review};
pub use store::{SucceededRefund, succeeded_in_tx};
use time::OffsetDateTime;
pub use verify::RefundsCheck;

use crate::{
    approval::Approvals,
    custody::Custody,
    db::Conn,
    gateway::Channels,
    ids::{DetaineeId, PayerId, RemittanceId, Seq},
    ledger::{
        Center, Declined, Lanes, LedgerError, Posted, Request,
        balance::{self, AsOf},
        record, transaction,
    },
    money::Amount,
    proto::{ApprovalFacts, JournalRecord, RefundFacts, journal_record::Facts},
};

/// The verbs of this domain.
#[derive(Clone)]
pub struct Refunds {
    lanes: Lanes,
    approvals: Approvals,
    custody: Custody,
    channels: Channels,
}

/// What is unspent of one remittance.
#[derive(Debug, Clone, PartialEq)]
pub struct UnspentRemittance {
    /// The remittance's name, in the center where it was paid.
    pub remittance: String,
    /// Who remitted.
    pub payer: String,
    /// What was remitted, gross.
    pub original: Amount,
    /// What was refunded of it, refunds in transit included.
    pub refunded: Amount,
    /// What can still be refunded.
    pub unspent: Amount,
    /// When it was credited.
    pub credited_at: OffsetDateTime,
    /// Why no more is unspent: the transactions that used it, oldest first.
    pub uses: Vec<Use>,
}

/// What a transaction took of a remittance's money. Goods that came back are taken off.
#[derive(Debug, Clone, PartialEq)]
pub struct Use {
    /// The transaction.
    pub seq: Seq,
    /// What for.
    pub what: &'static str,
    /// How much of this remittance's money.
    pub amount: Amount,
}

/// What a detainee has not spent, remittance by remittance.
#[derive(Debug, Clone, PartialEq)]
pub struct UnspentMoney {
    /// Oldest first.
    pub remittances: Vec<UnspentRemittance>,
    /// Sum of what is unspent of them.
    pub total: Amount,
    /// The last transaction it includes.
    pub as_of: Seq,
}

/// What is told of a refund to make.
#[derive(Debug, Clone)]
pub struct NewRefund {
    /// The remittance.
    pub remittance: RemittanceId,
    /// The transaction that put the payment into suspense which is to go back; none for the remittance's own money, be it the
    /// detainee's or in suspense.
    pub suspense: Option<Seq>,
    /// How much, above zero.
    pub amount: Amount,
    /// Why.
    pub reason: String,
    /// On whose word.
    pub allowed: Allowed,
    /// Whether this ends the review that the payment is held for. What is held is not refunded otherwise.
    pub ends_review: bool,
    /// Whether the bank pays it, to the payer's verified account: only where the way that the money came is closed.
    pub by_bank: bool,
    /// The number of the paper by which the detainee agreed; none of money in suspense.
    pub consent: Option<String>,
}

/// On whose word money goes back.
#[derive(Debug, Clone, PartialEq)]
pub enum Allowed {
    /// One person's: not out of suspense, and not much.
    ByOne,
    /// Several people's.
    By(ApprovalFacts),
    /// Nobody's: the rules say that it goes back now.
    ByItself,
}

impl Allowed {
    fn approval(&self) -> Option<&ApprovalFacts> {
        match self {
            Allowed::By(approval) => Some(approval),
            Allowed::ByOne | Allowed::ByItself => None,
        }
    }
}

impl NewRefund {
    /// A refund of a remittance's own money, on one person's word.
    pub fn of(remittance: RemittanceId, amount: Amount, reason: impl Into<String>) -> NewRefund {
        NewRefund {
            remittance,
            suspense: None,
            amount,
            reason: reason.into(),
            allowed: Allowed::ByOne,
            ends_review: false,
            by_bank: false,
            consent: None,
        }
    }

    /// With the detainee's consent, by the number of the paper.
    #[must_use]
    pub fn consented(mut self, document: impl Into<String>) -> NewRefund {
        self.consent = Some(document.into());
        self
    }
}

impl Refunds {
    /// The domain over its journals and the channels there are.
    pub fn new(lanes: Lanes, custody: Custody, channels: Channels) -> Refunds {
        Refunds {
            approvals: Approvals::new(lanes.clone()),
            lanes,
            custody,
            channels,
        }
    }

    /// The channels there are.
    pub fn channels(&self) -> &Channels {
        &self.channels
    }

    /// What a detainee has not spent of the remittances of one payer, or of all.
    ///
    /// Errors: NOT_FOUND.
    pub async fn unspent(
        &self,
        center: &Center,
        detainee: &DetaineeId,
        payer: Option<&PayerId>,
    ) -> Result<UnspentMoney, LedgerError> {
        let detainee = self.custody.detainee(center, detainee).await?;
        let mut conn = self.lanes.database().read.acquire().await?;
        let as_of = balance::resolve(&mut conn, center, AsOf::Now).await?;
        let layers = Layers::read_in_tx(&mut conn, center, detainee.available(), as_of).await?;
        let mut remittances = Vec::new();
        for (layer, uses) in layers.all(&mut conn).await? {
            let is_payers = payer.is_none_or(|payer| payer.as_str() == layer.payer);
            if layer.remittance.is_empty() || !is_payers {
                continue;
            }
            let amount = |text: &str| Amount::parse(text, center.currency).map_err(Declined::from);
            remittances.push(UnspentRemittance {
                original: amount(&layer.original)?,
                refunded: amount(&layer.refunded)?,
                unspent: amount(&layer.amount)?,
                credited_at: layer
                    .credited_at
                    .as_ref()
                    .and_then(record::instant)
                    .ok_or(LedgerError::Internal)?,
                remittance: layer.remittance,
                payer: layer.payer,
                uses,
            });
        }
        let total = Amount::sum(remittances.iter().map(|entry| entry.unspent), center.currency);
        Ok(UnspentMoney {
            remittances,
            total: total.map_err(Declined::from)?,
            as_of,
        })
    }

    /// Sets money of a remittance aside, and asks the gateway to pay it back. Answered as it was set aside, whatever the
    /// gateway says meanwhile; a gateway that cannot be reached is asked again later.
    ///
    /// Errors: those of [`Refunds::request_refund`], APPROVAL_REQUIRED.
    pub async fn create(&self, center: &Center, request: Request, new: NewRefund) -> Result<Posted, LedgerError> {
        let command = create::CreateRefund {
            request,
            new,
            channels: self.channels.clone(),
        };
        let posted = self.lanes.submit_rare(center, command).await?;
        if !posted.replayed {
            // The money is set aside, which is the answer; what fails here is made up for by `poll_open`.
            if let Err(error) = self.refresh(center, posted.seq()).await {
                tracing::warn!(center = %center.id, refund = %posted.seq(), %error, "a refund is submitted later");
            }
        }
        Ok(posted)
    }

    /// A refund as it stands.
    ///
    /// Errors: NOT_FOUND.
    pub async fn get(&self, center: &Center, refund: Seq) -> Result<Refund, LedgerError> {
        let row = self.row(center, refund).await?;
        self.read(center, &row).await
    }

    /// Up to `limit` refunds before a number, newest first; of one detainee, remittance or payer, or of all.
    pub async fn list(
        &self,
        center: &Center,
        detainee: Option<&DetaineeId>,
        remittance: Option<&RemittanceId>,
        payer: Option<&PayerId>,
        before: Option<Seq>,
        limit: i64,
    ) -> Result<Vec<Refund>, LedgerError> {
        let from = before.map_or(Seq(i64::MAX), |seq| Seq(seq.0.saturating_sub(1)));
        let rows = store::refunds(
            &*self.lanes.database().read,
            center,
            detainee,
            remittance,
            payer,
            from,
            limit,
        )
        .await?;
        let mut refunds = Vec::with_capacity(rows.len());
        for row in &rows {
            refunds.push(self.read(center, row).await?);
        }
        Ok(refunds)
    }

    async fn row(&self, center: &Center, refund: Seq) -> Result<RefundRow, LedgerError> {
        let row = store::refund(&*self.lanes.database().read, center, refund).await?;
        row.ok_or_else(|| RefundRefusal::RefundNotFound { refund }.into())
    }

    async fn read(&self, center: &Center, row: &RefundRow) -> Result<Refund, LedgerError> {
        let end = match row.end {
            Some(seq) => Some(self.record(center, seq).await?),
            None => None,
        };
        Ok(Refund {
            requested: self.record(center, row.seq).await?,
            state: row.state,
            end,
            redirected_to: self.redirected_to(center, row.seq).await?,
            steps: store::steps(&*self.lanes.database().read, center.no, row.seq).await?,
        })
    }

    async fn record(&self, center: &Center, seq: Seq) -> Result<JournalRecord, LedgerError> {
        let mut conn = self.lanes.database().read.acquire().await?;
        record_in_tx(&mut conn, center, seq).await
    }

    async fn facts(&self, center: &Center, row: &RefundRow) -> Result<RefundFacts, LedgerError> {
        match self.record(center, row.seq).await?.facts {
            Some(Facts::Refund(facts)) => Ok(facts),
            _ => Err(LedgerError::Internal),
        }
    }
}

/// Refuses while a refund of a detainee's money has no outcome: what becomes of it is not known.
///
/// Errors: MONEY_IN_FLIGHT.
pub async fn require_none_open_in_tx(conn: &mut Conn, center: &Center, detainee: &DetaineeId) -> Result<(), Declined> {
    let open = store::count_open(conn, center.no, detainee).await?;
    Ok(entity::require_none_open(open)?)
}

/// A record that must be there.
async fn record_in_tx(conn: &mut Conn, center: &Center, seq: Seq) -> Result<JournalRecord, LedgerError> {
    let found = transaction::get(conn, center.no, seq).await?;
    found.map(|found| found.record).ok_or(LedgerError::Internal)
}
