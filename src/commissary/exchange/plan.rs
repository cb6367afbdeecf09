//! What a file would change, row by row: pure.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use rust_decimal::Decimal;
use time::OffsetDateTime;

use crate::{
    commissary::{
        Barcode, Category, CommissaryRefusal, Details, LABEL_CHARS_MAX, Labels, NewProduct, Product, ProductChange,
        ProductVersion,
        catalogue::{Index, decide_alone, listed_at, require_own_price, require_shelf_price},
        sheet::{Row, Table},
    },
    ids::{ProductId, VendorId},
    ledger::{Center, Reason, Refusal},
    money::Amount,
};

/// The columns, as they are written. The last is only told: stock moves by receipts and sales.
pub const COLUMNS: [&str; 14] = [
    "product",
    "vendor",
    "name",
    "name_zh",
    "category",
    "barcode",
    "unit",
    "price",
    "approved_price",
    "available",
    "withdrawn_units",
    "tags",
    "keeps_stock",
    "stock",
];
/// Those that must be there.
const REQUIRED: [&str; 6] = ["product", "vendor", "name", "name_zh", "category", "price"];
/// The most that one may cost.
const PRICE_MAX: i64 = 999_999_999_999;
/// The most characters of a name.
const NAME_CHARS_MAX: usize = 500;

/// What is wrong with a row, and what would be right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowError {
    /// Its number in the file; the heading's is 1.
    pub row: usize,
    /// The column.
    pub column: String,
    /// What stands there.
    pub value: String,
    /// The reason, as refusals name it.
    pub reason: Reason,
    /// What would be accepted.
    pub expected: String,
}

/// What a file would do.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub create: Vec<Product>,
    pub update: Vec<Product>,
    pub unchanged: usize,
    pub errors: Vec<RowError>,
}

/// What a center has.
pub(super) struct Known {
    products: HashMap<String, Product>,
    vendors: BTreeSet<String>,
    histories: BTreeMap<String, Vec<ProductVersion>>,
    index: Index,
}

impl Known {
    pub fn new(
        products: Vec<Product>,
        vendors: BTreeSet<String>,
        histories: BTreeMap<String, Vec<ProductVersion>>,
    ) -> Known {
        Known {
            index: Index::of(&products),
            products: products
                .into_iter()
                .map(|product| (product.id.to_string(), product))
                .collect(),
            vendors,
            histories,
        }
    }
}

/// The products that a file tells of.
pub(super) fn ids(table: &Table) -> Vec<String> {
    let at = table.columns.iter().position(|column| column == "product");
    let id = |row: &Row| at.and_then(|at| row.cells.get(at)).cloned();
    table.rows.iter().filter_map(id).collect()
}

/// The cells of one row by their columns, and what is wrong with them.
struct Cells<'a> {
    table: &'a Table,
    row: &'a Row,
    errors: Vec<RowError>,
}

impl Cells<'_> {
    /// None when the column is not there; empty when nothing is told.
    fn get(&self, column: &str) -> Option<&str> {
        let at = self.table.columns.iter().position(|name| name == column)?;
        Some(self.row.cells.get(at).map_or("", String::as_str))
    }

    fn wrong(&mut self, column: &str, reason: Reason, expected: impl Into<String>) {
        self.errors.push(RowError {
            row: self.row.number,
            column: column.to_owned(),
            value: self.get(column).unwrap_or_default().to_owned(),
            reason,
            expected: expected.into(),
        });
    }

    /// A cell as something; empty or missing is none.
    fn read<T>(&mut self, column: &str, read: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        let text = self.get(column).filter(|text| !text.is_empty())?.to_owned();
        match read(&text) {
            Ok(value) => Some(value),
            Err(expected) => {
                self.wrong(column, Reason::InvalidField, expected);
                None
            }
        }
    }

    /// The same, which must be told.
    fn require<T>(&mut self, column: &str, read: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        if self.get(column).unwrap_or_default().is_empty() {
            self.wrong(column, Reason::InvalidField, "something; it is required");
            return None;
        }
        self.read(column, read)
    }

    fn labels(&mut self, column: &str) -> Option<Labels> {
        let text = self.get(column)?.to_owned();
        let words = text.split(';').map(str::trim).filter(|word| !word.is_empty());
        match Labels::parse(words) {
            Ok(labels) => Some(labels),
            Err(error) => {
                self.wrong(
                    column,
                    Reason::InvalidField,
                    format!("words between semicolons: {error}"),
                );
                None
            }
        }
    }

    /// A refusal, at the column that it is about.
    fn refuse(&mut self, refusal: CommissaryRefusal) {
        let (column, expected) = match &refusal {
            CommissaryRefusal::PriceAboveApproved { approved, .. } => ("price", format!("at most {approved}")),
            CommissaryRefusal::PriceNeedsApproval { most, .. } => {
                ("approved_price", format!("at most {most}; more takes two people"))
            }
            CommissaryRefusal::Relisted { found } => (
                column_of(found.by.name()),
                format!(
                    "no product like {} of vendor {}; it takes two people",
                    found.product, found.vendor
                ),
            ),
            CommissaryRefusal::FieldFixed { field } => (*field, "what was told before".to_owned()),
            other => ("product", other.to_string()),
        };
        let reason = Refusal::from(refusal).reason();
        self.wrong(column, reason, expected);
    }
}

/// The column of a product's field.
fn column_of(field: &'static str) -> &'static str {
    match field {
        "display_name" => "name",
        "display_name_zh" => "name_zh",
        other => other,
    }
}

fn name_in(text: &str) -> Result<String, String> {
    if text.chars().count() > NAME_CHARS_MAX || text.chars().any(char::is_control) {
        return Err(format!("at most {NAME_CHARS_MAX} characters, no control characters"));
    }
    Ok(text.to_owned())
}

fn unit_in(text: &str) -> Result<String, String> {
    if text.chars().count() > LABEL_CHARS_MAX || text.chars().any(char::is_control) {
        return Err(format!("at most {LABEL_CHARS_MAX} characters, no control characters"));
    }
    Ok(text.to_owned())
}

fn category_in(text: &str) -> Result<Category, String> {
    Category::from_name(text).ok_or_else(|| {
        let names: Vec<&str> = Category::ALL.into_iter().map(Category::name).collect();
        format!("one of {}", names.join(", "))
    })
}

fn yes_or_no(text: &str) -> Result<bool, String> {
    match text {
        "yes" | "是" => Ok(true),
        "no" | "否" => Ok(false),
        _ => Err("yes or no".into()),
    }
}

/// A row as a product that is to be there.
struct Told {
    new: NewProduct,
    available: Option<bool>,
    withdrawn_units: Option<Labels>,
    tags: Option<Labels>,
}

fn told(cells: &mut Cells<'_>, known: &Known, center: &Center) -> Option<Told> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let price_in = |price: &str| {
        let amount = Amount::parse_positive(price, center.currency).map_err(|error| text(&error))?;
        if amount.value() > Decimal::from(PRICE_MAX) {
            return Err(format!("at most {PRICE_MAX}"));
        }
        Ok(amount)
    };
    let id = cells.require("product", |id| ProductId::parse(id).map_err(|error| text(&error)));
    let vendor = cells.require("vendor", |id| {
        let vendor = VendorId::parse(id).map_err(|error| text(&error))?;
        let is_known = known.vendors.contains(vendor.as_str());
        if is_known {
            Ok(vendor)
        } else {
            Err("a vendor of the center".into())
        }
    });
    let names = ["name", "name_zh"].map(|column| cells.read(column, name_in));
    let category = cells.require("category", category_in);
    let price = cells.require("price", price_in);
    let details = Details {
        barcode: cells.read("barcode", |code| code.parse::<Barcode>().map_err(|error| text(&error))),
        unit: cells.read("unit", unit_in).unwrap_or_default(),
        approved_price: cells.read("approved_price", price_in),
        withdrawn_units: Labels::default(),
        tags: Labels::default(),
        keeps_stock: cells.read("keeps_stock", yes_or_no).unwrap_or_default(),
    };
    let available = cells.read("available", yes_or_no);
    let (withdrawn_units, tags) = (cells.labels("withdrawn_units"), cells.labels("tags"));
    let [name, name_zh] = names.map(Option::unwrap_or_default);
    if name.is_empty() && name_zh.is_empty() && cells.errors.is_empty() {
        cells.wrong("name", Reason::InvalidField, "a name in English or in Chinese");
    }
    if !cells.errors.is_empty() {
        return None;
    }
    Some(Told {
        new: NewProduct {
            id: id?,
            vendor: vendor?,
            name,
            name_zh,
            category: category?,
            price: price?,
            available: available.unwrap_or(true),
            details,
        },
        available,
        withdrawn_units,
        tags,
    })
}

/// What the file would do, and everything that is wrong with it.
pub(super) fn of(table: &Table, known: &Known, center: &Center, now: OffsetDateTime) -> Plan {
    let mut plan = Plan {
        errors: heading(table),
        ..Plan::default()
    };
    if !plan.errors.is_empty() {
        return plan;
    }
    let mut index = known.index.clone();
    let mut seen: HashMap<String, usize> = HashMap::new();
    for row in &table.rows {
        let mut cells = Cells {
            table,
            row,
            errors: Vec::new(),
        };
        if let Some(told) = told(&mut cells, known, center) {
            let id = told.new.id.to_string();
            match seen.insert(id.clone(), row.number) {
                Some(earlier) => {
                    cells.wrong(
                        "product",
                        Reason::AlreadyExists,
                        format!("each product once; row {earlier} is the same"),
                    );
                }
                None => match known.products.get(&id) {
                    Some(product) => change(&mut cells, product, told, known, &mut index, now, &mut plan),
                    None => create(&mut cells, told.whole(), &mut index, now, &mut plan),
                },
            }
        }
        plan.errors.append(&mut cells.errors);
    }
    plan
}

impl Told {
    fn whole(self) -> NewProduct {
        let mut new = self.new;
        new.details.withdrawn_units = self.withdrawn_units.unwrap_or_default();
        new.details.tags = self.tags.unwrap_or_default();
        new
    }
}

/// What is wrong with the first row.
fn heading(table: &Table) -> Vec<RowError> {
    let error = |column: &str, expected: String| RowError {
        row: 1,
        column: column.to_owned(),
        value: column.to_owned(),
        reason: Reason::InvalidField,
        expected,
    };
    let unknown = table.columns.iter().filter(|column| !column.is_empty());
    let unknown = unknown.filter(|column| !COLUMNS.contains(&column.as_str()));
    let missing = REQUIRED
        .iter()
        .filter(|column| !table.columns.iter().any(|told| told == *column));
    unknown
        .map(|column| error(column, format!("one of {}", COLUMNS.join(", "))))
        .chain(missing.map(|column| error(column, "the column; it is required".to_owned())))
        .collect()
}

fn create(cells: &mut Cells<'_>, new: NewProduct, index: &mut Index, now: OffsetDateTime, plan: &mut Plan) {
    for looked_at in [require_shelf_price(&new), require_own_price(&new)] {
        match looked_at {
            Ok(Ok(())) => {}
            Ok(Err(refusal)) => return cells.refuse(refusal),
            Err(error) => return cells.wrong("price", Reason::InvalidField, error.to_string()),
        }
    }
    let product = listed_at(new, now);
    match index.find(&product) {
        Some(found) => cells.refuse(CommissaryRefusal::Relisted { found }),
        None => {
            index.add(&product);
            plan.create.push(product);
        }
    }
}

fn change(
    cells: &mut Cells<'_>,
    product: &Product,
    told: Told,
    known: &Known,
    index: &mut Index,
    now: OffsetDateTime,
    plan: &mut Plan,
) {
    let fixed = [
        ("vendor", product.vendor.as_str(), told.new.vendor.as_str()),
        ("name", &product.name, &told.new.name),
        ("name_zh", &product.name_zh, &told.new.name_zh),
        ("category", product.category.name(), told.new.category.name()),
    ];
    for (column, is, wanted) in fixed {
        if is != wanted {
            cells.wrong(column, Reason::FieldFixed, format!("{is}; it cannot change"));
        }
    }
    if !cells.errors.is_empty() {
        return;
    }
    let wanted = ProductChange {
        price: told.new.price,
        available: told.available.unwrap_or(product.available),
        details: Details {
            withdrawn_units: told.withdrawn_units.unwrap_or_else(|| product.withdrawn_units.clone()),
            tags: told.tags.unwrap_or_else(|| product.tags.clone()),
            ..told.new.details
        },
        reason: String::new(),
    };
    let history = known
        .histories
        .get(product.id.as_str())
        .map(Vec::as_slice)
        .unwrap_or_default();
    match decide_alone(product, &wanted, history, now) {
        Ok(Ok(None)) => plan.unchanged += 1,
        Ok(Ok(Some(changed))) => match index.find(&changed).filter(|_| changed.barcode != product.barcode) {
            Some(found) => cells.refuse(CommissaryRefusal::Relisted { found }),
            None => {
                index.add(&changed);
                plan.update.push(changed);
            }
        },
        Ok(Err(refusal)) => cells.refuse(refusal),
        Err(error) => cells.wrong("price", Reason::InvalidField, error.to_string()),
    }
}

/// The catalogue as a table.
pub(super) fn table_of(products: &[Product]) -> Table {
    let yes_or_no = |is: bool| if is { "yes" } else { "no" }.to_owned();
    let cells = |product: &Product| {
        vec![
            product.id.to_string(),
            product.vendor.to_string(),
            product.name.clone(),
            product.name_zh.clone(),
            product.category.name().to_owned(),
            product.barcode.as_ref().map(Barcode::to_string).unwrap_or_default(),
            product.unit.clone(),
            product.price.to_string(),
            product.approved_price.to_string(),
            yes_or_no(product.available),
            product.withdrawn_units.to_vec().join("; "),
            product.tags.to_vec().join("; "),
            yes_or_no(product.stock.is_some()),
            product.stock.map(|stock| stock.to_string()).unwrap_or_default(),
        ]
    };
    Table {
        columns: COLUMNS.map(str::to_owned).to_vec(),
        rows: (2..)
            .zip(products)
            .map(|(number, product)| Row {
                number,
                cells: cells(product),
            })
            .collect(),
    }
}
