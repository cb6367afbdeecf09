//! Sessions against the purchases that were made in them, and what is kept of cards against itself.

use std::collections::HashSet;

use futures::future::{BoxFuture, FutureExt as _};
use time::OffsetDateTime;

use super::{SESSION_TTL, entity::CHALLENGE_TTL};
use crate::{
    db::Conn,
    ledger::{
        record,
        verify::{Check, Page, VerifyError},
    },
    proto::journal_record::Facts,
};

/// Every purchase of a detainee was made for themselves, at the terminal of a session that was theirs at that moment. Tries follow
/// one another and none was made while the card was locked; PINs are numbered, and the first is staff's; sessions end once, in
/// their time, and those that began with a card began with a PIN of its kind. The clocks
/// of processes may be a minute apart.
#[derive(Debug, Default)]
pub struct SessionsCheck;

impl Check for SessionsCheck {
    fn page<'a>(&'a mut self, conn: &'a mut Conn, page: &'a Page<'a>) -> BoxFuture<'a, Result<(), VerifyError>> {
        purchases(conn, page).boxed()
    }

    fn end<'a>(&'a mut self, conn: &'a mut Conn, page: &'a Page<'a>) -> BoxFuture<'a, Result<(), VerifyError>> {
        async move {
            tries(conn, page).await?;
            pins(conn, page).await?;
            sessions(conn, page).await
        }
        .boxed()
    }
}

async fn purchases(conn: &mut Conn, page: &Page<'_>) -> Result<(), VerifyError> {
    let (mut seqs, mut detainees, mut terminals, mut times) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for record in page.records {
        let Some(own) = record.actor.strip_prefix("detainee/") else {
            continue;
        };
        let told = match (&record.facts, own.split_once('@')) {
            (Some(Facts::Purchase(facts)), Some((detainee, terminal))) => {
                (facts.detainee == detainee && facts.terminal == terminal).then_some((detainee, terminal))
            }
            _ => None,
        };
        let Some((detainee, terminal)) = told else {
            return Err(page.differs(record, format!("{} did what only others can do", record.actor)));
        };
        let Some(at) = record.recorded_at.as_ref().and_then(record::instant) else {
            return Err(page.differs(record, "it tells no time"));
        };
        seqs.push(record.seq);
        detainees.push(detainee.to_owned());
        terminals.push(terminal.to_owned());
        times.push(at);
    }
    if seqs.is_empty() {
        return Ok(());
    }
    let bought = (&seqs[..], &detainees[..], &terminals[..], &times[..]);
    let within: HashSet<i64> = within_sessions(conn, page, bought).await?.into_iter().collect();
    match page
        .records
        .iter()
        .find(|record| seqs.contains(&record.seq) && !within.contains(&record.seq))
    {
        None => Ok(()),
        Some(record) => Err(page.differs(record, format!("{} was in no session then", record.actor))),
    }
}

/// The purchases that were made in a session.
async fn within_sessions(
    conn: &mut Conn,
    page: &Page<'_>,
    (seqs, detainees, terminals, times): (&[i64], &[String], &[String], &[OffsetDateTime]),
) -> sqlx::Result<Vec<i64>> {
    sqlx::query_scalar!(
        r#"select q.seq as "seq!" from unnest($2::bigint[], $3::text[], $4::text[], $5::timestamptz[]) q (seq, detainee, terminal, at)
           where exists (
               select from detainee_session s
               left join detainee_session_end e on e.center_id = s.center_id and e.session_id = s.session_id
               where s.center_id = $1 and s.detainee_id = q.detainee and s.expires_at > q.at and s.terminal_id = q.terminal
                 and s.began_at <= q.at + interval '1 minute' and not s.is_limited and (e.at is null or e.at >= q.at))"#,
        page.center.no.0,
        seqs,
        detainees,
        terminals,
        times,
    )
    .fetch_all(conn)
    .await
}

async fn tries(conn: &mut Conn, page: &Page<'_>) -> Result<(), VerifyError> {
    let wrong = sqlx::query!(
        r#"select encode(card_hash, 'hex') as "card!", number from (
               select card_hash, number, outcome, failures, at, row_number() over w as place,
                      coalesce(lag(failures) over w, 0) as before, lag(at) over w as at_before
               from card_try where center_id = $1
               window w as (partition by card_hash order by number)) t
           where number <> place or at < at_before
              or outcome = 'FAILED' and (failures <> before + 1 or before >= 5
                  and at < at_before + least(interval '1 minute' * power(2, least(before - 5, 12)), interval '24 hours'))
              or outcome = 'RIGHT' and before = 0
           order by card_hash, number limit 1"#,
        page.center.no.0,
    )
    .fetch_optional(conn)
    .await?;
    match wrong {
        None => Ok(()),
        Some(row) => {
            let key = format!("{} {}", row.card, row.number);
            Err(page.row_differs(
                "card_try",
                key,
                "it does not follow the one before, or the card was locked",
            ))
        }
    }
}

async fn pins(conn: &mut Conn, page: &Page<'_>) -> Result<(), VerifyError> {
    let wrong = sqlx::query!(
        r#"select p.card_id, p.number from (
               select card_id, number, is_temporary, set_by, set_at,
                      row_number() over (partition by card_id order by number) as place
               from card_pin where center_id = $1) p
           join card c on c.center_id = $1 and c.card_id = p.card_id
           left join card_end e on e.center_id = $1 and e.card_id = p.card_id
           where p.number <> p.place or p.number = 1 and not p.is_temporary or p.set_at < c.issued_at - interval '1 minute'
              or p.set_at > e.at + interval '1 minute'
              or not p.is_temporary and p.set_by not like 'detainee/' || c.detainee_id || '@%'
           order by p.card_id, p.number limit 1"#,
        page.center.no.0,
    )
    .fetch_optional(conn)
    .await?;
    match wrong {
        None => Ok(()),
        Some(row) => {
            let key = format!("{} {}", row.card_id, row.number);
            Err(page.row_differs("card_pin", key, "it was not set in order, or by whom it cannot be"))
        }
    }
}

async fn sessions(conn: &mut Conn, page: &Page<'_>) -> Result<(), VerifyError> {
    let most = SESSION_TTL.max(CHALLENGE_TTL).whole_seconds();
    let wrong = sqlx::query!(
        r#"select s.session_id from detainee_session s
           left join detainee_session_end e on e.center_id = s.center_id and e.session_id = s.session_id
           left join card c on c.center_id = s.center_id and c.card_id = s.card_id
           left join card_end x on x.center_id = s.center_id and x.card_id = s.card_id
           where s.center_id = $1
             and (extract(epoch from s.expires_at - s.began_at) > $2::bigint or e.at < s.began_at - interval '1 minute'
                  or s.is_bound and not exists (
                      select from terminal_certificate t
                      where t.center_id = s.center_id and t.terminal_id = s.terminal_id and t.issued_at <= s.began_at + interval '1 minute')
                  or s.card_id is not null and (
                      c.detainee_id <> s.detainee_id or x.at < s.began_at - interval '1 minute' or not exists (
                          select from card_pin p
                          where p.center_id = s.center_id and p.card_id = s.card_id and p.is_temporary = s.is_limited
                            and p.set_at <= s.began_at + interval '1 minute')))
           order by s.session_id limit 1"#,
        page.center.no.0,
        most,
    )
    .fetch_optional(conn)
    .await?;
    match wrong {
        None => Ok(()),
        Some(row) => {
            let what = "it is too long, ended before it began, or began with what could not begin it";
            Err(page.row_differs("detainee_session", row.session_id, what))
        }
    }
}
