//! What a terminal shows: the catalogue, balances, the queue, the receipts.

use serde_json::{Value, json};
use tonic::Status;
use unicode_width::UnicodeWidthStr as _;

use super::{
    answer::{self, Meaning},
    flags::{Receipts, Whose},
    printing,
    run::Till,
    sell::product_in,
    store::State,
    tell::{self, Ending},
};
use crate::proto::Money;

impl Till {
    /// Shows what is on sale.
    pub async fn catalogue(&self) -> anyhow::Result<Ending> {
        let (identity, line) = self.enrolled()?;
        let products = match line.products(&identity.center).await {
            Ok(products) => products.into_iter().map(product_in).collect::<Vec<_>>(),
            Err(status) => return self.not_told(&status),
        };
        self.store.keep_products(&products)?;
        let on_sale = products.iter().filter(|product| product.available);
        if self.flags.json {
            for product in on_sale {
                tell::line(&serde_json::to_string(product)?)?;
            }
            return Ok(Ending::Done);
        }
        for product in on_sale {
            let name = format!("{} {}", product.name_zh, product.name);
            let gap = " ".repeat(40_usize.saturating_sub(name.width()));
            let stock = product.stock.map(|stock| format!("  ({stock})")).unwrap_or_default();
            let price = format!("{} {}", product.currency, product.price);
            tell::line(&format!(
                "{:<12} {name}{gap} {price:>14} {}{stock}",
                product.id, product.unit
            ))?;
        }
        Ok(Ending::Done)
    }

    /// Shows what a detainee has, and what of the month's limit is spent.
    pub async fn balance(&self, whose: &Whose) -> anyhow::Result<Ending> {
        let (identity, line) = self.enrolled()?;
        let detainee = self.detainee(whose)?;
        let name = format!("centers/{}/detainees/{detainee}", identity.center);
        let told = async { Ok((line.balances(name.clone()).await?, line.spending(name.clone()).await?)) };
        let (balances, spending) = match told.await {
            Ok(told) => told,
            Err(status) => return self.not_told(&status),
        };
        let amount = |money: &Option<Money>| money.clone().unwrap_or_default().amount;
        let (spent, limit) = (amount(&spending.spent), amount(&spending.limit));
        let value = json!({
            "detainee": detainee, "available": amount(&balances.available), "held": amount(&balances.held),
            "savings": amount(&balances.savings), "withheld": amount(&balances.withheld), "month": spending.month,
            "spent": spent, "limit": limit,
        });
        let sentence = format!(
            "{detainee}: available 可用 {}, held 冻结 {}, savings 储蓄 {}; spent in {} 本月已用 {spent} of {limit}",
            amount(&balances.available),
            amount(&balances.held),
            amount(&balances.savings),
            spending.month,
        );
        tell::tell(self.flags.json, &value, &sentence)?;
        Ok(Ending::Done)
    }

    /// Shows the queue.
    pub fn queue(&self) -> anyhow::Result<Ending> {
        for entry in self.store.entries()? {
            let (state, detail): (&str, Value) = match &entry.state {
                State::Open { why } => ("open", json!(why)),
                State::Done { receipt, .. } => ("done", json!(receipt)),
                State::Refused(refusal) => ("refused", tell::refusal(refusal)),
                State::GivenUp(refusal) => ("given up", tell::refusal(refusal)),
            };
            let sentence = format!(
                "{:>6}  {}  {}  {state}  {detail}",
                entry.number, entry.asked_at, entry.request_id
            );
            tell::tell(self.flags.json, &serde_json::to_value(&entry)?, &sentence)?;
        }
        Ok(Ending::Done)
    }

    /// Shows the receipts, or prints one again.
    pub fn receipts(&self, which: &Receipts) -> anyhow::Result<Ending> {
        if let Some(number) = which.copy {
            // What was never printed would be the original.
            printing::print(&self.store, number, &self.flags, json!({ "outcome": "printed" }))?;
            return Ok(Ending::Done);
        }
        for receipt in self.store.receipts()? {
            let slip = &receipt.slip;
            let transaction = slip.transaction.as_deref().unwrap_or("offline");
            let sentence = format!(
                "{:>6}  {}  {}  {} {}  {transaction}  {:?}, {} copies",
                receipt.number, slip.time, slip.detainee, slip.currency, slip.total, receipt.print, receipt.copies
            );
            tell::tell(self.flags.json, &printing::value(&receipt), &sentence)?;
        }
        Ok(Ending::Done)
    }

    /// Tells why a question was not answered. Nothing is open by that.
    pub fn not_told(&self, status: &Status) -> anyhow::Result<Ending> {
        let why = answer::read(status);
        let (outcome, ending) = match answer::meaning(status) {
            Meaning::Refused(_) => ("refused", Ending::Refused),
            Meaning::TurnedAway(_) => ("turned_away", Ending::Attention),
            Meaning::Again(_) | Meaning::Unclear => ("undone", Ending::Undone),
        };
        let refusal = answer::refusal_of(status).as_ref().map(tell::refusal);
        tell::tell(
            self.flags.json,
            &json!({ "outcome": outcome, "error": why, "refusal": refusal }),
            &format!("The service does not tell 服务未答复: {why}"),
        )?;
        Ok(ending)
    }
}
