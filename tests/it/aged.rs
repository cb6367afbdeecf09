//! What nobody found the owner of for seven days goes back to its payer by itself, once, whoever looks.

use custody_ledger::{
    gateway::Channels,
    jobs::polling::{Open, look},
    refund::{RefundState, Refunds},
    remittance::LegState,
    work::{ItemFilter, WorkKind, WorkQueue},
};
use time::macros::date;
use uuid::Uuid;

use crate::all_domains::Economy;

/// Whether each item of a payment in suspense is overdue, the oldest first.
async fn overdue(economy: &Economy) -> Vec<bool> {
    let queue = WorkQueue::new(economy.world.process.lanes.clone());
    let filter = ItemFilter {
        open: true,
        kind: Some(WorkKind::SuspendedPayment),
        ..ItemFilter::default()
    };
    let items = queue.list(&economy.world.center, &filter, 10).await.unwrap();
    items.iter().map(|item| item.is_overdue(queue.now())).collect()
}

/// Two processes look at once; how many refunds there are then.
async fn looked(economy: &Economy) -> usize {
    let other = economy.world.another_process();
    let open = |refunds: &Refunds| Open::Aged(economy.house.remittances.clone(), refunds.clone());
    let theirs = Refunds::new(other.lanes.clone(), other.custody.clone(), economy.channels().clone());
    let (ours, theirs) = (open(&economy.house.refunds), open(&theirs));
    for _ in 0..2 {
        tokio::join!(
            look(&ours, &economy.world.process.custody),
            look(&theirs, &other.custody)
        );
    }
    let all = economy
        .house
        .refunds
        .list(&economy.world.center, None, None, None, None, 10);
    all.await.unwrap().len()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_suspense_for_seven_days_goes_back_once() {
    let mut economy = Economy::on(date!(2031 - 05 - 06)).await;
    let (ordered, _) = economy.order(Uuid::new_v4(), "D2", "70").await.unwrap();
    // On the way out, and not gone yet: what comes for who has left goes back at once.
    economy.world.endow("D2", "10").await;
    economy.release(Uuid::new_v4(), "D2").await.unwrap();
    let paid = economy.pay(&ordered.id).await;
    assert_eq!(paid.state(), LegState::Suspended);
    assert_eq!(overdue(&economy).await, [false]);
    economy.move_to(date!(2031 - 05 - 12));
    assert_eq!(looked(&economy).await, 0);
    economy.move_to(date!(2031 - 05 - 14));
    assert_eq!(overdue(&economy).await, [true]);
    // Without a way back it stays, and is overdue.
    let (lanes, custody) = (
        economy.world.process.lanes.clone(),
        economy.world.process.custody.clone(),
    );
    let cut_off = Refunds::new(lanes, custody.clone(), Channels::default());
    let stays = Open::Aged(economy.house.remittances.clone(), cut_off);
    assert_eq!(look(&stays, &custody).await, 0);
    assert_eq!(overdue(&economy).await, [true]);

    assert_eq!(looked(&economy).await, 1);
    assert_eq!(overdue(&economy).await, [] as [bool; 0]);
    let refunds = &economy.house.refunds;
    let all = refunds
        .list(&economy.world.center, None, None, None, None, 10)
        .await
        .unwrap();
    let first = custody_ledger::ids::Seq(all[0].requested.seq);
    assert_eq!(all[0].requested.actor, "job/aged");
    // The payer's account is closed: it is in suspense again, for another seven days.
    assert_eq!(economy.end_refund(first, true).await.state, RefundState::Failed);
    assert_eq!(overdue(&economy).await, [false]);
    assert_eq!(looked(&economy).await, 1);
    economy.world.verified().await;
    economy.move_to(date!(2031 - 05 - 22));
    assert_eq!(looked(&economy).await, 2);
    let all = economy
        .house
        .refunds
        .list(&economy.world.center, None, None, None, None, 10);
    let second = custody_ledger::ids::Seq(all.await.unwrap()[0].requested.seq);
    assert_eq!(economy.end_refund(second, false).await.state, RefundState::Succeeded);
    assert_eq!(overdue(&economy).await, [] as [bool; 0]);
    economy.world.verified().await;
}
