//! What only the database's owner can change of payers: verification notices and names it.

use custody_ledger::verification;
use sqlx::{Connection as _, Executor as _, PgConnection};
use time::macros::date;
use uuid::Uuid;

use crate::{
    all_domains::Economy,
    world::{World, register_payer},
};

#[tokio::test(flavor = "multi_thread")]
async fn whatever_the_owner_changes_of_payers_is_noticed_and_named() {
    let code =
        "insert into phone_code values (1, 'P1', 1, 1, '0000000000000000', decode(repeat('00', 32), 'hex'), now(),
                    now() + interval '10 minutes');";
    let changes = [
        ("delete from payer_link_leg".to_owned(), "payer_link P1 D1: it has no first leg"),
        (
            "alter table payer_link_leg drop constraint payer_link_leg_two_people;
             update payer_link_leg set state = 'REQUESTED', actor = 'finance/ann';
             insert into payer_link_leg values (1, 'P1', 'D1', 2, 'APPROVED', 'admin/ann', now(), 'x', null, 1,
                 'REQUESTED', 'finance/ann')"
                .to_owned(),
            "payer_link_leg P1 D1 2: APPROVED by admin/ann after REQUESTED by \"finance/ann\" is no way of a link",
        ),
        (
            "alter table payer_link_leg drop constraint payer_link_leg_order;
             insert into payer_link_leg values (1, 'P1', 'D1', 2, 'APPROVED', 'admin/ann', now(), 'x', null, 1,
                 'GRANTED', 'finance/alice')"
                .to_owned(),
            "payer_link_leg P1 D1 2: APPROVED by admin/ann after GRANTED",
        ),
        (
            "alter table payer_link_leg drop constraint payer_link_leg_staff;
             update payer_link_leg set actor = 'payer/P1'"
                .to_owned(),
            "payer_link_leg P1 D1 1: GRANTED by payer/P1",
        ),
        (
            "alter table payer_account_leg drop constraint payer_account_leg_slot;
             insert into payer_account_leg values (1, 'P1', 3, 1, 'ADDED', null, null, '', 'x', now(), 'payer/P1', '')"
                .to_owned(),
            "payer_account_leg P1 3: 1 were added and 0 removed",
        ),
        (
            "alter table payer_account_leg drop constraint payer_account_leg_order;
             insert into payer_account_leg values (1, 'P1', 1, 2, 'ADDED', null, null, '', 'x', now(), 'payer/P1', '')"
                .to_owned(),
            "payer_account_leg P1 1: 2 were added and 0 removed",
        ),
        (
            "insert into payer_account_leg values (1, 'P1', 1, 1, 'REMOVED', 1, 'ADDED', '', 'y', now(), 'payer/P1', '')"
                .to_owned(),
            "payer_account_leg P1 1 1: another account was removed",
        ),
        (
            format!("{code} insert into phone_code_try values (1, 'P1', 1, 2, true, now(), 'payer/P1')"),
            "phone_code_try P1 1 2: the code could not be tried any more",
        ),
        (
            format!("{code} insert into phone_code_try values (1, 'P1', 1, 1, true, now() + interval '1 hour', 'payer/P1')"),
            "phone_code_try P1 1 1: the code could not be tried any more",
        ),
        (
            format!("{code} update payer_phone_verification set document = null, code_no = 1"),
            "payer_phone_verification P1 1: neither a right code nor a document",
        ),
        (
            "delete from payer_identity_hash".to_owned(),
            "payer_identity P1: it has no hash under its own key",
        ),
    ];
    for (change, expected) in changes {
        let world = World::build().await;
        register_payer(&world.process, &world.center, "P1", &["D1"]).await;
        world.verified().await;
        let mut owner = PgConnection::connect(&world.db.url).await.unwrap();
        owner.execute(sqlx::AssertSqlSafe(change.clone())).await.unwrap();
        let found = verification::verify(&mut owner, &world.center).await;
        let found = found.expect_err(&change).to_string();
        assert!(found.contains(expected), "{change}: {found}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_remits_was_approved_once() {
    let economy = Economy::on(date!(2031 - 05 - 06)).await;
    economy.order(Uuid::new_v4(), "D1", "10").await.unwrap();
    let world = &economy.world;
    world.verified().await;
    let mut owner = PgConnection::connect(&world.db.url).await.unwrap();
    owner
        .execute("update payer_link_leg set state = 'REQUESTED'")
        .await
        .unwrap();
    let found = verification::verify(&mut owner, &world.center)
        .await
        .unwrap_err()
        .to_string();
    assert!(found.contains("its payer's link was never approved"), "{found}");
}
