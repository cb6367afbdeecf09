//! What is kept of payers against itself: the journal tells nothing of them, so their own history must be whole.

use futures::future::{BoxFuture, FutureExt as _};

use crate::{
    db::Conn,
    ledger::verify::{Check, Page, VerifyError},
};

/// Every link went its way, decided by another than who asked; no payer has more than two accounts; every verified phone has its
/// code or its document; every identity can be matched.
#[derive(Debug, Default)]
pub struct PayersCheck;

impl Check for PayersCheck {
    fn page<'a>(&'a mut self, _: &'a mut Conn, _: &'a Page<'a>) -> BoxFuture<'a, Result<(), VerifyError>> {
        // No record tells who payers are.
        async { Ok(()) }.boxed()
    }

    fn end<'a>(&'a mut self, conn: &'a mut Conn, page: &'a Page<'a>) -> BoxFuture<'a, Result<(), VerifyError>> {
        async move {
            links(conn, page).await?;
            accounts(conn, page).await?;
            codes(conn, page).await?;
            phones(conn, page).await?;
            identities(conn, page).await
        }
        .boxed()
    }
}

async fn links(conn: &mut Conn, page: &Page<'_>) -> Result<(), VerifyError> {
    let unasked = sqlx::query!(
        "select k.payer_id, k.detainee_id from payer_link k
         where k.center_id = $1 and not exists (
             select from payer_link_leg l
             where l.center_id = k.center_id and l.payer_id = k.payer_id and l.detainee_id = k.detainee_id
               and l.position = 1)
         order by k.payer_id, k.detainee_id limit 1",
        page.center.no.0,
    )
    .fetch_optional(&mut *conn)
    .await?;
    if let Some(row) = unasked {
        let key = format!("{} {}", row.payer_id, row.detainee_id);
        return Err(page.row_differs("payer_link", key, "it has no first leg"));
    }
    let wrong = sqlx::query!(
        r#"with way as (
               select *, lag(state) over w as was, lag(actor) over w as asked, row_number() over w as place
               from payer_link_leg where center_id = $1
               window w as (partition by payer_id, detainee_id order by position))
           select payer_id, detainee_id, position, state, coalesce(was, 'nothing') as "was!", actor,
                  coalesce(asked, '') as "asked!"
           from way
           where position <> place
              or not coalesce((coalesce(was, ''), state) in (
                  ('', 'REQUESTED'), ('', 'GRANTED'), ('REQUESTED', 'APPROVED'), ('REQUESTED', 'REJECTED'),
                  ('REQUESTED', 'REVOKED'), ('APPROVED', 'REVOKED'), ('GRANTED', 'REVOKED'), ('REJECTED', 'REQUESTED'),
                  ('REVOKED', 'REQUESTED')), false)
              or (state in ('APPROVED', 'REJECTED') and (
                  actor like 'payer/%' or asked not like 'payer/%' and split_part(actor, '/', 2) = split_part(asked, '/', 2)))
              or (state = 'GRANTED' and actor like 'payer/%')
           order by payer_id, detainee_id, position limit 1"#,
        page.center.no.0,
    )
    .fetch_optional(conn)
    .await?;
    match wrong {
        Some(row) => {
            let key = format!("{} {} {}", row.payer_id, row.detainee_id, row.position);
            let what = format!(
                "{} by {} after {} by {:?} is no way of a link",
                row.state, row.actor, row.was, row.asked
            );
            Err(page.row_differs("payer_link_leg", key, what))
        }
        None => Ok(()),
    }
}

async fn accounts(conn: &mut Conn, page: &Page<'_>) -> Result<(), VerifyError> {
    let wrong = sqlx::query!(
        r#"select payer_id, slot, count(*) filter (where state = 'ADDED') as "added!",
                  count(*) filter (where state = 'REMOVED') as "removed!"
           from payer_account_leg where center_id = $1 group by payer_id, slot
           having slot not in (1, 2)
               or count(*) filter (where state = 'ADDED') - count(*) filter (where state = 'REMOVED') not in (0, 1)
               or max(turn) <> count(*) filter (where state = 'ADDED')
           order by payer_id, slot limit 1"#,
        page.center.no.0,
    )
    .fetch_optional(&mut *conn)
    .await?;
    if let Some(row) = wrong {
        let key = format!("{} {}", row.payer_id, row.slot);
        let what = format!(
            "{} were added and {} removed in one of two slots",
            row.added, row.removed
        );
        return Err(page.row_differs("payer_account_leg", key, what));
    }
    let other = sqlx::query!(
        "select r.payer_id, r.slot, r.turn from payer_account_leg r
         left join payer_account_leg a on a.center_id = r.center_id and a.payer_id = r.payer_id and a.slot = r.slot
             and a.turn = r.turn and a.state = 'ADDED'
         where r.center_id = $1 and r.state = 'REMOVED'
           and (a.channel is distinct from r.channel or a.account is distinct from r.account)
         order by r.payer_id, r.slot, r.turn limit 1",
        page.center.no.0,
    )
    .fetch_optional(conn)
    .await?;
    match other {
        Some(row) => {
            let key = format!("{} {} {}", row.payer_id, row.slot, row.turn);
            Err(page.row_differs("payer_account_leg", key, "another account was removed than was added"))
        }
        None => Ok(()),
    }
}

/// A code is tried at most five times, in order, while it is good, and not after it was right.
async fn codes(conn: &mut Conn, page: &Page<'_>) -> Result<(), VerifyError> {
    let wrong = sqlx::query!(
        "with told as (
             select t.payer_id, t.code_no, t.try_no, t.at, c.expires_at,
                    row_number() over w as place, lag(t.is_right) over w as was_right
             from phone_code_try t
             join phone_code c on c.center_id = t.center_id and c.payer_id = t.payer_id and c.code_no = t.code_no
             where t.center_id = $1
             window w as (partition by t.payer_id, t.code_no order by t.try_no))
         select payer_id, code_no, try_no from told
         where try_no <> place or try_no > 5 or at >= expires_at or was_right
         order by payer_id, code_no, try_no limit 1",
        page.center.no.0,
    )
    .fetch_optional(conn)
    .await?;
    match wrong {
        Some(row) => {
            let key = format!("{} {} {}", row.payer_id, row.code_no, row.try_no);
            Err(page.row_differs("phone_code_try", key, "the code could not be tried any more"))
        }
        None => Ok(()),
    }
}

async fn phones(conn: &mut Conn, page: &Page<'_>) -> Result<(), VerifyError> {
    let wrong = sqlx::query!(
        "select v.payer_id, v.position from payer_phone_verification v
         where v.center_id = $1
           and not (v.code_no is null and v.document <> '' and v.actor not like 'payer/%')
           and not exists (
               select from phone_code c
               join phone_code_try t on t.center_id = c.center_id and t.payer_id = c.payer_id and t.code_no = c.code_no
               where c.center_id = v.center_id and c.payer_id = v.payer_id and c.code_no = v.code_no
                 and c.position = v.position and t.is_right)
         order by v.payer_id, v.position limit 1",
        page.center.no.0,
    )
    .fetch_optional(conn)
    .await?;
    match wrong {
        Some(row) => {
            let key = format!("{} {}", row.payer_id, row.position);
            let what = "neither a right code nor a document of staff verified it";
            Err(page.row_differs("payer_phone_verification", key, what))
        }
        None => Ok(()),
    }
}

async fn identities(conn: &mut Conn, page: &Page<'_>) -> Result<(), VerifyError> {
    let wrong = sqlx::query_scalar!(
        "select i.payer_id from payer_identity i
         where i.center_id = $1 and not exists (
             select from payer_identity_hash h
             where h.center_id = i.center_id and h.payer_id = i.payer_id and h.key_id = i.key_id)
         order by i.payer_id limit 1",
        page.center.no.0,
    )
    .fetch_optional(conn)
    .await?;
    match wrong {
        Some(payer) => Err(page.row_differs("payer_identity", payer, "it has no hash under its own key")),
        None => Ok(()),
    }
}
