//! Refunds that the bank pays, to an account of the payer's that others have verified: where the way that the money came is closed,
//! and where the gateway has paid an abnormal refund to the center instead.

mod store;

use futures::future::{BoxFuture, FutureExt as _};
use time::{Duration, OffsetDateTime};

pub(super) use self::store::{insert_failure, insert_payout, is_payable, redirect_paid, sent_as};
use super::{
    RefundRefusal as R, Refunds,
    end::{EndRefund, EndedBy, Outcome},
    entity::{RefundRow, RefundState, refund_number},
    posting, redirect, store as refunds,
};
use crate::{
    beneficiary::{self, BankAccount, Owner},
    db::{self, Conn},
    gateway::Channels,
    ids::{PayerId, RequestId, Seq},
    ledger::{Center, Code, Declined, Draft, JournalTx, LedgerError, Posted, RareCommand, Request, account},
    money::Amount,
    proto::{
        ApprovalFacts, OutcomeFacts, RefundPayoutWork, TransactionKind, WorkFacts, journal_record::Facts, work_facts,
    },
    remittance::{LegState, Remittance},
    work::{self, Closing, NewItem, WorkKind},
};

/// What such a refund names as its channel. No gateway's channel has this name.
pub const CHANNEL: &str = "bank";
/// The method of the transaction that records what the gateway has paid to the center. No caller can call it.
const METHOD: &str = "custody.v1.RefundService/RedirectPaid";

/// Why money cannot go back the way it came; none while it can. `must` leaves out what may be tried again.
pub(super) async fn closed_route(
    conn: &mut Conn,
    center: &Center,
    channels: &Channels,
    remittance: &Remittance,
    now: OffsetDateTime,
    must: bool,
) -> Result<Option<&'static str>, Declined> {
    let Some(gate) = channels.get(&remittance.channel) else {
        return Ok(Some("GATEWAY_GONE"));
    };
    let limits = gate.channel.refund_limits();
    let paid_at = remittance.leg(LegState::Paid).map(|leg| leg.at);
    if let (Some(days), Some(paid_at)) = (limits.days, paid_at)
        && now - paid_at > Duration::days(days)
    {
        return Ok(Some("TOO_OLD"));
    }
    let (parts, failed) = store::attempts(conn, center.no, &remittance.id, &remittance.channel).await?;
    if limits.parts.is_some_and(|most| parts >= most) {
        return Ok(Some("TOO_MANY_PARTS"));
    }
    Ok((failed > 0 && !must).then_some("RETURNED"))
}

/// The verified account that a payer is paid to.
///
/// Errors: NO_BANK_ACCOUNT.
pub(super) async fn require_account(
    conn: &mut Conn,
    center: &Center,
    payer: &PayerId,
) -> Result<(Owner, BankAccount), Declined> {
    let owner = Owner::Payer(payer.clone());
    match beneficiary::account_in_tx(conn, center, &owner).await? {
        Some(account) => Ok((owner, account)),
        None => Err(R::NoBankAccount {
            owner: owner.to_string(),
        }
        .into()),
    }
}

/// The item that waits until the bank has paid, or could not.
pub(super) fn item(refund: Seq, remittance: &str, payer: &str, amount: Amount, at: OffsetDateTime) -> NewItem {
    let facts = RefundPayoutWork {
        refund: refund.0,
        remittance: remittance.to_owned(),
        payer: payer.to_owned(),
        amount: amount.to_string(),
    };
    let facts = WorkFacts {
        facts: Some(work_facts::Facts::RefundPayout(facts)),
    };
    NewItem::new(WorkKind::RefundPayout, redirect::subject(refund), facts, at)
}

impl Refunds {
    /// The gateway has paid a redirected refund to the center: the bank still has to pay the payer.
    pub(super) async fn redirected_by_gateway(
        &self,
        center: &Center,
        row: &RefundRow,
        gateway_refund: &str,
    ) -> Result<(), LedgerError> {
        let number = refund_number(center.no, row.seq);
        let command = RedirectPaid {
            request: Request {
                id: RequestId::derived(&["refund-redirected", &number]),
                method: METHOD,
                body: number.into_bytes(),
                actor: format!("gateway/{}", row.channel),
            },
            refund: row.seq,
            gateway_refund: gateway_refund.to_owned(),
        };
        self.lanes.submit_rare(center, command).await.map(drop)
    }

    /// The bank says how a refund ended; that it failed, with those who looked at what the bank is said to say.
    ///
    /// Errors: NOT_FOUND, NOT_IN_TRANSIT.
    pub async fn end_by_bank(
        &self,
        center: &Center,
        request: Request,
        refund: Seq,
        is_paid: bool,
        (reference, reason): (String, String),
        approval: Option<ApprovalFacts>,
    ) -> Result<Posted, LedgerError> {
        let command = EndRefund {
            request,
            refund,
            outcome: Outcome {
                end: if is_paid {
                    RefundState::Succeeded
                } else {
                    RefundState::Failed
                },
                by: EndedBy::Bank,
                facts: OutcomeFacts {
                    reference,
                    reason,
                    approval,
                },
            },
        };
        self.lanes.submit_rare(center, command).await
    }
}

/// The gateway has paid a refund to the center's own bank account.
struct RedirectPaid {
    request: Request,
    refund: Seq,
    gateway_refund: String,
}

impl RedirectPaid {
    async fn record(&self, tx: &mut JournalTx) -> Result<Draft, Declined> {
        let (center, moment) = (tx.center().clone(), tx.moment());
        let row = refunds::refund(tx.conn(), &center, self.refund).await?;
        let row = row.ok_or(R::RefundNotFound { refund: self.refund })?;
        if row.state.is_end() {
            let state = row.state.name();
            return Err(R::NotInTransit { state }.into());
        }
        let owner = format!("channels/{}", row.channel);
        let clearing = account::find(tx.conn(), center.no, Code::GatewayClearing, &owner).await?;
        let clearing = clearing.ok_or_else(|| Declined::Broken(format!("{owner} has no clearing account")))?;
        let payer = store::payer_of(tx.conn(), center.no, &row.remittance).await?;
        let (at, seq) = (moment.recorded_at, moment.seq);
        store::insert_redirect_paid(tx.conn(), center.no, row.seq, seq, &self.gateway_refund, at).await?;
        refunds::insert_leg(tx.conn(), center.no, row.seq, RefundState::Redirected, at, "", None).await?;
        let closing = Closing {
            kind: WorkKind::AbnormalRefund,
            subject: &redirect::subject(row.seq),
            at,
            actor: &self.request.actor,
            reason: RefundState::Redirected.name(),
            seq: Some(seq),
        };
        work::close_in_tx(tx.conn(), center.no, &closing).await?;
        let new = item(row.seq, row.remittance.as_str(), &payer, row.amount, at);
        work::raise_in_tx(tx.conn(), center.no, &new).await?;
        let facts = OutcomeFacts {
            reference: self.gateway_refund.clone(),
            reason: String::new(),
            approval: None,
        };
        let postings = vec![posting::paid_to_center(clearing, row.amount)];
        Ok(Draft::new(TransactionKind::RefundRedirected, postings, Facts::Outcome(facts)).reversing(row.seq))
    }
}

impl RareCommand for RedirectPaid {
    fn request(&self) -> &Request {
        &self.request
    }

    fn run<'a>(&'a self, tx: &'a mut JournalTx) -> BoxFuture<'a, Result<Draft, Declined>> {
        self.record(tx).boxed()
    }
}

/// Refunds for payment files, in the caller's transaction.
pub mod payouts {
    use super::{Amount, Center, Conn, Seq, db, store};

    /// A refund that the bank has to pay.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Payout {
        /// The refund.
        pub refund: Seq,
        /// Whose account: `payers/P1`.
        pub owner: String,
        /// Its version.
        pub account_version: i64,
        /// What allowed it.
        pub approval: i64,
        /// How much.
        pub amount: Amount,
    }

    /// Up to `limit` refunds that the bank has to pay and that are in no file, oldest first.
    pub async fn waiting(conn: &mut Conn, center: &Center, limit: i64) -> db::Result<Vec<Payout>> {
        store::waiting(conn, center, limit).await
    }

    /// What is in transit by the refunds that have not ended.
    pub async fn in_transit(conn: &mut Conn, center: &Center) -> db::Result<Amount> {
        store::in_transit(conn, center).await
    }

    /// How a refund ended, if it did; whether it was paid.
    pub async fn end(conn: &mut Conn, center: &Center, refund: Seq) -> db::Result<Option<bool>> {
        let row = super::refunds::refund(&mut *conn, center, refund).await?;
        let ended = row.filter(|row| row.state.is_end());
        Ok(ended.map(|row| row.state == super::RefundState::Succeeded))
    }
}
