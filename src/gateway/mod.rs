//! Payment channels behind one trait, and the simulator that plays a gateway.
//!
//! # Layout
//! - `channel`: what every payment channel can do, and the values that go in and out.
//! - `channels`: the channels the service has, by their ids.
//! - `error`: why a call to a gateway, or a notification from one, was not accepted.
//! - `bill`: the gateway's daily bill as CSV.
//! - `webhook`: the first channel: JSON over HTTP with HMAC signatures.
//! - `wechat_pay`: WeChat Pay, API v3.
//! - `alipay`: Alipay, with RSA2 signatures.
//! - `http`: what HTTP calls to every gateway share.
//! - `simulator`: a gateway over real HTTP for demonstrations and tests, with faults on command.

pub mod alipay;
pub mod bill;
pub mod channel;
pub mod channels;
pub mod error;
mod http;
pub mod simulator;
pub mod webhook;
pub mod wechat_pay;

pub use bill::{BillError, BillKind, BillRow};
pub use channel::{
    Channel, NewPayment, NewRefund, Notification, NotificationAnswer, NotificationVerdict, OtherNotice, Payment,
    PaymentMethod, PaymentNotice, PaymentState, RefundLimits, RefundNotice, RefundRedirect, RefundState,
    RefundedAmount,
};
pub use channels::{ChannelSet, Channels, Gate};
pub use error::{GatewayError, NotificationError};
