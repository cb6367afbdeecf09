//! WeChat Pay, API v3, for a direct merchant: Native orders (a QR code) and JSAPI orders (inside WeChat).
//!
//! # Layout
//! - `keys`: the keys of both sides. `signature`: what is signed with them, and how.
//! - `platform`: the platform's keys, which it replaces now and then.
//! - `wire`: the bodies, which the simulator shares.
//! - `client`: signed calls with limits, whose answers' signatures are checked.
//! - `notification`: verification, decryption and reading of notifications.
//! - `bill`: trade bills and fund flow bills.

pub mod bill;
mod client;
pub mod keys;
mod notification;
mod platform;
pub mod signature;
pub mod wire;

use std::{collections::BTreeMap, io::Read as _, sync::Arc};

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use futures::future::BoxFuture;
use http::HeaderMap;
use secrecy::SecretString;
use time::{Date, OffsetDateTime};

use self::{
    bill::BEIJING,
    client::Client,
    keys::{ApiV3Key, KeyError, SigningKey, VerifyingKeys},
    platform::Platform,
    wire::{
        AbnormalRefundBody, BillBody, CNY, CloseBody, JsapiBody, NativeBody, NewOrderBody, NewRefundBody, OrderAmount,
        PayerBody, RefundAmount, RefundBody, RefundStatus, RefusalBody, TradeState, TransactionBody,
    },
};
use super::{
    bill::{BillError, BillRow},
    channel::{
        Channel, NewPayment, NewRefund, Notification, NotificationAnswer, NotificationVerdict, Payment, PaymentMethod,
        PaymentState, RefundLimits, RefundRedirect, RefundState,
    },
    error::{GatewayError, NotificationError},
    http::{BILL_BYTES_MAX, malformed},
};
use crate::clock::Clock;

/// Where the API lives.
pub const BASE_URL: &str = "https://api.mch.weixin.qq.com";
/// The longest description of an order, in bytes.
const DESCRIPTION_BYTES_MAX: usize = 127;

/// The channel's settings.
#[derive(Debug, Clone)]
pub struct WechatPayConfig {
    /// The channel's name.
    pub id: String,
    /// Where the API lives, usually [`BASE_URL`].
    pub base_url: String,
    /// The merchant's number.
    pub mchid: String,
    /// The official account's or mini program's id.
    pub appid: String,
    /// The serial number of the merchant's certificate.
    pub serial_no: String,
    /// The merchant's private key, PEM.
    pub private_key: SecretString,
    /// The key that notifications are encrypted with, 32 bytes.
    pub api_v3_key: SecretString,
    /// Certificates of the platform, PEM.
    pub platform_certificates: Vec<String>,
    /// Public keys of the platform, PEM, by their ids.
    pub platform_public_keys: BTreeMap<String, String>,
    /// Whether the platform's certificates are fetched, and again when they are replaced.
    pub fetch_certificates: bool,
}

/// What is wrong with the settings; `key` is as the configuration names it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {problem}")]
pub struct SettingError {
    /// The key.
    pub key: &'static str,
    /// What is wrong with it.
    pub problem: String,
}

/// Who we are to WeChat Pay, and the keys of both sides.
struct Merchant {
    mchid: String,
    appid: String,
    serial_no: String,
    key: SigningKey,
    api_v3_key: ApiV3Key,
    platform: Platform,
}

impl Merchant {
    fn try_new(config: &WechatPayConfig) -> Result<Merchant, SettingError> {
        let wrong = |key: &'static str| {
            move |error: KeyError| SettingError {
                key,
                problem: error.to_string(),
            }
        };
        for (key, value) in [
            ("mchid", &config.mchid),
            ("appid", &config.appid),
            ("serial_no", &config.serial_no),
        ] {
            let is_word = (1..=64).contains(&value.len()) && value.bytes().all(|byte| byte.is_ascii_alphanumeric());
            if !is_word {
                let problem = format!("{value:?} is not 1 to 64 letters and digits");
                return Err(SettingError { key, problem });
            }
        }
        let mut platform = VerifyingKeys::default();
        for text in &config.platform_certificates {
            platform
                .add_certificate(text)
                .map_err(wrong("platform_certificate_files"))?;
        }
        for (id, text) in &config.platform_public_keys {
            platform
                .add_public_key(id, text)
                .map_err(wrong("platform_public_key_files"))?;
        }
        if platform.is_empty() && !config.fetch_certificates {
            return Err(SettingError {
                key: "platform_public_key_files",
                problem:
                    "without one, without platform_certificate_files and without fetch_certificates, no answer can be \
                          believed"
                        .to_owned(),
            });
        }
        Ok(Merchant {
            mchid: config.mchid.clone(),
            appid: config.appid.clone(),
            serial_no: config.serial_no.clone(),
            key: SigningKey::from_pem(&config.private_key).map_err(wrong("private_key"))?,
            api_v3_key: ApiV3Key::of(&config.api_v3_key).map_err(wrong("api_v3_key"))?,
            platform: Platform::new(platform, config.fetch_certificates),
        })
    }

    fn is(&self, mchid: &str, appid: Option<&str>) -> bool {
        mchid == self.mchid && appid.is_none_or(|appid| appid == self.appid)
    }
}

/// The channel.
pub struct WechatPayChannel {
    id: String,
    merchant: Arc<Merchant>,
    client: Client,
    clock: Clock,
}

impl WechatPayChannel {
    /// Makes the channel without calling anybody.
    ///
    /// # Errors
    /// [`SettingError`] for keys of another kind or length, and for a base URL that is not http or https.
    pub fn try_new(config: &WechatPayConfig, clock: Clock) -> Result<WechatPayChannel, SettingError> {
        let merchant = Arc::new(Merchant::try_new(config)?);
        let client = Client::new(&config.base_url, merchant.clone(), clock.clone()).map_err(|error| SettingError {
            key: "base_url",
            problem: error.to_string(),
        })?;
        Ok(WechatPayChannel {
            id: config.id.clone(),
            merchant,
            client,
            clock,
        })
    }

    fn new_order(&self, payment: &NewPayment) -> Result<NewOrderBody, GatewayError> {
        let mut description = payment.description.clone();
        while description.len() > DESCRIPTION_BYTES_MAX {
            description.pop();
        }
        // Whole seconds: the gateway compares what is asked again with what was asked before.
        let expires_at = payment.expires_at.to_offset(BEIJING);
        let expires_at = expires_at.replace_nanosecond(0).unwrap_or(expires_at);
        Ok(NewOrderBody {
            appid: self.merchant.appid.clone(),
            mchid: self.merchant.mchid.clone(),
            description,
            out_trade_no: payment.order_number.clone(),
            time_expire: Some(expires_at),
            attach: None,
            notify_url: payment.notify_url.clone(),
            amount: OrderAmount {
                total: wire::fen(payment.amount).map_err(not_ours)?,
                currency: Some(CNY.to_owned()),
                payer_total: None,
                payer_currency: None,
            },
            payer: payment.method.in_app_payer().map(|openid| PayerBody {
                openid: openid.to_owned(),
            }),
        })
    }

    /// What a page hands to `chooseWXPay`: the prepay id, signed.
    fn prepay(&self, prepay_id: &str) -> Result<BTreeMap<String, String>, GatewayError> {
        let merchant = &self.merchant;
        let (timestamp, nonce) = (self.clock.now().unix_timestamp().to_string(), signature::new_nonce());
        let package = format!("prepay_id={prepay_id}");
        let message = format!("{}\n{timestamp}\n{nonce}\n{package}\n", merchant.appid);
        let signed = merchant.key.sign(message.as_bytes());
        let signed = signed.map_err(|_| malformed("the prepay parameters cannot be signed"))?;
        let parameters = [
            ("appId", merchant.appid.clone()),
            ("timeStamp", timestamp),
            ("nonceStr", nonce),
            ("package", package),
            ("signType", "RSA".to_owned()),
            ("paySign", signed),
        ];
        Ok(parameters.map(|(name, value)| (name.to_owned(), value)).into())
    }

    async fn order(&self, order_number: &str) -> Result<PaymentState, GatewayError> {
        let path = ["v3", "pay", "transactions", "out-trade-no", order_number];
        let answer = self.client.get(&path, &[("mchid", &self.merchant.mchid)]).await;
        let told: TransactionBody = match answer {
            Err(GatewayError::Refused { code, .. }) if wire::UNKNOWN_ORDER.contains(&code.as_str()) => {
                return Ok(PaymentState::Unknown);
            }
            answer => answer?,
        };
        same("order", &told.out_trade_no, order_number)?;
        if !self.merchant.is(&told.mchid, Some(&told.appid)) {
            return Err(malformed(format!(
                "the order is another merchant's: {} {}",
                told.mchid, told.appid
            )));
        }
        Ok(match told.trade_state {
            TradeState::Success | TradeState::Refund => {
                let paid = told.paid().map_err(malformed)?;
                PaymentState::Paid {
                    gateway_transaction: paid.gateway_transaction,
                    amount: paid.amount,
                    paid_at: paid.paid_at,
                }
            }
            TradeState::NotPay | TradeState::UserPaying | TradeState::PayError => PaymentState::Unpaid,
            TradeState::Closed | TradeState::Revoked => PaymentState::Closed,
        })
    }

    async fn close(&self, order_number: &str) -> Result<PaymentState, GatewayError> {
        let path = ["v3", "pay", "transactions", "out-trade-no", order_number, "close"];
        let body = CloseBody {
            mchid: self.merchant.mchid.clone(),
        };
        match self.client.post_for_nothing(&path, &body).await {
            Ok(_) => Ok(PaymentState::Closed),
            Err(GatewayError::Refused { code, .. }) if wire::UNKNOWN_ORDER.contains(&code.as_str()) => {
                Ok(PaymentState::Unknown)
            }
            // Paid, or closed before: the order says which.
            Err(GatewayError::Refused { code, message }) => match self.order(order_number).await? {
                PaymentState::Unpaid => Err(GatewayError::Refused { code, message }),
                state => Ok(state),
            },
            Err(error) => Err(error),
        }
    }

    /// Fetches a bill and compares its hash, which was signed; unpacked, as the hash is.
    async fn bill(&self, path: &[&str], query: &[(&str, &str)]) -> Result<Vec<u8>, GatewayError> {
        let told: BillBody = match self.client.get(path, query).await {
            // Nothing happened on that day. The gateway's words are kept as the bill.
            Err(GatewayError::Refused { code, message }) if wire::NO_BILL.contains(&code.as_str()) => {
                return serde_json::to_vec(&RefusalBody { code, message }).map_err(malformed);
            }
            answer => answer?,
        };
        if told.hash_type != "SHA1" {
            return Err(malformed(format!("the bill's hash is {:?}, not SHA1", told.hash_type)));
        }
        let bill = unpack(self.client.download(&told.download_url).await?)?;
        let hash = hex::encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, &bill).as_ref());
        if !hash.eq_ignore_ascii_case(&told.hash_value) {
            return Err(malformed("the bill is not what its hash says"));
        }
        Ok(bill)
    }

    /// Fetches the bill of what moved in the merchant's account on one day, for [`bill::parse_fund_flow`].
    ///
    /// # Errors
    /// [`GatewayError`].
    pub async fn fetch_fund_flow(&self, date: Date) -> Result<Vec<u8>, GatewayError> {
        let query = [
            ("bill_date", &*date.to_string()),
            ("account_type", "BASIC"),
            ("tar_type", "GZIP"),
        ];
        self.bill(&["v3", "bill", "fundflowbill"], &query).await
    }
}

impl Channel for WechatPayChannel {
    fn id(&self) -> &str {
        &self.id
    }

    fn offers(&self, method: &PaymentMethod) -> bool {
        match method {
            PaymentMethod::Link | PaymentMethod::InApp { .. } => true,
        }
    }

    fn create_payment<'a>(&'a self, payment: &'a NewPayment) -> BoxFuture<'a, Result<Payment, GatewayError>> {
        Box::pin(async move {
            let order = self.new_order(payment)?;
            let path = ["v3", "pay", "transactions"];
            match payment.method {
                PaymentMethod::Link => {
                    let answer: NativeBody = self.client.post(&[&path[..], &["native"]].concat(), &order).await?;
                    Ok(Payment::link(answer.code_url))
                }
                PaymentMethod::InApp { .. } => {
                    let answer: JsapiBody = self.client.post(&[&path[..], &["jsapi"]].concat(), &order).await?;
                    Ok(Payment {
                        payment_url: String::new(),
                        prepay: self.prepay(&answer.prepay_id)?,
                    })
                }
            }
        })
    }

    fn query_payment<'a>(&'a self, order_number: &'a str) -> BoxFuture<'a, Result<PaymentState, GatewayError>> {
        Box::pin(self.order(order_number))
    }

    fn close_payment<'a>(&'a self, order_number: &'a str) -> BoxFuture<'a, Result<PaymentState, GatewayError>> {
        Box::pin(self.close(order_number))
    }

    fn create_refund<'a>(&'a self, refund: &'a NewRefund) -> BoxFuture<'a, Result<RefundState, GatewayError>> {
        Box::pin(async move {
            let amount = RefundAmount {
                refund: wire::fen(refund.amount).map_err(not_ours)?,
                total: wire::fen(refund.total).map_err(not_ours)?,
                currency: Some(CNY.to_owned()),
                payer_total: None,
                payer_refund: None,
            };
            let body = NewRefundBody {
                transaction_id: Some(refund.gateway_transaction.clone()),
                out_trade_no: None,
                out_refund_no: refund.refund_number.clone(),
                reason: None,
                notify_url: Some(refund.notify_url.clone()),
                amount,
            };
            let told: RefundBody = self
                .client
                .post(&["v3", "refund", "domestic", "refunds"], &body)
                .await?;
            same("order", &told.out_trade_no, &refund.order_number)?;
            if told.amount.refund != body.amount.refund || told.transaction_id != refund.gateway_transaction {
                return Err(malformed("the answer is about another sum or payment than the refund"));
            }
            refund_state(told, &refund.refund_number)
        })
    }

    fn query_refund<'a>(
        &'a self,
        _order_number: &'a str,
        refund_number: &'a str,
    ) -> BoxFuture<'a, Result<RefundState, GatewayError>> {
        Box::pin(async move {
            let path = ["v3", "refund", "domestic", "refunds", refund_number];
            match self.client.get(&path, &[]).await {
                Ok(told) => refund_state(told, refund_number),
                Err(GatewayError::Refused { code, .. }) if code == wire::UNKNOWN_REFUND => Ok(RefundState::Unknown),
                Err(error) => Err(error),
            }
        })
    }

    /// To the merchant's own bank account, from where it can be paid to the payer.
    fn redirect_refund<'a>(&'a self, redirect: &'a RefundRedirect) -> BoxFuture<'a, Result<RefundState, GatewayError>> {
        Box::pin(async move {
            let id = redirect.gateway_refund.as_str();
            let path = ["v3", "refund", "domestic", "refunds", id, "apply-abnormal-refund"];
            let body = AbnormalRefundBody {
                out_refund_no: redirect.refund_number.clone(),
                kind: wire::MERCHANT_BANK_CARD.to_owned(),
            };
            refund_state(self.client.post(&path, &body).await?, &redirect.refund_number)
        })
    }

    /// Source: 365 days after the payment and at most 50 refunds of one order.
    fn refund_limits(&self) -> RefundLimits {
        RefundLimits {
            days: Some(365),
            parts: Some(50),
        }
    }

    fn fetch_bill(&self, date: Date) -> BoxFuture<'_, Result<Vec<u8>, GatewayError>> {
        Box::pin(async move {
            let query = [
                ("bill_date", &*date.to_string()),
                ("bill_type", "ALL"),
                ("tar_type", "GZIP"),
            ];
            self.bill(&["v3", "bill", "tradebill"], &query).await
        })
    }

    fn parse_bill(&self, bill: &[u8]) -> Result<Vec<BillRow>, BillError> {
        bill::parse(bill, &self.merchant.mchid)
    }

    fn refresh_keys<'a>(&'a self, missing: Option<&'a str>) -> BoxFuture<'a, Result<bool, GatewayError>> {
        Box::pin(self.client.refresh_keys(missing))
    }

    fn parse_notification(
        &self,
        headers: &HeaderMap,
        body: &[u8],
        now: OffsetDateTime,
    ) -> Result<Notification, NotificationError> {
        notification::parse(&self.merchant, headers, body, now)
    }

    fn notification_answer(&self, verdict: NotificationVerdict) -> NotificationAnswer {
        const FAIL: &str = r#"{"code":"FAIL","message":"失败"}"#;
        let (code, body) = match verdict {
            NotificationVerdict::Accepted => (200, r#"{"code":"SUCCESS","message":"成功"}"#),
            NotificationVerdict::Rejected => (401, FAIL),
            NotificationVerdict::TryLater => (503, FAIL),
        };
        NotificationAnswer {
            code,
            content_type: "application/json",
            body,
        }
    }
}

/// What cannot even be asked for, told as the gateway's refusal would be.
fn not_ours(message: String) -> GatewayError {
    GatewayError::Refused {
        code: "PARAM_ERROR".to_owned(),
        message,
    }
}

/// An answer about something else than what was asked for is no answer.
fn same(what: &str, answered: &str, asked: &str) -> Result<(), GatewayError> {
    if answered == asked {
        return Ok(());
    }
    Err(malformed(format!("asked for {what} {asked:?}, answered {answered:?}")))
}

fn refund_state(told: RefundBody, refund_number: &str) -> Result<RefundState, GatewayError> {
    same("refund", &told.out_refund_no, refund_number)?;
    Ok(match told.status {
        RefundStatus::Processing => RefundState::Processing,
        RefundStatus::Success => RefundState::Succeeded {
            gateway_refund: told.refund_id,
            at: told.success_time.ok_or_else(|| malformed("success_time is missing"))?,
        },
        RefundStatus::Closed => notification::closed(),
        RefundStatus::Abnormal => notification::abnormal(told.refund_id),
    })
}

/// Unpacks what is gzip, whatever it unpacks to within the limit.
fn unpack(bytes: Vec<u8>) -> Result<Vec<u8>, GatewayError> {
    if !bytes.starts_with(&[0x1f, 0x8b]) {
        return Ok(bytes);
    }
    let limit = u64::try_from(BILL_BYTES_MAX).unwrap_or(u64::MAX);
    let mut unpacked = Vec::new();
    flate2::read::MultiGzDecoder::new(bytes.as_slice())
        .take(limit + 1)
        .read_to_end(&mut unpacked)
        .map_err(|error| malformed(format!("the bill cannot be unpacked: {error}")))?;
    if unpacked.len() > BILL_BYTES_MAX {
        return Err(malformed(format!("the bill is longer than {BILL_BYTES_MAX} bytes")));
    }
    Ok(unpacked)
}
