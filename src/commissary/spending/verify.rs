//! What was spent in every window, reckoned again from the journal.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use time::Date;

use super::Window;
use crate::{
    clock,
    db::Conn,
    ledger::verify::{Page, VerifyError},
    proto::{JournalRecord, SpendingFacts},
};

/// What each detainee has spent on each day, and what came back of it.
#[derive(Debug, Default)]
pub(in crate::commissary) struct SpentCheck {
    days: BTreeMap<(String, Date), Decimal>,
}

impl SpentCheck {
    /// Counts what a record spends, and compares every window that it tells of.
    pub fn spent(
        &mut self,
        page: &Page<'_>,
        record: &JournalRecord,
        detainee: &str,
        told: &SpendingFacts,
    ) -> Result<(), VerifyError> {
        let date = date_in(page, record, &told.date)?;
        if told.date != record.effective_date {
            return Err(page.differs(record, format!("it counts on {}", told.date)));
        }
        let counted = page.amount(record, &told.counted)?;
        self.move_by(page, record, (detainee, date), counted)?;
        for facts in &told.windows {
            let window = Window::from_name(&facts.window)
                .filter(|window| *window != Window::Order)
                .ok_or_else(|| page.differs(record, format!("its facts tell the window {:?}", facts.window)))?;
            let spent = self.within(detainee, window, date);
            let told = page.amount(record, &facts.spent)?;
            if told != spent {
                let what = format!(
                    "records that {told} are spent in the {}, replay says {spent}",
                    facts.window
                );
                return Err(page.differs(record, what));
            }
            let limit = page.amount(record, &facts.limit)?;
            if !counted.is_zero() && spent > limit {
                let what = format!(
                    "{spent} are spent in the {}, more than the limit of {limit}",
                    facts.window
                );
                return Err(page.differs(record, what));
            }
        }
        Ok(())
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
