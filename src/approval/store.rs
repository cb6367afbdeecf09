//! All SQL of this domain.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{Approval, ApprovalFilter, Decision, End, Person, Verdict};
use crate::{
    db::constraint,
    ids::{CenterNo, RequestId, Seq},
    ledger::{Center, record},
};

/// The open approval about something, if there is one.
pub(super) async fn open_of(conn: &mut PgConnection, center: &Center, subject: &str) -> sqlx::Result<Option<Approval>> {
    let no = sqlx::query_scalar!(
        "select approval_no from approval_open where center_id = $1 and subject = $2",
        center.no.0,
        subject,
    )
    .fetch_optional(&mut *conn)
    .await?;
    match no {
        Some(no) => get(conn, center, no).await,
        None => Ok(None),
    }
}

/// The next number. The caller holds the journal's head.
pub(super) async fn next_no(conn: &mut PgConnection, center: CenterNo) -> sqlx::Result<i64> {
    let last = sqlx::query_scalar!(
        "select approval_no from approval where center_id = $1 order by approval_no desc limit 1",
        center.0,
    )
    .fetch_optional(conn)
    .await?;
    Ok(last.map_or(1, |last| last.saturating_add(1)))
}

pub(super) async fn insert(conn: &mut PgConnection, center: CenterNo, approval: &Approval) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into approval (center_id, approval_no, request_id, kind, subject, command, summary, amount, checkers_needed,
                               maker, maker_actor, reason, created_at, expires_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)",
        center.0,
        approval.no,
        approval.request_id.0,
        approval.kind,
        approval.subject,
        approval.command,
        approval.summary,
        approval.amount.map(|amount| amount.value()),
        approval.checkers_needed,
        approval.maker.id,
        approval.maker.actor,
        approval.reason,
        approval.created_at,
        approval.expires_at,
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!(
        "insert into approval_open (center_id, approval_no, subject, attempts, next_at) values ($1, $2, $3, 0, $4)",
        center.0,
        approval.no,
        approval.subject,
        approval.expires_at,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// What became of a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Written {
    /// It stands.
    Done,
    /// It was the maker's.
    ByMaker,
    /// The person has decided before.
    Twice,
}

/// Writes a decision down, if the database lets it. After a refusal the transaction can only be rolled back.
pub(super) async fn insert_decision(
    conn: &mut PgConnection,
    center: CenterNo,
    approval: &Approval,
    decision: &Decision,
) -> sqlx::Result<Written> {
    let written = sqlx::query!(
        "insert into approval_decision (center_id, approval_no, person, actor, maker, verdict, reason, decided_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8)",
        center.0,
        approval.no,
        decision.person.id,
        decision.person.actor,
        approval.maker.id,
        decision.verdict.name(),
        decision.reason,
        decision.at,
    )
    .execute(conn)
    .await;
    match written {
        Ok(_) => Ok(Written::Done),
        Err(error) => match constraint::name(&error) {
            Some("approval_decision_not_by_maker") => Ok(Written::ByMaker),
            Some("approval_decision_pkey") => Ok(Written::Twice),
            _ => Err(error),
        },
    }
}

/// Writes down that everybody needed has allowed it.
pub(super) async fn insert_grant(
    conn: &mut PgConnection,
    center: CenterNo,
    approval: &Approval,
    at: OffsetDateTime,
) -> sqlx::Result<()> {
    let mut checkers = approval.decisions.iter().map(|decision| decision.person.id.as_str());
    sqlx::query!(
        "insert into approval_grant (center_id, approval_no, maker, checkers_needed, checker, second_checker, granted_at)
         values ($1, $2, $3, $4, $5, $6, $7)",
        center.0,
        approval.no,
        approval.maker.id,
        approval.checkers_needed,
        checkers.next(),
        checkers.next(),
        at,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Writes the end down, unless it has one.
pub(super) async fn insert_end(
    conn: &mut PgConnection,
    center: CenterNo,
    no: i64,
    end: &End,
    at: OffsetDateTime,
) -> sqlx::Result<()> {
    let (seq, refusal) = match end {
        End::Executed(seq) => (seq.map(|seq| seq.0), None),
        End::Failed(refusal) => (None, Some(record::canonical(refusal))),
        End::Refused | End::Expired => (None, None),
    };
    sqlx::query!(
        "insert into approval_end (center_id, approval_no, state, ended_at, seq, refusal) values ($1, $2, $3, $4, $5, $6)
         on conflict (center_id, approval_no) do nothing",
        center.0,
        no,
        end.name(),
        at,
        seq,
        refusal,
    )
    .execute(conn)
    .await?;
    Ok(())
}

pub(super) async fn delete_open(conn: &mut PgConnection, center: CenterNo, no: i64) -> sqlx::Result<()> {
    sqlx::query!(
        "delete from approval_open where center_id = $1 and approval_no = $2",
        center.0,
        no,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Says when an open approval is looked at next.
pub(super) async fn set_next(
    conn: &mut PgConnection,
    center: CenterNo,
    no: i64,
    next: OffsetDateTime,
) -> sqlx::Result<()> {
    sqlx::query!(
        "update approval_open set next_at = $3 where center_id = $1 and approval_no = $2",
        center.0,
        no,
        next,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Takes up to `limit` that are to be looked at; until the lease is over nobody else does.
pub(super) async fn claim(
    conn: &mut PgConnection,
    center: CenterNo,
    now: OffsetDateTime,
    lease: OffsetDateTime,
    limit: i64,
) -> sqlx::Result<Vec<i64>> {
    sqlx::query_scalar!(
        "with due as (
             select center_id, approval_no from approval_open
             where center_id = $1 and next_at <= $2 order by next_at limit $4 for update skip locked)
         update approval_open o set attempts = o.attempts + 1, next_at = $3
         from due where o.center_id = due.center_id and o.approval_no = due.approval_no
         returning o.approval_no",
        center.0,
        now,
        lease,
        limit,
    )
    .fetch_all(conn)
    .await
}

/// The number of the approval that a request asked for.
pub(super) async fn of_request(
    conn: &mut PgConnection,
    center: CenterNo,
    request: RequestId,
) -> sqlx::Result<Option<i64>> {
    sqlx::query_scalar!(
        "select approval_no from approval where center_id = $1 and request_id = $2",
        center.0,
        request.0,
    )
    .fetch_optional(conn)
    .await
}

/// One approval.
pub(super) async fn get(conn: &mut PgConnection, center: &Center, no: i64) -> sqlx::Result<Option<Approval>> {
    let filter = ApprovalFilter {
        before: Some(no.saturating_add(1)),
        ..ApprovalFilter::default()
    };
    let found = list(conn, center, &filter, 1).await?;
    Ok(found.into_iter().find(|approval| approval.no == no))
}

/// Up to `limit` approvals, newest first.
pub(super) async fn list(
    conn: &mut PgConnection,
    center: &Center,
    filter: &ApprovalFilter,
    limit: i64,
) -> sqlx::Result<Vec<Approval>> {
    let rows = sqlx::query_as!(
        Row,
        r#"select a.approval_no, a.request_id, a.kind, a.subject, a.command, a.summary, a.amount, a.checkers_needed, a.maker,
                  a.maker_actor, a.reason, a.created_at, a.expires_at,
                  e.state as "state?", e.ended_at as "ended_at?", e.seq as "seq?", e.refusal as "refusal?"
           from approval a left join approval_end e on e.center_id = a.center_id and e.approval_no = a.approval_no
           where a.center_id = $1 and a.approval_no < $2 and ($3::text is null or a.subject = $3)
             and (not $4 or e.approval_no is null)
           order by a.approval_no desc limit $5"#,
        center.no.0,
        filter.before.unwrap_or(i64::MAX),
        filter.subject,
        filter.open,
        limit,
    )
    .fetch_all(&mut *conn)
    .await?;
    let numbers: Vec<i64> = rows.iter().map(|row| row.approval_no).collect();
    let mut decisions = decisions(conn, center.no, &numbers).await?;
    rows.into_iter()
        .map(|row| {
            let told = decisions.remove(&row.approval_no).unwrap_or_default();
            row.read(center, told)
        })
        .collect()
}

async fn decisions(
    conn: &mut PgConnection,
    center: CenterNo,
    numbers: &[i64],
) -> sqlx::Result<BTreeMap<i64, Vec<Decision>>> {
    let rows = sqlx::query!(
        "select approval_no, person, actor, verdict, reason, decided_at from approval_decision
         where center_id = $1 and approval_no = any($2) order by decided_at, person",
        center.0,
        numbers,
    )
    .fetch_all(conn)
    .await?;
    let mut found: BTreeMap<i64, Vec<Decision>> = BTreeMap::new();
    for row in rows {
        let verdict = Verdict::from_name(&row.verdict)
            .ok_or_else(|| sqlx::Error::Decode(format!("unknown verdict {}", row.verdict).into()))?;
        found.entry(row.approval_no).or_default().push(Decision {
            person: Person {
                id: row.person,
                actor: row.actor,
            },
            verdict,
            reason: row.reason,
            at: row.decided_at,
        });
    }
    Ok(found)
}

struct Row {
    approval_no: i64,
    request_id: Uuid,
    kind: String,
    subject: String,
    command: Vec<u8>,
    summary: String,
    amount: Option<Decimal>,
    checkers_needed: i16,
    maker: String,
    maker_actor: String,
    reason: String,
    created_at: OffsetDateTime,
    expires_at: OffsetDateTime,
    state: Option<String>,
    ended_at: Option<OffsetDateTime>,
    seq: Option<i64>,
    refusal: Option<Vec<u8>>,
}

impl Row {
    fn read(self, center: &Center, decisions: Vec<Decision>) -> sqlx::Result<Approval> {
        let end = match self.state.as_deref() {
            None => None,
            Some("EXECUTED") => Some(End::Executed(self.seq.map(Seq))),
            Some("FAILED") => Some(End::Failed(record::read_canonical(&self.refusal.unwrap_or_default())?)),
            Some("REFUSED") => Some(End::Refused),
            Some("EXPIRED") => Some(End::Expired),
            Some(other) => return Err(sqlx::Error::Decode(format!("unknown end {other}").into())),
        };
        Ok(Approval {
            no: self.approval_no,
            request_id: RequestId(self.request_id),
            kind: self.kind,
            subject: self.subject,
            command: self.command,
            summary: self.summary,
            amount: self.amount.map(|amount| center.amount(amount)).transpose()?,
            checkers_needed: self.checkers_needed,
            maker: Person {
                id: self.maker,
                actor: self.maker_actor,
            },
            reason: self.reason,
            created_at: self.created_at,
            expires_at: self.expires_at,
            decisions,
            end: end.zip(self.ended_at),
        })
    }
}

/// The first approval that has a grant although not everybody needed has allowed it, or none although they have; for
/// verification.
pub(super) async fn first_wrongly_granted(conn: &mut PgConnection, center: CenterNo) -> sqlx::Result<Option<i64>> {
    sqlx::query_scalar!(
        "select a.approval_no from approval a
         left join approval_grant g on g.center_id = a.center_id and g.approval_no = a.approval_no
         where a.center_id = $1 and (g.approval_no is not null) <> (
             select count(*) filter (where d.verdict = 'APPROVED') >= a.checkers_needed
                and count(*) filter (where d.verdict = 'REFUSED') = 0
             from approval_decision d where d.center_id = a.center_id and d.approval_no = a.approval_no)
         order by a.approval_no limit 1",
        center.0,
    )
    .fetch_optional(conn)
    .await
}

/// The request of a transaction, for verification.
pub(super) async fn request_of(conn: &mut PgConnection, center: CenterNo, seq: Seq) -> sqlx::Result<Option<Uuid>> {
    sqlx::query_scalar!(
        "select request_id from journal_transaction where center_id = $1 and seq = $2",
        center.0,
        seq.0,
    )
    .fetch_optional(conn)
    .await
}

/// The first approval that is open although it ended, or not open although it did not, for verification.
pub(super) async fn first_wrongly_open(conn: &mut PgConnection, center: CenterNo) -> sqlx::Result<Option<i64>> {
    sqlx::query_scalar!(
        "select a.approval_no from approval a
         left join approval_end e on e.center_id = a.center_id and e.approval_no = a.approval_no
         left join approval_open o on o.center_id = a.center_id and o.approval_no = a.approval_no and o.subject = a.subject
         where a.center_id = $1 and (e.approval_no is null) <> (o.approval_no is not null)
         order by a.approval_no limit 1",
        center.0,
    )
    .fetch_optional(conn)
    .await
}
