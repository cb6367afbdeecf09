//! Stock against the journal and the movements: both are replayed in their order.

use std::collections::{BTreeMap, VecDeque};

use crate::{
    db::Conn,
    ledger::verify::{Page, VerifyError},
    proto::{JournalRecord, PurchaseFacts, PurchaseLineFacts, ReturnFacts},
};

/// How many there are of each counted product, as far as it is replayed.
#[derive(Debug, Default)]
pub(in crate::commissary) struct StockCheck {
    /// By product: how many, and the number of its last movement.
    known: BTreeMap<String, (i64, i64)>,
    /// Movements of the page that are not replayed yet.
    coming: VecDeque<Coming>,
}

#[derive(Debug)]
struct Coming {
    product: String,
    number: i64,
    quantity: i64,
    on_hand: i64,
    after: i64,
}

impl StockCheck {
    /// Reads the movements among a page's transactions.
    pub async fn page(&mut self, conn: &mut Conn, page: &Page<'_>) -> Result<(), VerifyError> {
        let rows = sqlx::query!(
            "select product_id, number, quantity, on_hand, after_seq from stock_movement
             where center_id = $1 and after_seq >= $2 and after_seq < $3 order by after_seq, product_id, number",
            page.center.no.0,
            page.after.0,
            page.through.0,
        )
        .fetch_all(conn)
        .await?;
        self.coming.extend(rows.into_iter().map(|row| Coming {
            product: row.product_id,
            number: row.number,
            quantity: row.quantity,
            on_hand: row.on_hand,
            after: row.after_seq,
        }));
        Ok(())
    }

    /// Replays the movements before a transaction.
    pub fn until(&mut self, page: &Page<'_>, seq: i64) -> Result<(), VerifyError> {
        while self.coming.front().is_some_and(|moved| moved.after < seq) {
            let Some(moved) = self.coming.pop_front() else { break };
            let (on_hand, number) = self.known.entry(moved.product.clone()).or_default();
            (*on_hand, *number) = (on_hand.saturating_add(moved.quantity), *number + 1);
            if *on_hand != moved.on_hand || *number != moved.number {
                let key = format!("{} {}", moved.product, moved.number);
                let what = format!(
                    "stored as number {} with {} left, replay says number {number} with {on_hand}",
                    moved.number, moved.on_hand
                );
                return Err(page.row_differs("stock_movement", key, what));
            }
        }
        Ok(())
    }

    fn line(
        &mut self,
        page: &Page<'_>,
        record: &JournalRecord,
        product: &str,
        pieces: i64,
        told: Option<i64>,
    ) -> Result<(), VerifyError> {
        let Some(told) = told else {
            // What has moved is counted from then on. What was bought before comes back without being counted.
            return match self.known.get(product) {
                Some(_) if pieces < 0 => {
                    Err(page.differs(record, format!("does not count {product}, which is counted")))
                }
                _ => Ok(()),
            };
        };
        let (on_hand, _) = self.known.entry(product.to_owned()).or_default();
        *on_hand = on_hand.saturating_add(pieces);
        if *on_hand == told && told >= 0 {
            Ok(())
        } else {
            let what = format!("records that {told} of {product} are left, replay says {on_hand}");
            Err(page.differs(record, what))
        }
    }

    /// Replays what was sold or granted.
    pub fn sold(
        &mut self,
        page: &Page<'_>,
        record: &JournalRecord,
        lines: &[PurchaseLineFacts],
    ) -> Result<(), VerifyError> {
        for line in lines {
            self.line(page, record, &line.product, -i64::from(line.quantity), line.stock_after)?;
        }
        Ok(())
    }

    /// Replays goods that were handed out whatever the books said: where these had fewer, none are left.
    pub fn sold_already(
        &mut self,
        page: &Page<'_>,
        record: &JournalRecord,
        lines: &[PurchaseLineFacts],
    ) -> Result<(), VerifyError> {
        for line in lines {
            let there = self.known.get(&line.product).map_or(0, |(on_hand, _)| *on_hand);
            let pieces = i64::from(line.quantity);
            let taken = if line.stock_after.is_some() {
                pieces.min(there)
            } else {
                pieces
            };
            self.line(page, record, &line.product, -taken, line.stock_after)?;
        }
        Ok(())
    }

    /// Replays a kit that was taken back.
    pub fn put_back(
        &mut self,
        page: &Page<'_>,
        record: &JournalRecord,
        lines: &[PurchaseLineFacts],
    ) -> Result<(), VerifyError> {
        for line in lines {
            self.line(page, record, &line.product, line.quantity.into(), line.stock_after)?;
        }
        Ok(())
    }

    /// Replays a return of a purchase, whose lines are known to be there.
    pub fn came_back(
        &mut self,
        page: &Page<'_>,
        record: &JournalRecord,
        facts: &ReturnFacts,
        purchase: &PurchaseFacts,
    ) -> Result<(), VerifyError> {
        for line in &facts.lines {
            let index = usize::try_from(line.line).ok().and_then(|line| line.checked_sub(1));
            let Some(bought) = index.and_then(|index| purchase.lines.get(index)) else {
                continue;
            };
            if bought.stock_after.is_some() != line.stock_after.is_some() {
                let what = format!("line {} is counted otherwise than it was sold", line.line);
                return Err(page.differs(record, what));
            }
            self.line(page, record, &bought.product, line.quantity.into(), line.stock_after)?;
        }
        Ok(())
    }

    /// Compares with what is stored.
    pub async fn end(&mut self, conn: &mut Conn, page: &Page<'_>) -> Result<(), VerifyError> {
        self.until(page, i64::MAX)?;
        let rows = sqlx::query!(
            r#"select p.product_id, p.keeps_stock, s.on_hand as "on_hand?"
             from product p left join product_stock s on s.center_id = p.center_id and s.product_id = p.product_id
             where p.center_id = $1"#,
            page.center.no.0,
        )
        .fetch_all(conn)
        .await?;
        let explained = rows.iter().filter(|row| row.keeps_stock).map(|row| {
            (
                row.product_id.clone(),
                self.known.get(&row.product_id).map_or(0, |known| known.0),
            )
        });
        let explained: BTreeMap<String, i64> = explained.collect();
        let stored = rows
            .iter()
            .filter_map(|row| Some((row.product_id.clone(), row.on_hand?)));
        page.same_rows("product_stock", &explained, &stored.collect())
    }
}
