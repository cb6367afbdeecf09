//! What every payment channel can do: the trait, and the values that go in and out.

use std::collections::BTreeMap;

use futures::future::BoxFuture;
use http::HeaderMap;
use time::{Date, OffsetDateTime};

use super::{
    bill::{BillError, BillRow},
    error::{GatewayError, NotificationError},
};
use crate::money::Amount;

/// One payment channel (a gateway account of ours). Object safe: rooms hold an `Arc<dyn Channel>`.
///
/// Every call is idempotent on our own number (`order_number`, `refund_number`): repeating it with the same
/// arguments gives the same answer and moves no money twice, so any call may be repeated after
/// [`GatewayError::Unreachable`] and [`GatewayError::NotLetIn`].
pub trait Channel: Send + Sync {
    /// The channel's name in paths, records and accounts, for example `webhook`.
    fn id(&self) -> &str;

    /// Whether payers can pay this way here.
    fn offers(&self, method: &PaymentMethod) -> bool;

    /// Opens an order that the payer can pay until it expires.
    fn create_payment<'a>(&'a self, payment: &'a NewPayment) -> BoxFuture<'a, Result<Payment, GatewayError>>;

    /// Asks what became of an order; `Unknown` when the gateway has never seen the number. This finds the payments whose notification was lost.
    fn query_payment<'a>(&'a self, order_number: &'a str) -> BoxFuture<'a, Result<PaymentState, GatewayError>>;

    /// Closes an unpaid order, so that it can no longer be paid, and tells the state after the call:
    /// `Paid` when the payer was faster, `Unknown` when the gateway has never seen the number.
    fn close_payment<'a>(&'a self, order_number: &'a str) -> BoxFuture<'a, Result<PaymentState, GatewayError>>;

    /// Asks the gateway to pay money of a paid order back by its original route. The usual answer is `Processing`;
    /// the outcome arrives as a notification or by query.
    fn create_refund<'a>(&'a self, refund: &'a NewRefund) -> BoxFuture<'a, Result<RefundState, GatewayError>>;

    /// Asks what became of a refund of an order; `Unknown` when the gateway has never seen the refund's number.
    fn query_refund<'a>(
        &'a self,
        order_number: &'a str,
        refund_number: &'a str,
    ) -> BoxFuture<'a, Result<RefundState, GatewayError>>;

    /// Says where the money of an abnormal refund goes instead. Gateways without such refunds refuse.
    fn redirect_refund<'a>(&'a self, redirect: &'a RefundRedirect) -> BoxFuture<'a, Result<RefundState, GatewayError>> {
        Box::pin(async move {
            Err(GatewayError::Refused {
                code: "NOT_SUPPORTED".to_owned(),
                message: format!(
                    "refund {}: this gateway pays back by the original route only",
                    redirect.refund_number
                ),
            })
        })
    }

    /// How long and how often the gateway pays money of one order back.
    fn refund_limits(&self) -> RefundLimits {
        RefundLimits::default()
    }

    /// Fetches the gateway's bill of one of its business days, as the gateway wrote it.
    fn fetch_bill(&self, date: Date) -> BoxFuture<'_, Result<Vec<u8>, GatewayError>>;

    /// Reads a bill that this channel's gateway wrote, fetched or uploaded.
    fn parse_bill(&self, bill: &[u8]) -> Result<Vec<BillRow>, BillError>;

    /// Checks and reads a notification. Nothing in an error may be trusted or acted on.
    ///
    /// `body` is the raw body, byte for byte, and `now` is the receiver's time for the replay window.
    fn parse_notification(
        &self,
        headers: &HeaderMap,
        body: &[u8],
        now: OffsetDateTime,
    ) -> Result<Notification, NotificationError>;

    /// Fetches the gateway's keys, where the gateway hands them out and they are due, or the key `missing` was named by
    /// [`NotificationError::UnknownKey`]. Whether there are new ones, or that one is there.
    ///
    /// Bounded: whoever names whatever key, the gateway is asked once a minute at most.
    fn refresh_keys<'a>(&'a self, _missing: Option<&'a str>) -> BoxFuture<'a, Result<bool, GatewayError>> {
        Box::pin(async { Ok(false) })
    }

    /// The HTTP answer that tells this channel's gateway what we made of its notification.
    fn notification_answer(&self, verdict: NotificationVerdict) -> NotificationAnswer;
}

/// How long and how often a gateway pays money of one order back; nothing is told where there is no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RefundLimits {
    /// For how many days after the payment.
    pub days: Option<i64>,
    /// How many refunds of one order.
    pub parts: Option<i64>,
}

/// An order to open at the gateway.
#[derive(Debug, Clone, PartialEq)]
pub struct NewPayment {
    /// Our number, unique in the channel for ever. WeChat Pay allows 6 to 32 of `[0-9A-Za-z_*-]`.
    pub order_number: String,
    pub amount: Amount,
    /// What the payer reads.
    pub description: String,
    /// After this instant the gateway refuses payment.
    pub expires_at: OffsetDateTime,
    /// Where the gateway sends its notification.
    pub notify_url: String,
    /// How the payer pays.
    pub method: PaymentMethod,
}

/// How a payer pays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PaymentMethod {
    /// By a link or a QR code; whoever has it can pay.
    Link,
    /// In a page inside the gateway's own app, as the payer whom the gateway knows by this id (WeChat Pay: JSAPI and openid).
    InApp {
        /// The gateway's id of the payer.
        payer: String,
    },
}

impl PaymentMethod {
    /// In the app as this payer; by a link without one.
    pub fn of(in_app_payer: Option<String>) -> PaymentMethod {
        in_app_payer.map_or(PaymentMethod::Link, |payer| PaymentMethod::InApp { payer })
    }

    /// The payer in the app, if it is paid there.
    pub fn in_app_payer(&self) -> Option<&str> {
        match self {
            PaymentMethod::Link => None,
            PaymentMethod::InApp { payer } => Some(payer),
        }
    }
}

/// An opened order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payment {
    /// Where the payer pays: a link, or the text of a QR code. Empty for a payment in the gateway's app.
    pub payment_url: String,
    /// What a page inside the gateway's app hands to the app, by name; empty for a link.
    pub prepay: BTreeMap<String, String>,
}

impl Payment {
    /// To be paid by a link or a QR code.
    pub fn link(payment_url: String) -> Payment {
        Payment {
            payment_url,
            prepay: BTreeMap::new(),
        }
    }
}

/// What the gateway says of an order.
#[derive(Debug, Clone, PartialEq)]
pub enum PaymentState {
    /// Open and not yet paid.
    Unpaid,
    /// Paid. The amount is what the gateway took, to be compared with the order's.
    Paid {
        gateway_transaction: String,
        amount: Amount,
        paid_at: OffsetDateTime,
    },
    /// Closed or expired without payment.
    Closed,
    /// The gateway has never seen this order, so nobody can pay it.
    Unknown,
}

/// A refund to ask for.
#[derive(Debug, Clone, PartialEq)]
pub struct NewRefund {
    /// Our number, unique in the channel for ever.
    pub refund_number: String,
    /// The order that was paid.
    pub order_number: String,
    /// The gateway's number of that payment.
    pub gateway_transaction: String,
    /// How much to pay back.
    pub amount: Amount,
    /// How much the order's payment was in all; gateways check it.
    pub total: Amount,
    /// Where the gateway sends the outcome.
    pub notify_url: String,
}

/// Where the money of an abnormal refund goes instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefundRedirect {
    /// Our number of the refund.
    pub refund_number: String,
    /// The gateway's number of it.
    pub gateway_refund: String,
}

/// What the gateway says of a refund.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RefundState {
    /// Accepted, outcome still open.
    Processing,
    /// The payer has the money.
    Succeeded { gateway_refund: String, at: OffsetDateTime },
    /// The gateway cannot pay the money to where it came from, and keeps it until somebody says where it goes:
    /// see [`Channel::redirect_refund`]. It is still on its way.
    Abnormal { gateway_refund: String, reason: String },
    /// The payer does not get the money this way; final.
    Failed { reason: String },
    /// The gateway has never seen this refund.
    Unknown,
}

/// A verified notification.
#[derive(Debug, Clone, PartialEq)]
pub enum Notification {
    Payment(PaymentNotice),
    Refund(RefundNotice),
    /// Genuine, and about nothing that moves money here.
    Other(OtherNotice),
}

impl Notification {
    /// The gateway's number of the event; the same on every repetition of the notification.
    pub fn event_id(&self) -> &str {
        match self {
            Notification::Payment(notice) => &notice.event_id,
            Notification::Refund(notice) => &notice.event_id,
            Notification::Other(notice) => &notice.event_id,
        }
    }
}

/// An order was paid.
#[derive(Debug, Clone, PartialEq)]
pub struct PaymentNotice {
    pub event_id: String,
    pub order_number: String,
    pub gateway_transaction: String,
    /// What the gateway took, to be compared with the order's amount.
    pub amount: Amount,
    pub paid_at: OffsetDateTime,
}

/// A refund has its outcome.
#[derive(Debug, Clone, PartialEq)]
pub struct RefundNotice {
    pub event_id: String,
    pub refund_number: String,
    pub order_number: String,
    pub amount: RefundedAmount,
    /// `Succeeded`, `Failed` or `Abnormal`, never the other two.
    pub state: RefundState,
}

/// How much a notice says was paid back, to be compared with the refund's amount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefundedAmount {
    /// By this refund.
    OfRefund(Amount),
    /// By all refunds of the order so far, this one among them: Alipay tells no other.
    TotalOfOrder(Amount),
}

impl RefundedAmount {
    /// Whether a refund of this amount can be what is told.
    pub fn fits(&self, refund: Amount) -> bool {
        match self {
            RefundedAmount::OfRefund(told) => *told == refund,
            RefundedAmount::TotalOfOrder(told) => refund.exceeds(*told).is_ok_and(|is_more| !is_more),
        }
    }
}

/// Something that moves no money here: an order that timed out, an agreement signed, a report made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtherNotice {
    pub event_id: String,
    /// What it is about, for people.
    pub about: String,
}

/// What we made of a notification, in terms of what the gateway should do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotificationVerdict {
    /// Recorded for good; do not send it again. Also for one that changed nothing, as a duplicate.
    Accepted,
    /// Not believed: signature, window or form is wrong.
    Rejected,
    /// Believed but not recorded, because we cannot at the moment; send it again.
    TryLater,
}

/// The HTTP answer to a notification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotificationAnswer {
    /// The HTTP code.
    pub code: u16,
    pub content_type: &'static str,
    pub body: &'static str,
}
