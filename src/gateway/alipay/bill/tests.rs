//! Bills as Alipay writes them, and such as nobody should.

use std::io::Write as _;

use encoding_rs::GBK;
use time::macros::datetime;
use zip::{ZipWriter, write::SimpleFileOptions};

use super::*;

const HEAD: &str = "#支付宝业务明细查询\r\n#账号：[20880000000000010156]\r\n\
    #起始日期：[2025年07月31日 00:00:00]   终止日期：[2025年08月01日 00:00:00]\r\n#-----业务明细列表-----\r\n";
const PAID: &str = "2025073122001473030200500001\t,1_R1\t,交易,汇款\t,2025-07-31 10:00:00,2025-07-31 10:00:05,,,,,\
    *明(159****5620)\t,100.00,100.00,0.00,0.00,0.00,0.00,0.00,,0.00,0.00,,-0.60,0.00,\r\n";
const BACK: &str = "2025073122001473030200500001\t,1_R1\t,退款,汇款\t,2025-07-31 10:00:00,2025-07-31 11:00:00,,,,,\
    *明(159****5620)\t,-40.00,-40.00,0.00,0.00,0.00,0.00,0.00,,0.00,0.00,F1-000009,0.24,0.00,\r\n";
const FOOT: &str = "#-----业务明细列表结束-----\r\n#交易合计：1笔，商家实收共100.00元，商家优惠共0.00元\r\n\
    #退款合计：1笔，商家实收退款共-40.00元，商家优惠退款共0.00元\r\n#导出时间：[2025年08月01日 10:00:00]\r\n";

fn bill() -> String {
    format!("{HEAD}{}\r\n{PAID}{BACK}{FOOT}", COLUMNS.join(","))
}

fn parse_text(text: &str) -> Result<Vec<BillRow>, BillError> {
    parse(&GBK.encode(text).0)
}

fn rows() -> Vec<BillRow> {
    let yuan = |text: &str| wire::read_amount(text).unwrap();
    let paid = BillRow {
        row: 1,
        kind: BillKind::Payment,
        order_number: "1-R1".into(),
        refund_number: None,
        gateway_id: "2025073122001473030200500001".into(),
        amount: yuan("100.00"),
        fee: yuan("0.60"),
        time: datetime!(2025-07-31 02:00:05 UTC),
    };
    let back = BillRow {
        row: 2,
        kind: BillKind::Refund,
        refund_number: Some("F1-000009".into()),
        gateway_id: "2025073122001473030200500001-F1-000009".into(),
        amount: yuan("40.00"),
        // Given back.
        fee: yuan("0.24").negated(),
        time: datetime!(2025-07-31 03:00:00 UTC),
        ..paid.clone()
    };
    vec![paid, back]
}

#[test]
fn reads_a_bill_by_the_names_of_its_columns() {
    assert_eq!(parse_text(&bill()), Ok(rows()));
    assert_eq!(parse_text(&bill().replace("\r\n", "\n")), Ok(rows()));
    // Columns come, go and change places.
    let swapped = bill()
        .replace(OUT_TRADE_NO, "x")
        .replace(TRADE_NO, OUT_TRADE_NO)
        .replace("x", TRADE_NO);
    let swapped = swapped.replace(
        "2025073122001473030200500001\t,1_R1\t,",
        "1_R1\t,2025073122001473030200500001\t,",
    );
    assert_eq!(parse_text(&swapped), Ok(rows()));
    let none = format!("{HEAD}{}\r\n{FOOT}", COLUMNS.join(","))
        .replace("1笔", "0笔")
        .replace("-40.00元", "0.00元")
        .replace("100.00元", "0.00元");
    assert_eq!(parse_text(&none), Ok(vec![]));
}

#[test]
fn names_the_row_and_column_that_is_wrong() {
    let long = PAID.replace("汇款", "汇款,x");
    for (row, from, to, column) in [
        (1, PAID, PAID.replace("交易", "收费"), KIND),
        (1, PAID, PAID.replace(",100.00,100.00", ",-100.00,100.00"), AMOUNT),
        (1, PAID, PAID.replace(",100.00,100.00", ",100.001,100.00"), AMOUNT),
        (1, PAID, PAID.replace(",100.00,100.00", ",100.00,x"), RECEIVED),
        (1, PAID, PAID.replace("-0.60", "0.60"), FEE),
        (1, PAID, PAID.replace("1_R1", ""), OUT_TRADE_NO),
        (1, PAID, PAID.replace("10:00:05", "25:00:05"), TIME),
        (1, PAID, long, "row"),
        (2, BACK, BACK.replace("-40.00,-40.00", "40.00,-40.00"), AMOUNT),
        (2, BACK, BACK.replace("2025073122001473030200500001", ""), TRADE_NO),
        (2, BACK, "2025\r\n".to_owned(), "row"),
    ] {
        let text = bill().replace(from, &to);
        let read = parse_text(&text);
        assert!(
            matches!(&read, Err(BillError::Row { row: at, column: of, .. }) if (*at, *of) == (row, column)),
            "{to}: {read:?}"
        );
    }
    let mut bytes = GBK.encode(&bill()).0.into_owned();
    let at = bytes.windows(4).position(|four| four == b"1_R1").unwrap();
    bytes[at] = 0xff;
    assert!(matches!(
        parse(&bytes),
        Err(BillError::Row {
            row: 1,
            column: "row",
            ..
        })
    ));
}

#[test]
fn a_bill_that_was_cut_off_or_contradicts_its_sums_is_none() {
    for (from, to) in [
        ("1笔，商家实收共", "2笔，商家实收共"),
        ("共100.00元", "共100.01元"),
        ("共-40.00元", "共40.00元"),
        ("交易合计", "合计"),
        (FOOT, ""),
        (BACK, ""),
        ("共100.00元", "共x元"),
    ] {
        let text = bill().replace(from, to);
        assert_ne!(text, bill());
        let read = parse_text(&text);
        assert!(matches!(read, Err(BillError::File { .. })), "{to}: {read:?}");
    }
    let after = format!("{}{PAID}", bill());
    assert!(matches!(parse_text(&after), Err(BillError::Row { row: 3, .. })));
    for text in [
        "",
        HEAD,
        "<html>",
        &bill().replace(FEE, "x"),
        &bill().replace(FEE, AMOUNT),
    ] {
        let read = parse_text(text);
        assert!(matches!(read, Err(BillError::Header { .. })), "{read:?}");
    }
}

fn packed(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in files {
        writer.start_file(*name, SimpleFileOptions::default()).unwrap();
        writer.write_all(bytes).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

#[test]
fn takes_the_details_out_of_the_zip() {
    let details = GBK.encode(&bill()).0.into_owned();
    let both = packed(&[("1_业务明细.csv", &details), ("1_业务明细(汇总).csv", b"#")]);
    assert_eq!(parse(&both), Ok(rows()));
    for bad in [
        b"PK".to_vec(),
        both[..both.len() / 2].to_vec(),
        packed(&[]),
        packed(&[("1_业务明细(汇总).csv", &details)]),
        packed(&[("1_业务明细.csv", &details), ("2_业务明细.csv", &details)]),
    ] {
        let read = parse(&bad);
        assert!(matches!(read, Err(BillError::File { .. })), "{read:?}");
    }
}
