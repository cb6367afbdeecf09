//! The first channel: a JSON API over HTTP, with HMAC signatures in Stripe's style on requests. Notifications are in that style too,
//! or, by configuration, in that of GOV.UK Pay or Adyen.
//!
//! # Layout
//! - `signature`: the header `Custody-Signature`.
//! - `wire`: every path and body, which the simulator shares.
//! - `client`: signed calls with a time limit.
//! - `style`: the styles of notifications, and their keys.
//! - `notification`, `govuk_pay`, `adyen`: verification and reading of notifications, style by style.

mod adyen;
mod client;
pub mod govuk_pay;
mod notification;
pub mod signature;
mod style;
pub mod wire;

use futures::future::BoxFuture;
use http::HeaderMap;
use secrecy::SecretString;
use time::{Date, OffsetDateTime};

pub use self::style::{NotificationStyle, StyleError};
use self::{
    client::Client,
    wire::{MoneyBody, NewPaymentBody, NewRefundBody, OrderState, PaymentBody, RefundBody, RefundOutcome},
};
use super::{
    bill::{self, BillError, BillRow},
    channel::{
        Channel, NewPayment, NewRefund, Notification, NotificationAnswer, NotificationVerdict, Payment, PaymentMethod,
        PaymentState, RefundState,
    },
    error::{GatewayError, NotificationError},
};
use crate::clock::Clock;

/// The channel's settings.
#[derive(Debug, Clone)]
pub struct WebhookConfig {
    /// The channel's name, usually `webhook`.
    pub id: String,
    /// Where the gateway's API lives, for example `https://gateway.example/` or `http://127.0.0.1:7500`.
    pub base_url: String,
    /// Shared with the gateway; signs requests and verifies notifications, unless these have another style.
    pub secret: SecretString,
}

/// A gateway that speaks the API of [`wire`].
pub struct WebhookChannel {
    id: String,
    style: NotificationStyle,
    client: Client,
}

impl WebhookChannel {
    /// Makes the channel without calling anybody. Fails with `Malformed` for a base URL that is not http or https.
    pub fn try_new(config: WebhookConfig, clock: Clock) -> Result<Self, GatewayError> {
        let client = Client::new(&config.base_url, config.secret.clone(), clock)?;
        Ok(WebhookChannel {
            id: config.id,
            style: NotificationStyle::Stripe(config.secret),
            client,
        })
    }

    /// The channel with notifications in another style.
    #[must_use]
    pub fn with_notifications(self, style: NotificationStyle) -> Self {
        WebhookChannel { style, ..self }
    }
}

impl Channel for WebhookChannel {
    fn id(&self) -> &str {
        &self.id
    }

    fn offers(&self, method: &PaymentMethod) -> bool {
        matches!(method, PaymentMethod::Link)
    }

    fn create_payment<'a>(&'a self, payment: &'a NewPayment) -> BoxFuture<'a, Result<Payment, GatewayError>> {
        Box::pin(async move {
            let body = NewPaymentBody {
                order_number: payment.order_number.clone(),
                amount: MoneyBody::from(payment.amount),
                description: payment.description.clone(),
                expires_at: payment.expires_at,
                notify_url: payment.notify_url.clone(),
            };
            let answer: PaymentBody = self.client.post(&["v1", "payments"], Some(&body)).await?;
            same_number(&answer.order_number, &payment.order_number)?;
            Ok(Payment::link(answer.payment_url))
        })
    }

    fn query_payment<'a>(&'a self, order_number: &'a str) -> BoxFuture<'a, Result<PaymentState, GatewayError>> {
        Box::pin(async move {
            let answer = self.client.get(&["v1", "payments", order_number]).await;
            payment_state(answer, order_number)
        })
    }

    fn close_payment<'a>(&'a self, order_number: &'a str) -> BoxFuture<'a, Result<PaymentState, GatewayError>> {
        Box::pin(async move {
            let answer = self
                .client
                .post(&["v1", "payments", order_number, "close"], None::<&()>)
                .await;
            payment_state(answer, order_number)
        })
    }

    fn create_refund<'a>(&'a self, refund: &'a NewRefund) -> BoxFuture<'a, Result<RefundState, GatewayError>> {
        Box::pin(async move {
            let body = NewRefundBody {
                refund_number: refund.refund_number.clone(),
                order_number: refund.order_number.clone(),
                gateway_transaction: refund.gateway_transaction.clone(),
                amount: MoneyBody::from(refund.amount),
                total: MoneyBody::from(refund.total),
                notify_url: refund.notify_url.clone(),
            };
            let answer = self.client.post(&["v1", "refunds"], Some(&body)).await?;
            refund_state(answer, &refund.refund_number)
        })
    }

    fn query_refund<'a>(
        &'a self,
        _order_number: &'a str,
        refund_number: &'a str,
    ) -> BoxFuture<'a, Result<RefundState, GatewayError>> {
        Box::pin(async move {
            match self.client.get(&["v1", "refunds", refund_number]).await {
                Ok(answer) => refund_state(answer, refund_number),
                Err(GatewayError::Refused { code, .. }) if code == wire::UNKNOWN_REFUND => Ok(RefundState::Unknown),
                Err(error) => Err(error),
            }
        })
    }

    fn fetch_bill(&self, date: Date) -> BoxFuture<'_, Result<Vec<u8>, GatewayError>> {
        Box::pin(async move { self.client.get_bill(&["v1", "bills", &date.to_string()]).await })
    }

    fn parse_bill(&self, bill: &[u8]) -> Result<Vec<BillRow>, BillError> {
        bill::parse(bill)
    }

    fn parse_notification(
        &self,
        headers: &HeaderMap,
        body: &[u8],
        now: OffsetDateTime,
    ) -> Result<Notification, NotificationError> {
        self.style.parse(headers, body, now)
    }

    fn notification_answer(&self, verdict: NotificationVerdict) -> NotificationAnswer {
        self.style.answer(verdict)
    }
}

/// An answer about another order or refund than the one asked for is no answer.
fn same_number(answered: &str, asked: &str) -> Result<(), GatewayError> {
    if answered == asked {
        return Ok(());
    }
    Err(GatewayError::Malformed {
        reason: format!("asked for {asked:?}, answered {answered:?}"),
    })
}

fn payment_state(answer: Result<PaymentBody, GatewayError>, order_number: &str) -> Result<PaymentState, GatewayError> {
    let answer = match answer {
        Err(GatewayError::Refused { code, .. }) if code == wire::UNKNOWN_ORDER => return Ok(PaymentState::Unknown),
        answer => answer?,
    };
    same_number(&answer.order_number, order_number)?;
    match (answer.state, answer.paid) {
        (OrderState::Unpaid, None) => Ok(PaymentState::Unpaid),
        (OrderState::Closed, None) => Ok(PaymentState::Closed),
        (OrderState::Paid, Some(paid)) => Ok(PaymentState::Paid {
            gateway_transaction: paid.gateway_transaction,
            amount: paid
                .amount
                .read()
                .map_err(|reason| GatewayError::Malformed { reason })?,
            paid_at: paid.paid_at,
        }),
        (state, _) => Err(GatewayError::Malformed {
            reason: format!("state {state:?} contradicts the payment"),
        }),
    }
}

fn refund_state(answer: RefundBody, refund_number: &str) -> Result<RefundState, GatewayError> {
    same_number(&answer.refund_number, refund_number)?;
    Ok(match answer.outcome {
        RefundOutcome::Processing => RefundState::Processing,
        RefundOutcome::Succeeded { gateway_refund, at } => RefundState::Succeeded { gateway_refund, at },
        RefundOutcome::Failed { reason } => RefundState::Failed { reason },
    })
}
