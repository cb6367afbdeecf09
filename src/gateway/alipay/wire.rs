//! The methods of Alipay's gateway that we call, their bodies, and how they write times, amounts and numbers; the simulator shares
//! them.
//!
//! | method | `biz_content` | answer |
//! |---|---|---|
//! | [`PRECREATE`] | [`PrecreateBody`] | [`PrecreateAnswer`] |
//! | [`QUERY`], [`CLOSE`] | [`OrderBody`] | [`QueryAnswer`], [`CloseAnswer`] |
//! | [`REFUND`] | [`RefundBody`] | [`RefundAnswer`] |
//! | [`REFUND_QUERY`] | [`RefundQueryBody`] | [`RefundQueryAnswer`] |
//! | [`BILL`] | [`BillBody`] | [`BillAnswer`] |

use serde::{Deserialize, Serialize};
use time::{
    OffsetDateTime, PrimitiveDateTime, UtcOffset,
    format_description::BorrowedFormatItem,
    macros::{format_description, offset},
};

use crate::money::{Amount, Currency, MoneyError};

/// Opens an order and gives the text of its QR code.
pub const PRECREATE: &str = "alipay.trade.precreate";
/// Tells a trade.
pub const QUERY: &str = "alipay.trade.query";
/// Closes an unpaid trade.
pub const CLOSE: &str = "alipay.trade.close";
/// Pays back.
pub const REFUND: &str = "alipay.trade.refund";
/// Tells a refund.
pub const REFUND_QUERY: &str = "alipay.trade.fastpay.refund.query";
/// Tells where a day's bill can be fetched.
pub const BILL: &str = "alipay.data.dataservice.bill.downloadurl.query";

/// The code of an answer that tells success.
pub const SUCCESS: &str = "10000";
/// The code of a refusal whose reason is `sub_code`.
pub const BUSINESS_FAILED: &str = "40004";
/// There is no such trade; also for an order whose code nobody has scanned yet.
pub const TRADE_NOT_EXIST: &str = "ACQ.TRADE_NOT_EXIST";
/// The trade is paid or closed already.
pub const TRADE_STATUS_ERROR: &str = "ACQ.TRADE_STATUS_ERROR";

/// `trade_status`: not paid yet.
pub const WAIT_BUYER_PAY: &str = "WAIT_BUYER_PAY";
/// `trade_status`: timed out or closed unpaid, or paid back in full.
pub const TRADE_CLOSED: &str = "TRADE_CLOSED";
/// `trade_status`: paid.
pub const TRADE_SUCCESS: &str = "TRADE_SUCCESS";
/// `trade_status`: paid, and no longer to be paid back.
pub const TRADE_FINISHED: &str = "TRADE_FINISHED";
/// `refund_status`: done.
pub const REFUND_SUCCESS: &str = "REFUND_SUCCESS";
/// What has to be asked for to be told when a refund was done.
pub const GMT_REFUND_PAY: &str = "gmt_refund_pay";
/// `notify_type` of notices of trades.
pub const TRADE_STATUS_SYNC: &str = "trade_status_sync";

/// Alipay's clocks and days.
pub const BEIJING: UtcOffset = offset!(+8);

const TIME: &[BorrowedFormatItem<'static>] = format_description!("[year]-[month]-[day] [hour]:[minute]:[second]");

/// The most characters of a number of Alipay's own.
const NUMBER_LEN_MAX: usize = 64;

/// Writes a time as Beijing's clocks show it, in whole seconds.
pub fn write_time(at: OffsetDateTime) -> String {
    let at = at.to_offset(BEIJING);
    at.format(TIME).unwrap_or_else(|_| at.to_string())
}

/// Reads a time of Beijing; a fraction of a second is passed over.
///
/// # Errors
/// What is wrong, for people.
pub fn read_time(text: &str) -> Result<OffsetDateTime, String> {
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let is_fraction = fraction.len() <= 9 && fraction.bytes().all(|byte| byte.is_ascii_digit());
    PrimitiveDateTime::parse(seconds, TIME)
        .ok()
        .filter(|_| is_fraction)
        .map(|at| at.assume_offset(BEIJING))
        .ok_or_else(|| format!("{text:?} is not a time like 2026-01-31 08:00:00"))
}

/// The only currency of Alipay's accounts in China.
///
/// # Errors
/// None as long as ISO 4217 has it.
pub fn yuan() -> Result<Currency, MoneyError> {
    Currency::parse("CNY")
}

/// Reads an amount in yuan, above zero.
///
/// # Errors
/// What is wrong, for people.
pub fn read_amount(text: &str) -> Result<Amount, String> {
    let amount = yuan().and_then(|currency| Amount::parse_positive(text, currency));
    amount.map_err(|error| format!("{text:?}: {error}"))
}

/// Our order number as Alipay takes it: letters, digits and `_` only. Ours have one `-` and never a `_`.
pub fn to_trade_number(order_number: &str) -> String {
    order_number.replacen('-', "_", 1)
}

/// The order number that was made into this.
pub fn of_trade_number(out_trade_no: &str) -> String {
    out_trade_no.replacen('_', "-", 1)
}

/// Alipay has no number of its own for a refund: it is known by the trade's and ours.
pub fn gateway_refund(trade_no: &str, out_request_no: &str) -> String {
    format!("{trade_no}-{out_request_no}")
}

/// Checks a number of Alipay's own: it identifies money, so it must be there and be one that can be kept as it is.
///
/// # Errors
/// What is wrong, for people.
pub fn check_number(text: &str) -> Result<(), String> {
    if (1..=NUMBER_LEN_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(());
    }
    Err(format!("a number has 1 to {NUMBER_LEN_MAX} visible ASCII characters"))
}

/// Whether it was done, and why not. Every answer has these beside its own members.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Verdict {
    pub code: String,
    pub msg: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub sub_code: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub sub_msg: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrecreateBody {
    pub out_trade_no: String,
    pub total_amount: String,
    pub subject: String,
    /// After it nobody can pay any more.
    #[serde(default)]
    pub time_expire: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrecreateAnswer {
    pub out_trade_no: String,
    pub qr_code: String,
}

/// Names a trade by either number.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct OrderBody {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub out_trade_no: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub trade_no: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueryAnswer {
    pub trade_no: String,
    pub out_trade_no: String,
    pub trade_status: String,
    pub total_amount: String,
    /// Present when it was paid, also of what was paid back since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub send_pay_date: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CloseAnswer {
    pub out_trade_no: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefundBody {
    #[serde(default)]
    pub out_trade_no: String,
    #[serde(default)]
    pub trade_no: String,
    pub refund_amount: String,
    pub out_request_no: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefundAnswer {
    pub trade_no: String,
    pub out_trade_no: String,
    /// `Y` when this call moved money; `N` when it repeats one that did, or when the money is still on its way.
    #[serde(default)]
    pub fund_change: String,
    /// Everything paid back of the trade so far.
    #[serde(default)]
    pub refund_fee: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefundQueryBody {
    #[serde(default)]
    pub out_trade_no: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub trade_no: String,
    pub out_request_no: String,
    #[serde(default)]
    pub query_options: Vec<String>,
}

/// An answer that tells success and has no members: there was no such refund, or it did not work.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RefundQueryAnswer {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub trade_no: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub out_trade_no: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub out_request_no: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub total_amount: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub refund_amount: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub refund_status: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gmt_refund_pay: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BillBody {
    /// `trade`: payments and refunds.
    pub bill_type: String,
    /// `YYYY-MM-DD` in Beijing.
    pub bill_date: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BillAnswer {
    pub bill_download_url: String,
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn times_are_beijings() {
        let at = datetime!(2025-12-31 16:00:01.5 UTC);
        assert_eq!(write_time(at), "2026-01-01 00:00:01");
        assert_eq!(read_time("2026-01-01 00:00:01"), Ok(datetime!(2025-12-31 16:00:01 UTC)));
        assert_eq!(read_time("2026-01-01 00:00:01.123"), read_time("2026-01-01 00:00:01"));
        for bad in [
            "",
            "2026-01-01",
            "2026-02-30 00:00:00",
            "2026-01-01T00:00:00",
            "2026-01-01 00:00:01.x",
        ] {
            assert!(read_time(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn amounts_and_numbers_are_exact() {
        assert_eq!(read_amount("0.1").unwrap().to_string(), "0.10");
        assert_eq!(read_amount("12345678.90").unwrap().to_string(), "12345678.90");
        for bad in ["", "0", "0.00", "-1", "1.001", "1e2", " 1", "1,000.00", "１"] {
            assert!(read_amount(bad).is_err(), "{bad}");
        }
        assert_eq!(of_trade_number(&to_trade_number("12-R1")), "12-R1");
        assert!(
            to_trade_number("12-R1")
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'_')
        );
        for bad in ["", "a b", "中", &"1".repeat(65)] {
            assert!(check_number(bad).is_err(), "{bad}");
        }
    }
}
