//! Money that is set aside, and a sale within it.

use anyhow::{Context as _, bail};
use prost::Message as _;
use serde_json::json;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use super::{
    chain::sign,
    store::{Allowance, Link},
};
use crate::{
    money::{Amount, Currency},
    proto::{self, Money, OfflineSaleStatement, OfflineSaleStatementLine, ReserveAllowanceRequest},
    till::{
        answer::Refusal,
        basket,
        flags::{Offline, OfflineSell, Reserve},
        line::KEY,
        printing,
        queue::{Fate, how_it_ended},
        receipt::{OfflineSlip, Slip, SlipLine},
        run::Till,
        sell::id_of,
        store::{Call, Entry, Product},
        tell::{self, Ending},
    },
};

/// A sale that is priced, before it is signed.
struct Priced {
    lines: Vec<(Product, i32, Amount)>,
    currency: Currency,
    total: Amount,
}

impl Till {
    /// Does one of the verbs without the network, or for it.
    pub async fn offline(&self, verb: &Offline) -> anyhow::Result<Ending> {
        match verb {
            Offline::Reserve(reserve) => self.reserve(reserve).await,
            Offline::Sell(sell) => self.sell_offline(sell),
            Offline::Upload => self.upload().await,
            Offline::End => self.end_allowances().await,
            Offline::List => self.list_offline(),
        }
    }

    /// Asks the service to set money aside, after it has learned the prices and where the numbers stand.
    async fn reserve(&self, reserve: &Reserve) -> anyhow::Result<Ending> {
        let (identity, line) = self.enrolled()?;
        let detainee = self.detainee(&reserve.whose)?;
        let (ending, finished) = self.finish_open(&line, false).await?;
        if ending != Ending::Done {
            return Ok(ending);
        }
        for entry in finished.iter().filter(|entry| entry.call == Call::Reserve) {
            let before: ReserveAllowanceRequest = entry.message()?;
            let amount = before.amount.unwrap_or_default().amount;
            if id_of(&before.detainee) == detainee && amount == reserve.amount {
                self.say("The same was open; it is finished now, and was not set aside a second time.")?;
                return Ok(how_it_ended(&self.store.entry(entry.number)?));
            }
        }
        let products = match line.products(&identity.center).await {
            Ok(products) => products,
            Err(status) => return self.not_told(&status),
        };
        let products: Vec<Product> = products.into_iter().map(crate::till::sell::product_in).collect();
        self.store.keep_products(&products)?;
        let currency = products.first().map(|product| product.currency.clone());
        let currency = Currency::parse(&currency.context("the center sells nothing")?)?;
        let parent = format!("centers/{}", identity.center);
        match line.chain(format!("{parent}/terminals/{}", identity.terminal)).await {
            // The storage was lost: what the service has is the only record of the numbers.
            Ok(chain) if chain.last_number > self.store.last_link()?.number => self.store.set_base(&Link {
                number: chain.last_number,
                hash: hex::encode(&chain.last_hash),
            })?,
            Ok(_) => {}
            Err(status) => return self.not_told(&status),
        }
        let expires = self.time().saturating_add(Duration::hours(i64::from(reserve.hours)));
        let request_id = Uuid::now_v7().to_string();
        let message = ReserveAllowanceRequest {
            detainee: format!("{parent}/detainees/{detainee}"),
            amount: Some(Money {
                currency_code: currency.code().to_owned(),
                amount: Amount::parse_positive(&reserve.amount, currency)?.to_string(),
            }),
            expire_time: Some(prost_types::Timestamp {
                seconds: expires.unix_timestamp(),
                nanos: 0,
            }),
            request_id: request_id.clone(),
            parent,
        };
        let now = self.now()?;
        let entry = self
            .store
            .ask(Call::Reserve, &request_id, &message.encode_to_vec(), &now)?;
        let fate = self.settle(&line, &entry, true).await?;
        self.tell_fate(&entry, &fate)
    }

    /// What the service says of an allowance, when it was asked for or ended.
    pub fn allowance_told(&self, entry: &Entry, told: &proto::Allowance) -> anyhow::Result<Fate> {
        let amount = |money: &Option<Money>| money.clone().unwrap_or_default();
        let number: i64 = id_of(&told.name).parse().context("an allowance without a number")?;
        let known = self.store.allowance(number)?;
        let is_ended = told.state() == proto::allowance::State::Ended;
        let allowance = Allowance {
            number,
            detainee: id_of(&told.detainee).to_owned(),
            currency: amount(&told.amount).currency_code,
            amount: amount(&told.amount).amount,
            left: known.map_or_else(|| amount(&told.remaining).amount, |known| known.left),
            expire_s: told.expire_time.as_ref().map_or(0, |time| time.seconds),
            is_ended,
        };
        self.store.done_with(entry, &told.encode_to_vec(), &allowance)?;
        let about = serde_json::to_value(&allowance)?;
        let released = amount(&told.released).amount;
        let (outcome, sentence) = if is_ended {
            let of = &allowance.detainee;
            (
                "ended",
                format!("Allowance {number} of {of} has ended; {released} went back."),
            )
        } else {
            let (money, of) = (&allowance.amount, &allowance.detainee);
            (
                "reserved",
                format!("{money} of {of} are set aside here as allowance {number}."),
            )
        };
        Ok(Fate::Done {
            outcome,
            about,
            sentence,
        })
    }

    /// Sells within what is set aside. Nothing is sent.
    fn sell_offline(&self, sell: &OfflineSell) -> anyhow::Result<Ending> {
        let detainee = self.detainee(&sell.whose)?;
        if let Some(printed) = self.print_before(sell, &detainee)? {
            return Ok(printed);
        }
        let priced = match self.price(&sell.lines)? {
            Ok(priced) => priced,
            Err(refusal) => return self.refuse(&refusal),
        };
        let now = self.time();
        let mut open = self.store.allowances()?;
        open.retain(|allowance| {
            !allowance.is_ended && allowance.detainee == detainee && allowance.expire_s > now.unix_timestamp()
        });
        let (mut most, mut found) = (Amount::zero(priced.currency), None);
        for allowance in open {
            let left = Amount::parse(&allowance.left, priced.currency)?;
            most = if left.exceeds(most)? { left } else { most };
            if !priced.total.exceeds(left)? && found.is_none() {
                found = Some((allowance, left.checked_sub(priced.total)?));
            }
        }
        let Some((mut allowance, left)) = found else {
            let message = format!("no allowance has {} left; the most is {most}", priced.total);
            return self.refuse(&refusal("NO_ALLOWANCE", message, &[("left", most.to_string())]));
        };
        allowance.left = left.to_string();
        let receipt = self.sign_and_keep(&allowance, &priced, now)?;
        printing::print(&self.store, receipt, &self.flags, json!({ "outcome": "sold_offline" }))?;
        Ok(Ending::Done)
    }

    /// Prints what waits. If that is the same sale, it was typed again, and is not sold a second time.
    fn print_before(&self, sell: &OfflineSell, detainee: &str) -> anyhow::Result<Option<Ending>> {
        let wanted: Vec<(&str, i32)> = sell
            .lines
            .iter()
            .map(|line| (line.product.as_str(), line.quantity))
            .collect();
        let mut is_same = false;
        for number in self.store.unprinted()? {
            let slip = self.store.receipt(number)?.slip;
            let sold = slip.lines.iter().map(|line| (line.product.as_str(), line.quantity));
            is_same |= slip.offline.is_some() && slip.detainee == detainee && sold.eq(wanted.iter().copied());
            printing::print(&self.store, number, &self.flags, json!({ "outcome": "printed" }))?;
        }
        if is_same {
            self.say("The same sale was made and not printed; it was not sold a second time.")?;
        }
        Ok(is_same.then_some(Ending::Done))
    }

    /// Prices lines by the catalogue that was read last.
    fn price(&self, lines: &[basket::Line]) -> anyhow::Result<Result<Priced, Refusal>> {
        let mut priced = Vec::with_capacity(lines.len());
        let mut sum: Option<(Currency, Amount)> = None;
        for line in lines {
            let known = self.store.product(line.product.as_str())?;
            let Some(product) = known.filter(|product| product.available) else {
                let message = format!("{} is not on sale, by the catalogue that was read last", line.product);
                return Ok(Err(refusal("PRODUCT_NOT_AVAILABLE", message, &[])));
            };
            let currency = Currency::parse(&product.currency)?;
            let price = Amount::parse(&product.price, currency)?;
            let amount = price.checked_mul(u32::try_from(line.quantity)?)?;
            sum = Some(match sum {
                None => (currency, amount),
                Some((first, sum)) => (first, sum.checked_add(amount)?),
            });
            priced.push((product, line.quantity, amount));
        }
        let Some((currency, total)) = sum else {
            bail!("nothing is to be sold");
        };
        Ok(Ok(Priced {
            lines: priced,
            currency,
            total,
        }))
    }

    /// Signs a sale, and writes it down with all that belongs to it. Returns the receipt's number.
    fn sign_and_keep(&self, allowance: &Allowance, priced: &Priced, now: OffsetDateTime) -> anyhow::Result<u64> {
        let (identity, _) = self.enrolled()?;
        let key = self
            .home
            .read(KEY)
            .context("a terminal that sells without the network is enrolled with a code")?;
        let before = self.store.last_link()?;
        let number = before.number + 1;
        let statement = OfflineSaleStatement {
            center: identity.center.clone(),
            terminal: identity.terminal.clone(),
            number,
            previous_hash: hex::decode(&before.hash)?,
            allowance: allowance.number,
            detainee: allowance.detainee.clone(),
            lines: priced
                .lines
                .iter()
                .map(|(product, quantity, _)| OfflineSaleStatementLine {
                    product: product.id.clone(),
                    product_version: product.version,
                    quantity: *quantity,
                    unit_price: product.price.clone(),
                })
                .collect(),
            currency_code: priced.currency.code().to_owned(),
            total: priced.total.to_string(),
            sold_at_s: now.unix_timestamp(),
        };
        let signed = sign(&key, &statement)?;
        let hash = hex::encode(signed.hash);
        let slip = Slip {
            center: identity.center.clone(),
            terminal: identity.terminal.clone(),
            detainee: allowance.detainee.clone(),
            time: self.now()?,
            lines: priced.lines.iter().map(slip_line).collect(),
            currency: priced.currency.code().to_owned(),
            total: priced.total.to_string(),
            available_after: None,
            month_spent: None,
            month_limit: None,
            transaction: None,
            leaf_hash: None,
            request_id: None,
            offline: Some(OfflineSlip {
                number: u64::try_from(number)?,
                allowance: allowance.number,
                allowance_left: allowance.left.clone(),
                chain_hash: hash.clone(),
            }),
        };
        self.store.add_sale(allowance, Link { number, hash }, &signed, slip)
    }

    fn refuse(&self, refusal: &Refusal) -> anyhow::Result<Ending> {
        let value = json!({ "outcome": "refused", "refusal": tell::refusal(refusal) });
        let sentence = format!("Refused 未成交: {}: {}", refusal.reason, refusal.message);
        tell::tell(self.flags.json, &value, &sentence)?;
        Ok(Ending::Refused)
    }
}

fn slip_line((product, quantity, amount): &(Product, i32, Amount)) -> SlipLine {
    SlipLine {
        product: product.id.clone(),
        name: product.name.clone(),
        name_zh: product.name_zh.clone(),
        quantity: *quantity,
        unit_price: product.price.clone(),
        amount: amount.to_string(),
    }
}

/// A refusal of the terminal's own.
fn refusal(reason: &str, message: String, facts: &[(&str, String)]) -> Refusal {
    Refusal {
        reason: reason.to_owned(),
        message,
        facts: facts
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.clone()))
            .collect(),
    }
}
