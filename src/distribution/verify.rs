//! What courts have collected and what detainees owe, against the records that explain it.

use std::collections::BTreeMap;

use futures::future::{BoxFuture, FutureExt as _};
use rust_decimal::Decimal;
use time::OffsetDateTime;

use super::{
    entity::{CLAIM, COURT_ORDER, DEBT, DebtKind},
    reversal::claim_document,
};
use crate::{
    db::Conn,
    ids::Seq,
    ledger::{
        chart, record,
        verify::{Check, Owner, Page, VerifyError},
    },
    proto::{
        CreditReversalFacts, DistributionPart, JournalRecord, MovedFacts, TransactionKind, TransferFacts,
        WriteOffFacts, journal_record::Facts, moved_facts,
    },
};

/// What credits have collected for each court order, by detainee and document, and what was owed and repaid of each debt.
#[derive(Debug, Default)]
pub struct CollectedCheck {
    orders: BTreeMap<(String, String), Collected>,
    debts: BTreeMap<i64, Owing>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Collected {
    collected: Decimal,
    /// What the records say is still owed.
    owed: Decimal,
}

/// A debt as the records tell it, and what they say was repaid.
#[derive(Debug, Clone, PartialEq)]
struct Owing {
    debt: StoredDebt,
    repaid: Decimal,
    written_off: Decimal,
}

#[derive(Debug, Clone, PartialEq)]
struct StoredDebt {
    detainee: String,
    kind: String,
    document: String,
    amount: Decimal,
    is_consented: bool,
    approval: Option<i64>,
    recorded_at: Option<OffsetDateTime>,
}

impl Check for CollectedCheck {
    fn page<'a>(&'a mut self, conn: &'a mut Conn, page: &'a Page<'a>) -> BoxFuture<'a, Result<(), VerifyError>> {
        async move {
            write_offs(conn, page).await?;
            for record in page.records {
                match &record.facts {
                    Some(Facts::Credit(facts)) => self.credit(page, record, &facts.detainee, &facts.parts)?,
                    Some(Facts::UnmatchedCredit(facts)) => self.credit(page, record, &facts.detainee, &facts.parts)?,
                    Some(Facts::CreditReversal(facts)) => self.reversal(page, record, facts)?,
                    Some(Facts::WriteOff(facts)) => self.write_off(page, record, facts)?,
                    Some(Facts::Forwarded(facts)) => self.credit(page, record, &facts.detainee, &facts.parts)?,
                    Some(Facts::Transfer(facts)) => self.moved_orders(page, record, facts)?,
                    Some(Facts::Moved(facts)) => self.moved_debt(page, record, facts)?,
                    Some(Facts::Debt(facts)) => {
                        page.parties(record, &[Owner::detainee(&facts.detainee)])?;
                        let debt = StoredDebt {
                            detainee: facts.detainee.clone(),
                            kind: facts.kind.clone(),
                            document: facts.document.clone(),
                            amount: page.amount(record, &facts.amount)?,
                            is_consented: facts.consented,
                            approval: facts.approval.as_ref().map(|approval| approval.approval),
                            recorded_at: recorded_at(record),
                        };
                        self.owe(record, debt);
                    }
                    _ => {}
                }
            }
            Ok(())
        }
        .boxed()
    }

    fn end<'a>(&'a mut self, conn: &'a mut Conn, page: &'a Page<'a>) -> BoxFuture<'a, Result<(), VerifyError>> {
        async move {
            self.compare_orders(conn, page).await?;
            self.compare_debts(conn, page).await?;
            self.compare_owed(conn, page).await
        }
        .boxed()
    }
}

impl CollectedCheck {
    fn owe(&mut self, record: &JournalRecord, debt: StoredDebt) {
        let owing = Owing {
            debt,
            repaid: Decimal::ZERO,
            written_off: Decimal::ZERO,
        };
        self.debts.insert(record.seq, owing);
    }

    fn credit(
        &mut self,
        page: &Page<'_>,
        record: &JournalRecord,
        detainee: &str,
        parts: &[DistributionPart],
    ) -> Result<(), VerifyError> {
        for part in parts {
            let amount = || page.amount(record, &part.amount);
            match part.rule.as_str() {
                COURT_ORDER => {
                    let key = (detainee.to_owned(), part.document.clone());
                    let order = self.orders.entry(key).or_default();
                    order.collected = sum(page, record, order.collected, amount()?)?;
                    order.owed = page.amount(record, &part.still_owed)?;
                }
                CLAIM | DEBT => {
                    let (amount, told) = (amount()?, page.amount(record, &part.still_owed)?);
                    let owing = self.owing(page, record, part.debt, detainee)?;
                    owing.repaid = sum(page, record, owing.repaid, amount)?;
                    let owed = sum(page, record, owing.debt.amount, -owing.repaid)?;
                    let owed = sum(page, record, owed, -owing.written_off)?;
                    if owed != told {
                        let what = format!("it says that {told} of debt {} is still owed, it is {owed}", part.debt);
                        return Err(page.differs(record, what));
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn reversal(
        &mut self,
        page: &Page<'_>,
        record: &JournalRecord,
        facts: &CreditReversalFacts,
    ) -> Result<(), VerifyError> {
        page.parties(record, &[Owner::detainee(&facts.detainee)])?;
        for part in &facts.parts {
            let amount = page.amount(record, &part.amount)?;
            match part.rule.as_str() {
                COURT_ORDER => {
                    let key = (facts.detainee.clone(), part.document.clone());
                    let order = self.orders.entry(key).or_default();
                    order.collected = sum(page, record, order.collected, -amount)?;
                    order.owed = sum(page, record, order.owed, amount)?;
                }
                CLAIM | DEBT => {
                    let owing = self.owing(page, record, part.debt, &facts.detainee)?;
                    owing.repaid = sum(page, record, owing.repaid, -amount)?;
                }
                _ => {}
            }
        }
        let claimed = page.amount(record, &facts.claimed)?;
        if !claimed.is_zero() {
            let debt = StoredDebt {
                detainee: facts.detainee.clone(),
                kind: DebtKind::Claim.name().to_owned(),
                document: claim_document(Seq(record.reverses)),
                amount: claimed,
                is_consented: false,
                approval: None,
                recorded_at: recorded_at(record),
            };
            self.owe(record, debt);
        }
        Ok(())
    }

    /// What is written off is owed, and told right.
    fn write_off(&mut self, page: &Page<'_>, record: &JournalRecord, facts: &WriteOffFacts) -> Result<(), VerifyError> {
        page.parties(record, &[])?;
        let (amount, told) = (
            page.amount(record, &facts.amount)?,
            page.amount(record, &facts.still_owed)?,
        );
        let owing = self.owing(page, record, facts.debt, &facts.detainee)?;
        owing.written_off = sum(page, record, owing.written_off, amount)?;
        let owed = sum(page, record, owing.debt.amount, -owing.repaid)?;
        let owed = sum(page, record, owed, -owing.written_off)?;
        if owed != told || owed.is_sign_negative() && !owed.is_zero() {
            let what = format!("it says that {told} of debt {} is still owed, it is {owed}", facts.debt);
            return Err(page.differs(record, what));
        }
        Ok(())
    }

    /// What another center has collected for the courts of somebody who is received.
    fn moved_orders(
        &mut self,
        page: &Page<'_>,
        record: &JournalRecord,
        facts: &TransferFacts,
    ) -> Result<(), VerifyError> {
        if record.kind() != TransactionKind::TransferIn {
            return Ok(());
        }
        for order in &facts.court_orders {
            let (total, collected) = (
                page.amount(record, &order.total)?,
                page.amount(record, &order.collected)?,
            );
            let owed = sum(page, record, total, -collected)?;
            let key = (facts.detainee.clone(), order.document.clone());
            self.orders.insert(key, Collected { collected, owed });
        }
        Ok(())
    }

    /// A debt leaves with its debtor, or comes with them.
    fn moved_debt(&mut self, page: &Page<'_>, record: &JournalRecord, facts: &MovedFacts) -> Result<(), VerifyError> {
        let Some(moved_facts::What::Debt(told)) = &facts.what else {
            return Ok(());
        };
        let amount = page.amount(record, &facts.amount)?;
        if record.kind() == TransactionKind::MovedOut {
            let owing = self.owing(page, record, record.reverses, &facts.detainee)?;
            owing.repaid = sum(page, record, owing.repaid, amount)?;
            let gone = sum(page, record, owing.repaid, owing.written_off)?;
            return if gone == owing.debt.amount {
                Ok(())
            } else {
                Err(page.differs(
                    record,
                    format!("{amount} is not all that is owed of debt {}", record.reverses),
                ))
            };
        }
        let debt = StoredDebt {
            detainee: facts.detainee.clone(),
            kind: told.kind.clone(),
            document: told.document.clone(),
            amount,
            is_consented: told.consented,
            approval: None,
            recorded_at: recorded_at(record),
        };
        self.owe(record, debt);
        Ok(())
    }

    /// A debt of somebody that a record is about.
    fn owing(
        &mut self,
        page: &Page<'_>,
        record: &JournalRecord,
        debt: i64,
        detainee: &str,
    ) -> Result<&mut Owing, VerifyError> {
        self.debts
            .get_mut(&debt)
            .filter(|owing| owing.debt.detainee == detainee)
            .ok_or_else(|| page.differs(record, format!("{detainee} has no debt {debt}")))
    }

    async fn compare_orders(&self, conn: &mut Conn, page: &Page<'_>) -> Result<(), VerifyError> {
        let rows = sqlx::query!(
            r#"select coalesce(o.detainee_id, c.detainee_id) as "detainee_id!",
                      coalesce(o.court_order_id, c.court_order_id) as "court_order_id!",
                      o.document as "document?", o.total as "total?", coalesce(c.collected, 0) as "collected!"
               from (select * from court_order where center_id = $1) o
               full join (select * from court_order_collected where center_id = $1) c
                 on c.detainee_id = o.detainee_id and c.court_order_id = o.court_order_id
               order by 1, 2"#,
            page.center.no.0,
        )
        .fetch_all(conn)
        .await?;
        let mut left = self.orders.clone();
        for row in rows {
            let key = format!("{} {}", row.detainee_id, row.court_order_id);
            let (Some(document), Some(total)) = (row.document, row.total) else {
                return Err(page.row_differs("court_order_collected", key, "has no court order"));
            };
            match left.remove(&(row.detainee_id, document)) {
                Some(told) if told.collected != row.collected => {
                    let what = format!("stored as {}, the records say {}", row.collected, told.collected);
                    return Err(page.row_differs("court_order_collected", key, what));
                }
                Some(told) if total.checked_sub(told.collected) != Some(told.owed) => {
                    let what = format!(
                        "its total is {total}; the records say {} collected and {} still owed",
                        told.collected, told.owed
                    );
                    return Err(page.row_differs("court_order", key, what));
                }
                None if !row.collected.is_zero() => {
                    let what = format!("stored as {}, no record explains it", row.collected);
                    return Err(page.row_differs("court_order_collected", key, what));
                }
                _ => {}
            }
        }
        match left.into_iter().next() {
            Some(((detainee, document), _)) => {
                let what = "not stored, but records collect for it";
                Err(page.row_differs("court_order", format!("{detainee} {document}"), what))
            }
            None => Ok(()),
        }
    }

    async fn compare_debts(&self, conn: &mut Conn, page: &Page<'_>) -> Result<(), VerifyError> {
        let rows = sqlx::query!(
            "select seq, detainee_id, kind, document, amount, is_consented, recorded_at, approval_no from debt where center_id = $1",
            page.center.no.0,
        )
        .fetch_all(&mut *conn)
        .await?;
        let stored = rows.into_iter().map(|row| {
            let debt = StoredDebt {
                detainee: row.detainee_id,
                kind: row.kind,
                document: row.document,
                amount: row.amount,
                is_consented: row.is_consented,
                approval: row.approval_no,
                recorded_at: Some(row.recorded_at),
            };
            (row.seq, debt)
        });
        let explained = self.debts.iter().map(|(seq, owing)| (*seq, owing.debt.clone()));
        page.same_rows("debt", &explained.collect(), &stored.collect())?;
        let rows = sqlx::query!(
            "select seq, repaid from debt_repaid where center_id = $1",
            page.center.no.0
        )
        .fetch_all(conn)
        .await?;
        let stored: BTreeMap<i64, Decimal> = rows.into_iter().map(|row| (row.seq, row.repaid)).collect();
        // A row stays when a credit that repaid the debt is taken back.
        let explained = self
            .debts
            .iter()
            .filter(|(seq, owing)| !owing.repaid.is_zero() || stored.contains_key(seq))
            .map(|(seq, owing)| (*seq, owing.repaid))
            .collect();
        page.same_rows("debt_repaid", &explained, &stored)
    }

    /// What all debts together still are is the balance of the one account that they are in.
    async fn compare_owed(&self, conn: &mut Conn, page: &Page<'_>) -> Result<(), VerifyError> {
        let balance = sqlx::query_scalar!(
            "select balance from account_balance where center_id = $1 and account_no = $2",
            page.center.no.0,
            chart::ADVANCES.0,
        )
        .fetch_one(conn)
        .await?;
        let owed = self.debts.values().try_fold(Decimal::ZERO, |sum, owing| {
            sum.checked_add(owing.debt.amount)?
                .checked_sub(owing.repaid)?
                .checked_sub(owing.written_off)
        });
        if owed == Some(balance) {
            return Ok(());
        }
        let owed = owed.map_or_else(|| "too much to count".to_owned(), |owed| owed.to_string());
        let what = format!("detainees owe {balance}, the records of their debts say {owed}");
        Err(page.row_differs("account_balance", chart::ADVANCES, what))
    }
}

async fn write_offs(conn: &mut Conn, page: &Page<'_>) -> Result<(), VerifyError> {
    let rows = sqlx::query!(
        "select seq, debt_seq, amount, document, approval_no from write_off where center_id = $1 and seq > $2 and seq <= $3",
        page.center.no.0,
        page.after.0,
        page.through.0,
    )
    .fetch_all(conn)
    .await?;
    let stored = rows
        .into_iter()
        .map(|row| (row.seq, (row.debt_seq, row.amount, row.document, Some(row.approval_no))))
        .collect();
    let mut explained = BTreeMap::new();
    for record in page.records {
        if let Some(Facts::WriteOff(facts)) = &record.facts {
            let amount = page.amount(record, &facts.amount)?;
            let approval = facts.approval.as_ref().map(|approval| approval.approval);
            explained.insert(record.seq, (facts.debt, amount, facts.document.clone(), approval));
        }
    }
    page.same_rows("write_off", &explained, &stored)
}

fn recorded_at(record: &JournalRecord) -> Option<OffsetDateTime> {
    record.recorded_at.as_ref().and_then(record::instant)
}

fn sum(page: &Page<'_>, record: &JournalRecord, sum: Decimal, more: Decimal) -> Result<Decimal, VerifyError> {
    let sum = sum.checked_add(more);
    sum.ok_or_else(|| page.differs(record, "what it collects overflows"))
}
