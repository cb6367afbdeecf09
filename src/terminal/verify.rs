//! What is kept of terminals against itself: the journal tells nothing of them, so their own history must be whole.

use futures::future::{BoxFuture, FutureExt as _};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::{
    db::Conn,
    ledger::verify::{Check, Page, VerifyError},
};

/// Most certificates read at once.
const PAGE: i64 = 500;

/// Every certificate is the one that its row tells of, follows the one before, and came from a code that was tried rightly and in
/// time; codes and tries are numbered without holes.
#[derive(Debug, Default)]
pub struct TerminalsCheck;

impl Check for TerminalsCheck {
    fn page<'a>(&'a mut self, _: &'a mut Conn, _: &'a Page<'a>) -> BoxFuture<'a, Result<(), VerifyError>> {
        // Purchases name terminals that need not be enrolled.
        async { Ok(()) }.boxed()
    }

    fn end<'a>(&'a mut self, conn: &'a mut Conn, page: &'a Page<'a>) -> BoxFuture<'a, Result<(), VerifyError>> {
        async move {
            codes(conn, page).await?;
            order(conn, page).await?;
            certificates(conn, page).await
        }
        .boxed()
    }
}

async fn codes(conn: &mut Conn, page: &Page<'_>) -> Result<(), VerifyError> {
    let wrong = sqlx::query!(
        r#"select t.terminal_id, t.code_no, t.try_no from (
               select t.terminal_id, t.code_no, t.try_no, t.is_right, t.at, c.created_at, c.expires_at,
                      row_number() over w as place, lag(t.is_right) over w as was_right
               from terminal_code_try t
               join terminal_code c on c.center_id = t.center_id and c.terminal_id = t.terminal_id and c.code_no = t.code_no
               where t.center_id = $1
               window w as (partition by t.terminal_id, t.code_no order by t.try_no)) t
           where t.try_no <> t.place or coalesce(t.was_right, false) or t.at < t.created_at - interval '1 minute'
              or t.at >= t.expires_at
           order by t.terminal_id, t.code_no, t.try_no limit 1"#,
        page.center.no.0,
    )
    .fetch_optional(&mut *conn)
    .await?;
    if let Some(row) = wrong {
        let key = format!("{} {} {}", row.terminal_id, row.code_no, row.try_no);
        let what = "it is out of order, out of time, or after the code was used";
        return Err(page.row_differs("terminal_code_try", key, what));
    }
    let hole = sqlx::query!(
        "select terminal_id, code_no from (
             select terminal_id, code_no, row_number() over (partition by terminal_id order by code_no) as place
             from terminal_code where center_id = $1) c
         where code_no <> place order by terminal_id, code_no limit 1",
        page.center.no.0,
    )
    .fetch_optional(conn)
    .await?;
    match hole {
        None => Ok(()),
        Some(row) => {
            let key = format!("{} {}", row.terminal_id, row.code_no);
            Err(page.row_differs("terminal_code", key, "the codes before it have a hole"))
        }
    }
}

/// Certificates follow one another: each enrolment under a code that was used, each renewal after one under the same code.
async fn order(conn: &mut Conn, page: &Page<'_>) -> Result<(), VerifyError> {
    let wrong = sqlx::query!(
        r#"select c.terminal_id, c.number from (
               select terminal_id, number, code_no, renews, row_number() over w as place, lag(code_no) over w as code_before
               from terminal_certificate where center_id = $1
               window w as (partition by terminal_id order by number)) c
           where c.number <> c.place
              or case when c.renews is null
                      then coalesce(c.code_before, 0) >= c.code_no or not exists (
                          select from terminal_code_try t
                          where t.center_id = $1 and t.terminal_id = c.terminal_id and t.code_no = c.code_no and t.is_right)
                      else c.code_before is distinct from c.code_no end
           order by c.terminal_id, c.number limit 1"#,
        page.center.no.0,
    )
    .fetch_optional(&mut *conn)
    .await?;
    if let Some(row) = wrong {
        let key = format!("{} {}", row.terminal_id, row.number);
        let what = "it neither enrols by a code that was used nor renews the one before";
        return Err(page.row_differs("terminal_certificate", key, what));
    }
    let unused = sqlx::query!(
        "select t.terminal_id, t.code_no from terminal_code_try t
         where t.center_id = $1 and t.is_right and not exists (
             select from terminal_certificate c
             where c.center_id = t.center_id and c.terminal_id = t.terminal_id and c.code_no = t.code_no
               and c.renews is null)
         order by t.terminal_id, t.code_no limit 1",
        page.center.no.0,
    )
    .fetch_optional(conn)
    .await?;
    match unused {
        None => Ok(()),
        Some(row) => {
            let key = format!("{} {}", row.terminal_id, row.code_no);
            Err(page.row_differs("terminal_code", key, "it was used, and no certificate came of it"))
        }
    }
}

async fn certificates(conn: &mut Conn, page: &Page<'_>) -> Result<(), VerifyError> {
    let mut after = (String::new(), 0);
    loop {
        let rows = sqlx::query!(
            "select terminal_id, number, serial, public_key, certificate, not_before, not_after
             from terminal_certificate where center_id = $1 and (terminal_id, number) > ($2, $3)
             order by terminal_id, number limit $4",
            page.center.no.0,
            &after.0,
            after.1,
            PAGE,
        )
        .fetch_all(&mut *conn)
        .await?;
        for row in &rows {
            let name = format!("CN=centers/{}/terminals/{}", page.center.id, row.terminal_id);
            let is_told = X509Certificate::from_der(&row.certificate).is_ok_and(|(rest, told)| {
                let times = told.validity();
                rest.is_empty()
                    && told.raw_serial() == row.serial
                    && told.public_key().subject_public_key.data.as_ref() == row.public_key
                    && told.subject().to_string() == name
                    && times.not_before.to_datetime() == row.not_before
                    && times.not_after.to_datetime() == row.not_after
            });
            if !is_told {
                let key = format!("{} {}", row.terminal_id, row.number);
                return Err(page.row_differs("terminal_certificate", key, "the certificate tells otherwise"));
            }
        }
        match rows.last() {
            Some(last) => after = (last.terminal_id.clone(), last.number),
            None => return Ok(()),
        }
    }
}
