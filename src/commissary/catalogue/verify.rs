//! Products against their versions, versions against who may set a price, and purchases against the version they name.

use std::collections::BTreeMap;

use super::{LISTING, PRICE, PRODUCTS_MAX, ProductVersion, needed_two, store};
use crate::{
    db::Conn,
    ids::VendorId,
    ledger::verify::{Page, VerifyError},
    proto::{JournalRecord, PurchaseLineFacts},
};

/// Most versions read at once.
const VERSIONS_MAX: i64 = 1_000_000;

/// Every version of every product, by the product and the version's number: as many as the catalogue had changes.
#[derive(Debug, Default)]
pub(in crate::commissary) struct Versions(Option<BTreeMap<String, Vec<ProductVersion>>>);

impl Versions {
    async fn load(
        &mut self,
        conn: &mut Conn,
        page: &Page<'_>,
    ) -> Result<&BTreeMap<String, Vec<ProductVersion>>, VerifyError> {
        if self.0.is_none() {
            let mut found: BTreeMap<String, Vec<ProductVersion>> = BTreeMap::new();
            let products = products(conn, page).await?;
            let versions = store::versions(conn, page.center, &products, i64::MAX, VERSIONS_MAX).await?;
            for (product, version) in versions.into_iter().rev() {
                found.entry(product).or_default().push(version);
            }
            self.0 = Some(found);
        }
        Ok(self.0.get_or_insert_default())
    }

    /// What was sold or granted was priced by the versions that it names.
    pub async fn priced(
        &mut self,
        conn: &mut Conn,
        page: &Page<'_>,
        record: &JournalRecord,
        lines: &[PurchaseLineFacts],
    ) -> Result<(), VerifyError> {
        let versions = self.load(conn, page).await?;
        for line in lines {
            let priced = versions
                .get(&line.product)
                .and_then(|versions| versions.iter().find(|version| version.version == line.product_version));
            let told = page.amount(record, &line.unit_price)?;
            let stored = priced.map(|version| (version.price.value(), version.available));
            if stored != Some((told, true)) {
                let what = format!(
                    "{} costs {told} by its version {}, which is stored as {stored:?}",
                    line.product, line.product_version
                );
                return Err(page.differs(record, what));
            }
        }
        Ok(())
    }

    /// What the catalogue says now, and how it came to that.
    pub async fn end(&mut self, conn: &mut Conn, page: &Page<'_>) -> Result<(), VerifyError> {
        let products = store::list_products(conn, page.center, None::<&VendorId>, "", PRODUCTS_MAX).await?;
        let allowed = allowed(conn, page).await?;
        let versions = self.load(conn, page).await?;
        for product in products {
            let versions = versions.get(product.id.as_str()).map(Vec::as_slice).unwrap_or_default();
            let differs = |what: String| Err(page.row_differs("product_price", &product.id, what));
            let is_last = versions.last().is_some_and(|last| {
                last.version == product.version
                    && last.price == product.price
                    && last.approved_price == product.approved_price
                    && last.available == product.available
                    && last.withdrawn_units == product.withdrawn_units
                    && last.tags == product.tags
            });
            if !is_last {
                return differs("the product is not as its last version says".into());
            }
            for (at, version) in versions.iter().enumerate() {
                let number = version.version;
                if usize::try_from(number).ok() != at.checked_add(1) {
                    return differs(format!("version {number} is not the next"));
                }
                let before = versions.get(..at).unwrap_or_default();
                let needs = needed_two(before, version)
                    .map_err(|error| page.row_differs("product_price", &product.id, error.to_string()))?;
                let subject = format!("products/{}", product.id);
                let is_allowed = version.approval.map(|no| allowed.get(&no) == Some(&subject));
                if is_allowed == Some(false) || needs && is_allowed.is_none() {
                    return differs(format!(
                        "two people did not allow version {number}, for which it took two"
                    ));
                }
            }
        }
        Ok(())
    }
}

async fn products(conn: &mut Conn, page: &Page<'_>) -> Result<Vec<String>, VerifyError> {
    let found = sqlx::query_scalar!("select product_id from product where center_id = $1", page.center.no.0)
        .fetch_all(conn)
        .await?;
    Ok(found)
}

/// What was allowed of the catalogue by as many people as it took, by the approval's number.
async fn allowed(conn: &mut Conn, page: &Page<'_>) -> Result<BTreeMap<i64, String>, VerifyError> {
    let rows = sqlx::query!(
        "select a.approval_no, a.subject from approval a
         where a.center_id = $1 and a.kind in ($2, $3) and a.checkers_needed <= (
             select count(*) from approval_decision d
             where d.center_id = a.center_id and d.approval_no = a.approval_no and d.verdict = 'APPROVED'
                   and d.person <> a.maker
         )",
        page.center.no.0,
        LISTING.name,
        PRICE.name,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (row.approval_no, row.subject)).collect())
}
