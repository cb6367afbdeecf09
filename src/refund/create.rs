//! Setting money aside for a payer.

use futures::future::{BoxFuture, FutureExt as _};
use time::{Duration, OffsetDateTime};

use super::{
    Allowed, NewRefund, RefundRefusal as R,
    ask::Payout,
    bank,
    entity::{self, RefundRow, RefundState, next_ask, refund_number},
    posting,
    reverse::require_another,
    store,
    unspent::Unspent,
};
use crate::{
    approval::{NewApproval, Question, VALID, is_large_payout},
    beneficiary::{BankAccount, Owner},
    commissary::spending,
    custody,
    db::Conn,
    gateway::Channels,
    ids::Seq,
    ledger::{Center, Declined, Draft, JournalTx, LedgerError, Posting, RareCommand, Request, record},
    money::Amount,
    proto::{CreateRefundCommand, RefundFacts, TransactionKind, journal_record::Facts},
    remittance::{
        self, LegState, Remittance,
        suspense::{self, SuspendedPayment},
    },
    work,
};

/// The time within which refunds of one detainee's money count as parts of one payout.
const ALONE_WITHIN: Duration = Duration::DAY;

/// Money of a remittance is to go back to its payer.
pub(super) struct CreateRefund {
    pub request: Request,
    pub new: NewRefund,
    pub channels: Channels,
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
    /// The remittance, and what the refund takes its money from, once it is known that it can: the detainee's only if they agree. `through` is the last transaction
    /// that counts.
    async fn source(
        &self,
        conn: &mut Conn,
        center: &Center,
        when: (Seq, OffsetDateTime),
    ) -> Result<(Remittance, Source), Declined> {
        let remittance = remittance::remittance_in_tx(conn, center, &self.new.remittance).await?;
        let remittance = remittance.ok_or_else(|| self.not_there())?;
        if self.channels.get(&remittance.channel).is_none() && !self.new.by_bank {
            return Err(R::ChannelNotFound {
                channel: remittance.channel.clone(),
            }
            .into());
        }
        let credited = remittance.leg(LegState::Credited).and_then(|leg| leg.seq);
        let source = match (&self.new.suspense, credited) {
            (Some(seq), _) => {
                let payment = remittance.suspended.iter().find(|payment| payment.seq == *seq);
                let payment = payment.ok_or(R::PaymentNotSuspended { transaction: *seq })?;
                if payment.is_reversed() {
                    require_another(conn, center, *seq, &self.request.actor).await?;
                }
                self.of_suspense(payment)?
            }
            (None, Some(credit)) => self.of_account(conn, center, &remittance, credit, when).await?,
            (None, None) => {
                let payment = remittance.own_suspended().ok_or_else(|| self.not_there())?;
                self.of_suspense(payment)?
            }
        };
        if !source.is_suspense && self.new.consent.is_none() {
            return Err(R::NoConsent.into());
        }
        self.check_review(&remittance, source.seq)?;
        Ok((remittance, source))
    }

    /// The account that the bank pays it to; nothing when it goes back the way the money came, and can.
    ///
    /// Errors: REFUND_ROUTE_OPEN, REFUND_ROUTE_CLOSED, NO_BANK_ACCOUNT.
    async fn route(
        &self,
        conn: &mut Conn,
        center: &Center,
        remittance: &Remittance,
        now: OffsetDateTime,
    ) -> Result<Option<(Owner, BankAccount)>, Declined> {
        let by_bank = self.new.by_bank;
        let closed = bank::closed_route(conn, center, &self.channels, remittance, now, !by_bank).await?;
        match (by_bank, closed) {
            (false, None) => Ok(None),
            (false, Some(why)) => Err(R::RouteClosed { why }.into()),
            (true, None) => Err(R::RouteOpen {
                channel: remittance.channel.clone(),
            }
            .into()),
            (true, Some(_)) => bank::require_account(conn, center, &remittance.payer).await.map(Some),
        }
    }

    /// Whether one person may not do it alone. What was refunded of the same detainee's money by one person within a day counts:
    /// a large payout in parts is a large payout.
    async fn needs_others(
        &self,
        conn: &mut Conn,
        center: &Center,
        remittance: &Remittance,
        source: &Source,
        now: OffsetDateTime,
    ) -> Result<bool, Declined> {
        if self.new.by_bank || source.is_suspense || is_large_payout(self.new.amount) {
            return Ok(true);
        }
        let before = store::refunded_by_one(conn, center, &remittance.detainee, now - ALONE_WITHIN).await?;
        Ok(is_large_payout(before.checked_add(self.new.amount)?))
    }

    async fn asked(
        &self,
        conn: &mut Conn,
        center: &Center,
        now: OffsetDateTime,
    ) -> Result<Option<NewApproval>, LedgerError> {
        let (remittance, source) = self.source(conn, center, (Seq(i64::MAX), now)).await?;
        let account = self.route(conn, center, &remittance, now).await?;
        if !self.needs_others(conn, center, &remittance, &source, now).await? {
            return Ok(None);
        }
        let (id, amount) = (&self.new.remittance, self.new.amount);
        let command = CreateRefundCommand {
            remittance: id.to_string(),
            suspense: self.new.suspense.map_or(0, |seq| seq.0),
            amount: amount.to_string(),
            reason: self.new.reason.clone(),
            by_bank: self.new.by_bank,
            consent_document: self.new.consent.clone().unwrap_or_default(),
        };
        let by = account.map_or_else(String::new, |(_, account)| {
            format!(
                " by the bank to {} {} {}",
                account.bank_name, account.masked, account.holder
            )
        });
        let (subject, place) = if source.is_suspense {
            (format!("transactions/{}", source.seq), "in suspense".to_owned())
        } else {
            (
                format!("remittances/{id}"),
                format!("of detainee {}", remittance.detainee),
            )
        };
        Ok(Some(NewApproval {
            kind: Payout::Refund.kind().name,
            subject,
            command: record::canonical(&command),
            summary: format!(
                "Refund {amount} {} {place} to payer {}, of remittance {id}{by}.",
                center.currency, remittance.payer
            ),
            amount: Some(amount),
            valid: VALID,
        }))
    }

    async fn create(&self, tx: &mut JournalTx) -> Result<Draft, Declined> {
        let (center, moment) = (tx.center().clone(), tx.moment());
        let (allowed, at) = (&self.new.allowed, moment.recorded_at);
        let (remittance, source) = self.source(tx.conn(), &center, (moment.seq, at)).await?;
        let account = self.route(tx.conn(), &center, &remittance, at).await?;
        if matches!(allowed, Allowed::ByOne) && self.needs_others(tx.conn(), &center, &remittance, &source, at).await? {
            return Err(R::NotAllowedAlone.into());
        }
        let row = RefundRow {
            seq: moment.seq,
            remittance: remittance.id.clone(),
            detainee: remittance.detainee.clone(),
            channel: if self.new.by_bank {
                bank::CHANNEL.to_owned()
            } else {
                remittance.channel.clone()
            },
            credit: source.seq,
            from_suspense: source.is_suspense,
            amount: self.new.amount,
            state: RefundState::Requested,
            end: None,
        };
        store::insert_refund(tx.conn(), center.no, &row, allowed, at, next_ask(0, at)).await?;
        let approval = allowed.approval().cloned();
        if let (Some((owner, account)), Some(approval)) = (&account, &approval) {
            let account = (&*owner.to_string(), account.version);
            bank::insert_payout(tx.conn(), center.no, row.seq, account, approval.approval).await?;
            let (id, payer) = (row.remittance.as_str(), remittance.payer.as_str());
            let item = bank::item(row.seq, id, payer, row.amount, at);
            work::raise_in_tx(tx.conn(), center.no, &item).await?;
        } else if account.is_some() {
            return Err(R::NotAllowedAlone.into());
        }
        let (rejection, approval) = if self.new.ends_review {
            (approval, None)
        } else {
            (None, approval)
        };
        let facts = RefundFacts {
            remittance: remittance.id.to_string(),
            payer: remittance.payer.to_string(),
            detainee: remittance.detainee.to_string(),
            channel: row.channel,
            refund_number: refund_number(center.no, moment.seq),
            amount: self.new.amount.to_string(),
            unspent: source.unspent.to_string(),
            reason: self.new.reason.clone(),
            rejection,
            approval,
            consent_document: match &self.new.consent {
                Some(document) if !source.is_suspense => document.clone(),
                _ => String::new(),
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
            amount: self.new.amount,
        };
        suspense::move_in_tx(tx.conn(), &center, &told).await?;
        if self.new.amount == left {
            suspense::all_taken_in_tx(tx.conn(), center.no, payment).await?;
        }
        if self.new.ends_review {
            let rejected = (moment.seq, moment.recorded_at);
            remittance::reject_in_tx(tx.conn(), &center, &self.new.remittance, rejected, &self.new.reason).await?;
            // Lanes have counted it as in flight, and as accepted.
            tx.touch_rules();
        }
        Ok(())
    }

    /// What is held for review goes back by its review and not otherwise.
    fn check_review(&self, remittance: &Remittance, source: Seq) -> Result<(), R> {
        let id = || self.new.remittance.clone();
        let is_held = remittance.under_review().is_some_and(|held| held.seq == Some(source));
        match (is_held, self.new.ends_review) {
            (true, false) => Err(R::UnderReview { remittance: id() }),
            (false, true) => Err(R::NotUnderReview { remittance: id() }),
            _ => Ok(()),
        }
    }

    fn not_there(&self) -> R {
        R::RemittanceNotCredited {
            remittance: self.new.remittance.clone(),
        }
    }

    /// Money of the detainee's, who must be active, and whose money no authority has frozen.
    async fn of_account(
        &self,
        conn: &mut Conn,
        center: &Center,
        remittance: &Remittance,
        credit: Seq,
        (through, at): (Seq, OffsetDateTime),
    ) -> Result<Source, Declined> {
        if let Some(reversal) = store::reversals(&mut *conn, center.no, &[credit]).await?.get(&credit) {
            return Err(R::AlreadyReversed { reversal: *reversal }.into());
        }
        if let Some((center, detainee)) = custody::where_now_in_tx(conn, center, &remittance.detainee).await? {
            let (center, detainee) = (center.id, detainee.id);
            return Err(R::MoneyMoved { center, detainee }.into());
        }
        let detainee = custody::active_detainee_in_tx(conn, center, &remittance.detainee).await?;
        spending::require_not_frozen_in_tx(conn, center, &remittance.detainee, at).await?;
        let read = store::movements(conn, center, detainee.available(), through).await?;
        let layers = Unspent::of(&read.movements, center.currency)?;
        // What went back before it was credited out of suspense counts, too.
        let before = match remittance.own_suspended() {
            Some(payment) => payment.refunded()?,
            None => Amount::zero(center.currency),
        };
        let unspent = entity::check_refund(&layers, remittance, before, self.new.amount)?;
        Ok(Source {
            seq: credit,
            unspent,
            posting: posting::requested(&detainee, self.new.amount),
            is_suspense: false,
        })
    }

    /// Money in suspense, wherever the detainee is: it is the payer's.
    fn of_suspense(&self, payment: &SuspendedPayment) -> Result<Source, Declined> {
        let (left, refunded) = (payment.left()?, payment.refunded()?);
        entity::check_amounts(payment.amount, refunded, left, self.new.amount)?;
        Ok(Source {
            seq: payment.seq,
            unspent: left,
            posting: posting::requested_from_suspense(self.new.amount),
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

impl Question for CreateRefund {
    fn check<'a>(
        &'a self,
        conn: &'a mut Conn,
        center: &'a Center,
        now: OffsetDateTime,
    ) -> BoxFuture<'a, Result<Option<NewApproval>, LedgerError>> {
        self.asked(conn, center, now).boxed()
    }
}
