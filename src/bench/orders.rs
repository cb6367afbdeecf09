//! Orders that wait to be paid, and the notifications that pay them, made before anything is measured.

use std::{path::Path, sync::Arc};

use anyhow::Context as _;
use futures::{
    future::BoxFuture,
    stream::{self, StreamExt as _, TryStreamExt as _},
};
use http::HeaderMap;
use rust_decimal::Decimal;
use time::{Date, OffsetDateTime};

use super::store;
use crate::{
    clock::Clock,
    custody::Custody,
    db::Database,
    gateway::{
        BillError, BillRow, Channel, Channels, Gate, GatewayError, NewPayment, NewRefund, Notification,
        NotificationAnswer, NotificationError, NotificationVerdict, Payment, PaymentMethod, PaymentState, RefundState,
        simulator::wechat::{keys::WechatPayKeys, press::Press},
    },
    ids::{CenterId, DetaineeId, PayerId, RequestId},
    ledger::{Center, Lanes, Request},
    money::Amount,
    payer::{DocumentKind, Identity, Payers, PhoneNumber, Registration, Relationship, Vault},
    remittance::{METHOD, NewRemittance, Remittances, order_number},
};

/// The channel's name.
pub const CHANNEL: &str = "wechat-pay";
/// Orders opened at the same time. Each holds its center for a moment, so more would only wait.
const ORDERS_IN_FLIGHT: usize = 8;

/// An order that can be paid.
pub struct Order {
    number: String,
    amount: Amount,
}

/// Opens orders of 10.00 in the first center, spread over its detainees, by the domain's own way; only the gateway is not asked, as
/// nothing of that is measured.
pub async fn open(url: &str, data_dir: &Path, detainees: usize, count: usize) -> anyhow::Result<Vec<Order>> {
    store::wait_for_disk(url, false).await?;
    let (database, clock) = (Database::connect(url)?, Clock::system());
    let lanes = Lanes::new(database.clone(), clock.clone(), ORDERS_IN_FLIGHT);
    let custody = Custody::new(database.clone(), clock.clone());
    let vault = Vault::load(data_dir, None, None)?;
    let center = custody.center(&CenterId::parse("C1")?).await?;
    let person = |number: usize| {
        let ids = (
            PayerId::parse(&format!("P{number}"))?,
            DetaineeId::parse(&format!("D{number}"))?,
        );
        anyhow::Ok(ids)
    };
    let people: Vec<(PayerId, DetaineeId)> = (1..=detainees).map(person).collect::<Result<_, _>>()?;
    let payers = Payers::new(database.clone(), clock, vault, None);
    register(&payers, &center, &people).await?;
    let gate = Gate::new(Arc::new(Unasked), String::new());
    let remittances = Remittances::new(lanes.clone(), custody, Channels::new([gate]));
    let amount = Amount::from_decimal(Decimal::TEN, center.currency)?;
    let new = |number: usize| NewRemittance {
        request: Request {
            id: RequestId::derived(&["bench", "order", &number.to_string()]),
            method: METHOD,
            body: number.to_string().into_bytes(),
            actor: format!("payer/{}", people[number % people.len()].0),
        },
        payer: people[number % people.len()].0.clone(),
        detainee: people[number % people.len()].1.clone(),
        amount,
        channel: Some(CHANNEL.to_owned()),
        method: PaymentMethod::Link,
    };
    let orders = stream::iter(0..count)
        .map(|number| remittances.create(&center, new(number)))
        .buffer_unordered(ORDERS_IN_FLIGHT)
        .map_ok(|(remittance, _)| Order {
            number: order_number(center.no, &remittance.id),
            amount,
        })
        .try_collect()
        .await?;
    lanes.close().await;
    database.close().await;
    store::forget_polls(url).await?;
    store::wait_for_disk(url, true).await?;
    Ok(orders)
}

/// A payer of each detainee's own: nobody may have many links.
async fn register(payers: &Payers, center: &Center, people: &[(PayerId, DetaineeId)]) -> anyhow::Result<()> {
    for (number, (payer, detainee)) in people.iter().enumerate() {
        let registration = Registration {
            id: payer.clone(),
            name: "payer".to_owned(),
            identity: Some(Identity::parse(DocumentKind::Passport, &format!("PASSPORT{number}"))?),
            phone: Some(PhoneNumber::parse(&format!("+861{number:010}"))?),
            phone_document: Some("bench".to_owned()),
            accounts: vec![(String::new(), format!("account {number}"))],
        };
        payers.register(center, registration, "bench").await?;
        let of = (payer, detainee);
        payers.grant_link(center, of, Relationship::Parent, "bench").await?;
    }
    Ok(())
}

/// Writes the notification of each order's payment as the requests that carry it, ready to be sent.
pub fn letters(keys: &WechatPayKeys, address: &str, orders: &[Order]) -> anyhow::Result<Vec<Vec<u8>>> {
    let press = Press::of(keys)?;
    let print = |order: &Order| {
        let now = Clock::system().now();
        let printed = press.paid(&order.number, order.amount, now).context("a notification")?;
        let mut request = format!(
            "POST /v1/notifications/{CHANNEL} HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n",
            printed.body.len()
        );
        for (name, value) in &printed.headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        request.push_str("\r\n");
        Ok([request.as_bytes(), &printed.body].concat())
    };
    orders.iter().map(print).collect()
}

/// A gateway that opens every order at once and knows nothing more.
struct Unasked;

fn unreachable() -> GatewayError {
    GatewayError::Unreachable {
        reason: "there is none".to_owned(),
    }
}

impl Channel for Unasked {
    fn id(&self) -> &str {
        CHANNEL
    }

    fn offers(&self, _: &PaymentMethod) -> bool {
        true
    }

    fn create_payment<'a>(&'a self, payment: &'a NewPayment) -> BoxFuture<'a, Result<Payment, GatewayError>> {
        let url = format!("weixin://wxpay/bizpayurl?pr={}", payment.order_number);
        Box::pin(async move { Ok(Payment::link(url)) })
    }

    fn query_payment<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<PaymentState, GatewayError>> {
        Box::pin(async { Err(unreachable()) })
    }

    fn close_payment<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<PaymentState, GatewayError>> {
        Box::pin(async { Err(unreachable()) })
    }

    fn create_refund<'a>(&'a self, _: &'a NewRefund) -> BoxFuture<'a, Result<RefundState, GatewayError>> {
        Box::pin(async { Err(unreachable()) })
    }

    fn query_refund<'a>(&'a self, _: &'a str, _: &'a str) -> BoxFuture<'a, Result<RefundState, GatewayError>> {
        Box::pin(async { Err(unreachable()) })
    }

    fn fetch_bill(&self, _: Date) -> BoxFuture<'_, Result<Vec<u8>, GatewayError>> {
        Box::pin(async { Err(unreachable()) })
    }

    fn parse_bill(&self, _: &[u8]) -> Result<Vec<BillRow>, BillError> {
        Err(BillError::File {
            reason: "there is none".to_owned(),
        })
    }

    fn parse_notification(
        &self,
        _: &HeaderMap,
        _: &[u8],
        _: OffsetDateTime,
    ) -> Result<Notification, NotificationError> {
        Err(NotificationError::MissingSignature)
    }

    fn notification_answer(&self, _: NotificationVerdict) -> NotificationAnswer {
        NotificationAnswer {
            code: 503,
            content_type: "text/plain",
            body: "",
        }
    }
}
