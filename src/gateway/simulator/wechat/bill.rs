//! Bills as WeChat Pay writes them.

use std::fmt::Write as _;

use rust_decimal::Decimal;

use super::{APPID, MCHID};
use crate::{
    gateway::{
        bill::{BillKind, BillRow},
        simulator::{
            bill::fee,
            book::{Book, Refusal},
        },
        wechat_pay::bill::{ALL, ALL_SUMMARY, FUND_FLOW, FUND_FLOW_SUMMARY, TIME},
    },
    money::Amount,
};

const MARK: &str = "\u{feff}";

fn line(bill: &mut String, values: &[&str]) {
    for (at, value) in values.iter().enumerate() {
        let comma = if at == 0 { "" } else { "," };
        // Writing to a text cannot fail.
        let _ = write!(bill, "{comma}`{value}");
    }
    bill.push_str("\r\n");
}

fn time_of(row: &BillRow) -> String {
    row.time.format(TIME).unwrap_or_default()
}

/// The fee of a payment, or what of it is given back with a refund.
fn fee_of(row: &BillRow) -> Result<Amount, Refusal> {
    match row.kind {
        BillKind::Payment => Ok(row.fee),
        BillKind::Refund => fee(row.amount).map_err(Refusal::Invalid),
    }
}

fn total(rows: &[BillRow], of: impl Fn(&BillRow) -> Decimal) -> String {
    rows.iter().map(of).sum::<Decimal>().to_string()
}

/// The gateway's numbers of a row's payment and refund; a planted refund is of no payment.
fn gateway_numbers<'a>(row: &'a BillRow, book: &'a Book) -> (&'a str, &'a str) {
    match row.kind {
        BillKind::Payment => (&row.gateway_id, "0"),
        BillKind::Refund => {
            let number = row.refund_number.as_deref();
            let refund = number.and_then(|number| book.refund(number).ok());
            let payment = refund.map_or("", |refund| &refund.request.gateway_transaction);
            (payment, &row.gateway_id)
        }
    }
}

/// A trade bill of everything. The book tells which payment a refund is of.
pub(super) fn trades(rows: &[BillRow], book: &Book) -> Result<Vec<u8>, Refusal> {
    let mut bill = format!("{MARK}{ALL}\r\n");
    let mut fees = Decimal::new(0, 5);
    for row in rows {
        let (time, amount, fee) = (time_of(row), row.amount.to_string(), fee_of(row)?.value());
        let signed = if row.kind == BillKind::Payment { fee } else { -fee };
        fees += signed;
        let fee = format!("{signed:.5}");
        let (state, paid, refunded) = match row.kind {
            BillKind::Payment => ("SUCCESS", amount.as_str(), "0.00"),
            BillKind::Refund => ("REFUND", "0.00", amount.as_str()),
        };
        let (payment, refund) = gateway_numbers(row, book);
        let out_refund = row.refund_number.as_deref().unwrap_or("0");
        let (kind, outcome) = match row.kind {
            BillKind::Payment => ("", ""),
            BillKind::Refund => ("ORIGINAL", "SUCCESS"),
        };
        let goods = format!("Remittance, {}", row.order_number);
        line(
            &mut bill,
            &[
                &time,
                APPID,
                MCHID,
                "0",
                "",
                payment,
                &row.order_number,
                "oSimulated",
                "NATIVE",
                state,
                "OTHERS",
                row.amount.currency().code(),
                paid,
                "0.00",
                refund,
                out_refund,
                refunded,
                "0.00",
                kind,
                outcome,
                &goods,
                "",
                &fee,
                "0.60%",
                paid,
                refunded,
                "",
            ],
        );
    }
    summary(&mut bill, rows, fees);
    Ok(bill.into_bytes())
}

/// The last two lines of a trade bill.
fn summary(bill: &mut String, rows: &[BillRow], fees: Decimal) {
    let of = |kind: BillKind| {
        total(rows, move |row| match row.kind == kind {
            true => row.amount.value(),
            false => Decimal::new(0, 2),
        })
    };
    let (paid, refunded) = (of(BillKind::Payment), of(BillKind::Refund));
    bill.push_str(ALL_SUMMARY);
    bill.push_str("\r\n");
    let (count, fees) = (format!("{}.0", rows.len()), format!("{fees:.5}"));
    line(bill, &[&count, &paid, &refunded, "0.00", &fees, &paid, &refunded]);
}

/// What moved in the merchant's account, which was empty when the day began.
pub(super) fn funds(rows: &[BillRow]) -> Result<Vec<u8>, Refusal> {
    let mut bill = format!("{MARK}{FUND_FLOW}\r\n");
    let mut balance = Decimal::new(0, 2);
    let (mut counts, mut sums) = ([0_u32; 2], [Decimal::new(0, 2); 2]);
    for row in rows {
        let is_payment = row.kind == BillKind::Payment;
        let fee = fee_of(row)?;
        let moves = [
            (if is_payment { "交易" } else { "退款" }, row.amount, is_payment),
            ("扣除交易手续费", fee, !is_payment),
        ];
        for (business, amount, is_in) in moves.into_iter().filter(|(_, amount, _)| amount.is_positive()) {
            balance += if is_in { amount.value() } else { -amount.value() };
            let side = usize::from(!is_in);
            if let (Some(count), Some(sum)) = (counts.get_mut(side), sums.get_mut(side)) {
                *count += 1;
                *sum += amount.value();
            }
            let number = format!(
                "{}{}",
                row.gateway_id,
                if business == "扣除交易手续费" { "F" } else { "" }
            );
            let (time, amount, balance) = (time_of(row), amount.to_string(), balance.to_string());
            let direction = if is_in { "收入" } else { "支出" };
            let values = [
                &time,
                &row.gateway_id,
                &number,
                business,
                business,
                direction,
                &amount,
                &balance,
                "system",
                "",
                row.number(),
            ];
            line(&mut bill, &values);
        }
    }
    bill.push_str(FUND_FLOW_SUMMARY);
    bill.push_str("\r\n");
    let [ins, outs] = counts;
    let [income, expense] = sums.map(|sum| sum.to_string());
    let count = |count: u32| format!("{count}.0");
    line(
        &mut bill,
        &[&count(ins + outs), &count(ins), &income, &count(outs), &expense],
    );
    Ok(bill.into_bytes())
}
