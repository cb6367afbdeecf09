//! The SQL of measures.

use std::collections::HashMap;

use rust_decimal::Decimal;
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{Measure, MeasureEnd, MeasureKind};
use crate::{
    commissary::{Category, Window, store::category_of},
    db::decoding,
    ids::{CenterNo, DetaineeId, RequestId},
    ledger::Center,
};

struct Row {
    measure_no: i64,
    detainee_id: String,
    kind: String,
    window_name: Option<String>,
    amount: Option<Decimal>,
    categories: Vec<String>,
    document: String,
    renews: Option<i64>,
    starts_at: OffsetDateTime,
    ends_at: OffsetDateTime,
    reason: String,
    created_at: OffsetDateTime,
    created_by: String,
    approval_no: Option<i64>,
    ended_at: Option<OffsetDateTime>,
    ended_by: Option<String>,
    end_reason: Option<String>,
    end_approval: Option<i64>,
}

fn measure_of(row: Row, center: &Center) -> sqlx::Result<Measure> {
    let unknown = |what: &str| sqlx::Error::Decode(format!("measure {}: unknown {what}", row.measure_no).into());
    let kind = match row.kind.as_str() {
        "OVERRIDE" => MeasureKind::Override {
            window: row
                .window_name
                .as_deref()
                .and_then(Window::from_name)
                .ok_or_else(|| unknown("window"))?,
            amount: center.amount(row.amount.ok_or_else(|| unknown("amount"))?)?,
        },
        "FREEZE" => MeasureKind::Freeze { renews: row.renews },
        "RESTRICTION" => MeasureKind::Restriction {
            categories: row
                .categories
                .iter()
                .map(|name| category_of(name))
                .collect::<sqlx::Result<_>>()?,
        },
        _ => return Err(unknown("kind")),
    };
    let end = match (row.ended_at, row.ended_by, row.end_reason) {
        (Some(at), Some(by), Some(reason)) => Some(MeasureEnd {
            at,
            by,
            reason,
            approval: row.end_approval,
        }),
        _ => None,
    };
    Ok(Measure {
        no: row.measure_no,
        detainee: DetaineeId::parse(&row.detainee_id).map_err(decoding)?,
        kind,
        document: row.document,
        reason: row.reason,
        starts_at: row.starts_at,
        ends_at: row.ends_at,
        created_at: row.created_at,
        created_by: row.created_by,
        approval: row.approval_no,
        end,
    })
}

/// The measures of some detainees that may still hold: those that end after the journal's last transaction.
pub(in crate::commissary) async fn open_of(
    conn: &mut PgConnection,
    center: &Center,
    ids: &[DetaineeId],
) -> sqlx::Result<HashMap<String, Vec<Measure>>> {
    let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
    let rows = sqlx::query_as!(
        Row,
        r#"select m.measure_no, m.detainee_id, m.kind, m.window_name, m.amount, m.categories, m.document, m.renews,
                  m.starts_at, m.ends_at, m.reason, m.created_at, m.created_by, m.approval_no,
                  e.ended_at as "ended_at?", e.ended_by as "ended_by?", e.reason as "end_reason?",
                  e.approval_no as end_approval
           from unnest($2::text[]) k (detainee_id),
                lateral (select * from spending_measure where center_id = $1 and detainee_id = k.detainee_id
                         and ends_at > (select recorded_at from journal_head where center_id = $1) offset 0) m
                left join spending_measure_end e on e.center_id = $1 and e.measure_no = m.measure_no"#,
        center.no.0,
        &ids,
    )
    .fetch_all(conn)
    .await?;
    let mut found: HashMap<String, Vec<Measure>> = HashMap::new();
    for row in rows {
        let measure = measure_of(row, center)?;
        found.entry(measure.detainee.to_string()).or_default().push(measure);
    }
    Ok(found)
}

/// Up to `limit` measures before a number, newest first; of one detainee or of all.
pub(super) async fn list(
    conn: &mut PgConnection,
    center: &Center,
    detainee: Option<&DetaineeId>,
    before: i64,
    limit: i64,
) -> sqlx::Result<Vec<Measure>> {
    let rows = sqlx::query_as!(
        Row,
        r#"select m.measure_no, m.detainee_id, m.kind, m.window_name, m.amount, m.categories, m.document, m.renews,
                  m.starts_at, m.ends_at, m.reason, m.created_at, m.created_by, m.approval_no,
                  e.ended_at as "ended_at?", e.ended_by as "ended_by?", e.reason as "end_reason?",
                  e.approval_no as end_approval
           from spending_measure m
           left join spending_measure_end e on e.center_id = m.center_id and e.measure_no = m.measure_no
           where m.center_id = $1 and m.measure_no < $2 and ($3::text is null or m.detainee_id = $3)
           order by m.measure_no desc limit $4"#,
        center.no.0,
        before,
        detainee.map(DetaineeId::as_str),
        limit,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(|row| measure_of(row, center)).collect()
}

pub(super) async fn get(conn: &mut PgConnection, center: &Center, no: i64) -> sqlx::Result<Option<Measure>> {
    let found = list(conn, center, None, no.saturating_add(1), 1).await?;
    Ok(found.into_iter().find(|measure| measure.no == no))
}

/// The measure that an approval, or a request, has made.
pub(super) async fn made_by(
    conn: &mut PgConnection,
    center: &Center,
    request: RequestId,
) -> sqlx::Result<Option<Measure>> {
    let no = sqlx::query_scalar!(
        "select measure_no from spending_measure where center_id = $1 and request_id = $2",
        center.no.0,
        request.0,
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
    sqlx::query_scalar!(
        r#"select coalesce(max(measure_no), 0) + 1 as "next!" from spending_measure where center_id = $1"#,
        center.0
    )
    .fetch_one(conn)
    .await
}

pub(super) async fn insert(
    conn: &mut PgConnection,
    center: CenterNo,
    measure: &Measure,
    request: Uuid,
) -> sqlx::Result<()> {
    let (window, amount) = match &measure.kind {
        MeasureKind::Override { window, amount } => (Some(window.name()), Some(amount.value())),
        _ => (None, None),
    };
    let categories: Vec<String> = match &measure.kind {
        MeasureKind::Restriction { categories } => {
            categories.iter().map(|kind| Category::name(*kind).to_owned()).collect()
        }
        _ => Vec::new(),
    };
    let renews = match measure.kind {
        MeasureKind::Freeze { renews } => renews,
        _ => None,
    };
    sqlx::query!(
        "insert into spending_measure (center_id, measure_no, detainee_id, kind, window_name, amount, categories, document,
                                       renews, starts_at, ends_at, reason, created_at, created_by, request_id, approval_no)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)",
        center.0,
        measure.no,
        measure.detainee.as_str(),
        measure.kind.name(),
        window,
        amount,
        &categories,
        measure.document,
        renews,
        measure.starts_at,
        measure.ends_at,
        measure.reason,
        measure.created_at,
        measure.created_by,
        request,
        measure.approval,
    )
    .execute(conn)
    .await?;
    Ok(())
}

pub(super) async fn insert_end(
    conn: &mut PgConnection,
    center: CenterNo,
    measure: &Measure,
    end: &MeasureEnd,
) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into spending_measure_end (center_id, measure_no, kind, ended_at, ended_by, reason, approval_no)
         values ($1, $2, $3, $4, $5, $6, $7)",
        center.0,
        measure.no,
        measure.kind.name(),
        end.at,
        end.by,
        end.reason,
        end.approval,
    )
    .execute(conn)
    .await?;
    Ok(())
}
