//! What only the database's owner can change: verification notices and names it.

use std::str::FromStr as _;

use custody_ledger::{
    commissary::ReturnLine,
    distribution::NewCourtOrder,
    ids::CourtOrderId,
    ledger::{
        balance::{self, AsOf},
        proof,
        verify::VerifyError,
    },
    remittance::LegState,
    verification,
};
use sqlx::{ConnectOptions as _, Connection as _, PgConnection, postgres::PgConnectOptions};
use time::macros::date;
use tokio::process::Command;
use uuid::Uuid;

use crate::{
    all_domains::Economy,
    reconciliation,
    world::{World, cny, id, request},
};

#[tokio::test(flavor = "multi_thread")]
async fn whatever_the_owner_changes_is_noticed_and_named() {
    let changes = [
        (
            "update posting set amount = amount + 1 where seq = 2",
            "transaction 2: posting 1 is stored as",
        ),
        (
            "update account_balance set balance = balance + 1 where account_no = 1",
            "account 1 stands at",
        ),
        (
            "update journal_transaction set record = record || '\\x00'::bytea where seq = 2",
            "transaction 2: the leaf hash is not that of the record",
        ),
        (
            "update journal_transaction set kind = 'RETURN' where seq = 2",
            "transaction 2: kind of the row",
        ),
        (
            "delete from posting where seq = 2",
            "transaction 2: 1 postings recorded, 0 stored",
        ),
        (
            "delete from journal_transaction where seq = 2",
            "transaction 2: the next transaction is numbered 3",
        ),
        ("update journal_head set seq = seq + 1", "the journal's head says 4"),
    ];
    for (change, expected) in changes {
        let world = World::build().await;
        world.endow("D1", "10.00").await;
        for _ in 0..2 {
            world.buy("D1", &[("RICE", 1)]).await.unwrap();
        }
        assert_eq!(world.verified().await, 3);
        let mut owner = PgConnectOptions::from_str(&world.db.url)
            .unwrap()
            .connect()
            .await
            .unwrap();
        sqlx::raw_sql(sqlx::AssertSqlSafe(change))
            .execute(&mut owner)
            .await
            .unwrap();
        let verified = verification::verify_snapshot(&world.process.database, &world.center).await;
        match verified {
            Err(error @ VerifyError::Differs { .. }) => {
                assert!(error.to_string().contains(expected), "{change}: {error}");
            }
            other => panic!("{change}: {other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_proof_holds_at_every_moment_of_the_past() {
    let world = World::build().await;
    world.endow("D1", "50.00").await;
    world.endow("D2", "30.00").await;
    for _ in 0..5 {
        world.buy("D1", &[("RICE", 2)]).await.unwrap();
    }
    let mut conn = world.process.database.read.acquire().await.unwrap();
    for seq in 0..=7 {
        let as_of = AsOf::Seq(custody_ledger::ids::Seq(seq));
        let proof = proof::prove(&mut conn, &world.center, as_of).await.unwrap();
        assert!(proof.holds(), "{seq}: {proof:?}");
        assert_eq!(proof.as_of.0, seq);
        let expected = ["0.00", "50.00", "80.00"][usize::try_from(seq.min(2)).unwrap()];
        assert_eq!(proof.debits.to_string(), expected);
    }
    let now = proof::prove(&mut conn, &world.center, AsOf::Now).await.unwrap();
    let end = proof::prove(&mut conn, &world.center, AsOf::Seq(now.as_of))
        .await
        .unwrap();
    assert_eq!(now, end);
}

/// A journal with a transaction of every kind but gateway fees: credits with a court order, a suspense, purchases, a return,
/// settlements paid and failed, refunds of every end and one in transit, releases; and a refused request.
async fn eventful() -> Economy {
    let mut economy = Economy::on(date!(2031 - 05 - 06)).await;
    let order = NewCourtOrder {
        id: CourtOrderId::parse("CO1").unwrap(),
        detainee: id("D1"),
        document: "DOC-1".into(),
        total: cny("30"),
        rank: None,
    };
    let center = economy.world.center.clone();
    let ordered = economy.house.distributions.create_court_order(&center, order, "test");
    ordered.await.unwrap();
    let late = economy.order(Uuid::new_v4(), "D3", "15").await.unwrap().0;
    let mut remitted = Vec::new();
    for (detainee, amount) in [("D1", "20"), ("D1", "80"), ("D2", "50"), ("D3", "20")] {
        let (ordered, _) = economy.order(Uuid::new_v4(), detainee, amount).await.unwrap();
        remitted.push(economy.pay(&ordered.id).await);
    }
    let bought = economy.world.buy("D1", &[("RICE", 3), ("SOAP", 1)]).await.unwrap();
    economy.world.buy("D2", &[("SOAP", 1), ("BOOK", 1)]).await.unwrap();
    economy.world.buy("D2", &[("BOOK", 100)]).await.unwrap_err();
    let lines = vec![ReturnLine { line: 1, quantity: 2 }];
    let commissary = &economy.world.process.commissary;
    let returned = commissary.take_back(
        &center,
        request("test/Return", b""),
        bought.seq(),
        lines,
        "spoilt".into(),
    );
    returned.await.unwrap();
    let remittance = remitted[1].id.to_string();
    for failed in [Some(false), Some(true), None] {
        let refund = economy.refund(Uuid::new_v4(), &remittance, "5").await.unwrap();
        if let Some(failed) = failed {
            economy.end_refund(refund.seq(), failed).await;
        }
    }
    let mut released = economy.release(Uuid::new_v4(), "D3").await.unwrap();
    economy.end_release(released.seq(), true).await.unwrap();
    released = economy.release(Uuid::new_v4(), "D3").await.unwrap();
    economy.end_release(released.seq(), false).await.unwrap();
    assert_eq!(economy.pay(&late.id).await.state(), LegState::Suspended);
    economy.move_to(date!(2031 - 05 - 07));
    let failed = economy.close(Uuid::new_v4(), date!(2031 - 05 - 06)).await.unwrap();
    economy.end_settlement(failed.seq(), true).await.unwrap();
    economy.move_to(date!(2031 - 05 - 08));
    let paid = economy.close(Uuid::new_v4(), date!(2031 - 05 - 07)).await.unwrap();
    economy.end_settlement(paid.seq(), false).await.unwrap();
    economy.world.buy("D1", &[("RICE", 1)]).await.unwrap();
    economy.move_to(date!(2031 - 05 - 09));
    economy.close(Uuid::new_v4(), date!(2031 - 05 - 08)).await.unwrap();
    let back = economy.refund(Uuid::new_v4(), late.id.as_str(), "15").await.unwrap();
    economy.end_refund(back.seq(), true).await;
    economy
}

pub async fn owner(world: &World) -> PgConnection {
    let options = PgConnectOptions::from_str(&world.db.url).unwrap();
    options.connect().await.unwrap()
}

/// Makes each change as the database's owner, verifies, and takes it back; what is named must contain the words.
pub async fn each_is_named(world: &World, changes: &[(&'static str, &str)]) {
    world.verified().await;
    let mut owner = owner(world).await;
    let mut wrong = Vec::new();
    for (change, expected) in changes {
        let mut tx = owner.begin().await.unwrap();
        sqlx::raw_sql(*change).execute(&mut *tx).await.unwrap();
        match verification::verify(&mut tx, &world.center).await {
            Err(error @ VerifyError::Differs { .. }) => {
                let text = error.to_string();
                if !(text.starts_with("center C1, ") && text.contains(expected)) {
                    wrong.push(format!("{change}: {text}"));
                }
            }
            other => wrong.push(format!("{change}: {other:?}")),
        }
        tx.rollback().await.unwrap();
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    world.verified().await;
}

/// D1 is account 18 on, D2 22 on, D3 26 on; V1 is 16 and 17; the channel is 30.
#[tokio::test(flavor = "multi_thread")]
async fn accounts_are_those_of_whom_the_records_are_about() {
    let economy = eventful().await;
    let swap_bases = "update detainee set account_base = -1 where detainee_id = 'D1';
        update detainee set account_base = 18 where detainee_id = 'D2';
        update detainee set account_base = 22 where detainee_id = 'D1'";
    let swap_both = "update detainee set account_base = -1 where detainee_id = 'D1';
        update detainee set account_base = 18 where detainee_id = 'D2';
        update detainee set account_base = 22 where detainee_id = 'D1';
        update account set owner = 'detainees/X' where owner = 'detainees/D1';
        update account set owner = 'detainees/D1' where owner = 'detainees/D2';
        update account set owner = 'detainees/D2' where owner = 'detainees/X'";
    let changes = [
        (
            swap_bases,
            "detainee D1: account 22 is detainee available of \"detainees/D2\"",
        ),
        (
            swap_both,
            "transaction 5: account 18 belongs to detainees/D2, but the record is about detainees/D1, vendors/V1",
        ),
        (
            "update account set owner = 'vendors/V2' where account_no = 16",
            "belongs to vendors/V2, but the record is about detainees/D1, vendors/V1",
        ),
        (
            "update account set owner = 'channels/other' where account_no = 30",
            "transaction 1: account 30 belongs to channels/other",
        ),
        (
            "update account set owner = 'detainees/D9' where account_no = 21",
            "detainee D1: account 21 is detainee withheld of \"detainees/D9\"",
        ),
        (
            "update account set owner = 'vendors/V1' where account_no = 21",
            "account 21: detainee withheld cannot belong to \"vendors/V1\"",
        ),
        (
            "update account set code = 1101 where account_no = 1",
            "account 1: gateway clearing cannot belong to \"\"",
        ),
        (
            "update account set owner = 'x' where account_no = 4;
             update account set code = 2303 where account_no = 3;
             update account set code = 2302, owner = '' where account_no = 4",
            "account 3: account 3 is release payouts in transit of \"\", it should be refunds",
        ),
        (
            "update account set code = 9999 where account_no = 18",
            "account 18: its code 9999 is not in the chart",
        ),
        (
            "update account_balance set floor = -1000000",
            "account 1: its floor is -1000000, the chart says none",
        ),
        (
            "update account_balance set floor = null where account_no = 18",
            "account 18: its floor is none, the chart says 0",
        ),
        (
            "insert into account values (1, 31, 2101, 'detainees/D9', now());
             insert into account_balance values (1, 31, 0, 0)",
            "account 31: the journal's head says that 31 is free",
        ),
        (
            "update journal_head set next_account_no = 32",
            "account 31: does not exist",
        ),
        (
            "delete from account_balance where account_no = 29",
            "account 29: has no balance",
        ),
        (
            "update vendor set payable_no = 17, transit_no = 16",
            "transaction 18: its lines come to (0, 0.00, 0.00, 0.00)",
        ),
        ("update remittance set clearing_no = 1", "account 1 is bank of"),
    ];
    each_is_named(&economy.world, &changes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_domains_keep_is_what_the_records_say() {
    let economy = eventful().await;
    let changes = [
        (
            "update monthly_spending set spent = 0",
            "monthly_spending D1 2031-05: stored as (0",
        ),
        (
            "delete from monthly_spending where detainee_id = 'D2'",
            "monthly_spending D2 2031-05: not stored",
        ),
        ("update return_line set quantity = 1", "return_line 7 line 1: stored as"),
        ("delete from return_line", "return_line 7 line 1: not stored"),
        (
            "insert into return_line values (1, 9999, 6, 2, 1, 1)",
            "return_line 9999 line 2: stored as (6, 1, 1), no record explains it",
        ),
        (
            "update court_order_collected set collected = 0",
            "court_order_collected D1 CO1: stored as 0",
        ),
        (
            "update court_order set total = 40",
            "court_order D1 CO1: its total is 40",
        ),
        (
            "update court_order set document = 'DOC-2'",
            "court_order_collected D1 CO1: stored as",
        ),
        ("update settlement set total = 1", "settlement "),
        ("update settlement set through_seq = through_seq - 1", "settlement "),
        ("delete from settlement_end", "settlement_end "),
        (
            "update settlement_end set reference = 'B2' where state = 'PAID'",
            "\"PAID\", \"B2\"",
        ),
        ("update refund set amount = 6", "refund 8: stored as"),
        ("update refund set credit_seq = 1", "refund 8: stored as"),
        (
            "delete from refund_leg where state = 'REQUESTED'",
            "refund 8: stored as",
        ),
        (
            "delete from refund_leg where state = 'SUCCEEDED'",
            "refund_leg 8 SUCCEEDED: not stored",
        ),
        (
            "update refund_leg set detail = 'x' where state = 'FAILED'",
            "refund_leg 10 FAILED: stored as",
        ),
        ("delete from refund_open", "refund_open 12: not stored"),
        (
            "insert into refund_open values (1, 8, 0, now())",
            "refund_open 8: stored as",
        ),
        ("update suspended_payment set amount = 14", "suspended_payment "),
        ("update suspended_payment set reason = 'x'", "\"DETAINEE_GONE\""),
        (
            "delete from suspense_movement where kind = 'PUT_BACK'",
            "suspense_movement ",
        ),
        ("update suspense_movement set amount = 14", "suspense_movement "),
        (
            "update refund set from_suspense = not from_suspense, by_itself = not from_suspense",
            "refund 8: stored as",
        ),
        ("update release set amount = 1", "release 13: stored as"),
        ("update release_end set state = 'PAID', ended_by = 'bob'", "release_end 13: stored as"),
        ("update detainee set state = 'active'", "detainee D3: not stored"),
        (
            "update detainee set state = 'released' where detainee_id = 'D2'",
            "detainee D2: stored as",
        ),
        (
            "delete from remittance_leg where state = 'CREDITED' and seq = 1",
            " CREDITED: not stored, the records say (1, ",
        ),
        (
            "update remittance_leg set seq = 9999 where seq = 1",
            " CREDITED: not stored",
        ),
        (
            "update remittance_leg set detail = 'x' where state = 'SUSPENDED'",
            " SUSPENDED: stored as",
        ),
        (
            "insert into notification values (1, gen_random_uuid(), 'webhook', now(), decode(repeat('00', 32), 'hex'), 1, '', 'BELIEVED',
                 '', 'CREDITED', 'X', 1)",
            ": CREDITED X by transaction 1, which says otherwise",
        ),
        ("update remittance set amount = 1 where amount = 50", "remittance "),
        (
            "update remittance_leg set gateway_transaction = 'x' where state = 'PAID'",
            "remittance ",
        ),
    ];
    each_is_named(&economy.world, &changes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_and_records_that_cannot_be_are_named() {
    let economy = eventful().await;
    let changes = [
        (
            "update refused_request set refusal = '\\xff' where refusal is not null",
            ": its outcome cannot be read",
        ),
        (
            "update refused_request set refusal = '' where refusal is not null",
            ": its outcome cannot be read",
        ),
        (
            "update refused_request set resource = '' where resource is not null",
            ": its outcome cannot be read",
        ),
        (
            "update refused_request set actor = ''",
            ": it does not say what was asked for by whom",
        ),
        (
            "update refused_request set after_seq = 9999",
            ": was decided after transaction 9999, which cannot be",
        ),
        (
            "update refused_request set recorded_at = recorded_at - interval '1 day' where refusal is not null",
            ": was decided after transaction 6, which",
        ),
        (
            "update refused_request set request_id = (select request_id from journal_transaction where seq = 3)
             where refusal is not null",
            ": was carried out by transaction 3, too",
        ),
        (
            "update journal_transaction set record = '\\xff', leaf_hash = sha256('\\x00ff') where seq = 4",
            "transaction 4: the record cannot be read",
        ),
        (
            "update account_balance set balance = 'NaN' where account_no = 18",
            "cannot be read",
        ),
        (
            "insert into posting values (1, 9999, 1, 1, 2, 1, 1, 1)",
            "a posting of transaction 9999 has no transaction",
        ),
        ("update journal_head set recorded_at = now()", "the journal's head says"),
    ];
    each_is_named(&economy.world, &changes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn recorded_fees_are_those_of_the_bills() {
    let bench = reconciliation::Bench::build().await;
    bench.credited("100").await;
    bench.fetch().await;
    let changes = [
        ("update bill_entry set fee = 0.01", "bill_entry webhook "),
        ("update bill_entry set fee = 0, fee_seq = null", "not stored"),
        ("update bill_entry set bill_date = bill_date + 1", "bill_entry webhook "),
        ("update bill_entry set fee_seq = 9999", "not stored"),
    ];
    each_is_named(&bench.world, &changes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_names_the_difference_and_fails() {
    let world = World::build().await;
    world.endow("D1", "10.00").await;
    world.buy("D1", &[("RICE", 1)]).await.unwrap();
    let run = async || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_custody"));
        let output = command
            .args(["verify", "--database-url", &world.db.url])
            .output()
            .await
            .unwrap();
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stdout).into_owned(),
        )
    };
    let (code, text) = run().await;
    assert_eq!(code, Some(0), "{text}");
    let mut owner = owner(&world).await;
    let change = "update monthly_spending set spent = 0";
    sqlx::raw_sql(change).execute(&mut owner).await.unwrap();
    let (code, text) = run().await;
    assert_eq!(code, Some(1), "{text}");
    assert!(
        text.starts_with("center C1, monthly_spending D1 ") && text.contains("stored as (0"),
        "{text}"
    );
}

/// `custody verify` with these arguments: its exit code, and what it said.
async fn verify_with(arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_custody"));
    let output = command.arg("verify").args(arguments).output().await.unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.code(), text)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_was_mistyped_is_named_and_nothing_is_made_there() {
    let directory = tempfile::tempdir().unwrap();
    let typo = directory.path().join("typo");
    for path in [directory.path(), typo.as_path()] {
        let (code, text) = verify_with(&["--data-dir", path.to_str().unwrap()]).await;
        assert_eq!(code, Some(2), "{text}");
        assert!(
            text.contains(&format!("{} holds no PostgreSQL", path.display())),
            "{text}"
        );
    }
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_none_of_the_service_s_is_said_so() {
    let cluster = crate::world::cluster();
    let (code, text) = verify_with(&["--database-url", &cluster]).await;
    assert_eq!(code, Some(2), "{text}");
    assert!(
        text.contains("cannot be read: ") && text.contains("\"center\" does not exist"),
        "{text}"
    );
    let nowhere = "postgres://postgres@127.0.0.1:1/x";
    let (code, text) = verify_with(&["--database-url", nowhere]).await;
    assert!(
        code == Some(2) && text.contains("the database cannot be used: "),
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instant_is_found_between_transactions() {
    let world = World::build().await;
    let mut conn = world.process.database.read.acquire().await.unwrap();
    let long_ago = time::macros::datetime!(2001-01-01 00:00 UTC);
    let mut resolved = async |at| {
        let seq = balance::resolve(&mut conn, &world.center, AsOf::Instant(at)).await;
        seq.unwrap().0
    };
    assert_eq!(resolved(long_ago).await, 0, "an empty journal");
    world.endow("D1", "50.00").await;
    for _ in 0..6 {
        world.buy("D1", &[("RICE", 1)]).await.unwrap();
    }
    let recorded: Vec<time::OffsetDateTime> =
        sqlx::query_scalar("select recorded_at from journal_transaction where center_id = $1 order by seq")
            .bind(world.center.no.0)
            .fetch_all(&*world.process.database.read)
            .await
            .unwrap();
    assert_eq!(recorded.len(), 7);
    for (seq, at) in (1..).zip(&recorded) {
        assert_eq!(resolved(*at).await, seq);
        assert_eq!(resolved(*at - time::Duration::MICROSECOND).await, seq - 1);
    }
    assert_eq!(resolved(long_ago).await, 0);
    assert_eq!(resolved(recorded[6] + time::Duration::DAY).await, 7);
}
