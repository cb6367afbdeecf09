//! All SQL of this domain but that of sealed texts and reminders.

use sqlx::PgConnection;
use time::OffsetDateTime;

use super::entity::{Heir, Part, PartEnd, Purpose, SumState, UnclaimedSum};
use crate::{
    custody::DetaineeState,
    db::decoding,
    ids::{CenterNo, DetaineeId, Seq},
    ledger::Center,
    money::Amount,
};

fn unknown(what: &str) -> sqlx::Error {
    sqlx::Error::Decode(format!("unknown {what}").into())
}

/// How many refunds of a detainee's own money have no outcome: what is in suspense never comes to their accounts.
pub(super) async fn open_refunds(conn: &mut PgConnection, center: CenterNo, id: &DetaineeId) -> sqlx::Result<i64> {
    sqlx::query_scalar!(
        r#"select count(*) as "count!" from refund_open o
           join refund f on f.center_id = o.center_id and f.seq = o.seq
           where o.center_id = $1 and f.detainee_id = $2 and not f.from_suspense"#,
        center.0,
        id.as_str(),
    )
    .fetch_one(conn)
    .await
}

/// How many payouts of a detainee are for a purpose.
pub(super) async fn payouts_for(
    conn: &mut PgConnection,
    center: CenterNo,
    id: &DetaineeId,
    purpose: Purpose,
) -> sqlx::Result<i64> {
    sqlx::query_scalar!(
        r#"select count(*) as "count!" from payout where center_id = $1 and detainee_id = $2 and purpose = $3"#,
        center.0,
        id.as_str(),
        purpose.name(),
    )
    .fetch_one(conn)
    .await
}

/// When a detainee's custody last changed, and by which document.
pub(super) async fn last_change(
    conn: &mut PgConnection,
    center: CenterNo,
    id: &DetaineeId,
) -> sqlx::Result<Option<(OffsetDateTime, String)>> {
    let row = sqlx::query!(
        "select changed_at, document from custody_change where center_id = $1 and detainee_id = $2
         order by seq desc limit 1",
        center.0,
        id.as_str(),
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| (row.changed_at, row.document)))
}

pub(super) async fn insert_change(
    conn: &mut PgConnection,
    center: CenterNo,
    seq: Seq,
    id: &DetaineeId,
    (state, document, at): (DetaineeState, &str, OffsetDateTime),
) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into custody_change (center_id, seq, detainee_id, state, document, changed_at) values ($1, $2, $3, $4, $5, $6)",
        center.0,
        seq.0,
        id.as_str(),
        state.name(),
        document,
        at,
    )
    .execute(conn)
    .await?;
    Ok(())
}

pub(super) async fn heirs(conn: &mut PgConnection, center: CenterNo, id: &DetaineeId) -> sqlx::Result<Vec<Heir>> {
    let rows = sqlx::query!(
        "select heir_id, name_masked, secret_id, relationship, document, recorded_at from heir
         where center_id = $1 and detainee_id = $2 order by heir_id",
        center.0,
        id.as_str(),
    )
    .fetch_all(conn)
    .await?;
    let heirs = rows.into_iter().map(|row| Heir {
        id: row.heir_id,
        name_masked: row.name_masked,
        secret: row.secret_id,
        relationship: row.relationship,
        document: row.document,
        recorded_at: row.recorded_at,
    });
    Ok(heirs.collect())
}

pub(super) async fn insert_heir(
    conn: &mut PgConnection,
    center: CenterNo,
    id: &DetaineeId,
    heir: &Heir,
    by: &str,
) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into heir (center_id, detainee_id, heir_id, name_masked, secret_id, relationship, document, recorded_at,
                           recorded_by)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        center.0,
        id.as_str(),
        heir.id,
        heir.name_masked,
        heir.secret,
        heir.relationship,
        heir.document,
        heir.recorded_at,
        by,
    )
    .execute(conn)
    .await?;
    Ok(())
}

pub(super) async fn insert_sum(
    conn: &mut PgConnection,
    center: CenterNo,
    seq: Seq,
    id: &DetaineeId,
    amount: Amount,
    at: OffsetDateTime,
) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into unclaimed_sum (center_id, seq, detainee_id, amount, made_at) values ($1, $2, $3, $4, $5)",
        center.0,
        seq.0,
        id.as_str(),
        amount.value(),
        at,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// How a sum that was not collected ends, by a payout or to the treasury.
pub(super) async fn insert_sum_end(
    conn: &mut PgConnection,
    center: CenterNo,
    sum: Seq,
    state: &str,
    end: Seq,
) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into unclaimed_end (center_id, seq, state, end_seq) values ($1, $2, $3, $4)",
        center.0,
        sum.0,
        state,
        end.0,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Up to `limit` sums after a number, oldest first; of one detainee or of all.
pub(super) async fn sums(
    conn: &mut PgConnection,
    center: &Center,
    id: Option<&DetaineeId>,
    from: Seq,
    limit: i64,
) -> sqlx::Result<Vec<UnclaimedSum>> {
    let rows = sqlx::query!(
        r#"select s.seq, s.detainee_id, s.amount, s.made_at,
                  exists (select from unclaimed_end e where e.center_id = s.center_id and e.seq = s.seq
                          and e.state = 'PAYOUT') as "claimed!",
                  exists (select from unclaimed_end e where e.center_id = s.center_id and e.seq = s.seq
                          and e.state = 'TREASURY') as "treasury!"
           from unclaimed_sum s
           where s.center_id = $1 and s.seq >= $2 and ($3::text is null or s.detainee_id = $3) order by s.seq limit $4"#,
        center.no.0,
        from.0,
        id.map(DetaineeId::as_str),
        limit,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(UnclaimedSum {
                seq: Seq(row.seq),
                detainee: DetaineeId::parse(&row.detainee_id).map_err(decoding)?,
                amount: center.amount(row.amount)?,
                made_at: row.made_at,
                state: match (row.claimed, row.treasury) {
                    (true, _) => SumState::Claimed,
                    (false, true) => SumState::Treasury,
                    (false, false) => SumState::Waiting,
                },
            })
        })
        .collect()
}

/// One sum.
pub(super) async fn sum(conn: &mut PgConnection, center: &Center, seq: Seq) -> sqlx::Result<Option<UnclaimedSum>> {
    let found = sums(conn, center, None, seq, 1).await?;
    Ok(found.into_iter().find(|sum| sum.seq == seq))
}

/// What is stored of a payout.
pub(super) struct PayoutRow {
    pub detainee: DetaineeId,
    pub purpose: Purpose,
    pub part_count: i32,
    pub opened_by: String,
}

pub(super) struct NewRow<'a> {
    pub seq: Seq,
    pub detainee: &'a DetaineeId,
    pub purpose: Purpose,
    pub unclaimed: Option<Seq>,
    pub amount: Amount,
    pub parts: &'a [Part],
    pub opened_by: &'a str,
    pub approval: Option<i64>,
}

pub(super) async fn insert_payout(conn: &mut PgConnection, center: CenterNo, new: &NewRow<'_>) -> sqlx::Result<()> {
    let count = i32::try_from(new.parts.len()).map_err(|_| unknown("number of parts"))?;
    sqlx::query!(
        "insert into payout (center_id, seq, detainee_id, purpose, unclaimed_seq, amount, part_count, opened_by, approval_no)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        center.0,
        new.seq.0,
        new.detainee.as_str(),
        new.purpose.name(),
        new.unclaimed.map(|seq| seq.0),
        new.amount.value(),
        count,
        new.opened_by,
        new.approval,
    )
    .execute(&mut *conn)
    .await?;
    for (number, part) in (1..).zip(new.parts) {
        sqlx::query!(
            "insert into payout_part (center_id, seq, part, amount, payee, heir_id, secret_id)
             values ($1, $2, $3, $4, $5, $6, $7)",
            center.0,
            new.seq.0,
            number,
            part.amount.value(),
            part.payee,
            part.heir,
            part.secret,
        )
        .execute(&mut *conn)
        .await?;
    }
    Ok(())
}

pub(super) async fn payout(conn: &mut PgConnection, center: CenterNo, seq: Seq) -> sqlx::Result<Option<PayoutRow>> {
    let row = sqlx::query!(
        "select detainee_id, purpose, part_count, opened_by from payout where center_id = $1 and seq = $2",
        center.0,
        seq.0,
    )
    .fetch_optional(conn)
    .await?;
    row.map(|row| {
        Ok(PayoutRow {
            detainee: DetaineeId::parse(&row.detainee_id).map_err(decoding)?,
            purpose: Purpose::from_name(&row.purpose).ok_or_else(|| unknown("purpose"))?,
            part_count: row.part_count,
            opened_by: row.opened_by,
        })
    })
    .transpose()
}

/// The numbers of up to `limit` payouts before one, newest first; of one detainee or of all.
pub(super) async fn payouts_before(
    conn: &mut PgConnection,
    center: CenterNo,
    id: Option<&DetaineeId>,
    before: Seq,
    limit: i64,
) -> sqlx::Result<Vec<Seq>> {
    let found = sqlx::query_scalar!(
        "select seq from payout where center_id = $1 and seq < $2 and ($3::text is null or detainee_id = $3)
         order by seq desc limit $4",
        center.0,
        before.0,
        id.map(DetaineeId::as_str),
        limit,
    )
    .fetch_all(conn)
    .await?;
    Ok(found.into_iter().map(Seq).collect())
}

/// A part: how much, where its account is sealed, and how it ended.
pub(super) struct PartRow {
    pub amount: Amount,
    pub secret: String,
    pub end: Option<(PartEnd, Seq)>,
}

/// The parts of a payout, in order.
pub(super) async fn parts(conn: &mut PgConnection, center: &Center, payout: Seq) -> sqlx::Result<Vec<PartRow>> {
    let rows = sqlx::query!(
        r#"select p.amount, p.secret_id, e.state as "state?", e.end_seq as "end_seq?"
           from payout_part p
           left join payout_part_end e on e.center_id = p.center_id and e.seq = p.seq and e.part = p.part
           where p.center_id = $1 and p.seq = $2 order by p.part"#,
        center.no.0,
        payout.0,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            let end = match (row.state, row.end_seq) {
                (Some(state), Some(seq)) => {
                    let end = PartEnd::from_name(&state).ok_or_else(|| unknown("end of a part"))?;
                    Some((end, Seq(seq)))
                }
                _ => None,
            };
            Ok(PartRow {
                amount: center.amount(row.amount)?,
                secret: row.secret_id,
                end,
            })
        })
        .collect()
}

pub(super) async fn insert_part_end(
    conn: &mut PgConnection,
    center: CenterNo,
    (payout, part): (Seq, i32),
    end: (PartEnd, Seq),
    (opened_by, ended_by): (&str, &str),
) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into payout_part_end (center_id, seq, part, end_seq, state, opened_by, ended_by)
         values ($1, $2, $3, $4, $5, $6, $7)",
        center.0,
        payout.0,
        part,
        end.1.0,
        end.0.name(),
        opened_by,
        ended_by,
    )
    .execute(conn)
    .await?;
    Ok(())
}

pub(super) async fn insert_merge(
    conn: &mut PgConnection,
    center: CenterNo,
    (from, into): (&DetaineeId, &DetaineeId),
    seq: Seq,
    approval: i64,
) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into detainee_merge (center_id, detainee_id, into_id, seq, approval_no) values ($1, $2, $3, $4, $5)",
        center.0,
        from.as_str(),
        into.as_str(),
        seq.0,
        approval,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The stay before one, the stay after it, and the booking it was merged into.
pub(super) async fn relations_of(
    conn: &mut PgConnection,
    center: CenterNo,
    id: &DetaineeId,
) -> sqlx::Result<[Option<String>; 3]> {
    let row = sqlx::query!(
        r#"select (select former_id from stay where center_id = $1 and detainee_id = $2) as former,
                  (select detainee_id from stay where center_id = $1 and former_id = $2) as later,
                  (select into_id from detainee_merge where center_id = $1 and detainee_id = $2) as merged_into"#,
        center.0,
        id.as_str(),
    )
    .fetch_one(conn)
    .await?;
    Ok([row.former, row.later, row.merged_into])
}
