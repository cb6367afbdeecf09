//! Purchases and returns, as their records tell them.

use std::collections::HashMap;

use tonic::Status;

use super::{
    convert::{money, money_text},
    name::{DetaineeName, ProductName, PurchaseName, ReturnName, TransactionName, VendorName},
    order_view::order_name,
};
use crate::{
    api::status::internal,
    commissary::Window,
    ledger::Center,
    proto::{self, JournalRecord, Purchase, PurchaseLine, Return, ReturnLine, journal_record::Facts},
};

/// A line as a record tells it; `returned` is what has come back of each since.
pub fn line_out(
    (line, bought): (i32, &proto::PurchaseLineFacts),
    returned: &HashMap<i32, i64>,
    center: &Center,
) -> PurchaseLine {
    let id = center.id.as_str();
    PurchaseLine {
        line,
        product: ProductName {
            center: id,
            product: &bought.product,
        }
        .to_string(),
        product_version: bought.product_version,
        vendor: VendorName {
            center: id,
            vendor: &bought.vendor,
        }
        .to_string(),
        quantity: bought.quantity,
        unit_price: money_text(&bought.unit_price, center),
        amount: money_text(&bought.amount, center),
        counted: bought.counted,
        returned_quantity: returned
            .get(&line)
            .and_then(|count| i32::try_from(*count).ok())
            .unwrap_or_default(),
    }
}

/// A purchase as its record tells it; `returned` is what has come back of each line since.
pub(super) fn purchase_out(
    record: &JournalRecord,
    returned: &HashMap<i32, i64>,
    leaf_hash: &[u8],
    center: &Center,
) -> Result<Purchase, Status> {
    let Some(Facts::Purchase(facts)) = &record.facts else {
        return Err(internal());
    };
    let id = center.id.as_str();
    let parse = |text: &str| crate::money::Amount::parse(text, center.currency);
    let spending = facts.spending.as_ref().ok_or_else(internal)?;
    let month = spending.windows.iter().find(|told| told.window == Window::Month.name());
    let remaining = month.and_then(|told| parse(&told.limit).ok().zip(parse(&told.spent).ok()));
    Ok(Purchase {
        name: PurchaseName {
            center: id,
            seq: record.seq,
        }
        .to_string(),
        detainee: DetaineeName {
            center: id,
            detainee: &facts.detainee,
        }
        .to_string(),
        terminal: facts.terminal.clone(),
        lines: (1..)
            .zip(&facts.lines)
            .map(|line| line_out(line, returned, center))
            .collect(),
        total: money_text(&facts.total, center),
        counted: money_text(&spending.counted, center),
        available_after: record
            .postings
            .last()
            .and_then(|leg| money_text(&leg.debit_balance, center)),
        limit_remaining: remaining
            .and_then(|(limit, spent)| limit.checked_sub(spent).ok())
            .and_then(money),
        create_time: record.recorded_at,
        effective_date: record.effective_date.clone(),
        transaction: TransactionName {
            center: id,
            seq: record.seq,
        }
        .to_string(),
        request_id: record.request_id.clone(),
        leaf_hash: leaf_hash.to_vec(),
        month_limit: month.and_then(|told| money_text(&told.limit, center)),
        month_spent: month.and_then(|told| money_text(&told.spent, center)),
    })
}

/// A return as its record tells it.
pub(super) fn return_out(record: &JournalRecord, center: &Center) -> Result<Return, Status> {
    let Some(Facts::Return(facts)) = &record.facts else {
        return Err(internal());
    };
    let id = center.id.as_str();
    let line_out = |line: &proto::ReturnLineFacts| ReturnLine {
        line: line.line,
        quantity: line.quantity,
        amount: money_text(&line.amount, center),
    };
    Ok(Return {
        name: ReturnName {
            center: id,
            seq: record.seq,
        }
        .to_string(),
        purchase: if facts.of_order {
            order_name(center, facts.purchase)
        } else {
            PurchaseName {
                center: id,
                seq: facts.purchase,
            }
            .to_string()
        },
        detainee: DetaineeName {
            center: id,
            detainee: &facts.detainee,
        }
        .to_string(),
        lines: facts.lines.iter().map(line_out).collect(),
        total: money_text(&facts.total, center),
        counted: money_text(&facts.counted, center),
        reason: facts.reason.clone(),
        available_after: record
            .postings
            .last()
            .and_then(|leg| money_text(&leg.credit_balance, center)),
        create_time: record.recorded_at,
        effective_date: record.effective_date.clone(),
        transaction: TransactionName {
            center: id,
            seq: record.seq,
        }
        .to_string(),
        request_id: record.request_id.clone(),
        authorised_by: match facts.authorised_by.as_str() {
            "" => record.actor.clone(),
            told => told.to_owned(),
        },
    })
}
