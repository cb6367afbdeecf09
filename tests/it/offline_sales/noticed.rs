//! What only the database's owner can change of allowances and sales: verification notices and names it.

use sqlx::{Connection as _, PgConnection};

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn whatever_the_owner_changes_is_noticed() {
    let stall = Stall::open().await;
    let mut till = stall.till("T1").await;
    let allowance = stall.reserve(&till, "D1", "40.00", 8).await.unwrap();
    let ended = stall.reserve(&till, "D2", "40.00", 8).await.unwrap();
    stall.end(&till, &ended, 0).await.unwrap();
    let good = till.sell(&allowance, "D1", &[(SOAP, 1)]);
    let short = till.sell(&allowance, "D1", &[(BOOK, 2)]);
    till.sell(&allowance, "D1", &[(SOAP, 1)]);
    let waits = till.sell(&allowance, "D1", &[(SOAP, 1)]);
    let mut forged = waits.clone();
    forged.signature[0] ^= 1;
    let outcomes = stall.upload(&till, &[good, short, waits, forged]).await.unwrap();
    assert_eq!(outcomes.len(), 4);
    stall.verified().await;

    let changes = [
        ("update allowance_open set remaining = remaining - 1", "allowance_open"),
        (
            "update allowance set terminal_id = 'T2' where detainee_id = 'D1'",
            "allowance ",
        ),
        ("delete from allowance_end", "allowance_end"),
        (
            "update offline_sale set state = 'SETTLED_LATE' where number = 1",
            "offline_sale T1 1",
        ),
        (
            "update offline_sale set statement = statement || '\\x00'::bytea where number = 1",
            "offline_sale T1 1",
        ),
        (
            "update offline_sale set flags = '{X}' where number = 1",
            "offline_sale T1 1",
        ),
        ("delete from offline_sale_open", "offline_sale_open"),
        ("update offline_waiting set statement = '\\x00'", "offline_waiting T1 4"),
        (
            "update offline_evidence set signature = '\\x00'",
            "offline_evidence T1 4",
        ),
        (
            "update terminal_certificate set public_key = sha256(public_key)",
            "terminal",
        ),
        (
            "delete from work_item_open where kind = 'OFFLINE_SALE'",
            "work_item_open",
        ),
        (
            "update monthly_spending set spent = spent + 1 where detainee_id = 'D1'",
            "monthly_spending",
        ),
    ];
    let mut owner = PgConnection::connect(&stall.db.url).await.unwrap();
    for (change, expected) in changes {
        let mut tx = owner.begin().await.unwrap();
        sqlx::raw_sql(change).execute(&mut *tx).await.unwrap();
        let verified = custody_ledger::verification::verify(&mut tx, &stall.center).await;
        let told = verified.map(|verified| verified.transactions).unwrap_err().to_string();
        assert!(told.contains(expected), "{change}: {told}");
        tx.rollback().await.unwrap();
    }
    stall.verified().await;
}
