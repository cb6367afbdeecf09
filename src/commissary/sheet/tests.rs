//! What is written is read again, and what is too large or no table is refused.

use std::io::{Cursor, Write as _};

use proptest::prelude::*;
use rust_xlsxwriter::Workbook;
use zip::{ZipWriter, write::SimpleFileOptions};

use super::*;

fn table(columns: &[&str], rows: &[&[&str]]) -> Table {
    let texts = |cells: &[&str]| cells.iter().map(|cell| (*cell).to_owned()).collect::<Vec<_>>();
    Table {
        columns: texts(columns),
        rows: (2..)
            .zip(rows)
            .map(|(number, cells)| Row {
                number,
                cells: texts(cells),
            })
            .collect(),
    }
}

fn saved(fill: impl Fn(&mut rust_xlsxwriter::Worksheet)) -> Vec<u8> {
    let mut workbook = Workbook::new();
    fill(workbook.add_worksheet());
    workbook.save_to_buffer().unwrap()
}

#[test]
fn a_table_is_read_as_it_was_written() {
    let told = table(
        &["product", "name_zh", "price"],
        &[
            &["P1", "方便面, \"袋\"", "2.50"],
            &["=1+1", "+8610", "-1"],
            &["@x", "'=y", "a\nb"],
        ],
    );
    for format in [Format::Csv, Format::Xlsx] {
        let bytes = told.write(format).unwrap();
        assert_eq!(bytes, told.write(format).unwrap());
        assert_eq!(Table::read(format, &bytes).unwrap(), told, "{format:?}");
    }
    let csv = String::from_utf8(told.write(Format::Csv).unwrap()).unwrap();
    assert!(csv.contains("\r\n'=1+1,'+8610,'-1\r\n'@x,''=y,"), "{csv}");
}

#[test]
fn numbers_of_a_spreadsheet_are_texts_and_gaps_are_empty() {
    let bytes = saved(|sheet| {
        sheet.write_string(0, 0, " Product ").unwrap();
        sheet.write_string(0, 2, "PRICE").unwrap();
        sheet.write_number(4, 0, 6_901_234_567_892.0).unwrap();
        sheet.write_number(4, 2, 2.5).unwrap();
        sheet.write_boolean(5, 2, true).unwrap();
    });
    let read = Table::read(Format::Xlsx, &bytes).unwrap();
    assert_eq!(read.columns, ["product", "", "price"]);
    assert_eq!(read.rows[0].number, 5);
    assert_eq!(read.rows[0].cells, ["6901234567892", "", "2.5"]);
    assert_eq!(read.rows[1].cells, ["", "", "yes"]);
}

#[test]
fn what_is_no_table_is_refused() {
    let unreadable = |format, bytes: &[u8]| matches!(Table::read(format, bytes), Err(SheetError::Unreadable { .. }));
    assert!(unreadable(Format::Csv, b"a,b\n\xb7\xbd,c"));
    for bytes in [&b""[..], b"PK", b"product,price\n", &[0; 100]] {
        assert!(unreadable(Format::Xlsx, bytes), "{bytes:?}");
    }
    for bytes in ["", "\u{feff}", "\n\n , \n"] {
        assert_eq!(
            Table::read(Format::Csv, bytes.as_bytes()),
            Err(SheetError::Empty),
            "{bytes:?}"
        );
    }
    assert_eq!(Table::read(Format::Xlsx, &saved(|_| {})), Err(SheetError::Empty));
    assert!(matches!(
        Table::read(Format::Csv, b"price,Price\n"),
        Err(SheetError::ColumnTwice { .. })
    ));
    let mut cut = table(&["a"], &[&["b"]]).write(Format::Xlsx).unwrap();
    cut.truncate(cut.len() / 2);
    assert!(unreadable(Format::Xlsx, &cut));
}

#[test]
fn what_is_too_large_is_refused_before_it_is_kept() {
    let too_large = |format, bytes: &[u8], expected| match Table::read(format, bytes) {
        Err(SheetError::TooLarge { what, .. }) => assert_eq!(what, expected),
        other => panic!("{expected}: {other:?}"),
    };
    too_large(Format::Csv, &vec![b'a'; FILE_BYTES_MAX + 1], "bytes");
    too_large(Format::Csv, "a\n".repeat(ROWS_MAX + 2).as_bytes(), "rows");
    too_large(Format::Csv, ",".repeat(COLUMNS_MAX).as_bytes(), "columns");
    too_large(
        Format::Csv,
        "x".repeat(CELL_CHARS_MAX + 1).as_bytes(),
        "characters in a cell",
    );
    // Two cells, far from each other.
    let wide = saved(|sheet| {
        sheet.write_string(0, 0, "product").unwrap();
        sheet.write_string(1_048_575, 16_383, "x").unwrap();
    });
    too_large(Format::Xlsx, &wide, "rows");
    let broad = saved(|sheet| {
        sheet.write_string(0, 16_383, "x").unwrap();
    });
    too_large(Format::Xlsx, &broad, "columns");
    // A part that is small packed, and huge unpacked.
    let mut bomb = ZipWriter::new(Cursor::new(Vec::new()));
    bomb.start_file("xl/workbook.xml", SimpleFileOptions::default())
        .unwrap();
    let zeros = vec![0; 1024 * 1024];
    for _ in 0..65 {
        bomb.write_all(&zeros).unwrap();
    }
    let bomb = bomb.finish().unwrap().into_inner();
    assert!(bomb.len() < 1024 * 1024);
    too_large(Format::Xlsx, &bomb, "bytes unpacked");
    let mut many = ZipWriter::new(Cursor::new(Vec::new()));
    for part in 0..300 {
        many.start_file(format!("{part}"), SimpleFileOptions::default())
            .unwrap();
    }
    too_large(Format::Xlsx, &many.finish().unwrap().into_inner(), "parts");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn no_cell_is_a_formula_and_every_cell_comes_back(cells in proptest::collection::vec("[=+@'a-]{0,3}[\\PC&&[^\u{feff}]]{0,8}", 1..4)) {
        let told: Vec<String> = cells.iter().map(|cell| cell.trim().to_owned()).collect();
        prop_assume!(told.iter().any(|cell| !cell.is_empty()));
        for text in &told {
            prop_assert!(!quoted(text).starts_with(FORMULA));
            prop_assert_eq!(&cell(&quoted(text)).unwrap(), text);
        }
    }
}
