//! All SQL of this domain.

use rust_decimal::Decimal;
use sqlx::{Arguments as _, PgConnection, error::BoxDynError, postgres::PgArguments};
use time::OffsetDateTime;

use super::{Sum, SumEnd, credit::Standing};
use crate::{
    db::decoding,
    ids::{CenterNo, DetaineeId, Seq},
    ledger::{Center, RowSet, record},
    money::Amount,
    proto::{UnmatchedFacts, journal_record::Facts},
};

/// The transaction that recorded a reference of a channel's, or of the bank's.
pub(super) async fn by_reference(
    conn: &mut PgConnection,
    center: CenterNo,
    channel: &str,
    reference: &str,
) -> sqlx::Result<Option<Seq>> {
    let seq = sqlx::query_scalar!(
        "select seq from unmatched_sum where center_id = $1 and channel = $2 and reference = $3",
        center.0,
        channel,
        reference,
    )
    .fetch_optional(conn)
    .await?;
    Ok(seq.map(Seq))
}

pub(super) async fn insert(
    conn: &mut PgConnection,
    center: CenterNo,
    seq: Seq,
    at: OffsetDateTime,
    amount: Amount,
    facts: &UnmatchedFacts,
) -> sqlx::Result<()> {
    let value_date = record::date(&facts.value_date)
        .ok_or_else(|| sqlx::Error::Protocol(format!("{} is no value date", facts.value_date)))?;
    sqlx::query!(
        "insert into unmatched_sum (center_id, seq, channel, reference, amount, value_date, recorded_at)
         values ($1, $2, $3, $4, $5, $6, $7)",
        center.0,
        seq.0,
        facts.channel,
        facts.reference,
        amount.value(),
        value_date,
        at,
    )
    .execute(conn)
    .await?;
    Ok(())
}

pub(super) async fn insert_end(
    conn: &mut PgConnection,
    center: CenterNo,
    sum: Seq,
    end_seq: Seq,
    end: &SumEnd,
    approval: i64,
) -> sqlx::Result<()> {
    let detainee = match end {
        SumEnd::Credited(detainee) => Some(detainee.as_str()),
        SumEnd::Returned => None,
    };
    sqlx::query!(
        "insert into unmatched_end (center_id, seq, end_seq, state, detainee_id, approval_no) values ($1, $2, $3, $4, $5, $6)",
        center.0,
        sum.0,
        end_seq.0,
        end.name(),
        detainee,
        approval,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// How much a sum is, and what became of it.
pub(super) async fn standing(conn: &mut PgConnection, center: &Center, seq: Seq) -> sqlx::Result<Option<Standing>> {
    Ok(get(conn, center, seq).await?.map(|sum| Standing {
        amount: sum.amount,
        end: sum.end,
    }))
}

/// One sum.
pub(super) async fn get(conn: &mut PgConnection, center: &Center, seq: Seq) -> sqlx::Result<Option<Sum>> {
    let found = list(conn, center, false, Some(seq.next()), 1).await?;
    Ok(found.into_iter().find(|sum| sum.seq == seq))
}

/// Up to `limit` sums before a number, newest first. What was written stands in their records.
pub(super) async fn list(
    conn: &mut PgConnection,
    center: &Center,
    waiting: bool,
    before: Option<Seq>,
    limit: i64,
) -> sqlx::Result<Vec<Sum>> {
    sqlx::query!(
        r#"select s.seq, s.amount, s.recorded_at, t.record, e.end_seq as "end_seq?", e.state as "state?",
                  e.detainee_id as "detainee_id?"
           from unmatched_sum s
           join journal_transaction t on t.center_id = s.center_id and t.seq = s.seq
           left join unmatched_end e on e.center_id = s.center_id and e.seq = s.seq
           where s.center_id = $1 and s.seq < $2 and (not $3 or e.seq is null)
           order by s.seq desc limit $4"#,
        center.no.0,
        before.map_or(i64::MAX, |seq| seq.0),
        waiting,
        limit,
    )
    .fetch_all(conn)
    .await?
    .into_iter()
    .map(|row| {
        let Some(Facts::Unmatched(facts)) = record::decode(&row.record)?.facts else {
            return Err(sqlx::Error::Decode(
                format!("transaction {} is no unmatched sum", row.seq).into(),
            ));
        };
        let end = match (row.state.as_deref(), row.detainee_id) {
            (Some("CREDITED"), Some(id)) => Some(SumEnd::Credited(DetaineeId::parse(&id).map_err(decoding)?)),
            (Some("RETURNED"), None) => Some(SumEnd::Returned),
            (None, _) => None,
            (Some(other), _) => return Err(sqlx::Error::Decode(format!("unknown end {other}").into())),
        };
        Ok(Sum {
            seq: Seq(row.seq),
            amount: center.amount(row.amount)?,
            facts,
            recorded_at: row.recorded_at,
            end: end.zip(row.end_seq.map(Seq)),
        })
    })
    .collect()
}

/// The sums that wait, by number, for verification.
pub(super) async fn waiting(conn: &mut PgConnection, center: CenterNo) -> sqlx::Result<Vec<(Seq, Decimal)>> {
    let rows = sqlx::query!(
        "select s.seq, s.amount from unmatched_sum s
         left join unmatched_end e on e.center_id = s.center_id and e.seq = s.seq
         where s.center_id = $1 and e.seq is null order by s.seq",
        center.0,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (Seq(row.seq), row.amount)).collect())
}

/// Rows of `unmatched_end` that the lane writes: what is credited.
#[derive(Default)]
pub(super) struct EndRows(Vec<(Seq, Seq, String, i64)>);

impl EndRows {
    pub fn push(&mut self, sum: Seq, end: Seq, detainee: &DetaineeId, approval: i64) {
        self.0.push((sum, end, detainee.to_string(), approval));
    }
}

impl RowSet for EndRows {
    const NAME: &'static str = "unmatched_end";
    const SQL: &'static str = "\
        insert into unmatched_end (center_id, seq, end_seq, detainee_id, approval_no, state)
        select e.*, 'CREDITED' from unnest($1::integer[], $2::bigint[], $3::bigint[], $4::text[], $5::bigint[]) e (center_id)
        where e.center_id in (select center_id from guard)";
    const PARAMS: usize = 4;

    fn count(&self) -> usize {
        self.0.len()
    }

    fn bind(sets: &[&EndRows], args: &mut PgArguments) -> Result<(), BoxDynError> {
        let rows = || sets.iter().flat_map(|set| &set.0);
        args.add(rows().map(|row| row.0.0).collect::<Vec<i64>>())?;
        args.add(rows().map(|row| row.1.0).collect::<Vec<i64>>())?;
        args.add(rows().map(|row| row.2.as_str()).collect::<Vec<&str>>())?;
        args.add(rows().map(|row| row.3).collect::<Vec<i64>>())
    }
}
