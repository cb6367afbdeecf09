//! Vendors against their accounts; purchases and returns against what is stored beside the journal.

use std::collections::{BTreeMap, HashMap};

use futures::future::{BoxFuture, FutureExt as _};
use rust_decimal::Decimal;
use time::Date;

use super::{catalogue::Versions, stock::StockCheck};
use crate::{
    clock,
    db::Conn,
    ids::AccountNo,
    ledger::{
        Code, record,
        verify::{Check, Owner, Page, VerifyError},
    },
    proto::{JournalRecord, PurchaseFacts, ReturnFacts, TransactionKind, journal_record::Facts},
};

/// What purchases and returns have made of each month.
#[derive(Debug, Default)]
pub struct CommissaryCheck {
    spent: BTreeMap<(String, Date), Decimal>,
    versions: Versions,
    stock: StockCheck,
}

impl Check for CommissaryCheck {
    fn page<'a>(&'a mut self, conn: &'a mut Conn, page: &'a Page<'a>) -> BoxFuture<'a, Result<(), VerifyError>> {
        async move {
            let bought = purchases(conn, page).await?;
            self.stock.page(conn, page).await?;
            for record in page.records {
                self.stock.until(page, record.seq)?;
                match &record.facts {
                    Some(Facts::Purchase(facts)) => {
                        self.purchase(page, record, facts)?;
                        self.stock.sold(page, record, facts)?;
                        self.versions.purchase(conn, page, record, facts).await?;
                    }
                    Some(Facts::Return(facts)) => self.came_back(page, record, facts, &bought)?,
                    // What was spent elsewhere in the month counts here.
                    Some(Facts::Transfer(facts)) if record.kind() == TransactionKind::TransferIn => {
                        let spent = page.amount(record, &facts.month_spent)?;
                        self.moved(page, record, &facts.detainee, &facts.month, spent)?;
                    }
                    _ => {}
                }
            }
            return_lines(conn, page).await
        }
        .boxed()
    }

    fn end<'a>(&'a mut self, conn: &'a mut Conn, page: &'a Page<'a>) -> BoxFuture<'a, Result<(), VerifyError>> {
        async move {
            vendors(conn, page).await?;
            self.versions.end(conn, page).await?;
            self.stock.end(conn, page).await?;
            self.months(conn, page).await
        }
        .boxed()
    }
}

impl CommissaryCheck {
    fn purchase(&mut self, page: &Page<'_>, record: &JournalRecord, facts: &PurchaseFacts) -> Result<(), VerifyError> {
        let vendors = facts.lines.iter().map(|line| Owner::vendor(&line.vendor));
        let parties: Vec<Owner> = [Owner::detainee(&facts.detainee)].into_iter().chain(vendors).collect();
        page.parties(record, &parties)?;
        let counted = page.amount(record, &facts.counted)?;
        let spent = self.moved(page, record, &facts.detainee, &facts.month, counted)?;
        let told = page.amount(record, &facts.month_spent)?;
        if told == spent {
            Ok(())
        } else {
            let what = format!("records that {told} are spent in {}, replay says {spent}", facts.month);
            Err(page.differs(record, what))
        }
    }

    fn came_back(
        &mut self,
        page: &Page<'_>,
        record: &JournalRecord,
        facts: &ReturnFacts,
        bought: &HashMap<i64, PurchaseFacts>,
    ) -> Result<(), VerifyError> {
        let purchase = bought
            .get(&facts.purchase)
            .ok_or_else(|| page.differs(record, format!("{} is no purchase", facts.purchase)))?;
        let mut parties = vec![Owner::detainee(&purchase.detainee)];
        for line in &facts.lines {
            let index = usize::try_from(line.line).ok().and_then(|line| line.checked_sub(1));
            let vendor = index.and_then(|index| purchase.lines.get(index));
            let vendor = vendor.ok_or_else(|| {
                page.differs(record, format!("purchase {} has no line {}", facts.purchase, line.line))
            })?;
            parties.push(Owner::vendor(&vendor.vendor));
        }
        page.parties(record, &parties)?;
        if purchase.detainee != facts.detainee || purchase.month != facts.month {
            let what = format!("is not of the detainee and month of purchase {}", facts.purchase);
            return Err(page.differs(record, what));
        }
        self.stock.came_back(page, record, facts, purchase)?;
        let counted = page.amount(record, &facts.counted)?;
        self.moved(page, record, &facts.detainee, &facts.month, -counted)?;
        Ok(())
    }

    /// Moves what a detainee has spent in a month, and tells it. What does not count leaves no row.
    fn moved(
        &mut self,
        page: &Page<'_>,
        record: &JournalRecord,
        detainee: &str,
        month: &str,
        counted: Decimal,
    ) -> Result<Decimal, VerifyError> {
        let day = clock::parse_month(month)
            .ok_or_else(|| page.differs(record, format!("its facts tell the month {month:?}")))?;
        let key = (detainee.to_owned(), day);
        if counted.is_zero() {
            return Ok(self.spent.get(&key).copied().unwrap_or_default());
        }
        let spent = self.spent.entry(key).or_default();
        *spent = spent
            .checked_add(counted)
            .ok_or_else(|| page.differs(record, "what is spent overflows"))?;
        Ok(*spent)
    }

    async fn months(&self, conn: &mut Conn, page: &Page<'_>) -> Result<(), VerifyError> {
        let rows = sqlx::query!(
            "select detainee_id, month, spent from monthly_spending where center_id = $1",
            page.center.no.0
        )
        .fetch_all(conn)
        .await?;
        let key = |detainee: &str, month: Date| format!("{detainee} {}", clock::month_text(month));
        let stored = rows
            .iter()
            .map(|row| (key(&row.detainee_id, row.month), row.spent))
            .collect();
        let explained = self.spent.iter().map(|((id, month), spent)| (key(id, *month), *spent));
        page.same_rows("monthly_spending", &explained.collect(), &stored)
    }
}

/// The purchases that a page's returns are of.
async fn purchases(conn: &mut Conn, page: &Page<'_>) -> Result<HashMap<i64, PurchaseFacts>, VerifyError> {
    let of: Vec<i64> = page
        .records
        .iter()
        .filter_map(|record| match &record.facts {
            Some(Facts::Return(facts)) if facts.purchase < record.seq => Some(facts.purchase),
            _ => None,
        })
        .collect();
    let mut found = HashMap::new();
    if of.is_empty() {
        return Ok(found);
    }
    let rows = sqlx::query!(
        "select seq, record from journal_transaction where center_id = $1 and seq = any($2)",
        page.center.no.0,
        &of,
    )
    .fetch_all(conn)
    .await?;
    for row in rows {
        if let Some(Facts::Purchase(facts)) = record::decode(&row.record)?.facts {
            found.insert(row.seq, facts);
        }
    }
    Ok(found)
}

async fn return_lines(conn: &mut Conn, page: &Page<'_>) -> Result<(), VerifyError> {
    let rows = sqlx::query!(
        "select seq, line, purchase_seq, quantity, amount from return_line
         where center_id = $1 and seq > $2 and seq <= $3",
        page.center.no.0,
        page.after.0,
        page.through.0,
    )
    .fetch_all(conn)
    .await?;
    let key = |seq: i64, line: i32| format!("{seq} line {line}");
    let stored = rows
        .iter()
        .map(|row| {
            (
                key(row.seq, row.line.into()),
                (row.purchase_seq, row.quantity, row.amount),
            )
        })
        .collect();
    let mut explained = BTreeMap::new();
    for record in page.records {
        if let Some(Facts::Return(facts)) = &record.facts {
            for line in &facts.lines {
                let amount = page.amount(record, &line.amount)?;
                explained.insert(key(record.seq, line.line), (facts.purchase, line.quantity, amount));
            }
        }
    }
    page.same_rows("return_line", &explained, &stored)
}

async fn vendors(conn: &mut Conn, page: &Page<'_>) -> Result<(), VerifyError> {
    let rows = sqlx::query!(
        "select vendor_id, payable_no, transit_no from vendor where center_id = $1 order by vendor_id",
        page.center.no.0
    )
    .fetch_all(conn)
    .await?;
    for row in &rows {
        let owner = Owner::vendor(&row.vendor_id);
        let accounts = [
            (row.payable_no, Code::VendorPayable),
            (row.transit_no, Code::VendorInTransit),
        ];
        for (no, code) in accounts {
            let found = page.accounts.require(AccountNo(no), code, owner.as_str());
            found.map_err(|what| page.row_differs("vendor", &row.vendor_id, what))?;
        }
    }
    let owned = page.accounts.count_of("vendors");
    if owned != rows.len() * 2 {
        let what = format!("{} of them have {owned} accounts", rows.len());
        return Err(page.row_differs("vendor", "(all)", what));
    }
    Ok(())
}
