//! Grants against the journal, and against the rule that allows one.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use time::{Date, Duration};

use crate::{
    commissary::spending::SpentCheck,
    db::Conn,
    ids::{AccountNo, Seq},
    ledger::{
        balance, record,
        verify::{Owner, Page, VerifyError},
    },
    proto::{JournalRecord, KitCancelFacts, KitGrantFacts},
};

/// A grant that was replayed.
#[derive(Debug, Clone)]
struct Granted {
    detainee: String,
    on: Date,
    facts: KitGrantFacts,
    cancelled: Option<i64>,
}

/// Grants by their number.
#[derive(Debug, Default)]
pub(in crate::commissary) struct KitCheck(BTreeMap<i64, Granted>);

impl KitCheck {
    /// Replays a grant: its sum, whom it is about, what the detainee had, by which rule, and that the last is long enough ago.
    pub async fn granted(
        &mut self,
        conn: &mut Conn,
        page: &Page<'_>,
        record: &JournalRecord,
        (facts, spent): (&KitGrantFacts, &SpentCheck),
    ) -> Result<(), VerifyError> {
        let vendors: Vec<Owner> = facts.lines.iter().map(|line| Owner::vendor(&line.vendor)).collect();
        page.parties(record, &vendors)?;
        let mut sum = Decimal::ZERO;
        for line in &facts.lines {
            sum += page.amount(record, &line.amount)?;
        }
        if sum != page.amount(record, &facts.total)? {
            return Err(page.differs(record, format!("its lines sum to {sum}")));
        }
        let (below, days) = spent.grant_rule(page, record)?;
        let told = page.amount(record, &facts.below)?;
        if (below, i32::from(days)) != (told, facts.days) {
            let what = format!(
                "was granted by the rule {told} for {} days, not {below} for {days}",
                facts.days
            );
            return Err(page.differs(record, what));
        }
        let had = had(conn, page, record, &facts.detainee).await?;
        if page.amount(record, &facts.balance)? != had || had >= below {
            return Err(page.differs(record, format!("the detainee had {had}")));
        }
        let on = record::date(&record.effective_date);
        let on = on.ok_or_else(|| page.differs(record, "its date cannot be read"))?;
        let mut before = self.0.iter().rev();
        let last = before.find(|(_, granted)| granted.detainee == facts.detainee && granted.cancelled.is_none());
        if let Some((seq, last)) = last
            && on < last.on.saturating_add(Duration::days(days.into()))
        {
            return Err(page.differs(record, format!("grant {seq} is not {days} days ago")));
        }
        self.0.insert(
            record.seq,
            Granted {
                detainee: facts.detainee.clone(),
                on,
                facts: facts.clone(),
                cancelled: None,
            },
        );
        Ok(())
    }

    /// Replays the taking back of a grant.
    pub fn cancelled(
        &mut self,
        page: &Page<'_>,
        record: &JournalRecord,
        facts: &KitCancelFacts,
    ) -> Result<(), VerifyError> {
        let vendors: Vec<Owner> = facts.lines.iter().map(|line| Owner::vendor(&line.vendor)).collect();
        page.parties(record, &vendors)?;
        let Some(granted) = self
            .0
            .get_mut(&record.reverses)
            .filter(|granted| granted.cancelled.is_none())
        else {
            return Err(page.differs(record, format!("takes back {}, which is no grant", record.reverses)));
        };
        granted.cancelled = Some(record.seq);
        let bare = |lines: &[crate::proto::PurchaseLineFacts]| -> Vec<_> {
            let line =
                |line: &crate::proto::PurchaseLineFacts| (line.product.clone(), line.quantity, line.amount.clone());
            lines.iter().map(line).collect()
        };
        let is_same = granted.detainee == facts.detainee
            && granted.facts.total == facts.total
            && bare(&granted.facts.lines) == bare(&facts.lines);
        if is_same {
            Ok(())
        } else {
            Err(page.differs(record, format!("is not what grant {} was", record.reverses)))
        }
    }

    /// Compares with what is stored.
    pub async fn end(&self, conn: &mut Conn, page: &Page<'_>) -> Result<(), VerifyError> {
        let rows = sqlx::query!(
            r#"select g.seq as "seq!", g.detainee_id as "detainee_id!", g.granted_on as "granted_on!", c.seq as "cancelled?"
               from kit_grant g left join kit_grant_cancelled c on c.center_id = g.center_id and c.grant_seq = g.seq
               where g.center_id = $1"#,
            page.center.no.0,
        )
        .fetch_all(conn)
        .await?;
        let stored = rows
            .into_iter()
            .map(|row| (row.seq, (row.detainee_id, row.granted_on, row.cancelled)));
        let explained = self
            .0
            .iter()
            .map(|(seq, granted)| (*seq, (granted.detainee.clone(), granted.on, granted.cancelled)));
        page.same_rows("kit_grant", &explained.collect(), &stored.collect())
    }
}

/// What a detainee had right before a record: available, held and savings.
async fn had(conn: &mut Conn, page: &Page<'_>, record: &JournalRecord, detainee: &str) -> Result<Decimal, VerifyError> {
    let base = sqlx::query_scalar!(
        "select account_base from detainee where center_id = $1 and detainee_id = $2",
        page.center.no.0,
        detainee,
    )
    .fetch_optional(&mut *conn)
    .await?;
    let base = base.ok_or_else(|| page.differs(record, format!("there is no detainee {detainee}")))?;
    let accounts: Vec<AccountNo> = (0..3).map(|offset| AccountNo(base).offset(offset)).collect();
    let balances = balance::at(conn, page.center, &accounts, Seq(record.seq - 1)).await?;
    Ok(balances.into_iter().map(crate::money::Amount::value).sum())
}
