//! The demonstration's own books, kept by pencil beside the service's: what everybody should have by now.
//!
//! They are a few sums and share nothing with the service but the type of an amount, so that both being wrong alike is
//! unlikely. Every balance and every refusal that the service answers is compared with them.

use std::collections::BTreeMap;

use anyhow::Context as _;

use super::{cast::HOUSES, goods::Product};
use crate::{
    money::{Amount, Currency},
    proto::Money,
};

/// The most that one order may cost.
const ORDER_MAX: &str = "200.00";
/// The monthly limits of the tiers from 1.
const TIER_LIMITS: [&str; 4] = ["400.00", "500.00", "600.00", "800.00"];
/// What the gateway keeps of a payment, in thousandths, rounded down to a fen.
const FEE_PER_MILLE: i64 = 6;

/// An amount in CNY.
pub fn cny(text: &str) -> anyhow::Result<Amount> {
    Amount::parse(text, Currency::parse("CNY")?).with_context(|| format!("{text:?} is no amount"))
}

/// Nothing.
pub fn zero() -> anyhow::Result<Amount> {
    cny("0.00")
}

/// An amount as it stands in an answer, in the form of a text.
pub fn text(money: Option<&Money>) -> String {
    money.map_or_else(|| "(none)".to_owned(), |money| money.amount.clone())
}

/// An amount, to put into a request.
pub fn money(text: &str) -> Option<Money> {
    Some(Money {
        currency_code: "CNY".to_owned(),
        amount: text.to_owned(),
    })
}

/// What somebody wants to buy: products and how many of each.
pub type Basket = Vec<(&'static Product, u32)>;

/// What should become of an order.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// It is sold.
    Sold {
        total: Amount,
        available_after: Amount,
        limit_remaining: Amount,
    },
    /// It is refused, for a reason of the wire.
    Refused(&'static str),
}

/// One detainee's page.
#[derive(Debug, Clone)]
pub struct Page {
    center: &'static str,
    limit: Amount,
    pub spent: Amount,
    pub available: Amount,
    pub savings: Amount,
}

/// One center's page.
#[derive(Debug, Clone)]
struct Totals {
    /// At the gateway, ours.
    clearing: Amount,
    /// What left the bank.
    paid_out: Amount,
    court: Amount,
    fees: Amount,
    /// Commission that was kept.
    income: Amount,
    /// What authorities withhold.
    withheld: Amount,
    /// What other centers are to give for people who moved here; below zero when this one is to give.
    between: Amount,
}

/// One vendor's page.
#[derive(Debug, Clone)]
pub struct Sales {
    center: &'static str,
    pub credited: Amount,
    pub returned: Amount,
    /// In how many postings.
    pub postings: u32,
}

impl Sales {
    /// What is owed.
    pub fn owed(&self) -> anyhow::Result<Amount> {
        Ok(self.credited.checked_sub(self.returned)?)
    }
}

/// All pages.
#[derive(Debug, Clone)]
pub struct Books {
    people: BTreeMap<&'static str, Page>,
    vendors: BTreeMap<&'static str, Sales>,
    centers: BTreeMap<&'static str, Totals>,
}

impl Books {
    /// Empty pages for the whole cast.
    pub fn open() -> anyhow::Result<Books> {
        let nothing = zero()?;
        let mut books = Books {
            people: BTreeMap::new(),
            vendors: BTreeMap::new(),
            centers: BTreeMap::new(),
        };
        for house in &HOUSES {
            for detainee in house.detainees {
                let limit = TIER_LIMITS.get(usize::try_from(detainee.tier - 1)?).context("tier")?;
                let page = Page {
                    center: house.id,
                    limit: cny(limit)?,
                    spent: nothing,
                    available: nothing,
                    savings: nothing,
                };
                books.people.insert(detainee.id, page);
            }
            for vendor in house.vendors {
                let sales = Sales {
                    center: house.id,
                    credited: nothing,
                    returned: nothing,
                    postings: 0,
                };
                books.vendors.insert(vendor.id, sales);
            }
            let totals = Totals {
                clearing: nothing,
                paid_out: nothing,
                court: nothing,
                fees: nothing,
                income: nothing,
                withheld: nothing,
                between: nothing,
            };
            books.centers.insert(house.id, totals);
        }
        Ok(books)
    }

    /// A detainee's page.
    pub fn page(&self, detainee: &str) -> anyhow::Result<&Page> {
        self.people
            .get(detainee)
            .with_context(|| format!("{detainee} has no page"))
    }

    /// What is left of a detainee's month.
    pub fn headroom(&self, detainee: &str) -> anyhow::Result<Amount> {
        let page = self.page(detainee)?;
        Ok(page.limit.checked_sub(page.spent)?)
    }

    /// A vendor's page.
    pub fn sales(&self, vendor: &str) -> anyhow::Result<&Sales> {
        self.vendors
            .get(vendor)
            .with_context(|| format!("{vendor} has no page"))
    }

    fn page_mut(&mut self, detainee: &str) -> anyhow::Result<&mut Page> {
        self.people
            .get_mut(detainee)
            .with_context(|| format!("{detainee} has no page"))
    }

    fn totals_mut(&mut self, center: &str) -> anyhow::Result<&mut Totals> {
        self.centers
            .get_mut(center)
            .with_context(|| format!("{center} has no page"))
    }

    /// A remittance: what the court, the savings and the detainee get of it.
    pub fn credit(&mut self, detainee: &str, court: Amount, savings: Amount, rest: Amount) -> anyhow::Result<()> {
        let page = self.page_mut(detainee)?;
        page.savings = page.savings.checked_add(savings)?;
        page.available = page.available.checked_add(rest)?;
        let center = page.center;
        let gross = court.checked_add(savings)?.checked_add(rest)?;
        let totals = self.totals_mut(center)?;
        totals.court = totals.court.checked_add(court)?;
        totals.clearing = totals.clearing.checked_add(gross)?;
        Ok(())
    }

    /// What the gateway keeps of a payment, rounded half up.
    pub fn fee(gross: Amount) -> anyhow::Result<Amount> {
        let fen = gross.value() * rust_decimal::Decimal::new(FEE_PER_MILLE, 3);
        Ok(Amount::from_decimal(
            fen.round_dp_with_strategy(2, rust_decimal::RoundingStrategy::MidpointAwayFromZero),
            gross.currency(),
        )?)
    }

    /// The fees of a day's bill.
    pub fn charge(&mut self, center: &str, fees: Amount) -> anyhow::Result<()> {
        let totals = self.totals_mut(center)?;
        totals.fees = totals.fees.checked_add(fees)?;
        totals.clearing = totals.clearing.checked_sub(fees)?;
        Ok(())
    }

    /// An order: what should become of it; and if it is sold, it is written down.
    pub fn order(&mut self, detainee: &str, basket: &Basket) -> anyhow::Result<Verdict> {
        let (mut total, mut counted) = (zero()?, zero()?);
        let mut by_vendor: BTreeMap<&str, Amount> = BTreeMap::new();
        for (product, quantity) in basket {
            let amount = cny(product.price)?.checked_mul(*quantity)?;
            total = total.checked_add(amount)?;
            if product.is_counted() {
                counted = counted.checked_add(amount)?;
            }
            let sum = by_vendor.entry(product.vendor).or_insert(zero()?);
            *sum = sum.checked_add(amount)?;
        }
        let page = self.page_mut(detainee)?;
        let spent = page.spent.checked_add(counted)?;
        if total > cny(ORDER_MAX)? {
            return Ok(Verdict::Refused("ORDER_LIMIT_EXCEEDED"));
        }
        if counted.is_positive() && spent > page.limit {
            return Ok(Verdict::Refused("MONTHLY_LIMIT_EXCEEDED"));
        }
        if total > page.available {
            return Ok(Verdict::Refused("INSUFFICIENT_FUNDS"));
        }
        page.spent = spent;
        page.available = page.available.checked_sub(total)?;
        let verdict = Verdict::Sold {
            total,
            available_after: page.available,
            limit_remaining: page.limit.checked_sub(spent)?,
        };
        for (vendor, amount) in by_vendor {
            let sales = self.vendors.get_mut(vendor).context("vendor")?;
            sales.credited = sales.credited.checked_add(amount)?;
            sales.postings += 1;
        }
        Ok(verdict)
    }

    /// Goods that come back; returns what they cost.
    pub fn take_back(&mut self, detainee: &str, product: &Product, quantity: u32) -> anyhow::Result<Amount> {
        let amount = cny(product.price)?.checked_mul(quantity)?;
        let page = self.page_mut(detainee)?;
        page.available = page.available.checked_add(amount)?;
        if product.is_counted() {
            page.spent = page.spent.checked_sub(amount)?;
        }
        let sales = self.vendors.get_mut(product.vendor).context("vendor")?;
        sales.returned = sales.returned.checked_add(amount)?;
        sales.postings += 1;
        Ok(amount)
    }

    /// Money that goes back to a payer through the gateway.
    pub fn refund(&mut self, detainee: &str, amount: Amount) -> anyhow::Result<()> {
        let page = self.page_mut(detainee)?;
        page.available = page.available.checked_sub(amount)?;
        let center = page.center;
        let totals = self.totals_mut(center)?;
        totals.clearing = totals.clearing.checked_sub(amount)?;
        Ok(())
    }

    /// Somebody leaves with everything; returns how much that is.
    pub fn release(&mut self, detainee: &str) -> anyhow::Result<Amount> {
        let nothing = zero()?;
        let page = self.page_mut(detainee)?;
        let all = page.available.checked_add(page.savings)?;
        (page.available, page.savings) = (nothing, nothing);
        let center = page.center;
        let totals = self.totals_mut(center)?;
        totals.paid_out = totals.paid_out.checked_add(all)?;
        Ok(all)
    }

    /// An authority withholds some of what somebody could spend.
    pub fn withhold(&mut self, detainee: &str, amount: Amount) -> anyhow::Result<()> {
        let page = self.page_mut(detainee)?;
        page.available = page.available.checked_sub(amount)?;
        let center = page.center;
        let totals = self.totals_mut(center)?;
        totals.withheld = totals.withheld.checked_add(amount)?;
        Ok(())
    }

    /// Somebody moves with everything, also with what is withheld; returns how much that is.
    pub fn transfer(
        &mut self,
        detainee: &str,
        from: &str,
        to: &'static str,
        withheld: Amount,
    ) -> anyhow::Result<Amount> {
        let page = self.page_mut(detainee)?;
        page.center = to;
        let all = page.available.checked_add(page.savings)?.checked_add(withheld)?;
        let left = self.totals_mut(from)?;
        left.withheld = left.withheld.checked_sub(withheld)?;
        left.between = left.between.checked_sub(all)?;
        let received = self.totals_mut(to)?;
        received.withheld = received.withheld.checked_add(withheld)?;
        received.between = received.between.checked_add(all)?;
        Ok(all)
    }

    /// A vendor is paid what is owed less a commission in percent; returns what is kept and what is paid.
    pub fn settle(&mut self, vendor: &str, percent: i64) -> anyhow::Result<[Amount; 2]> {
        let nothing = zero()?;
        let sales = self.vendors.get_mut(vendor).context("vendor")?;
        let owed = sales.owed()?;
        let fen = owed.value() * rust_decimal::Decimal::new(percent, 2);
        let kept = Amount::from_decimal(fen.trunc_with_scale(2), owed.currency())?;
        let paid = owed.checked_sub(kept)?;
        (sales.credited, sales.returned, sales.postings) = (nothing, nothing, 0);
        let center = sales.center;
        let totals = self.totals_mut(center)?;
        totals.paid_out = totals.paid_out.checked_add(paid)?;
        totals.income = totals.income.checked_add(kept)?;
        Ok([kept, paid])
    }

    /// What each term of a center's proof should be, by the chart's code; whatever is not here should be zero.
    pub fn terms(&self, center: &str) -> anyhow::Result<BTreeMap<i32, Amount>> {
        let nothing = zero()?;
        let totals = self.centers.get(center).context("center")?;
        let (mut available, mut savings, mut payable) = (nothing, nothing, nothing);
        for page in self.people.values().filter(|page| page.center == center) {
            available = available.checked_add(page.available)?;
            savings = savings.checked_add(page.savings)?;
        }
        for sales in self.vendors.values().filter(|sales| sales.center == center) {
            payable = payable.checked_add(sales.owed()?)?;
        }
        Ok(BTreeMap::from([
            (1001, nothing.checked_sub(totals.paid_out)?),
            (1101, totals.clearing),
            (1301, totals.between),
            (2101, available),
            (2103, savings),
            (2104, totals.withheld),
            (2201, payable),
            (2401, totals.court),
            (4101, totals.income),
            (5101, totals.fees),
        ]))
    }
}
