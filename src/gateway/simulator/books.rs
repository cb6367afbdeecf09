//! What the gateways' own books say of every order, payment and refund, so that a ledger can be compared with them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::book::{Book, Face, Refusal};
use crate::{
    gateway::{
        alipay::wire as alipay,
        webhook::wire::{MoneyBody, OrderState, PaidBody, RefundOutcome},
    },
    money::{Amount, Currency},
};

/// A gateway that the simulator plays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Played {
    Webhook,
    WechatPay,
    Alipay,
}

impl Played {
    fn of(face: &Face) -> Played {
        match face {
            Face::Webhook => Played::Webhook,
            Face::WechatPay(_) => Played::WechatPay,
            Face::Alipay => Played::Alipay,
        }
    }
}

/// All books.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BooksBody {
    /// Of every gateway that has an order.
    pub gateways: BTreeMap<Played, GatewayBooks>,
}

/// One gateway's books.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GatewayBooks {
    /// By our number.
    pub orders: Vec<BookedOrder>,
    /// By our number.
    pub refunds: Vec<BookedRefund>,
    /// The sums, by currency.
    pub totals: BTreeMap<String, Totals>,
}

/// An order and every payment of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BookedOrder {
    /// As we write it, whatever the gateway makes of it.
    pub order_number: String,
    pub state: OrderState,
    /// What was asked for.
    pub amount: MoneyBody,
    /// What was paid: nothing, once, or oftener.
    pub payments: Vec<PaidBody>,
}

/// A refund.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BookedRefund {
    pub refund_number: String,
    pub order_number: String,
    /// The payment that it is of.
    pub gateway_transaction: String,
    pub gateway_refund: String,
    pub amount: MoneyBody,
    pub outcome: RefundOutcome,
    /// It is processing, and stays so until somebody says where the money goes.
    pub abnormal: bool,
}

/// Decimal sums in one currency. Fees are not taken off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Of all payments.
    pub paid: String,
    /// Of the refunds that have succeeded.
    pub refunded: String,
    /// Of the refunds that are processing.
    pub on_the_way_back: String,
    /// What was paid and has not been paid back: what a ledger has in clearing and in transit before fees and settlement.
    pub held: String,
}

/// Reads the books as they are now.
pub(super) fn read(book: &Book, now: OffsetDateTime) -> Result<BooksBody, Refusal> {
    let mut gateways: BTreeMap<Played, (GatewayBooks, BTreeMap<String, Sums>)> = BTreeMap::new();
    for order in book.orders() {
        let (books, sums) = gateways.entry(Played::of(&order.face)).or_default();
        for paid in order.payments() {
            Sums::of(sums, paid.amount.currency()).paid.add(paid.amount)?;
        }
        books.orders.push(BookedOrder {
            order_number: our_number(&order.face, &order.request.order_number),
            state: order.state(now),
            amount: order.request.amount.clone(),
            payments: order.payments().map(|paid| paid.body()).collect(),
        });
    }
    for refund in book.refunds() {
        let order = book.order(&refund.request.order_number)?;
        let (books, sums) = gateways.entry(Played::of(&order.face)).or_default();
        let sums = Sums::of(sums, refund.amount.currency());
        match &refund.outcome {
            RefundOutcome::Processing => sums.on_the_way_back.add(refund.amount)?,
            RefundOutcome::Succeeded { .. } => sums.refunded.add(refund.amount)?,
            RefundOutcome::Failed { .. } => {}
        }
        books.refunds.push(BookedRefund {
            refund_number: refund.request.refund_number.clone(),
            order_number: our_number(&order.face, &refund.request.order_number),
            gateway_transaction: refund.request.gateway_transaction.clone(),
            gateway_refund: refund.gateway_refund.clone(),
            amount: refund.request.amount.clone(),
            outcome: refund.outcome.clone(),
            abnormal: refund.abnormal,
        });
    }
    let mut body = BooksBody::default();
    for (played, (mut books, sums)) in gateways {
        for (currency, sums) in sums {
            books.totals.insert(currency, sums.totals()?);
        }
        body.gateways.insert(played, books);
    }
    Ok(body)
}

fn our_number(face: &Face, number: &str) -> String {
    match face {
        Face::Alipay => alipay::of_trade_number(number),
        Face::Webhook | Face::WechatPay(_) => number.to_owned(),
    }
}

fn invalid(error: impl ToString) -> Refusal {
    Refusal::Invalid(error.to_string())
}

/// A sum that grows.
struct Sum(Amount);

impl Sum {
    fn add(&mut self, amount: Amount) -> Result<(), Refusal> {
        self.0 = self.0.checked_add(amount).map_err(invalid)?;
        Ok(())
    }
}

/// The sums of one gateway in one currency.
struct Sums {
    paid: Sum,
    refunded: Sum,
    on_the_way_back: Sum,
}

impl Sums {
    fn of(sums: &mut BTreeMap<String, Sums>, currency: Currency) -> &mut Sums {
        let zero = || Sum(Amount::zero(currency));
        sums.entry(currency.code().to_owned()).or_insert_with(|| Sums {
            paid: zero(),
            refunded: zero(),
            on_the_way_back: zero(),
        })
    }

    fn totals(&self) -> Result<Totals, Refusal> {
        let held = self.paid.0.checked_sub(self.refunded.0).map_err(invalid)?;
        Ok(Totals {
            paid: self.paid.0.to_string(),
            refunded: self.refunded.0.to_string(),
            on_the_way_back: self.on_the_way_back.0.to_string(),
            held: held.to_string(),
        })
    }
}
