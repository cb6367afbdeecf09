//! The day's bill as Alipay packs it: details and sums, in GBK, in a zip whose names are GBK without a flag that says so.

use std::io::{Cursor, Write as _};

use encoding_rs::GBK;
use time::Date;
use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

use super::keys::SELLER_ID;
use crate::{
    gateway::{
        alipay::{
            bill::{AMOUNT, COLUMNS, FEE, KIND, OUT_TRADE_NO, PAYMENT, RECEIVED, REFUND, REFUND_NO, TIME, TRADE_NO},
            wire,
        },
        bill::{BillKind, BillRow},
    },
    money::{Amount, MoneyError},
};

/// Packs a day's rows.
///
/// # Errors
/// What is wrong, for people.
pub(super) fn pack(date: Date, rows: &[BillRow]) -> Result<Vec<u8>, String> {
    let day = date.to_string().replace('-', "");
    let details = details(date, rows).map_err(|error| error.to_string())?;
    let sums = format!("#支付宝业务汇总查询\r\n#账号：[{SELLER_ID}0156]\r\n");
    zip(&[
        (format!("{SELLER_ID}0156_{day}_业务明细.csv"), details),
        (format!("{SELLER_ID}0156_{day}_业务明细(汇总).csv"), sums),
    ])
    .map_err(|error| error.to_string())
}

fn details(date: Date, rows: &[BillRow]) -> Result<String, MoneyError> {
    let next = date.next_day().unwrap_or(date);
    let day = |date: Date| {
        format!(
            "{}年{:02}月{:02}日 00:00:00",
            date.year(),
            u8::from(date.month()),
            date.day()
        )
    };
    let line = "-".repeat(41);
    let mut text = format!(
        "#支付宝业务明细查询\r\n#账号：[{SELLER_ID}0156]\r\n#起始日期：[{}]   终止日期：[{}]\r\n#{line}业务明细列表{line}\r\n{}\r\n",
        day(date),
        day(next),
        COLUMNS.join(",")
    );
    for row in rows {
        let fields: Vec<String> = COLUMNS.iter().map(|column| field(row, column)).collect();
        text.push_str(&format!("{}\r\n", fields.join(",")));
    }
    let (paid, paid_sum) = sum(rows, BillKind::Payment)?;
    let (back, back_sum) = sum(rows, BillKind::Refund)?;
    text.push_str(&format!(
        "#{line}业务明细列表结束{line}\r\n#交易合计：{paid}笔，商家实收共{paid_sum}元，商家优惠共0.00元\r\n\
         #退款合计：{back}笔，商家实收退款共{}元，商家优惠退款共0.00元\r\n#导出时间：[{}]\r\n",
        back_sum.negated(),
        day(next)
    ));
    Ok(text)
}

/// A field of a row; numbers and texts end in a tab, so that a spreadsheet leaves them as they are.
fn field(row: &BillRow, column: &str) -> String {
    let (amount, trade_no) = match row.kind {
        BillKind::Payment => (row.amount, row.gateway_id.as_str()),
        // The trade's own number is what comes before ours of the refund.
        BillKind::Refund => (
            row.amount.negated(),
            row.gateway_id.split('-').next().unwrap_or_default(),
        ),
    };
    match column {
        TRADE_NO => format!("{trade_no}\t"),
        OUT_TRADE_NO => format!("{}\t", row.order_number),
        KIND => match row.kind {
            BillKind::Payment => PAYMENT.to_owned(),
            BillKind::Refund => REFUND.to_owned(),
        },
        "商品名称" => "汇款\t".to_owned(),
        "创建时间" | TIME => wire::write_time(row.time),
        "对方账户" => "*明(159****5620)\t".to_owned(),
        AMOUNT | RECEIVED => amount.to_string(),
        REFUND_NO => row.refund_number.clone().unwrap_or_default(),
        FEE => row.fee.negated().to_string(),
        _ if column.ends_with("（元）") => "0.00".to_owned(),
        _ => String::new(),
    }
}

fn sum(rows: &[BillRow], kind: BillKind) -> Result<(usize, Amount), MoneyError> {
    let own: Vec<Amount> = rows
        .iter()
        .filter(|row| row.kind == kind)
        .map(|row| row.amount)
        .collect();
    Ok((own.len(), Amount::sum(own.iter().copied(), wire::yuan()?)?))
}

/// The library writes names in ASCII or UTF-8 only: each is written as so many letters first, and the bytes are put in their place.
fn zip(files: &[(String, String)]) -> zip::result::ZipResult<Vec<u8>> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
    let mut names = Vec::new();
    for (index, (name, text)) in files.iter().enumerate() {
        let name = GBK.encode(name).0.into_owned();
        let letters = format!("{index}{}", "~".repeat(name.len() - 1));
        writer.start_file(letters.as_str(), options)?;
        writer.write_all(&GBK.encode(text).0)?;
        names.push((letters.into_bytes(), name));
    }
    let mut packed = writer.finish()?.into_inner();
    // The longer first, so that no name is found within another's place.
    names.sort_by_key(|(letters, _)| std::cmp::Reverse(letters.len()));
    for (letters, name) in &names {
        let places: Vec<usize> = packed
            .windows(letters.len())
            .enumerate()
            .filter(|(_, window)| window == letters)
            .map(|(place, _)| place)
            .collect();
        for place in places {
            if let Some(bytes) = packed.get_mut(place..place + name.len()) {
                bytes.copy_from_slice(name);
            }
        }
    }
    Ok(packed)
}
