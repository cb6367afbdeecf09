//! Kits and their grants, in and out of wire types.

use time::{Date, Duration};
use tonic::Status;

use super::{
    convert::{money_text, timestamp, transaction_name, typed},
    name::{DetaineeName, KitGrantName, KitName, ProductName, format_date},
    purchase_view::line_out,
};
use crate::{
    api::status::{internal, invalid_field},
    commissary::{Kit, KitGrant, KitLine, LINES_MAX, QUANTITY_MAX},
    ids::ProductId,
    ledger::{Center, Refusal, record},
    proto::{self, journal_record::Facts},
};

/// Reads the lines of a kit, each product once.
pub fn lines_in(lines: &[proto::KitLine], center: &Center) -> Result<Vec<KitLine>, Refusal> {
    if lines.is_empty() || lines.len() > LINES_MAX {
        return Err(invalid_field("kit.lines", format!("1 to {LINES_MAX} lines")));
    }
    let mut found: Vec<KitLine> = Vec::with_capacity(lines.len());
    for (index, line) in lines.iter().enumerate() {
        let field = format!("kit.lines[{index}].product");
        let name = ProductName::parse_in(&line.product, &field, center.id.as_str())?;
        let product = typed(ProductId::parse(name.product), &field)?;
        if found.iter().any(|earlier| earlier.product == product) {
            return Err(invalid_field(field, "is told twice"));
        }
        let quantity = match u32::try_from(line.quantity) {
            Ok(quantity @ 1..=QUANTITY_MAX) => quantity,
            _ => {
                let field = format!("kit.lines[{index}].quantity");
                return Err(invalid_field(field, format!("1 to {QUANTITY_MAX}")));
            }
        };
        found.push(KitLine { product, quantity });
    }
    Ok(found)
}

/// Writes what a kit is.
pub fn kit_out(kit: Kit, center: &Center) -> proto::Kit {
    let id = center.id.as_str();
    let lines = kit.lines.iter().map(|line| proto::KitLine {
        product: ProductName {
            center: id,
            product: line.product.as_str(),
        }
        .to_string(),
        // Bounded when it was read.
        quantity: i32::try_from(line.quantity).unwrap_or(i32::MAX),
    });
    let lines = lines.collect();
    let (change_time, changed_by, reason) = match kit.changed {
        Some((at, by, reason)) => (timestamp(at), by, reason),
        None => Default::default(),
    };
    proto::Kit {
        name: KitName { center: id }.to_string(),
        version: kit.version,
        lines,
        reason,
        change_time,
        changed_by,
    }
}

/// Writes a grant as its record tells it.
pub fn grant_out(grant: &KitGrant, center: &Center) -> Result<proto::KitGrant, Status> {
    let record = &grant.record;
    let Some(Facts::KitGrant(facts)) = &record.facts else {
        return Err(internal());
    };
    let next = |date: Date| format_date(date.saturating_add(Duration::days(facts.days.into())));
    let (id, seq) = (center.id.as_str(), record.seq);
    let none = std::collections::HashMap::new();
    Ok(proto::KitGrant {
        name: KitGrantName { center: id, seq }.to_string(),
        detainee: DetaineeName {
            center: id,
            detainee: &facts.detainee,
        }
        .to_string(),
        lines: (1..)
            .zip(&facts.lines)
            .map(|(line, granted)| line_out((line, granted), &none, center))
            .collect(),
        total: money_text(&facts.total, center),
        kit_version: facts.kit_version,
        balance: money_text(&facts.balance, center),
        create_time: record.recorded_at,
        effective_date: record.effective_date.clone(),
        next_date: record::date(&record.effective_date).map(next).unwrap_or_default(),
        transaction: transaction_name(center, seq),
        cancellation: grant
            .cancelled
            .map(|by| transaction_name(center, by.0))
            .unwrap_or_default(),
        request_id: record.request_id.clone(),
    })
}
