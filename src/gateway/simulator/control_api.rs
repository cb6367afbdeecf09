//! The API by which a demonstration or a test plays the payers and breaks things; see `control`.

use std::sync::Arc;

use axum::{
    Json, Router,
    body::Bytes,
    extract::{Path, State},
    routing::{get, post},
};
use time::Duration;

use super::{
    Gateway,
    bill::BillEdit,
    book::{Paying, Refund, Refusal},
    books::{self, BooksBody},
    control::{
        BillChange, BillEntry, CertificatesTold, Delivery, PayOptions, RefundAnswer, Release, Released, Rotation,
        TurnClock,
    },
    faults::FaultRates,
    letters, read_json, refunding,
};
use crate::{
    gateway::{
        bill::{self, BillKind, BillRecord},
        webhook::wire::{PaidBody, PaymentBody, RefundBody},
    },
    money::Amount,
};

pub(super) fn router() -> Router<Arc<Gateway>> {
    Router::new()
        .route("/orders", get(orders))
        .route("/orders/{order_number}/scan", post(scan))
        .route("/orders/{order_number}/pay", post(pay))
        .route("/orders/{order_number}/notify", post(notify))
        .route("/refunds", get(refunds))
        .route("/refunds/{refund_number}/answer", post(answer_refund))
        .route("/notifications/hold", post(hold))
        .route("/notifications/release", post(release))
        .route("/deliveries", get(deliveries))
        .route("/faults", get(faults).post(set_faults))
        .route("/books", get(books))
        .route("/bill/plant", post(plant))
        .route("/bill/drop", post(drop_row))
        .route("/bill/change", post(change))
        .route("/bill/duplicate", post(duplicate))
        .route("/clock", post(turn_clock))
        .route("/wechat/certificates", get(certificates))
        .route("/wechat/certificates/rotate", post(rotate_certificate))
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

async fn scan(State(gateway): Shared, Path(number): Path<String>) -> Result<Json<PaymentBody>, Refusal> {
    let now = gateway.clock.now();
    let mut book = gateway.book();
    let number = book.standing(&number);
    Ok(Json(book.scan(&number)?.body(&gateway.base_url, now)))
}

async fn pay(State(gateway): Shared, Path(number): Path<String>, body: Bytes) -> Result<Json<PaidBody>, Refusal> {
    let options: PayOptions = read_json(&body)?;
    let (order, paid) = {
        let mut book = gateway.book();
        let number = book.standing(&number);
        let order = book.order(&number)?.clone();
        let amount = match &options.wrong_amount {
            Some(text) => Some(read_amount(text, order.amount)?),
            None => None,
        };
        let paying = Paying {
            amount,
            late: options.late,
            again: options.again,
            payer: options.payer.clone(),
        };
        let paid = book.pay(&number, &paying, gateway.clock.now())?;
        (order, paid)
    };
    let letter = letters::paid(&gateway, &order, &paid)?;
    gateway.courier.send(&letter, &options.notify())?;
    Ok(Json(paid.body()))
}

async fn notify(State(gateway): Shared, Path(number): Path<String>, body: Bytes) -> Result<Json<()>, Refusal> {
    let order = {
        let book = gateway.book();
        book.order(&book.standing(&number))?.clone()
    };
    let paid = order.paid.as_ref().ok_or(Refusal::NotPaid(number))?;
    let letter = letters::paid(&gateway, &order, paid)?;
    gateway.courier.send(&letter, &read_json(&body)?)?;
    Ok(Json(()))
}

async fn answer_refund(
    State(gateway): Shared,
    Path(number): Path<String>,
    body: Bytes,
) -> Result<Json<RefundBody>, Refusal> {
    let answer: RefundAnswer = read_json(&body)?;
    Ok(Json(refunding::answer(&gateway, &number, &answer)?.body()))
}

async fn faults(State(gateway): Shared) -> Json<FaultRates> {
    Json(gateway.faults.rates())
}

async fn set_faults(State(gateway): Shared, body: Bytes) -> Result<Json<()>, Refusal> {
    gateway.faults.set(read_json(&body)?)?;
    Ok(Json(()))
}

async fn books(State(gateway): Shared) -> Result<Json<BooksBody>, Refusal> {
    Ok(Json(books::read(&gateway.book(), gateway.clock.now())?))
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
    let entry = standing(&gateway, read_json(&body)?);
    entry_amount(&gateway, &entry)?;
    gateway.book().edits.push(BillEdit::Drop(entry));
    Ok(Json(()))
}

async fn duplicate(State(gateway): Shared, body: Bytes) -> Result<Json<()>, Refusal> {
    let entry = standing(&gateway, read_json(&body)?);
    entry_amount(&gateway, &entry)?;
    gateway.book().edits.push(BillEdit::Duplicate(entry));
    Ok(Json(()))
}

async fn change(State(gateway): Shared, body: Bytes) -> Result<Json<()>, Refusal> {
    let BillChange { entry, amount } = read_json(&body)?;
    let entry = standing(&gateway, entry);
    let amount = read_amount(&amount, entry_amount(&gateway, &entry)?)?;
    gateway.book().edits.push(BillEdit::Change(entry, amount));
    Ok(Json(()))
}

async fn certificates(State(gateway): Shared) -> Result<Json<CertificatesTold>, Refusal> {
    Ok(Json(gateway.wechat_pay()?.tell_certificates(gateway.clock.now())))
}

async fn rotate_certificate(State(gateway): Shared, body: Bytes) -> Result<Json<CertificatesTold>, Refusal> {
    let Rotation { overlap_s } = read_json(&body)?;
    let (side, now) = (gateway.wechat_pay()?, gateway.clock.now());
    side.rotate_certificate(Duration::seconds(i64::from(overlap_s)), now)?;
    Ok(Json(side.tell_certificates(now)))
}

async fn turn_clock(State(gateway): Shared, body: Bytes) -> Result<Json<()>, Refusal> {
    let TurnClock { time } = read_json(&body)?;
    if gateway.clock.turn_to(time) {
        Ok(Json(()))
    } else {
        Err(Refusal::Invalid("the simulator runs by the machine's clock".to_owned()))
    }
}

/// An entry by the number under which its order stands.
fn standing(gateway: &Gateway, entry: BillEntry) -> BillEntry {
    match entry.kind {
        BillKind::Payment => BillEntry::payment(gateway.book().standing(&entry.number)),
        BillKind::Refund => entry,
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
