//! `gateway.do`: one address for all methods. Parameters stand in the query, in the form, or in both.

use std::sync::Arc;

use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, Path, RawQuery, State},
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse as _, Response},
    routing::get,
};
use serde::{Serialize, de::DeserializeOwned};
use time::{Date, Duration, macros::format_description};
use uuid::Uuid;

use super::{Alipay, bill, keys::APP_ID};
use crate::gateway::{
    alipay::{
        form::{self, Params},
        signature::{self, APP_CERT_SN, ERROR_NODE, ROOT_CERT_SN},
        wire::{
            self, BUSINESS_FAILED, BillAnswer, BillBody, CloseAnswer, OrderBody, PrecreateAnswer, PrecreateBody,
            QueryAnswer, REFUND_SUCCESS, RefundAnswer, RefundBody, RefundQueryAnswer, RefundQueryBody, TRADE_NOT_EXIST,
            TRADE_STATUS_ERROR, Verdict,
        },
    },
    simulator::{
        Gateway,
        book::{Book, Face, Order, Paid, Refusal},
        locked, refunding,
    },
    webhook::wire::{MoneyBody, NewPaymentBody, NewRefundBody, OrderState, RefundOutcome},
};

/// Longest request body, in bytes.
const BODY_BYTES_MAX: usize = 64 * 1024;
/// How long a bill can be fetched.
const DOWNLOAD_TTL: Duration = Duration::seconds(30);

pub(in crate::gateway::simulator) fn router() -> Router<Arc<Gateway>> {
    Router::new()
        .route("/gateway.do", get(call).post(call))
        .route("/alipay/bills/{token}", get(download))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
}

/// Why a method is refused, in Alipay's words.
struct Failure {
    code: &'static str,
    sub_code: &'static str,
    reason: String,
}

impl Failure {
    fn business(sub_code: &'static str, reason: impl ToString) -> Failure {
        Failure {
            code: BUSINESS_FAILED,
            sub_code,
            reason: reason.to_string(),
        }
    }

    fn invalid(sub_code: &'static str, reason: impl ToString) -> Failure {
        Failure {
            code: "40002",
            sub_code,
            reason: reason.to_string(),
        }
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Failure {
        let sub_code = match &refusal {
            Refusal::UnknownOrder(_) | Refusal::UnknownRefund(_) => TRADE_NOT_EXIST,
            Refusal::NumberReused(_) => "ACQ.CONTEXT_INCONSISTENT",
            Refusal::AlreadyPaid(_) => "ACQ.TRADE_HAS_SUCCESS",
            Refusal::OrderClosed(_) | Refusal::OrderExpired { .. } => "ACQ.TRADE_HAS_CLOSE",
            Refusal::NotPaid(_) | Refusal::PaymentDiffers { .. } => TRADE_STATUS_ERROR,
            Refusal::RefundTooLarge { .. } => "ACQ.REFUND_AMT_NOT_EQUAL_TOTAL",
            Refusal::Full(_) => "ACQ.SYSTEM_ERROR",
            Refusal::Invalid(_) | Refusal::Unsigned(_) | Refusal::AlreadyAnswered(_) => "ACQ.INVALID_PARAMETER",
        };
        Failure::business(sub_code, refusal)
    }
}

/// The members of an answer beside its verdict.
type Told = Result<serde_json::Map<String, serde_json::Value>, Failure>;

fn told(answer: &impl Serialize) -> Told {
    match serde_json::to_value(answer) {
        Ok(serde_json::Value::Object(members)) => Ok(members),
        _ => Err(Failure::business("ACQ.SYSTEM_ERROR", "the answer cannot be written")),
    }
}

async fn call(State(gateway): State<Arc<Gateway>>, RawQuery(query): RawQuery, body: Bytes) -> Response {
    let Some(alipay) = gateway.alipay.clone() else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let text = match params(query.as_deref().unwrap_or_default(), &body) {
        Ok(params) => answer(&gateway, &alipay, &params),
        Err(reason) => unsigned(Failure::invalid("isv.invalid-parameter", reason)),
    };
    ([(CONTENT_TYPE, "text/html;charset=utf-8")], text).into_response()
}

fn params(query: &str, body: &[u8]) -> Result<Params, String> {
    let mut params = form::decode(query.as_bytes())?;
    params.extend(form::decode(body)?);
    Ok(params)
}

fn answer(gateway: &Arc<Gateway>, alipay: &Alipay, params: &Params) -> String {
    let text = |name: &str| params.get(name).map_or("", String::as_str);
    if text("app_id") != APP_ID {
        return unsigned(Failure::invalid("isv.invalid-app-id", "无效的AppID参数"));
    }
    let is_signed = text("sign_type") == signature::SIGN_TYPE && signature::verifies_request(&alipay.app_key, params);
    if !is_signed {
        return unsigned(Failure::invalid("isv.invalid-signature", "验签出错"));
    }
    let names = |name: &str, sn: &str| params.get(name).is_some_and(|named| named == sn);
    let with_certificates = params.contains_key(APP_CERT_SN) || params.contains_key(ROOT_CERT_SN);
    if with_certificates && !names(APP_CERT_SN, &alipay.sns.app) {
        return unsigned(Failure::invalid("isv.invalid-app-cert-sn", "应用公钥证书序列号有误"));
    }
    if with_certificates && !names(ROOT_CERT_SN, &alipay.sns.root) {
        return unsigned(Failure::invalid(
            "isv.invalid-alipay-root-cert-sn",
            "支付宝根证书序列号有误",
        ));
    }
    let cert_sn = with_certificates.then_some(alipay.sns.alipay.as_str());
    let (method, biz) = (text("method"), text("biz_content"));
    let told = match method {
        wire::PRECREATE => precreate(gateway, biz, text("notify_url")),
        wire::QUERY => query(gateway, biz),
        wire::CLOSE => close(gateway, biz),
        wire::REFUND => refund(gateway, biz),
        wire::REFUND_QUERY => refund_query(gateway, biz),
        wire::BILL => bill_url(gateway, alipay, biz),
        _ => Err(Failure::invalid("isv.invalid-method", "不存在的方法名")),
    };
    let node = node(told);
    signature::sign_answer(&alipay.key, cert_sn, method, &node).unwrap_or(node)
}

/// The answer's object: the verdict first, as Alipay writes it.
fn node(told: Told) -> String {
    let (verdict, members) = match told {
        Ok(members) => (success(), members),
        Err(failure) => (verdict(failure), serde_json::Map::new()),
    };
    let verdict = serde_json::to_string(&verdict).unwrap_or_default();
    if members.is_empty() {
        return verdict;
    }
    let members = serde_json::Value::Object(members).to_string();
    format!("{},{}", verdict.trim_end_matches('}'), members.trim_start_matches('{'))
}

fn success() -> Verdict {
    Verdict {
        code: wire::SUCCESS.to_owned(),
        msg: "Success".to_owned(),
        ..Verdict::default()
    }
}

fn verdict(failure: Failure) -> Verdict {
    let msg = match failure.code {
        BUSINESS_FAILED => "Business Failed",
        _ => "Invalid Arguments",
    };
    Verdict {
        code: failure.code.to_owned(),
        msg: msg.to_owned(),
        sub_code: failure.sub_code.to_owned(),
        sub_msg: failure.reason,
    }
}

/// What is told to somebody whose request is not his own: it has no signature.
fn unsigned(failure: Failure) -> String {
    format!(r#"{{"{ERROR_NODE}":{}}}"#, node(Err(failure)))
}

fn read<T: DeserializeOwned>(biz_content: &str) -> Result<T, Failure> {
    serde_json::from_str(biz_content).map_err(|error| Failure::business("ACQ.INVALID_PARAMETER", error))
}

fn parameter(reason: String) -> Failure {
    Failure::business("ACQ.INVALID_PARAMETER", reason)
}

fn precreate(gateway: &Gateway, biz: &str, notify_url: &str) -> Told {
    let body: PrecreateBody = read(biz)?;
    let letters_only = body
        .out_trade_no
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if !letters_only {
        return Err(parameter("out_trade_no has letters, digits and _ only".to_owned()));
    }
    let now = gateway.clock.now();
    let request = NewPaymentBody {
        order_number: body.out_trade_no.clone(),
        amount: MoneyBody::from(wire::read_amount(&body.total_amount).map_err(parameter)?),
        description: body.subject,
        // Two weeks, if nothing is said.
        expires_at: match body.time_expire.as_str() {
            "" => now + Duration::days(15),
            time => wire::read_time(time).map_err(parameter)?,
        },
        notify_url: notify_url.to_owned(),
    };
    let order = gateway.book().open(request, Face::Alipay, now)?;
    match (&order.paid, order.state(now)) {
        (Some(_), _) => return Err(Refusal::AlreadyPaid(body.out_trade_no).into()),
        (None, OrderState::Closed) => return Err(Refusal::OrderClosed(body.out_trade_no).into()),
        (None, _) => {}
    }
    told(&PrecreateAnswer {
        qr_code: format!("{}/pay/{}", gateway.base_url, body.out_trade_no),
        out_trade_no: body.out_trade_no,
    })
}

/// The trade that a request names: there is none before its code is scanned.
fn trade<'a>(book: &'a Book, out_trade_no: &str, trade_no: &str) -> Result<(&'a Order, Option<&'a Paid>), Failure> {
    let missing = || Failure::business(TRADE_NOT_EXIST, "交易不存在");
    let order = match trade_no {
        "" => book.order(out_trade_no).map_err(|_| missing())?,
        trade_no => book.order_of(trade_no).ok_or_else(missing)?,
    };
    if order.face != Face::Alipay || !order.scanned {
        return Err(missing());
    }
    let mut payments = order.payments();
    let is_it = |paid: &&Paid| trade_no.is_empty() || paid.gateway_transaction == trade_no;
    Ok((order, payments.find(is_it)))
}

fn query(gateway: &Gateway, biz: &str) -> Told {
    let body: OrderBody = read(biz)?;
    let book = gateway.book();
    let (order, paid) = trade(&book, &body.out_trade_no, &body.trade_no)?;
    let is_paid_back = |paid: &Paid| Ok::<_, Failure>(book.paid_back(paid)? == paid.amount);
    let trade_status = match (paid, order.state(gateway.clock.now())) {
        (Some(paid), _) if is_paid_back(paid)? => wire::TRADE_CLOSED,
        (Some(_), _) => wire::TRADE_SUCCESS,
        (None, OrderState::Closed) => wire::TRADE_CLOSED,
        (None, _) => wire::WAIT_BUYER_PAY,
    };
    told(&QueryAnswer {
        // A trade has its number when its code is scanned; here it gets one when it is paid.
        trade_no: paid.map_or_else(|| "0".repeat(28), |paid| paid.gateway_transaction.clone()),
        out_trade_no: order.request.order_number.clone(),
        trade_status: trade_status.to_owned(),
        total_amount: paid.map_or(order.amount, |paid| paid.amount).to_string(),
        send_pay_date: paid.map(|paid| wire::write_time(paid.paid_at)),
    })
}

fn close(gateway: &Gateway, biz: &str) -> Told {
    let body: OrderBody = read(biz)?;
    let mut book = gateway.book();
    let (order, paid) = trade(&book, &body.out_trade_no, &body.trade_no)?;
    let number = order.request.order_number.clone();
    if paid.is_some() || order.state(gateway.clock.now()) == OrderState::Closed {
        return Err(Failure::business(TRADE_STATUS_ERROR, "交易状态不合法"));
    }
    book.close(&number)?;
    told(&CloseAnswer { out_trade_no: number })
}

/// Pays back at once, or when its fate or a command says so. One that does not work is refused, and nothing else is told of it.
fn refund(gateway: &Arc<Gateway>, biz: &str) -> Told {
    let body: RefundBody = read(biz)?;
    let (asked, paid) = asked_refund(&gateway.book(), &body)?;
    let number = asked.order_number.clone();
    let (refund, fate) = refunding::take(gateway, asked)?;
    let mut outcome = refund.outcome;
    let mut moves_money = false;
    match fate {
        Some(fate) if fate.after.is_zero() => {
            outcome = refunding::answer(gateway, &body.out_request_no, &fate.answer)?.outcome;
            moves_money = matches!(outcome, RefundOutcome::Succeeded { .. });
        }
        Some(fate) => refunding::come(gateway, &body.out_request_no, fate),
        None => {}
    }
    if let RefundOutcome::Failed { reason } = outcome {
        return Err(Failure::business("ACQ.REFUND_CHARGE_ERROR", reason));
    }
    told(&RefundAnswer {
        trade_no: paid.gateway_transaction.clone(),
        out_trade_no: number,
        fund_change: if moves_money { "Y" } else { "N" }.to_owned(),
        refund_fee: gateway.book().paid_back(&paid)?.to_string(),
    })
}

/// A refund in the simulator's own words, and the payment that it is of.
fn asked_refund(book: &Book, body: &RefundBody) -> Result<(NewRefundBody, Paid), Failure> {
    let (order, paid) = trade(book, &body.out_trade_no, &body.trade_no)?;
    let number = order.request.order_number.clone();
    let paid = paid.cloned().ok_or_else(|| Refusal::NotPaid(number.clone()))?;
    let request = NewRefundBody {
        refund_number: body.out_request_no.clone(),
        order_number: number,
        gateway_transaction: paid.gateway_transaction.clone(),
        amount: MoneyBody::from(wire::read_amount(&body.refund_amount).map_err(parameter)?),
        total: MoneyBody::from(paid.amount),
        notify_url: order.request.notify_url.clone(),
    };
    Ok((request, paid))
}

fn refund_query(gateway: &Gateway, biz: &str) -> Told {
    let body: RefundQueryBody = read(biz)?;
    let book = gateway.book();
    let (order, _) = trade(&book, &body.out_trade_no, &body.trade_no)?;
    let refund = book.refund(&body.out_request_no).ok();
    let Some((refund, at)) = refund.and_then(|refund| match &refund.outcome {
        RefundOutcome::Succeeded { at, .. } if refund.request.order_number == order.request.order_number => {
            Some((refund, *at))
        }
        _ => None,
    }) else {
        return told(&RefundQueryAnswer::default());
    };
    let asks_when = body.query_options.iter().any(|option| option == wire::GMT_REFUND_PAY);
    told(&RefundQueryAnswer {
        trade_no: refund.request.gateway_transaction.clone(),
        out_trade_no: order.request.order_number.clone(),
        out_request_no: body.out_request_no,
        total_amount: refund.request.total.value.clone(),
        refund_amount: refund.amount.to_string(),
        refund_status: REFUND_SUCCESS.to_owned(),
        gmt_refund_pay: asks_when.then(|| wire::write_time(at)),
    })
}

fn bill_url(gateway: &Gateway, alipay: &Alipay, biz: &str) -> Told {
    let body: BillBody = read(biz)?;
    let date = Date::parse(&body.bill_date, format_description!("[year]-[month]-[day]"));
    let date = date.map_err(|_| parameter(format!("bill_date {:?}", body.bill_date)))?;
    if body.bill_type != "trade" {
        return Err(parameter(format!("bill_type {:?} is not played", body.bill_type)));
    }
    let (token, now) = (Uuid::new_v4().simple().to_string(), gateway.clock.now());
    let mut downloads = locked(&alipay.downloads);
    downloads.retain(|_, (_, until)| *until > now);
    downloads.insert(token.clone(), (date, now + DOWNLOAD_TTL));
    told(&BillAnswer {
        bill_download_url: format!("{}/alipay/bills/{token}", gateway.base_url),
    })
}

async fn download(State(gateway): State<Arc<Gateway>>, Path(token): Path<String>) -> Result<Response, Refusal> {
    let now = gateway.clock.now();
    let known = gateway
        .alipay
        .as_ref()
        .and_then(|alipay| locked(&alipay.downloads).get(&token).copied());
    let Some((date, _)) = known.filter(|(_, until)| *until > now) else {
        return Ok(StatusCode::FORBIDDEN.into_response());
    };
    let is_alipays = |face: &Face| *face == Face::Alipay;
    let rows = gateway.book().bill(date, gateway.bill_offset, is_alipays)?;
    let packed = bill::pack(date, &rows).map_err(Refusal::Invalid)?;
    Ok(([(CONTENT_TYPE, "application/zip")], packed).into_response())
}
