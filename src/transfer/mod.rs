//! Detainees who move between centers, with everything that is theirs and that they owe; money that an authority withholds, which
//! moves with them; and money that comes too late, or has to go back.
//!
//! # Layout
//! - `ask`: what others have to allow, in each of the two centers, and what then runs.
//! - `execute`: the move, one database transaction for both journals. `posting`: what it debits and credits.
//! - `withhold`: sums withheld by an authority's order.
//! - `forward`: late money that follows; `following`: what people allow for somebody who has moved since. `bring_back`: moved money that goes back to its payer.
//! - `entity`: what is stored of them, and what can be decided without asking, pure.
//!
//! # Invariants
//! 1. Both journals get their side by one commit, or neither does. Clearing between centers (1301) sums to zero over all centers of
//!    a currency at every moment.
//! 2. A stay that has ended by a transfer does not go on: whoever comes back is received under a new number. Its accounts are at zero
//!    and stay there; what comes for it goes on to where the person is.
//! 3. Whose money is unspent is told by the records of the transfer: the layers that come sum to what is available.
//! 4. A sum withheld ends once: given back or paid by two people, or moved with the detainee.

mod ask;
mod bring_back;
mod entity;
mod error;
mod execute;
mod following;
mod forward;
mod posting;
mod store;
mod verify;
mod withhold;

pub use ask::{RECEIVE, SEND};
use ask::{Sending, not_found, offer_id};
use bring_back::BringBack;
pub use bring_back::{BRING_BACK, NewBringBack, parts as remittance_parts};
pub use entity::{Direction, TransferRow, Withholding, WithholdingEnd};
pub use error::TransferRefusal;
pub use store::WithholdingFilter;
pub use verify::TransfersCheck;
pub use withhold::{END_WITHHOLDING, NewWithholding, WITHHOLD};
use withhold::{EndWithholding, WithholdSum};

use crate::{
    approval::{Answered, Approval, ApprovalState, Approvals, Asking, Person},
    custody::Custody,
    ids::{DetaineeId, Seq},
    ledger::{Center, Lanes, LedgerError, Request, record},
    money::Amount,
    payer::Payers,
    proto::TransferCommand,
};

/// The verbs of this domain.
#[derive(Clone)]
pub struct Transfers {
    lanes: Lanes,
    custody: Custody,
    payers: Payers,
    approvals: Approvals,
}

/// What is told of a transfer to make.
#[derive(Debug, Clone)]
pub struct NewTransfer {
    /// Who leaves.
    pub detainee: DetaineeId,
    /// The receiving center.
    pub to: Center,
    /// The custody number there.
    pub to_detainee: DetaineeId,
    /// The order's number.
    pub document: String,
    /// The regime tier there; none for the same.
    pub tier: Option<i16>,
}

/// A transfer that was asked for, and how far it is.
#[derive(Debug, Clone)]
pub struct Proposal {
    /// What was asked for.
    pub command: TransferCommand,
    /// The approval in the center that is left.
    pub sent: Approval,
    /// The approval in the receiving center, with that center.
    pub received: Option<(Center, Approval)>,
    /// The receiving side, once it is done.
    pub done: Option<TransferRow>,
    /// Whether the request is a repetition.
    pub replayed: bool,
}

impl Transfers {
    /// The domain over its journals.
    pub fn new(lanes: Lanes, custody: Custody, payers: Payers) -> Transfers {
        Transfers {
            approvals: Approvals::new(lanes.clone()),
            lanes,
            custody,
            payers,
        }
    }

    /// The time by which approvals expire.
    pub fn clock(&self) -> time::OffsetDateTime {
        self.lanes.clock().now()
    }

    /// Asks somebody of the center to let a detainee go; the receiving center is asked by what they allow.
    ///
    /// Errors: NOT_FOUND, DETAINEE_NOT_ACTIVE, MONEY_IN_FLIGHT, ORDERS_OPEN, TOO_MUCH_TO_MOVE, TRANSFER_CURRENCY,
    /// CUSTODY_NUMBER_TAKEN, INVALID_FIELD for a tier that is not there, APPROVAL_PENDING.
    pub async fn propose(
        &self,
        center: &Center,
        request: Request,
        (maker, reason): (Person, String),
        new: NewTransfer,
    ) -> Result<Proposal, LedgerError> {
        let asking = Asking { request, maker, reason };
        let (sent, replayed) = self.approvals.ask(center, &asking, &Sending { new }).await?;
        let command: TransferCommand = record::read_canonical(&sent.command)?;
        let mut proposal = Proposal {
            command,
            sent,
            received: None,
            done: None,
            replayed,
        };
        if proposal.sent.state(self.clock()) == ApprovalState::Executed {
            let to = crate::ids::CenterId::parse(&proposal.command.to_center);
            let to = self.custody.center(&to.map_err(|_| LedgerError::Internal)?).await?;
            let offer = offer_id(&center.id, proposal.sent.run_id());
            if let Some(received) = self.approvals.of_request(&to, offer).await? {
                if let Some((crate::approval::End::Executed(Some(seq)), _)) = &received.end {
                    proposal.done = Some(self.transfer(&to, *seq).await?);
                }
                proposal.received = Some((to, received));
            }
        }
        Ok(proposal)
    }

    /// One side of a transfer.
    ///
    /// Errors: NOT_FOUND.
    pub async fn transfer(&self, center: &Center, transfer: Seq) -> Result<TransferRow, LedgerError> {
        let mut conn = self.lanes.database().read.acquire().await?;
        let found = store::transfer(&mut conn, center, transfer).await?;
        found.ok_or_else(|| not_found(transfer))
    }

    /// Up to `limit` transfers before a number, in and out, newest first.
    pub async fn list(
        &self,
        center: &Center,
        before: Option<Seq>,
        limit: i64,
    ) -> Result<Vec<TransferRow>, LedgerError> {
        let mut conn = self.lanes.database().read.acquire().await?;
        Ok(store::transfers(&mut conn, center, before, limit).await?)
    }

    /// Asks others to allow that a sum is withheld.
    ///
    /// Errors: NOT_FOUND, DETAINEE_NOT_ACTIVE, INSUFFICIENT_FUNDS, WITHHOLDING_EXISTS, INVALID_FIELD for an order that has ended,
    /// APPROVAL_PENDING.
    pub async fn withhold(
        &self,
        center: &Center,
        request: Request,
        (maker, reason): (Person, String),
        new: NewWithholding,
    ) -> Result<Answered, LedgerError> {
        let question = WithholdSum {
            request: request.clone(),
            new,
            approval: None,
        };
        let asking = Asking { request, maker, reason };
        let asked = self.approvals.ask(center, &asking, &question).await?;
        self.approvals.answered(center, asked).await
    }

    /// Asks others to allow that a withholding ends: so much of it is the authority's, the rest is available again.
    ///
    /// Errors: NOT_FOUND, WITHHOLDING_ENDED, INVALID_FIELD for more than is withheld, APPROVAL_PENDING.
    pub async fn end_withholding(
        &self,
        center: &Center,
        request: Request,
        (maker, reason): (Person, String),
        (withholding, paid, document): (Seq, Amount, String),
    ) -> Result<Answered, LedgerError> {
        let question = EndWithholding {
            request: request.clone(),
            withholding,
            paid,
            document,
            approval: None,
        };
        let asking = Asking { request, maker, reason };
        let asked = self.approvals.ask(center, &asking, &question).await?;
        self.approvals.answered(center, asked).await
    }

    /// A withholding as it stands.
    ///
    /// Errors: NOT_FOUND.
    pub async fn withholding(&self, center: &Center, withholding: Seq) -> Result<Withholding, LedgerError> {
        let mut conn = self.lanes.database().read.acquire().await?;
        let found = store::withholding(&mut conn, center, withholding).await?;
        found.ok_or_else(|| TransferRefusal::WithholdingNotFound { withholding }.into())
    }

    /// Up to `limit` withholdings, newest first.
    pub async fn list_withholdings(
        &self,
        center: &Center,
        filter: &WithholdingFilter,
        limit: i64,
    ) -> Result<Vec<Withholding>, LedgerError> {
        let mut conn = self.lanes.database().read.acquire().await?;
        Ok(store::withholdings(&mut conn, center, filter, limit).await?)
    }

    /// Asks others to allow that what is unspent of a remittance goes back to the center where it was paid, and from there to its
    /// payer.
    ///
    /// Errors: NOT_FOUND, DETAINEE_NOT_ACTIVE, NOT_BROUGHT_HERE, REFUND_EXCEEDS_UNSPENT, APPROVAL_PENDING.
    pub async fn bring_back(
        &self,
        center: &Center,
        request: Request,
        maker: Person,
        (origin, new): (Center, NewBringBack),
    ) -> Result<Answered, LedgerError> {
        let reason = new.reason.clone();
        let question = BringBack {
            request: request.clone(),
            origin,
            new,
            approval: None,
        };
        let asking = Asking { request, maker, reason };
        let asked = self.approvals.ask(center, &asking, &question).await?;
        self.approvals.answered(center, asked).await
    }
}
