//! Giving a remittance up before it is paid.
//!
//! The gateway is told first: as long as it has the order open, somebody may pay it, and its headroom has to stay reserved. Should
//! the process die in between, the order is closed and the remittance still pending: the same call again cancels it, or asking by
//! the clock finds it closed, and it expires. Either way nobody can pay, and the headroom is free.

use super::{
    Remittances,
    confirm::Paid,
    create::{refusal, unavailable},
    entity::{Remittance, order_number},
    error::RemittanceRefusal as R,
    store,
};
use crate::{
    gateway::{Gate, GatewayError, PaymentState},
    ids::RemittanceId,
    ledger::{Center, LedgerError, center},
};

/// How often callers may have the gateway close one remittance. It takes one time; more, while the gateway is down.
const CLOSINGS_MAX: i32 = 20;

/// Who gives a remittance up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Canceller<'a> {
    /// As auditors know them.
    pub actor: &'a str,
    /// Whether they are its payer; otherwise they are of the center.
    pub is_payer: bool,
}

impl Canceller<'_> {
    /// As its payer is told.
    const fn text(self) -> &'static str {
        if self.is_payer { "by the payer" } else { "by the center" }
    }
}

impl Remittances {
    /// Closes the order of a remittance at the gateway, and gives its headroom, and its place in the payer's month, back. One that
    /// was paid before is credited instead, and one that has ended stays as it is: its state tells. Idempotent.
    ///
    /// Errors: NOT_FOUND; GATEWAY_UNAVAILABLE and GATEWAY_REFUSED, when it may still be payable and is as before; TOO_MANY_TRIES.
    pub async fn cancel(
        &self,
        center: &Center,
        id: &RemittanceId,
        by: Canceller<'_>,
    ) -> Result<Remittance, LedgerError> {
        let remittance = self.remittance(center, id).await?;
        if remittance.is_given_up() || remittance.is_posted() {
            return Ok(remittance);
        }
        let gate = self.gate(&remittance.channel)?;
        let now = self.lanes.clock().now();
        let mut conn = self.lanes.database().lane.acquire().await?;
        if !store::may_close(&mut conn, center.no, id, (now, CLOSINGS_MAX)).await? {
            let (remittance, limit) = (id.clone(), CLOSINGS_MAX);
            return Err(R::TooManyTries { remittance, limit }.into());
        }
        drop(conn);
        let number = order_number(center.no, id);
        match gate.channel.close_payment(&number).await {
            Ok(PaymentState::Closed | PaymentState::Unknown) => self.write_cancelled(center, id, by).await,
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
                let remittance = self.confirm_asked(remittance, &paid).await?;
                if !remittance.is_posted() {
                    let problem = "the gateway has a payment of it that contradicts the order";
                    return Err(refusal(&remittance, problem.to_owned()).into());
                }
                Ok(remittance)
            }
            Ok(PaymentState::Unpaid) => Err(unavailable(&remittance, "the order is still open".to_owned())),
            Err(error @ GatewayError::Refused { .. }) => Err(refusal(&remittance, error.to_string()).into()),
            Err(error) => Err(unavailable(&remittance, error.to_string())),
        }
    }

    /// Headroom is given back, which is something that lanes have read: they forget it.
    async fn write_cancelled(
        &self,
        center: &Center,
        id: &RemittanceId,
        by: Canceller<'_>,
    ) -> Result<Remittance, LedgerError> {
        let now = self.lanes.clock().now();
        let mut tx = self.lanes.database().lane.begin().await?;
        center::touch_rules_in_tx(&mut tx, center.no).await?;
        store::insert_cancelled(&mut tx, center.no, id, (now, by.text(), by.actor)).await?;
        tx.commit().await?;
        self.remittance(center, id).await
    }

    /// An order that was opened while its remittance was cancelled is closed again. Should that fail, asking by the clock does it.
    pub(super) async fn close_if_cancelled(&self, center: &Center, gate: &Gate, remittance: &Remittance) {
        if !remittance.is_given_up() {
            return;
        }
        let number = order_number(center.no, &remittance.id);
        if let Err(error) = gate.channel.close_payment(&number).await {
            tracing::warn!(remittance = %remittance.id, %error, "an order that was cancelled may still be open");
        }
    }
}
