//! The one statement that commits a batch, or the batches of several centers together.
//!
//! Data-modifying expressions fed by `unnest` arrays, the guard first: one round trip, one commit. Every row of every array
//! says which center it is of, and only those are written whose center is in `guard`.
//!
//! Tables are reached by their primary keys only: the connections of batches allow neither other joins nor sequential scans,
//! because plans that depend on statistics go wrong when the statistics do.

use sqlx::{AssertSqlSafe, PgConnection, postgres::PgArguments};

use super::{
    batch::{self, Batch},
    rows,
};
use crate::ids::CenterNo;

/// Requests that would be posted and were refused, by another process.
const REFUSED: &str = "\
with refused as materialized (
    select t.center_id
    from unnest($7::integer[], $12::uuid[]) t (center_id, request_id), lateral (
        select from refused_request r where r.center_id = t.center_id and r.request_id = t.request_id offset 0
    ) r
)";

/// Requests that would be refused and were posted; of batches with refusals. What is posted or refused twice, the unique indexes
/// refuse. Asked one by one, each by the whole of the index's key: for an array of them, a plan made while the journal is
/// short reads the whole journal (measured, three times the work of a batch).
const POSTED: &str = ", \
posted as materialized (
    select q.center_id
    from unnest($26::integer[], $27::uuid[]) q (center_id, request_id), lateral (
        select from journal_transaction t where t.center_id = q.center_id and t.request_id = q.request_id offset 0
    ) t
)";

const HEADS: &str = "unnest($1::integer[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::timestamptz[]) \
    b (center_id, old_seq, new_seq, old_rules, new_rules, recorded_at)";

/// The journal, and the rules, are still what the fold read, and no other process has answered one of the requests.
const UNMOVED: &str = "
    h.center_id = b.center_id and h.seq = b.old_seq and h.rules_version = b.old_rules
    and not exists (select from refused r where r.center_id = b.center_id)";
const UNPOSTED: &str = "
    and not exists (select from posted p where p.center_id = b.center_id)";

/// The transactions; left out when there are none.
const TRANSACTIONS: &str = ", \
transaction_rows as (
    insert into journal_transaction
        (center_id, seq, kind, recorded_at, effective_date, request_id, record, leaf_hash)
    select * from unnest($7::integer[], $8::bigint[], $9::text[], $10::timestamptz[], $11::date[], $12::uuid[], $13::bytea[],
        $14::bytea[]) t (center_id)
    where t.center_id in (select center_id from guard)
), posting_rows as (
    insert into posting (center_id, seq, leg, debit, credit, amount, debit_balance, credit_balance)
    select * from unnest($15::integer[], $16::bigint[], $17::smallint[], $18::integer[], $19::integer[], $20::numeric[],
        $21::numeric[], $22::numeric[]) p (center_id)
    where p.center_id in (select center_id from guard)
), balance_rows as (
    update account_balance b set balance = n.balance
    from unnest($23::integer[], $24::integer[], $25::numeric[]) n (center_id, account_no, balance)
    where b.center_id = n.center_id and b.account_no = n.account_no and n.center_id in (select center_id from guard)
)";

/// The refusals; left out when there are none, which is nearly always.
const REFUSALS: &str = ", \
refused_rows as (
    insert into refused_request (center_id, request_id, method, actor, request, refusal, recorded_at, after_seq)
    select * from unnest($26::integer[], $27::uuid[], $28::text[], $29::text[], $30::bytea[], $31::bytea[], $32::timestamptz[],
        $33::bigint[]) r (center_id)
    where r.center_id in (select center_id from guard)
)";

/// What happens when another transaction holds a center's head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Held {
    /// Its end is waited for.
    Wait,
    /// The center is left out, so that one center's wait is not another's.
    Skip,
}

/// Writes each batch that is still where its journal and its rules are, and nothing of the others. Gives the centers whose
/// batches were written, which they are once the caller's transaction is committed; outside of one they are at once. There
/// is at most one batch of a center.
pub(super) async fn commit(conn: &mut PgConnection, batches: &[&Batch], held: Held) -> sqlx::Result<Vec<CenterNo>> {
    let rows = rows::of_batches(batches);
    let mut args = PgArguments::default();
    batch::bind(batches, &mut args)
        .and_then(|()| rows.bind(&mut args))
        .map_err(sqlx::Error::Encode)?;
    let mut sql = statement(batches, held);
    rows.compose(batch::PARAMS, &mut sql);
    sql.push_str(" select center_id from guard");
    // The text is made of constants of this program only; every value is a parameter.
    let written = sqlx::query_scalar_with(AssertSqlSafe(sql), args)
        .fetch_all(conn)
        .await?;
    Ok(written.into_iter().map(CenterNo).collect())
}

/// The ledger's own part of the statement.
fn statement(batches: &[&Batch], held: Held) -> String {
    let has_transactions = batches.iter().any(|batch| batch.has_transactions());
    let has_refusals = batches.iter().any(|batch| batch.has_refusals());
    let mut sql = String::with_capacity(4096);
    sql.push_str(REFUSED);
    if has_refusals {
        sql.push_str(POSTED);
    }
    let unposted = if has_refusals { UNPOSTED } else { "" };
    let (moved, condition) = match held {
        Held::Wait => (HEADS, format!("{UNMOVED}{unposted}")),
        Held::Skip => {
            sql.push_str(", locked as materialized (select b.* from journal_head h, ");
            sql.push_str(HEADS);
            sql.push_str(" where ");
            sql.push_str(UNMOVED);
            sql.push_str(unposted);
            sql.push_str(" for update of h skip locked)");
            ("locked b", "h.center_id = b.center_id".to_owned())
        }
    };
    sql.push_str(", guard as (update journal_head h set seq = b.new_seq, recorded_at = b.recorded_at, rules_version = b.new_rules from ");
    sql.push_str(moved);
    sql.push_str(" where ");
    sql.push_str(&condition);
    sql.push_str(" returning h.center_id)");
    if has_transactions {
        sql.push_str(TRANSACTIONS);
    }
    if has_refusals {
        sql.push_str(REFUSALS);
    }
    sql
}
