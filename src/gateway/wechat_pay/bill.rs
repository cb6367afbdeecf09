//! WeChat Pay's bills: the trade bill (all, successful payments, or refunds) and the fund flow.
//!
//! UTF-8 with a byte order mark, one row a line. Header lines are plain; every value of any other line begins with one `` ` ``.
//! There are no quotes, and a value may hold commas, so a row is split at ``,` ``. The last two lines are a summary's header and
//! values. Columns are found by their names. One row that cannot be read, or a summary that does not agree with the rows, refuses
//! the bill: half of one shows breaks that are not there.

use std::collections::HashMap;

use rust_decimal::Decimal;
use time::{OffsetDateTime, PrimitiveDateTime, format_description::BorrowedFormatItem, macros::format_description};

use super::wire::{CNY, NO_BILL, RefusalBody};
use crate::{
    gateway::bill::{BillError, BillKind, BillRow},
    money::{Amount, Currency},
};

/// More rows than a merchant has in a day; a longer bill is refused.
const ROWS_MAX: usize = 1_000_000;
/// Beijing time, in which every bill is written.
pub const BEIJING: time::UtcOffset = time::macros::offset!(+8);
pub const TIME: &[BorrowedFormatItem<'_>] = format_description!("[year]-[month]-[day] [hour]:[minute]:[second]");

/// The columns of a bill of everything.
pub const ALL: &str = "交易时间,公众账号ID,商户号,特约商户号,设备号,微信订单号,商户订单号,用户标识,交易类型,交易状态,付款银行,货币种类,应结订单金额,\
    代金券金额,微信退款单号,商户退款单号,退款金额,充值券退款金额,退款类型,退款状态,商品名称,商户数据包,手续费,费率,订单金额,申请退款金额,费率备注";
/// The columns of its summary.
pub const ALL_SUMMARY: &str =
    "总交易单数,应结订单总金额,退款总金额,充值券退款总金额,手续费总金额,订单总金额,申请退款总金额";
/// The columns of a fund flow.
pub const FUND_FLOW: &str = "记账时间,微信支付业务单号,资金流水单号,业务名称,业务类型,收支类型,收支金额(元),账户结余(元),资金变更提交申请人,备注,业务凭证号";
/// The columns of its summary.
pub const FUND_FLOW_SUMMARY: &str = "资金流水总笔数,收入笔数,收入金额,支出笔数,支出金额";

/// Which way money went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// 收入
    In,
    /// 支出
    Out,
}

/// One row of a fund flow: money into or out of the merchant's account at the gateway.
#[derive(Debug, Clone, PartialEq)]
pub struct FundFlow {
    /// Its place in the bill; 1 is the first row after the header.
    pub row: usize,
    pub time: OffsetDateTime,
    /// 微信支付业务单号, the gateway's number of the payment or refund.
    pub gateway_id: String,
    /// 资金流水单号.
    pub number: String,
    /// 业务类型, for example 交易, 扣除交易手续费 or 退款.
    pub business: String,
    pub direction: Direction,
    /// Positive.
    pub amount: Amount,
    /// What was in the account right after.
    pub balance: Amount,
    /// 业务凭证号, our number of the payment or refund.
    pub reference: String,
}

/// Reads a trade bill of one merchant. What the gateway answers for a day on which nothing happened is a bill without rows.
pub(super) fn parse(bill: &[u8], mchid: &str) -> Result<Vec<BillRow>, BillError> {
    if serde_json::from_slice::<RefusalBody>(bill).is_ok_and(|told| NO_BILL.contains(&told.code.as_str())) {
        return Ok(Vec::new());
    }
    let table = Table::read(bill, &["微信订单号", "商户订单号", "交易状态"], ALL)?;
    let rows = (0..table.rows.len()).map(|index| table.trade(index, mchid));
    let rows: Vec<BillRow> = rows.collect::<Result<_, _>>()?;
    table.check_trades(&rows)?;
    Ok(rows)
}

/// Reads a fund flow bill.
///
/// # Errors
/// [`BillError`], with the row and column that is wrong.
pub fn parse_fund_flow(bill: &[u8]) -> Result<Vec<FundFlow>, BillError> {
    let table = Table::read(bill, &["资金流水单号", "收支金额(元)"], FUND_FLOW)?;
    let rows: Vec<FundFlow> = (0..table.rows.len())
        .map(|index| table.flow(index))
        .collect::<Result<_, _>>()?;
    for (direction, count, sum) in [
        (Direction::In, "收入笔数", "收入金额"),
        (Direction::Out, "支出笔数", "支出金额"),
    ] {
        let own = rows.iter().filter(|row| row.direction == direction);
        table.check_count(count, own.clone().count())?;
        table.check_sum(sum, own.map(|row| row.amount.value()))?;
    }
    table.check_count("资金流水总笔数", rows.len())?;
    Ok(rows)
}

/// A bill's lines as texts, with the columns by name.
struct Table<'a> {
    columns: HashMap<&'a str, usize>,
    rows: Vec<Vec<&'a str>>,
    summary: HashMap<&'a str, &'a str>,
}

impl<'a> Table<'a> {
    fn read(bill: &'a [u8], needed: &[&str], usual: &str) -> Result<Table<'a>, BillError> {
        let text = std::str::from_utf8(bill).map_err(|error| {
            let line = bill
                .get(..error.valid_up_to())
                .unwrap_or(bill)
                .iter()
                .filter(|byte| **byte == b'\n')
                .count();
            refuse(line, "row", "not UTF-8")
        })?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut lines = text.lines().filter(|line| !line.trim().is_empty());
        let header = lines.next().unwrap_or_default();
        let columns: HashMap<&str, usize> = header
            .split(',')
            .enumerate()
            .map(|(at, name)| (name.trim(), at))
            .collect();
        if needed.iter().any(|name| !columns.contains_key(name)) {
            return Err(BillError::Header {
                found: header.chars().take(500).collect(),
                expected: usual.to_owned(),
            });
        }
        let width = header.split(',').count();
        let (mut rows, mut summary) = (Vec::new(), None);
        for line in lines.by_ref() {
            let Some(values) = line.strip_prefix('`') else {
                summary = Some(line);
                break;
            };
            if rows.len() == ROWS_MAX {
                return Err(BillError::TooLong { rows_max: ROWS_MAX });
            }
            let values: Vec<&str> = values.split(",`").map(str::trim).collect();
            if values.len() != width {
                let reason = format!("{} columns instead of {width}", values.len());
                return Err(refuse(rows.len() + 1, "row", reason));
            }
            rows.push(values);
        }
        let end = rows.len() + 1;
        let names: Vec<&str> = summary
            .ok_or_else(|| refuse(end, "summary", "missing; the bill is cut off"))?
            .split(',')
            .map(str::trim)
            .collect();
        let values = lines.next().and_then(|line| line.strip_prefix('`')).unwrap_or_default();
        let values: Vec<&str> = values.split(",`").map(str::trim).collect();
        if values.len() != names.len() || lines.next().is_some() {
            return Err(refuse(
                end,
                "summary",
                "is not one line of names and one of as many values",
            ));
        }
        Ok(Table {
            columns,
            rows,
            summary: names.into_iter().zip(values).collect(),
        })
    }

    /// A value; empty if the bill has no such column.
    fn value(&self, row: usize, column: &str) -> &'a str {
        let at = self.columns.get(column);
        at.and_then(|at| self.rows.get(row)?.get(*at).copied())
            .unwrap_or_default()
    }

    /// A value that must be there; `0` stands for none.
    fn number(&self, row: usize, column: &'static str) -> Result<String, BillError> {
        match self.value(row, column) {
            "" | "0" => Err(refuse(row + 1, column, "missing")),
            text if text.len() > 128 || !text.bytes().all(|byte| byte.is_ascii_graphic()) => Err(refuse(
                row + 1,
                column,
                format!("{text:?} is no number of an order, payment or refund"),
            )),
            text => Ok(text.to_owned()),
        }
    }

    /// An amount in yuan with any decimals, of which none below a fen may be other than zero.
    fn amount(&self, row: usize, column: &'static str, currency: Currency) -> Result<Amount, BillError> {
        let text = self.value(row, column);
        let value = decimal(text).ok_or_else(|| refuse(row + 1, column, format!("{text:?} is not an amount")))?;
        Amount::from_decimal(value, currency).map_err(|error| refuse(row + 1, column, format!("{text:?}: {error}")))
    }

    fn time(&self, row: usize, column: &'static str) -> Result<OffsetDateTime, BillError> {
        let text = self.value(row, column);
        PrimitiveDateTime::parse(text, TIME)
            .map(|time| time.assume_offset(BEIJING))
            .map_err(|_| refuse(row + 1, column, format!("{text:?} is not YYYY-MM-DD hh:mm:ss")))
    }

    fn trade(&self, row: usize, mchid: &str) -> Result<BillRow, BillError> {
        let merchant = self.value(row, "商户号");
        if merchant != mchid {
            return Err(refuse(row + 1, "商户号", format!("{merchant:?} is another merchant")));
        }
        let kind = match self.value(row, "交易状态") {
            "SUCCESS" => BillKind::Payment,
            "REFUND" | "REVOKED" => BillKind::Refund,
            other => return Err(refuse(row + 1, "交易状态", format!("{other:?} is none"))),
        };
        let currency =
            Currency::parse(self.value(row, "货币种类")).map_err(|error| refuse(row + 1, "货币种类", error))?;
        let (gateway_id, amount) = match kind {
            BillKind::Payment => ("微信订单号", "订单金额"),
            BillKind::Refund => ("微信退款单号", "申请退款金额"),
        };
        let gross = self.amount(row, amount, currency)?;
        if !gross.is_positive() {
            return Err(refuse(row + 1, amount, "not above zero"));
        }
        Ok(BillRow {
            row: row + 1,
            kind,
            order_number: self.number(row, "商户订单号")?,
            refund_number: match kind {
                BillKind::Payment => None,
                BillKind::Refund => Some(self.number(row, "商户退款单号")?),
            },
            gateway_id: self.number(row, gateway_id)?,
            amount: gross,
            // What is given back with a refund is negative.
            fee: self.amount(row, "手续费", currency)?,
            time: self.time(row, "交易时间")?,
        })
    }

    fn check_trades(&self, rows: &[BillRow]) -> Result<(), BillError> {
        let of = |kind| {
            rows.iter()
                .filter(move |row| row.kind == kind)
                .map(|row| row.amount.value())
        };
        self.check_count("总交易单数", rows.len())?;
        self.check_sum("手续费总金额", rows.iter().map(|row| row.fee.value()))?;
        if self.columns.contains_key("订单金额") {
            self.check_sum("订单总金额", of(BillKind::Payment))?;
        }
        if self.columns.contains_key("申请退款金额") {
            self.check_sum("申请退款总金额", of(BillKind::Refund))?;
        }
        Ok(())
    }

    /// Compares a count of the summary, if it has that column. Counts can read `45.0`.
    fn check_count(&self, column: &'static str, found: usize) -> Result<(), BillError> {
        self.check_sum(column, [Decimal::from(found)].into_iter())
    }

    /// Compares a sum of the summary, if it has that column.
    fn check_sum(&self, column: &'static str, parts: impl Iterator<Item = Decimal>) -> Result<(), BillError> {
        let Some(told) = self.summary.get(column) else {
            return Ok(());
        };
        let sum = parts
            .into_iter()
            .try_fold(Decimal::ZERO, |sum, part| sum.checked_add(part));
        let at = self.rows.len() + 1;
        let sum = sum.ok_or_else(|| refuse(at, column, "the rows cannot be summed"))?;
        if decimal(told) != Some(sum) {
            return Err(refuse(
                at,
                column,
                format!("the summary says {told:?}, the rows {}", sum.normalize()),
            ));
        }
        Ok(())
    }

    fn flow(&self, row: usize) -> Result<FundFlow, BillError> {
        let currency = Currency::parse(CNY).map_err(|error| refuse(row + 1, "收支金额(元)", error))?;
        Ok(FundFlow {
            row: row + 1,
            time: self.time(row, "记账时间")?,
            gateway_id: self.value(row, "微信支付业务单号").to_owned(),
            number: self.number(row, "资金流水单号")?,
            business: self.value(row, "业务类型").to_owned(),
            direction: match self.value(row, "收支类型") {
                "收入" => Direction::In,
                "支出" => Direction::Out,
                other => {
                    return Err(refuse(
                        row + 1,
                        "收支类型",
                        format!("{other:?} is neither 收入 nor 支出"),
                    ));
                }
            },
            amount: self.amount(row, "收支金额(元)", currency)?,
            balance: self.amount(row, "账户结余(元)", currency)?,
            reference: self.value(row, "业务凭证号").to_owned(),
        })
    }
}

/// Digits with at most one point and one sign; no exponent.
fn decimal(text: &str) -> Option<Decimal> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let is_plain = digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    if !is_plain || !digits.starts_with(|first: char| first.is_ascii_digit()) {
        return None;
    }
    Decimal::from_str_exact(text).ok()
}

fn refuse(row: usize, column: &'static str, reason: impl ToString) -> BillError {
    BillError::Row {
        row,
        column,
        reason: reason.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MCHID: &str = "1900000001";

    fn paid() -> String {
        "`2026-11-23 10:00:00,`wx1,`1900000001,`0,`,`4200001,`1-R1,`openid,`NATIVE,`SUCCESS,`OTHERS,`CNY,`100.00,`0.00,`0,`0,`0.00,\
         `0.00,`,`,`Remittance, R1,`,`0.60000,`0.60%,`100.00,`0.00,`"
            .to_owned()
    }

    fn refunded() -> String {
        "`2026-11-23 11:00:00,`wx1,`1900000001,`0,`,`4200001,`1-R1,`openid,`NATIVE,`REFUND,`OTHERS,`CNY,`0.00,`0.00,`5030001,`F1-000002,\
         `40.00,`0.00,`ORIGINAL,`SUCCESS,`Remittance R1,`,`-0.24000,`0.60%,`0.00,`40.00,`"
            .to_owned()
    }

    fn bill(rows: &[String], summary: &str) -> String {
        format!(
            "\u{feff}{ALL}\r\n{}\r\n{ALL_SUMMARY}\r\n{summary}\r\n",
            rows.join("\r\n")
        )
    }

    const SUMS: &str = "`2.0,`100.00,`40.00,`0.00,`0.36000,`100.00,`40.00";

    fn both() -> String {
        bill(&[paid(), refunded()], SUMS)
    }

    fn error(bill: &str) -> (usize, &'static str) {
        match parse(bill.as_bytes(), MCHID) {
            Err(BillError::Row { row, column, .. }) => (row, column),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn reads_payments_and_refunds() {
        let rows = parse(both().as_bytes(), MCHID).unwrap();
        assert_eq!(rows, parse(both().replace("\r\n", "\n").as_bytes(), MCHID).unwrap());
        let told: Vec<_> = rows
            .iter()
            .map(|row| {
                (
                    row.kind,
                    row.number(),
                    row.gateway_id.as_str(),
                    row.amount.to_string(),
                    row.fee.to_string(),
                )
            })
            .collect();
        let expected = [
            (
                BillKind::Payment,
                "1-R1",
                "4200001",
                "100.00".to_owned(),
                "0.60".to_owned(),
            ),
            (
                BillKind::Refund,
                "F1-000002",
                "5030001",
                "40.00".to_owned(),
                "-0.24".to_owned(),
            ),
        ];
        assert_eq!(told, expected);
        assert_eq!(rows[0].time, time::macros::datetime!(2026-11-23 10:00:00 +8));
        assert_eq!(
            parse(br#"{"code":"NO_BILL_EXIST","message":"none"}"#, MCHID),
            Ok(vec![])
        );
    }

    #[test]
    fn a_row_with_another_number_of_columns_refuses_the_bill() {
        // A comma alone is part of a value; one before a backtick is not.
        for (from, to) in [
            ("`Remittance R1,", "`Remittance,`R1,"),
            ("`ORIGINAL,", ""),
            ("`5030001,`F1-000002", "`5030001"),
        ] {
            let rows = [paid(), refunded().replace(from, to)];
            assert_ne!(rows[1], refunded());
            assert_eq!(error(&bill(&rows, SUMS)), (2, "row"), "{from}");
        }
    }

    #[test]
    fn names_the_row_and_column_that_is_wrong() {
        for (from, to, at) in [
            ("`REFUND,", "`DREAMT,", (2, "交易状态")),
            ("`CNY,`0.00", "`CXX,`0.00", (2, "货币种类")),
            ("`0.00,`40.00,`", "`0.00,`40.001,`", (2, "申请退款金额")),
            ("`0.00,`40.00,`", "`0.00,`4e1,`", (2, "申请退款金额")),
            ("`0.00,`40.00,`", "`0.00,`0.00,`", (2, "申请退款金额")),
            ("-0.24000", "-0.24001", (2, "手续费")),
            ("F1-000002", "0", (2, "商户退款单号")),
            ("5030001", "", (2, "微信退款单号")),
            ("2026-11-23 11:00:00", "23/11/2026", (2, "交易时间")),
            ("1900000001", "1900000002", (2, "商户号")),
        ] {
            let row = refunded().replace(from, to);
            assert_ne!(row, refunded(), "{from}");
            assert_eq!(error(&bill(&[paid(), row], SUMS)), at, "{from} -> {to}");
        }
    }

    #[test]
    fn a_bill_that_is_cut_off_or_does_not_add_up_is_refused() {
        let whole = both();
        for end in ["总交易单数", "`2.0"] {
            assert_eq!(error(&whole[..whole.find(end).unwrap()]), (3, "summary"));
        }
        assert_eq!(error(&bill(&[paid()], SUMS)), (2, "总交易单数"));
        assert_eq!(
            error(&bill(&[paid(), refunded()], &SUMS.replace("`0.36000", "`0.37000"))),
            (3, "手续费总金额")
        );
        assert_eq!(
            error(&bill(
                &[paid(), refunded()],
                &SUMS.replace("`100.00,`40.00", "`100.00,`41.00")
            ))
            .1,
            "申请退款总金额"
        );
        for bill in ["", "kind,order_number", "<html>"] {
            assert!(matches!(parse(bill.as_bytes(), MCHID), Err(BillError::Header { .. })));
        }
        assert_eq!(error(&format!("{whole}`x")), (3, "summary"));
        let mut bytes = whole.into_bytes();
        let at = bytes.iter().position(|byte| *byte == b'`').unwrap();
        bytes[at + 1] = 0xff;
        assert!(matches!(
            parse(&bytes, MCHID),
            Err(BillError::Row {
                row: 1,
                column: "row",
                ..
            })
        ));
    }

    #[test]
    fn reads_a_bill_of_payments_only() {
        const SUCCESS: &str = "交易时间,公众账号ID,商户号,特约商户号,设备号,微信订单号,商户订单号,用户标识,交易类型,交易状态,付款银行,货币种类,\
            应结订单金额,代金券金额,商品名称,商户数据包,手续费,费率,订单金额,费率备注";
        let text = format!(
            "{SUCCESS}\n`2026-11-23 10:00:00,`wx1,`{MCHID},`0,`,`4200001,`1-R1,`o,`NATIVE,`SUCCESS,`OTHERS,`CNY,`100.00,`0.00,`x,`,\
             `0.60000,`0.60%,`100.00,`\n总交易单数,应结订单总金额,手续费总金额,订单总金额\n`1,`100.00,`0.60000,`100.00\n"
        );
        assert_eq!(parse(text.as_bytes(), MCHID).unwrap().len(), 1);
    }

    #[test]
    fn reads_a_fund_flow() {
        let text = format!(
            "\u{feff}{FUND_FLOW}\r\n`2026-11-23 10:00:00,`4200001,`1001,`交易,`交易,`收入,`100.00,`100.00,`system,`,`1-R1\r\n\
             `2026-11-23 10:00:00,`4200001,`1002,`扣除交易手续费,`扣除交易手续费,`支出,`0.60,`99.40,`system,`,`1-R1\r\n\
             {FUND_FLOW_SUMMARY}\r\n`2.0,`1.0,`100.00,`1.0,`0.60\r\n"
        );
        let rows = parse_fund_flow(text.as_bytes()).unwrap();
        assert_eq!(
            (rows.len(), rows[1].direction, rows[1].balance.to_string().as_str()),
            (2, Direction::Out, "99.40")
        );
        let other = text.replace("`支出,", "`取出,");
        assert!(matches!(
            parse_fund_flow(other.as_bytes()),
            Err(BillError::Row {
                row: 2,
                column: "收支类型",
                ..
            })
        ));
        let other = text.replace("`1.0,`0.60", "`1.0,`0.61");
        assert!(matches!(
            parse_fund_flow(other.as_bytes()),
            Err(BillError::Row {
                row: 3,
                column: "支出金额",
                ..
            })
        ));
    }
}
