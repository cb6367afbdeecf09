//! Payments that a file of the bank's says failed, which others do not believe or the bank pays meanwhile.

use custody_ledger::approval::Verdict;
use time::macros::date;

use crate::{
    all_domains::{Economy, person},
    vendor_payments::{answers, decide, file, give_account, open_items, owed, sell},
    world::reason,
};

#[tokio::test(flavor = "multi_thread")]
async fn what_others_refuse_or_the_bank_pays_meanwhile_is_not_owed_again() {
    let mut economy = Economy::on(date!(2031 - 05 - 06)).await;
    economy.world.endow("D1", "100.00").await;
    give_account(&economy, "6222021001116245713").await;
    let center = economy.world.center.clone();
    sell(&mut economy, 4, date!(2031 - 05 - 07)).await;
    let number = file(&economy).await.unwrap();
    let written = answers(&economy, number, "13").await;
    let (payments, desk) = (economy.house.payments.clone(), economy.house.desk.clone());
    let bring = |who: &'static str| payments.read_status(&center, &written.status, who);
    let refuse = |no| {
        let (desk, center) = (desk.clone(), center.clone());
        async move {
            let carol = person("carol");
            desk.decide(&center, no, &carol, Verdict::Refused, "not on the bank's screen".into())
                .await
        }
    };
    // Two bring it at once: one question.
    let (one, two) = tokio::join!(bring("finance/f"), bring("admin/g"));
    let first = one.unwrap().approval.unwrap();
    assert_eq!(two.unwrap().approval, Some(first));
    refuse(first).await.unwrap();
    assert_eq!(owed(&economy).await, ["0.00", "10.00"]);
    // Refused, it can be asked for again; left alone for too long, too.
    let second = bring("finance/f").await.unwrap().approval.unwrap();
    assert_ne!(first, second);
    economy.move_to(date!(2031 - 05 - 12));
    let late = decide(&economy.house.desk, &economy, second, "bob").await.unwrap_err();
    assert_eq!(reason(&late), "APPROVAL_CLOSED");
    let (payments, desk) = (economy.house.payments.clone(), economy.house.desk.clone());
    let third = payments
        .read_status(&center, &written.status, "finance/f")
        .await
        .unwrap()
        .approval
        .unwrap();
    // The bank's statement tells that it was paid.
    let paid = answers(&economy, number, "").await;
    let read = payments.read_statement(&center, &paid.statement, "finance/f").await;
    assert_eq!(read.unwrap().counts, [1, 0]);
    let bob = person("bob");
    let decided = desk.decide(&center, third, &bob, Verdict::Approved, String::new());
    decided.await.unwrap();
    assert_eq!(owed(&economy).await, ["0.00", "0.00"]);
    let items = open_items(&economy).await;
    assert!(items.len() == 1 && items[0].starts_with("settlements/"), "{items:?}");
    economy.world.verified().await;
}
