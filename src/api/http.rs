//! The gateways' door: `POST /v1/notifications/{channel}`; and `GET /healthz`, by which it is told that the process answers.
//!
//! The channel verifies and reads a notification, the domain acts on it, and the channel says what its gateway wants to hear.
//! Every notification is kept with what was made of it.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::Body,
    extract::{DefaultBodyLimit, Path, State},
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use bytes::Bytes;
use futures::future::BoxFuture;
use http::{HeaderMap, StatusCode, header};

use crate::{
    clock::Clock,
    gateway::{Gate, Notification, NotificationError, NotificationVerdict, PaymentNotice, RefundNotice},
    ledger::LedgerError,
    remittance::{Delivery, Effect, Paid, RejectedNotice, Remittances},
};

/// The largest notification that is read, in bytes.
const NOTIFICATION_BYTES_MAX: usize = 64 * 1024;
/// The most unbelieved notifications kept in one minute: whoever knows the address can send them.
const UNBELIEVED_PER_MINUTE_MAX: u32 = 60;

/// Acts on a refund's outcome, sent by the gateway of a channel. `Ok(Some)` tells why it changed nothing.
pub type OnRefund =
    Arc<dyn Fn(String, RefundNotice) -> BoxFuture<'static, Result<Option<String>, LedgerError>> + Send + Sync>;

/// Takes a payment of an order that was never issued. Whether it did; otherwise the notification has changed nothing.
pub type OnUnknown = Arc<dyn Fn(String, Paid) -> BoxFuture<'static, Result<bool, LedgerError>> + Send + Sync>;

/// What the door leads to.
#[derive(Clone)]
pub struct Notifications {
    remittances: Remittances,
    on_refund: Option<OnRefund>,
    on_unknown: Option<OnUnknown>,
    clock: Clock,
    unbelieved: Arc<Mutex<(Instant, u32)>>,
}

impl Notifications {
    /// The door; without `on_refund`, gateways are asked to send refunds' outcomes again later.
    pub fn new(remittances: Remittances, on_refund: Option<OnRefund>, clock: Clock) -> Notifications {
        Notifications {
            remittances,
            on_refund,
            on_unknown: None,
            clock,
            unbelieved: Arc::new(Mutex::new((Instant::now(), 0))),
        }
    }

    /// The door that also takes payments of orders that were never issued.
    #[must_use]
    pub fn with_unknown_orders(mut self, on_unknown: OnUnknown) -> Notifications {
        self.on_unknown = Some(on_unknown);
        self
    }

    /// The money of an order that we do not have is real, too: whether it was taken.
    async fn is_taken(&self, channel: &str, paid: &Paid) -> Result<bool, LedgerError> {
        match &self.on_unknown {
            Some(on_unknown) => on_unknown(channel.to_owned(), paid.clone()).await,
            None => Ok(false),
        }
    }

    /// The route.
    pub fn router(self) -> Router {
        Router::new()
            .route("/v1/notifications/{channel}", post(receive))
            .layer(DefaultBodyLimit::max(NOTIFICATION_BYTES_MAX))
            .route("/healthz", get(is_alive))
            .with_state(self)
    }

    async fn verdict(&self, gate: &Gate, headers: &HeaderMap, body: &[u8]) -> NotificationVerdict {
        let channel = gate.channel.id();
        let now = self.clock.now();
        let delivery = Delivery::of(channel, headers, body, now);
        let told = match self.read(gate, headers, body).await {
            Ok(notification) => self.act(channel, notification, body, &delivery).await,
            Err(error) => {
                if !self.may_keep_unbelieved() {
                    return NotificationVerdict::Rejected;
                }
                let kept = self
                    .remittances
                    .reject(channel, reason_of(&error), None, body, Some(&delivery));
                let kept = kept.await;
                kept.map(|()| NotificationVerdict::Rejected)
            }
        };
        told.unwrap_or_else(|error| {
            tracing::warn!(channel, %error, "a notification has to be sent again");
            NotificationVerdict::TryLater
        })
    }

    /// Reads a notification, after fetching the gateway's new key if it is signed with one.
    async fn read(&self, gate: &Gate, headers: &HeaderMap, body: &[u8]) -> Result<Notification, NotificationError> {
        let read = gate.channel.parse_notification(headers, body, self.clock.now());
        let Err(NotificationError::UnknownKey { key }) = &read else {
            return read;
        };
        match gate.channel.refresh_keys(Some(key)).await {
            Ok(true) => gate.channel.parse_notification(headers, body, self.clock.now()),
            Ok(false) => read,
            Err(error) => {
                tracing::warn!(channel = gate.channel.id(), key, %error, "the gateway's keys cannot be fetched");
                read
            }
        }
    }

    async fn act(
        &self,
        channel: &str,
        notification: Notification,
        body: &[u8],
        delivery: &Delivery,
    ) -> Result<NotificationVerdict, LedgerError> {
        let (order_number, rejected) = match notification {
            Notification::Payment(notice) => {
                let paid = paid(notice);
                let confirmed = self.remittances.confirm_told(channel, &paid, delivery).await?;
                let rejected = match confirmed {
                    Err(RejectedNotice::UnknownOrder) if self.is_taken(channel, &paid).await? => {
                        let kept = self.remittances.keep(delivery, Effect::Unmatched, &paid.order_number);
                        kept.await?;
                        None
                    }
                    confirmed => confirmed.err().map(|reason| reason.to_string()),
                };
                (paid.order_number, rejected)
            }
            // It moves no money; the gateway only wants to hear that it was told.
            Notification::Other(notice) => {
                tracing::info!(
                    channel,
                    event = notice.event_id,
                    about = notice.about,
                    "a notification that moves no money"
                );
                self.remittances.keep(delivery, Effect::Nothing, "").await?;
                return Ok(NotificationVerdict::Accepted);
            }
            Notification::Refund(notice) => {
                let Some(on_refund) = &self.on_refund else {
                    return Ok(NotificationVerdict::TryLater);
                };
                let (order_number, number) = (notice.order_number.clone(), notice.refund_number.clone());
                let rejected = on_refund(channel.to_owned(), notice).await?;
                if rejected.is_none() {
                    self.remittances.keep(delivery, Effect::Refund, &number).await?;
                }
                (order_number, rejected)
            }
        };
        if let Some(reason) = rejected {
            self.remittances
                .reject(channel, &reason, Some(&order_number), body, Some(delivery))
                .await?;
        }
        Ok(NotificationVerdict::Accepted)
    }

    fn may_keep_unbelieved(&self) -> bool {
        let mut kept = self.unbelieved.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.0.elapsed() > Duration::from_secs(60) {
            *kept = (Instant::now(), 0);
        }
        kept.1 = kept.1.saturating_add(1);
        kept.1 <= UNBELIEVED_PER_MINUTE_MAX
    }
}

/// That the process answers. Whether it can serve is for health checks over gRPC.
async fn is_alive() -> &'static str {
    "ok"
}

async fn receive(
    State(door): State<Notifications>,
    Path(channel): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let Some(gate) = door.remittances.channels().get(&channel) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    // The gateway may hang up; what it has told is acted on to the end.
    let (gate, acting) = (gate.clone(), door.clone());
    let verdict = tokio::spawn(async move { acting.verdict(&gate, &headers, &body).await }).await;
    let verdict = verdict.unwrap_or(NotificationVerdict::TryLater);
    let Some(gate) = door.remittances.channels().get(&channel) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let answer = gate.channel.notification_answer(verdict);
    let code = StatusCode::from_u16(answer.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (
        code,
        [(header::CONTENT_TYPE, answer.content_type)],
        Body::from(answer.body),
    )
        .into_response()
}

fn paid(notice: PaymentNotice) -> Paid {
    Paid {
        order_number: notice.order_number,
        gateway_transaction: notice.gateway_transaction,
        amount: notice.amount,
        paid_at: notice.paid_at,
    }
}

fn reason_of(error: &NotificationError) -> &'static str {
    match error {
        NotificationError::MissingSignature => "missing_signature",
        NotificationError::BadSignature => "bad_signature",
        NotificationError::UnknownKey { .. } => "unknown_key",
        NotificationError::Probe => "signature_probe",
        NotificationError::OtherMerchant { .. } => "other_merchant",
        NotificationError::OutsideWindow { .. } => "outside_window",
        NotificationError::Malformed { .. } => "malformed",
    }
}
