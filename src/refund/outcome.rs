//! Taking a refund to the gateway, and what becomes of it, however that is learnt.

use futures::stream::{self, StreamExt as _};
use time::Duration;

use super::{
    Refund, RefundRefusal as R, Refunds, bank,
    end::{EndRefund, EndedBy, Outcome},
    entity::{RefundRow, RefundState, next_ask, parse_refund_number, payment_facts, refund_number},
    store,
};
use crate::{
    gateway::{self, ChannelSet, Gate, GatewayError, NewRefund, RefundNotice},
    ids::{RequestId, Seq},
    ledger::{Center, LedgerError, Request, outcome as ledger_outcome},
    proto::OutcomeFacts,
    remittance::{self, order_number},
    work,
};

/// The method that an outcome's request names. No caller can call it.
const METHOD: &str = "custody.v1.RefundService/EndRefund";
/// How long a claimed refund is left alone by other processes.
const LEASE: Duration = Duration::minutes(2);
/// The most refunds of one look brought further at once.
const ASKED_AT_ONCE: usize = 8;
/// How long one refund may take.
const ASK_TIME_MAX: std::time::Duration = std::time::Duration::from_secs(15);

impl Refunds {
    /// Acts on a notification of a channel's gateway. `Ok(Some)` tells why it is none of ours and changed nothing.
    pub async fn notified(&self, channel: &str, notice: &RefundNotice) -> Result<Option<String>, LedgerError> {
        let told = |reason: &str| Ok(Some(reason.to_owned()));
        let Some((no, seq)) = parse_refund_number(&notice.refund_number) else {
            return told("unknown_refund");
        };
        let centers = self.custody.all_centers().await?;
        let Some(center) = centers.into_iter().find(|center| center.no == no) else {
            return told("unknown_refund");
        };
        let Some(row) = store::refund(&*self.lanes.database().read, &center, seq).await? else {
            return told("unknown_refund");
        };
        if self.facts(&center, &row).await?.channel != channel {
            return told("other_channel");
        }
        if !notice.amount.fits(row.amount) {
            return told("other_amount");
        }
        if order_number(center.no, &row.remittance) != notice.order_number {
            return told("other_order");
        }
        self.apply(&center, &row, &notice.state).await?;
        Ok(None)
    }

    /// Acts on what the gateway says of a refund. Idempotent; what comes after the outcome changes nothing.
    ///
    /// Errors: NOT_FOUND.
    pub async fn apply_outcome(
        &self,
        center: &Center,
        number: &str,
        state: &gateway::RefundState,
    ) -> Result<Refund, LedgerError> {
        let seq = match parse_refund_number(number) {
            Some((no, seq)) if no == center.no => seq,
            _ => return Err(R::RefundNotFound { refund: Seq::ZERO }.into()),
        };
        let row = self.row(center, seq).await?;
        self.apply(center, &row, state).await?;
        self.get(center, seq).await
    }

    /// Asks the gateway now what became of a refund, and acts on the answer.
    ///
    /// Errors: NOT_FOUND.
    pub async fn refresh(&self, center: &Center, refund: Seq) -> Result<Refund, LedgerError> {
        let row = self.row(center, refund).await?;
        self.advance(center, &row).await?;
        self.get(center, refund).await
    }

    /// Brings up to `limit` refunds of each center further; see [`Refunds::poll_due`]. How many.
    pub async fn poll_open(&self, limit: i64) -> Result<usize, LedgerError> {
        let mut asked = 0;
        for center in self.custody.all_centers().await? {
            asked += self.poll_due(&center, limit).await?;
        }
        Ok(asked)
    }

    /// Brings up to `limit` refunds of a center whose time has come further; see [`Refunds::poll_due_of`].
    pub async fn poll_due(&self, center: &Center, limit: i64) -> Result<usize, LedgerError> {
        self.poll_due_of(center, &ChannelSet::all(), limit).await
    }

    /// Takes up to `limit` refunds of a center, of payments through some channels, whose time has come to the gateway, or asks what
    /// became of them: a few at a time and each for a limited time. How many.
    ///
    /// This finds what was lost in between: an answer, a notification, a process that died after setting money aside.
    pub async fn poll_due_of(&self, center: &Center, channels: &ChannelSet, limit: i64) -> Result<usize, LedgerError> {
        let database = self.lanes.database();
        let now = self.lanes.clock().now();
        let due = store::claim_due(&*database.lane, center.no, channels, (now, now + LEASE), limit).await?;
        let asked = due.len();
        let each = |(seq, attempts): (Seq, i32)| async move {
            match tokio::time::timeout(ASK_TIME_MAX, self.refresh(center, seq)).await {
                Ok(Ok(_)) => {}
                Ok(Err(error)) => {
                    tracing::warn!(center = %center.id, refund = %seq, %error, "a refund cannot be brought further");
                }
                Err(_) => tracing::warn!(center = %center.id, refund = %seq, "asking takes too long; later again"),
            }
            let next = next_ask(attempts, self.lanes.clock().now());
            if let Err(error) = store::ask_again(&*database.lane, center.no, seq, next).await {
                tracing::warn!(center = %center.id, refund = %seq, %error, "it is asked again after the lease");
            }
        };
        stream::iter(due).for_each_concurrent(ASKED_AT_ONCE, each).await;
        Ok(asked)
    }

    /// The next step of a refund that has no outcome.
    pub(super) async fn advance(&self, center: &Center, row: &RefundRow) -> Result<(), LedgerError> {
        // What the bank has to pay, the bank's answers end.
        if row.state.is_end() || row.state == RefundState::Redirected || row.channel == bank::CHANNEL {
            return Ok(());
        }
        let facts = self.facts(center, row).await?;
        let channel = &facts.channel;
        let gate = self.channels.get(channel).ok_or_else(|| R::ChannelNotFound {
            channel: channel.clone(),
        })?;
        if row.state == RefundState::Requested {
            return self.submit(center, row, gate).await;
        }
        match gate
            .channel
            .query_refund(&order_number(center.no, &row.remittance), &facts.refund_number)
            .await
        {
            // It has forgotten the refund, or never had it: the same number again moves no money twice.
            Ok(gateway::RefundState::Unknown) => self.submit(center, row, gate).await,
            Ok(state) => self.apply(center, row, &state).await,
            Err(error) => {
                tracing::warn!(center = %center.id, refund = %row.seq, %error, "the gateway does not say what became of it");
                Ok(())
            }
        }
    }

    async fn submit(&self, center: &Center, row: &RefundRow, gate: &Gate) -> Result<(), LedgerError> {
        let number = refund_number(center.no, row.seq);
        let mut booked = self.record(center, row.credit).await?;
        while booked.reverses != 0 {
            // Credited out of suspense, or a credit taken back: what was paid stands in the first transaction, and each is
            // earlier than the one that names it.
            booked = self.record(center, Seq(booked.reverses)).await?;
        }
        let (gateway_transaction, total) = payment_facts(&booked, center.currency).map_err(broken)?;
        let new = NewRefund {
            refund_number: number.clone(),
            order_number: order_number(center.no, &row.remittance),
            gateway_transaction: gateway_transaction.to_owned(),
            amount: row.amount,
            total,
            notify_url: gate.notify_url.clone(),
        };
        let state = match gate.channel.create_refund(&new).await {
            Ok(state) => state,
            // An earlier attempt whose answer was lost may have been taken: only what the gateway never saw has failed.
            Err(GatewayError::Refused { code, message }) => {
                match gate.channel.query_refund(&new.order_number, &number).await {
                    Ok(gateway::RefundState::Unknown) => {
                        let reason = format!("{code}: {message}");
                        return self.apply(center, row, &gateway::RefundState::Failed { reason }).await;
                    }
                    Ok(state) => state,
                    Err(error) => {
                        tracing::warn!(center = %center.id, refund = %row.seq, %code, %error, "refused, but not known why");
                        return Ok(());
                    }
                }
            }
            Err(error) => {
                tracing::warn!(center = %center.id, refund = %row.seq, %error, "the gateway is asked again later");
                return Ok(());
            }
        };
        let mut conn = self.lanes.database().lane.acquire().await?;
        let now = self.lanes.clock().now();
        store::insert_leg(&mut conn, center.no, row.seq, RefundState::Submitted, now, "", None).await?;
        drop(conn);
        self.apply(center, row, &state).await
    }

    async fn apply(&self, center: &Center, row: &RefundRow, state: &gateway::RefundState) -> Result<(), LedgerError> {
        let (end, outcome) = match state {
            gateway::RefundState::Processing | gateway::RefundState::Unknown => return Ok(()),
            // The gateway has the money until somebody says where it goes. It stays in transit, and is asked about again.
            gateway::RefundState::Abnormal { gateway_refund, reason } => {
                let (facts, told) = (
                    self.facts(center, row).await?,
                    (gateway_refund.as_str(), reason.as_str()),
                );
                return match self.abnormal(center, row, &facts, told).await? {
                    Some(state) => Box::pin(self.apply(center, row, &state)).await,
                    None => Ok(()),
                };
            }
            gateway::RefundState::Succeeded { gateway_refund, .. } => {
                (RefundState::Succeeded, outcome(gateway_refund, ""))
            }
            gateway::RefundState::Failed { reason } => (RefundState::Failed, outcome("", reason)),
        };
        if self.is_told_by_redirect(center, row, end, &outcome.reference).await? {
            return Ok(());
        }
        if !row.state.is_end() {
            let command = self.end_of(center, row, end, outcome);
            let id = command.request.id;
            match self.lanes.submit_rare(center, command).await {
                Ok(_) => {}
                // Another told of it in other words, and was faster.
                Err(LedgerError::RequestReused { .. }) => {
                    let mut conn = self.lanes.database().lane.acquire().await?;
                    ledger_outcome::own(&mut conn, center, id, METHOD).await?;
                }
                Err(error) => return Err(error),
            }
        }
        let now = self.row(center, row.seq).await?;
        if !now.state.is_end() {
            tracing::error!(center = %center.id, refund = %row.seq, "the outcome of a refund cannot be recorded");
            return Err(LedgerError::Internal);
        }
        if now.state != end {
            self.contradicted(center, row, now.state, end).await?;
        }
        Ok(())
    }

    /// Whether what the gateway says is that it has paid a redirected refund to the center: the payer has nothing yet.
    async fn is_told_by_redirect(
        &self,
        center: &Center,
        row: &RefundRow,
        end: RefundState,
        reference: &str,
    ) -> Result<bool, LedgerError> {
        let mut conn = self.lanes.database().lane.acquire().await?;
        let redirected = store::redirect(&mut conn, center.no, row.seq).await?.is_some();
        let paid = bank::redirect_paid(&mut conn, center.no, row.seq).await?.is_some();
        drop(conn);
        match (end, paid) {
            (RefundState::Succeeded, true) => Ok(true),
            (RefundState::Succeeded, false) if redirected && !row.state.is_end() => {
                self.redirected_by_gateway(center, row, reference).await?;
                Ok(true)
            }
            (_, true) => {
                self.contradicted(center, row, RefundState::Redirected, end).await?;
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    /// The command that ends a refund as the gateway says. Its request id is made of the refund's number alone, so that there is one
    /// outcome for ever.
    fn end_of(&self, center: &Center, row: &RefundRow, end: RefundState, facts: OutcomeFacts) -> EndRefund {
        let number = refund_number(center.no, row.seq);
        let body = format!("{number} {} {} {}", end.name(), facts.reference, facts.reason);
        EndRefund {
            request: Request {
                id: outcome_id(&number),
                method: METHOD,
                body: body.into_bytes(),
                actor: format!("gateway/{}", row.channel),
            },
            refund: row.seq,
            outcome: Outcome {
                end,
                by: EndedBy::Gateway,
                facts,
            },
        }
    }

    async fn contradicted(
        &self,
        center: &Center,
        row: &RefundRow,
        known: RefundState,
        end: RefundState,
    ) -> Result<(), LedgerError> {
        {
            tracing::error!(center = %center.id, refund = %row.seq, state = known.name(), told = end.name(),
                "the gateway contradicts itself; the first outcome stands");
            let told = ("refund_state", known.name(), end.name());
            let mut tx = self.lanes.database().lane.begin().await?;
            if let Some(remittance) = remittance::remittance_in_tx(&mut tx, center, &row.remittance).await? {
                let at = self.lanes.clock().now();
                let item = remittance::contradiction(&remittance, &row.channel, told, at);
                work::raise_in_tx(&mut tx, center.no, &item).await?;
                tx.commit().await?;
            }
        }
        Ok(())
    }
}

/// The request id of a refund's outcome, whoever tells it.
pub(super) fn outcome_id(number: &str) -> RequestId {
    RequestId::derived(&["refund", number])
}

fn outcome(reference: &str, reason: &str) -> OutcomeFacts {
    OutcomeFacts {
        reference: reference.to_owned(),
        reason: reason.to_owned(),
        approval: None,
    }
}

fn broken(error: impl std::fmt::Display) -> LedgerError {
    tracing::error!(%error, "a refund cannot be read");
    LedgerError::Internal
}
