//! The API that the service calls, as `webhook::wire` describes it. Requests must be signed.

use std::sync::Arc;

use axum::{
    Json, Router,
    body::{Body, Bytes, to_bytes},
    extract::{Path, Request, State},
    http::header::CONTENT_TYPE,
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use time::{Date, macros::format_description};

use super::{
    Gateway,
    book::{Face, Refusal},
    read_json, refunding,
};
use crate::gateway::{
    bill,
    webhook::{
        signature::{SIGNATURE_HEADER, verify_request},
        wire::{PaymentBody, RefundBody},
    },
};

/// Longest request body, in bytes.
const BODY_BYTES_MAX: usize = 64 * 1024;

pub(super) fn router(gateway: Arc<Gateway>) -> Router<Arc<Gateway>> {
    Router::new()
        .route("/v1/payments", post(create_payment))
        .route("/v1/payments/{order_number}", get(query_payment))
        .route("/v1/payments/{order_number}/close", post(close_payment))
        .route("/v1/refunds", post(create_refund))
        .route("/v1/refunds/{refund_number}", get(query_refund))
        .route("/v1/bills/{date}", get(fetch_bill))
        .layer(middleware::from_fn_with_state(gateway, require_signature))
        .route("/pay/{order_number}", get(payment_page))
}

type Shared = State<Arc<Gateway>>;

async fn require_signature(State(gateway): Shared, request: Request, next: Next) -> Result<Response, Refusal> {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, BODY_BYTES_MAX)
        .await
        .map_err(|error| Refusal::Invalid(error.to_string()))?;
    let header = parts
        .headers
        .get(SIGNATURE_HEADER)
        .and_then(|header| header.to_str().ok())
        .unwrap_or_default();
    let target = parts.uri.path_and_query().map_or("/", |target| target.as_str());
    verify_request(
        &gateway.secret,
        header,
        parts.method.as_str(),
        target,
        &body,
        gateway.clock.now(),
    )
    .map_err(|error| Refusal::Unsigned(error.to_string()))?;
    Ok(next.run(Request::from_parts(parts, Body::from(body))).await)
}

async fn create_payment(State(gateway): Shared, body: Bytes) -> Result<Json<PaymentBody>, Refusal> {
    let now = gateway.clock.now();
    let order = gateway.book().open(read_json(&body)?, Face::Webhook, now)?;
    Ok(Json(order.body(&gateway.base_url, now)))
}

async fn query_payment(State(gateway): Shared, Path(number): Path<String>) -> Result<Json<PaymentBody>, Refusal> {
    let now = gateway.clock.now();
    Ok(Json(gateway.book().order(&number)?.body(&gateway.base_url, now)))
}

async fn close_payment(State(gateway): Shared, Path(number): Path<String>) -> Result<Json<PaymentBody>, Refusal> {
    let now = gateway.clock.now();
    Ok(Json(gateway.book().close(&number)?.body(&gateway.base_url, now)))
}

async fn create_refund(State(gateway): Shared, body: Bytes) -> Result<Json<RefundBody>, Refusal> {
    let refund = refunding::take_for_later(&gateway, read_json(&body)?)?;
    Ok(Json(refund.body()))
}

async fn query_refund(State(gateway): Shared, Path(number): Path<String>) -> Result<Json<RefundBody>, Refusal> {
    Ok(Json(gateway.book().refund(&number)?.body()))
}

async fn fetch_bill(State(gateway): Shared, Path(date): Path<String>) -> Result<Response, Refusal> {
    let date = Date::parse(&date, format_description!("[year]-[month]-[day]"))
        .map_err(|_| Refusal::Invalid(format!("{date:?} is not a date")))?;
    let rows = gateway
        .book()
        .bill(date, gateway.bill_offset, |face| *face == Face::Webhook)?;
    let bill = bill::write(&rows).map_err(|error| Refusal::Invalid(error.to_string()))?;
    Ok(([(CONTENT_TYPE, "text/csv; charset=utf-8")], bill).into_response())
}

/// Where `payment_url` leads: tells the order, and how to pay it here.
async fn payment_page(State(gateway): Shared, Path(number): Path<String>) -> Result<String, Refusal> {
    let order = gateway
        .book()
        .order(&number)?
        .body(&gateway.base_url, gateway.clock.now());
    let (value, currency) = (&order.amount.value, &order.amount.currency);
    Ok(format!(
        "Order {number}: {value} {currency}, {:?}.\nTo pay it: curl -X POST {}/control/orders/{number}/pay\n",
        order.state, gateway.base_url
    ))
}
