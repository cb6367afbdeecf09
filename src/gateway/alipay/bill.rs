//! Alipay's daily bill of payments and refunds (业务明细): a zip of files in GBK, whose names are GBK too.
//!
//! The details stand between comments (`#…`), under a header by whose names they are read: its columns come and go. After them, two
//! comments tell how many rows there are of either kind and what they sum to; a file without them was cut off.
//! A bill is evidence: one unreadable row refuses the whole bill and names the row.

use std::{
    collections::BTreeMap,
    io::{Cursor, Read as _},
};

use encoding_rs::GBK;
use zip::ZipArchive;

use super::wire;
use crate::{
    gateway::bill::{BillError, BillKind, BillRow},
    money::{Amount, Currency},
};

/// Every column, as Alipay writes them.
pub const COLUMNS: [&str; 25] = [
    TRADE_NO,
    OUT_TRADE_NO,
    KIND,
    "商品名称",
    "创建时间",
    TIME,
    "门店编号",
    "门店名称",
    "操作员",
    "终端号",
    "对方账户",
    AMOUNT,
    RECEIVED,
    "支付宝红包（元）",
    "集分宝（元）",
    "支付宝优惠（元）",
    "商家优惠（元）",
    "券核销金额（元）",
    "券名称",
    "商家红包消费金额（元）",
    "卡消费金额（元）",
    REFUND_NO,
    FEE,
    "分润（元）",
    "备注",
];
/// Alipay's number of the trade.
pub const TRADE_NO: &str = "支付宝交易号";
/// Our number of the order.
pub const OUT_TRADE_NO: &str = "商户订单号";
/// [`PAYMENT`] or [`REFUND`].
pub const KIND: &str = "业务类型";
/// When it was done.
pub const TIME: &str = "完成时间";
/// What was paid, or paid back and then negative.
pub const AMOUNT: &str = "订单金额（元）";
/// What of it is ours.
pub const RECEIVED: &str = "商家实收（元）";
/// Our number of the refund.
pub const REFUND_NO: &str = "退款批次号/请求号";
/// What Alipay kept, negative, or gave back.
pub const FEE: &str = "服务费（元）";
/// Money from a payer.
pub const PAYMENT: &str = "交易";
/// Money back to a payer.
pub const REFUND: &str = "退款";

/// What the name of the file with the details has in it, and that of the one with sums only.
const DETAILS: &str = "业务明细";
const SUMS: &str = "汇总";
/// More files than Alipay packs.
const FILES_MAX: usize = 16;
/// Longest file of a bill, in bytes, unpacked.
const FILE_BYTES_MAX: u64 = 128 * 1024 * 1024;
/// More rows than a gateway account has in a day; a longer bill is refused.
const ROWS_MAX: usize = 1_000_000;

/// Reads a bill: the zip as it was fetched, or the file with the details out of it.
///
/// # Errors
/// [`BillError`]; rows are counted from 1, the first after the header.
pub fn parse(bill: &[u8]) -> Result<Vec<BillRow>, BillError> {
    let currency = wire::yuan().map_err(file)?;
    if bill.starts_with(b"PK") {
        return read(&details(bill)?, currency);
    }
    read(bill, currency)
}

/// The file with the details. What else is packed with it is passed over.
fn details(packed: &[u8]) -> Result<Vec<u8>, BillError> {
    let mut archive = ZipArchive::new(Cursor::new(packed)).map_err(file)?;
    if archive.len() > FILES_MAX {
        return Err(file(format!("{} files in it", archive.len())));
    }
    let mut found = None;
    for index in 0..archive.len() {
        let packed = archive.by_index(index).map_err(file)?;
        let name = name(packed.name_raw());
        if !name.contains(DETAILS) || name.contains(SUMS) {
            continue;
        }
        let mut details = Vec::new();
        packed
            .take(FILE_BYTES_MAX + 1)
            .read_to_end(&mut details)
            .map_err(|error| file(format!("{name}: {error}")))?;
        if u64::try_from(details.len()).map_or(true, |len| len > FILE_BYTES_MAX) {
            return Err(file(format!("{name} is longer than {FILE_BYTES_MAX} bytes")));
        }
        if found.replace(details).is_some() {
            return Err(file(format!("two files of {DETAILS}")));
        }
    }
    found.ok_or_else(|| file(format!("no file of {DETAILS} in it")))
}

/// A name in the zip, which does not say how it is written.
fn name(raw: &[u8]) -> String {
    match std::str::from_utf8(raw) {
        Ok(name) => name.to_owned(),
        Err(_) => GBK.decode_without_bom_handling(raw).0.into_owned(),
    }
}

/// Reads the details line by line. A byte below 0x30 is never a part of a character of GBK, so lines and commas are found in
/// the bytes.
fn read(bytes: &[u8], currency: Currency) -> Result<Vec<BillRow>, BillError> {
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .quoting(false)
        .from_reader(bytes);
    let (mut columns, mut rows, mut sums) = (None, Vec::new(), Sums::new(currency));
    let mut footers = Footers::default();
    for record in reader.byte_records() {
        let row = rows.len() + 1;
        let record = record.map_err(|error| refuse(row, "row", error))?;
        let is_comment = record
            .get(0)
            .is_some_and(|first| first.trim_ascii_start().starts_with(b"#"));
        let fields: Option<Vec<String>> = record.iter().map(decode).collect();
        let Some(fields) = fields else {
            return Err(refuse(row, "row", "not GBK"));
        };
        if is_comment {
            footers.note(&fields.join(","), currency)?;
            continue;
        }
        match &columns {
            None => columns = Some(Columns::find(&fields)?),
            Some(_) if footers.is_any() => return Err(refuse(row, "row", "a row after the sums")),
            Some(_) if rows.len() == ROWS_MAX => return Err(BillError::TooLong { rows_max: ROWS_MAX }),
            Some(columns) => rows.push(columns.read(row, &fields, &mut sums)?),
        }
    }
    if columns.is_none() {
        return Err(header(&[]));
    }
    footers.compare(&sums)?;
    Ok(rows)
}

/// A field without the tabs that keep spreadsheets from reading a number.
fn decode(field: &[u8]) -> Option<String> {
    let text = GBK.decode_without_bom_handling_and_without_replacement(field)?;
    Some(
        text.trim_matches(|c: char| c.is_whitespace() || c == '\u{feff}')
            .to_owned(),
    )
}

/// Where the columns stand that we read.
struct Columns {
    count: usize,
    places: BTreeMap<&'static str, usize>,
}

impl Columns {
    fn find(fields: &[String]) -> Result<Columns, BillError> {
        const READ: [&str; 8] = [TRADE_NO, OUT_TRADE_NO, KIND, TIME, AMOUNT, RECEIVED, REFUND_NO, FEE];
        let place = |column| {
            let mut places = fields.iter().enumerate().filter(|(_, field)| *field == column);
            match (places.next(), places.next()) {
                (Some((place, _)), None) => Ok((column, place)),
                _ => Err(header(fields)),
            }
        };
        Ok(Columns {
            count: fields.len(),
            places: READ.into_iter().map(place).collect::<Result<_, _>>()?,
        })
    }

    fn read(&self, row: usize, fields: &[String], sums: &mut Sums) -> Result<BillRow, BillError> {
        if fields.len() != self.count {
            let reason = format!("{} columns instead of {}", fields.len(), self.count);
            return Err(refuse(row, "row", reason));
        }
        let field = |column: &'static str| {
            let place = self.places.get(column).and_then(|place| fields.get(*place));
            place.map_or("", String::as_str)
        };
        let there = |column| match field(column) {
            "" => Err(refuse(row, column, "missing")),
            text => Ok(text),
        };
        let money = |column| signed(there(column)?, sums.currency).map_err(|reason| refuse(row, column, reason));
        let kind = match field(KIND) {
            PAYMENT => BillKind::Payment,
            REFUND => BillKind::Refund,
            other => {
                return Err(refuse(
                    row,
                    KIND,
                    format!("{other:?} is neither {PAYMENT} nor {REFUND}"),
                ));
            }
        };
        let (amount, received, fee) = (money(AMOUNT)?, money(RECEIVED)?, money(FEE)?);
        let (trade_no, out_trade_no) = (there(TRADE_NO)?, there(OUT_TRADE_NO)?);
        let (amount, refund_number, gateway_id) = match kind {
            BillKind::Payment if amount.is_positive() => (amount, None, trade_no.to_owned()),
            BillKind::Refund if amount.is_negative() => {
                // A refund that was made without a number has the order's.
                let number = Some(field(REFUND_NO)).filter(|number| !number.is_empty());
                let number = number.unwrap_or(out_trade_no);
                let gateway_id = wire::gateway_refund(trade_no, number);
                (amount.negated(), Some(number.to_owned()), gateway_id)
            }
            _ => return Err(refuse(row, AMOUNT, format!("{amount} in a row of {}", field(KIND)))),
        };
        sums.add(kind, received).map_err(|error| refuse(row, RECEIVED, error))?;
        Ok(BillRow {
            row,
            kind,
            order_number: wire::of_trade_number(out_trade_no),
            refund_number,
            gateway_id,
            amount,
            fee: kept(kind, fee).map_err(|reason| refuse(row, FEE, reason))?,
            time: wire::read_time(there(TIME)?).map_err(|reason| refuse(row, TIME, reason))?,
        })
    }
}

/// What Alipay kept, which it writes as what we lost.
fn kept(kind: BillKind, fee: Amount) -> Result<Amount, String> {
    let kept = fee.negated();
    match kind {
        BillKind::Payment if kept.is_negative() => Err(format!("{fee} given for a payment")),
        BillKind::Payment | BillKind::Refund => Ok(kept),
    }
}

/// Reads an amount that may have a sign.
fn signed(text: &str, currency: Currency) -> Result<Amount, String> {
    let (digits, is_negative) = match text.strip_prefix('-') {
        Some(digits) => (digits, true),
        None => (text.strip_prefix('+').unwrap_or(text), false),
    };
    let amount = Amount::parse(digits, currency).map_err(|error| format!("{text:?}: {error}"))?;
    Ok(if is_negative { amount.negated() } else { amount })
}

/// How many rows there are of a kind, and what they sum to.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Sum {
    count: u64,
    received: Amount,
}

/// What was read, summed up.
struct Sums {
    currency: Currency,
    payments: Sum,
    refunds: Sum,
}

impl Sums {
    fn new(currency: Currency) -> Sums {
        let none = Sum {
            count: 0,
            received: Amount::zero(currency),
        };
        Sums {
            currency,
            payments: none,
            refunds: none,
        }
    }

    fn add(&mut self, kind: BillKind, received: Amount) -> Result<(), crate::money::MoneyError> {
        let sum = match kind {
            BillKind::Payment => &mut self.payments,
            BillKind::Refund => &mut self.refunds,
        };
        sum.received = sum.received.checked_add(received)?;
        sum.count += 1;
        Ok(())
    }
}

/// What the file says it sums to: `#交易合计：6笔，商家实收共0.06元，…` and `#退款合计：4笔，商家实收退款共-0.04元，…`.
#[derive(Default)]
struct Footers {
    payments: Option<Sum>,
    refunds: Option<Sum>,
}

impl Footers {
    fn is_any(&self) -> bool {
        self.payments.is_some() || self.refunds.is_some()
    }

    fn note(&mut self, comment: &str, currency: Currency) -> Result<(), BillError> {
        let read = |name, received| {
            let Some((_, rest)) = comment.split_once(name) else {
                return Ok(None);
            };
            footer(rest, received, currency)
                .map(Some)
                .ok_or_else(|| file(format!("{comment:?} cannot be read")))
        };
        if let Some(sum) = read("交易合计：", "商家实收共")? {
            self.payments = Some(sum);
        }
        if let Some(sum) = read("退款合计：", "商家实收退款共")? {
            self.refunds = Some(sum);
        }
        Ok(())
    }

    fn compare(&self, sums: &Sums) -> Result<(), BillError> {
        for (name, told, own) in [
            (PAYMENT, self.payments, sums.payments),
            (REFUND, self.refunds, sums.refunds),
        ] {
            let told = told.ok_or_else(|| file(format!("{name}合计 is missing: the file was cut off")))?;
            if told != own {
                return Err(file(format!(
                    "{name}合计 tells {} rows with {}, and there are {} with {}",
                    told.count, told.received, own.count, own.received
                )));
            }
        }
        Ok(())
    }
}

fn footer(text: &str, received: &str, currency: Currency) -> Option<Sum> {
    let (count, rest) = text.split_once('笔')?;
    let (_, rest) = rest.split_once(received)?;
    let (amount, _) = rest.split_once('元')?;
    Some(Sum {
        count: count.trim().parse().ok()?,
        received: signed(amount.trim(), currency).ok()?,
    })
}

fn header(found: &[String]) -> BillError {
    BillError::Header {
        found: found.join(","),
        expected: COLUMNS.join(","),
    }
}

fn file(reason: impl ToString) -> BillError {
    BillError::File {
        reason: reason.to_string(),
    }
}

fn refuse(row: usize, column: &'static str, reason: impl ToString) -> BillError {
    BillError::Row {
        row,
        column,
        reason: reason.to_string(),
    }
}

#[cfg(test)]
mod tests;
