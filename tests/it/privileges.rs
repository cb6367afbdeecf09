//! What the service's role may do in the database: table by table and column by column, tried out, and nothing else.

use std::{
    collections::{BTreeMap, BTreeSet},
    str::FromStr as _,
};

use custody_ledger::db::Database;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Executor as _, PgPool, postgres::PgConnectOptions};

use crate::world::TestDatabase;

/// Every table of the service: `d` where rows may be deleted, and the columns that may be updated. All may be read and
/// inserted into; whatever is not told here is not allowed.
const ALLOWED: &[(&str, &str, &str)] = &[
    ("account", "", ""),
    ("account_balance", "", "balance"),
    ("allowance", "", ""),
    ("allowance_end", "", ""),
    ("allowance_open", "d", "remaining"),
    ("approval", "", ""),
    ("approval_decision", "", ""),
    ("approval_end", "", ""),
    ("approval_grant", "", ""),
    ("approval_open", "d", "attempts next_at"),
    ("bank_account", "", ""),
    ("bank_account_asked", "", ""),
    ("bank_message", "", ""),
    ("bill", "", ""),
    ("bill_entry", "", ""),
    ("buyer", "", ""),
    ("card", "", ""),
    ("card_end", "", ""),
    ("card_pin", "", ""),
    ("card_try", "", ""),
    ("center", "", ""),
    (
        "center_settings",
        "",
        "balance_cap payment_count_max quote_ttl_s remittance_amount_max review_hours screening_detainee_max screening_party_days screening_payer_max screening_payment_days \
         screening_payment_max",
    ),
    ("court_order", "", ""),
    ("court_order_collected", "", "collected"),
    ("court_order_event", "", ""),
    ("credit_reversal", "", ""),
    ("custody_change", "", ""),
    ("debt", "", ""),
    ("debt_repaid", "", "repaid"),
    ("detainee", "", "state went_to"),
    ("detainee_merge", "", ""),
    ("detainee_session", "", ""),
    ("detainee_session_end", "", ""),
    ("distribution_policy", "", ""),
    ("ending_notice", "", ""),
    ("heir", "", ""),
    ("identity_key", "", ""),
    ("job_status", "", "last_error last_run_at last_success_at"),
    ("journal_head", "", "next_account_no recorded_at rules_version seq"),
    ("journal_transaction", "", ""),
    ("kit", "", ""),
    ("kit_grant", "", ""),
    ("kit_grant_cancelled", "", ""),
    ("kit_line", "", ""),
    ("late_money", "d", "attempts next_at"),
    ("legal_status", "", ""),
    ("monthly_spending", "", "days spent"),
    ("notification", "", ""),
    ("offline_evidence", "", ""),
    ("offline_sale", "", ""),
    ("offline_sale_end", "", ""),
    ("offline_sale_open", "d", ""),
    ("offline_setting", "", ""),
    ("offline_waiting", "d", ""),
    ("ordering_rules", "", ""),
    ("placed_order", "", "changes delivered_at is_held state"),
    ("placed_order_change", "", ""),
    (
        "placed_order_line",
        "",
        "delivered dispute_seq disputed open released returned",
    ),
    ("payer", "", ""),
    ("payer_account_leg", "", ""),
    ("payer_identity", "", ""),
    ("payer_identity_hash", "", ""),
    ("payer_link", "", ""),
    ("payer_link_leg", "", ""),
    ("payer_phone", "", ""),
    ("payer_phone_verification", "", ""),
    ("payer_revocation", "", ""),
    ("payout", "", ""),
    ("payout_part", "", ""),
    ("payout_part_end", "", ""),
    ("phone_code", "", ""),
    ("phone_code_try", "", ""),
    ("payment_return", "d", "attempts due_at"),
    ("payment_failure", "", ""),
    ("payment_file", "", ""),
    ("posting", "", ""),
    (
        "product",
        "",
        "approved_price available barcode keeps_stock price tags unit version withdrawn_units",
    ),
    ("product_price", "", ""),
    ("product_stock", "", "on_hand"),
    ("reconciliation", "", ""),
    ("reconciliation_break", "", ""),
    ("refund", "", ""),
    ("refund_leg", "", ""),
    ("refund_payout", "", ""),
    ("refund_redirect", "", ""),
    ("refund_redirect_paid", "", ""),
    ("refund_sent", "", ""),
    ("refund_open", "d", "attempts next_at"),
    ("refused_request", "", ""),
    ("rejected_notification", "", ""),
    ("release", "", ""),
    ("release_end", "", ""),
    ("remittance", "", ""),
    ("remittance_leg", "", ""),
    ("remittance_poll", "d", "attempts next_at"),
    ("remittance_question", "", "free_at closings"),
    ("return_line", "", ""),
    ("sealed_text", "", ""),
    ("session_policy", "", ""),
    ("settlement", "", ""),
    ("settlement_approval", "", ""),
    ("settlement_end", "", ""),
    ("settlement_sent", "", ""),
    ("sign_in_challenge", "d", ""),
    ("spending_measure", "", ""),
    ("spending_measure_end", "", ""),
    ("spending_rules", "", ""),
    ("spending_rules_tier", "", ""),
    ("staff_relation", "", ""),
    ("stay", "", ""),
    ("stock_movement", "", ""),
    ("suspended_payment", "", ""),
    ("suspense_movement", "", ""),
    ("terminal", "", ""),
    ("terminal_certificate", "", ""),
    ("terminal_code", "", ""),
    ("terminal_code_try", "", ""),
    ("terminal_module", "", ""),
    ("terminal_revocation", "", ""),
    ("tier_limit", "", ""),
    ("transfer", "", ""),
    ("unclaimed_end", "", ""),
    ("unclaimed_sum", "", ""),
    ("unmatched_end", "", ""),
    ("unmatched_sum", "", ""),
    ("vendor", "", ""),
    ("vendor_account", "", ""),
    ("vendor_account_asked", "", ""),
    ("vendor_terms", "", ""),
    ("withholding", "", ""),
    ("withholding_end", "", ""),
    ("work_item", "", ""),
    ("work_item_leg", "", ""),
    ("work_item_open", "d", ""),
    ("write_off", "", ""),
];

/// Whether the role may do it; what it does is taken back.
async fn may(pool: &PgPool, statement: String) -> bool {
    let mut tx = pool.begin().await.unwrap();
    let done = tx.execute(AssertSqlSafe(statement.clone())).await;
    tx.rollback().await.unwrap();
    match done {
        Ok(_) => true,
        Err(error) => {
            let code = error.as_database_error().and_then(|error| error.code());
            // Insufficient privilege.
            assert_eq!(code.as_deref(), Some("42501"), "{statement}: {error}");
            false
        }
    }
}

/// Every column of every table that is there, told by the owner.
async fn columns(url: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut owner = PgConnectOptions::from_str(url).unwrap().connect().await.unwrap();
    let rows: Vec<(String, String)> = sqlx::query_as(
        "select c.relname::text, a.attname::text from pg_class c join pg_attribute a on a.attrelid = c.oid
         where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'v', 'm', 'p', 'S')
           and a.attnum > 0 and not a.attisdropped",
    )
    .fetch_all(&mut owner)
    .await
    .unwrap();
    let mut columns: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (table, column) in rows {
        columns.entry(table).or_default().insert(column);
    }
    columns
}

#[tokio::test(flavor = "multi_thread")]
async fn the_service_s_role_may_do_what_is_written_and_no_more() {
    let db = TestDatabase::create().await;
    let columns = columns(&db.url).await;
    let database = Database::connect(&db.url).unwrap();
    for pool in [&*database.lane, &database.read] {
        let user: String = sqlx::query_scalar("select current_user::text")
            .fetch_one(pool)
            .await
            .unwrap();
        assert_eq!(user, "custody_service");
        let mut wrong = Vec::new();
        for (table, columns) in &columns {
            let allowed = ALLOWED.iter().find(|(name, ..)| name == table);
            let (deletes, updates) = allowed.map_or(("", ""), |(_, deletes, updates)| (deletes, updates));
            let mut cases = vec![
                (format!("select from {table} limit 0"), allowed.is_some()),
                (
                    format!("insert into {table} select * from {table} where false"),
                    allowed.is_some(),
                ),
                (format!("delete from {table} where false"), deletes == "d"),
                (format!("truncate {table}"), false),
                (format!("drop table {table}"), false),
                (format!("alter table {table} add column forged int"), false),
                (format!("create index on {table} ((1))"), false),
                (format!("alter table {table} disable trigger all"), false),
            ];
            for column in columns {
                let update = format!("update {table} set {column} = null where false");
                cases.push((update, updates.split(' ').any(|name| name == column)));
            }
            for (statement, is_allowed) in cases {
                if may(pool, statement.clone()).await != is_allowed {
                    wrong.push(format!("allowed: {}, written: {is_allowed}: {statement}", !is_allowed));
                }
            }
        }
        for statement in [
            "create table forged (x int)",
            "create schema forged",
            "set session_replication_role = replica",
        ] {
            if may(pool, statement.into()).await {
                wrong.push(format!("allowed, but not written: {statement}"));
            }
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
    }
    let unknown: Vec<_> = ALLOWED
        .iter()
        .filter(|(name, ..)| !columns.contains_key(*name))
        .collect();
    assert!(unknown.is_empty(), "written, but not there: {unknown:?}");
}
