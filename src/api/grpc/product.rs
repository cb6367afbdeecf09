//! Products on the wire, for all services that tell of them.

use crate::{
    api::{
        grpc::{
            convert::{money, positive_amount_in, text, timestamp, typed},
            identity::reason_text,
            name::{ProductName, VendorName},
        },
        status::invalid_field,
    },
    commissary::{self, Barcode, Category, Details, LABEL_CHARS_MAX, Labels, NewProduct, ProductChange},
    ids::{ProductId, VendorId},
    ledger::{Center, Refusal},
    proto::{Product, ProductCategory},
};

/// Reads a category; `field` names it in the refusal.
pub fn category_in(category: ProductCategory, field: &str) -> Result<Category, Refusal> {
    Ok(match category {
        ProductCategory::Unspecified => return Err(invalid_field(field, "is required")),
        ProductCategory::General => Category::General,
        ProductCategory::Food => Category::Food,
        ProductCategory::Daily => Category::Daily,
        ProductCategory::Medical => Category::Medical,
        ProductCategory::Books => Category::Books,
        ProductCategory::Legal => Category::Legal,
    })
}

/// Writes a category.
pub fn category_out(category: Category) -> ProductCategory {
    match category {
        Category::General => ProductCategory::General,
        Category::Food => ProductCategory::Food,
        Category::Daily => ProductCategory::Daily,
        Category::Medical => ProductCategory::Medical,
        Category::Books => ProductCategory::Books,
        Category::Legal => ProductCategory::Legal,
    }
}

/// Reads tags or housing units; `field` names them in the refusal.
pub fn labels_in(texts: &[String], field: &str) -> Result<Labels, Refusal> {
    typed(Labels::parse(texts.iter().map(String::as_str)), field)
}

/// Reads a product's shelf price, availability and what need not be told.
fn details_in(product: &Product, center: &Center) -> Result<Details, Refusal> {
    let approved = product.approved_price.as_ref();
    let barcode = match product.barcode.as_str() {
        "" => None,
        barcode => Some(typed(barcode.parse::<Barcode>(), "product.barcode")?),
    };
    let unit = text(&product.unit, "product.unit")?.trim().to_owned();
    if unit.chars().count() > LABEL_CHARS_MAX {
        let message = format!("at most {LABEL_CHARS_MAX} characters");
        return Err(invalid_field("product.unit", message));
    }
    Ok(Details {
        barcode,
        unit,
        approved_price: approved
            .map(|approved| positive_amount_in(Some(approved), center.currency, "product.approved_price"))
            .transpose()?,
        withdrawn_units: labels_in(&product.withdrawn_units, "product.withdrawn_units")?,
        tags: labels_in(&product.tags, "product.tags")?,
        keeps_stock: product.keeps_stock,
    })
}

/// Reads a product that is to be listed.
pub fn new_product_in(id: &str, product: Option<&Product>, center: &Center) -> Result<NewProduct, Refusal> {
    let product = product.ok_or_else(|| invalid_field("product", "is required"))?;
    let vendor = VendorName::parse_in(&product.vendor, "product.vendor", center.id.as_str())?.vendor;
    Ok(NewProduct {
        id: typed(ProductId::parse(id), "product_id")?,
        vendor: typed(VendorId::parse(vendor), "product.vendor")?,
        category: category_in(product.category(), "product.category")?,
        price: positive_amount_in(product.price.as_ref(), center.currency, "product.price")?,
        name: text(&product.display_name, "product.display_name")?,
        name_zh: text(&product.display_name_zh, "product.display_name_zh")?,
        available: product.available,
        details: details_in(product, center)?,
    })
}

/// Reads what a product is to be.
pub fn product_change_in(product: &Product, reason: &str, center: &Center) -> Result<ProductChange, Refusal> {
    Ok(ProductChange {
        price: positive_amount_in(product.price.as_ref(), center.currency, "product.price")?,
        available: product.available,
        details: details_in(product, center)?,
        reason: reason_text(reason, "reason")?,
    })
}

/// Writes a product.
pub fn product_out(product: commissary::Product, center: &Center) -> Product {
    let center = center.id.as_str();
    Product {
        name: ProductName {
            center,
            product: product.id.as_str(),
        }
        .to_string(),
        vendor: VendorName {
            center,
            vendor: product.vendor.as_str(),
        }
        .to_string(),
        display_name: product.name,
        display_name_zh: product.name_zh,
        category: category_out(product.category).into(),
        price: money(product.price),
        available: product.available,
        version: product.version,
        etag: product.version.to_string(),
        create_time: timestamp(product.created_at),
        barcode: product.barcode.as_ref().map(Barcode::to_string).unwrap_or_default(),
        unit: product.unit,
        approved_price: money(product.approved_price),
        withdrawn_units: product.withdrawn_units.to_vec(),
        tags: product.tags.to_vec(),
        keeps_stock: product.stock.is_some(),
        stock: product.stock,
    }
}
