//! Power cuts between the steps of an end: each step happens once, whoever is killed in between.

use custody_ledger::{
    access::Role,
    proto::{Custody, Payout, WorkKind, payout},
};

use super::{CONFIRM, CREATE, NUMBER, add_heir, change, items, paid, part, payout_of};
use crate::whole_service::Hall;

async fn cut(hall: &mut Hall) {
    hall.service.kill().await;
    hall.service.restart().await;
    hall.channel = hall.service.channel().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_death_case_survives_every_cut() {
    let mut hall = Hall::open().await;
    change(&hall, "D1", Custody::Deceased).await;
    cut(&mut hall).await;
    let heir = add_heir(&hall, "D1", "H1").await;
    let mut share = part("90.00", NUMBER);
    share.heir = heir;
    let asked = payout_of("D1", payout::Purpose::Heirs, vec![share]);
    let first: Payout = hall.ask(CREATE, &asked).await.unwrap();
    cut(&mut hall).await;
    let again: Payout = hall.ask(CREATE, &asked).await.unwrap();
    assert_eq!(again, first, "the same request is the same approval");
    // Allowed while the power goes: whoever decides again, or the job, has it run once.
    let approval = hall.open_approvals().await[0].name.clone();
    let (decided, ()) = tokio::join!(hall.approve(&approval, "carol"), async {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    });
    drop(decided);
    cut(&mut hall).await;
    let done = hall.approve(&approval, "carol").await.unwrap();
    assert_eq!(done.state(), custody_ledger::proto::approval::State::Executed);
    let opened: Payout = hall.ask(CREATE, &asked).await.unwrap();
    assert_eq!(hall.balances("D1").await[0], "0.00");
    let confirm = paid(&opened.name, 1);
    let bob = hall.person("bob", Role::Finance);
    let told: Payout = hall.ask_as(CONFIRM, &bob, &confirm).await.unwrap();
    let seq = hall.seq().await;
    cut(&mut hall).await;
    let again: Payout = hall.ask_as(CONFIRM, &bob, &confirm).await.unwrap();
    assert_eq!(again, told);
    assert_eq!(hall.seq().await, seq);
    assert_eq!(items(&hall, WorkKind::PayoutInTransit).await, 0);
    hall.verified().await;
}
