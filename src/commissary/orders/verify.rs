//! Orders and what became of them against their transactions, and what detainees hold against what their orders hold.

use std::collections::{BTreeMap, HashMap};

use super::change::{how_of, subject};
use crate::{
    db::Conn,
    ids::{AccountNo, Seq},
    ledger::{
        Code, record,
        verify::{Owner, Page, VerifyError},
    },
    proto::{JournalRecord, OrderChangeFacts, OrderFacts, PurchaseFacts, TransactionKind, journal_record::Facts},
    work::{self, WorkKind},
};
use rust_decimal::Decimal;

/// The orders that a page's records change, end or take back from.
#[derive(Debug, Default)]
pub(in crate::commissary) struct OrdersCheck {
    placed: HashMap<i64, OrderFacts>,
}

/// What a record did to orders: a change of its own, or those that ended with somebody's stay.
pub fn changes_of(record: &JournalRecord) -> &[OrderChangeFacts] {
    match &record.facts {
        Some(Facts::OrderChange(facts)) => std::slice::from_ref(facts),
        Some(Facts::Release(facts)) => &facts.ended_orders,
        _ => &[],
    }
}

/// A change's sums, in the order of its facts, and of its postings.
type Sums = [Decimal; 3];

impl OrdersCheck {
    /// Reads the orders that the page needs.
    pub async fn page(conn: &mut Conn, page: &Page<'_>) -> Result<OrdersCheck, VerifyError> {
        let of = page.records.iter().flat_map(|record| {
            let returned = match &record.facts {
                Some(Facts::Return(facts)) if facts.of_order => Some(facts.purchase),
                _ => None,
            };
            changes_of(record).iter().map(|facts| facts.order).chain(returned)
        });
        let of: Vec<i64> = of.collect();
        let mut check = OrdersCheck::default();
        if of.is_empty() {
            return Ok(check);
        }
        let rows = sqlx::query!(
            "select seq, record from journal_transaction where center_id = $1 and seq = any($2)",
            page.center.no.0,
            &of,
        )
        .fetch_all(conn)
        .await?;
        for row in rows {
            if let Some(Facts::Order(facts)) = record::decode(&row.record)?.facts {
                check.placed.insert(row.seq, facts);
            }
        }
        Ok(check)
    }

    /// The goods of an order that a record names.
    pub fn goods(&self, page: &Page<'_>, record: &JournalRecord, order: i64) -> Result<&PurchaseFacts, VerifyError> {
        let placed = self.placed.get(&order).filter(|_| order < record.seq);
        placed
            .and_then(|placed| placed.goods.as_ref())
            .ok_or_else(|| page.differs(record, format!("{order} is no order")))
    }

    /// Whether a change is what its lines come to, at a time when it may be; gives back the order's goods.
    pub fn changed(
        &self,
        page: &Page<'_>,
        record: &JournalRecord,
        facts: &OrderChangeFacts,
    ) -> Result<&PurchaseFacts, VerifyError> {
        let goods = self.goods(page, record, facts.order)?;
        let date = goods.spending.as_ref().map(|told| told.date.as_str());
        if goods.detainee != facts.detainee || date != Some(facts.date.as_str()) {
            let what = format!("is not of the detainee and date of order {}", facts.order);
            return Err(page.differs(record, what));
        }
        let ([captured, released, contested], counted) = sums(page, record, facts, goods)?;
        let told = [&facts.captured, &facts.released, &facts.contested, &facts.counted];
        for (told, is) in told.into_iter().zip([captured, released, contested, counted]) {
            if page.amount(record, told)? != is {
                let what = format!("tells {told} of order {}, whose lines come to {is}", facts.order);
                return Err(page.differs(record, what));
            }
        }
        if let Some(Facts::OrderChange(_)) = &record.facts {
            self.alone(page, record, facts, goods, [captured, released, contested])?;
        }
        Ok(goods)
    }

    /// A transaction that is about one order only.
    fn alone(
        &self,
        page: &Page<'_>,
        record: &JournalRecord,
        facts: &OrderChangeFacts,
        goods: &PurchaseFacts,
        told: Sums,
    ) -> Result<(), VerifyError> {
        let vendors = goods.lines.iter().map(|line| Owner::vendor(&line.vendor));
        let parties: Vec<Owner> = [Owner::detainee(&goods.detainee)].into_iter().chain(vendors).collect();
        page.parties(record, &parties)?;
        if record.reverses != facts.order || how_of(record.kind(), Seq(record.seq)).is_none() {
            return Err(page.differs(record, "does not name its order"));
        }
        if posted(page, record)? != told {
            return Err(page.differs(record, "its postings are not what its lines come to"));
        }
        let at = record.recorded_at.as_ref().and_then(record::instant);
        let placed = self.placed.get(&facts.order);
        let (cut_off_at, expires_at) = (
            placed.and_then(|placed| placed.cut_off_at.as_ref().and_then(record::instant)),
            placed.and_then(|placed| placed.expires_at.as_ref().and_then(record::instant)),
        );
        let is_in_time = match record.kind() {
            TransactionKind::OrderCancelled => cut_off_at.is_none_or(|until| at < Some(until)),
            TransactionKind::OrderExpired => at >= expires_at,
            TransactionKind::OrderDelivered => at < expires_at,
            _ => true,
        };
        if is_in_time {
            Ok(())
        } else {
            Err(page.differs(record, format!("is not in time for order {}", facts.order)))
        }
    }
}

/// What a change's lines come to: captured, released, contested; and what of the released counts.
fn sums(
    page: &Page<'_>,
    record: &JournalRecord,
    facts: &OrderChangeFacts,
    goods: &PurchaseFacts,
) -> Result<(Sums, Decimal), VerifyError> {
    let (mut sums, mut counted) = (Sums::default(), Decimal::ZERO);
    for change in &facts.lines {
        let index = usize::try_from(change.line).ok().and_then(|line| line.checked_sub(1));
        let line = index.and_then(|index| goods.lines.get(index));
        let line =
            line.ok_or_else(|| page.differs(record, format!("order {} has no line {}", facts.order, change.line)))?;
        let price = page.amount(record, &line.unit_price)?;
        let released = change.released + change.conceded;
        let pieces = [change.delivered + change.upheld, released, change.contested];
        for (sum, pieces) in sums.iter_mut().zip(pieces) {
            *sum += price * Decimal::from(pieces);
        }
        if line.counted {
            counted += price * Decimal::from(released);
        }
    }
    Ok((sums, counted))
}

/// The same by the postings.
fn posted(page: &Page<'_>, record: &JournalRecord) -> Result<Sums, VerifyError> {
    let code = |no: i32| page.accounts.get(AccountNo(no)).map(|account| account.code);
    let mut sums = Sums::default();
    for posting in &record.postings {
        let amount = page.amount(record, &posting.amount)?;
        let [captured, released, contested] = &mut sums;
        match (code(posting.debit), code(posting.credit)) {
            (Some(Code::Held), Some(Code::VendorPayable)) => *captured += amount,
            (Some(Code::Held), Some(Code::Available)) => *released += amount,
            (Some(Code::VendorPayable), Some(Code::Held)) => *contested += amount,
            _ => return Err(page.differs(record, "moves what no order moves")),
        }
    }
    Ok(sums)
}

/// The rows of a page's orders and changes.
pub(in crate::commissary) async fn rows(conn: &mut Conn, page: &Page<'_>) -> Result<(), VerifyError> {
    orders(conn, page).await?;
    lines(conn, page).await?;
    changes(conn, page).await
}

async fn orders(conn: &mut Conn, page: &Page<'_>) -> Result<(), VerifyError> {
    let rows = sqlx::query!(
        "select seq, detainee_id, effective_date, placed_at, cut_off_at, expires_at from placed_order
         where center_id = $1 and seq > $2 and seq <= $3",
        page.center.no.0,
        page.after.0,
        page.through.0,
    )
    .fetch_all(conn)
    .await?;
    let stored = rows.into_iter().map(|row| {
        let times = [Some(row.placed_at), row.cut_off_at, Some(row.expires_at)];
        (row.seq, (row.detainee_id, row.effective_date.to_string(), times))
    });
    let explained = page.records.iter().filter_map(|record| match &record.facts {
        Some(Facts::Order(facts)) => {
            let times = [&record.recorded_at, &facts.cut_off_at, &facts.expires_at];
            let times = times.map(|at| at.as_ref().and_then(record::instant));
            let detainee = facts.goods.as_ref().map(|goods| goods.detainee.clone());
            let row = (detainee.unwrap_or_default(), record.effective_date.clone(), times);
            Some((record.seq, row))
        }
        _ => None,
    });
    page.same_rows("placed_order", &explained.collect(), &stored.collect())
}

/// A line as it was ordered: product, pieces, price, whether it counts and is counted.
type LineRow = (String, i32, Decimal, bool, bool);

async fn lines(conn: &mut Conn, page: &Page<'_>) -> Result<(), VerifyError> {
    let rows = sqlx::query!(
        "select seq, line, product_id, payable_no, quantity, unit_price, counted, keeps_stock from placed_order_line
         where center_id = $1 and seq > $2 and seq <= $3",
        page.center.no.0,
        page.after.0,
        page.through.0,
    )
    .fetch_all(conn)
    .await?;
    let key = |seq: i64, line: i32| format!("{seq} line {line}");
    let mut explained: BTreeMap<String, LineRow> = BTreeMap::new();
    let mut vendors = HashMap::new();
    for record in page.records {
        let Some(Facts::Order(facts)) = &record.facts else {
            continue;
        };
        for (number, line) in (1..).zip(facts.goods.iter().flat_map(|goods| &goods.lines)) {
            let price = page.amount(record, &line.unit_price)?;
            let row = (
                line.product.clone(),
                line.quantity,
                price,
                line.counted,
                line.stock_after.is_some(),
            );
            vendors.insert(key(record.seq, number), Owner::vendor(&line.vendor));
            explained.insert(key(record.seq, number), row);
        }
    }
    let mut stored = BTreeMap::new();
    for row in rows {
        let key = key(row.seq, row.line.into());
        if let Some(vendor) = vendors.get(&key) {
            let found = page
                .accounts
                .require(AccountNo(row.payable_no), Code::VendorPayable, vendor.as_str());
            found.map_err(|what| page.row_differs("placed_order_line", &key, what))?;
        }
        let line = (
            row.product_id,
            row.quantity,
            row.unit_price,
            row.counted,
            row.keeps_stock,
        );
        stored.insert(key, line);
    }
    page.same_rows("placed_order_line", &explained, &stored)
}

async fn changes(conn: &mut Conn, page: &Page<'_>) -> Result<(), VerifyError> {
    let rows = sqlx::query!(
        "select seq, order_seq, line, delivered, released, contested, upheld, conceded, state from placed_order_change
         where center_id = $1 and seq > $2 and seq <= $3",
        page.center.no.0,
        page.after.0,
        page.through.0,
    )
    .fetch_all(conn)
    .await?;
    let key = |seq: i64, order: i64, line: i32| format!("{seq} order {order} line {line}");
    let stored = rows.into_iter().map(|row| {
        let pieces = [row.delivered, row.released, row.contested, row.upheld, row.conceded];
        (key(row.seq, row.order_seq, row.line.into()), (pieces, row.state))
    });
    let explained = page.records.iter().flat_map(|record| {
        changes_of(record).iter().flat_map(move |facts| {
            facts.lines.iter().map(move |line| {
                let pieces = [
                    line.delivered,
                    line.released,
                    line.contested,
                    line.upheld,
                    line.conceded,
                ];
                (key(record.seq, facts.order, line.line), (pieces, facts.state.clone()))
            })
        })
    });
    page.same_rows("placed_order_change", &explained.collect(), &stored.collect())
}

/// What orders have come to, by their changes and returns; and that detainees hold what their orders hold.
pub(in crate::commissary) async fn end(conn: &mut Conn, page: &Page<'_>) -> Result<(), VerifyError> {
    pieces(conn, page).await?;
    states(conn, page).await?;
    disputes(conn, page).await?;
    held(conn, page).await
}

/// Every dispute waits for people, and nothing else does in its name.
async fn disputes(conn: &mut Conn, page: &Page<'_>) -> Result<(), VerifyError> {
    let rows = sqlx::query!(
        r#"select seq, dispute_seq as "dispute_seq!" from placed_order_line
           where center_id = $1 and dispute_seq is not null"#,
        page.center.no.0,
    )
    .fetch_all(&mut *conn)
    .await?;
    let open = rows
        .into_iter()
        .map(|row| (subject(Seq(row.seq), Seq(row.dispute_seq)), ()));
    let waiting = work::open_subjects(conn, page.center.no, WorkKind::OrderDispute).await?;
    let waiting = waiting.into_iter().map(|subject| (subject, ()));
    page.same_rows("work_item_open", &open.collect(), &waiting.collect())
}

async fn pieces(conn: &mut Conn, page: &Page<'_>) -> Result<(), VerifyError> {
    let wrong = sqlx::query!(
        r#"select l.seq, l.line from placed_order_line l
           left join lateral (
             select coalesce(sum(c.delivered), 0) as delivered, coalesce(sum(c.released), 0) as released,
                    coalesce(sum(c.contested), 0) as contested, coalesce(sum(c.upheld), 0) as upheld,
                    coalesce(sum(c.conceded), 0) as conceded
             from placed_order_change c where c.center_id = $1 and c.order_seq = l.seq and c.line = l.line) c on true
           left join lateral (
             select coalesce(sum(r.quantity), 0) as returned from return_line r
             where r.center_id = $1 and r.purchase_seq = l.seq and r.line = l.line) r on true
           left join lateral (
             select case when t.kind = 'ORDER_DISPUTED' then d.seq end as seq
             from placed_order_change d join journal_transaction t on t.center_id = $1 and t.seq = d.seq
             where d.center_id = $1 and d.order_seq = l.seq and d.line = l.line
             order by d.seq desc limit 1) d on true
           where l.center_id = $1
             and (l.open, l.delivered, l.released, l.returned, l.disputed, l.dispute_seq) is distinct from
                 (l.quantity - c.delivered - c.released, c.delivered + c.upheld - c.contested - r.returned, c.released,
                  c.conceded + r.returned, c.contested - c.upheld - c.conceded, d.seq)
           order by l.seq, l.line limit 1"#,
        page.center.no.0,
    )
    .fetch_optional(conn)
    .await?;
    wrong.map_or(Ok(()), |row| {
        let key = format!("{} line {}", row.seq, row.line);
        let what = "what is to come, has come, will not come, came back or is in dispute is not what became of it";
        Err(page.row_differs("placed_order_line", key, what))
    })
}

async fn states(conn: &mut Conn, page: &Page<'_>) -> Result<(), VerifyError> {
    let wrong = sqlx::query_scalar!(
        r#"select o.seq from placed_order o
           left join lateral (
             select count(distinct c.seq) as changes from placed_order_change c
             where c.center_id = $1 and c.order_seq = o.seq) n on true
           left join lateral (
             select c.state from placed_order_change c
             where c.center_id = $1 and c.order_seq = o.seq order by c.seq desc limit 1) s on true
           left join lateral (
             select t.recorded_at from placed_order_change c
             join journal_transaction t on t.center_id = $1 and t.seq = c.seq
             where c.center_id = $1 and c.order_seq = o.seq and c.delivered > 0 order by c.seq desc limit 1) d on true
           left join lateral (
             select bool_or(l.open > 0) as is_open, bool_or(l.open + l.disputed > 0) as is_held from placed_order_line l
             where l.center_id = $1 and l.seq = o.seq) l on true
           where o.center_id = $1
             and (o.changes, o.state, o.delivered_at, o.is_held, o.state = 'OPEN') is distinct from
                 (n.changes, coalesce(s.state, 'OPEN'), d.recorded_at, l.is_held, l.is_open)
           order by o.seq limit 1"#,
        page.center.no.0,
    )
    .fetch_optional(conn)
    .await?;
    wrong.map_or(Ok(()), |seq| {
        Err(page.row_differs("placed_order", seq, "its state is not what became of it"))
    })
}

/// What orders have put on hold, and taken off it, is what they have to come and in dispute. Others may hold money beside them: what
/// moved in transactions that are about no order is theirs to explain.
async fn held(conn: &mut Conn, page: &Page<'_>) -> Result<(), VerifyError> {
    let wrong = sqlx::query!(
        r#"select a.account_no, coalesce(m.moved, 0) as "moved!", coalesce(h.held, 0) as "held!"
           from account a
           join account_balance b on b.center_id = a.center_id and b.account_no = a.account_no
           left join lateral (
             select sum(p.amount) as moved
             from (select seq, debit as other, amount from posting where center_id = $1 and credit = a.account_no
                   union all
                   select seq, credit, -amount from posting where center_id = $1 and debit = a.account_no) p
             join account o on o.center_id = $1 and o.account_no = p.other and o.code in ($3, $4)
             where exists (select from placed_order x where x.center_id = $1 and x.seq = p.seq)
                or exists (select from placed_order_change c where c.center_id = $1 and c.seq = p.seq)) m on true
           left join (
             select 'detainees/' || o.detainee_id as owner, sum(l.unit_price * (l.open + l.disputed)) as held
             from placed_order o join placed_order_line l on l.center_id = o.center_id and l.seq = o.seq
             where o.center_id = $1 and o.is_held group by o.detainee_id) h on h.owner = a.owner
           where a.center_id = $1 and a.code = $2
             and (coalesce(m.moved, 0) <> coalesce(h.held, 0) or coalesce(h.held, 0) > b.balance)
           order by a.account_no limit 1"#,
        page.center.no.0,
        Code::Held.number(),
        Code::Available.number(),
        Code::VendorPayable.number(),
    )
    .fetch_optional(conn)
    .await?;
    wrong.map_or(Ok(()), |row| {
        let what = format!("{} are held by orders, which hold {}", row.moved, row.held);
        Err(page.row_differs("account_balance", row.account_no, what))
    })
}
