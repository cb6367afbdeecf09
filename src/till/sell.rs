//! A sale, from being written down to its outcome.

use anyhow::{Context as _, bail};
use prost::Message as _;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    flags::Sell,
    line::Line,
    queue::{Fate, how_it_ended},
    receipt::{Slip, SlipLine},
    run::Till,
    store::{Call, Entry, State},
    tell::{self, Ending},
};
use crate::{
    money::{Amount, Currency},
    proto::{self, CreatePurchaseLine, CreatePurchaseRequest, Money, Purchase},
};

impl Till {
    /// Sells.
    pub async fn sell(&self, sell: &Sell) -> anyhow::Result<Ending> {
        let (identity, line) = self.enrolled()?;
        let request_id = sell
            .request_id
            .map_or_else(|| Uuid::now_v7().to_string(), |id| id.to_string());
        let message = purchase_of(&identity.center, &self.detainee(&sell.whose)?, sell, &request_id);
        let known = self.store.by_request(&request_id)?;
        if let Some(known) = &known {
            let before: CreatePurchaseRequest = known.message()?;
            if before != message {
                bail!("the request id {request_id} was used for another sale");
            }
            if !matches!(known.state, State::Open { .. }) {
                return self.tell_again(known);
            }
        }
        // What is open comes first: with two at once, nobody could say which one a person means by typing it again.
        let (ending, finished) = self.finish_open(&line, false).await?;
        if let Some(known) = known {
            // It was open and is told of already.
            return Ok(ending.and(how_it_ended(&self.store.entry(known.number)?)));
        }
        if ending != Ending::Done {
            let value = json!({ "outcome": "not_taken", "why": "the queue has a sale whose outcome is not known" });
            let sentence = "Nothing new was sold: the queue has a sale whose outcome is not known. Try `resume`.";
            tell::tell(self.flags.json, &value, sentence)?;
            return Ok(ending);
        }
        let is_same = |entry: &Entry| {
            if entry.call != Call::Purchase {
                return false;
            }
            let before = entry.message::<CreatePurchaseRequest>();
            before.is_ok_and(|before| (&before.detainee, &before.lines) == (&message.detainee, &message.lines))
        };
        if let Some(same) = finished
            .iter()
            .find(|entry| sell.request_id.is_none() && is_same(entry))
        {
            self.say("The same sale was open; it is finished now, and was not sold a second time.")?;
            return Ok(how_it_ended(&self.store.entry(same.number)?));
        }
        self.learn_names(&line, &message).await?;
        let now = self.now()?;
        let entry = self
            .store
            .ask(Call::Purchase, &request_id, &message.encode_to_vec(), &now)?;
        let fate = self.settle(&line, &entry, true).await?;
        self.tell_fate(&entry, &fate)
    }

    /// Writes the outcome and its receipt down, in one.
    pub fn sold(&self, entry: &Entry, purchase: Purchase) -> anyhow::Result<Fate> {
        let asked: CreatePurchaseRequest = entry.message()?;
        let bought = purchase.lines.iter().map(|line| (line.product.as_str(), line.quantity));
        let wanted = asked.lines.iter().map(|line| (line.product.as_str(), line.quantity));
        if purchase.request_id != asked.request_id || purchase.detainee != asked.detainee || !bought.eq(wanted) {
            bail!(
                "the service answered {} with another purchase, {}",
                asked.request_id,
                purchase.name
            );
        }
        let slip = self.slip(&purchase)?;
        let receipt = self.store.done(entry, &purchase.encode_to_vec(), Some(slip))?;
        let receipt = receipt.context("a sale without a receipt")?;
        Ok(Fate::Sold { receipt })
    }

    /// What stands on the receipt of a purchase.
    fn slip(&self, purchase: &Purchase) -> anyhow::Result<Slip> {
        let total = purchase.total.clone().unwrap_or_default();
        let currency = Currency::parse(&total.currency_code)?;
        let amount = |money: &Option<Money>| money.clone().unwrap_or_default().amount;
        let mut lines = Vec::with_capacity(purchase.lines.len());
        let mut sum = Amount::zero(currency);
        for line in &purchase.lines {
            let product = id_of(&line.product);
            let known = self.store.product(product)?;
            sum = sum.checked_add(Amount::parse(&amount(&line.amount), currency)?)?;
            lines.push(SlipLine {
                product: product.to_owned(),
                name: known.as_ref().map(|known| known.name.clone()).unwrap_or_default(),
                name_zh: known.map(|known| known.name_zh).unwrap_or_default(),
                quantity: line.quantity,
                unit_price: amount(&line.unit_price),
                amount: amount(&line.amount),
            });
        }
        if sum != Amount::parse(&total.amount, currency)? {
            bail!(
                "the lines of {} are {sum}, but its total is {}",
                purchase.name,
                total.amount
            );
        }
        let (identity, _) = self.enrolled()?;
        let text = |money: &Option<Money>| money.as_ref().map(|money| money.amount.clone());
        Ok(Slip {
            center: identity.center.clone(),
            terminal: purchase.terminal.clone(),
            detainee: id_of(&purchase.detainee).to_owned(),
            time: self.ledger_time(purchase.create_time.as_ref())?,
            lines,
            currency: total.currency_code,
            total: total.amount,
            available_after: text(&purchase.available_after),
            month_spent: text(&purchase.month_spent),
            month_limit: text(&purchase.month_limit),
            transaction: Some(id_of(&purchase.transaction).to_owned()),
            leaf_hash: Some(hex::encode(&purchase.leaf_hash)),
            request_id: Some(purchase.request_id.clone()),
            offline: None,
        })
    }

    /// Learns the names of products that are not known, for the receipt. What is not told now is left out there.
    async fn learn_names(&self, line: &Line, message: &CreatePurchaseRequest) -> anyhow::Result<()> {
        for wanted in &message.lines {
            if self.store.product(id_of(&wanted.product))?.is_none()
                && let Ok(product) = line.product(wanted.product.clone()).await
            {
                self.store.keep_products(&[product_in(product)])?;
            }
        }
        Ok(())
    }

    pub fn say(&self, sentence: &str) -> anyhow::Result<()> {
        let value: Value = json!({ "note": sentence });
        Ok(tell::tell(self.flags.json, &value, sentence)?)
    }
}

/// The last part of a resource's name.
pub fn id_of(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or_default()
}

/// A product as it is remembered.
pub fn product_in(product: proto::Product) -> super::store::Product {
    let price = product.price.unwrap_or_default();
    super::store::Product {
        id: id_of(&product.name).to_owned(),
        name: product.display_name,
        name_zh: product.display_name_zh,
        unit: product.unit,
        currency: price.currency_code,
        price: price.amount,
        version: product.version,
        available: product.available,
        stock: product.stock,
    }
}

fn purchase_of(center: &str, detainee: &str, sell: &Sell, request_id: &str) -> CreatePurchaseRequest {
    let parent = format!("centers/{center}");
    let line = |line: &super::basket::Line| CreatePurchaseLine {
        product: format!("{parent}/products/{}", line.product),
        quantity: line.quantity,
    };
    CreatePurchaseRequest {
        detainee: format!("{parent}/detainees/{detainee}"),
        lines: sell.lines.iter().map(line).collect(),
        request_id: request_id.to_owned(),
        parent,
    }
}
