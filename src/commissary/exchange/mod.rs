//! The catalogue as a file: out of the center, and into it, whole or not at all.

mod plan;

use std::collections::{BTreeMap, BTreeSet};

pub use plan::{COLUMNS, RowError};
use plan::{Known, Plan};

use super::{
    Commissary, CommissaryRefusal, Format, SheetError,
    catalogue::{PRODUCTS_MAX, write_in_tx},
    sheet::Table,
};
use crate::{
    db::Conn,
    ledger::{Center, LedgerError, center},
};

/// Most errors that are told of one file.
pub const ERRORS_MAX: usize = 1000;

/// What came of a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Imported {
    /// How many products are new.
    pub created: usize,
    /// How many change.
    pub updated: usize,
    /// How many are as the file tells.
    pub unchanged: usize,
    /// Whether it was written. Not when there are errors, nor when it was only tried.
    pub applied: bool,
    /// What is wrong, at most [`ERRORS_MAX`].
    pub errors: Vec<RowError>,
    /// How much is wrong.
    pub error_count: usize,
}

/// Whether a file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Intent {
    /// If nothing is wrong with it.
    Apply,
    /// It is only tried.
    Try,
}

/// Runs what takes long, or may fall over foreign bytes, beside the runtime.
async fn beside<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, SheetError> + Send + 'static,
) -> Result<T, LedgerError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done.map_err(|error| CommissaryRefusal::Sheet { error }.into()),
        Err(error) => {
            tracing::warn!(%error, "a file could not be read to its end");
            let error = SheetError::Unreadable {
                format: "a table",
                problem: "it is broken".into(),
            };
            Err(CommissaryRefusal::Sheet { error }.into())
        }
    }
}

impl Commissary {
    /// Brings a file in, whole or not at all: with one error nothing is written. The same file again changes nothing.
    ///
    /// Errors: INVALID_FIELD when it is no table. What is wrong with its rows is told by the answer.
    pub async fn import_catalogue(
        &self,
        center: &Center,
        (format, file): (Format, Vec<u8>),
        intent: Intent,
        reason: &str,
        by: &str,
    ) -> Result<Imported, LedgerError> {
        let table = beside(move || Table::read(format, &file)).await?;
        let now = self.lanes.clock().now();
        if intent == Intent::Try {
            let mut conn = self.lanes.database().read.acquire().await?;
            let known = known_in_tx(&mut conn, center, &table).await?;
            return Ok(imported(plan::of(&table, &known, center, now), false));
        }
        let mut tx = self.lanes.database().lane.begin().await?;
        center::touch_rules_in_tx(&mut tx, center.no).await?;
        let known = known_in_tx(&mut tx, center, &table).await?;
        let plan = plan::of(&table, &known, center, now);
        let is_written = plan.errors.is_empty() && !(plan.create.is_empty() && plan.update.is_empty());
        if is_written {
            write_in_tx(&mut tx, center, (&plan.create, &plan.update), (now, by, reason)).await?;
            tx.commit().await?;
        }
        let applied = plan.errors.is_empty();
        Ok(imported(plan, applied))
    }

    /// The whole catalogue as a file, by product.
    pub async fn export_catalogue(&self, center: &Center, format: Format) -> Result<Vec<u8>, LedgerError> {
        let products = self.list_products(center, None, "", PRODUCTS_MAX).await?;
        beside(move || plan::table_of(&products).write(format)).await
    }
}

async fn known_in_tx(conn: &mut Conn, center: &Center, table: &Table) -> Result<Known, LedgerError> {
    let products = super::catalogue::products_in_tx(conn, center).await?;
    let vendors: BTreeSet<String> = super::store::list_vendors(conn, center.no, "", PRODUCTS_MAX)
        .await?
        .into_iter()
        .map(|vendor| vendor.id.to_string())
        .collect();
    let told = plan::ids(table);
    let histories: BTreeMap<_, _> = super::catalogue::histories_in_tx(conn, center, &told).await?;
    Ok(Known::new(products, vendors, histories))
}

fn imported(plan: Plan, applied: bool) -> Imported {
    let error_count = plan.errors.len();
    let mut errors = plan.errors;
    errors.truncate(ERRORS_MAX);
    Imported {
        created: plan.create.len(),
        updated: plan.update.len(),
        unchanged: plan.unchanged,
        applied,
        errors,
        error_count,
    }
}
