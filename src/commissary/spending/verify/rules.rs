//! The limits that held when something was spent, read and reckoned again for verification.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use time::{Date, OffsetDateTime};

use crate::{
    commissary::{
        Category, Window,
        spending::{Measure, MeasureKind, measure},
    },
    custody::{self, SpendingVersion},
    db::Conn,
    ledger::{
        record,
        verify::{Page, VerifyError},
    },
    proto::JournalRecord,
};

/// Most versions of the rules of a center.
const VERSIONS_MAX: i64 = 1_000_000;

/// Every version of the rules, every measure, and what they are about.
#[derive(Debug)]
pub(super) struct Rules {
    /// Newest first.
    versions: Vec<SpendingVersion>,
    measures: BTreeMap<String, Vec<Measure>>,
    tiers: BTreeMap<String, i16>,
    categories: BTreeMap<String, Category>,
}

impl Rules {
    pub async fn load(conn: &mut Conn, page: &Page<'_>) -> Result<Rules, VerifyError> {
        let versions = custody::spending_versions_in_tx(conn, page.center, None, VERSIONS_MAX).await?;
        for (no, version) in (1..).zip(versions.iter().rev()) {
            if version.version != no {
                let what = "its number is not the next";
                return Err(page.row_differs("spending_rules", version.version, what));
            }
        }
        let mut measures: BTreeMap<String, Vec<Measure>> = BTreeMap::new();
        for measure in measure::measures(conn, page).await? {
            measures.entry(measure.detainee.to_string()).or_default().push(measure);
        }
        let tiers = super::tiers(conn, page).await?;
        let categories = super::categories(conn, page).await?;
        Ok(Rules {
            versions,
            measures,
            tiers,
            categories,
        })
    }

    /// The rules that a record was decided by.
    pub fn version(&self, page: &Page<'_>, record: &JournalRecord) -> Result<&SpendingVersion, VerifyError> {
        let found = self.versions.iter().find(|version| version.after.0 < record.seq);
        found.ok_or_else(|| page.differs(record, "there were no rules of spending yet"))
    }

    /// A detainee's measures that held when a record was recorded, newest first.
    fn held<'a>(&'a self, detainee: &str, at: OffsetDateTime) -> impl Iterator<Item = &'a Measure> {
        let all = self.measures.get(detainee).map(Vec::as_slice).unwrap_or_default();
        all.iter().rev().filter(move |measure| {
            let is_ended = measure.end.as_ref().is_some_and(|end| end.at <= at);
            measure.starts_at <= at && at < measure.ends_at && !is_ended
        })
    }

    /// The limit of a window, and the measure that it comes from.
    pub fn limit(
        &self,
        page: &Page<'_>,
        record: &JournalRecord,
        detainee: &str,
        (window, date): (Window, Date),
    ) -> Result<Option<(Decimal, i64)>, VerifyError> {
        let changed = self
            .held(detainee, instant(page, record)?)
            .find_map(|measure| match &measure.kind {
                MeasureKind::Override { window: its, amount } if *its == window => Some((amount.value(), measure.no)),
                _ => None,
            });
        if changed.is_some() {
            return Ok(changed);
        }
        let version = self.version(page, record)?;
        let tier = self.tiers.get(detainee);
        let tier = tier.ok_or_else(|| page.differs(record, format!("there is no detainee {detainee}")))?;
        let of_tier = version.spending.tiers.get(tier).copied().unwrap_or_default();
        let amount = match window {
            Window::Order => Some(of_tier.order.unwrap_or(version.purchase_amount_max)),
            Window::Day => of_tier.day,
            Window::Week => of_tier.week,
            Window::Month => version.tier_limits.get(tier).copied(),
        };
        let is_festive = version.festival_months.contains(&i16::from(u8::from(date.month())));
        let bonus = match window {
            Window::Month if is_festive => version.festival_bonus.value(),
            _ => Decimal::ZERO,
        };
        Ok(amount.map(|amount| (amount.value() + bonus, 0)))
    }

    /// Why the detainee should not have had a product, or it should have counted otherwise.
    pub fn wrong(
        &self,
        page: &Page<'_>,
        record: &JournalRecord,
        detainee: &str,
        (product, is_counted): (&str, bool),
    ) -> Result<Option<String>, VerifyError> {
        let Some(category) = self.categories.get(product) else {
            return Ok(Some(format!("there is no product {product}")));
        };
        let counts = !self.version(page, record)?.spending.exempt.contains(category);
        if counts != is_counted {
            return Ok(Some(format!("{product} counts otherwise than the rules say")));
        }
        let against = self
            .held(detainee, instant(page, record)?)
            .find(|measure| match &measure.kind {
                MeasureKind::Restriction { categories } => categories.contains(category),
                MeasureKind::Freeze { .. } => true,
                MeasureKind::Override { .. } => false,
            });
        Ok(against.map(|measure| format!("{product} was bought although measure {} was in force", measure.no)))
    }
}

fn instant(page: &Page<'_>, record: &JournalRecord) -> Result<OffsetDateTime, VerifyError> {
    let at = record.recorded_at.as_ref().and_then(record::instant);
    at.ok_or_else(|| page.differs(record, "it does not say when it was recorded"))
}
