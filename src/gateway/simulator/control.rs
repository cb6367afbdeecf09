//! The control API's bodies, and [`SimulatorControl`], its client.
//!
//! | call | body | answer |
//! |---|---|---|
//! | `GET /control/orders` | | list of [`PaymentBody`] |
//! | `POST /control/orders/{order_number}/scan` | | [`PaymentBody`] |
//! | `POST /control/orders/{order_number}/pay` | [`PayOptions`] | [`PaidBody`] |
//! | `POST /control/orders/{order_number}/notify` | [`NotifyOptions`] | `null` |
//! | `GET /control/refunds` | | list of [`RefundBody`] |
//! | `POST /control/refunds/{refund_number}/answer` | [`RefundAnswer`] | [`RefundBody`] |
//! | `POST /control/notifications/hold` | | `null` |
//! | `POST /control/notifications/release` | [`Release`] | [`Released`] |
//! | `GET /control/deliveries` | | list of [`Delivery`] |
//! | `GET /control/faults` | | [`FaultRates`] |
//! | `POST /control/faults` | [`FaultRates`] | `null` |
//! | `GET /control/books` | | [`BooksBody`] |
//! | `POST /control/bill/plant` | [`BillRecord`] | `null` |
//! | `POST /control/bill/drop`, `…/duplicate` | [`BillEntry`] | `null` |
//! | `POST /control/bill/change` | [`BillChange`] | `null` |
//! | `POST /control/clock` | [`TurnClock`] | `null` |
//! | `GET /control/wechat/certificates` | | [`CertificatesTold`] |
//! | `POST /control/wechat/certificates/rotate` | [`Rotation`] | [`CertificatesTold`] |
//!
//! An order of Alipay's is found by our number, too, which has a `-` where Alipay's has a `_`.
//! Every body may be left out where all its fields have defaults.

use std::time::Duration;

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use time::OffsetDateTime;

use super::{books::BooksBody, faults::FaultRates};
use crate::gateway::{
    bill::{BillKind, BillRecord},
    webhook::wire::{PaidBody, PaymentBody, RefundBody, RefusalBody},
};

/// How an order is paid, and what becomes of the notification.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PayOptions {
    /// No notification is ever sent; only a query finds the payment.
    pub lose: bool,
    /// So many more copies of the notification are sent, at most 20.
    pub duplicate: u32,
    /// The notification waits so long, at most ten minutes.
    pub delay_ms: u64,
    /// The notification tells another amount than the one that was signed, so that its signature is wrong.
    pub tamper: bool,
    /// The payer pays this decimal amount instead of the order's; signed, queried and billed as paid.
    pub wrong_amount: Option<String>,
    /// Pays although the order is closed or expired; the payment is dated after expiry.
    pub late: bool,
    /// Pays an order once more that is paid already, by another transaction.
    pub again: bool,
    /// Who pays, as WeChat Pay (`openid`) and Alipay (`buyer_id`) name payers.
    pub payer: Option<String>,
    /// The notification lets a later one go first, or two seconds pass.
    pub reorder: bool,
    /// The notification is tampered with when it is first sent, and whole when it is repeated.
    pub corrupt: bool,
}

/// What becomes of a notification.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NotifyOptions {
    pub lose: bool,
    pub duplicate: u32,
    pub delay_ms: u64,
    pub tamper: bool,
    pub reorder: bool,
    pub corrupt: bool,
}

impl PayOptions {
    /// The part about the notification.
    pub fn notify(&self) -> NotifyOptions {
        NotifyOptions {
            lose: self.lose,
            duplicate: self.duplicate,
            delay_ms: self.delay_ms,
            tamper: self.tamper,
            reorder: self.reorder,
            corrupt: self.corrupt,
        }
    }
}

/// A refund's outcome, and what becomes of its notification.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RefundAnswer {
    /// Failed for this reason; without it the refund succeeds.
    pub failed: Option<String>,
    /// It cannot be paid to where it came from: no outcome yet, and told by gateways that know this (WeChat Pay) only.
    pub abnormal: bool,
    pub notify: NotifyOptions,
}

/// How held notifications go out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Release {
    /// Newest first.
    pub reverse: bool,
}

/// How many notifications went out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Released {
    pub released: usize,
}

/// A payment or refund in the bill, by our number of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BillEntry {
    pub kind: BillKind,
    /// The order number of a payment, the refund number of a refund.
    pub number: String,
}

impl BillEntry {
    pub fn payment(order_number: impl Into<String>) -> Self {
        BillEntry {
            kind: BillKind::Payment,
            number: order_number.into(),
        }
    }

    pub fn refund(refund_number: impl Into<String>) -> Self {
        BillEntry {
            kind: BillKind::Refund,
            number: refund_number.into(),
        }
    }
}

/// Another amount in the bill.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BillChange {
    pub entry: BillEntry,
    /// A decimal in the entry's currency.
    pub amount: String,
}

/// The time from now on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TurnClock {
    #[serde(with = "time::serde::rfc3339")]
    pub time: OffsetDateTime,
}

/// How WeChat Pay's platform replaces its certificate: the new one signs from now on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rotation {
    /// How long the old ones are still listed and valid, in seconds.
    pub overlap_s: u32,
}

impl Default for Rotation {
    /// A day.
    fn default() -> Rotation {
        Rotation { overlap_s: 86_400 }
    }
}

/// The certificates of WeChat Pay's platform.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificatesTold {
    /// The serial numbers of those that have not expired, oldest first; the last one signs.
    pub serials: Vec<String>,
    /// How often they were fetched.
    pub fetched: u64,
}

/// One notification on its way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// In the order in which they were made.
    pub number: u64,
    pub event_id: String,
    /// `payment_succeeded` or `refund_finished`.
    pub event_type: String,
    /// Our order number or refund number.
    pub subject: String,
    /// Altered after signing, however often it is sent.
    pub tampered: bool,
    /// Altered after signing when it was first sent, and whole from then on.
    pub corrupted: bool,
    pub state: DeliveryState,
    pub attempts: Vec<Attempt>,
}

/// Where a notification stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryState {
    /// Never to be sent.
    Lost,
    /// Waiting for release.
    Held,
    /// Being sent, or waiting for the next attempt.
    Sending,
    /// Answered with a code of the 200s.
    Accepted,
    /// Tried as often as the policy allows.
    GivenUp,
}

/// One attempt to deliver a notification.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    /// The HTTP code of the answer, when there was one.
    pub code: Option<u16>,
    /// Why there was none.
    pub error: Option<String>,
}

/// Why a control call failed.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// No usable answer.
    #[error("the gateway simulator did not answer: {0}")]
    Http(#[from] reqwest::Error),
    /// The simulator's refusal.
    #[error("the gateway simulator refused: {code}: {message}")]
    Refused { code: String, message: String },
    /// Notifications were still on their way when the time was over.
    #[error("{sending} notifications are still on their way")]
    StillSending { sending: usize },
}

/// How often [`SimulatorControl::wait_for_deliveries`] looks, in milliseconds.
const POLL_MS: u64 = 20;

/// The control API's client.
#[derive(Debug, Clone)]
pub struct SimulatorControl {
    http: reqwest::Client,
    base_url: String,
}

impl SimulatorControl {
    /// A client for the simulator at `base_url` (`http://ADDRESS`); calls nobody yet.
    pub fn try_new(base_url: impl Into<String>) -> Result<Self, ControlError> {
        let http = reqwest::Client::builder()
            .no_proxy()
            .timeout(Duration::from_secs(10))
            .build()?;
        let mut base_url = base_url.into();
        base_url.truncate(base_url.trim_end_matches('/').len());
        Ok(SimulatorControl { http, base_url })
    }

    /// The payer scans an order's code and does not pay yet: Alipay hears of an order no sooner.
    pub async fn scan(&self, order_number: &str) -> Result<PaymentBody, ControlError> {
        self.post(&format!("orders/{order_number}/scan"), &()).await
    }

    /// Pays an order.
    pub async fn pay(&self, order_number: &str, options: &PayOptions) -> Result<PaidBody, ControlError> {
        self.post(&format!("orders/{order_number}/pay"), options).await
    }

    /// Sends a paid order's notification once more.
    pub async fn notify(&self, order_number: &str, options: &NotifyOptions) -> Result<(), ControlError> {
        self.post(&format!("orders/{order_number}/notify"), options).await
    }

    /// Gives a refund its outcome and notifies it. Answering the same again notifies again.
    pub async fn answer_refund(&self, refund_number: &str, answer: &RefundAnswer) -> Result<RefundBody, ControlError> {
        self.post(&format!("refunds/{refund_number}/answer"), answer).await
    }

    /// From now on keeps notifications back.
    pub async fn hold(&self) -> Result<(), ControlError> {
        self.post("notifications/hold", &()).await
    }

    /// Sends what was kept back, one after the other, and keeps nothing back any more. Returns how many.
    pub async fn release(&self, reverse: bool) -> Result<usize, ControlError> {
        let answer: Released = self.post("notifications/release", &Release { reverse }).await?;
        Ok(answer.released)
    }

    /// Adds a row to the bill of its time's date.
    pub async fn plant_bill_row(&self, row: &BillRecord) -> Result<(), ControlError> {
        self.post("bill/plant", row).await
    }

    /// Leaves a row out of the bill.
    pub async fn drop_bill_row(&self, entry: &BillEntry) -> Result<(), ControlError> {
        self.post("bill/drop", entry).await
    }

    /// Writes another amount into a row of the bill.
    pub async fn change_bill_amount(&self, change: &BillChange) -> Result<(), ControlError> {
        self.post("bill/change", change).await
    }

    /// Writes a row of the bill twice.
    pub async fn duplicate_bill_row(&self, entry: &BillEntry) -> Result<(), ControlError> {
        self.post("bill/duplicate", entry).await
    }

    /// Sets the standing faults, and begins to count anew.
    pub async fn set_faults(&self, rates: &FaultRates) -> Result<(), ControlError> {
        self.post("faults", rates).await
    }

    /// The standing faults.
    pub async fn faults(&self) -> Result<FaultRates, ControlError> {
        self.get("faults").await
    }

    /// What the gateways' own books say.
    pub async fn books(&self) -> Result<BooksBody, ControlError> {
        self.get("books").await
    }

    /// Turns the simulator's clock, if it was started with one of its own.
    pub async fn turn_clock(&self, time: OffsetDateTime) -> Result<(), ControlError> {
        self.post("clock", &TurnClock { time }).await
    }

    /// The certificates of WeChat Pay's platform.
    pub async fn certificates(&self) -> Result<CertificatesTold, ControlError> {
        self.get("wechat/certificates").await
    }

    /// Has WeChat Pay's platform replace its certificate.
    pub async fn rotate_certificate(&self, rotation: &Rotation) -> Result<CertificatesTold, ControlError> {
        self.post("wechat/certificates/rotate", rotation).await
    }

    /// Every order, by number.
    pub async fn orders(&self) -> Result<Vec<PaymentBody>, ControlError> {
        self.get("orders").await
    }

    /// Every refund, by number.
    pub async fn refunds(&self) -> Result<Vec<RefundBody>, ControlError> {
        self.get("refunds").await
    }

    /// Every notification, oldest first, with its attempts and the answers to them.
    pub async fn deliveries(&self) -> Result<Vec<Delivery>, ControlError> {
        self.get("deliveries").await
    }

    /// Waits until no notification is on its way (held ones do not count); returns them all.
    pub async fn wait_for_deliveries(&self, time_max: Duration) -> Result<Vec<Delivery>, ControlError> {
        let deadline = tokio::time::Instant::now() + time_max;
        loop {
            let deliveries = self.deliveries().await?;
            let sending = deliveries
                .iter()
                .filter(|delivery| delivery.state == DeliveryState::Sending)
                .count();
            if sending == 0 {
                return Ok(deliveries);
            }
            if tokio::time::Instant::now() >= deadline {
                return Err(ControlError::StillSending { sending });
            }
            tokio::time::sleep(Duration::from_millis(POLL_MS)).await;
        }
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ControlError> {
        read(
            self.http
                .get(format!("{}/control/{path}", self.base_url))
                .send()
                .await?,
        )
        .await
    }

    async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, ControlError> {
        read(
            self.http
                .post(format!("{}/control/{path}", self.base_url))
                .json(body)
                .send()
                .await?,
        )
        .await
    }
}

async fn read<T: DeserializeOwned>(response: reqwest::Response) -> Result<T, ControlError> {
    if response.status().is_client_error() {
        let RefusalBody { code, message } = response.json().await?;
        return Err(ControlError::Refused { code, message });
    }
    Ok(response.error_for_status()?.json().await?)
}
