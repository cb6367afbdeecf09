//! All SQL of this domain.

use sqlx::{PgConnection, PgExecutor};
use time::Date;

use super::entity::{End, Row, SettlementLine, Sums};
use crate::{
    db::decoding,
    ids::{AccountNo, CenterNo, Seq, VendorId},
    ledger::{Center, record, statement::Position},
    proto::TransactionKind,
};

/// The last posting that the vendor's settlements cover; 0 when there is none.
pub(super) async fn covered(conn: &mut PgConnection, center: CenterNo, vendor: &VendorId) -> sqlx::Result<Seq> {
    let through = sqlx::query_scalar!(
        "select through_seq from settlement where center_id = $1 and vendor_id = $2 order by seq desc limit 1",
        center.0,
        vendor.as_str(),
    )
    .fetch_optional(conn)
    .await?;
    Ok(through.map_or(Seq::ZERO, Seq))
}

/// The sums of an account's postings in a range, those that closed settlements left out.
pub(super) async fn sums(
    conn: &mut PgConnection,
    center: &Center,
    payable: AccountNo,
    after: Seq,
    through: Seq,
) -> sqlx::Result<Sums> {
    let row = sqlx::query!(
        r#"select count(*)::integer as "count!", coalesce(sum(p.amount) filter (where p.credit = $2), 0) as "credited!",
                  coalesce(sum(p.amount) filter (where p.debit = $2), 0) as "returned!"
           from posting p join journal_transaction t on t.center_id = p.center_id and t.seq = p.seq
           where p.center_id = $1 and (p.debit = $2 or p.credit = $2) and p.seq > $3 and p.seq <= $4 and t.kind <> $5"#,
        center.no.0,
        payable.0,
        after.0,
        through.0,
        record::kind_name(TransactionKind::SettlementClosed),
    )
    .fetch_one(conn)
    .await?;
    Ok(Sums {
        count: row.count,
        credited: center.amount(row.credited)?,
        returned: center.amount(row.returned)?,
    })
}

/// Up to `limit` of the same postings, oldest first.
pub(super) async fn lines(
    conn: &mut PgConnection,
    center: &Center,
    payable: AccountNo,
    (after, through): (Seq, Seq),
    from: Position,
    limit: i64,
) -> sqlx::Result<Vec<SettlementLine>> {
    let rows = sqlx::query!(
        r#"select p.seq, p.leg, p.amount, p.debit = $2 as "debited!", t.kind, t.recorded_at, t.effective_date,
                  e.seq as "settlement?"
           from posting p
           join journal_transaction t on t.center_id = p.center_id and t.seq = p.seq
           left join settlement_end e on e.center_id = p.center_id and e.end_seq = p.seq
           where p.center_id = $1 and (p.debit = $2 or p.credit = $2) and p.seq > $3 and p.seq <= $4 and t.kind <> $5
             and (p.seq, p.leg) > ($6, $7)
           order by p.seq, p.leg limit $8"#,
        center.no.0,
        payable.0,
        after.0,
        through.0,
        record::kind_name(TransactionKind::SettlementClosed),
        from.seq.0,
        from.leg,
        limit,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            let gained = center.amount(row.amount)?;
            Ok(SettlementLine {
                position: Position {
                    seq: Seq(row.seq),
                    leg: row.leg,
                },
                kind: record::kind_of(&row.kind),
                recorded_at: row.recorded_at,
                effective_date: row.effective_date,
                amount: if row.debited { gained.negated() } else { gained },
                settlement: row.settlement.map(Seq),
            })
        })
        .collect()
}

pub(super) async fn insert(conn: &mut PgConnection, center: CenterNo, row: &Row, date: Date) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into settlement (center_id, seq, vendor_id, through_date, after_seq, through_seq, total)
         values ($1, $2, $3, $4, $5, $6, $7)",
        center.0,
        row.seq.0,
        row.vendor.as_str(),
        date,
        row.after.0,
        row.through.0,
        row.total.value(),
    )
    .execute(conn)
    .await?;
    Ok(())
}

pub(super) async fn insert_end(
    conn: &mut PgConnection,
    center: CenterNo,
    settlement: Seq,
    end_seq: Seq,
    end: End,
    reference: &str,
    reason: &str,
) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into settlement_end (center_id, seq, end_seq, state, reference, reason) values ($1, $2, $3, $4, $5, $6)",
        center.0,
        settlement.0,
        end_seq.0,
        end.name(),
        reference,
        reason,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Up to `limit` settlements from a number down, of one vendor or of all.
pub(super) async fn list(
    db: impl PgExecutor<'_>,
    center: &Center,
    vendor: Option<&VendorId>,
    from: Seq,
    limit: i64,
) -> sqlx::Result<Vec<Row>> {
    let rows = sqlx::query!(
        r#"select s.seq, s.vendor_id, s.after_seq, s.through_seq, s.total, e.end_seq as "end_seq?", e.state as "state?"
           from settlement s left join settlement_end e on e.center_id = s.center_id and e.seq = s.seq
           where s.center_id = $1 and ($2::text is null or s.vendor_id = $2) and s.seq <= $3
           order by s.seq desc limit $4"#,
        center.no.0,
        vendor.map(VendorId::as_str),
        from.0,
        limit,
    )
    .fetch_all(db)
    .await?;
    rows.into_iter()
        .map(|row| {
            let end = row.end_seq.zip(row.state.as_deref().and_then(End::from_name));
            Ok(Row {
                seq: Seq(row.seq),
                vendor: VendorId::parse(&row.vendor_id).map_err(decoding)?,
                after: Seq(row.after_seq),
                through: Seq(row.through_seq),
                total: center.amount(row.total)?,
                end: end.map(|(seq, end)| (Seq(seq), end)),
            })
        })
        .collect()
}

/// One settlement.
pub(super) async fn get(db: impl PgExecutor<'_>, center: &Center, seq: Seq) -> sqlx::Result<Option<Row>> {
    let found = list(db, center, None, seq, 1).await?;
    Ok(found.into_iter().find(|row| row.seq == seq))
}
