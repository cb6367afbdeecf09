//! Creating a remittance: a quote (`quote`), then an order at the gateway.

use std::collections::BTreeMap;

use time::OffsetDateTime;

use super::{
    Remittances,
    entity::{Leg, LegState, Remittance, order_number},
    error::RemittanceRefusal as R,
    store,
};
use crate::{
    gateway::{Gate, GatewayError, NewPayment, PaymentMethod, PaymentState},
    ids::{DetaineeId, PayerId, RemittanceId},
    ledger::{Center, LedgerError, Request, center},
    money::Amount,
};

/// The method that a remittance's request names.
pub const METHOD: &str = "custody.v1.RemittanceService/CreateRemittance";

/// What is told when a remittance is created.
#[derive(Debug, Clone)]
pub struct NewRemittance {
    /// What identifies it.
    pub request: Request,
    /// Who pays.
    pub payer: PayerId,
    /// For whom.
    pub detainee: DetaineeId,
    /// How much, above zero, in the center's currency.
    pub amount: Amount,
    /// Through which channel; without one, through the center's first.
    pub channel: Option<String>,
    /// How.
    pub method: PaymentMethod,
}

impl Remittances {
    /// Quotes a remittance and opens an order for it at the gateway. The same request again is answered with what is there
    /// (and opens the order if that was not done yet); the second value tells that it is a repetition. A refusal is kept, and
    /// answers the same request for ever.
    pub async fn create(&self, center: &Center, new: NewRemittance) -> Result<(Remittance, bool), LedgerError> {
        let (id, replayed) = self.accept(center, &new).await?;
        let remittance = self.remittance(center, &id).await?;
        let remittance = self.open(center, self.gate(&remittance.channel)?, remittance).await?;
        Ok((remittance, replayed))
    }

    /// The channel of that name.
    ///
    /// Errors: NOT_FOUND.
    pub(super) fn gate(&self, channel: &str) -> Result<&Gate, R> {
        self.channels.get(channel).ok_or_else(|| R::ChannelNotFound {
            channel: channel.to_owned(),
        })
    }

    /// The channel that a new remittance goes through.
    ///
    /// Errors: NOT_FOUND, PAYMENT_METHOD.
    pub(super) fn chosen(&self, center: &Center, new: &NewRemittance) -> Result<&Gate, R> {
        let named = new.channel.as_deref();
        let gate = self
            .channels
            .choose(&center.id, named)
            .ok_or_else(|| R::ChannelNotFound {
                channel: named.unwrap_or_default().to_owned(),
            })?;
        if gate.channel.offers(&new.method) {
            return Ok(gate);
        }
        Err(R::MethodNotOffered {
            channel: gate.channel.id().to_owned(),
        })
    }

    /// Opens the order at the gateway if that was not done yet. Idempotent on the order's number.
    pub(super) async fn open(
        &self,
        center: &Center,
        gate: &Gate,
        remittance: Remittance,
    ) -> Result<Remittance, LedgerError> {
        if let Some(failed) = remittance.leg(LegState::Failed) {
            return Err(refusal(&remittance, failed.detail.clone()).into());
        }
        let now = self.lanes.clock().now();
        if remittance.state() != LegState::Created || now >= remittance.expires_at {
            return Ok(remittance);
        }
        let payment = NewPayment {
            order_number: order_number(center.no, &remittance.id),
            amount: remittance.amount,
            description: format!("Remittance {}", remittance.id),
            expires_at: remittance.expires_at,
            notify_url: gate.notify_url.clone(),
            method: remittance.method.clone(),
        };
        match gate.channel.create_payment(&payment).await {
            Ok(payment) => {
                let pending = Leg {
                    payment_url: Some(payment.payment_url),
                    prepay: payment.prepay,
                    ..leg(LegState::Pending, self.lanes.clock().now(), "")
                };
                let remittance = self.add_leg(center, &remittance.id, &pending).await?;
                self.close_if_cancelled(center, gate, &remittance).await;
                Ok(remittance)
            }
            Err(error @ GatewayError::Refused { .. }) => self.not_opened(center, gate, remittance, &error).await,
            // Whether the order was opened is not known; the same request, or the poll, finds out.
            Err(error) => Err(unavailable(&remittance, error.to_string())),
        }
    }

    /// The gateway refused to open an order. An earlier attempt whose answer was lost may have been taken, so the order is
    /// closed before it counts as failed: what has failed nobody can pay.
    async fn not_opened(
        &self,
        center: &Center,
        gate: &Gate,
        remittance: Remittance,
        error: &GatewayError,
    ) -> Result<Remittance, LedgerError> {
        match gate
            .channel
            .close_payment(&order_number(center.no, &remittance.id))
            .await
        {
            Ok(PaymentState::Closed | PaymentState::Unknown) => {
                let failed = leg(LegState::Failed, self.lanes.clock().now(), &error.to_string());
                self.add_leg(center, &remittance.id, &failed).await?;
                Err(refusal(&remittance, error.to_string()).into())
            }
            Ok(PaymentState::Paid { .. }) => self.ask(center, gate, remittance).await,
            Ok(PaymentState::Unpaid) | Err(_) => Err(unavailable(&remittance, error.to_string())),
        }
    }

    /// Adds a leg unless its state was reached before, and reads the remittance again. Headroom that is given back before its
    /// time is something that lanes have read: they forget it.
    pub(super) async fn add_leg(
        &self,
        center: &Center,
        id: &RemittanceId,
        leg: &Leg,
    ) -> Result<Remittance, LedgerError> {
        if matches!(leg.state, LegState::Failed | LegState::Expired) {
            let mut tx = self.lanes.database().lane.begin().await?;
            center::touch_rules_in_tx(&mut tx, center.no).await?;
            store::insert_leg(&mut tx, center.no, id, leg).await?;
            tx.commit().await?;
        } else {
            let mut conn = self.lanes.database().lane.acquire().await?;
            store::insert_leg(&mut conn, center.no, id, leg).await?;
        }
        self.remittance(center, id).await
    }
}

pub(super) fn refusal(remittance: &Remittance, problem: String) -> R {
    R::Gateway {
        remittance: remittance.id.clone(),
        problem,
    }
}

/// Whether the gateway has the order is not known.
pub(super) fn unavailable(remittance: &Remittance, problem: String) -> LedgerError {
    let remittance = remittance.id.clone();
    R::GatewayUnavailable { remittance, problem }.into()
}

/// A leg without payment.
pub(super) fn leg(state: LegState, at: OffsetDateTime, detail: &str) -> Leg {
    Leg {
        state,
        at,
        detail: detail.to_owned(),
        payment_url: None,
        prepay: BTreeMap::new(),
        payment: None,
        seq: None,
        deadline: None,
    }
}
