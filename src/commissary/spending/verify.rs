//! What was spent in every window, reckoned again from the journal.

mod rules;

use std::collections::BTreeMap;

use rules::Rules;
use rust_decimal::Decimal;
use time::Date;

use super::Window;
use crate::{
    clock,
    commissary::{Category, moving, store::category_of},
    db::Conn,
    ledger::verify::{Page, VerifyError},
    proto::{JournalRecord, PurchaseLineFacts, SpendingFacts, TransactionKind, TransferFacts},
};

/// What each detainee has spent on each day, and what came back of it; and the limits that held.
#[derive(Debug, Default)]
pub(in crate::commissary) struct SpentCheck {
    days: BTreeMap<(String, Date), Decimal>,
    rules: Option<Rules>,
}

/// What a record says was spent.
#[derive(Debug, Clone, Copy)]
pub(in crate::commissary) struct Told<'a> {
    /// By whom.
    pub detainee: &'a str,
    /// The whole.
    pub total: &'a str,
    /// For what.
    pub lines: &'a [PurchaseLineFacts],
    /// What it has spent of the limits; every record that spends tells it.
    pub spending: Option<&'a SpendingFacts>,
}

impl SpentCheck {
    /// Reads the rules and the measures, once.
    pub async fn page(&mut self, conn: &mut Conn, page: &Page<'_>) -> Result<(), VerifyError> {
        if self.rules.is_none() {
            self.rules = Some(Rules::load(conn, page).await?);
        }
        Ok(())
    }

    /// Counts what a record spends, and compares every window, every limit, and what was bought with what held then.
    pub fn spent(&mut self, page: &Page<'_>, record: &JournalRecord, told: Told<'_>) -> Result<(), VerifyError> {
        let facts = told.spending;
        let facts = facts.ok_or_else(|| page.differs(record, "its facts tell no spending"))?;
        let date = date_in(page, record, &facts.date)?;
        if facts.date != record.effective_date {
            return Err(page.differs(record, format!("it counts on {}", facts.date)));
        }
        let mut counted = Decimal::ZERO;
        for line in told.lines.iter().filter(|line| line.counted) {
            counted += page.amount(record, &line.amount)?;
        }
        if counted != page.amount(record, &facts.counted)? {
            return Err(page.differs(record, format!("{} counts, its lines say {counted}", facts.counted)));
        }
        self.move_by(page, record, (told.detainee, date), counted)?;
        let rules = self.rules.as_ref();
        let rules = rules.ok_or_else(|| page.differs(record, "the rules were not read"))?;
        for line in told.lines {
            let wrong = rules.wrong(page, record, told.detainee, (&line.product, line.counted))?;
            if let Some(what) = wrong {
                return Err(page.differs(record, what));
            }
        }
        let total = page.amount(record, told.total)?;
        self.windows(page, record, told.detainee, facts, (date, counted, Some(total)))
    }

    /// Counts what a record spends on whatever it is, and compares every window: of what is set aside, and of what was handed out
    /// before anybody was asked.
    pub fn amount_spent(
        &mut self,
        page: &Page<'_>,
        record: &JournalRecord,
        detainee: &str,
        facts: &SpendingFacts,
    ) -> Result<(), VerifyError> {
        let date = date_in(page, record, &facts.date)?;
        if facts.date != record.effective_date {
            return Err(page.differs(record, format!("it counts on {}", facts.date)));
        }
        let counted = page.amount(record, &facts.counted)?;
        self.move_by(page, record, (detainee, date), counted)?;
        self.windows(page, record, detainee, facts, (date, counted, None))
    }

    /// Compares the windows, and the limit of one order when it is one.
    fn windows(
        &self,
        page: &Page<'_>,
        record: &JournalRecord,
        detainee: &str,
        facts: &SpendingFacts,
        (date, counted, order): (Date, Decimal, Option<Decimal>),
    ) -> Result<(), VerifyError> {
        let rules = self.rules.as_ref();
        let rules = rules.ok_or_else(|| page.differs(record, "the rules were not read"))?;
        let mut expected = Vec::new();
        for window in Window::ALL {
            let Some((limit, by)) = rules.limit(page, record, detainee, (window, date))? else {
                continue;
            };
            let (spent, moved) = match window {
                Window::Order => (order.unwrap_or_default(), order.unwrap_or_default()),
                _ => (self.within(detainee, window, date), counted),
            };
            if !moved.is_zero() && spent > limit {
                let what = format!(
                    "{spent} are spent in the {}, more than the limit of {limit}",
                    window.name()
                );
                return Err(page.differs(record, what));
            }
            if window != Window::Order {
                expected.push((window.name(), spent, limit, by));
            }
        }
        let mut stored = Vec::new();
        for window in &facts.windows {
            let (spent, limit) = (page.amount(record, &window.spent)?, page.amount(record, &window.limit)?);
            stored.push((window.window.as_str(), spent, limit, window.r#override));
        }
        if stored == expected {
            Ok(())
        } else {
            let what = format!("records as windows {stored:?}, replay says {expected:?}");
            Err(page.differs(record, what))
        }
    }

    /// Who got a kit when a record was recorded: whoever had less than this for so many days.
    pub fn grant_rule(&self, page: &Page<'_>, record: &JournalRecord) -> Result<(Decimal, i16), VerifyError> {
        let rules = self.rules.as_ref();
        let rules = rules.ok_or_else(|| page.differs(record, "the rules were not read"))?;
        let spending = &rules.version(page, record)?.spending;
        Ok((spending.grant_below.value(), spending.grant_days))
    }

    /// Takes what a record gives back from the date on which it was spent.
    pub fn given_back(
        &mut self,
        page: &Page<'_>,
        record: &JournalRecord,
        detainee: &str,
        date: &str,
        counted: Decimal,
    ) -> Result<(), VerifyError> {
        let date = date_in(page, record, date)?;
        self.move_by(page, record, (detainee, date), -counted)
    }

    /// What was spent elsewhere counts here; and where it was spent, all is told that still counts.
    pub fn moved(&mut self, page: &Page<'_>, record: &JournalRecord, facts: &TransferFacts) -> Result<(), VerifyError> {
        let (mut of_month, mut told) = (Decimal::ZERO, BTreeMap::new());
        for day in &facts.spent {
            let (date, amount) = (date_in(page, record, &day.date)?, page.amount(record, &day.amount)?);
            if clock::month_text(clock::month_of(date)) == facts.month {
                of_month = of_month.saturating_add(amount);
            }
            if told.insert(date, amount).is_some() {
                return Err(page.differs(record, format!("it tells {date} twice")));
            }
        }
        let month_spent = page.amount(record, &facts.month_spent)?;
        if of_month != month_spent {
            let what = format!("{month_spent} is spent in the month, its days say {of_month}");
            return Err(page.differs(record, what));
        }
        if record.kind() == TransactionKind::TransferIn {
            for (date, amount) in told {
                self.move_by(page, record, (&facts.detainee, date), amount)?;
            }
            return Ok(());
        }
        // Where they are received, the date may be another one.
        let since = moving::counts_since(date_in(page, record, &record.effective_date)?);
        let since = told.keys().next().map_or(since, |first| since.min(*first));
        let days = self.days.range((facts.detainee.clone(), since)..);
        let days = days.take_while(|((detainee, _), _)| *detainee == facts.detainee);
        let spent: BTreeMap<Date, Decimal> = days
            .filter(|(_, spent)| !spent.is_zero())
            .map(|((_, date), spent)| (*date, *spent))
            .collect();
        if told == spent {
            return Ok(());
        }
        let what = format!("it tells as spent {told:?}, replay says {spent:?}");
        Err(page.differs(record, what))
    }

    /// What does not count leaves no trace.
    fn move_by(
        &mut self,
        page: &Page<'_>,
        record: &JournalRecord,
        (detainee, date): (&str, Date),
        counted: Decimal,
    ) -> Result<(), VerifyError> {
        if counted.is_zero() {
            return Ok(());
        }
        let spent = self.days.entry((detainee.to_owned(), date)).or_default();
        *spent = spent
            .checked_add(counted)
            .ok_or_else(|| page.differs(record, "what is spent overflows"))?;
        if spent.is_sign_negative() && !spent.is_zero() {
            return Err(page.differs(record, format!("more came back than was spent on {date}")));
        }
        Ok(())
    }

    fn within(&self, detainee: &str, window: Window, date: Date) -> Decimal {
        let (first, last) = window.dates(date).into_inner();
        let days = self
            .days
            .range((detainee.to_owned(), first)..=(detainee.to_owned(), last));
        days.map(|(_, spent)| *spent).sum()
    }

    /// Compares the rows.
    pub async fn end(&self, conn: &mut Conn, page: &Page<'_>) -> Result<(), VerifyError> {
        let rows = sqlx::query!(
            r#"select detainee_id, month, spent, days as "days!: Vec<Option<Decimal>>"
               from monthly_spending where center_id = $1"#,
            page.center.no.0
        )
        .fetch_all(conn)
        .await?;
        let key = |detainee: &str, month: Date| format!("{detainee} {}", clock::month_text(month));
        let mut stored = BTreeMap::new();
        for row in rows {
            let key = key(&row.detainee_id, row.month);
            let days: BTreeMap<usize, Decimal> = (1..)
                .zip(row.days)
                .filter_map(|(day, spent)| Some((day, spent?)))
                .collect();
            stored.insert(key, (row.spent, days));
        }
        let mut explained: BTreeMap<String, (Decimal, BTreeMap<usize, Decimal>)> = BTreeMap::new();
        for ((detainee, date), spent) in &self.days {
            let (month, days) = explained.entry(key(detainee, clock::month_of(*date))).or_default();
            *month += spent;
            days.insert(date.day().into(), *spent);
        }
        page.same_rows("monthly_spending", &explained, &stored)
    }
}

fn date_in(page: &Page<'_>, record: &JournalRecord, text: &str) -> Result<Date, VerifyError> {
    clock::parse_date(text).ok_or_else(|| page.differs(record, format!("its facts tell the date {text:?}")))
}

/// The tier of each detainee.
async fn tiers(conn: &mut Conn, page: &Page<'_>) -> Result<BTreeMap<String, i16>, VerifyError> {
    let rows = sqlx::query!(
        "select detainee_id, tier from detainee where center_id = $1",
        page.center.no.0
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (row.detainee_id, row.tier)).collect())
}

/// The category of each product.
async fn categories(conn: &mut Conn, page: &Page<'_>) -> Result<BTreeMap<String, Category>, VerifyError> {
    let rows = sqlx::query!(
        "select product_id, category from product where center_id = $1",
        page.center.no.0
    )
    .fetch_all(conn)
    .await?;
    let mut found = BTreeMap::new();
    for row in rows {
        found.insert(row.product_id, category_of(&row.category)?);
    }
    Ok(found)
}
