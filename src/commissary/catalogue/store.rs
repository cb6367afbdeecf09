//! The SQL of products and of their versions.

use rust_decimal::Decimal;
use sqlx::PgConnection;
use time::OffsetDateTime;

use super::{Barcode, Labels, Product, ProductVersion};
use crate::{
    commissary::store::category_of,
    db::decoding,
    ids::{ProductId, VendorId},
    ledger::Center,
};

/// Who changes a product, when and why.
pub(super) struct Change<'a> {
    pub at: OffsetDateTime,
    pub by: &'a str,
    pub reason: &'a str,
    pub approval: Option<i64>,
}

/// The columns of some products, one array each.
struct Columns<'a>(&'a [Product]);

impl Columns<'_> {
    fn texts(&self, of: fn(&Product) -> String) -> Vec<String> {
        self.0.iter().map(of).collect()
    }
    fn ids(&self) -> Vec<String> {
        self.texts(|product| product.id.to_string())
    }
    fn barcodes(&self) -> Vec<String> {
        self.texts(|product| product.barcode.as_ref().map(Barcode::to_string).unwrap_or_default())
    }
    fn prices(&self) -> Vec<Decimal> {
        self.0.iter().map(|product| product.price.value()).collect()
    }
    fn approved(&self) -> Vec<Decimal> {
        self.0.iter().map(|product| product.approved_price.value()).collect()
    }
    fn available(&self) -> Vec<bool> {
        self.0.iter().map(|product| product.available).collect()
    }
    fn keeps_stock(&self) -> Vec<bool> {
        self.0.iter().map(|product| product.stock.is_some()).collect()
    }
    fn versions(&self) -> Vec<i64> {
        self.0.iter().map(|product| product.version).collect()
    }
    /// Labels have no comma, so that a set of them is one text.
    fn units(&self) -> Vec<String> {
        self.texts(|product| product.withdrawn_units.to_vec().join(","))
    }
    fn tags(&self) -> Vec<String> {
        self.texts(|product| product.tags.to_vec().join(","))
    }
}

/// Lists products, whose ids are free.
pub(super) async fn insert_products(
    conn: &mut PgConnection,
    center: &Center,
    products: &[Product],
    change: &Change<'_>,
) -> sqlx::Result<()> {
    let columns = Columns(products);
    sqlx::query!(
        "insert into product (center_id, product_id, vendor_id, name, name_zh, category, barcode, unit, price,
                              approved_price, available, keeps_stock, version, withdrawn_units, tags, created_at)
         select $1, product_id, vendor_id, name, name_zh, category, barcode, unit, price, approved_price, available,
                keeps_stock, version, string_to_array(units, ','), string_to_array(tags, ','), $15
         from unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::numeric[],
                     $10::numeric[], $11::boolean[], $12::boolean[], $13::bigint[], $14::text[], $16::text[])
              p (product_id, vendor_id, name, name_zh, category, barcode, unit, price, approved_price, available,
                 keeps_stock, version, units, tags)",
        center.no.0,
        &columns.ids(),
        &columns.texts(|product| product.vendor.to_string()),
        &columns.texts(|product| product.name.clone()),
        &columns.texts(|product| product.name_zh.clone()),
        &columns.texts(|product| product.category.name().to_owned()),
        &columns.barcodes(),
        &columns.texts(|product| product.unit.clone()),
        &columns.prices(),
        &columns.approved(),
        &columns.available(),
        &columns.keeps_stock(),
        &columns.versions(),
        &columns.units(),
        change.at,
        &columns.tags(),
    )
    .execute(&mut *conn)
    .await?;
    insert_versions(conn, center, &columns, change).await
}

/// Writes what products have become, and a version of each.
pub(super) async fn update_products(
    conn: &mut PgConnection,
    center: &Center,
    products: &[Product],
    change: &Change<'_>,
) -> sqlx::Result<()> {
    let columns = Columns(products);
    sqlx::query!(
        "update product p set barcode = c.barcode, unit = c.unit, price = c.price, approved_price = c.approved_price,
                available = c.available, keeps_stock = c.keeps_stock, version = c.version,
                withdrawn_units = string_to_array(c.units, ','), tags = string_to_array(c.tags, ',')
         from unnest($2::text[], $3::text[], $4::text[], $5::numeric[], $6::numeric[], $7::boolean[], $8::boolean[],
                     $9::bigint[], $10::text[], $11::text[])
              c (product_id, barcode, unit, price, approved_price, available, keeps_stock, version, units, tags)
         where p.center_id = $1 and p.product_id = c.product_id",
        center.no.0,
        &columns.ids(),
        &columns.barcodes(),
        &columns.texts(|product| product.unit.clone()),
        &columns.prices(),
        &columns.approved(),
        &columns.available(),
        &columns.keeps_stock(),
        &columns.versions(),
        &columns.units(),
        &columns.tags(),
    )
    .execute(&mut *conn)
    .await?;
    insert_versions(conn, center, &columns, change).await
}

/// A version of each product, and the stock of those that are counted from now on.
async fn insert_versions(
    conn: &mut PgConnection,
    center: &Center,
    columns: &Columns<'_>,
    change: &Change<'_>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into product_price (center_id, product_id, version, price, approved_price, available, withdrawn_units,
                                    tags, changed_at, changed_by, reason, approval_no)
         select $1, product_id, version, price, approved_price, available, string_to_array(units, ','),
                string_to_array(tags, ','), $9, $10, $11, $12
         from unnest($2::text[], $3::bigint[], $4::numeric[], $5::numeric[], $6::boolean[], $7::text[], $8::text[])
              v (product_id, version, price, approved_price, available, units, tags)",
        center.no.0,
        &columns.ids(),
        &columns.versions(),
        &columns.prices(),
        &columns.approved(),
        &columns.available(),
        &columns.units(),
        &columns.tags(),
        change.at,
        change.by,
        change.reason,
        change.approval,
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!(
        "insert into product_stock (center_id, product_id, on_hand)
         select $1, product_id, 0 from unnest($2::text[], $3::boolean[]) s (product_id, keeps_stock) where keeps_stock
         on conflict do nothing",
        center.no.0,
        &columns.ids(),
        &columns.keeps_stock(),
    )
    .execute(conn)
    .await?;
    Ok(())
}

struct ProductRow {
    product_id: String,
    vendor_id: String,
    name: String,
    name_zh: String,
    category: String,
    barcode: String,
    unit: String,
    price: Decimal,
    approved_price: Decimal,
    available: bool,
    withdrawn_units: Vec<String>,
    tags: Vec<String>,
    on_hand: Option<i64>,
    version: i64,
    created_at: OffsetDateTime,
}

impl ProductRow {
    fn product(self, center: &Center) -> sqlx::Result<Product> {
        Ok(Product {
            id: ProductId::parse(&self.product_id).map_err(decoding)?,
            vendor: VendorId::parse(&self.vendor_id).map_err(decoding)?,
            name: self.name,
            name_zh: self.name_zh,
            category: category_of(&self.category)?,
            barcode: Barcode::stored(self.barcode),
            unit: self.unit,
            price: center.amount(self.price)?,
            approved_price: center.amount(self.approved_price)?,
            available: self.available,
            withdrawn_units: Labels::stored(self.withdrawn_units),
            tags: Labels::stored(self.tags),
            stock: self.on_hand,
            version: self.version,
            created_at: self.created_at,
        })
    }
}

pub(super) async fn product(conn: &mut PgConnection, center: &Center, id: &ProductId) -> sqlx::Result<Option<Product>> {
    sqlx::query_as!(
        ProductRow,
        r#"select p.product_id, vendor_id, name, name_zh, category, barcode, unit, price, approved_price, available,
                  withdrawn_units, tags, s.on_hand as "on_hand?", version, created_at
           from product p left join product_stock s on s.center_id = p.center_id and s.product_id = p.product_id
           where p.center_id = $1 and p.product_id = $2"#,
        center.no.0,
        id.as_str(),
    )
    .fetch_optional(conn)
    .await?
    .map(|row| row.product(center))
    .transpose()
}

/// Up to `limit` products after an id, of one vendor or of all.
pub(super) async fn list_products(
    conn: &mut PgConnection,
    center: &Center,
    vendor: Option<&VendorId>,
    after: &str,
    limit: i64,
) -> sqlx::Result<Vec<Product>> {
    sqlx::query_as!(
        ProductRow,
        r#"select p.product_id, vendor_id, name, name_zh, category, barcode, unit, price, approved_price, available,
                  withdrawn_units, tags, s.on_hand as "on_hand?", version, created_at
           from product p left join product_stock s on s.center_id = p.center_id and s.product_id = p.product_id
           where p.center_id = $1 and p.product_id > $2 and ($3::text is null or vendor_id = $3)
           order by p.product_id limit $4"#,
        center.no.0,
        after,
        vendor.map(VendorId::as_str),
        limit,
    )
    .fetch_all(conn)
    .await?
    .into_iter()
    .map(|row| row.product(center))
    .collect()
}

/// The versions of some products before a number, newest first; at most `limit` of all.
pub(super) async fn versions(
    conn: &mut PgConnection,
    center: &Center,
    products: &[String],
    before: i64,
    limit: i64,
) -> sqlx::Result<Vec<(String, ProductVersion)>> {
    let rows = sqlx::query!(
        "select product_id, version, price, approved_price, available, withdrawn_units, tags, changed_at, changed_by, reason,
                approval_no
         from product_price where center_id = $1 and product_id = any($2) and version < $3
         order by product_id, version desc limit $4",
        center.no.0,
        products,
        before,
        limit,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            let version = ProductVersion {
                version: row.version,
                price: center.amount(row.price)?,
                approved_price: center.amount(row.approved_price)?,
                available: row.available,
                withdrawn_units: Labels::stored(row.withdrawn_units),
                tags: Labels::stored(row.tags),
                changed_at: row.changed_at,
                changed_by: row.changed_by,
                reason: row.reason,
                approval: row.approval_no,
            };
            Ok((row.product_id, version))
        })
        .collect()
}

/// The product that an approval has changed already.
pub(super) async fn changed_by_approval(
    conn: &mut PgConnection,
    center: &Center,
    approval: i64,
) -> sqlx::Result<Option<String>> {
    sqlx::query_scalar!(
        "select product_id from product_price where center_id = $1 and approval_no = $2",
        center.no.0,
        approval,
    )
    .fetch_optional(conn)
    .await
}
