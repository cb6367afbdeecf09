//! All SQL of this domain.

use sqlx::{PgConnection, PgExecutor};
use time::Date;

use super::entity::{End, Row, SettlementLine, Sums};
use crate::{
    commissary::Vendor,
    db::decoding,
    ids::{AccountNo, CenterNo, Seq, VendorId},
    ledger::{Center, chart, record, statement::Position},
    money::Amount,
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

/// The settlement that closed a business date of a vendor, if one did.
pub(super) async fn of_date(
    conn: &mut PgConnection,
    center: CenterNo,
    vendor: &VendorId,
    date: Date,
) -> sqlx::Result<Option<Seq>> {
    let seq = sqlx::query_scalar!(
        "select seq from settlement where center_id = $1 and vendor_id = $2 and through_date = $3 order by seq limit 1",
        center.0,
        vendor.as_str(),
        date,
    )
    .fetch_optional(conn)
    .await?;
    Ok(seq.map(Seq))
}

/// The sums of a vendor's postings in a range, but for those that closed settlements: they go into transit, or are commission.
///
/// One aggregate over the posting indexes, whatever the number of lines; the other account tells what a posting is, so that no
/// record is looked at.
pub(super) async fn sums(
    conn: &mut PgConnection,
    center: &Center,
    vendor: &Vendor,
    after: Seq,
    through: Seq,
) -> sqlx::Result<Sums> {
    let row = sqlx::query!(
        r#"select count(*)::integer as "count!", coalesce(sum(amount) filter (where is_credit), 0) as "credited!",
                  coalesce(sum(amount) filter (where not is_credit), 0) as "returned!",
                  coalesce(sum(amount) filter (where is_credit and other = $5), 0) as "put_back!"
           from (select amount, true as is_credit, debit as other from posting
                 where center_id = $1 and credit = $2 and seq > $3 and seq <= $4 and debit <> $6
                 union all
                 select amount, false, credit from posting
                 where center_id = $1 and debit = $2 and seq > $3 and seq <= $4 and credit not in ($5, $6)) p"#,
        center.no.0,
        vendor.payable_no.0,
        after.0,
        through.0,
        vendor.transit_no.0,
        chart::OTHER_INCOME.0,
    )
    .fetch_one(conn)
    .await?;
    Ok(Sums {
        count: row.count,
        credited: center.amount(row.credited)?,
        returned: center.amount(row.returned)?,
        put_back: center.amount(row.put_back)?,
    })
}

/// The most postings of a vendor's account in one transaction that closes a settlement.
const CLOSING_POSTINGS: i64 = 2;

/// Up to `limit` of the same postings, oldest first. The indexes are read from where the page begins, so that the last page of
/// a million lines costs what the first does.
pub(super) async fn lines(
    conn: &mut PgConnection,
    center: &Center,
    payable: AccountNo,
    (after, through): (Seq, Seq),
    from: Position,
    limit: i64,
) -> sqlx::Result<Vec<SettlementLine>> {
    let rows = sqlx::query!(
        r#"select p.seq as "seq!", p.leg as "leg!", p.amount as "amount!", p.debit = $2 as "debited!", t.kind, t.recorded_at, t.effective_date,
                  e.seq as "settlement?"
           from (
             (select seq, leg, amount, debit, credit from posting
              where center_id = $1 and debit = $2 and seq > $3 and seq <= $4 and (seq, leg) > ($6, $7)
              order by seq, leg limit $9)
             union all
             (select seq, leg, amount, debit, credit from posting
              where center_id = $1 and credit = $2 and seq > $3 and seq <= $4 and (seq, leg) > ($6, $7)
              order by seq, leg limit $9)) p
           join journal_transaction t on t.center_id = $1 and t.seq = p.seq
           left join settlement_end e on e.center_id = $1 and e.end_seq = p.seq
           where t.kind <> $5
           order by p.seq, p.leg limit $8"#,
        center.no.0,
        payable.0,
        after.0,
        through.0,
        record::kind_name(TransactionKind::SettlementClosed),
        from.seq.0,
        from.leg,
        limit,
        // The two postings of the closing transaction are no lines.
        limit.saturating_add(CLOSING_POSTINGS),
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
        "insert into settlement (center_id, seq, vendor_id, through_date, after_seq, through_seq, total, commission)
         values ($1, $2, $3, $4, $5, $6, $7, $8)",
        center.0,
        row.seq.0,
        row.vendor.as_str(),
        date,
        row.after.0,
        row.through.0,
        row.total.value(),
        row.commission.value(),
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

/// Who else allowed that a payment in a file was taken back.
pub(super) async fn insert_failure(
    conn: &mut PgConnection,
    center: CenterNo,
    end_to_end_id: &str,
    approval: i64,
    end: Seq,
) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into payment_failure (center_id, end_to_end_id, approval_no, end_seq) values ($1, $2, $3, $4)",
        center.0,
        end_to_end_id,
        approval,
        end.0,
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
        r#"select s.seq, s.vendor_id, s.after_seq, s.through_seq, s.commission, s.total, e.end_seq as "end_seq?",
                  e.state as "state?", a.approval_no as "approval_no?", f.file_no as "file_no?",
                  f.end_to_end_id as "end_to_end_id?"
           from settlement s
           left join settlement_end e on e.center_id = s.center_id and e.seq = s.seq
           left join settlement_approval a on a.center_id = s.center_id and a.seq = s.seq
           left join settlement_sent f on f.center_id = s.center_id and f.seq = s.seq
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
                commission: center.amount(row.commission)?,
                total: center.amount(row.total)?,
                approval: row.approval_no,
                file: row.file_no,
                end_to_end_id: row.end_to_end_id,
                end: end.map(|(seq, end)| (Seq(seq), end)),
            })
        })
        .collect()
}

/// The settlements that are allowed to be paid, in transit and in no file, oldest first.
pub(super) async fn payable(conn: &mut PgConnection, center: &Center, limit: i64) -> sqlx::Result<Vec<Seq>> {
    let seqs = sqlx::query_scalar!(
        "select a.seq from settlement_approval a
         left join settlement_end e on e.center_id = a.center_id and e.seq = a.seq
         left join settlement_sent f on f.center_id = a.center_id and f.seq = a.seq
         where a.center_id = $1 and e.seq is null and f.seq is null order by a.seq limit $2",
        center.no.0,
        limit,
    )
    .fetch_all(conn)
    .await?;
    Ok(seqs.into_iter().map(Seq).collect())
}

/// What of a vendor is in transit by the settlements that have not ended.
pub(super) async fn in_transit(conn: &mut PgConnection, center: &Center, vendor: &VendorId) -> sqlx::Result<Amount> {
    let sum = sqlx::query_scalar!(
        r#"select coalesce(sum(s.total), 0) as "sum!" from settlement s
           left join settlement_end e on e.center_id = s.center_id and e.seq = s.seq
           where s.center_id = $1 and s.vendor_id = $2 and e.seq is null"#,
        center.no.0,
        vendor.as_str(),
    )
    .fetch_one(conn)
    .await?;
    center.amount(sum)
}

/// Writes down what allowed a settlement, unless it is there.
pub(super) async fn insert_approval(
    conn: &mut PgConnection,
    center: CenterNo,
    settlement: Seq,
    approval: i64,
) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into settlement_approval (center_id, seq, approval_no) values ($1, $2, $3)
         on conflict (center_id, seq) do nothing",
        center.0,
        settlement.0,
        approval,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// One settlement.
pub(super) async fn get(db: impl PgExecutor<'_>, center: &Center, seq: Seq) -> sqlx::Result<Option<Row>> {
    let found = list(db, center, None, seq, 1).await?;
    Ok(found.into_iter().find(|row| row.seq == seq))
}
