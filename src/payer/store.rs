//! The SQL of payers, their identities and accounts.

use std::collections::HashMap;

use sqlx::PgConnection;
use time::OffsetDateTime;

use super::{
    entity::{LinkState, Payer, PaymentAccount, Phone, Revocation, Standing},
    identity::{DocumentKind, PhoneNumber},
    vault::{Hashed, Sealed},
};
use crate::{
    db::decoding,
    ids::{CenterNo, DetaineeId, PayerId},
};

/// The space of advisory locks on payers; the first of a pair of numbers.
const PAYER_LOCKS: i32 = 7444;

/// What is stored is not what it must be.
#[derive(Debug, thiserror::Error)]
#[error("{0} holds something that is none")]
struct Unreadable(&'static str);

pub(super) fn unreadable(what: &'static str) -> sqlx::Error {
    decoding(Unreadable(what))
}

/// Keeps everybody else who writes about the payer waiting until the transaction ends. Payers whose hashes meet wait for each
/// other in vain, which harms nothing.
pub(super) async fn lock(conn: &mut PgConnection, center: CenterNo, payer: &PayerId) -> sqlx::Result<()> {
    sqlx::query!(
        "select pg_advisory_xact_lock($1, hashtext($2::int::text || '/' || $3))",
        PAYER_LOCKS,
        center.0,
        payer.as_str(),
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Writes a payer down; false if the id is taken.
pub(super) async fn insert_payer(conn: &mut PgConnection, center: CenterNo, payer: &Payer) -> sqlx::Result<bool> {
    let done = sqlx::query!(
        "insert into payer (center_id, payer_id, name, created_at, registered_by) values ($1, $2, $3, $4, $5)
         on conflict do nothing",
        center.0,
        payer.id.as_str(),
        payer.name,
        payer.created_at,
        payer.registered_by,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Up to `limit` payers from `from` on, in the order of their ids; `from` itself only when `inclusive`.
pub(super) async fn payers(
    conn: &mut PgConnection,
    center: CenterNo,
    from: &str,
    inclusive: bool,
    limit: i64,
) -> sqlx::Result<Vec<Payer>> {
    let rows = sqlx::query!(
        r#"select p.payer_id, p.name, p.created_at, p.registered_by,
                  i.kind as "kind?", i.key_id as "key_id?", i.sealed as "sealed?",
                  f.position as "position?", f.phone as "phone?", v.at as "verified_at?",
                  r.at as "revoked_at?", r.actor as "revoked_by?", r.reason as "revoked_why?"
           from payer p
           left join payer_identity i on i.center_id = p.center_id and i.payer_id = p.payer_id
           left join lateral (
               select position, phone from payer_phone
               where center_id = p.center_id and payer_id = p.payer_id order by position desc limit 1) f on true
           left join payer_phone_verification v
               on v.center_id = p.center_id and v.payer_id = p.payer_id and v.position = f.position
           left join payer_revocation r on r.center_id = p.center_id and r.payer_id = p.payer_id
           where p.center_id = $1 and p.payer_id >= $2 and ($3 or p.payer_id > $2) order by p.payer_id limit $4"#,
        center.0,
        from,
        inclusive,
        limit,
    )
    .fetch_all(&mut *conn)
    .await?;
    let ids: Vec<String> = rows.iter().map(|row| row.payer_id.clone()).collect();
    let mut accounts = accounts(conn, center, &ids).await?;
    rows.into_iter()
        .map(|row| {
            let identity = match (row.kind, row.key_id, row.sealed) {
                (Some(kind), Some(key_id), Some(bytes)) => Some(Sealed {
                    kind: DocumentKind::from_name(&kind).ok_or_else(|| unreadable("payer_identity"))?,
                    key_id,
                    bytes,
                }),
                _ => None,
            };
            let phone = match (row.position, row.phone) {
                (Some(position), Some(phone)) => Some(Phone {
                    number: PhoneNumber::parse(&phone).map_err(decoding)?,
                    position,
                    verified_at: row.verified_at,
                }),
                _ => None,
            };
            let revoked = match (row.revoked_at, row.revoked_by, row.revoked_why) {
                (Some(at), Some(actor), Some(reason)) => Some(Revocation { at, actor, reason }),
                _ => None,
            };
            Ok(Payer {
                accounts: accounts.remove(&row.payer_id).unwrap_or_default(),
                id: PayerId::parse(&row.payer_id).map_err(decoding)?,
                name: row.name,
                created_at: row.created_at,
                registered_by: row.registered_by,
                identity,
                phone,
                revoked,
            })
        })
        .collect()
}

pub(super) async fn payer(conn: &mut PgConnection, center: CenterNo, id: &PayerId) -> sqlx::Result<Option<Payer>> {
    let found = payers(conn, center, id.as_str(), true, 1).await?;
    Ok(found.into_iter().find(|payer| payer.id == *id))
}

async fn accounts(
    conn: &mut PgConnection,
    center: CenterNo,
    payers: &[String],
) -> sqlx::Result<HashMap<String, Vec<PaymentAccount>>> {
    let rows = sqlx::query!(
        r#"select a.payer_id, a.slot, a.turn, a.channel, a.account, a.at, r.turn is not null as "is_removed!"
           from payer_account_leg a
           left join payer_account_leg r on r.center_id = a.center_id and r.payer_id = a.payer_id and r.slot = a.slot
               and r.turn = a.turn and r.state = 'REMOVED'
           where a.center_id = $1 and a.payer_id = any($2) and a.state = 'ADDED'
           order by a.payer_id, a.slot, a.turn"#,
        center.0,
        payers,
    )
    .fetch_all(conn)
    .await?;
    let mut found: HashMap<String, Vec<PaymentAccount>> = HashMap::new();
    for row in rows {
        found.entry(row.payer_id).or_default().push(PaymentAccount {
            slot: row.slot,
            turn: row.turn,
            channel: row.channel,
            account: row.account,
            added_at: row.at,
            is_removed: row.is_removed,
        });
    }
    Ok(found)
}

/// Who does something, and when.
#[derive(Debug, Clone, Copy)]
pub(super) struct By<'a> {
    pub actor: &'a str,
    pub at: OffsetDateTime,
}

/// The ids of every key that something was sealed with. `lock` keeps others from adding one meanwhile.
pub(super) async fn identity_keys(conn: &mut PgConnection, lock: bool) -> sqlx::Result<Vec<String>> {
    if lock {
        sqlx::query!("select pg_advisory_xact_lock(7443, 2)")
            .execute(&mut *conn)
            .await?;
    }
    sqlx::query_scalar!("select key_id from identity_key order by key_id")
        .fetch_all(conn)
        .await
}

pub(super) async fn insert_identity_key(conn: &mut PgConnection, key_id: &str, at: OffsetDateTime) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into identity_key (key_id, first_used_at) values ($1, $2) on conflict do nothing",
        key_id,
        at
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Writes a payer's document down; false if another payer has it. Waits for whoever writes the same one meanwhile.
pub(super) async fn insert_identity(
    conn: &mut PgConnection,
    center: CenterNo,
    payer: &PayerId,
    sealed: &Sealed,
    hashes: &[Hashed],
    by: By<'_>,
) -> sqlx::Result<bool> {
    sqlx::query!(
        "insert into payer_identity (center_id, payer_id, kind, key_id, sealed, recorded_at, recorded_by)
         values ($1, $2, $3, $4, $5, $6, $7)",
        center.0,
        payer.as_str(),
        sealed.kind.name(),
        sealed.key_id,
        sealed.bytes,
        by.at,
        by.actor,
    )
    .execute(&mut *conn)
    .await?;
    // In the order of the keys' ids, whatever their order in a file, so that two who write the same do not block each other.
    let mut hashes: Vec<&Hashed> = hashes.iter().collect();
    hashes.sort_by(|one, other| one.key_id.cmp(&other.key_id));
    for hashed in hashes {
        let done = sqlx::query!(
            "insert into payer_identity_hash (center_id, key_id, hash, payer_id) values ($1, $2, $3, $4)
             on conflict do nothing",
            center.0,
            hashed.key_id,
            hashed.hash,
            payer.as_str(),
        )
        .execute(&mut *conn)
        .await?;
        if done.rows_affected() == 0 {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The payer who has a document, known by any of its hashes.
pub(super) async fn payer_of_hashes(
    conn: &mut PgConnection,
    center: CenterNo,
    hashes: &[Hashed],
) -> sqlx::Result<Option<PayerId>> {
    let keys: Vec<String> = hashes.iter().map(|hashed| hashed.key_id.clone()).collect();
    let values: Vec<Vec<u8>> = hashes.iter().map(|hashed| hashed.hash.clone()).collect();
    let found = sqlx::query_scalar!(
        "select h.payer_id from unnest($2::text[], $3::bytea[]) k (key_id, hash)
         join payer_identity_hash h on h.center_id = $1 and h.key_id = k.key_id and h.hash = k.hash limit 1",
        center.0,
        &keys,
        &values,
    )
    .fetch_optional(conn)
    .await?;
    found.map(|id| PayerId::parse(&id).map_err(decoding)).transpose()
}

/// Writes down that an account was added, or removed.
pub(super) async fn insert_account_leg(
    conn: &mut PgConnection,
    center: CenterNo,
    payer: &PayerId,
    account: &PaymentAccount,
    reason: &str,
    by: By<'_>,
) -> sqlx::Result<()> {
    let (state, previous) = match (account.is_removed, account.turn) {
        (true, turn) => ("REMOVED", Some((turn, "ADDED"))),
        (false, 1) => ("ADDED", None),
        (false, turn) => ("ADDED", Some((turn - 1, "REMOVED"))),
    };
    sqlx::query!(
        "insert into payer_account_leg (center_id, payer_id, slot, turn, state, previous_turn, previous_state, channel,
                                        account, at, actor, reason)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
        center.0,
        payer.as_str(),
        account.slot,
        account.turn,
        state,
        previous.map(|(turn, _)| turn),
        previous.map(|(_, state)| state),
        account.channel,
        account.account,
        by.at,
        by.actor,
        reason,
    )
    .execute(conn)
    .await?;
    Ok(())
}

pub(super) async fn insert_revocation(
    conn: &mut PgConnection,
    center: CenterNo,
    payer: &PayerId,
    reason: &str,
    by: By<'_>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into payer_revocation (center_id, payer_id, at, actor, reason) values ($1, $2, $3, $4, $5)",
        center.0,
        payer.as_str(),
        by.at,
        by.actor,
        reason,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// What a payer may do for a detainee; none if there is no such payer.
pub(super) async fn standing(
    conn: &mut PgConnection,
    center: CenterNo,
    payer: &PayerId,
    detainee: &DetaineeId,
) -> sqlx::Result<Option<Standing>> {
    let row = sqlx::query!(
        r#"select
               exists(select from payer_revocation r where r.center_id = p.center_id and r.payer_id = p.payer_id)
                   as "is_revoked!",
               exists(select from payer_identity i where i.center_id = p.center_id and i.payer_id = p.payer_id)
                   as "has_identity!",
               exists(select from payer_phone_verification v
                      where v.center_id = p.center_id and v.payer_id = p.payer_id
                        and v.position = (select max(position) from payer_phone f
                                          where f.center_id = p.center_id and f.payer_id = p.payer_id))
                   as "is_phone_verified!",
               (select l.state from payer_link_leg l
                where l.center_id = p.center_id and l.payer_id = p.payer_id and l.detainee_id = $3
                order by l.position desc limit 1) as link_state
           from payer p where p.center_id = $1 and p.payer_id = $2"#,
        center.0,
        payer.as_str(),
        detainee.as_str(),
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| Standing {
        is_revoked: row.is_revoked,
        has_identity: row.has_identity,
        is_phone_verified: row.is_phone_verified,
        is_link_approved: row
            .link_state
            .and_then(|state| LinkState::from_name(&state))
            .is_some_and(LinkState::is_approved),
    }))
}
