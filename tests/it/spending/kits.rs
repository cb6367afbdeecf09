//! Kits: to whom, how often, and taken back.

use custody_ledger::{
    clock::Clock,
    commissary::{KitLine, MovementKind},
    ids::Seq,
    ledger::{LedgerError, Posted, chart},
};
use time::{Duration, macros::datetime};

use crate::{
    goods::{moved, product, stock},
    world::{World, id, reason, request},
};

async fn grant(world: &World, detainee: &str) -> Result<Posted, LedgerError> {
    let request = request("custody.v1.SpendingService/GrantKit", detainee.as_bytes());
    let commissary = &world.process.commissary;
    commissary.grant_kit(&world.center, request, id(detainee)).await
}

async fn cancel(world: &World, grant: Seq) -> Result<Posted, LedgerError> {
    let request = request("custody.v1.SpendingService/CancelKitGrant", &grant.0.to_be_bytes());
    let commissary = &world.process.commissary;
    commissary
        .cancel_kit_grant(&world.center, request, grant, "a mistake".into())
        .await
}

async fn define(world: &World) {
    let lines = [("RICE", 2), ("SOAP", 1)].map(|(name, quantity)| KitLine {
        product: product(name),
        quantity,
    });
    let kit = (lines.to_vec(), None);
    let update = world
        .process
        .commissary
        .update_kit(&world.center, kit, "new", "admin/alice");
    assert_eq!(update.await.unwrap().version, 1);
}

async fn granted_in_all(world: &World) -> String {
    let read = &*world.process.database.read;
    let found = custody_ledger::ledger::balance::now(read, &world.center, &[chart::GRANTS]).await;
    found.unwrap().0[0].to_string()
}

fn refused(answer: Result<Posted, LedgerError>) -> String {
    reason(&answer.unwrap_err())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kit_is_for_those_who_have_nothing_and_once_in_a_while() {
    let start = datetime!(2031-05-06 02:00 UTC);
    let clock = Clock::starting_at(start);
    let world = World::build_with(clock.clone(), 4096).await;
    assert_eq!(refused(grant(&world, "D1").await), "NO_KIT");
    define(&world).await;
    let (process, center) = (&world.process, &world.center);
    moved(process, center, "RICE", MovementKind::Received, 3).await.unwrap();
    let granted = grant(&world, "D1").await.unwrap();
    assert_eq!(
        (world.available("D1").await, granted_in_all(&world).await),
        ("0.00".into(), "9.00".into())
    );
    assert_eq!(stock(process, center, "RICE").await, Some(1));
    assert_eq!(refused(grant(&world, "D1").await), "KIT_GRANTED");
    // One of the goods is not there: nothing is granted, and what is there stays.
    assert_eq!(refused(grant(&world, "D3").await), "OUT_OF_STOCK");
    assert_eq!(stock(process, center, "RICE").await, Some(1));
    // Taken back it leaves nothing, and there can be another.
    cancel(&world, granted.seq()).await.unwrap();
    assert_eq!(
        (granted_in_all(&world).await, stock(process, center, "RICE").await),
        ("0.00".into(), Some(3))
    );
    assert_eq!(refused(cancel(&world, granted.seq()).await), "KIT_CANCELLED");
    assert_eq!(refused(cancel(&world, Seq(99)).await), "NOT_FOUND");
    grant(&world, "D1").await.unwrap();
    moved(process, center, "RICE", MovementKind::Received, 10)
        .await
        .unwrap();
    // Who was credited something gets none for 30 days, however little is left; then it is the balance that counts.
    world.endow("D2", "9.00").await;
    assert_eq!(refused(grant(&world, "D2").await), "NOT_INDIGENT");
    world.endow("D3", "50.00").await;
    assert!(clock.turn_to(start + Duration::days(31)));
    assert_eq!(refused(grant(&world, "D3").await), "NOT_INDIGENT");
    // It had 50.00 within the last 30 days, although next to nothing is left.
    world.buy("D3", &[("SOAP", 12)]).await.unwrap();
    assert_eq!(refused(grant(&world, "D3").await), "NOT_INDIGENT");
    for detainee in ["D1", "D2"] {
        grant(&world, detainee).await.unwrap();
    }
    // The vendor's goods are sold whoever is granted them, and what was granted counts in no window.
    let told = process.commissary.spending(center, &id("D1"), None).await.unwrap();
    assert_eq!(told.spent.to_string(), "0.00");
    assert_eq!(granted_in_all(&world).await, "27.00");
    world.verified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_at_once_grant_one_kit() {
    let world = World::build().await;
    define(&world).await;
    let other = world.another_process();
    let grants = (0..8).map(|number| {
        let process = if number % 2 == 0 {
            world.process.clone()
        } else {
            other.clone()
        };
        let center = world.center.clone();
        async move {
            let request = request("custody.v1.SpendingService/GrantKit", b"D1");
            process.commissary.grant_kit(&center, request, id("D1")).await
        }
    });
    let answers = futures::future::join_all(grants).await;
    let granted: Vec<&Posted> = answers.iter().filter_map(|answer| answer.as_ref().ok()).collect();
    assert_eq!(granted.len(), 1);
    let seq = granted[0].seq();
    let refusals = answers.iter().filter_map(|answer| answer.as_ref().err());
    assert!(refusals.map(reason).all(|why| why == "KIT_GRANTED"));
    let cancels = futures::future::join_all((0..6).map(|_| cancel(&world, seq))).await;
    assert_eq!(cancels.iter().filter(|answer| answer.is_ok()).count(), 1);
    assert_eq!(granted_in_all(&world).await, "0.00");
    world.verified().await;
}
