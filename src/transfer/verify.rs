//! Transfers and withholdings against the records of both journals they concern.

use std::collections::BTreeMap;

use futures::future::{BoxFuture, FutureExt as _};
use rust_decimal::Decimal;

use crate::{
    approval,
    db::Conn,
    ledger::{
        chart, record,
        verify::{Check, Owner, Page, VerifyError},
    },
    proto::{
        ApprovalFacts, ElsewhereFacts, JournalRecord, LayerFacts, TransactionKind, journal_record::Facts,
        moved_facts::What,
    },
};

/// Every side of what goes between centers has its other side, with the same sums; clearing between centers is zero over all of
/// them; layers sum to the money they tell of; what is withheld of somebody is what their orders withhold.
#[derive(Debug, Default)]
pub struct TransfersCheck {
    transfers: BTreeMap<i64, TransferKey>,
    withholdings: BTreeMap<i64, (String, String, Decimal, Option<i64>)>,
    ends: BTreeMap<i64, (i64, String, Decimal)>,
    /// Where stays went, and where they came from.
    went_to: BTreeMap<String, String>,
    came_from: BTreeMap<String, String>,
}

/// Direction, detainee, the other side, document and approval of a transfer.
type TransferKey = (String, String, (String, String, i64), String, i64);

impl Check for TransfersCheck {
    fn page<'a>(&'a mut self, conn: &'a mut Conn, page: &'a Page<'a>) -> BoxFuture<'a, Result<(), VerifyError>> {
        async move {
            for record in page.records {
                self.record(page, record)?;
                if let Some((other, opposite)) = pair_of(record) {
                    other_side(conn, page, record, other, opposite).await?;
                }
                if let (TransactionKind::TransferOut, Some(Facts::Transfer(facts))) = (record.kind(), &record.facts) {
                    let told = facts.approval.as_ref();
                    sent(conn, page, record, told).await?;
                }
            }
            Ok(())
        }
        .boxed()
    }

    fn end<'a>(&'a mut self, conn: &'a mut Conn, page: &'a Page<'a>) -> BoxFuture<'a, Result<(), VerifyError>> {
        async move {
            self.rows(conn, page).await?;
            self.withheld(conn, page).await?;
            self.stays(conn, page).await?;
            clearing(conn, page).await
        }
        .boxed()
    }
}

/// The other side of a record between two centers, and the kind that it must be of.
fn pair_of(record: &JournalRecord) -> Option<(&ElsewhereFacts, TransactionKind)> {
    use TransactionKind as K;
    let other = match record.facts.as_ref()? {
        Facts::Transfer(facts) => facts.other.as_ref(),
        Facts::Moved(facts) => facts.other.as_ref(),
        Facts::Forwarded(facts) => facts.other.as_ref(),
        Facts::BroughtBack(facts) => facts.other.as_ref(),
        _ => None,
    }?;
    let opposite = match record.kind() {
        K::TransferOut => K::TransferIn,
        K::TransferIn => K::TransferOut,
        K::MovedOut => K::MovedIn,
        K::MovedIn => K::MovedOut,
        K::ForwardedOut => K::ForwardedIn,
        K::ForwardedIn => K::ForwardedOut,
        K::BroughtBackOut => K::BroughtBackIn,
        K::BroughtBackIn => K::BroughtBackOut,
        _ => return None,
    };
    // One transaction is both sides.
    (other.seq != 0).then_some((other, opposite))
}

/// What a record debits less what it credits of clearing between centers.
fn cleared(page: &Page<'_>, record: &JournalRecord) -> Result<Decimal, VerifyError> {
    let mut sum = Decimal::ZERO;
    for posting in &record.postings {
        // An amount of another center's record is read as one of this one's: they count in the same currency.
        let amount = page.amount(record, &posting.amount)?;
        let signed = if posting.debit == chart::INTER_CENTER.0 {
            amount
        } else if posting.credit == chart::INTER_CENTER.0 {
            -amount
        } else {
            Decimal::ZERO
        };
        sum = sum
            .checked_add(signed)
            .ok_or_else(|| page.differs(record, "its postings overflow"))?;
    }
    Ok(sum)
}

/// The other center's journal has the other side, which names this one, with the opposite sum in clearing.
async fn other_side(
    conn: &mut Conn,
    page: &Page<'_>,
    record: &JournalRecord,
    other: &ElsewhereFacts,
    opposite: TransactionKind,
) -> Result<(), VerifyError> {
    let row = sqlx::query!(
        "select t.record from journal_transaction t join center c on c.center_id = t.center_id
         where c.center_code = $1 and t.seq = $2",
        other.center,
        other.seq,
    )
    .fetch_optional(conn)
    .await?;
    let differs = |what: &str| {
        let what = format!(
            "its other side, transaction {} of center {}, {what}",
            other.seq, other.center
        );
        Err(page.differs(record, what))
    };
    let Some(row) = row else {
        return differs("is not there");
    };
    let told = record::decode(&row.record)?;
    let names_this = match pair_of(&told) {
        Some((back, _)) => back.center == page.center.id.as_str() && back.seq == record.seq,
        None => false,
    };
    if told.kind() != opposite || !names_this {
        return differs("is not about this one");
    }
    if told.currency_code != record.currency_code || cleared(page, &told)? != -cleared(page, record)? {
        return differs("does not clear what this one clears");
    }
    Ok(())
}

/// A transfer was allowed in the center that is left as well.
async fn sent(
    conn: &mut Conn,
    page: &Page<'_>,
    record: &JournalRecord,
    told: Option<&ApprovalFacts>,
) -> Result<(), VerifyError> {
    let told = told.ok_or_else(|| page.differs(record, "it needs several people, and names no approval"))?;
    let found = approval::find_in_tx(conn, page.center, told.approval).await?;
    match found {
        Some(found) if found.is_approved() && found.facts() == *told => Ok(()),
        _ => {
            let what = format!("approval {} does not say what the record says of it", told.approval);
            Err(page.differs(record, what))
        }
    }
}

/// Layers sum to what they are layers of.
fn layered(page: &Page<'_>, record: &JournalRecord, layers: &[LayerFacts], whole: &str) -> Result<(), VerifyError> {
    let mut sum = Decimal::ZERO;
    for layer in layers {
        let more = sum.checked_add(page.amount(record, &layer.amount)?);
        sum = more.ok_or_else(|| page.differs(record, "its layers overflow"))?;
    }
    let whole = page.amount(record, whole)?;
    if sum == whole {
        return Ok(());
    }
    Err(page.differs(record, format!("its layers sum to {sum}, not to {whole}")))
}

impl TransfersCheck {
    fn record(&mut self, page: &Page<'_>, record: &JournalRecord) -> Result<(), VerifyError> {
        let seq = record.seq;
        match (&record.facts, record.kind()) {
            (Some(Facts::Transfer(facts)), kind) => {
                page.parties(record, &[Owner::detainee(&facts.detainee)])?;
                layered(page, record, &facts.layers, &facts.available)?;
                let other = facts.other.clone().unwrap_or_default();
                let stay = format!("{}/{}", other.center, other.detainee);
                let direction = if kind == TransactionKind::TransferOut {
                    self.went_to.insert(facts.detainee.clone(), stay);
                    "OUT"
                } else {
                    self.came_from.insert(facts.detainee.clone(), stay);
                    "IN"
                };
                let approval = facts.approval.as_ref().map_or(0, |approval| approval.approval);
                let other = (other.center, other.detainee, other.seq);
                let row = (
                    direction.to_owned(),
                    facts.detainee.clone(),
                    other,
                    facts.document.clone(),
                    approval,
                );
                self.transfers.insert(seq, row);
            }
            (Some(Facts::Moved(facts)), kind) => {
                page.parties(record, &[Owner::detainee(&facts.detainee)])?;
                if let Some(What::Withholding(told)) = &facts.what {
                    layered(page, record, &told.layers, &facts.amount)?;
                    if kind == TransactionKind::MovedOut {
                        self.ends
                            .insert(record.reverses, (seq, "MOVED".to_owned(), Decimal::ZERO));
                    } else {
                        let amount = page.amount(record, &facts.amount)?;
                        let row = (facts.detainee.clone(), told.document.clone(), amount, None);
                        self.withholdings.insert(seq, row);
                    }
                }
            }
            (Some(Facts::Withholding(facts)), _) => {
                page.parties(record, &[Owner::detainee(&facts.detainee)])?;
                let amount = page.amount(record, &facts.amount)?;
                let approval = facts.approval.as_ref().map(|approval| approval.approval);
                let row = (facts.detainee.clone(), facts.document.clone(), amount, approval);
                self.withholdings.insert(seq, row);
            }
            (Some(Facts::WithholdingEnd(facts)), _) => {
                page.parties(record, &[Owner::detainee(&facts.detainee)])?;
                if !facts.layers.is_empty() {
                    layered(page, record, &facts.layers, &facts.returned)?;
                }
                let paid = page.amount(record, &facts.paid)?;
                self.ends.insert(record.reverses, (seq, "ENDED".to_owned(), paid));
            }
            (Some(Facts::Forwarded(facts)), _) => page.parties(record, &[Owner::detainee(&facts.detainee)])?,
            (Some(Facts::BroughtBack(facts)), _) => page.parties(record, &[Owner::detainee(&facts.detainee)])?,
            _ => {}
        }
        Ok(())
    }

    async fn rows(&self, conn: &mut Conn, page: &Page<'_>) -> Result<(), VerifyError> {
        let rows = sqlx::query!(
            "select seq, direction, detainee_id, other_center, other_detainee, other_seq, document, approval_no
             from transfer where center_id = $1",
            page.center.no.0,
        )
        .fetch_all(&mut *conn)
        .await?;
        let stored = rows.into_iter().map(|row| {
            let other = (row.other_center, row.other_detainee, row.other_seq);
            (
                row.seq,
                (row.direction, row.detainee_id, other, row.document, row.approval_no),
            )
        });
        page.same_rows("transfer", &self.transfers, &stored.collect())?;
        let rows = sqlx::query!(
            "select seq, detainee_id, document, amount, approval_no from withholding where center_id = $1",
            page.center.no.0,
        )
        .fetch_all(&mut *conn)
        .await?;
        let stored = rows
            .into_iter()
            .map(|row| (row.seq, (row.detainee_id, row.document, row.amount, row.approval_no)));
        page.same_rows("withholding", &self.withholdings, &stored.collect())?;
        let rows = sqlx::query!(
            "select seq, end_seq, state, paid from withholding_end where center_id = $1",
            page.center.no.0,
        )
        .fetch_all(conn)
        .await?;
        let stored = rows
            .into_iter()
            .map(|row| (row.seq, (row.end_seq, row.state, row.paid)));
        page.same_rows("withholding_end", &self.ends, &stored.collect())
    }

    /// What stands in the accounts of money withheld is what the orders withhold that have not ended.
    async fn withheld(&self, conn: &mut Conn, page: &Page<'_>) -> Result<(), VerifyError> {
        let rows = sqlx::query!(
            "select d.detainee_id, b.balance from detainee d
             join account_balance b on b.center_id = d.center_id and b.account_no = d.account_base + 3
             where d.center_id = $1 and b.balance <> 0",
            page.center.no.0,
        )
        .fetch_all(conn)
        .await?;
        let stored = rows.into_iter().map(|row| (row.detainee_id, row.balance));
        let mut explained: BTreeMap<String, Decimal> = BTreeMap::new();
        for (seq, (detainee, _, amount, _)) in &self.withholdings {
            if !self.ends.contains_key(seq) {
                let sum = explained.entry(detainee.clone()).or_default();
                *sum = sum.saturating_add(*amount);
            }
        }
        page.same_rows("account_balance", &explained, &stored.collect())
    }

    async fn stays(&self, conn: &mut Conn, page: &Page<'_>) -> Result<(), VerifyError> {
        let rows = sqlx::query!(
            "select detainee_id, went_to, came_from from detainee
             where center_id = $1 and (went_to is not null or came_from is not null)",
            page.center.no.0,
        )
        .fetch_all(conn)
        .await?;
        let (mut went_to, mut came_from) = (BTreeMap::new(), BTreeMap::new());
        for row in rows {
            went_to.extend(row.went_to.map(|to| (row.detainee_id.clone(), to)));
            came_from.extend(row.came_from.map(|from| (row.detainee_id, from)));
        }
        page.same_rows("detainee", &self.went_to, &went_to)?;
        page.same_rows("detainee", &self.came_from, &came_from)
    }
}

/// What centers owe each other is nothing together, currency by currency.
async fn clearing(conn: &mut Conn, page: &Page<'_>) -> Result<(), VerifyError> {
    let sum = sqlx::query_scalar!(
        r#"select coalesce(sum(b.balance), 0) as "sum!" from center c
           join account_balance b on b.center_id = c.center_id and b.account_no = $2
           where c.currency_code = $1"#,
        page.center.currency.code(),
        chart::INTER_CENTER.0,
    )
    .fetch_one(conn)
    .await?;
    if sum.is_zero() {
        return Ok(());
    }
    let what = format!("clearing between all centers sums to {sum}, not to zero");
    Err(page.row_differs("account_balance", chart::INTER_CENTER, what))
}
