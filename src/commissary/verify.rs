//! Vendors against their accounts; purchases and returns against what is stored beside the journal.

use std::collections::{BTreeMap, HashMap};

use futures::future::{BoxFuture, FutureExt as _};

use super::{
    catalogue::Versions,
    kit::KitCheck,
    orders::verify::{self as orders, OrdersCheck},
    spending::{SpentCheck, Told},
    stock::StockCheck,
};
use crate::{
    db::Conn,
    ids::AccountNo,
    ledger::{
        Code, record,
        verify::{Check, Owner, Page, VerifyError},
    },
    proto::{JournalRecord, OrderChangeFacts, PurchaseFacts, ReturnFacts, journal_record::Facts},
};

/// What purchases and returns have made of each day.
#[derive(Debug, Default)]
pub struct CommissaryCheck {
    spent: SpentCheck,
    versions: Versions,
    stock: StockCheck,
    kits: KitCheck,
}

impl Check for CommissaryCheck {
    fn page<'a>(&'a mut self, conn: &'a mut Conn, page: &'a Page<'a>) -> BoxFuture<'a, Result<(), VerifyError>> {
        async move {
            let bought = purchases(conn, page).await?;
            let ordered = OrdersCheck::page(conn, page).await?;
            self.stock.page(conn, page).await?;
            self.spent.page(conn, page).await?;
            for record in page.records {
                self.stock.until(page, record.seq)?;
                match &record.facts {
                    Some(Facts::Purchase(facts)) => {
                        self.purchase(page, record, facts)?;
                        self.stock.sold(page, record, &facts.lines)?;
                        self.versions.priced(conn, page, record, &facts.lines).await?;
                    }
                    Some(Facts::Return(facts)) if facts.of_order => {
                        let goods = ordered.goods(page, record, facts.purchase)?;
                        self.came_back(page, record, facts, goods)?;
                    }
                    Some(Facts::Return(facts)) => {
                        let purchase = bought.get(&facts.purchase);
                        let purchase = purchase
                            .ok_or_else(|| page.differs(record, format!("{} is no purchase", facts.purchase)))?;
                        self.came_back(page, record, facts, purchase)?;
                    }
                    Some(Facts::Order(facts)) => {
                        let goods = facts.goods.as_ref();
                        let goods = goods.ok_or_else(|| page.differs(record, "an order without its goods"))?;
                        self.purchase(page, record, goods)?;
                        self.stock.sold(page, record, &goods.lines)?;
                        self.versions.priced(conn, page, record, &goods.lines).await?;
                    }
                    Some(Facts::KitGrant(facts)) => {
                        self.stock.sold(page, record, &facts.lines)?;
                        self.versions.priced(conn, page, record, &facts.lines).await?;
                        self.kits.granted(conn, page, record, (facts, &self.spent)).await?;
                    }
                    Some(Facts::KitCancel(facts)) => {
                        self.stock.put_back(page, record, &facts.lines)?;
                        self.kits.cancelled(page, record, facts)?;
                    }
                    // What was spent elsewhere counts here.
                    Some(Facts::Transfer(facts)) => self.spent.moved(page, record, facts)?,
                    Some(facts) => {
                        self.offline(page, record, facts)?;
                        for facts in orders::changes_of(record) {
                            self.order_changed(page, record, facts, &ordered)?;
                        }
                    }
                    None => {}
                }
            }
            orders::rows(conn, page).await?;
            return_lines(conn, page).await
        }
        .boxed()
    }

    fn end<'a>(&'a mut self, conn: &'a mut Conn, page: &'a Page<'a>) -> BoxFuture<'a, Result<(), VerifyError>> {
        async move {
            vendors(conn, page).await?;
            self.versions.end(conn, page).await?;
            self.stock.end(conn, page).await?;
            self.kits.end(conn, page).await?;
            self.spent.end(conn, page).await?;
            orders::end(conn, page).await
        }
        .boxed()
    }
}

impl CommissaryCheck {
    fn purchase(&mut self, page: &Page<'_>, record: &JournalRecord, facts: &PurchaseFacts) -> Result<(), VerifyError> {
        let vendors = facts.lines.iter().map(|line| Owner::vendor(&line.vendor));
        let parties: Vec<Owner> = [Owner::detainee(&facts.detainee)].into_iter().chain(vendors).collect();
        page.parties(record, &parties)?;
        let told = Told {
            detainee: &facts.detainee,
            total: &facts.total,
            lines: &facts.lines,
            spending: facts.spending.as_ref(),
        };
        self.spent.spent(page, record, told)
    }

    /// Something became of an order: what will not come is in stock again, and its headroom is back.
    fn order_changed(
        &mut self,
        page: &Page<'_>,
        record: &JournalRecord,
        facts: &OrderChangeFacts,
        ordered: &OrdersCheck,
    ) -> Result<(), VerifyError> {
        let goods = ordered.changed(page, record, facts)?;
        for change in &facts.lines {
            let index = usize::try_from(change.line).ok().and_then(|line| line.checked_sub(1));
            if let Some(line) = index.and_then(|index| goods.lines.get(index)) {
                self.stock.given_back(page, record, line, change)?;
            }
        }
        let counted = page.amount(record, &facts.counted)?;
        self.spent
            .given_back(page, record, &facts.detainee, &facts.date, counted)
    }

    /// What is set aside for terminals counts as spent on its date until it is released, and so does what is sold within it.
    fn offline(&mut self, page: &Page<'_>, record: &JournalRecord, facts: &Facts) -> Result<(), VerifyError> {
        let (detainee, date, given_back) = match facts {
            Facts::Allowance(facts) => {
                let told = facts.spending.as_ref();
                let told = told.ok_or_else(|| page.differs(record, "its facts tell no spending"))?;
                return self.spent.amount_spent(page, record, &facts.detainee, told);
            }
            Facts::AllowanceEnd(facts) => {
                let released = page.amount(record, &facts.released)?;
                (&facts.detainee, &facts.counted_on, released)
            }
            Facts::OfflineSale(facts) => {
                self.stock.sold_already(page, record, &facts.lines)?;
                if facts.lines.is_empty() {
                    return Ok(());
                }
                if let Some(told) = &facts.spending {
                    return self.spent.amount_spent(page, record, &facts.detainee, told);
                }
                let total = page.amount(record, &facts.total)?;
                let counted = page.amount(record, &facts.counted)?;
                (&facts.detainee, &facts.counted_on, total - counted)
            }
            Facts::OfflineSaleEnd(facts) => {
                self.stock.sold_already(page, record, &facts.lines)?;
                let counted = page.amount(record, &facts.counted)?;
                (&facts.detainee, &facts.counted_on, -counted)
            }
            _ => return Ok(()),
        };
        if given_back.is_zero() {
            return Ok(());
        }
        self.spent.given_back(page, record, detainee, date, given_back)
    }

    fn came_back(
        &mut self,
        page: &Page<'_>,
        record: &JournalRecord,
        facts: &ReturnFacts,
        purchase: &PurchaseFacts,
    ) -> Result<(), VerifyError> {
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
        let date = purchase.spending.as_ref().map(|told| told.date.as_str());
        if purchase.detainee != facts.detainee || date != Some(facts.date.as_str()) {
            let what = format!("is not of the detainee and date of purchase {}", facts.purchase);
            return Err(page.differs(record, what));
        }
        self.stock.came_back(page, record, facts, purchase)?;
        let counted = page.amount(record, &facts.counted)?;
        self.spent
            .given_back(page, record, &facts.detainee, &facts.date, counted)
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
