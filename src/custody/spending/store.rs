//! The SQL of the rules of spending: versions, of which the last holds.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use sqlx::PgConnection;
use time::OffsetDateTime;

use super::{SpendingRules, TierWindows};
use crate::{
    custody::{Category, Settings, SpendingVersion},
    ids::{CenterNo, Seq},
    ledger::Center,
    money::Amount,
};

/// Up to `limit` versions before one, newest first.
pub(in crate::custody) async fn versions(
    conn: &mut PgConnection,
    center: &Center,
    before: Option<i64>,
    limit: i64,
) -> sqlx::Result<Vec<SpendingVersion>> {
    let rows = sqlx::query!(
        "select version, after_seq, purchase_amount_max, festival_bonus, festival_months, exempt_categories, grant_below,
                grant_days, changed_at, changed_by
         from spending_rules where center_id = $1 and version < $2 order by version desc limit $3",
        center.no.0,
        before.unwrap_or(i64::MAX),
        limit,
    )
    .fetch_all(&mut *conn)
    .await?;
    let numbers: Vec<i64> = rows.iter().map(|row| row.version).collect();
    let mut tiers = tiers(conn, center, &numbers).await?;
    let mut found = Vec::with_capacity(rows.len());
    for row in rows {
        let (tier_limits, windows) = tiers.remove(&row.version).unwrap_or_default();
        let exempt = row.exempt_categories.iter().map(|name| category(name));
        found.push(SpendingVersion {
            version: row.version,
            after: Seq(row.after_seq),
            purchase_amount_max: center.amount(row.purchase_amount_max)?,
            tier_limits,
            festival_bonus: center.amount(row.festival_bonus)?,
            festival_months: row.festival_months,
            spending: SpendingRules {
                tiers: windows,
                exempt: exempt.collect::<sqlx::Result<_>>()?,
                grant_below: center.amount(row.grant_below)?,
                grant_days: row.grant_days,
            },
            changed_at: row.changed_at,
            changed_by: row.changed_by,
        });
    }
    Ok(found)
}

/// The month's limit of each tier, and the others.
type Tiers = (BTreeMap<i16, Amount>, BTreeMap<i16, TierWindows>);

async fn tiers(conn: &mut PgConnection, center: &Center, versions: &[i64]) -> sqlx::Result<BTreeMap<i64, Tiers>> {
    let rows = sqlx::query!(
        "select version, tier, order_max, day_max, week_max, month_max from spending_rules_tier
         where center_id = $1 and version = any($2) order by version, tier",
        center.no.0,
        versions,
    )
    .fetch_all(conn)
    .await?;
    let mut found: BTreeMap<i64, Tiers> = BTreeMap::new();
    let amount = |value: Option<Decimal>| value.map(|value| center.amount(value)).transpose();
    for row in rows {
        let (months, windows) = found.entry(row.version).or_default();
        months.insert(row.tier, center.amount(row.month_max)?);
        let of_tier = TierWindows {
            order: amount(row.order_max)?,
            day: amount(row.day_max)?,
            week: amount(row.week_max)?,
        };
        if of_tier != TierWindows::default() {
            windows.insert(row.tier, of_tier);
        }
    }
    Ok(found)
}

fn category(name: &str) -> sqlx::Result<Category> {
    Category::from_name(name).ok_or_else(|| sqlx::Error::Decode(format!("unknown category {name}").into()))
}

/// The number of the last version.
pub(in crate::custody) async fn last_version(conn: &mut PgConnection, center: CenterNo) -> sqlx::Result<i64> {
    sqlx::query_scalar!(
        r#"select coalesce(max(version), 0) as "version!" from spending_rules where center_id = $1"#,
        center.0
    )
    .fetch_one(conn)
    .await
}

/// Writes a version down. The caller holds the journal's head, and every tier of the rules exists.
pub(in crate::custody) async fn insert(
    conn: &mut PgConnection,
    center: CenterNo,
    settings: &Settings,
    (version, after): (i64, Seq),
    (at, by): (OffsetDateTime, &str),
) -> sqlx::Result<()> {
    let spending = &settings.spending;
    let exempt: Vec<String> = spending
        .exempt
        .iter()
        .map(|category| category.name().to_owned())
        .collect();
    sqlx::query!(
        "insert into spending_rules (center_id, version, after_seq, purchase_amount_max, festival_bonus, festival_months,
                                     exempt_categories, grant_below, grant_days, changed_at, changed_by)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
        center.0,
        version,
        after.0,
        settings.purchase_amount_max.value(),
        settings.festival_bonus.value(),
        &settings.festival_months,
        &exempt,
        spending.grant_below.value(),
        spending.grant_days,
        at,
        by,
    )
    .execute(&mut *conn)
    .await?;
    for (tier, month) in &settings.tier_limits {
        let windows = spending.of(*tier);
        sqlx::query!(
            "insert into spending_rules_tier (center_id, version, tier, order_max, day_max, week_max, month_max)
             values ($1, $2, $3, $4, $5, $6, $7)",
            center.0,
            version,
            tier,
            windows.order.map(Amount::value),
            windows.day.map(Amount::value),
            windows.week.map(Amount::value),
            month.value(),
        )
        .execute(&mut *conn)
        .await?;
    }
    Ok(())
}
