//! Each receipt is printed once, or marked as a copy.

use std::{fs::OpenOptions, io::Write as _, path::Path};

use anyhow::Context as _;
use serde_json::{Value, json};

use super::{
    flags::Told,
    receipt,
    store::{Receipt, Store},
    tell,
};

/// Prints a receipt, on the printer or on standard output. `told` is what else a script is told with it.
///
/// # Errors
/// It cannot be printed. The next one is a copy then.
pub fn print(store: &Store, number: u64, flags: &Told, mut told: Value) -> anyhow::Result<()> {
    let (receipt, is_copy) = store.begin_print(number)?;
    let text = receipt::text(&receipt.slip, number, is_copy);
    if let Some(printer) = &flags.printer {
        put_on_paper(printer, &text).with_context(|| format!("the printer {}", printer.display()))?;
    }
    if flags.json {
        told["receipt"] = value(&receipt);
        told["receipt"]["is_copy"] = json!(is_copy);
        told["receipt"]["text"] = json!(text);
        tell::line(&told.to_string())?;
    } else if flags.printer.is_none() {
        tell::line(&text)?;
    } else {
        let which = if is_copy { "a copy of receipt" } else { "receipt" };
        tell::line(&format!("printed {which} {number}"))?;
    }
    store.end_print(receipt)
}

/// A receipt for scripts.
pub fn value(receipt: &Receipt) -> Value {
    json!({ "number": receipt.number, "print": receipt.print, "copies": receipt.copies, "slip": receipt.slip })
}

fn put_on_paper(printer: &Path, text: &str) -> std::io::Result<()> {
    let mut paper = OpenOptions::new().create(true).append(true).open(printer)?;
    paper.write_all(text.as_bytes())?;
    // A device that is no file cannot be synced, and need not be.
    if paper.metadata()?.is_file() {
        paper.sync_all()
    } else {
        Ok(())
    }
}
