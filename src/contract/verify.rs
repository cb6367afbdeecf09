//! Accounts against the approvals that allowed them.

use futures::future::{BoxFuture, FutureExt as _};

use super::{entity::effective_at, store};
use crate::{
    approval,
    db::Conn,
    ledger::{
        record,
        verify::{Check, Page, VerifyError},
    },
    proto::VendorAccountCommand,
};

/// Most accounts read at once.
const PAGE: i64 = 500;

/// Terms and accounts are numbered without holes. Each account is the one that its approval allowed, was allowed by enough
/// people, and waits as long as it has to.
#[derive(Debug, Default)]
pub struct ContractsCheck;

impl Check for ContractsCheck {
    fn page<'a>(&'a mut self, _: &'a mut Conn, _: &'a Page<'a>) -> BoxFuture<'a, Result<(), VerifyError>> {
        // No transaction is about a contract; those that go by one name its version.
        async { Ok(()) }.boxed()
    }

    fn end<'a>(&'a mut self, conn: &'a mut Conn, page: &'a Page<'a>) -> BoxFuture<'a, Result<(), VerifyError>> {
        async move {
            if let Some(vendor) = store::first_with_a_hole(conn, page.center.no).await? {
                return Err(page.row_differs("vendor_terms", vendor, "its versions have a hole"));
            }
            let mut after = (String::new(), 0);
            loop {
                let found = store::allowed_after(conn, page.center.no, (&after.0, after.1), PAGE).await?;
                for allowed in &found {
                    stands(conn, page, allowed).await?;
                }
                match found.last() {
                    Some(last) => after = (last.vendor.clone(), last.version),
                    None => return Ok(()),
                }
            }
        }
        .boxed()
    }
}

async fn stands(conn: &mut Conn, page: &Page<'_>, allowed: &store::Allowed) -> Result<(), VerifyError> {
    let key = format!("{} {}", allowed.vendor, allowed.version);
    let differs = |what: String| Err(page.row_differs("vendor_account", key.clone(), what));
    let Some(approval) = approval::find_in_tx(conn, page.center, allowed.approval).await? else {
        return differs(format!("approval {} is not stored", allowed.approval));
    };
    let command: VendorAccountCommand = record::read_canonical(&approval.command)?;
    let asked = store::asked(conn, page.center.no, allowed.request).await?;
    let Some(asked) = asked else {
        return differs("what was asked for is not stored".into());
    };
    let told = VendorAccountCommand {
        vendor: allowed.vendor.clone(),
        request_id: allowed.request.to_string(),
        holder: asked.account.holder.clone(),
        masked_number: asked.account.masked_number(),
        bank_code: asked.account.bank_code.clone(),
        bank_name: asked.account.bank_name.clone(),
    };
    if command != told || asked.vendor != allowed.vendor || approval.request_id != allowed.request {
        return differs(format!("approval {} allowed another account", allowed.approval));
    }
    let decided = approval.decisions.last().map(|decision| decision.at);
    if !approval.is_approved() || decided.is_none_or(|at| allowed.approved_at < at) {
        return differs(format!("approval {} had not allowed it", allowed.approval));
    }
    if allowed.effective_at != effective_at(allowed.version, allowed.approved_at) {
        return differs("it is paid to from another time than it has to wait for".into());
    }
    Ok(())
}
