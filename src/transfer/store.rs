//! All SQL of this domain.

use rust_decimal::Decimal;
use sqlx::PgConnection;
use time::OffsetDateTime;

use super::entity::{Direction, TransferRow, Withholding, WithholdingEnd};
use crate::{
    db::decoding,
    ids::{CenterId, CenterNo, DetaineeId, Seq},
    ledger::Center,
    money::Amount,
};

pub(super) async fn insert_transfer(conn: &mut PgConnection, center: CenterNo, row: &TransferRow) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into transfer (center_id, seq, direction, detainee_id, other_center, other_detainee, other_seq, document,
                               amount, approval_no, moved_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
        center.0,
        row.seq.0,
        row.direction.name(),
        row.detainee.as_str(),
        row.other_center.as_str(),
        row.other_detainee.as_str(),
        row.other_seq.0,
        row.document,
        row.amount.value(),
        row.approval,
        row.moved_at,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Up to `limit` transfers before a number, newest first.
pub(super) async fn transfers(
    conn: &mut PgConnection,
    center: &Center,
    before: Option<Seq>,
    limit: i64,
) -> sqlx::Result<Vec<TransferRow>> {
    let rows = sqlx::query!(
        "select seq, direction, detainee_id, other_center, other_detainee, other_seq, document, amount, approval_no, moved_at
         from transfer where center_id = $1 and seq < $2 order by seq desc limit $3",
        center.no.0,
        before.map_or(i64::MAX, |seq| seq.0),
        limit,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            let direction = Direction::from_name(&row.direction);
            Ok(TransferRow {
                seq: Seq(row.seq),
                direction: direction.ok_or_else(|| sqlx::Error::Decode("unknown direction".into()))?,
                detainee: DetaineeId::parse(&row.detainee_id).map_err(decoding)?,
                other_center: CenterId::parse(&row.other_center).map_err(decoding)?,
                other_detainee: DetaineeId::parse(&row.other_detainee).map_err(decoding)?,
                other_seq: Seq(row.other_seq),
                document: row.document,
                amount: center.amount(row.amount)?,
                approval: row.approval_no,
                moved_at: row.moved_at,
            })
        })
        .collect()
}

pub(super) async fn transfer(conn: &mut PgConnection, center: &Center, seq: Seq) -> sqlx::Result<Option<TransferRow>> {
    let found = transfers(conn, center, Some(seq.next()), 1).await?;
    Ok(found.into_iter().find(|row| row.seq == seq))
}

/// The transfer by which a detainee left, if they did.
pub(super) async fn left(
    conn: &mut PgConnection,
    center: &Center,
    detainee: &DetaineeId,
) -> sqlx::Result<Option<TransferRow>> {
    let seq = sqlx::query_scalar!(
        "select seq from transfer where center_id = $1 and detainee_id = $2 and direction = 'OUT'",
        center.no.0,
        detainee.as_str(),
    )
    .fetch_optional(&mut *conn)
    .await?;
    match seq {
        Some(seq) => transfer(conn, center, Seq(seq)).await,
        None => Ok(None),
    }
}

pub(super) async fn insert_withholding(
    conn: &mut PgConnection,
    center: CenterNo,
    row: &Withholding,
) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into withholding (center_id, seq, detainee_id, document, amount, until_at, recorded_at, approval_no,
                                  transfer_seq)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        center.0,
        row.seq.0,
        row.detainee.as_str(),
        row.document,
        row.amount.value(),
        row.until,
        row.recorded_at,
        row.approval,
        row.transfer.map(|seq| seq.0),
    )
    .execute(conn)
    .await?;
    Ok(())
}

pub(super) async fn insert_withholding_end(
    conn: &mut PgConnection,
    center: CenterNo,
    withholding: Seq,
    end: &WithholdingEnd,
) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into withholding_end (center_id, seq, end_seq, state, paid, approval_no) values ($1, $2, $3, $4, $5, $6)",
        center.0,
        withholding.0,
        end.seq.0,
        end.state_name(),
        end.paid.value(),
        end.approval,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Which withholdings a list shows.
#[derive(Debug, Clone, Default)]
pub struct WithholdingFilter {
    /// Only those of this detainee.
    pub detainee: Option<DetaineeId>,
    /// Only those that have not ended.
    pub open: bool,
    /// Only those before this number.
    pub before: Option<Seq>,
}

/// Up to `limit` withholdings, newest first.
pub(super) async fn withholdings(
    conn: &mut PgConnection,
    center: &Center,
    filter: &WithholdingFilter,
    limit: i64,
) -> sqlx::Result<Vec<Withholding>> {
    let rows = sqlx::query_as!(
        WithholdingRow,
        r#"select w.seq, w.detainee_id, w.document, w.amount, w.until_at, w.recorded_at, w.approval_no, w.transfer_seq,
                  e.end_seq as "end_seq?", e.state as "state?", e.paid as "paid?", e.approval_no as "end_approval?"
           from withholding w left join withholding_end e on e.center_id = w.center_id and e.seq = w.seq
           where w.center_id = $1 and ($2::text is null or w.detainee_id = $2) and w.seq < $3
             and (not $4 or e.seq is null)
           order by w.seq desc limit $5"#,
        center.no.0,
        filter.detainee.as_ref().map(DetaineeId::as_str),
        filter.before.map_or(i64::MAX, |seq| seq.0),
        filter.open,
        limit,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(|row| row.read(center)).collect()
}

pub(super) async fn withholding(
    conn: &mut PgConnection,
    center: &Center,
    seq: Seq,
) -> sqlx::Result<Option<Withholding>> {
    let filter = WithholdingFilter {
        before: Some(seq.next()),
        ..WithholdingFilter::default()
    };
    let found = withholdings(conn, center, &filter, 1).await?;
    Ok(found.into_iter().find(|row| row.seq == seq))
}

struct WithholdingRow {
    seq: i64,
    detainee_id: String,
    document: String,
    amount: Decimal,
    until_at: OffsetDateTime,
    recorded_at: OffsetDateTime,
    approval_no: Option<i64>,
    transfer_seq: Option<i64>,
    end_seq: Option<i64>,
    state: Option<String>,
    paid: Option<Decimal>,
    end_approval: Option<i64>,
}

impl WithholdingRow {
    fn read(self, center: &Center) -> sqlx::Result<Withholding> {
        let end = match (self.end_seq, self.state) {
            (Some(seq), Some(state)) => Some(WithholdingEnd {
                seq: Seq(seq),
                has_moved: state == WithholdingEnd::MOVED,
                paid: self
                    .paid
                    .map_or(Ok(Amount::zero(center.currency)), |paid| center.amount(paid))?,
                approval: self.end_approval,
            }),
            _ => None,
        };
        Ok(Withholding {
            seq: Seq(self.seq),
            detainee: DetaineeId::parse(&self.detainee_id).map_err(decoding)?,
            document: self.document,
            amount: center.amount(self.amount)?,
            until: self.until_at,
            recorded_at: self.recorded_at,
            approval: self.approval_no,
            transfer: self.transfer_seq.map(Seq),
            end,
        })
    }
}
