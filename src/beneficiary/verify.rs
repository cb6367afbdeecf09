//! Bank accounts against the approvals that verified them.

use futures::future::{BoxFuture, FutureExt as _};

use super::{
    ACCOUNT,
    ask::command_of,
    store::{self, NewAccount},
};
use crate::{
    approval,
    db::Conn,
    ids::RequestId,
    ledger::{
        record,
        verify::{Check, Page, VerifyError},
    },
};

/// Accounts are numbered without holes, and each is the one that its approval allowed.
#[derive(Debug, Default)]
pub struct BeneficiariesCheck;

impl Check for BeneficiariesCheck {
    fn page<'a>(&'a mut self, _: &'a mut Conn, _: &'a Page<'a>) -> BoxFuture<'a, Result<(), VerifyError>> {
        // No transaction is about an account; payment files name its version.
        async { Ok(()) }.boxed()
    }

    fn end<'a>(&'a mut self, conn: &'a mut Conn, page: &'a Page<'a>) -> BoxFuture<'a, Result<(), VerifyError>> {
        async move {
            let mut last = (String::new(), 0);
            for row in store::verified(conn, page.center.no).await? {
                let key = format!("{} {}", row.owner, row.version);
                let differs = |what: &str| Err(page.row_differs("bank_account", &key, what));
                let expected = if row.owner == last.0 { last.1 + 1 } else { 1 };
                if row.version != expected {
                    return differs("its versions have a hole");
                }
                let account = NewAccount {
                    holder: &row.holder,
                    masked: &row.masked,
                    sealed: ("", &[]),
                    bank_code: &row.bank_code,
                    bank_name: &row.bank_name,
                };
                let command = record::canonical(&command_of(&row.asked_owner, RequestId(row.request_id), &account));
                let approval = approval::find_in_tx(conn, page.center, row.approval_no).await?;
                let is_of_it = approval.is_some_and(|approval| {
                    approval.is_approved() && approval.kind == ACCOUNT.name && approval.command == command
                });
                if !is_of_it || row.owner != row.asked_owner {
                    return differs("what it names has not allowed it");
                }
                last = (row.owner, row.version);
            }
            Ok(())
        }
        .boxed()
    }
}
