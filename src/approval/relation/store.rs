//! All SQL of relations.

use sqlx::PgConnection;

use super::Relation;
use crate::{db, ids::CenterNo};

/// The first detainee that a subject is about, or that was told, whom a person is related to.
pub(super) async fn related_to(
    conn: &mut PgConnection,
    center: CenterNo,
    person: &str,
    subject: &str,
    told: &str,
) -> db::Result<Option<String>> {
    let mut parts = subject.split('/');
    let (kind, id) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    // A transaction's number, under whatever name it goes.
    let seq = id
        .parse::<i64>()
        .ok()
        .filter(|_| kind != "detainees" && kind != "remittances");
    sqlx::query_scalar!(
        "with last as (
             select distinct on (detainee_id) detainee_id, is_related from staff_relation
             where center_id = $1 and person = $2 order by detainee_id, number desc
         )
         select last.detainee_id from last
         where last.is_related and (
             $3 = 'detainees' and last.detainee_id = $4
             or last.detainee_id = $6
             or $3 = 'remittances' and exists (
                 select from remittance r
                 where r.center_id = $1 and r.remittance_id = $4 and r.detainee_id = last.detainee_id)
             or $5::bigint is not null and (
                 exists (select from debt d where d.center_id = $1 and d.seq = $5 and d.detainee_id = last.detainee_id)
                 or exists (select from unclaimed_sum s
                            where s.center_id = $1 and s.seq = $5 and s.detainee_id = last.detainee_id)
                 or exists (select from suspended_payment p
                            join remittance r on r.center_id = p.center_id and r.remittance_id = p.remittance_id
                            where p.center_id = $1 and p.seq = $5 and r.detainee_id = last.detainee_id)
                 or exists (select from refund f
                            where f.center_id = $1 and f.seq = $5 and f.detainee_id = last.detainee_id)
                 or exists (select from posting p
                            join account a on a.center_id = p.center_id and a.account_no in (p.debit, p.credit)
                            where p.center_id = $1 and p.seq = $5 and a.owner = 'detainees/' || last.detainee_id)))
         order by last.detainee_id limit 1",
        center.0,
        person,
        kind,
        id,
        seq,
        told,
    )
    .fetch_optional(conn)
    .await
}

/// What was last declared of a person and a detainee.
pub(super) async fn last(
    conn: &mut PgConnection,
    center: CenterNo,
    person: &str,
    detainee: &str,
) -> db::Result<Option<Relation>> {
    sqlx::query_as!(
        Relation,
        "select person, detainee_id as detainee, is_related, relationship, document, declared_at, declared_by
         from staff_relation where center_id = $1 and person = $2 and detainee_id = $3 order by number desc limit 1",
        center.0,
        person,
        detainee,
    )
    .fetch_optional(conn)
    .await
}

/// Declares something. What is declared already is answered with what is there. The caller holds the journal's head and commits.
pub async fn declare_in_tx(conn: &mut PgConnection, center: CenterNo, told: Relation) -> db::Result<Relation> {
    let known = last(conn, center, &told.person, &told.detainee).await?;
    let is_same = |known: &Relation| {
        known.is_related == told.is_related
            && known.relationship == told.relationship
            && known.document == told.document
    };
    if let Some(known) = known.filter(is_same) {
        return Ok(known);
    }
    sqlx::query!(
        "insert into staff_relation (center_id, person, detainee_id, number, is_related, relationship, document, declared_at,
                                     declared_by)
         select $1, $2, $3, coalesce(max(number), 0) + 1, $4, $5, $6, $7, $8 from staff_relation
         where center_id = $1 and person = $2 and detainee_id = $3",
        center.0,
        told.person,
        told.detainee,
        told.is_related,
        told.relationship,
        told.document,
        told.declared_at,
        told.declared_by,
    )
    .execute(conn)
    .await?;
    Ok(told)
}

/// Up to `limit` relations that hold, after a person and a detainee, in that order.
pub async fn list(
    conn: &mut PgConnection,
    center: CenterNo,
    after: (&str, &str),
    limit: i64,
) -> db::Result<Vec<Relation>> {
    sqlx::query_as!(
        Relation,
        "select person, detainee_id as detainee, is_related, relationship, document, declared_at, declared_by
         from (select distinct on (person, detainee_id) * from staff_relation
               where center_id = $1 and (person, detainee_id) > ($2, $3)
               order by person, detainee_id, number desc) last
         where is_related order by person, detainee_id limit $4",
        center.0,
        after.0,
        after.1,
        limit,
    )
    .fetch_all(conn)
    .await
}
