//! The endpoints of API v3 that the service calls. Requests must be signed; answers are.

use std::{io::Write as _, sync::Arc};

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use axum::{
    Json, Router,
    body::{Body, Bytes, to_bytes},
    extract::{Path, Query, Request, State},
    http::StatusCode,
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use flate2::{Compression, write::GzEncoder};
use serde::Deserialize;
use time::{Date, Duration, macros::format_description};

use super::{APPID, MCHID, bill, certificates, letter::seconds, refund_status, transaction};
use crate::{
    gateway::{
        simulator::{
            Gateway,
            book::{Book, Face, Order, Refund, Refusal},
            control::RefundAnswer,
            read_json, refunding,
        },
        webhook::wire::{MoneyBody, NewPaymentBody, NewRefundBody as Asked, OrderState},
        wechat_pay::{
            bill::BEIJING,
            wire::{
                AbnormalRefundBody, BillBody, CloseBody, JsapiBody, NativeBody, NewOrderBody, NewRefundBody,
                RefundAmount, RefundBody, RefusalBody, TransactionBody, amount, fen,
            },
        },
    },
    money::Amount,
};

/// Longest request or answer, in bytes.
const BODY_BYTES_MAX: usize = 1024 * 1024;
/// How long an order without an expiry can be paid.
const ORDER_TTL: Duration = Duration::hours(2);
/// How long a bill can be downloaded.
const DOWNLOAD_TTL: Duration = Duration::minutes(5);

pub(super) type Shared = State<Arc<Gateway>>;

pub(in super::super) fn router(gateway: Arc<Gateway>) -> Router<Arc<Gateway>> {
    let checked = middleware::from_fn_with_state(gateway.clone(), check);
    let signed = middleware::from_fn_with_state(gateway, sign);
    Router::new()
        .route("/v3/pay/transactions/native", post(native))
        .route("/v3/pay/transactions/jsapi", post(jsapi))
        .route("/v3/pay/transactions/out-trade-no/{number}", get(by_number))
        .route("/v3/pay/transactions/out-trade-no/{number}/close", post(close))
        .route("/v3/pay/transactions/id/{id}", get(by_id))
        .route("/v3/refund/domestic/refunds", post(refund))
        .route("/v3/refund/domestic/refunds/{number}", get(query_refund))
        .route(
            "/v3/refund/domestic/refunds/{id}/apply-abnormal-refund",
            post(redirect_refund),
        )
        .route("/v3/bill/tradebill", get(trade_bill))
        .route("/v3/bill/fundflowbill", get(fund_bill))
        .route("/v3/certificates", get(certificates::list))
        .layer(signed)
        // The one answer that is not signed.
        .route("/v3/billdownload/file", get(download))
        .layer(checked)
}

/// A refusal in WeChat Pay's words.
pub(super) struct Told(Refusal);

impl From<Refusal> for Told {
    fn from(refusal: Refusal) -> Told {
        Told(refusal)
    }
}

impl IntoResponse for Told {
    fn into_response(self) -> Response {
        let (status, code) = match &self.0 {
            Refusal::Invalid(_) => (400, "PARAM_ERROR"),
            Refusal::Unsigned(_) => (401, "SIGN_ERROR"),
            Refusal::UnknownOrder(_) => (404, "ORDER_NOT_EXIST"),
            Refusal::UnknownRefund(_) => (404, "RESOURCE_NOT_EXISTS"),
            Refusal::NumberReused(_) => (403, "OUT_TRADE_NO_USED"),
            Refusal::OrderClosed(_) | Refusal::OrderExpired { .. } => (400, "ORDER_CLOSED"),
            Refusal::AlreadyPaid(_) => (400, "ORDERPAID"),
            Refusal::NotPaid(_)
            | Refusal::PaymentDiffers { .. }
            | Refusal::RefundTooLarge { .. }
            | Refusal::AlreadyAnswered(_) => (400, "INVALID_REQUEST"),
            Refusal::Full(_) => (500, "SYSTEM_ERROR"),
        };
        refused(status, code, &self.0.to_string())
    }
}

fn refused(status: u16, code: &str, message: &str) -> Response {
    let body = RefusalBody {
        code: code.to_owned(),
        message: message.to_owned(),
    };
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST);
    (status, Json(body)).into_response()
}

async fn check(State(gateway): Shared, request: Request, next: Next) -> Result<Response, Told> {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, BODY_BYTES_MAX)
        .await
        .map_err(|error| Refusal::Invalid(error.to_string()))?;
    let target = parts.uri.path_and_query().map_or("/", |target| target.as_str());
    gateway.wechat_pay()?.check(
        &parts.headers,
        (parts.method.as_str(), target),
        &body,
        gateway.clock.now(),
    )?;
    Ok(next.run(Request::from_parts(parts, Body::from(body))).await)
}

async fn sign(State(gateway): Shared, request: Request, next: Next) -> Result<Response, Told> {
    let response = next.run(request).await;
    if !response.status().is_success() {
        return Ok(response);
    }
    let (mut parts, body) = response.into_parts();
    let body = to_bytes(body, BODY_BYTES_MAX)
        .await
        .map_err(|error| Refusal::Invalid(error.to_string()))?;
    for (name, value) in gateway.wechat_pay()?.signed(gateway.clock.now(), &body) {
        let value = value
            .parse()
            .map_err(|_| Refusal::Invalid("a header cannot be sent".to_owned()))?;
        parts.headers.insert(name, value);
    }
    Ok(Response::from_parts(parts, Body::from(body)))
}

fn require_ours(mchid: &str, appid: Option<&str>) -> Result<(), Refusal> {
    if mchid == MCHID && appid.is_none_or(|appid| appid == APPID) {
        return Ok(());
    }
    Err(Refusal::Invalid(
        "mchid or appid is not the simulated merchant's".to_owned(),
    ))
}

fn open(gateway: &Gateway, asked: NewOrderBody) -> Result<Order, Refusal> {
    require_ours(&asked.mchid, Some(&asked.appid))?;
    if asked.notify_url.contains('?') {
        return Err(Refusal::Invalid("notify_url has a query".to_owned()));
    }
    let now = gateway.clock.now();
    let currency = asked.amount.currency.as_deref();
    let request = NewPaymentBody {
        order_number: asked.out_trade_no.clone(),
        amount: MoneyBody::from(amount(asked.amount.total, currency).map_err(Refusal::Invalid)?),
        description: asked.description.clone(),
        expires_at: asked.time_expire.unwrap_or(now + ORDER_TTL),
        notify_url: asked.notify_url.clone(),
    };
    let number = request.order_number.clone();
    let order = gateway.book().open(request, Face::WechatPay(Box::new(asked)), now)?;
    match order.state(now) {
        OrderState::Unpaid => Ok(order),
        OrderState::Paid => Err(Refusal::AlreadyPaid(number)),
        OrderState::Closed => Err(Refusal::OrderClosed(number)),
    }
}

async fn native(State(gateway): Shared, body: Bytes) -> Result<Json<NativeBody>, Told> {
    let mut asked: NewOrderBody = read_json(&body)?;
    asked.payer = None;
    let order = open(&gateway, asked)?;
    Ok(Json(NativeBody {
        code_url: format!("weixin://wxpay/bizpayurl?pr={}", order.request.order_number),
    }))
}

async fn jsapi(State(gateway): Shared, body: Bytes) -> Result<Json<JsapiBody>, Told> {
    let asked: NewOrderBody = read_json(&body)?;
    if asked.payer.as_ref().is_none_or(|payer| payer.openid.is_empty()) {
        return Err(Refusal::Invalid("payer.openid is missing".to_owned()).into());
    }
    let order = open(&gateway, asked)?;
    Ok(Json(JsapiBody {
        prepay_id: format!("wx{}", order.request.order_number),
    }))
}

#[derive(Deserialize)]
struct Of {
    mchid: String,
}

fn tell(gateway: &Gateway, book: &Book, order: &Order) -> Result<TransactionBody, Refusal> {
    let Face::WechatPay(asked) = &order.face else {
        return Err(Refusal::UnknownOrder(order.request.order_number.clone()));
    };
    let paid = match &order.paid {
        Some(paid) => Some((paid, book.is_paid_back_in_part(paid)?)),
        None => None,
    };
    transaction(order, asked, paid, gateway.clock.now())
}

async fn by_number(
    State(gateway): Shared,
    Path(number): Path<String>,
    Query(of): Query<Of>,
) -> Result<Json<TransactionBody>, Told> {
    require_ours(&of.mchid, None)?;
    let book = gateway.book();
    Ok(Json(tell(&gateway, &book, book.order(&number)?)?))
}

async fn by_id(
    State(gateway): Shared,
    Path(id): Path<String>,
    Query(of): Query<Of>,
) -> Result<Json<TransactionBody>, Told> {
    require_ours(&of.mchid, None)?;
    let book = gateway.book();
    let order = book.order_of(&id).ok_or(Refusal::UnknownOrder(id))?;
    Ok(Json(tell(&gateway, &book, order)?))
}

async fn close(State(gateway): Shared, Path(number): Path<String>, body: Bytes) -> Result<StatusCode, Told> {
    let told: CloseBody = read_json(&body)?;
    require_ours(&told.mchid, None)?;
    let order = gateway.book().close(&number)?;
    if order.paid.is_some() {
        return Err(Refusal::AlreadyPaid(number).into());
    }
    Ok(StatusCode::NO_CONTENT)
}

async fn refund(State(gateway): Shared, body: Bytes) -> Result<Json<RefundBody>, Told> {
    let told: NewRefundBody = read_json(&body)?;
    let asked = asked_refund(&gateway.book(), &told)?;
    let refund = refunding::take_for_later(&gateway, asked)?;
    Ok(Json(tell_refund(&refund)?))
}

/// A refund in the simulator's own words.
fn asked_refund(book: &Book, told: &NewRefundBody) -> Result<Asked, Refusal> {
    let order = match (&told.transaction_id, &told.out_trade_no) {
        (Some(id), None) => book.order_of(id).ok_or_else(|| Refusal::UnknownOrder(id.clone()))?,
        (None, Some(number)) => book.order(number)?,
        _ => return Err(Refusal::Invalid("either transaction_id or out_trade_no".to_owned())),
    };
    let number = order.request.order_number.clone();
    let first = order.paid.as_ref().ok_or_else(|| Refusal::NotPaid(number.clone()))?;
    let money = |fen| {
        amount(fen, told.amount.currency.as_deref())
            .map(MoneyBody::from)
            .map_err(Refusal::Invalid)
    };
    Ok(Asked {
        refund_number: told.out_refund_no.clone(),
        gateway_transaction: told.transaction_id.clone().unwrap_or(first.gateway_transaction.clone()),
        amount: money(told.amount.refund)?,
        total: money(told.amount.total)?,
        notify_url: told.notify_url.clone().unwrap_or(order.request.notify_url.clone()),
        order_number: number,
    })
}

fn tell_refund(refund: &Refund) -> Result<RefundBody, Refusal> {
    let (status, at) = refund_status(refund);
    let fen_of = |amount: Amount| fen(amount).map_err(Refusal::Invalid);
    let part = fen_of(refund.amount)?;
    let total = fen_of(refund.request.total.read().map_err(Refusal::Invalid)?)?;
    Ok(RefundBody {
        refund_id: refund.gateway_refund.clone(),
        out_refund_no: refund.request.refund_number.clone(),
        transaction_id: refund.request.gateway_transaction.clone(),
        out_trade_no: refund.request.order_number.clone(),
        channel: "ORIGINAL".to_owned(),
        user_received_account: "支付用户零钱".to_owned(),
        success_time: at.map(seconds),
        create_time: Some(seconds(refund.requested_at)),
        status,
        amount: RefundAmount {
            refund: part,
            total,
            currency: Some(refund.amount.currency().code().to_owned()),
            payer_total: Some(total),
            payer_refund: Some(part),
        },
    })
}

async fn query_refund(State(gateway): Shared, Path(number): Path<String>) -> Result<Json<RefundBody>, Told> {
    let refund = gateway.book().refund(&number)?.clone();
    Ok(Json(tell_refund(&refund)?))
}

/// The money goes where the merchant says, which takes it at once; that is told like any other outcome.
async fn redirect_refund(
    State(gateway): Shared,
    Path(id): Path<String>,
    body: Bytes,
) -> Result<Json<RefundBody>, Told> {
    let told: AbnormalRefundBody = read_json(&body)?;
    let refund = gateway.book().refund(&told.out_refund_no)?.clone();
    if refund.gateway_refund != id {
        return Err(Refusal::UnknownRefund(id).into());
    }
    if !refund.abnormal {
        return Err(Refusal::AlreadyAnswered(told.out_refund_no).into());
    }
    let refund = refunding::answer(&gateway, &told.out_refund_no, &RefundAnswer::default())?;
    Ok(Json(tell_refund(&refund)?))
}

#[derive(Deserialize)]
struct BillQuery {
    bill_date: String,
    bill_type: Option<String>,
    account_type: Option<String>,
    tar_type: Option<String>,
}

async fn trade_bill(State(gateway): Shared, Query(query): Query<BillQuery>) -> Result<Response, Told> {
    if query.bill_type.as_deref().is_some_and(|kind| kind != "ALL") {
        return Err(Refusal::Invalid("the simulator has bills of type ALL only".to_owned()).into());
    }
    offer(&gateway, "trade", &query)
}

async fn fund_bill(State(gateway): Shared, Query(query): Query<BillQuery>) -> Result<Response, Told> {
    if query.account_type.as_deref().is_some_and(|kind| kind != "BASIC") {
        return Err(Refusal::Invalid("the simulator has the account BASIC only".to_owned()).into());
    }
    offer(&gateway, "funds", &query)
}

/// Where a bill can be downloaded, and its hash.
fn offer(gateway: &Gateway, kind: &str, query: &BillQuery) -> Result<Response, Told> {
    let now = gateway.clock.now();
    if parse_date(&query.bill_date)? >= now.to_offset(BEIJING).date() {
        return Ok(refused(400, "BILL_CREATING", "账单生成中"));
    }
    let Some(bill) = write(gateway, kind, &query.bill_date)? else {
        return Ok(refused(400, "NO_BILL_EXIST", "账单文件不存在"));
    };
    let tar = match query.tar_type.as_deref() {
        None => "plain",
        Some("GZIP") => "gzip",
        Some(_) => return Err(Refusal::Invalid("tar_type is GZIP or left out".to_owned()).into()),
    };
    let until = (now + DOWNLOAD_TTL).unix_timestamp();
    let token = format!("{kind}.{}.{tar}.{until}", query.bill_date);
    let answer = BillBody {
        hash_type: "SHA1".to_owned(),
        hash_value: hex::encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, &bill).as_ref()),
        download_url: format!("{}/v3/billdownload/file?token={token}", gateway.base_url),
    };
    Ok(Json(answer).into_response())
}

fn parse_date(text: &str) -> Result<Date, Refusal> {
    Date::parse(text, format_description!("[year]-[month]-[day]"))
        .map_err(|_| Refusal::Invalid(format!("{text:?} is not a date")))
}

/// A bill of a date; `None` if nothing happened.
fn write(gateway: &Gateway, kind: &str, date: &str) -> Result<Option<Vec<u8>>, Refusal> {
    let is_ours = |face: &Face| matches!(face, Face::WechatPay(_));
    let book = gateway.book();
    let rows = book.bill(parse_date(date)?, BEIJING, is_ours)?;
    if rows.is_empty() {
        return Ok(None);
    }
    let bill = match kind {
        "trade" => bill::trades(&rows, &book),
        "funds" => bill::funds(&rows),
        _ => Err(Refusal::Invalid("no such bill".to_owned())),
    };
    bill.map(Some)
}

#[derive(Deserialize)]
struct Download {
    token: String,
}

async fn download(State(gateway): Shared, Query(query): Query<Download>) -> Result<Response, Told> {
    let invalid = || Refusal::Invalid("the download URL is none, or too old".to_owned());
    let parts: Vec<&str> = query.token.split('.').collect();
    let [kind, date, tar, until] = parts.as_slice() else {
        return Err(invalid().into());
    };
    if until
        .parse()
        .map_or(true, |until: i64| gateway.clock.now().unix_timestamp() > until)
    {
        return Err(invalid().into());
    }
    let bill = write(&gateway, kind, date)?.ok_or_else(invalid)?;
    if *tar != "gzip" {
        return Ok(bill.into_response());
    }
    let mut packed = GzEncoder::new(Vec::new(), Compression::default());
    let packed = packed.write_all(&bill).and_then(|()| packed.finish());
    Ok(packed
        .map_err(|error| Refusal::Invalid(error.to_string()))?
        .into_response())
}
