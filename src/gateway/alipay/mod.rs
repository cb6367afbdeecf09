//! Alipay (支付宝), through its gateway with RSA2 signatures: orders paid by QR code, refunds, daily bills, notifications.
//!
//! # Layout
//! - `key`, `signature`, `form`: RSA2, what it signs, and the form that carries it.
//! - `certificate`: the certificates of the certificate mode, and how they are named.
//! - `wire`: every method and body, which the simulator shares.
//! - `client`: signed calls with a time limit, answers believed only when signed.
//! - `notification`: verification and reading of notifications.
//! - `bill`: the day's bill, as Alipay packs it.
//!
//! # What is particular
//! - A trade comes into being when its code is scanned. Until then Alipay knows nothing of it, and it can still be paid.
//! - `TRADE_CLOSED` is a trade that nobody paid, or one that was paid back in full.
//! - A refund has no number of Alipay's own, and a notice of it tells the sum of all refunds of the trade.
//! - There is no window in time for notifications: whoever repeats one tells what is known already.

pub mod bill;
pub mod certificate;
mod client;
pub mod form;
pub mod key;
mod notification;
pub mod signature;
pub mod wire;

use futures::future::BoxFuture;
use http::HeaderMap;
use secrecy::SecretString;
use time::{Date, OffsetDateTime};

use self::{
    certificate::{Certificate, CertificateError, root_sn},
    client::Client,
    key::{KeyError, PrivateKey, PublicKey},
    wire::{
        BillAnswer, BillBody, CloseAnswer, OrderBody, PrecreateAnswer, PrecreateBody, QueryAnswer, RefundAnswer,
        RefundBody, RefundQueryAnswer, RefundQueryBody, TRADE_NOT_EXIST, TRADE_STATUS_ERROR,
    },
};
use super::{
    bill::{BillError, BillRow},
    channel::{
        Channel, NewPayment, NewRefund, Notification, NotificationAnswer, NotificationVerdict, Payment, PaymentMethod,
        PaymentState, RefundLimits, RefundState,
    },
    error::{GatewayError, NotificationError},
};
use crate::clock::Clock;

/// Alipay's gateway.
pub const GATEWAY_URL: &str = "https://openapi.alipay.com/gateway.do";
/// The most characters of what the payer reads.
const SUBJECT_LEN_MAX: usize = 128;

/// The channel's settings.
#[derive(Debug, Clone)]
pub struct AlipayConfig {
    /// The channel's name.
    pub id: String,
    /// The gateway, with its path; usually [`GATEWAY_URL`].
    pub gateway_url: String,
    /// The application's id.
    pub app_id: String,
    /// The merchant's id (PID, 2088…): to whom the money of a notification must have gone.
    pub seller_id: String,
    /// The application's private key; see [`PrivateKey::read`].
    pub private_key: SecretString,
    /// What says who Alipay is.
    pub mode: Mode,
}

/// How the two sides show each other their keys: as the application was set up in Alipay's console.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mode {
    /// 公钥模式: Alipay's public key for this application; see [`PublicKey::read`].
    PublicKey(String),
    /// 公钥证书模式.
    Certificates(CertificateTexts),
}

/// The three certificates of the certificate mode, PEM, as Alipay's console hands them out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateTexts {
    /// The application's (`appCertPublicKey_….crt`).
    pub app: String,
    /// Alipay's for this application (`alipayCertPublicKey_RSA2.crt`).
    pub alipay: String,
    /// Alipay's roots (`alipayRootCert.crt`).
    pub root: String,
}

/// By what Alipay is known.
struct AlipaySide {
    key: PublicKey,
    /// In the certificate mode.
    sns: Option<CertificateSns>,
}

/// The SNs of the three certificates.
struct CertificateSns {
    app: String,
    alipay: String,
    root: String,
}

impl AlipaySide {
    fn read(mode: &Mode, private_key: &PrivateKey) -> Result<AlipaySide, AlipayError> {
        let probe = private_key
            .sign(b"probe")
            .map_err(|_| AlipayError::PrivateKey(KeyError::NotRsa("it cannot sign".to_owned())))?;
        let is_own = |key: &PublicKey| key.verifies(b"probe", &probe);
        let texts = match mode {
            Mode::PublicKey(text) => {
                let key = PublicKey::read(text).map_err(AlipayError::AlipayPublicKey)?;
                if is_own(&key) {
                    return Err(AlipayError::OwnPublicKey);
                }
                return Ok(AlipaySide { key, sns: None });
            }
            Mode::Certificates(texts) => texts,
        };
        let wrong = |key: &'static str| move |error: CertificateError| AlipayError::Certificate { key, error };
        let (of_app, of_alipay) = (wrong("app_cert_file"), wrong("alipay_cert_file"));
        let app = Certificate::read(&texts.app).map_err(of_app)?;
        if !is_own(&app.key) {
            return Err(of_app(CertificateError::OtherKey));
        }
        let alipay = Certificate::read(&texts.alipay).map_err(of_alipay)?;
        if is_own(&alipay.key) {
            return Err(of_alipay(CertificateError::Own));
        }
        let sns = CertificateSns {
            app: app.sn,
            alipay: alipay.sn,
            root: root_sn(&texts.root).map_err(wrong("alipay_root_cert_file"))?,
        };
        Ok(AlipaySide {
            key: alipay.key,
            sns: Some(sns),
        })
    }
}

/// Why there is no channel.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AlipayError {
    /// The gateway's address.
    #[error("{0}")]
    Url(GatewayError),
    /// A number that consists of digits.
    #[error("{field} must be up to 32 digits")]
    NotANumber { field: &'static str },
    /// The application's private key.
    #[error("the application's private key: {0}")]
    PrivateKey(#[source] KeyError),
    /// Alipay's public key.
    #[error("Alipay's public key: {0}")]
    AlipayPublicKey(#[source] KeyError),
    /// Alipay's public key is our own: the two that the console shows were confused.
    #[error("Alipay's public key is the application's own; the console shows both, and 支付宝公钥 is meant")]
    OwnPublicKey,
    /// A certificate of the certificate mode; `key` is the setting.
    #[error("{error}")]
    Certificate {
        key: &'static str,
        #[source]
        error: CertificateError,
    },
}

impl AlipayError {
    /// The setting that is wrong, as the configuration calls it.
    pub fn key(&self) -> &'static str {
        match self {
            AlipayError::Url(_) => "base_url",
            AlipayError::NotANumber { field } => field,
            AlipayError::Certificate { key, .. } => key,
            AlipayError::PrivateKey(_) => "private_key",
            AlipayError::AlipayPublicKey(_) | AlipayError::OwnPublicKey => "alipay_public_key_file",
        }
    }
}

/// An account at Alipay.
pub struct AlipayChannel {
    id: String,
    seller_id: String,
    client: Client,
}

impl AlipayChannel {
    /// Makes the channel without calling anybody.
    ///
    /// # Errors
    /// [`AlipayError`] says which setting is wrong, and never repeats a key.
    pub fn try_new(config: AlipayConfig, clock: Clock) -> Result<AlipayChannel, AlipayError> {
        for (field, number) in [("app_id", &config.app_id), ("seller_id", &config.seller_id)] {
            let is_number = (1..=32).contains(&number.len()) && number.bytes().all(|byte| byte.is_ascii_digit());
            if !is_number {
                return Err(AlipayError::NotANumber { field });
            }
        }
        let private_key = PrivateKey::read(&config.private_key).map_err(AlipayError::PrivateKey)?;
        let alipay = AlipaySide::read(&config.mode, &private_key)?;
        Ok(AlipayChannel {
            client: Client::new(&config.gateway_url, config.app_id, private_key, alipay, clock)?,
            id: config.id,
            seller_id: config.seller_id,
        })
    }

    async fn query(&self, out_trade_no: &str) -> Result<QueryAnswer, GatewayError> {
        let body = OrderBody {
            out_trade_no: out_trade_no.to_owned(),
            trade_no: String::new(),
        };
        let answer: QueryAnswer = self.client.call(wire::QUERY, &body, None).await?;
        same(&answer.out_trade_no, out_trade_no)?;
        Ok(answer)
    }

    /// What a refund came to. Alipay tells nothing of one that it does not know, and of one that did not work.
    async fn refund_state(
        &self,
        out_trade_no: &str,
        trade_no: &str,
        refund_number: &str,
    ) -> Result<RefundState, GatewayError> {
        let body = RefundQueryBody {
            out_trade_no: out_trade_no.to_owned(),
            trade_no: trade_no.to_owned(),
            out_request_no: refund_number.to_owned(),
            query_options: vec![wire::GMT_REFUND_PAY.to_owned()],
        };
        let answer: RefundQueryAnswer = match self.client.call(wire::REFUND_QUERY, &body, None).await {
            Err(GatewayError::Refused { code, .. }) if code == TRADE_NOT_EXIST => return Ok(RefundState::Unknown),
            answer => answer?,
        };
        if answer.out_request_no.is_empty() || answer.refund_status.is_empty() {
            return Ok(RefundState::Unknown);
        }
        same(&answer.out_request_no, refund_number)?;
        same(&answer.out_trade_no, out_trade_no)?;
        if answer.refund_status != wire::REFUND_SUCCESS {
            return Ok(RefundState::Processing);
        }
        wire::check_number(&answer.trade_no).map_err(|reason| malformed("trade_no", reason))?;
        let at = match &answer.gmt_refund_pay {
            Some(at) => wire::read_time(at).map_err(|reason| malformed("gmt_refund_pay", reason))?,
            None => self.client.clock().now(),
        };
        let gateway_refund = wire::gateway_refund(&answer.trade_no, refund_number);
        Ok(RefundState::Succeeded { gateway_refund, at })
    }
}

impl Channel for AlipayChannel {
    fn id(&self) -> &str {
        &self.id
    }

    fn offers(&self, method: &PaymentMethod) -> bool {
        matches!(method, PaymentMethod::Link)
    }

    fn create_payment<'a>(&'a self, payment: &'a NewPayment) -> BoxFuture<'a, Result<Payment, GatewayError>> {
        Box::pin(async move {
            let body = PrecreateBody {
                out_trade_no: wire::to_trade_number(&payment.order_number),
                total_amount: payment.amount.to_string(),
                subject: subject(&payment.description),
                time_expire: wire::write_time(payment.expires_at),
            };
            if wire::yuan().ok() != Some(payment.amount.currency()) {
                return Err(GatewayError::Refused {
                    code: "CURRENCY".to_owned(),
                    message: format!("Alipay takes CNY, not {}", payment.amount.currency()),
                });
            }
            let notify_url = Some(payment.notify_url.as_str());
            let answer: PrecreateAnswer = self.client.call(wire::PRECREATE, &body, notify_url).await?;
            same(&answer.out_trade_no, &body.out_trade_no)?;
            Ok(Payment::link(answer.qr_code))
        })
    }

    /// A code that nobody has scanned is not known to Alipay and can still be paid: until it is closed, that is unpaid.
    fn query_payment<'a>(&'a self, order_number: &'a str) -> BoxFuture<'a, Result<PaymentState, GatewayError>> {
        Box::pin(async move {
            match self.query(&wire::to_trade_number(order_number)).await {
                Err(GatewayError::Refused { code, .. }) if code == TRADE_NOT_EXIST => Ok(PaymentState::Unpaid),
                answer => payment_state(answer?),
            }
        })
    }

    /// `Unknown` also for a code that nobody has scanned. It is closed after it has expired, or when we never got it.
    fn close_payment<'a>(&'a self, order_number: &'a str) -> BoxFuture<'a, Result<PaymentState, GatewayError>> {
        Box::pin(async move {
            let body = OrderBody {
                out_trade_no: wire::to_trade_number(order_number),
                trade_no: String::new(),
            };
            let answer: Result<CloseAnswer, _> = self.client.call(wire::CLOSE, &body, None).await;
            match answer {
                Ok(answer) => {
                    same(&answer.out_trade_no, &body.out_trade_no)?;
                    Ok(PaymentState::Closed)
                }
                Err(GatewayError::Refused { code, .. }) if code == TRADE_NOT_EXIST => Ok(PaymentState::Unknown),
                // The payer was faster, or it is closed already.
                Err(GatewayError::Refused { code, .. }) if code == TRADE_STATUS_ERROR => {
                    payment_state(self.query(&body.out_trade_no).await?)
                }
                Err(error) => Err(error),
            }
        })
    }

    /// What came of it is asked for at once: `fund_change` tells whether this very call moved money, and no more.
    fn create_refund<'a>(&'a self, refund: &'a NewRefund) -> BoxFuture<'a, Result<RefundState, GatewayError>> {
        Box::pin(async move {
            let body = RefundBody {
                out_trade_no: wire::to_trade_number(&refund.order_number),
                trade_no: refund.gateway_transaction.clone(),
                refund_amount: refund.amount.to_string(),
                out_request_no: refund.refund_number.clone(),
            };
            let answer: RefundAnswer = self.client.call(wire::REFUND, &body, None).await?;
            same(&answer.out_trade_no, &body.out_trade_no)?;
            same(&answer.trade_no, &body.trade_no)?;
            let state = self.refund_state(&body.out_trade_no, &body.trade_no, &body.out_request_no);
            Ok(match state.await {
                Ok(RefundState::Unknown) | Err(_) => RefundState::Processing,
                Ok(state) => state,
            })
        })
    }

    fn query_refund<'a>(
        &'a self,
        order_number: &'a str,
        refund_number: &'a str,
    ) -> BoxFuture<'a, Result<RefundState, GatewayError>> {
        Box::pin(async move {
            let out_trade_no = wire::to_trade_number(order_number);
            self.refund_state(&out_trade_no, "", refund_number).await
        })
    }

    /// Source: the usual contract, 12 months after the payment; in any number of parts.
    fn refund_limits(&self) -> RefundLimits {
        RefundLimits {
            days: Some(365),
            parts: None,
        }
    }

    fn fetch_bill(&self, date: Date) -> BoxFuture<'_, Result<Vec<u8>, GatewayError>> {
        Box::pin(async move {
            let body = BillBody {
                bill_type: "trade".to_owned(),
                bill_date: date.to_string(),
            };
            let answer: BillAnswer = self.client.call(wire::BILL, &body, None).await?;
            self.client.download(&answer.bill_download_url).await
        })
    }

    fn parse_bill(&self, bill: &[u8]) -> Result<Vec<BillRow>, BillError> {
        bill::parse(bill)
    }

    fn parse_notification(
        &self,
        _headers: &HeaderMap,
        body: &[u8],
        _now: OffsetDateTime,
    ) -> Result<Notification, NotificationError> {
        notification::parse(self.client.alipay(), self.client.app_id(), &self.seller_id, body)
    }

    /// Alipay takes the seven letters for a yes, whatever the code is, and anything else for a no.
    fn notification_answer(&self, verdict: NotificationVerdict) -> NotificationAnswer {
        let (code, body) = match verdict {
            NotificationVerdict::Accepted => (200, "success"),
            NotificationVerdict::Rejected => (400, "failure"),
            NotificationVerdict::TryLater => (503, "failure"),
        };
        NotificationAnswer {
            code,
            content_type: "text/plain; charset=utf-8",
            body,
        }
    }
}

/// What the payer reads, without the characters that Alipay does not take.
fn subject(description: &str) -> String {
    let is_taken = |character: &char| !character.is_control() && !matches!(character, '/' | '=' | '&');
    description.chars().filter(is_taken).take(SUBJECT_LEN_MAX).collect()
}

/// An answer about another order or refund than the one asked for is no answer.
fn same(answered: &str, asked: &str) -> Result<(), GatewayError> {
    if answered == asked {
        return Ok(());
    }
    Err(GatewayError::Malformed {
        reason: format!("asked for {asked:?}, answered {answered:?}"),
    })
}

fn malformed(member: &str, reason: String) -> GatewayError {
    GatewayError::Malformed {
        reason: format!("{member}: {reason}"),
    }
}

/// A closed trade with a time of payment was paid, and paid back since.
fn payment_state(answer: QueryAnswer) -> Result<PaymentState, GatewayError> {
    match (answer.trade_status.as_str(), &answer.send_pay_date) {
        (wire::WAIT_BUYER_PAY, _) => Ok(PaymentState::Unpaid),
        (wire::TRADE_CLOSED, None) => Ok(PaymentState::Closed),
        (wire::TRADE_SUCCESS | wire::TRADE_FINISHED | wire::TRADE_CLOSED, Some(paid_at)) => {
            wire::check_number(&answer.trade_no).map_err(|reason| malformed("trade_no", reason))?;
            Ok(PaymentState::Paid {
                amount: wire::read_amount(&answer.total_amount).map_err(|reason| malformed("total_amount", reason))?,
                paid_at: wire::read_time(paid_at).map_err(|reason| malformed("send_pay_date", reason))?,
                gateway_transaction: answer.trade_no,
            })
        }
        (status, paid_at) => Err(malformed(
            "trade_status",
            format!("{status:?} contradicts send_pay_date {paid_at:?}"),
        )),
    }
}
