//! What a split reads: policies, court orders and debts, pure.

use rust_decimal::Decimal;
use time::{Date, OffsetDateTime};

use crate::{
    ids::{CourtOrderId, DetaineeId, Seq},
    money::{Amount, Currency, MoneyError},
};

/// The most decimals of a percentage.
pub const PERCENT_SCALE_MAX: u32 = 4;

/// The rule of a part that pays back what was spent of a reversed credit.
pub const CLAIM: &str = "claim";
/// The rule of a part that a court collects.
pub const COURT_ORDER: &str = "court_order";
/// The rule of a part that repays the center.
pub const DEBT: &str = "debt";
/// The rule of the part that is saved.
pub const SAVINGS: &str = "savings";
/// The rule of the part that can be spent.
pub const REMAINDER: &str = "remainder";

/// A rule whose place in the order is the center's to choose. Claims always come before them, the remainder after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// Sums that courts want.
    CourtOrder,
    /// Debts to the center.
    Debt,
    /// Savings.
    Savings,
}

/// The order of the rules unless a center chooses another.
pub const RULE_ORDER: [Rule; 3] = [Rule::CourtOrder, Rule::Debt, Rule::Savings];

impl Rule {
    /// As parts and policies name it.
    pub const fn name(self) -> &'static str {
        match self {
            Rule::CourtOrder => COURT_ORDER,
            Rule::Debt => DEBT,
            Rule::Savings => SAVINGS,
        }
    }

    /// Reads an order: each rule once. None is no order.
    pub fn parse_order(names: &[String]) -> Option<[Rule; 3]> {
        let rule = |name: &String| RULE_ORDER.into_iter().find(|rule| rule.name() == name.as_str());
        let rules: Vec<Rule> = names.iter().map(rule).collect::<Option<_>>()?;
        let order: [Rule; 3] = rules.try_into().ok()?;
        RULE_ORDER.iter().all(|rule| order.contains(rule)).then_some(order)
    }
}

/// A version of a center's policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Percent of the gross credit that is saved, 0 to 100.
    pub savings_percent: Decimal,
    /// Savings are filled up to this balance; none is without bound.
    pub savings_cap: Option<Amount>,
    /// Percent of the gross credit that all debts together take at most, 0 to 100.
    pub debt_percent: Decimal,
    /// What debts leave available at least.
    pub debt_threshold: Amount,
    /// The rules between claims and the remainder, in the order they take their part.
    pub order: [Rule; 3],
    /// Counts the versions, from 1.
    pub version: i64,
    /// The first business date it holds on; none is always.
    pub effective_from: Option<Date>,
    /// When it was made, and by whom; none if nobody ever did.
    pub changed: Option<(OffsetDateTime, String)>,
}

/// The most of a credit that debts take, in percent, unless a center chooses otherwise.
const DEBT_PERCENT: Decimal = Decimal::from_parts(20, 0, 0, false, 0);
/// What debts leave available at least, unless a center chooses otherwise.
const DEBT_THRESHOLD: &str = "100";

impl Policy {
    /// What holds where nobody ever made a policy: nothing is saved, debts take at most 20 % and leave 100.
    pub fn initial(currency: Currency) -> Result<Policy, MoneyError> {
        Ok(Policy {
            savings_percent: Decimal::ZERO,
            savings_cap: None,
            debt_percent: DEBT_PERCENT,
            debt_threshold: Amount::parse(DEBT_THRESHOLD, currency)?,
            order: RULE_ORDER,
            version: 1,
            effective_from: None,
            changed: None,
        })
    }
}

/// All versions of a center's policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policies {
    initial: Policy,
    made: Vec<Policy>,
}

impl Policies {
    /// The versions made, in any order, after the one that needs no making.
    pub fn new(made: Vec<Policy>, currency: Currency) -> Result<Policies, MoneyError> {
        Ok(Policies {
            initial: Policy::initial(currency)?,
            made,
        })
    }

    /// The version that holds on a business date: of those that have begun the one that began last; of those that began on
    /// one date the highest. So what was announced comes true unless something else is announced for the same date.
    pub fn holding_on(&self, date: Date) -> &Policy {
        let begun = |policy: &&Policy| policy.effective_from.is_none_or(|from| from <= date);
        let made = self.made.iter().filter(begun);
        made.max_by_key(|policy| (policy.effective_from, policy.version))
            .unwrap_or(&self.initial)
    }

    /// The number of the newest version, announced or not.
    pub fn newest(&self) -> i64 {
        let versions = self.made.iter().map(|policy| policy.version);
        versions.max().unwrap_or(self.initial.version)
    }
}

/// Whether a court order is collected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CourtOrderState {
    /// Until it is paid.
    Active,
    /// Not for now.
    Suspended,
    /// Not any more.
    Ended,
}

impl CourtOrderState {
    /// The event that leads to it, as it is stored.
    pub const fn event(self) -> &'static str {
        match self {
            CourtOrderState::Active => "RESUMED",
            CourtOrderState::Suspended => "SUSPENDED",
            CourtOrderState::Ended => "ENDED",
        }
    }

    /// The state that an event leads to.
    pub fn after(event: &str) -> Option<CourtOrderState> {
        use CourtOrderState as S;
        [S::Active, S::Suspended, S::Ended]
            .into_iter()
            .find(|state| state.event() == event)
    }
}

/// A fixed sum a court wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CourtOrder {
    /// Its id.
    pub id: CourtOrderId,
    /// The document's number, unique for its detainee.
    pub document: String,
    /// The whole sum.
    pub total: Amount,
    /// What was collected so far.
    pub collected: Amount,
    /// Lower ranks are collected first; equal ones share.
    pub rank: i32,
    /// Its place among the detainee's orders, from 1.
    pub position: i32,
    /// Whether it is collected.
    pub state: CourtOrderState,
    /// When it was recorded.
    pub created_at: OffsetDateTime,
}

impl CourtOrder {
    /// What is still owed.
    pub fn owed(&self) -> Result<Amount, MoneyError> {
        self.total.checked_sub(self.collected)
    }
}

/// A change of a court order's state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CourtOrderEvent {
    /// The state it has since.
    pub state: CourtOrderState,
    /// The document that demands it.
    pub document: String,
    /// When it was recorded.
    pub at: OffsetDateTime,
    /// By whom.
    pub by: String,
}

/// What a debt is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DebtKind {
    /// Money that the detainee was given.
    Advance,
    /// Something that the detainee broke.
    Damage,
    /// What was spent of a credit that was reversed.
    Claim,
}

impl DebtKind {
    /// As it is stored.
    pub const fn name(self) -> &'static str {
        match self {
            DebtKind::Advance => "ADVANCE",
            DebtKind::Damage => "DAMAGE",
            DebtKind::Claim => "CLAIM",
        }
    }

    /// Reads what is stored.
    pub fn from_name(name: &str) -> Option<DebtKind> {
        [DebtKind::Advance, DebtKind::Damage, DebtKind::Claim]
            .into_iter()
            .find(|kind| kind.name() == name)
    }
}

/// What a detainee owes the center.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Debt {
    /// The transaction that recorded it.
    pub seq: Seq,
    /// Who owes it.
    pub detainee: DetaineeId,
    /// What it is for.
    pub kind: DebtKind,
    /// The document's number, unique for its detainee.
    pub document: String,
    /// The whole debt.
    pub amount: Amount,
    /// What was repaid so far.
    pub repaid: Amount,
    /// What was written off so far.
    pub written_off: Amount,
    /// Whether the detainee consents to deductions.
    pub is_consented: bool,
    /// When it was recorded.
    pub recorded_at: OffsetDateTime,
    /// The approval that allowed an advance.
    pub approval: Option<i64>,
}

impl Debt {
    /// What is still owed.
    pub fn owed(&self) -> Result<Amount, MoneyError> {
        self.amount.checked_sub(self.repaid)?.checked_sub(self.written_off)
    }
}

/// Reads a percentage: a plain decimal number from 0 to 100 with at most [`PERCENT_SCALE_MAX`] decimals. None if it is not.
pub fn parse_percent(text: &str) -> Option<Decimal> {
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let percent = plain.then(|| Decimal::from_str_exact(text).ok())??.normalize();
    (percent <= Decimal::ONE_HUNDRED && percent.scale() <= PERCENT_SCALE_MAX).then_some(percent)
}

#[cfg(test)]
mod tests {
    use time::macros::date;

    use super::*;

    #[test]
    fn percentages_are_plain_numbers_from_0_to_100() {
        for good in ["0", "10", "12.5", "100", "100.0", "0.0001"] {
            assert!(parse_percent(good).is_some(), "{good}");
        }
        for bad in ["", "-1", "100.01", "1e1", "+5", " 5", "0.00001", "1.2.3", "ten"] {
            assert_eq!(parse_percent(bad), None, "{bad}");
        }
    }

    #[test]
    fn an_order_has_each_rule_once() {
        let order = |names: &str| Rule::parse_order(&names.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
        assert_eq!(order("court_order debt savings"), Some(RULE_ORDER));
        assert_eq!(
            order("savings court_order debt"),
            Some([Rule::Savings, Rule::CourtOrder, Rule::Debt])
        );
        for bad in [
            "",
            "debt",
            "debt debt savings",
            "court_order debt savings savings",
            "court_order debt remainder",
        ] {
            assert_eq!(order(bad), None, "{bad}");
        }
    }

    #[test]
    fn what_is_announced_comes_true_on_its_date() {
        let currency = Currency::parse("CNY").unwrap();
        let version = |version, from| Policy {
            version,
            effective_from: Some(from),
            ..Policy::initial(currency).unwrap()
        };
        let may = |day| Date::from_calendar_date(2031, time::Month::May, day).unwrap();
        // 2 is announced for the 20th; 3 holds from the 10th until then; 4 takes 2's place.
        let mut made = vec![version(3, may(10)), version(2, may(20))];
        let holding = |made: &[Policy], date| Policies::new(made.to_vec(), currency).unwrap().holding_on(date).version;
        let on = |made: &[Policy]| [9, 10, 19, 20, 31].map(|day| holding(made, may(day)));
        assert_eq!(on(&made), [1, 3, 3, 2, 2]);
        made.push(version(4, date!(2031 - 05 - 20)));
        assert_eq!(on(&made), [1, 3, 3, 4, 4]);
        assert_eq!(Policies::new(made, currency).unwrap().newest(), 4);
        assert_eq!(Policies::new(Vec::new(), currency).unwrap().newest(), 1);
    }

    #[test]
    fn states_and_kinds_come_back() {
        use CourtOrderState as S;
        for state in [S::Active, S::Suspended, S::Ended] {
            assert_eq!(S::after(state.event()), Some(state));
        }
        for kind in [DebtKind::Advance, DebtKind::Damage, DebtKind::Claim] {
            assert_eq!(DebtKind::from_name(kind.name()), Some(kind));
        }
    }
}
