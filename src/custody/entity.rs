//! Centers' rules and detainees, pure.

use std::collections::BTreeMap;

use time::{Date, OffsetDateTime};

use super::SpendingRules;
use crate::{
    ids::{AccountNo, CenterId, DetaineeId, Seq},
    money::{Amount, Currency, MoneyError},
};

/// A center's rules. All amounts are in the center's currency.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Most that one order may cost.
    pub purchase_amount_max: Amount,
    /// Monthly spending limit of each regime tier.
    pub tier_limits: BTreeMap<i16, Amount>,
    /// Added to every tier's limit in a festival month.
    pub festival_bonus: Amount,
    /// The festival months, 1 to 12.
    pub festival_months: Vec<i16>,
    /// Most that one remittance may be.
    pub remittance_amount_max: Amount,
    /// Most that a detainee may have: available, held, savings and payments in flight.
    pub balance_cap: Amount,
    /// How long a remittance's quote, and the headroom it reserves, lasts, in seconds.
    pub quote_ttl_s: i32,
    /// How many payments of one payer are accepted in a month, by when they were ordered; [`Settings::UNLIMITED`] for any.
    pub payment_count_max: i32,
    /// Which payments are held for review.
    pub screening: Screening,
    /// The rules of spending beside the month's.
    pub spending: SpendingRules,
}

/// A version of a center's rules of spending.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpendingVersion {
    /// 1, 2, 3 …
    pub version: i64,
    /// It holds for the transactions after this one.
    pub after: Seq,
    /// Most that one order may cost.
    pub purchase_amount_max: Amount,
    /// Monthly limit of each tier.
    pub tier_limits: BTreeMap<i16, Amount>,
    /// Added to it in a festival month.
    pub festival_bonus: Amount,
    /// The festival months, 1 to 12.
    pub festival_months: Vec<i16>,
    /// The others.
    pub spending: SpendingRules,
    /// When it was changed to them.
    pub changed_at: OffsetDateTime,
    /// By whom.
    pub changed_by: String,
}

/// When a payment is held for review, and for how long. A most of [`Settings::UNLIMITED`] switches its rule off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Screening {
    /// Most payments of one payer within `payment_days`.
    pub payment_max: i32,
    /// In days.
    pub payment_days: i32,
    /// Most payers for one detainee within `party_days`.
    pub payer_max: i32,
    /// Most detainees for one payer within `party_days`.
    pub detainee_max: i32,
    /// In days.
    pub party_days: i32,
    /// How long a payment is held at most, in hours. Then it goes back.
    pub review_hours: i32,
}

impl Settings {
    /// The most payments, payers or detainees that mean: any number.
    pub const UNLIMITED: i32 = 1000;

    /// The published defaults: 200 an order; 400, 500, 600 and 800 a month by tier, 200 more in festival months; 1,000 a
    /// remittance, one a month of each payer; a cap of 5,000; quotes of 30 minutes. Held for review, for 72 hours at most, is
    /// what is more than 3 payments of one payer in a week, 3 payers for one detainee or 3 detainees for one payer.
    pub fn defaults(currency: Currency) -> Result<Settings, MoneyError> {
        let amount = |text: &str| Amount::parse(text, currency);
        Ok(Settings {
            purchase_amount_max: amount("200")?,
            tier_limits: [
                (1, amount("400")?),
                (2, amount("500")?),
                (3, amount("600")?),
                (4, amount("800")?),
            ]
            .into(),
            festival_bonus: amount("200")?,
            festival_months: Vec::new(),
            remittance_amount_max: amount("1000")?,
            balance_cap: amount("5000")?,
            quote_ttl_s: 1800,
            payment_count_max: 1,
            screening: Screening {
                payment_max: 3,
                payment_days: 7,
                payer_max: 3,
                detainee_max: 3,
                party_days: 28,
                review_hours: 72,
            },
            spending: SpendingRules::defaults(currency)?,
        })
    }

    /// Whether other rules say the same of spending.
    pub(super) fn spends_as(&self, other: &Settings) -> bool {
        self.purchase_amount_max == other.purchase_amount_max
            && self.tier_limits == other.tier_limits
            && self.festival_bonus == other.festival_bonus
            && self.festival_months == other.festival_months
            && self.spending == other.spending
    }

    /// The monthly limit of a tier in the month of a business date; none when the tier does not exist.
    pub fn monthly_limit(&self, tier: i16, date: Date) -> Result<Option<Amount>, MoneyError> {
        let Some(limit) = self.tier_limits.get(&tier) else {
            return Ok(None);
        };
        let month = i16::from(u8::from(date.month()));
        if self.festival_months.contains(&month) {
            return limit.checked_add(self.festival_bonus).map(Some);
        }
        Ok(Some(*limit))
    }
}

/// A center as people see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CenterProfile {
    /// Its id.
    pub id: CenterId,
    /// Its name.
    pub name: String,
    /// Its name in Chinese.
    pub name_zh: String,
    /// IANA name of the zone of its business dates.
    pub time_zone: String,
    /// Its currency.
    pub currency: Currency,
    /// Its rules.
    pub settings: Settings,
    /// Since when.
    pub created_at: OffsetDateTime,
}

/// Where a detainee stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DetaineeState {
    /// Held here.
    Active,
    /// Leaving: the balance is on its way out, new orders are blocked.
    Releasing,
    /// Gone, paid out, accounts at zero.
    Released,
    /// Dead: what there is is the heirs'.
    Deceased,
    /// Gone without leave: frozen until caught.
    Escaped,
    /// Booked twice: the money is with the other booking.
    Merged,
    /// Moved to another center with everything; accounts at zero. A stay does not come back from there.
    Transferred,
}

impl DetaineeState {
    const ALL: [DetaineeState; 7] = [
        DetaineeState::Active,
        DetaineeState::Releasing,
        DetaineeState::Released,
        DetaineeState::Deceased,
        DetaineeState::Escaped,
        DetaineeState::Merged,
        DetaineeState::Transferred,
    ];

    /// As it is stored.
    pub const fn name(self) -> &'static str {
        match self {
            DetaineeState::Active => "active",
            DetaineeState::Releasing => "releasing",
            DetaineeState::Released => "released",
            DetaineeState::Deceased => "deceased",
            DetaineeState::Escaped => "escaped",
            DetaineeState::Merged => "merged",
            DetaineeState::Transferred => "transferred",
        }
    }

    /// Reads what is stored.
    pub fn from_name(name: &str) -> Option<DetaineeState> {
        DetaineeState::ALL.into_iter().find(|state| state.name() == name)
    }

    /// Whether the person is gone, so that money that still comes goes back to whoever sent it. Who is leaving may stay yet, and
    /// whoever moved to another center is followed by it.
    pub const fn is_gone(self) -> bool {
        !matches!(
            self,
            DetaineeState::Active | DetaineeState::Releasing | DetaineeState::Transferred
        )
    }
}

/// A stay in some center: who in which.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stay {
    /// The center.
    pub center: CenterId,
    /// The custody number there.
    pub detainee: DetaineeId,
}

impl Stay {
    /// Reads what is stored: `{center}/{detainee}`.
    pub fn parse(text: &str) -> Option<Stay> {
        let (center, detainee) = text.split_once('/')?;
        Some(Stay {
            center: CenterId::parse(center).ok()?,
            detainee: DetaineeId::parse(detainee).ok()?,
        })
    }
}

impl std::fmt::Display for Stay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.center, self.detainee)
    }
}

/// A person held in a center.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Detainee {
    /// The custody number.
    pub id: DetaineeId,
    /// The person's name.
    pub name: String,
    /// In Chinese.
    pub name_zh: String,
    /// Where the person stands.
    pub state: DetaineeState,
    /// The regime tier.
    pub tier: i16,
    /// Number of the available account; held, savings and withheld follow it.
    pub account_base: AccountNo,
    /// Since when.
    pub admitted_at: OffsetDateTime,
    /// When the person was born, if that was told.
    pub birth_date: Option<Date>,
    /// Whether the person is convicted.
    pub is_convicted: bool,
    /// The stay in another center that follows this one.
    pub went_to: Option<Stay>,
    /// The stay in another center before this one.
    pub came_from: Option<Stay>,
}

impl Detainee {
    /// The account that can be spent.
    pub fn available(&self) -> AccountNo {
        self.account_base
    }

    /// All four accounts: available, held, savings, withheld.
    pub fn accounts(&self) -> [AccountNo; 4] {
        let base = self.account_base.0;
        [
            AccountNo(base),
            AccountNo(base + 1),
            AccountNo(base + 2),
            AccountNo(base + 3),
        ]
    }
}

#[cfg(test)]
mod tests {
    use time::macros::date;

    use super::*;

    #[test]
    fn festival_months_add_the_bonus() {
        let currency = Currency::parse("CNY").unwrap();
        let settings = Settings {
            festival_months: vec![2, 10],
            ..Settings::defaults(currency).unwrap()
        };
        let limit = |tier, date| {
            settings
                .monthly_limit(tier, date)
                .unwrap()
                .map(|limit| limit.to_string())
        };
        assert_eq!(limit(1, date!(2026 - 01 - 31)).as_deref(), Some("400.00"));
        assert_eq!(limit(1, date!(2026 - 02 - 01)).as_deref(), Some("600.00"));
        assert_eq!(limit(4, date!(2026 - 10 - 01)).as_deref(), Some("1000.00"));
        assert_eq!(limit(9, date!(2026 - 10 - 01)), None);
    }
}
