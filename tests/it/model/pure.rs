//! The rules of the house once more, as small as they can be said: whole fen, lists and additions.

use std::collections::BTreeMap;

pub const PEOPLE: [&str; 3] = ["D1", "D2", "D3"];
/// Name, price in fen, and whether it counts against the month.
pub const SHELF: [(&str, i64, bool); 3] = [("RICE", 250, true), ("SOAP", 400, true), ("BOOK", 3000, false)];
const ORDER_MAX: i64 = 20_000;
const MONTH_MAX: i64 = 40_000;
const REMITTANCE_MAX: i64 = 100_000;
pub const BALANCE_CAP: i64 = 200_000;
/// Of every credit, in percent.
pub const SAVINGS_PERCENT: i64 = 10;
/// Debts take a fifth of a credit, and leave so much available.
const DEBT_SHARE: i64 = 5;
const DEBT_THRESHOLD: i64 = 10_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Standing {
    #[default]
    Active,
    Releasing,
    Released,
}

/// Money in an available account that came together.
#[derive(Debug)]
struct Layer {
    remittance: Option<usize>,
    left: i64,
    refunded: i64,
}

#[derive(Debug, Default)]
pub struct Person {
    pub standing: Standing,
    pub savings: i64,
    pub court_owed: i64,
    /// One debt at a time.
    pub debt_owed: i64,
    pub spent: i64,
    layers: Vec<Layer>,
}

impl Person {
    pub fn available(&self) -> i64 {
        self.layers.iter().map(|layer| layer.left).sum()
    }

    /// Takes the oldest money; what was taken of which layer.
    fn take(&mut self, amount: i64) -> Vec<(usize, i64)> {
        let mut taken = Vec::new();
        let mut rest = amount;
        for (index, layer) in self.layers.iter_mut().enumerate() {
            let part = rest.min(layer.left);
            if part > 0 {
                layer.left -= part;
                rest -= part;
                taken.push((index, part));
            }
        }
        assert_eq!(rest, 0);
        taken
    }

    /// Gives back the newest of what was taken.
    fn give_back(&mut self, taken: &mut Vec<(usize, i64)>, amount: i64) {
        let mut rest = amount;
        while rest > 0 {
            let (index, part) = taken.pop().expect("no more than was taken");
            let back = part.min(rest);
            self.layers[index].left += back;
            rest -= back;
            if part > back {
                taken.push((index, part - back));
            }
        }
    }
}

pub struct Bought {
    pub who: usize,
    pub lines: Vec<(usize, i64)>,
    returned: Vec<i64>,
    taken: Vec<(usize, i64)>,
}

pub struct Remitted {
    pub who: usize,
    pub amount: i64,
    day: u8,
    pub is_paid: bool,
    is_credited: bool,
    /// What of it is in suspense.
    suspended: i64,
    /// What was refunded of it out of suspense.
    returned: i64,
}

pub struct Refunding {
    pub who: usize,
    remittance: usize,
    amount: i64,
    from_suspense: bool,
    pub is_open: bool,
}

pub struct Leaving {
    pub who: usize,
    savings: i64,
    available: i64,
    taken: Vec<(usize, i64)>,
    pub is_open: bool,
}

pub struct Closed {
    total: i64,
    pub is_open: bool,
}

/// Everything there is.
#[derive(Default)]
pub struct Model {
    pub day: u8,
    pub people: [Person; 3],
    pub bought: Vec<Bought>,
    pub remitted: Vec<Remitted>,
    pub refunding: Vec<Refunding>,
    pub leaving: Vec<Leaving>,
    pub closed: Vec<Closed>,
    /// Day and amount of what V1 gained or lost and was not settled.
    unsettled: Vec<(u8, i64)>,
    /// The day on which the last settlement was closed, through the day before.
    closed_day: Option<u8>,
    /// All accounts of a code of the chart, but for people's and the vendor's.
    pub totals: BTreeMap<i16, i64>,
    pub owed: i64,
    pub transit: i64,
}

const BANK: i16 = 1001;
const CLEARING: i16 = 1101;
const SUSPENSE: i16 = 2301;
const REFUNDS: i16 = 2302;
const RELEASES: i16 = 2303;
const COURT: i16 = 2401;
const ADVANCES: i16 = 1201;

impl Model {
    fn add(&mut self, code: i16, amount: i64) {
        *self.totals.entry(code).or_default() += amount;
    }

    fn vendor(&mut self, amount: i64) {
        self.owed += amount;
        self.unsettled.push((self.day, amount));
    }

    pub fn endow(&mut self, who: usize, amount: i64) {
        self.add(BANK, amount);
        self.credit(who, None, amount);
    }

    fn credit(&mut self, who: usize, remittance: Option<usize>, amount: i64) {
        if amount > 0 {
            self.people[who].layers.push(Layer {
                remittance,
                left: amount,
                refunded: 0,
            });
        }
    }

    pub fn buy(&mut self, who: usize, lines: &[(usize, i64)]) -> &'static str {
        let sum = |lines: &mut dyn Iterator<Item = &(usize, i64)>| -> i64 {
            lines.map(|(product, count)| SHELF[*product].1 * count).sum()
        };
        let total = sum(&mut lines.iter());
        let counted = sum(&mut lines.iter().filter(|(product, _)| SHELF[*product].2));
        let person = &mut self.people[who];
        if person.standing != Standing::Active {
            return "DETAINEE_NOT_ACTIVE";
        } else if total > ORDER_MAX {
            return "ORDER_LIMIT_EXCEEDED";
        } else if counted > 0 && person.spent + counted > MONTH_MAX {
            return "MONTHLY_LIMIT_EXCEEDED";
        } else if total > person.available() {
            return "INSUFFICIENT_FUNDS";
        }
        person.spent += counted;
        let taken = person.take(total);
        self.vendor(total);
        self.bought.push(Bought {
            who,
            lines: lines.to_vec(),
            returned: vec![0; lines.len()],
            taken,
        });
        "ok"
    }

    pub fn take_back(&mut self, purchase: usize, line: usize, count: i64) -> &'static str {
        let bought = &mut self.bought[purchase];
        let person = &mut self.people[bought.who];
        let (product, quantity) = bought.lines[line];
        if person.standing != Standing::Active {
            return "DETAINEE_NOT_ACTIVE";
        } else if bought.returned[line] + count > quantity {
            return "RETURN_EXCEEDS_PURCHASE";
        }
        bought.returned[line] += count;
        let (_, price, counted) = SHELF[product];
        person.give_back(&mut bought.taken, price * count);
        person.spent -= if counted { price * count } else { 0 };
        self.vendor(-price * count);
        "ok"
    }

    pub fn order(&mut self, who: usize, amount: i64) -> &'static str {
        let in_flight = |order: &&Remitted| order.who == who && !order.is_paid && order.day == self.day;
        let in_flight: i64 = self.remitted.iter().filter(in_flight).map(|order| order.amount).sum();
        let person = &self.people[who];
        if person.standing != Standing::Active {
            return "DETAINEE_NOT_ACTIVE";
        } else if amount > REMITTANCE_MAX {
            return "REMITTANCE_LIMIT_EXCEEDED";
        } else if person.available() + person.savings + in_flight + amount > BALANCE_CAP {
            return "BALANCE_CAP_EXCEEDED";
        }
        self.remitted.push(Remitted {
            who,
            amount,
            day: self.day,
            is_paid: false,
            is_credited: false,
            suspended: 0,
            returned: 0,
        });
        "ok"
    }

    /// How much of it the cap lets in.
    fn accepted(&self, remittance: usize, amount: i64) -> i64 {
        let who = self.remitted[remittance].who;
        let others = self.remitted.iter().enumerate().filter(|(index, order)| {
            *index != remittance && order.who == who && !order.is_paid && order.day == self.day
        });
        let in_flight: i64 = others.map(|(_, order)| order.amount).sum();
        let person = &self.people[who];
        (BALANCE_CAP - person.available() - person.savings - in_flight).clamp(0, amount)
    }

    /// Whether it is credited, as far as the cap lets it in, and not suspended.
    pub fn pay(&mut self, remittance: usize) -> bool {
        let order = &mut self.remitted[remittance];
        order.is_paid = true;
        let (who, amount) = (order.who, order.amount);
        let accepted = match self.people[who].standing {
            Standing::Active => self.accepted(remittance, amount),
            _ => 0,
        };
        self.add(CLEARING, amount);
        self.add(SUSPENSE, amount - accepted);
        let order = &mut self.remitted[remittance];
        order.suspended = amount - accepted;
        order.is_credited = accepted > 0;
        if accepted > 0 {
            self.distribute(remittance, accepted);
        }
        accepted > 0
    }

    fn distribute(&mut self, remittance: usize, amount: i64) {
        let who = self.remitted[remittance].who;
        let person = &mut self.people[who];
        let court = person.court_owed.min(amount);
        person.court_owed -= court;
        let saved_of = |left: i64| (amount * SAVINGS_PERCENT / 100).min(left);
        let without_debts = amount - court - saved_of(amount - court);
        let above = (person.available() + without_debts - DEBT_THRESHOLD).max(0);
        let debt = person.debt_owed.min(amount / DEBT_SHARE).min(above).min(amount - court);
        person.debt_owed -= debt;
        let savings = saved_of(amount - court - debt);
        person.savings += savings;
        self.add(COURT, court);
        self.add(ADVANCES, -debt);
        self.credit(who, Some(remittance), amount - court - debt - savings);
    }

    pub fn advance(&mut self, who: usize, amount: i64) -> &'static str {
        if self.people[who].standing != Standing::Active {
            return "DETAINEE_NOT_ACTIVE";
        }
        self.people[who].debt_owed += amount;
        self.add(ADVANCES, amount);
        self.credit(who, None, amount);
        "ok"
    }

    /// Whether it is paid, not credited, and so its money is in suspense or was.
    pub fn is_suspended(&self, remittance: usize) -> bool {
        let order = &self.remitted[remittance];
        order.is_paid && !order.is_credited
    }

    /// Asks again about one in suspense: whether it is credited now.
    pub fn look_again(&mut self, remittance: usize) -> bool {
        let is_on_its_way = |refund: &Refunding| refund.is_open && refund.remittance == remittance;
        let order = &self.remitted[remittance];
        let (who, left) = (order.who, order.suspended);
        if self.people[who].standing != Standing::Active || left == 0 || self.refunding.iter().any(is_on_its_way) {
            return false;
        }
        let accepted = self.accepted(remittance, left);
        if accepted == 0 {
            return false;
        }
        let order = &mut self.remitted[remittance];
        order.is_credited = true;
        order.suspended = left - accepted;
        self.add(SUSPENSE, -accepted);
        self.distribute(remittance, accepted);
        true
    }

    pub fn refund(&mut self, remittance: usize, amount: i64) -> &'static str {
        let order = &self.remitted[remittance];
        let (who, original) = (order.who, order.amount);
        if !order.is_paid {
            return "NOT_FOUND";
        } else if !order.is_credited {
            return self.refund_suspended(remittance, amount);
        }
        let before = order.returned;
        let person = &mut self.people[who];
        if person.standing != Standing::Active {
            return "DETAINEE_NOT_ACTIVE";
        }
        let layer = person
            .layers
            .iter_mut()
            .find(|layer| layer.remittance == Some(remittance));
        let (left, refunded) = layer.as_ref().map_or((0, 0), |layer| (layer.left, layer.refunded));
        if before + refunded + amount > original {
            return "REFUND_EXCEEDS_ORIGINAL";
        } else if amount > left {
            return "REFUND_EXCEEDS_UNSPENT";
        }
        let layer = layer.expect("something is left of it");
        layer.left -= amount;
        layer.refunded += amount;
        self.add(REFUNDS, amount);
        self.refunding.push(Refunding {
            who,
            remittance,
            amount,
            from_suspense: false,
            is_open: true,
        });
        "ok"
    }

    fn refund_suspended(&mut self, remittance: usize, amount: i64) -> &'static str {
        let order = &mut self.remitted[remittance];
        if amount > order.suspended {
            return "REFUND_EXCEEDS_ORIGINAL";
        }
        order.suspended -= amount;
        order.returned += amount;
        let who = order.who;
        self.add(SUSPENSE, -amount);
        self.add(REFUNDS, amount);
        self.refunding.push(Refunding {
            who,
            remittance,
            amount,
            from_suspense: true,
            is_open: true,
        });
        "ok"
    }

    pub fn end_refund(&mut self, refund: usize, failed: bool) {
        let refunding = &mut self.refunding[refund];
        refunding.is_open = false;
        let (who, amount, remittance) = (refunding.who, refunding.amount, refunding.remittance);
        let from_suspense = refunding.from_suspense;
        self.add(REFUNDS, -amount);
        if failed && from_suspense {
            self.add(SUSPENSE, amount);
            self.remitted[remittance].suspended += amount;
            self.remitted[remittance].returned -= amount;
        } else if failed {
            let layers = &mut self.people[who].layers;
            let layer = layers.iter_mut().find(|layer| layer.remittance == Some(remittance));
            let layer = layer.expect("it was taken from there");
            layer.left += amount;
            layer.refunded -= amount;
        } else {
            self.add(CLEARING, -amount);
        }
    }

    pub fn release(&mut self, who: usize) -> &'static str {
        let person = &mut self.people[who];
        let (available, savings) = (person.available(), person.savings);
        if person.standing != Standing::Active {
            return "DETAINEE_NOT_ACTIVE";
        } else if self
            .refunding
            .iter()
            .any(|refund| refund.is_open && !refund.from_suspense && refund.who == who)
        {
            return "MONEY_IN_FLIGHT";
        }
        let is_poor = available + savings == 0;
        person.standing = if is_poor {
            Standing::Released
        } else {
            Standing::Releasing
        };
        person.savings = 0;
        let taken = person.take(available);
        self.add(RELEASES, available + savings);
        self.leaving.push(Leaving {
            who,
            savings,
            available,
            taken,
            is_open: !is_poor,
        });
        "ok"
    }

    pub fn end_release(&mut self, release: usize, failed: bool) -> &'static str {
        let leaving = &mut self.leaving[release];
        if !leaving.is_open {
            return "NOT_IN_TRANSIT";
        }
        leaving.is_open = false;
        let (available, savings) = (leaving.available, leaving.savings);
        let person = &mut self.people[leaving.who];
        if failed {
            person.standing = Standing::Active;
            person.savings += savings;
            person.give_back(&mut leaving.taken, available);
        } else {
            person.standing = Standing::Released;
        }
        self.add(RELEASES, -available - savings);
        self.add(BANK, if failed { 0 } else { -available - savings });
        "ok"
    }

    /// Closes what V1 is owed through yesterday.
    pub fn close(&mut self) -> &'static str {
        // A day that is closed is answered with its settlement.
        if self.closed_day == Some(self.day) {
            return "ok";
        }
        let through = |(day, _): &&(u8, i64)| *day < self.day;
        let total: i64 = self.unsettled.iter().filter(through).map(|(_, amount)| amount).sum();
        if total <= 0 {
            return "NOTHING_TO_PAY";
        } else if total > self.owed {
            return "SETTLEMENT_EXCEEDS_PAYABLE";
        }
        self.unsettled.retain(|(day, _)| *day >= self.day);
        self.owed -= total;
        self.transit += total;
        self.closed.push(Closed { total, is_open: true });
        self.closed_day = Some(self.day);
        "ok"
    }

    pub fn end_settlement(&mut self, settlement: usize, failed: bool) -> &'static str {
        let closed = &mut self.closed[settlement];
        if !closed.is_open {
            return "NOT_IN_TRANSIT";
        }
        closed.is_open = false;
        let total = closed.total;
        self.transit -= total;
        if failed {
            self.vendor(total);
        } else {
            self.add(BANK, -total);
        }
        "ok"
    }

    /// Assets less what is owed, which is nothing.
    pub fn imbalance(&self) -> i64 {
        let of = |code| self.totals.get(&code).copied().unwrap_or_default();
        let people: i64 = self
            .people
            .iter()
            .map(|person| person.available() + person.savings)
            .sum();
        of(BANK) + of(CLEARING) + of(ADVANCES)
            - people
            - self.owed
            - self.transit
            - [SUSPENSE, REFUNDS, RELEASES, COURT].map(of).iter().sum::<i64>()
    }
}
