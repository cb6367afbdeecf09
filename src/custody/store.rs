//! All SQL of this domain.

use std::collections::HashMap;

use rust_decimal::Decimal;
use sqlx::PgConnection;
use time::OffsetDateTime;

use super::{Admission, CenterProfile, Detainee, DetaineeState, Screening, Settings, Stay, room::Standing, spending};
use crate::{
    clock::Zone,
    db::decoding,
    ids::{AccountNo, CenterId, CenterNo, DetaineeId},
    ledger::{Center, Code, account},
    money::Currency,
};

fn stay_of(text: Option<String>) -> sqlx::Result<Option<Stay>> {
    text.map(|text| Stay::parse(&text).ok_or_else(|| sqlx::Error::Decode(format!("{text} is no stay").into())))
        .transpose()
}

fn state_of(name: &str) -> sqlx::Result<DetaineeState> {
    DetaineeState::from_name(name).ok_or_else(|| sqlx::Error::Decode(format!("unknown state {name}").into()))
}

pub(super) async fn center(conn: &mut PgConnection, id: &str) -> sqlx::Result<Option<Center>> {
    sqlx::query!(
        "select center_id, center_code, currency_code, time_zone from center where center_code = $1",
        id
    )
    .fetch_optional(conn)
    .await?
    .map(|row| center_of(row.center_id, &row.center_code, &row.currency_code, &row.time_zone))
    .transpose()
}

pub(super) async fn all_centers(conn: &mut PgConnection) -> sqlx::Result<Vec<Center>> {
    sqlx::query!("select center_id, center_code, currency_code, time_zone from center order by center_id")
        .fetch_all(conn)
        .await?
        .into_iter()
        .map(|row| center_of(row.center_id, &row.center_code, &row.currency_code, &row.time_zone))
        .collect()
}

fn center_of(no: i32, id: &str, currency: &str, zone: &str) -> sqlx::Result<Center> {
    Ok(Center {
        no: CenterNo(no),
        id: CenterId::parse(id).map_err(decoding)?,
        currency: Currency::parse(currency).map_err(decoding)?,
        zone: Zone::parse(zone).map_err(decoding)?,
    })
}

pub(super) async fn profile(conn: &mut PgConnection, id: &str) -> sqlx::Result<Option<CenterProfile>> {
    // The page after the id's predecessor would do, but a plain look-up says what it means.
    let Some(found) = center(conn, id).await? else {
        return Ok(None);
    };
    let row = sqlx::query!(
        "select name, name_zh, time_zone, created_at from center where center_id = $1",
        found.no.0
    )
    .fetch_one(&mut *conn)
    .await?;
    let settings = settings(conn, &found).await?;
    Ok(Some(CenterProfile {
        id: found.id,
        name: row.name,
        name_zh: row.name_zh,
        time_zone: row.time_zone,
        currency: found.currency,
        settings,
        created_at: row.created_at,
    }))
}

pub(super) async fn list_profiles(
    conn: &mut PgConnection,
    after: &str,
    limit: i64,
) -> sqlx::Result<Vec<CenterProfile>> {
    let ids = sqlx::query_scalar!(
        "select center_code from center where center_code > $1 order by center_code limit $2",
        after,
        limit,
    )
    .fetch_all(&mut *conn)
    .await?;
    let mut profiles = Vec::with_capacity(ids.len());
    for id in ids {
        profiles.extend(profile(conn, &id).await?);
    }
    Ok(profiles)
}

pub(super) async fn settings(conn: &mut PgConnection, center: &Center) -> sqlx::Result<Settings> {
    let amount = |value: Decimal| center.amount(value);
    let version = spending::store::versions(conn, center, None, 1)
        .await?
        .into_iter()
        .next();
    let version = version.ok_or_else(|| sqlx::Error::Decode("a center without rules of spending".into()))?;
    let row = sqlx::query!(
        "select remittance_amount_max, balance_cap, quote_ttl_s,
                payment_count_max, screening_payment_max, screening_payment_days, screening_payer_max,
                screening_detainee_max, screening_party_days, review_hours
         from center_settings where center_id = $1",
        center.no.0,
    )
    .fetch_one(conn)
    .await?;
    Ok(Settings {
        purchase_amount_max: version.purchase_amount_max,
        tier_limits: version.tier_limits,
        festival_bonus: version.festival_bonus,
        festival_months: version.festival_months,
        remittance_amount_max: amount(row.remittance_amount_max)?,
        balance_cap: amount(row.balance_cap)?,
        quote_ttl_s: row.quote_ttl_s,
        payment_count_max: row.payment_count_max,
        screening: Screening {
            payment_max: row.screening_payment_max,
            payment_days: row.screening_payment_days,
            payer_max: row.screening_payer_max,
            detainee_max: row.screening_detainee_max,
            party_days: row.screening_party_days,
            review_hours: row.review_hours,
        },
        spending: version.spending,
    })
}

pub(super) async fn insert_settings(
    conn: &mut PgConnection,
    center: CenterNo,
    settings: &Settings,
) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into center_settings (center_id, remittance_amount_max, balance_cap, quote_ttl_s, payment_count_max,
                                      screening_payment_max, screening_payment_days, screening_payer_max,
                                      screening_detainee_max, screening_party_days, review_hours)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
        center.0,
        settings.remittance_amount_max.value(),
        settings.balance_cap.value(),
        settings.quote_ttl_s,
        settings.payment_count_max,
        settings.screening.payment_max,
        settings.screening.payment_days,
        settings.screening.payer_max,
        settings.screening.detainee_max,
        settings.screening.party_days,
        settings.screening.review_hours,
    )
    .execute(&mut *conn)
    .await?;
    insert_tiers(conn, center, settings).await
}

pub(super) async fn update_settings(
    conn: &mut PgConnection,
    center: CenterNo,
    settings: &Settings,
) -> sqlx::Result<()> {
    sqlx::query!(
        "update center_settings
         set remittance_amount_max = $2, balance_cap = $3, quote_ttl_s = $4, payment_count_max = $5,
             screening_payment_max = $6, screening_payment_days = $7, screening_payer_max = $8,
             screening_detainee_max = $9, screening_party_days = $10, review_hours = $11
         where center_id = $1",
        center.0,
        settings.remittance_amount_max.value(),
        settings.balance_cap.value(),
        settings.quote_ttl_s,
        settings.payment_count_max,
        settings.screening.payment_max,
        settings.screening.payment_days,
        settings.screening.payer_max,
        settings.screening.detainee_max,
        settings.screening.party_days,
        settings.screening.review_hours,
    )
    .execute(&mut *conn)
    .await?;
    insert_tiers(conn, center, settings).await
}

/// Tiers are never taken away: detainees may stand in them.
async fn insert_tiers(conn: &mut PgConnection, center: CenterNo, settings: &Settings) -> sqlx::Result<()> {
    for tier in settings.tier_limits.keys() {
        sqlx::query!(
            "insert into tier_limit (center_id, tier) values ($1, $2) on conflict (center_id, tier) do nothing",
            center.0,
            tier,
        )
        .execute(&mut *conn)
        .await?;
    }
    Ok(())
}

pub(super) async fn tier_exists(conn: &mut PgConnection, center: CenterNo, tier: i16) -> sqlx::Result<bool> {
    let found = sqlx::query!(
        "select from tier_limit where center_id = $1 and tier = $2",
        center.0,
        tier
    )
    .fetch_optional(conn)
    .await?;
    Ok(found.is_some())
}

pub(super) async fn insert_detainee(
    conn: &mut PgConnection,
    center: CenterNo,
    admission: Admission,
    came_from: Option<&Stay>,
    at: OffsetDateTime,
) -> sqlx::Result<Detainee> {
    let codes = [Code::Available, Code::Held, Code::Savings, Code::Withheld];
    let owner = format!("detainees/{}", admission.id);
    let account_base = account::open_in_tx(conn, center, &codes, &owner, at).await?;
    let state = DetaineeState::Active;
    sqlx::query!(
        "insert into detainee (center_id, detainee_id, name, name_zh, state, tier, account_base, admitted_at,
                               birth_date, came_from)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        center.0,
        admission.id.as_str(),
        admission.name,
        admission.name_zh,
        state.name(),
        admission.tier,
        account_base.0,
        at,
        admission.birth_date,
        came_from.map(ToString::to_string),
    )
    .execute(conn)
    .await?;
    let Admission {
        id,
        name,
        name_zh,
        tier,
        birth_date,
    } = admission;
    Ok(Detainee {
        id,
        name,
        name_zh,
        state,
        tier,
        account_base,
        admitted_at: at,
        birth_date,
        is_convicted: false,
        went_to: None,
        came_from: came_from.cloned(),
    })
}

pub(super) async fn detainee(
    conn: &mut PgConnection,
    center: CenterNo,
    id: &DetaineeId,
) -> sqlx::Result<Option<Detainee>> {
    let row = sqlx::query!(
        r#"select name, name_zh, state, tier, account_base, admitted_at, birth_date, went_to, came_from,
                  coalesce((select s.is_convicted from legal_status s
                            where s.center_id = d.center_id and s.detainee_id = d.detainee_id
                            order by s.number desc limit 1), false) as "is_convicted!"
           from detainee d where center_id = $1 and detainee_id = $2"#,
        center.0,
        id.as_str(),
    )
    .fetch_optional(conn)
    .await?;
    row.map(|row| {
        Ok(Detainee {
            id: id.clone(),
            name: row.name,
            name_zh: row.name_zh,
            state: state_of(&row.state)?,
            tier: row.tier,
            account_base: AccountNo(row.account_base),
            admitted_at: row.admitted_at,
            birth_date: row.birth_date,
            is_convicted: row.is_convicted,
            went_to: stay_of(row.went_to)?,
            came_from: stay_of(row.came_from)?,
        })
    })
    .transpose()
}

/// Up to `limit` detainees with a custody number, however its letters are written, or with a name.
pub(super) async fn candidates(
    conn: &mut PgConnection,
    center: CenterNo,
    custody_number: &str,
    name: &str,
    limit: i64,
) -> sqlx::Result<Vec<Detainee>> {
    let ids = sqlx::query_scalar!(
        "select detainee_id from detainee
         where center_id = $1 and (lower(detainee_id) = lower($2) or $3 <> '' and (lower(name) = lower($3) or name_zh = $3))
         order by lower(detainee_id) <> lower($2), detainee_id limit $4",
        center.0,
        custody_number,
        name,
        limit,
    )
    .fetch_all(&mut *conn)
    .await?;
    let mut found = Vec::with_capacity(ids.len());
    for id in ids {
        let id = DetaineeId::parse(&id).map_err(decoding)?;
        found.extend(detainee(conn, center, &id).await?);
    }
    Ok(found)
}

pub(super) async fn list_detainees(
    conn: &mut PgConnection,
    center: CenterNo,
    after: &str,
    limit: i64,
) -> sqlx::Result<Vec<Detainee>> {
    sqlx::query!(
        r#"select detainee_id, name, name_zh, state, tier, account_base, admitted_at, birth_date, went_to, came_from,
                  coalesce((select s.is_convicted from legal_status s
                            where s.center_id = d.center_id and s.detainee_id = d.detainee_id
                            order by s.number desc limit 1), false) as "is_convicted!"
           from detainee d where center_id = $1 and detainee_id > $2 order by detainee_id limit $3"#,
        center.0,
        after,
        limit,
    )
    .fetch_all(conn)
    .await?
    .into_iter()
    .map(|row| {
        Ok(Detainee {
            id: DetaineeId::parse(&row.detainee_id).map_err(decoding)?,
            name: row.name,
            name_zh: row.name_zh,
            state: state_of(&row.state)?,
            tier: row.tier,
            account_base: AccountNo(row.account_base),
            admitted_at: row.admitted_at,
            birth_date: row.birth_date,
            is_convicted: row.is_convicted,
            went_to: stay_of(row.went_to)?,
            came_from: stay_of(row.came_from)?,
        })
    })
    .collect()
}

pub(super) async fn standings(
    conn: &mut PgConnection,
    center: CenterNo,
    ids: &[DetaineeId],
) -> sqlx::Result<HashMap<String, Standing>> {
    let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
    sqlx::query!(
        r#"select d.detainee_id, d.state, d.tier, d.account_base,
                  coalesce((select s.is_convicted from legal_status s
                            where s.center_id = d.center_id and s.detainee_id = d.detainee_id
                            order by s.number desc limit 1), false) as "is_convicted!"
           from unnest($2::text[]) k (detainee_id),
                lateral (select * from detainee where center_id = $1 and detainee_id = k.detainee_id offset 0) d"#,
        center.0,
        &ids,
    )
    .fetch_all(conn)
    .await?
    .into_iter()
    .map(|row| {
        let standing = Standing {
            state: state_of(&row.state)?,
            tier: row.tier,
            account_base: AccountNo(row.account_base),
            is_convicted: row.is_convicted,
        };
        Ok((row.detainee_id, standing))
    })
    .collect()
}

pub(super) async fn set_state(
    conn: &mut PgConnection,
    center: CenterNo,
    id: &DetaineeId,
    state: DetaineeState,
) -> sqlx::Result<()> {
    sqlx::query!(
        "update detainee set state = $3 where center_id = $1 and detainee_id = $2",
        center.0,
        id.as_str(),
        state.name(),
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// A detainee has moved.
pub(super) async fn set_went_to(
    conn: &mut PgConnection,
    center: CenterNo,
    id: &DetaineeId,
    stay: &Stay,
) -> sqlx::Result<()> {
    sqlx::query!(
        "update detainee set state = $3, went_to = $4 where center_id = $1 and detainee_id = $2",
        center.0,
        id.as_str(),
        DetaineeState::Transferred.name(),
        stay.to_string(),
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Adds to the history of a detainee's legal status.
pub(super) async fn insert_legal_status(
    conn: &mut PgConnection,
    center: CenterNo,
    id: &DetaineeId,
    is_convicted: bool,
    document: &str,
    at: OffsetDateTime,
    by: &str,
) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into legal_status (center_id, detainee_id, number, is_convicted, document, changed_at, changed_by)
         select $1, $2, coalesce(max(number), 0) + 1, $3, $4, $5, $6 from legal_status
         where center_id = $1 and detainee_id = $2",
        center.0,
        id.as_str(),
        is_convicted,
        document,
        at,
        by,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The stay after one, if there is one.
pub(super) async fn later_stay(
    conn: &mut PgConnection,
    center: CenterNo,
    former: &DetaineeId,
) -> sqlx::Result<Option<String>> {
    sqlx::query_scalar!(
        "select detainee_id from stay where center_id = $1 and former_id = $2",
        center.0,
        former.as_str(),
    )
    .fetch_optional(conn)
    .await
}

/// Links a stay to the one before it.
pub(super) async fn insert_stay(
    conn: &mut PgConnection,
    center: CenterNo,
    (id, former): (&DetaineeId, &DetaineeId),
    document: &str,
    (at, by): (OffsetDateTime, &str),
) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into stay (center_id, detainee_id, former_id, document, recorded_at, recorded_by)
         values ($1, $2, $3, $4, $5, $6)",
        center.0,
        id.as_str(),
        former.as_str(),
        document,
        at,
        by,
    )
    .execute(conn)
    .await?;
    Ok(())
}
