//! All SQL of this domain, and the rows it adds to the lanes' statement.

use std::collections::{BTreeMap, HashMap};

use rust_decimal::Decimal;
use sqlx::{Arguments as _, PgConnection, error::BoxDynError, postgres::PgArguments};
use time::{Date, OffsetDateTime};

use super::{
    buyer::Limits,
    catalogue::Labels,
    entity::{Category, Offer, Vendor},
};
use crate::{
    db::decoding,
    ids::{AccountNo, CenterNo, DetaineeId, ProductId, Seq, VendorId},
    ledger::{Center, Code, RowSet, account},
    money::Amount,
};

pub(super) async fn insert_vendor(
    conn: &mut PgConnection,
    center: CenterNo,
    id: VendorId,
    name: String,
    name_zh: String,
    at: OffsetDateTime,
) -> sqlx::Result<Vendor> {
    let owner = format!("vendors/{id}");
    let payable_no =
        account::open_in_tx(conn, center, &[Code::VendorPayable, Code::VendorInTransit], &owner, at).await?;
    let transit_no = AccountNo(payable_no.0 + 1);
    sqlx::query!(
        "insert into vendor (center_id, vendor_id, name, name_zh, payable_no, transit_no, created_at)
         values ($1, $2, $3, $4, $5, $6, $7)",
        center.0,
        id.as_str(),
        name,
        name_zh,
        payable_no.0,
        transit_no.0,
        at,
    )
    .execute(conn)
    .await?;
    Ok(Vendor {
        id,
        name,
        name_zh,
        payable_no,
        transit_no,
        created_at: at,
    })
}

pub(super) async fn vendor(conn: &mut PgConnection, center: CenterNo, id: &VendorId) -> sqlx::Result<Option<Vendor>> {
    let row = sqlx::query!(
        "select name, name_zh, payable_no, transit_no, created_at from vendor where center_id = $1 and vendor_id = $2",
        center.0,
        id.as_str(),
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| Vendor {
        id: id.clone(),
        name: row.name,
        name_zh: row.name_zh,
        payable_no: AccountNo(row.payable_no),
        transit_no: AccountNo(row.transit_no),
        created_at: row.created_at,
    }))
}

pub(super) async fn list_vendors(
    conn: &mut PgConnection,
    center: CenterNo,
    after: &str,
    limit: i64,
) -> sqlx::Result<Vec<Vendor>> {
    sqlx::query!(
        "select vendor_id, name, name_zh, payable_no, transit_no, created_at from vendor
         where center_id = $1 and vendor_id > $2 order by vendor_id limit $3",
        center.0,
        after,
        limit,
    )
    .fetch_all(conn)
    .await?
    .into_iter()
    .map(|row| {
        Ok(Vendor {
            id: VendorId::parse(&row.vendor_id).map_err(decoding)?,
            name: row.name,
            name_zh: row.name_zh,
            payable_no: AccountNo(row.payable_no),
            transit_no: AccountNo(row.transit_no),
            created_at: row.created_at,
        })
    })
    .collect()
}

pub(super) fn category_of(name: &str) -> sqlx::Result<Category> {
    Category::from_name(name).ok_or_else(|| sqlx::Error::Decode(format!("unknown category {name}").into()))
}

pub(super) async fn offers(
    conn: &mut PgConnection,
    center: &Center,
    ids: &[ProductId],
) -> sqlx::Result<HashMap<String, Offer>> {
    let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
    sqlx::query!(
        "select p.product_id, p.vendor_id, p.category, p.price, p.available, p.version, p.withdrawn_units, p.tags, p.keeps_stock,
                v.payable_no
         from unnest($2::text[]) k (product_id),
              lateral (select * from product where center_id = $1 and product_id = k.product_id offset 0) p
              join vendor v on v.center_id = $1 and v.vendor_id = p.vendor_id",
        center.no.0,
        &ids,
    )
    .fetch_all(conn)
    .await?
    .into_iter()
    .map(|row| {
        let offer = Offer {
            vendor: VendorId::parse(&row.vendor_id).map_err(decoding)?,
            payable_no: AccountNo(row.payable_no),
            price: center.amount(row.price)?,
            counted: category_of(&row.category)?.is_counted(),
            available: row.available,
            version: row.version,
            keeps_stock: row.keeps_stock,
            limits: Limits::of(Labels::stored(row.withdrawn_units), Labels::stored(row.tags)),
        };
        Ok((row.product_id, offer))
    })
    .collect()
}

pub(super) async fn spending(
    conn: &mut PgConnection,
    center: &Center,
    ids: &[DetaineeId],
) -> sqlx::Result<HashMap<String, BTreeMap<Date, Amount>>> {
    let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
    let rows = sqlx::query!(
        "select m.detainee_id, m.month, m.spent
         from unnest($2::text[]) k (detainee_id),
              lateral (select * from monthly_spending where center_id = $1 and detainee_id = k.detainee_id offset 0) m",
        center.no.0,
        &ids,
    )
    .fetch_all(conn)
    .await?;
    let mut found: HashMap<String, BTreeMap<Date, Amount>> = HashMap::new();
    for row in rows {
        let spent = center.amount(row.spent)?;
        found.entry(row.detainee_id).or_default().insert(row.month, spent);
    }
    Ok(found)
}

pub(super) async fn returned(
    conn: &mut PgConnection,
    center: &Center,
    purchases: &[Seq],
) -> sqlx::Result<HashMap<Seq, HashMap<i32, i64>>> {
    let purchases: Vec<i64> = purchases.iter().map(|seq| seq.0).collect();
    let rows = sqlx::query!(
        r#"select r.purchase_seq, r.line, sum(r.quantity) as "quantity!"
           from unnest($2::bigint[]) k (purchase_seq),
                lateral (select * from return_line where center_id = $1 and purchase_seq = k.purchase_seq offset 0) r
           group by r.purchase_seq, r.line"#,
        center.no.0,
        &purchases,
    )
    .fetch_all(conn)
    .await?;
    let mut found: HashMap<Seq, HashMap<i32, i64>> = HashMap::new();
    for row in rows {
        found
            .entry(Seq(row.purchase_seq))
            .or_default()
            .insert(i32::from(row.line), row.quantity);
    }
    Ok(found)
}

pub(super) async fn returns_of(
    conn: &mut PgConnection,
    center: &Center,
    purchase: Seq,
    before: Option<Seq>,
    limit: i64,
) -> sqlx::Result<Vec<Seq>> {
    let seqs = sqlx::query_scalar!(
        "select distinct seq from return_line where center_id = $1 and purchase_seq = $2 and seq < $3
         order by seq desc limit $4",
        center.no.0,
        purchase.0,
        before.map_or(i64::MAX, |seq| seq.0),
        limit,
    )
    .fetch_all(conn)
    .await?;
    Ok(seqs.into_iter().map(Seq).collect())
}

/// Writes down what was spent elsewhere in a month.
pub(super) async fn insert_spending(
    conn: &mut PgConnection,
    center: CenterNo,
    detainee: &DetaineeId,
    month: Date,
    spent: Amount,
) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into monthly_spending (center_id, detainee_id, month, spent) values ($1, $2, $3, $4)",
        center.0,
        detainee.as_str(),
        month,
        spent.value(),
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Rows of `monthly_spending`, one for each detainee and month.
#[derive(Default)]
pub(super) struct SpendingRows(BTreeMap<(DetaineeId, Date), Decimal>);

impl SpendingRows {
    pub fn put(&mut self, id: &DetaineeId, month: Date, spent: Amount) {
        self.0.insert((id.clone(), month), spent.value());
    }
}

impl RowSet for SpendingRows {
    const NAME: &'static str = "monthly_spending";
    const SQL: &'static str = "\
        insert into monthly_spending (center_id, detainee_id, month, spent)
        select * from unnest($1::integer[], $2::text[], $3::date[], $4::numeric[]) s (center_id)
        where s.center_id in (select center_id from guard)
        on conflict (center_id, detainee_id, month) do update set spent = excluded.spent";
    const PARAMS: usize = 3;

    fn count(&self) -> usize {
        self.0.len()
    }

    fn bind(sets: &[&SpendingRows], args: &mut PgArguments) -> Result<(), BoxDynError> {
        let rows = || sets.iter().flat_map(|set| &set.0);
        args.add(rows().map(|((id, _), _)| id.as_str()).collect::<Vec<&str>>())?;
        args.add(rows().map(|((_, month), _)| *month).collect::<Vec<Date>>())?;
        args.add(rows().map(|(_, spent)| *spent).collect::<Vec<Decimal>>())
    }
}

/// One row of `return_line`.
pub(super) struct ReturnRow {
    pub seq: Seq,
    pub purchase: Seq,
    pub line: i16,
    pub quantity: i32,
    pub amount: Amount,
}

/// Rows of `return_line`.
#[derive(Default)]
pub(super) struct ReturnRows(pub Vec<ReturnRow>);

impl RowSet for ReturnRows {
    const NAME: &'static str = "return_line";
    const SQL: &'static str = "\
        insert into return_line (center_id, seq, purchase_seq, line, quantity, amount)
        select * from
            unnest($1::integer[], $2::bigint[], $3::bigint[], $4::smallint[], $5::integer[], $6::numeric[]) r (center_id)
        where r.center_id in (select center_id from guard)";
    const PARAMS: usize = 5;

    fn count(&self) -> usize {
        self.0.len()
    }

    fn bind(sets: &[&ReturnRows], args: &mut PgArguments) -> Result<(), BoxDynError> {
        let rows = || sets.iter().flat_map(|set| &set.0);
        args.add(rows().map(|row| row.seq.0).collect::<Vec<i64>>())?;
        args.add(rows().map(|row| row.purchase.0).collect::<Vec<i64>>())?;
        args.add(rows().map(|row| row.line).collect::<Vec<i16>>())?;
        args.add(rows().map(|row| row.quantity).collect::<Vec<i32>>())?;
        args.add(rows().map(|row| row.amount.value()).collect::<Vec<Decimal>>())
    }
}
