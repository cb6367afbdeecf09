//! The API by which a demonstration or a test plays the payers and breaks things; see `control`.

use std::sync::Arc;

use axum::{
    Json, Router,
    body::Bytes,
    extract::{Path, State},
    routing::{get, post},
};

use super::{
    Gateway,
    bill::BillEdit,
    book::{Paid, Paying, Refund, Refusal},
    control::{BillChange, BillEntry, Delivery, NotifyOptions, PayOptions, RefundAnswer, Release, Released, TurnClock},
    read_json,
};
use crate::{
    gateway::{
        bill::{self, BillKind, BillRecord},
        webhook::wire::{Event, EventBody, PaidBody, PaymentBody, RefundBody},
    },
    money::Amount,
};

pub(super) fn router() -> Router<Arc<Gateway>> {
    Router::new()
        .route("/orders", get(orders))
        .route("/orders/{order_number}/pay", post(pay))
        .route("/orders/{order_number}/notify", post(notify))
        .route("/refunds", get(refunds))
        .route("/refunds/{refund_number}/answer", post(answer_refund))
        .route("/notifications/hold", post(hold))
        .route("/notifications/release", post(release))
        .route("/deliveries", get(deliveries))
        .route("/bill/plant", post(plant))
        .route("/bill/drop", post(drop_row))
        .route("/bill/change", post(change))
        .route("/bill/duplicate", post(duplicate))
        .route("/clock", post(turn_clock))
}

type Shared = State<Arc<Gateway>>;

async fn orders(State(gateway): Shared) -> Json<Vec<PaymentBody>> {
    let now = gateway.clock.now();
    Json(
        gateway
            .book()
            .orders()
            .map(|order| order.body(&gateway.base_url, now))
            .collect(),
    )
}

async fn refunds(State(gateway): Shared) -> Json<Vec<RefundBody>> {
    Json(gateway.book().refunds().map(Refund::body).collect())
}

async fn deliveries(State(gateway): Shared) -> Json<Vec<Delivery>> {
    Json(gateway.courier.deliveries())
}

async fn pay(State(gateway): Shared, Path(number): Path<String>, body: Bytes) -> Result<Json<PaidBody>, Refusal> {
    let options: PayOptions = read_json(&body)?;
    let (paid, url) = {
        let mut book = gateway.book();
        let order = book.order(&number)?;
        let url = order.request.notify_url.clone();
        let amount = match &options.wrong_amount {
            Some(text) => Some(read_amount(text, order.amount)?),
            None => None,
        };
        (
            book.pay(
                &number,
                &Paying {
                    amount,
                    late: options.late,
                    again: options.again,
                },
                gateway.clock.now(),
            )?,
            url,
        )
    };
    send_paid(&gateway, number, &paid, &url, &options.notify())?;
    Ok(Json(paid.body()))
}

async fn notify(State(gateway): Shared, Path(number): Path<String>, body: Bytes) -> Result<Json<()>, Refusal> {
    let (paid, url) = {
        let book = gateway.book();
        let order = book.order(&number)?;
        let paid = order.paid.clone().ok_or_else(|| Refusal::NotPaid(number.clone()))?;
        (paid, order.request.notify_url.clone())
    };
    send_paid(&gateway, number, &paid, &url, &read_json(&body)?)?;
    Ok(Json(()))
}

fn send_paid(
    gateway: &Gateway,
    order_number: String,
    paid: &Paid,
    url: &str,
    options: &NotifyOptions,
) -> Result<(), Refusal> {
    let event = EventBody {
        event_id: paid.event_id.clone(),
        created_at: gateway.clock.now(),
        event: Event::PaymentSucceeded {
            order_number,
            payment: paid.body(),
        },
    };
    gateway.courier.send(&event, url, options)
}

async fn answer_refund(
    State(gateway): Shared,
    Path(number): Path<String>,
    body: Bytes,
) -> Result<Json<RefundBody>, Refusal> {
    let answer: RefundAnswer = read_json(&body)?;
    let now = gateway.clock.now();
    let refund = gateway.book().answer_refund(&number, answer.failed, now)?;
    let event = EventBody {
        event_id: refund.event_id.clone(),
        created_at: now,
        event: Event::RefundFinished { refund: refund.body() },
    };
    gateway
        .courier
        .send(&event, &refund.request.notify_url, &answer.notify)?;
    Ok(Json(refund.body()))
}

async fn hold(State(gateway): Shared) -> Json<()> {
    gateway.courier.hold();
    Json(())
}

async fn release(State(gateway): Shared, body: Bytes) -> Result<Json<Released>, Refusal> {
    let Release { reverse } = read_json(&body)?;
    Ok(Json(Released {
        released: gateway.courier.release(reverse),
    }))
}

async fn plant(State(gateway): Shared, body: Bytes) -> Result<Json<()>, Refusal> {
    let record: BillRecord = read_json(&body)?;
    let row = bill::read_record(0, &record).map_err(|error| Refusal::Invalid(error.to_string()))?;
    gateway.book().edits.push(BillEdit::Plant(Box::new(row)));
    Ok(Json(()))
}

async fn drop_row(State(gateway): Shared, body: Bytes) -> Result<Json<()>, Refusal> {
    let entry: BillEntry = read_json(&body)?;
    entry_amount(&gateway, &entry)?;
    gateway.book().edits.push(BillEdit::Drop(entry));
    Ok(Json(()))
}

async fn duplicate(State(gateway): Shared, body: Bytes) -> Result<Json<()>, Refusal> {
    let entry: BillEntry = read_json(&body)?;
    entry_amount(&gateway, &entry)?;
    gateway.book().edits.push(BillEdit::Duplicate(entry));
    Ok(Json(()))
}

async fn change(State(gateway): Shared, body: Bytes) -> Result<Json<()>, Refusal> {
    let BillChange { entry, amount } = read_json(&body)?;
    let amount = read_amount(&amount, entry_amount(&gateway, &entry)?)?;
    gateway.book().edits.push(BillEdit::Change(entry, amount));
    Ok(Json(()))
}

async fn turn_clock(State(gateway): Shared, body: Bytes) -> Result<Json<()>, Refusal> {
    let TurnClock { time } = read_json(&body)?;
    if gateway.clock.turn_to(time) {
        Ok(Json(()))
    } else {
        Err(Refusal::Invalid("the simulator runs by the machine's clock".to_owned()))
    }
}

/// The amount behind a bill entry, so that a mistake is only planted in what exists.
fn entry_amount(gateway: &Gateway, entry: &BillEntry) -> Result<Amount, Refusal> {
    let book = gateway.book();
    match entry.kind {
        BillKind::Payment => book.order(&entry.number).map(|order| order.amount),
        BillKind::Refund => book.refund(&entry.number).map(|refund| refund.amount),
    }
}

/// Reads a positive decimal in the currency of `like`.
fn read_amount(text: &str, like: Amount) -> Result<Amount, Refusal> {
    Amount::parse_positive(text, like.currency()).map_err(|error| Refusal::Invalid(error.to_string()))
}
