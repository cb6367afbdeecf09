//! The simulated gateway's orders and refunds, and what may be done to them. No I/O, no clock.

use std::collections::BTreeMap;

use time::{Duration, OffsetDateTime};

use super::bill::BillEdits;
use crate::{
    gateway::{
        alipay::wire as alipay,
        webhook::wire::{
            MoneyBody, NewPaymentBody, NewRefundBody, OrderState, PaidBody, PaymentBody, RefundBody, RefundOutcome,
            UNKNOWN_ORDER, UNKNOWN_REFUND,
        },
        wechat_pay::wire as wechat,
    },
    money::Amount,
};

/// More orders or refunds than a demonstration or test needs; beyond it new ones are refused.
const ENTRIES_MAX: usize = 1_000_000;

/// Why the simulated gateway refuses.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub(super) enum Refusal {
    #[error("{0}")]
    Invalid(String),
    #[error("the request is not signed as it must be: {0}")]
    Unsigned(String),
    #[error("there is no order {0}")]
    UnknownOrder(String),
    #[error("there is no refund {0}")]
    UnknownRefund(String),
    #[error("number {0} is taken by a request with other content")]
    NumberReused(String),
    #[error("order {0} is closed")]
    OrderClosed(String),
    #[error("order {number} expired at {expires_at}")]
    OrderExpired { number: String, expires_at: OffsetDateTime },
    #[error("order {0} is paid already")]
    AlreadyPaid(String),
    #[error("order {0} is not paid")]
    NotPaid(String),
    #[error("order {number} was paid with {paid} as {gateway_transaction}, not as the refund says")]
    PaymentDiffers {
        number: String,
        paid: Amount,
        gateway_transaction: String,
    },
    #[error("order {number} has only {left} left to refund")]
    RefundTooLarge { number: String, left: Amount },
    #[error("refund {0} has another outcome already")]
    AlreadyAnswered(String),
    #[error("the simulator is full: {0} entries")]
    Full(usize),
}

impl Refusal {
    pub(super) fn code(&self) -> &'static str {
        match self {
            Refusal::Invalid(_) => "INVALID_REQUEST",
            Refusal::Unsigned(_) => "UNSIGNED",
            Refusal::UnknownOrder(_) => UNKNOWN_ORDER,
            Refusal::UnknownRefund(_) => UNKNOWN_REFUND,
            Refusal::NumberReused(_) => "NUMBER_REUSED",
            Refusal::OrderClosed(_) => "ORDER_CLOSED",
            Refusal::OrderExpired { .. } => "ORDER_EXPIRED",
            Refusal::AlreadyPaid(_) => "ALREADY_PAID",
            Refusal::NotPaid(_) => "NOT_PAID",
            Refusal::PaymentDiffers { .. } => "PAYMENT_DIFFERS",
            Refusal::RefundTooLarge { .. } => "REFUND_TOO_LARGE",
            Refusal::AlreadyAnswered(_) => "ALREADY_ANSWERED",
            Refusal::Full(_) => "FULL",
        }
    }

    pub(super) fn http_code(&self) -> u16 {
        match self {
            Refusal::Invalid(_) => 400,
            Refusal::Unsigned(_) => 401,
            Refusal::UnknownOrder(_) | Refusal::UnknownRefund(_) => 404,
            Refusal::Full(_) => 503,
            _ => 409,
        }
    }
}

/// The API by which an order was made, and in whose words its notifications and bills are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Face {
    /// That of `webhook::wire`.
    Webhook,
    /// WeChat Pay's, with the order as it was asked for.
    WechatPay(Box<wechat::NewOrderBody>),
    /// Alipay's.
    Alipay,
}

/// One order.
#[derive(Debug, Clone)]
pub(super) struct Order {
    pub request: NewPaymentBody,
    pub face: Face,
    pub amount: Amount,
    closed: bool,
    /// The payer has scanned its code, which is when Alipay first hears of it.
    pub scanned: bool,
    pub paid: Option<Paid>,
    /// Payments after the first. A query tells the first only, as gateways do.
    further: Vec<Paid>,
}

/// How an order was paid.
#[derive(Debug, Clone)]
pub(super) struct Paid {
    pub event_id: String,
    pub gateway_transaction: String,
    pub amount: Amount,
    pub paid_at: OffsetDateTime,
    /// Who paid, if that was told.
    pub payer: Option<String>,
}

impl Paid {
    pub(super) fn body(&self) -> PaidBody {
        PaidBody {
            gateway_transaction: self.gateway_transaction.clone(),
            amount: MoneyBody::from(self.amount),
            paid_at: self.paid_at,
        }
    }
}

impl Order {
    pub(super) fn payments(&self) -> impl Iterator<Item = &Paid> {
        self.paid.iter().chain(&self.further)
    }

    pub(super) fn state(&self, now: OffsetDateTime) -> OrderState {
        match &self.paid {
            Some(_) => OrderState::Paid,
            None if self.closed || self.request.expires_at <= now => OrderState::Closed,
            None => OrderState::Unpaid,
        }
    }

    pub(super) fn body(&self, base_url: &str, now: OffsetDateTime) -> PaymentBody {
        PaymentBody {
            order_number: self.request.order_number.clone(),
            state: self.state(now),
            amount: self.request.amount.clone(),
            payment_url: format!("{base_url}/pay/{}", self.request.order_number),
            paid: self.paid.as_ref().map(Paid::body),
        }
    }
}

/// One refund.
#[derive(Debug, Clone)]
pub(super) struct Refund {
    pub request: NewRefundBody,
    pub amount: Amount,
    pub event_id: String,
    /// The gateway's number of it, which the webhook API tells with its success only.
    pub gateway_refund: String,
    pub requested_at: OffsetDateTime,
    pub outcome: RefundOutcome,
    /// It cannot be paid to where it came from; it is still processing until somebody says where it goes.
    pub abnormal: bool,
}

impl Refund {
    pub(super) fn body(&self) -> RefundBody {
        RefundBody {
            refund_number: self.request.refund_number.clone(),
            order_number: self.request.order_number.clone(),
            amount: self.request.amount.clone(),
            outcome: self.outcome.clone(),
        }
    }
}

/// How the payer pays.
#[derive(Debug, Clone, Default)]
pub(super) struct Paying {
    /// Another amount than the order's.
    pub amount: Option<Amount>,
    /// After expiry or closing.
    pub late: bool,
    /// Although it is paid.
    pub again: bool,
    /// Who pays, in the gateway's own words.
    pub payer: Option<String>,
}

/// All orders and refunds, by our number.
pub(super) struct Book {
    run: String,
    next: u64,
    orders: BTreeMap<String, Order>,
    refunds: BTreeMap<String, Refund>,
    pub edits: BillEdits,
}

impl Book {
    /// `run` begins every number the gateway gives.
    pub(super) fn new(run: String) -> Self {
        Book {
            run,
            next: 0,
            orders: BTreeMap::new(),
            refunds: BTreeMap::new(),
            edits: BillEdits::default(),
        }
    }

    /// 28 digits that begin with the date, as Alipay's.
    fn trade_number(&mut self, now: OffsetDateTime) -> String {
        self.next += 1;
        let run = u32::from_str_radix(&self.run, 16).unwrap_or_default();
        let date = now.to_offset(alipay::BEIJING).date().to_string().replace('-', "");
        format!("{date}2200{run:010}{:06}", self.next)
    }

    fn number(&mut self, prefix: &str) -> String {
        self.next += 1;
        format!("{prefix}_{}_{:06}", self.run, self.next)
    }

    pub(super) fn orders(&self) -> impl Iterator<Item = &Order> {
        self.orders.values()
    }

    pub(super) fn refunds(&self) -> impl Iterator<Item = &Refund> {
        self.refunds.values()
    }

    pub(super) fn order(&self, number: &str) -> Result<&Order, Refusal> {
        self.orders
            .get(number)
            .ok_or_else(|| Refusal::UnknownOrder(number.to_owned()))
    }

    pub(super) fn refund(&self, number: &str) -> Result<&Refund, Refusal> {
        self.refunds
            .get(number)
            .ok_or_else(|| Refusal::UnknownRefund(number.to_owned()))
    }

    /// Opens an order, or finds the one that the same request opened before.
    pub(super) fn open(&mut self, request: NewPaymentBody, face: Face, now: OffsetDateTime) -> Result<Order, Refusal> {
        if let Some(order) = self.orders.get(&request.order_number) {
            // WeChat Pay's words may leave the expiry to the gateway; they are compared as they are.
            let is_same = order.face == face && (matches!(face, Face::WechatPay(_)) || order.request == request);
            return match is_same {
                true => Ok(order.clone()),
                false => Err(Refusal::NumberReused(request.order_number)),
            };
        }
        check_number(&request.order_number)?;
        check_url(&request.notify_url)?;
        let amount = read(&request.amount)?;
        if request.expires_at <= now {
            return Err(Refusal::Invalid("expires_at has passed".to_owned()));
        }
        if self.orders.len() >= ENTRIES_MAX {
            return Err(Refusal::Full(ENTRIES_MAX));
        }
        let order = Order {
            request,
            face,
            amount,
            closed: false,
            scanned: false,
            paid: None,
            further: Vec::new(),
        };
        self.orders.insert(order.request.order_number.clone(), order.clone());
        Ok(order)
    }

    /// The number under which an order stands: as it is, or as Alipay takes it.
    pub(super) fn standing(&self, number: &str) -> String {
        let alipays = alipay::to_trade_number(number);
        match !self.orders.contains_key(number) && self.orders.contains_key(&alipays) {
            true => alipays,
            false => number.to_owned(),
        }
    }

    /// What has been paid back of a payment, or is on its way back.
    pub(super) fn paid_back(&self, paid: &Paid) -> Result<Amount, Refusal> {
        let left = self.left_to_refund(paid)?;
        let back = paid.amount.checked_sub(left);
        back.map_err(|error| Refusal::Invalid(error.to_string()))
    }

    /// Whether anything of a payment was paid back or is on its way back.
    pub(super) fn is_paid_back_in_part(&self, paid: &Paid) -> Result<bool, Refusal> {
        Ok(self.paid_back(paid)?.is_positive())
    }

    /// The payer scans an order's code and does not pay yet.
    pub(super) fn scan(&mut self, number: &str) -> Result<Order, Refusal> {
        let order = self
            .orders
            .get_mut(number)
            .ok_or_else(|| Refusal::UnknownOrder(number.to_owned()))?;
        order.scanned = true;
        Ok(order.clone())
    }

    /// Closes an order unless it is paid.
    pub(super) fn close(&mut self, number: &str) -> Result<Order, Refusal> {
        let order = self
            .orders
            .get_mut(number)
            .ok_or_else(|| Refusal::UnknownOrder(number.to_owned()))?;
        order.closed |= order.paid.is_none();
        Ok(order.clone())
    }

    /// The payer pays.
    pub(super) fn pay(&mut self, number: &str, paying: &Paying, now: OffsetDateTime) -> Result<Paid, Refusal> {
        let order = self.order(number)?;
        let expires_at = order.request.expires_at;
        if order.paid.is_some() && !paying.again {
            return Err(Refusal::AlreadyPaid(number.to_owned()));
        }
        if order.closed && !paying.late {
            return Err(Refusal::OrderClosed(number.to_owned()));
        }
        if expires_at <= now && !paying.late {
            return Err(Refusal::OrderExpired {
                number: number.to_owned(),
                expires_at,
            });
        }
        let amount = paying.amount.unwrap_or(order.amount);
        let is_alipays = order.face == Face::Alipay;
        let paid_at = if paying.late {
            now.max(expires_at + Duration::SECOND)
        } else {
            now
        };
        let paid = Paid {
            event_id: self.number("evt"),
            gateway_transaction: match is_alipays {
                true => self.trade_number(now),
                false => self.number("pay"),
            },
            amount,
            paid_at,
            payer: paying.payer.clone(),
        };
        if let Some(order) = self.orders.get_mut(number) {
            order.scanned = true;
            match &order.paid {
                None => order.paid = Some(paid.clone()),
                Some(_) => order.further.push(paid.clone()),
            }
        }
        Ok(paid)
    }

    /// Takes a refund to be answered later, or finds the one that the same request made before.
    pub(super) fn request_refund(&mut self, request: NewRefundBody, now: OffsetDateTime) -> Result<Refund, Refusal> {
        if let Some(refund) = self.refunds.get(&request.refund_number) {
            return match refund.request == request {
                true => Ok(refund.clone()),
                false => Err(Refusal::NumberReused(request.refund_number)),
            };
        }
        check_number(&request.refund_number)?;
        check_url(&request.notify_url)?;
        let (amount, total) = (read(&request.amount)?, read(&request.total)?);
        let number = request.order_number.clone();
        let order = self.order(&number)?;
        let first = order.paid.clone().ok_or_else(|| Refusal::NotPaid(number.clone()))?;
        let paid = order
            .payments()
            .find(|paid| paid.gateway_transaction == request.gateway_transaction && paid.amount == total)
            .cloned();
        let Some(paid) = paid else {
            return Err(Refusal::PaymentDiffers {
                number,
                paid: first.amount,
                gateway_transaction: first.gateway_transaction,
            });
        };
        let is_alipays = order.face == Face::Alipay;
        let left = self.left_to_refund(&paid)?;
        if amount
            .exceeds(left)
            .map_err(|error| Refusal::Invalid(error.to_string()))?
        {
            return Err(Refusal::RefundTooLarge { number, left });
        }
        if self.refunds.len() >= ENTRIES_MAX {
            return Err(Refusal::Full(ENTRIES_MAX));
        }
        let event_id = self.number("evt");
        let gateway_refund = match is_alipays {
            true => alipay::gateway_refund(&request.gateway_transaction, &request.refund_number),
            false => self.number("ref"),
        };
        let refund = Refund {
            request,
            amount,
            event_id,
            gateway_refund,
            requested_at: now,
            outcome: RefundOutcome::Processing,
            abnormal: false,
        };
        self.refunds
            .insert(refund.request.refund_number.clone(), refund.clone());
        Ok(refund)
    }

    /// What was paid less every refund of it that has not failed.
    fn left_to_refund(&self, paid: &Paid) -> Result<Amount, Refusal> {
        let taken = self.refunds.values().filter(|refund| {
            refund.request.gateway_transaction == paid.gateway_transaction
                && !matches!(refund.outcome, RefundOutcome::Failed { .. })
        });
        let mut left = paid.amount;
        for refund in taken {
            left = left
                .checked_sub(refund.amount)
                .map_err(|error| Refusal::Invalid(error.to_string()))?;
        }
        Ok(left)
    }

    /// Gives a refund its outcome: succeeded, or failed for a reason. Repeating the same answer changes nothing.
    pub(super) fn answer_refund(
        &mut self,
        number: &str,
        failed: Option<String>,
        now: OffsetDateTime,
    ) -> Result<Refund, Refusal> {
        let outcome = self.refund(number)?.outcome.clone();
        let repeated = match (&outcome, &failed) {
            (RefundOutcome::Processing, _) => false,
            (RefundOutcome::Succeeded { .. }, None) => true,
            (RefundOutcome::Failed { reason }, Some(again)) => reason == again,
            _ => return Err(Refusal::AlreadyAnswered(number.to_owned())),
        };
        let refund = self
            .refunds
            .get_mut(number)
            .ok_or_else(|| Refusal::UnknownRefund(number.to_owned()))?;
        if !repeated {
            refund.abnormal = false;
            let gateway_refund = refund.gateway_refund.clone();
            refund.outcome = match failed {
                Some(reason) => RefundOutcome::Failed { reason },
                None => RefundOutcome::Succeeded {
                    gateway_refund,
                    at: now,
                },
            };
        }
        Ok(refund.clone())
    }

    /// The gateway cannot pay a refund to where it came from.
    pub(super) fn strand_refund(&mut self, number: &str) -> Result<Refund, Refusal> {
        let refund = self
            .refunds
            .get_mut(number)
            .ok_or_else(|| Refusal::UnknownRefund(number.to_owned()))?;
        if refund.outcome != RefundOutcome::Processing {
            return Err(Refusal::AlreadyAnswered(number.to_owned()));
        }
        refund.abnormal = true;
        Ok(refund.clone())
    }

    /// What the gateway got of a payment by its own number of it.
    pub(super) fn order_of(&self, gateway_transaction: &str) -> Option<&Order> {
        let is_it = |order: &&Order| {
            order
                .payments()
                .any(|paid| paid.gateway_transaction == gateway_transaction)
        };
        self.orders.values().find(is_it)
    }
}

/// Our numbers: 6 to 32 of `[0-9A-Za-z_*-]`, the strictest rule among the gateways (WeChat Pay's).
fn check_number(number: &str) -> Result<(), Refusal> {
    let letters = number
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'*' | b'-'));
    if letters && (6..=32).contains(&number.len()) {
        return Ok(());
    }
    Err(Refusal::Invalid(format!("{number:?} is not 6 to 32 of [0-9A-Za-z_*-]")))
}

/// Without a URL, nobody wants to be told.
fn check_url(url: &str) -> Result<(), Refusal> {
    if url.is_empty() {
        return Ok(());
    }
    match reqwest::Url::parse(url) {
        Ok(parsed) if matches!(parsed.scheme(), "http" | "https") => Ok(()),
        _ => Err(Refusal::Invalid(format!("notify_url {url:?} is not an http URL"))),
    }
}

fn read(amount: &MoneyBody) -> Result<Amount, Refusal> {
    amount.read().map_err(Refusal::Invalid)
}
