//! A sale, from being written down to its outcome.

use std::time::Instant;

use anyhow::{Context as _, bail};
use prost::Message as _;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    answer::{self, Meaning, Refusal},
    flags::{Resume, Sell},
    line::Line,
    pace::Pace,
    printing,
    receipt::{Slip, SlipLine},
    run::Till,
    store::{Call, Entry, State},
    tell::{self, Ending},
};
use crate::{
    money::{Amount, Currency},
    proto::{self, CreatePurchaseLine, CreatePurchaseRequest, Money, Purchase, request_outcome},
};

/// How long to wait before the ledger is asked a second time whether it has never heard of a request: longer than any request is
/// under way in the service, in seconds.
const GIVE_UP_AFTER_S: u64 = 60;

/// What became of an entry.
#[derive(Debug)]
pub enum Fate {
    /// It is done, and has a receipt.
    Sold { receipt: u64 },
    /// Nothing moved.
    Refused(Refusal),
    /// It is not known.
    Open { why: String, ending: Ending },
}

impl Till {
    /// Sells.
    pub async fn sell(&self, sell: &Sell) -> anyhow::Result<Ending> {
        let (identity, line) = self.enrolled()?;
        let request_id = sell
            .request_id
            .map_or_else(|| Uuid::now_v7().to_string(), |id| id.to_string());
        let message = purchase_of(&identity.center, sell, &request_id);
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

    /// Finishes what is open, and prints what has not been printed.
    pub async fn resume(&self, resume: &Resume) -> anyhow::Result<Ending> {
        let (_, line) = self.enrolled()?;
        let (ending, finished) = self.finish_open(&line, resume.give_up).await?;
        if ending == Ending::Done {
            let value = json!({ "outcome": "nothing_open", "finished": finished.len() });
            tell::tell(self.flags.json, &value, "Nothing is open.")?;
        }
        Ok(ending)
    }

    /// Prints what waits, then finishes what is open, oldest first. Returns what was finished.
    async fn finish_open(&self, line: &Line, give_up: bool) -> anyhow::Result<(Ending, Vec<Entry>)> {
        let (mut ending, mut finished) = (Ending::Done, Vec::new());
        for number in self.store.unprinted()? {
            printing::print(&self.store, number, &self.flags, json!({ "outcome": "printed" }))?;
            // Nobody may have seen yet that it was sold, and so it may be typed again.
            let request_id = self.store.receipt(number)?.slip.request_id.unwrap_or_default();
            finished.extend(self.store.by_request(&request_id)?);
        }
        for entry in self.store.open_entries()? {
            let mut fate = self.settle(line, &entry, false).await?;
            if give_up
                && matches!(
                    fate,
                    Fate::Open {
                        ending: Ending::Attention,
                        ..
                    }
                )
            {
                fate = self.give_up(line, &entry, fate).await?;
            }
            self.tell_fate(&entry, &fate)?;
            match fate {
                Fate::Open { ending: open, .. } => ending = ending.and(open),
                Fate::Sold { .. } | Fate::Refused(_) => finished.push(entry),
            }
        }
        Ok((ending, finished))
    }

    /// Asks for an entry until its outcome is known or the time is over. `is_fresh`: it was written down just now by this process,
    /// so that it has never been sent.
    pub async fn settle(&self, line: &Line, entry: &Entry, is_fresh: bool) -> anyhow::Result<Fate> {
        let until = Instant::now() + self.flags.wait;
        let mut pace = Pace::new();
        let mut was_sent = !is_fresh;
        loop {
            let status = match line.purchase(entry).await? {
                Ok(purchase) => return self.sold(entry, purchase),
                Err(status) => status,
            };
            let why = answer::read(&status);
            match answer::meaning(&status) {
                Meaning::Again(least) => {
                    let pause = pace.next(least);
                    if Instant::now() + pause >= until {
                        self.store.note(entry, &why)?;
                        return Ok(Fate::Open {
                            why,
                            ending: Ending::Open,
                        });
                    }
                    tokio::time::sleep(pause).await;
                }
                // Nothing of it was ever inside.
                Meaning::TurnedAway(refusal) if !was_sent => return self.refused(entry, refusal),
                Meaning::Refused(refusal) if !was_sent => return self.refused(entry, refusal),
                Meaning::Refused(refusal) => return self.ask_the_ledger(line, entry, why, Some(refusal)).await,
                Meaning::TurnedAway(_) | Meaning::Unclear => return self.ask_the_ledger(line, entry, why, None).await,
            }
            was_sent = true;
        }
    }

    fn refused(&self, entry: &Entry, refusal: Refusal) -> anyhow::Result<Fate> {
        self.store.refused(entry, &refusal)?;
        Ok(Fate::Refused(refusal))
    }

    /// What the ledger has recorded of an entry that was sent before and whose last answer may be about that sending only. What it
    /// has no record of was refused, if that was the answer, and stays open otherwise.
    async fn ask_the_ledger(
        &self,
        line: &Line,
        entry: &Entry,
        why: String,
        refusal: Option<Refusal>,
    ) -> anyhow::Result<Fate> {
        use request_outcome::State::{NotRecorded, Refused, Succeeded};
        let (identity, _) = self.enrolled()?;
        if let Ok(outcome) = line.outcome(&identity.center, &entry.request_id).await {
            match (outcome.state(), refusal) {
                (Succeeded, _) => {
                    if let Ok(purchase) = line.purchase_made(outcome.resource).await {
                        return self.sold(entry, purchase);
                    }
                }
                (Refused, _) => return self.refused(entry, outcome.refusal.unwrap_or_default().into()),
                (NotRecorded, Some(refusal)) => return self.refused(entry, refusal),
                _ => {}
            }
        }
        self.store.note(entry, &why)?;
        let ending = Ending::Attention;
        Ok(Fate::Open { why, ending })
    }

    /// Ends an entry that the door turns away, if the ledger says twice, a minute apart, that it has never recorded it.
    async fn give_up(&self, line: &Line, entry: &Entry, fate: Fate) -> anyhow::Result<Fate> {
        let (identity, _) = self.enrolled()?;
        let Fate::Open { why, .. } = &fate else {
            return Ok(fate);
        };
        for pause_s in [0, GIVE_UP_AFTER_S] {
            tokio::time::sleep(std::time::Duration::from_secs(pause_s)).await;
            match line.outcome(&identity.center, &entry.request_id).await {
                Ok(outcome) if outcome.state() == request_outcome::State::NotRecorded => {}
                _ => return Ok(fate),
            }
        }
        let refusal = Refusal {
            reason: "GIVEN_UP".to_owned(),
            message: format!("never recorded, and given up after {why}"),
            facts: std::collections::BTreeMap::new(),
        };
        self.store.given_up(entry, &refusal)?;
        Ok(Fate::Refused(refusal))
    }

    /// Writes the outcome and its receipt down, in one.
    fn sold(&self, entry: &Entry, purchase: Purchase) -> anyhow::Result<Fate> {
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

    /// Tells what became of an entry, and prints its receipt.
    fn tell_fate(&self, entry: &Entry, fate: &Fate) -> anyhow::Result<Ending> {
        let mut value = json!({ "request_id": entry.request_id });
        match fate {
            Fate::Sold { receipt } => {
                value["outcome"] = json!("sold");
                printing::print(&self.store, *receipt, &self.flags, value)?;
                Ok(Ending::Done)
            }
            Fate::Refused(refusal) => {
                value["outcome"] = json!("refused");
                value["refusal"] = tell::refusal(refusal);
                let sentence = format!("Not sold 未售出: {}: {}", refusal.reason, refusal.message);
                tell::tell(self.flags.json, &value, &sentence)?;
                Ok(Ending::Refused)
            }
            Fate::Open { why, ending } => {
                value["outcome"] = json!("open");
                value["why"] = json!(why);
                value["attention"] = json!(*ending == Ending::Attention);
                let sentence = format!(
                    "Not known yet 结果未知: {why}\nThe sale is in the queue under {}. Hand nothing out; `resume` goes on.",
                    entry.request_id
                );
                tell::tell(self.flags.json, &value, &sentence)?;
                Ok(*ending)
            }
        }
    }

    /// Tells a script that asks again under the same id what it was told before; the receipt is a copy.
    fn tell_again(&self, entry: &Entry) -> anyhow::Result<Ending> {
        match &entry.state {
            State::Done { receipt, .. } => match receipt {
                Some(receipt) => self.tell_fate(entry, &Fate::Sold { receipt: *receipt }),
                None => Ok(Ending::Done),
            },
            State::Refused(refusal) | State::GivenUp(refusal) => self.tell_fate(entry, &Fate::Refused(refusal.clone())),
            State::Open { why } => {
                let (why, ending) = (why.clone(), Ending::Open);
                self.tell_fate(entry, &Fate::Open { why, ending })
            }
        }
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

    fn say(&self, sentence: &str) -> anyhow::Result<()> {
        let value: Value = json!({ "note": sentence });
        Ok(tell::tell(self.flags.json, &value, sentence)?)
    }
}

/// The exit code of a sale of which everything is told already.
fn how_it_ended(entry: &Entry) -> Ending {
    match &entry.state {
        State::Done { .. } => Ending::Done,
        State::Refused(_) | State::GivenUp(_) => Ending::Refused,
        State::Open { .. } => Ending::Open,
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

fn purchase_of(center: &str, sell: &Sell, request_id: &str) -> CreatePurchaseRequest {
    let parent = format!("centers/{center}");
    let line = |line: &super::basket::Line| CreatePurchaseLine {
        product: format!("{parent}/products/{}", line.product),
        quantity: line.quantity,
    };
    CreatePurchaseRequest {
        detainee: format!("{parent}/detainees/{}", sell.whose.detainee),
        lines: sell.lines.iter().map(line).collect(),
        request_id: request_id.to_owned(),
        parent,
    }
}
