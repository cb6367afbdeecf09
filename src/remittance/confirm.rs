//! What the gateway says of an order, however it is learnt: by notification, by asking, or by closing.

use time::{Duration, OffsetDateTime, UtcOffset};

use super::{
    CreditRemittance, Remittances,
    create::leg,
    credit::METHOD,
    entity::{Leg, LegState, PaymentFacts, Remittance, next_poll, order_number, parse_order_number},
    error::RemittanceRefusal as R,
    store,
};
use crate::{
    gateway::{Gate, GatewayError, PaymentState},
    ids::{CenterNo, RemittanceId},
    ledger::{Center, LedgerError, outcome},
    money::Amount,
};

/// How long a claimed poll is left alone by other processes.
const POLL_LEASE: Duration = Duration::minutes(2);
/// The most bytes kept of a rejected notification.
const REJECTED_BYTES_MAX: usize = 4096;
/// The center of what tells no center of ours.
const NO_CENTER: CenterNo = CenterNo(0);

/// What the gateway says of a paid order.
#[derive(Debug, Clone, PartialEq)]
pub struct Paid {
    /// Our number of the order.
    pub order_number: String,
    /// The gateway's own number of the payment.
    pub gateway_transaction: String,
    /// What the gateway took.
    pub amount: Amount,
    /// When it was paid.
    pub paid_at: OffsetDateTime,
}

/// How something was learnt; told in the legs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Learnt {
    /// The gateway said so by itself.
    ByNotification,
    /// We asked.
    ByQuery,
}

impl Learnt {
    const fn text(self) -> &'static str {
        match self {
            Learnt::ByNotification => "by notification",
            Learnt::ByQuery => "by query",
        }
    }
}

/// Why a payment is not taken for one of ours. It changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RejectedNotice {
    /// We have no such order.
    #[error("unknown_order")]
    UnknownOrder,
    /// The order is another channel's.
    #[error("other_channel")]
    OtherChannel,
    /// Another amount or currency than the order's.
    #[error("other_amount")]
    OtherAmount,
    /// The order is paid by another of the gateway's transactions already.
    #[error("other_transaction")]
    OtherTransaction,
    /// The gateway's transaction has paid another order already.
    #[error("other_order")]
    OtherOrder,
}

impl Remittances {
    /// Takes a payment: marks it paid and brings it into the ledger. Idempotent. What is not one of ours is told, and not
    /// acted on.
    pub async fn confirm(
        &self,
        channel: &str,
        paid: &Paid,
        learnt: Learnt,
    ) -> Result<Result<Remittance, RejectedNotice>, LedgerError> {
        let Some((center, remittance)) = self.by_order_number(&paid.order_number).await? else {
            return Ok(Err(RejectedNotice::UnknownOrder));
        };
        if remittance.channel != channel {
            return Ok(Err(RejectedNotice::OtherChannel));
        }
        if remittance.amount != paid.amount {
            return Ok(Err(RejectedNotice::OtherAmount));
        }
        let remittance = match remittance.payment() {
            Some(_) => remittance,
            None => {
                let leg = Leg {
                    payment: Some(PaymentFacts {
                        gateway_transaction: paid.gateway_transaction.clone(),
                        paid_at: paid.paid_at.to_offset(UtcOffset::UTC),
                    }),
                    ..leg(LegState::Paid, self.lanes.clock().now(), learnt.text())
                };
                self.add_leg(&center, &remittance.id, &leg).await?
            }
        };
        // Two may have learnt of it at once: the leg that was written first counts.
        let payment = remittance.payment().ok_or(LedgerError::Internal)?;
        if payment.gateway_transaction != paid.gateway_transaction {
            return Ok(Err(RejectedNotice::OtherTransaction));
        }
        self.bring_in(&center, remittance).await
    }

    /// Brings a paid remittance into the ledger, if it is not there.
    async fn bring_in(
        &self,
        center: &Center,
        remittance: Remittance,
    ) -> Result<Result<Remittance, RejectedNotice>, LedgerError> {
        if remittance.is_posted() {
            return Ok(Ok(remittance));
        }
        let command = CreditRemittance::of(&remittance).ok_or(LedgerError::Internal)?;
        let id = command.request_id();
        match self.lanes.submit(center, command).await {
            Ok(_) => Ok(Ok(self.remittance(center, &remittance.id).await?)),
            // The request id of a credit is made of the gateway's transaction: another order's credit has it.
            Err(LedgerError::RequestReused { .. }) => {
                let mut conn = self.lanes.database().lane.acquire().await?;
                outcome::own(&mut conn, center, id, METHOD).await?;
                Ok(Err(RejectedNotice::OtherOrder))
            }
            Err(error) => Err(error),
        }
    }

    /// The remittance that an order number names.
    async fn by_order_number(&self, number: &str) -> Result<Option<(Center, Remittance)>, LedgerError> {
        let Some((no, id)) = parse_order_number(number) else {
            return Ok(None);
        };
        let Some(center) = self.custody.center_of_number(no).await? else {
            return Ok(None);
        };
        let mut conn = self.lanes.database().read.acquire().await?;
        let found = store::remittance(&mut conn, &center, &id).await?;
        Ok(found.map(|remittance| (center, remittance)))
    }

    /// Keeps a notification that changed nothing. `order_number` is as it says, if it was believed at all.
    pub async fn reject(
        &self,
        channel: &str,
        reason: &str,
        order_number: Option<&str>,
        body: &[u8],
    ) -> Result<(), LedgerError> {
        let told = order_number.and_then(parse_order_number);
        let center = match told {
            Some((no, _)) if self.custody.center_of_number(no).await?.is_some() => no,
            _ => NO_CENTER,
        };
        tracing::warn!(channel, reason, "a notification changed nothing");
        let body = body.get(..REJECTED_BYTES_MAX).unwrap_or(body);
        let now = self.lanes.clock().now();
        let mut conn = self.lanes.database().lane.acquire().await?;
        Ok(store::insert_rejected(&mut conn, center, channel, reason, now, body).await?)
    }

    /// Asks the gateway now what became of a remittance, and acts on the answer.
    pub async fn refresh(&self, center: &Center, id: &RemittanceId) -> Result<Remittance, LedgerError> {
        let remittance = self.remittance(center, id).await?;
        let gate = self
            .channels
            .get(&remittance.channel)
            .ok_or_else(|| R::ChannelNotFound {
                channel: remittance.channel.clone(),
            })?;
        match remittance.state() {
            LegState::Credited | LegState::Suspended | LegState::Failed => Ok(remittance),
            // Paid by what has paid another order, it stays as it is.
            LegState::Paid => Ok(self.bring_in(center, remittance.clone()).await?.unwrap_or(remittance)),
            LegState::Created if self.lanes.clock().now() < remittance.expires_at => {
                self.open(center, gate, remittance).await
            }
            _ => self.ask(center, gate, remittance).await,
        }
    }

    /// Asks about an order; closes it when it is past its expiry.
    async fn ask(&self, center: &Center, gate: &Gate, remittance: Remittance) -> Result<Remittance, LedgerError> {
        let number = order_number(center.no, &remittance.id);
        let is_over = self.lanes.clock().now() >= remittance.expires_at;
        let answer = if is_over && remittance.leg(LegState::Expired).is_none() {
            gate.channel.close_payment(&number).await
        } else {
            gate.channel.query_payment(&number).await
        };
        match answer {
            Ok(PaymentState::Unpaid) => Ok(remittance),
            Ok(PaymentState::Closed) => self.expire(center, &remittance, "closed unpaid").await,
            // What the gateway does not know nobody can pay.
            Ok(PaymentState::Unknown) if is_over => self.expire(center, &remittance, "not known to the gateway").await,
            Ok(PaymentState::Unknown) => Err(R::Gateway {
                remittance: remittance.id,
                problem: "the gateway does not know the order".to_owned(),
            }
            .into()),
            Ok(PaymentState::Paid {
                gateway_transaction,
                amount,
                paid_at,
            }) => {
                let paid = Paid {
                    order_number: number,
                    gateway_transaction,
                    amount,
                    paid_at,
                };
                match self.confirm(&remittance.channel, &paid, Learnt::ByQuery).await? {
                    Ok(remittance) => Ok(remittance),
                    Err(rejected) => {
                        let told = format!("{paid:?}");
                        let reason = rejected.to_string();
                        self.reject(&remittance.channel, &reason, Some(&paid.order_number), told.as_bytes())
                            .await?;
                        Ok(remittance)
                    }
                }
            }
            Err(error @ GatewayError::Refused { .. }) => Err(R::Gateway {
                remittance: remittance.id,
                problem: error.to_string(),
            }
            .into()),
            Err(error) => Err(R::GatewayUnavailable {
                remittance: remittance.id,
                problem: error.to_string(),
            }
            .into()),
        }
    }

    async fn expire(&self, center: &Center, remittance: &Remittance, detail: &str) -> Result<Remittance, LedgerError> {
        let expired = leg(LegState::Expired, self.lanes.clock().now(), detail);
        self.add_leg(center, &remittance.id, &expired).await
    }

    /// Asks about up to `limit` remittances of a center that are due, one after the other, and returns how many. A gateway
    /// that is down only makes them due again later, and so does whatever else goes wrong with one of them.
    pub async fn poll_due(&self, center: &Center, limit: i64) -> Result<usize, LedgerError> {
        let now = self.lanes.clock().now();
        let mut conn = self.lanes.database().lane.acquire().await?;
        let due = store::claim_polls(&mut conn, center.no, now, now + POLL_LEASE, limit).await?;
        drop(conn);
        for (id, attempts) in &due {
            if let Err(error) = self.poll(center, id, *attempts).await {
                tracing::warn!(center = %center.id, remittance = %id, %error, "when to ask again is not known; after the lease");
            }
        }
        Ok(due.len())
    }

    async fn poll(&self, center: &Center, id: &RemittanceId, attempts: i32) -> Result<(), LedgerError> {
        if let Err(error) = self.refresh(center, id).await {
            tracing::warn!(center = %center.id, remittance = %id, %error, "the gateway's answer is still open");
        }
        let remittance = self.remittance(center, id).await?;
        let next = next_poll(&remittance, attempts, self.lanes.clock().now());
        let mut conn = self.lanes.database().lane.acquire().await?;
        Ok(store::set_poll(&mut conn, center.no, id, next).await?)
    }
}
