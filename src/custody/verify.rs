//! Detainees against their accounts.

use futures::future::{BoxFuture, FutureExt as _};

use crate::{
    db::Conn,
    ids::AccountNo,
    ledger::{
        Code,
        verify::{Check, Owner, Page, VerifyError},
    },
};

/// Every detainee has four accounts of their own, and there are no others of detainees.
#[derive(Debug, Default)]
pub struct DetaineesCheck;

impl Check for DetaineesCheck {
    fn page<'a>(&'a mut self, _: &'a mut Conn, _: &'a Page<'a>) -> BoxFuture<'a, Result<(), VerifyError>> {
        // Which detainee a record is about is for the domains that write records to know.
        async { Ok(()) }.boxed()
    }

    fn end<'a>(&'a mut self, conn: &'a mut Conn, page: &'a Page<'a>) -> BoxFuture<'a, Result<(), VerifyError>> {
        detainees(conn, page).boxed()
    }
}

async fn detainees(conn: &mut Conn, page: &Page<'_>) -> Result<(), VerifyError> {
    let rows = sqlx::query!(
        "select detainee_id, account_base from detainee where center_id = $1 order by detainee_id",
        page.center.no.0
    )
    .fetch_all(conn)
    .await?;
    let codes = [Code::Available, Code::Held, Code::Savings, Code::Withheld];
    for row in &rows {
        let owner = Owner::detainee(&row.detainee_id);
        for (offset, code) in (0..).zip(codes) {
            let no = AccountNo(row.account_base).offset(offset);
            let found = page.accounts.require(no, code, owner.as_str());
            found.map_err(|what| page.row_differs("detainee", &row.detainee_id, what))?;
        }
    }
    let owned = page.accounts.count_of("detainees");
    if owned != rows.len() * codes.len() {
        let what = format!("{} of them have {owned} accounts", rows.len());
        return Err(page.row_differs("detainee", "(all)", what));
    }
    Ok(())
}
