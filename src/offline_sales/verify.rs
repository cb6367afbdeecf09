//! Allowances and offline sales against the journal: what is set aside, the numbers, the chain and every signature.

use std::collections::{BTreeMap, BTreeSet};

use futures::future::{BoxFuture, FutureExt as _};
use rust_decimal::Decimal;

use super::{
    chain::{self, Hash},
    sale_subject,
};
use crate::{
    db::Conn,
    ids::TerminalId,
    ledger::{
        record,
        verify::{Check, Owner, Page, VerifyError},
    },
    proto::{
        AllowanceEndFacts, AllowanceFacts, JournalRecord, OfflineSaleEndFacts, OfflineSaleFacts, OfflineSaleStatement,
        OfflineSkipFacts, PurchaseLineFacts, TransactionKind, journal_record::Facts,
    },
    terminal,
    work::{self, WorkKind},
};

/// An allowance that has not ended.
#[derive(Debug)]
struct Open {
    detainee: String,
    terminal: String,
    counted_on: String,
    remaining: Decimal,
}

/// Where the numbers of a terminal stand.
#[derive(Debug, Default)]
struct Chained {
    last: i64,
    hash: Option<Hash>,
}

/// A sale that waits for finance.
#[derive(Debug)]
struct Waits {
    terminal: String,
    number: i64,
    detainee: String,
    total: String,
}

/// What allowances, numbers and sales have come to.
#[derive(Debug, Default)]
pub struct OfflineSalesCheck {
    allowances: BTreeMap<i64, Open>,
    chains: BTreeMap<String, Chained>,
    waiting: BTreeMap<i64, Waits>,
    /// The keys of the terminals that were met.
    keys: BTreeMap<String, Vec<[u8; 32]>>,
}

impl Check for OfflineSalesCheck {
    fn page<'a>(&'a mut self, conn: &'a mut Conn, page: &'a Page<'a>) -> BoxFuture<'a, Result<(), VerifyError>> {
        async move {
            for record in page.records {
                match &record.facts {
                    Some(Facts::Allowance(facts)) => self.reserved(page, record, facts)?,
                    Some(Facts::AllowanceEnd(facts)) => self.ended(page, record, facts)?,
                    Some(Facts::OfflineSale(facts)) => self.sale(conn, page, record, facts).await?,
                    Some(Facts::OfflineSaleEnd(facts)) => self.resolved(page, record, facts)?,
                    Some(Facts::OfflineSkip(facts)) => self.skipped(page, record, facts)?,
                    _ => {}
                }
            }
            allowance_rows(conn, page).await?;
            sale_rows(conn, page).await?;
            end_rows(conn, page).await
        }
        .boxed()
    }

    fn end<'a>(&'a mut self, conn: &'a mut Conn, page: &'a Page<'a>) -> BoxFuture<'a, Result<(), VerifyError>> {
        async move {
            self.open_rows(conn, page).await?;
            held(conn, page).await?;
            self.queue(conn, page).await?;
            self.kept(conn, page).await
        }
        .boxed()
    }
}

/// The sum of a record's postings.
fn moved(page: &Page<'_>, record: &JournalRecord) -> Result<Decimal, VerifyError> {
    let mut sum = Decimal::ZERO;
    for posting in &record.postings {
        sum += page.amount(record, &posting.amount)?;
    }
    Ok(sum)
}

/// What moves has to be what is told.
fn moves(page: &Page<'_>, record: &JournalRecord, told: Decimal) -> Result<(), VerifyError> {
    let moved = moved(page, record)?;
    if moved == told {
        return Ok(());
    }
    Err(page.differs(record, format!("its facts tell {told}, its postings move {moved}")))
}

impl OfflineSalesCheck {
    fn reserved(&mut self, page: &Page<'_>, record: &JournalRecord, facts: &AllowanceFacts) -> Result<(), VerifyError> {
        page.parties(record, &[Owner::detainee(&facts.detainee)])?;
        let amount = page.amount(record, &facts.amount)?;
        moves(page, record, amount)?;
        let open = Open {
            detainee: facts.detainee.clone(),
            terminal: facts.terminal.clone(),
            counted_on: facts
                .spending
                .as_ref()
                .map(|told| told.date.clone())
                .unwrap_or_default(),
            remaining: amount,
        };
        self.allowances.insert(record.seq, open);
        Ok(())
    }

    fn ended(&mut self, page: &Page<'_>, record: &JournalRecord, facts: &AllowanceEndFacts) -> Result<(), VerifyError> {
        page.parties(record, &[Owner::detainee(&facts.detainee)])?;
        let open = self.allowances.remove(&record.reverses);
        let open = open.ok_or_else(|| page.differs(record, format!("{} is no open allowance", record.reverses)))?;
        let released = page.amount(record, &facts.released)?;
        moves(page, record, released)?;
        let told = (&facts.detainee, &facts.terminal, &facts.counted_on, released);
        let known = (&open.detainee, &open.terminal, &open.counted_on, open.remaining);
        if told == known {
            return Ok(());
        }
        Err(page.differs(record, format!("it tells {told:?} of an allowance that is {known:?}")))
    }

    async fn sale(
        &mut self,
        conn: &mut Conn,
        page: &Page<'_>,
        record: &JournalRecord,
        facts: &OfflineSaleFacts,
    ) -> Result<(), VerifyError> {
        let told = self.signed(conn, page, record, facts).await?;
        let hash = chain::hash(&facts.statement);
        let chained = self.chains.entry(facts.terminal.clone()).or_default();
        if facts.number != chained.last + 1 || told.number != facts.number {
            let what = format!(
                "is number {} after {} of terminal {}",
                facts.number, chained.last, facts.terminal
            );
            return Err(page.differs(record, what));
        }
        let before = if chained.last == 0 {
            Some(chain::NO_HASH)
        } else {
            chained.hash
        };
        let is_chained = before.is_none_or(|before| told.previous_hash == before);
        *chained = Chained {
            last: facts.number,
            hash: Some(hash),
        };
        if !is_chained && facts.reason != "CHAIN_BROKEN" {
            return Err(page.differs(record, "it is not chained to the sale before"));
        }
        let total = page.amount(record, &facts.total)?;
        if record.kind() == TransactionKind::OfflineSalePutAside {
            moves(page, record, Decimal::ZERO)?;
            let waits = Waits {
                terminal: facts.terminal.clone(),
                number: facts.number,
                detainee: facts.detainee.clone(),
                total: facts.total.clone(),
            };
            self.waiting.insert(record.seq, waits);
            return Ok(());
        }
        moves(page, record, total)?;
        sold_to(page, record, &facts.detainee, &facts.lines)?;
        if told.total != facts.total || told.detainee != facts.detainee || !same_lines(&told, &facts.lines) {
            return Err(page.differs(record, "it is paid otherwise than the terminal has signed"));
        }
        if facts.state == "CAPTURED" {
            self.captured(page, record, facts, total)?;
        }
        Ok(())
    }

    fn captured(
        &mut self,
        page: &Page<'_>,
        record: &JournalRecord,
        facts: &OfflineSaleFacts,
        total: Decimal,
    ) -> Result<(), VerifyError> {
        let wrong = || page.differs(record, format!("allowance {} does not pay for it", facts.allowance));
        let open = self.allowances.get_mut(&facts.allowance).ok_or_else(wrong)?;
        let is_its = open.detainee == facts.detainee && open.terminal == facts.terminal;
        open.remaining -= total;
        if !is_its || open.counted_on != facts.counted_on || open.remaining < Decimal::ZERO {
            return Err(wrong());
        }
        Ok(())
    }

    /// The statement, once it is known that one of the terminal's keys has signed it.
    async fn signed(
        &mut self,
        conn: &mut Conn,
        page: &Page<'_>,
        record: &JournalRecord,
        facts: &OfflineSaleFacts,
    ) -> Result<OfflineSaleStatement, VerifyError> {
        let parsed = TerminalId::parse(&facts.terminal);
        let terminal = parsed.map_err(|error| page.differs(record, format!("its terminal: {error}")))?;
        if !self.keys.contains_key(terminal.as_str()) {
            let keys = terminal::keys_in_tx(conn, page.center, &terminal).await?;
            let keys = keys.into_iter().map(|(key, _)| key).collect();
            self.keys.insert(terminal.to_string(), keys);
        }
        let keys = self.keys.get(terminal.as_str()).map(Vec::as_slice).unwrap_or_default();
        if !keys.iter().any(|key| key.as_slice() == facts.public_key) {
            return Err(page.differs(record, format!("terminal {terminal} never had the key that signed it")));
        }
        if !chain::is_signed_by(&facts.public_key, &facts.statement, &facts.signature) {
            return Err(page.differs(record, "its signature is broken"));
        }
        chain::read(&facts.statement, page.center, &terminal)
            .map_err(|why| page.differs(record, format!("its statement cannot be read: {why}")))
    }

    fn resolved(
        &mut self,
        page: &Page<'_>,
        record: &JournalRecord,
        facts: &OfflineSaleEndFacts,
    ) -> Result<(), VerifyError> {
        let found = self.waiting.remove(&record.reverses);
        let found = found.ok_or_else(|| page.differs(record, format!("{} does not wait", record.reverses)))?;
        let told = (&facts.terminal, facts.number, &facts.detainee, &facts.total);
        let known = (&found.terminal, found.number, &found.detainee, &found.total);
        if told != known {
            return Err(page.differs(record, format!("it tells {told:?} of a sale that is {known:?}")));
        }
        if record.kind() == TransactionKind::OfflineSaleDismissed {
            return moves(page, record, Decimal::ZERO);
        }
        moves(page, record, page.amount(record, &facts.total)?)?;
        sold_to(page, record, &facts.detainee, &facts.lines)
    }

    fn skipped(
        &mut self,
        page: &Page<'_>,
        record: &JournalRecord,
        facts: &OfflineSkipFacts,
    ) -> Result<(), VerifyError> {
        let chained = self.chains.entry(facts.terminal.clone()).or_default();
        if facts.first_number != chained.last + 1 || facts.last_number < facts.first_number {
            let what = format!(
                "skips {} to {} after {}",
                facts.first_number, facts.last_number, chained.last
            );
            return Err(page.differs(record, what));
        }
        *chained = Chained {
            last: facts.last_number,
            hash: None,
        };
        Ok(())
    }

    async fn open_rows(&self, conn: &mut Conn, page: &Page<'_>) -> Result<(), VerifyError> {
        let rows = sqlx::query!(
            "select seq, remaining from allowance_open where center_id = $1",
            page.center.no.0
        )
        .fetch_all(&mut *conn)
        .await?;
        let stored = rows.into_iter().map(|row| (row.seq, row.remaining)).collect();
        let explained = self.allowances.iter().map(|(seq, open)| (*seq, open.remaining));
        page.same_rows("allowance_open", &explained.collect(), &stored)?;
        let rows = sqlx::query!(
            "select seq, terminal_id, number from offline_sale_open where center_id = $1",
            page.center.no.0
        )
        .fetch_all(conn)
        .await?;
        let stored = rows.into_iter().map(|row| (row.seq, (row.terminal_id, row.number)));
        let explained = self.waiting.iter();
        let explained = explained.map(|(seq, waits)| (*seq, (waits.terminal.clone(), waits.number)));
        page.same_rows("offline_sale_open", &explained.collect(), &stored.collect())
    }

    /// Every sale that waits for finance is in the work queue, and no other.
    async fn queue(&self, conn: &mut Conn, page: &Page<'_>) -> Result<(), VerifyError> {
        let open = work::open_subjects(conn, page.center.no, WorkKind::OfflineSale).await?;
        let open: BTreeSet<String> = open.into_iter().collect();
        let mut needed = BTreeSet::new();
        for waits in self.waiting.values() {
            if let Ok(terminal) = TerminalId::parse(&waits.terminal) {
                needed.insert(sale_subject(&terminal, waits.number));
            }
        }
        match open.symmetric_difference(&needed).next() {
            None => Ok(()),
            Some(subject) => {
                let what = "it must be open exactly as long as the sale waits for finance";
                Err(page.row_differs("work_item_open", subject, what))
            }
        }
    }

    /// What waits for its turn, and what is kept as evidence, is what its key says.
    async fn kept(&self, conn: &mut Conn, page: &Page<'_>) -> Result<(), VerifyError> {
        let rows = sqlx::query!(
            "select terminal_id, number, hash, statement from offline_waiting where center_id = $1",
            page.center.no.0
        )
        .fetch_all(&mut *conn)
        .await?;
        for row in rows {
            let last = self.chains.get(&row.terminal_id).map_or(0, |chained| chained.last);
            if row.number <= last || chain::hash(&row.statement).as_slice() != row.hash {
                let key = format!("{} {}", row.terminal_id, row.number);
                let what = format!("its bytes are others, or its turn is over after {last}");
                return Err(page.row_differs("offline_waiting", key, what));
            }
        }
        let rows = sqlx::query!(
            "select terminal_id, number, digest, statement, signature from offline_evidence where center_id = $1",
            page.center.no.0
        )
        .fetch_all(conn)
        .await?;
        for row in rows {
            if chain::evidence_digest(&row.statement, &row.signature).as_slice() != row.digest {
                let key = format!("{} {}", row.terminal_id, row.number);
                return Err(page.row_differs("offline_evidence", key, "its bytes are others"));
            }
        }
        Ok(())
    }
}

/// What is paid for goes to the vendors of its lines, from whoever bought them or from the center.
fn sold_to(
    page: &Page<'_>,
    record: &JournalRecord,
    detainee: &str,
    lines: &[PurchaseLineFacts],
) -> Result<(), VerifyError> {
    let vendors = lines.iter().map(|line| Owner::vendor(&line.vendor));
    let parties: Vec<Owner> = [Owner::detainee(detainee)].into_iter().chain(vendors).collect();
    page.parties(record, &parties)
}

fn same_lines(told: &OfflineSaleStatement, paid: &[PurchaseLineFacts]) -> bool {
    told.lines.len() == paid.len()
        && told.lines.iter().zip(paid).all(|(told, paid)| {
            told.product == paid.product
                && told.product_version == paid.product_version
                && told.quantity == paid.quantity
                && told.unit_price == paid.unit_price
        })
}

/// What is set aside of somebody's money is held.
async fn held(conn: &mut Conn, page: &Page<'_>) -> Result<(), VerifyError> {
    let wrong = sqlx::query!(
        r#"select s.detainee_id as "detainee_id!", s.remaining as "remaining!", b.balance
           from (select a.detainee_id, sum(o.remaining) as remaining from allowance_open o
                 join allowance a on a.center_id = o.center_id and a.seq = o.seq
                 where o.center_id = $1 group by a.detainee_id) s
           join detainee d on d.center_id = $1 and d.detainee_id = s.detainee_id
           join account_balance b on b.center_id = $1 and b.account_no = d.account_base + 1
           where s.remaining > b.balance order by s.detainee_id limit 1"#,
        page.center.no.0,
    )
    .fetch_optional(conn)
    .await?;
    wrong.map_or(Ok(()), |row| {
        let what = format!("{} are set aside, {} are held", row.remaining, row.balance);
        Err(page.row_differs("allowance_open", row.detainee_id, what))
    })
}

async fn allowance_rows(conn: &mut Conn, page: &Page<'_>) -> Result<(), VerifyError> {
    let rows = sqlx::query!(
        "select seq, terminal_id, detainee_id, amount, counted_on, expires_at, releases_at from allowance
         where center_id = $1 and seq > $2 and seq <= $3",
        page.center.no.0,
        page.after.0,
        page.through.0,
    )
    .fetch_all(&mut *conn)
    .await?;
    let mut stored = BTreeMap::new();
    for row in rows {
        let whose = (row.terminal_id, row.detainee_id, row.amount, row.counted_on.to_string());
        stored.insert(row.seq, (whose, Some(row.expires_at), Some(row.releases_at)));
    }
    let (mut explained, mut ends) = (BTreeMap::new(), BTreeMap::new());
    for record in page.records {
        match &record.facts {
            Some(Facts::Allowance(facts)) => {
                let amount = page.amount(record, &facts.amount)?;
                let counted_on = facts.spending.as_ref().map(|told| told.date.clone());
                let counted_on = counted_on.unwrap_or_default();
                let whose = (facts.terminal.clone(), facts.detainee.clone(), amount, counted_on);
                let expires_at = facts.expire_time.as_ref().and_then(record::instant);
                let releases_at = facts.release_time.as_ref().and_then(record::instant);
                explained.insert(record.seq, (whose, expires_at, releases_at));
            }
            Some(Facts::AllowanceEnd(facts)) => {
                let released = page.amount(record, &facts.released)?;
                ends.insert(record.seq, (record.reverses, released, facts.reason.clone()));
            }
            _ => {}
        }
    }
    page.same_rows("allowance", &explained, &stored)?;
    let rows = sqlx::query!(
        "select seq, end_seq, released, reason from allowance_end
         where center_id = $1 and end_seq > $2 and end_seq <= $3",
        page.center.no.0,
        page.after.0,
        page.through.0,
    )
    .fetch_all(conn)
    .await?;
    let stored = rows
        .into_iter()
        .map(|row| (row.end_seq, (row.seq, row.released, row.reason)));
    page.same_rows("allowance_end", &ends, &stored.collect())
}

async fn sale_rows(conn: &mut Conn, page: &Page<'_>) -> Result<(), VerifyError> {
    let rows = sqlx::query!(
        "select seq, terminal_id, number, state, reason, statement, signature, hash, detainee_id, allowance_no, total, flags
         from offline_sale where center_id = $1 and seq > $2 and seq <= $3",
        page.center.no.0,
        page.after.0,
        page.through.0,
    )
    .fetch_all(conn)
    .await?;
    let key = |terminal: &str, number: i64| format!("{terminal} {number}");
    let mut stored = BTreeMap::new();
    for row in rows {
        let bytes = (row.statement, row.signature, row.hash);
        let told = (row.detainee_id, row.allowance_no, row.total, row.flags);
        let key = key(&row.terminal_id, row.number);
        stored.insert(key, (row.seq, row.state, row.reason, bytes, told));
    }
    let mut explained = BTreeMap::new();
    for record in page.records {
        match &record.facts {
            Some(Facts::OfflineSale(facts)) => {
                let hash = Some(chain::hash(&facts.statement).to_vec());
                let bytes = (Some(facts.statement.clone()), Some(facts.signature.clone()), hash);
                let total = page.amount(record, &facts.total)?;
                let told = (facts.detainee.clone(), facts.allowance, total, facts.flags.clone());
                let row = (record.seq, facts.state.clone(), facts.reason.clone(), bytes, told);
                explained.insert(key(&facts.terminal, facts.number), row);
            }
            Some(Facts::OfflineSkip(facts)) => {
                for number in facts.first_number..=facts.last_number {
                    let told = (String::new(), 0, Decimal::ZERO, Vec::new());
                    let row = (
                        record.seq,
                        "SKIPPED".to_owned(),
                        String::new(),
                        (None, None, None),
                        told,
                    );
                    explained.insert(key(&facts.terminal, number), row);
                }
            }
            _ => {}
        }
    }
    page.same_rows("offline_sale", &explained, &stored)
}

async fn end_rows(conn: &mut Conn, page: &Page<'_>) -> Result<(), VerifyError> {
    let rows = sqlx::query!(
        "select terminal_id, number, end_seq, way, approval_no from offline_sale_end
         where center_id = $1 and end_seq > $2 and end_seq <= $3",
        page.center.no.0,
        page.after.0,
        page.through.0,
    )
    .fetch_all(conn)
    .await?;
    let stored = rows.into_iter();
    let stored = stored.map(|row| (row.end_seq, (row.terminal_id, row.number, row.way, row.approval_no)));
    let mut explained = BTreeMap::new();
    for record in page.records {
        if let Some(Facts::OfflineSaleEnd(facts)) = &record.facts {
            let way = record::kind_name(record.kind())
                .trim_start_matches("OFFLINE_SALE_")
                .to_owned();
            let approval = facts.approval.as_ref().map(|approval| approval.approval);
            explained.insert(record.seq, (facts.terminal.clone(), facts.number, way, approval));
        }
    }
    page.same_rows("offline_sale_end", &explained, &stored.collect())
}
