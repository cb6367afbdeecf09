//! Settlements: each posting in exactly one, net of returns, paid once, and owed again when the bank fails.

use custody_ledger::{
    approval::{Desk, Verdict},
    clock::Clock,
    commissary::ReturnLine,
    ids::{Seq, VendorId},
    ledger::{LedgerError, Posted, Request, balance},
    proto::journal_record::Facts,
    settlement::Settlements,
};
use time::{
    Date, OffsetDateTime,
    macros::{date, datetime},
};

use crate::{
    all_domains::person,
    world::{Process, World, reason, request},
};

/// Ten in the morning in Shanghai.
const MORNING: OffsetDateTime = datetime!(2031-05-06 02:00:00 UTC);

async fn later(world: &World, at: OffsetDateTime) -> (Process, Settlements) {
    let process = Process::over(&world.db.url, Clock::starting_at(at), 4096);
    let settlements = Settlements::new(process.lanes.clone());
    (process, settlements)
}

async fn close(settlements: &Settlements, world: &World, date: Date) -> Result<Posted, LedgerError> {
    close_with(
        settlements,
        world,
        request("test/Close", date.to_string().as_bytes()),
        date,
    )
    .await
}

async fn close_with(
    settlements: &Settlements,
    world: &World,
    request: Request,
    date: Date,
) -> Result<Posted, LedgerError> {
    let vendor = VendorId::parse("V1").unwrap();
    settlements.close(&world.center, request, vendor, date).await
}

fn total(posted: &Posted) -> String {
    match &posted.record.facts {
        Some(Facts::Settlement(facts)) => facts.total.clone(),
        other => panic!("{other:?}"),
    }
}

/// Two people allow that it is paid.
async fn allow(settlements: &Settlements, world: &World, process: &Process, settlement: Seq) {
    let desk = Desk::new(process.lanes.clone(), [settlements.runner()]);
    let asked = settlements.propose(
        &world.center,
        request("test/Propose", b""),
        person("alice"),
        settlement,
        "reviewed".into(),
    );
    let (approval, _) = asked.await.unwrap();
    let bob = person("bob");
    let decided = desk.decide(&world.center, approval.no, &bob, Verdict::Approved, String::new());
    decided.await.unwrap();
}

async fn lines(settlements: &Settlements, world: &World, seq: Seq) -> Vec<(String, Option<Seq>)> {
    let lines = settlements.lines(&world.center, seq, None, 100).await.unwrap();
    lines
        .into_iter()
        .map(|line| (line.amount.to_string(), line.settlement))
        .collect()
}

async fn owed(world: &World) -> Vec<String> {
    let vendor = VendorId::parse("V1").unwrap();
    let vendor = world.process.commissary.vendor(&world.center, &vendor).await.unwrap();
    let accounts = [vendor.payable_no, vendor.transit_no];
    let now = balance::now(&*world.process.database.read, &world.center, &accounts).await;
    now.unwrap().0.iter().map(ToString::to_string).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_posting_is_in_one_settlement_and_is_paid_once() {
    let world = World::build_with(Clock::starting_at(MORNING), 4096).await;
    let center = &world.center;
    let today = Settlements::new(world.process.lanes.clone());
    world.endow("D1", "100.00").await;
    let bought = world.buy("D1", &[("RICE", 4)]).await.unwrap();
    let refused = close(&today, &world, date!(2031 - 05 - 06)).await.unwrap_err();
    assert_eq!(reason(&refused), "DATE_NOT_OVER");
    let refused = close(&today, &world, date!(2031 - 05 - 05)).await.unwrap_err();
    assert_eq!(reason(&refused), "NOTHING_TO_PAY");

    // 00:00 in Shanghai is 16:00 UTC: the date is over.
    let (process, tomorrow) = later(&world, datetime!(2031-05-06 16:00:01 UTC)).await;
    let asked = request("test/Close", b"first");
    let first = close_with(&tomorrow, &world, asked.clone(), date!(2031 - 05 - 06))
        .await
        .unwrap();
    assert_eq!(total(&first), "10.00");
    assert_eq!(owed(&world).await, ["0.00", "10.00"]);
    let again = close_with(&tomorrow, &world, asked, date!(2031 - 05 - 06))
        .await
        .unwrap();
    assert!(again.replayed);
    assert_eq!(again.record, first.record);
    let twice = close(&tomorrow, &world, date!(2031 - 05 - 06)).await.unwrap();
    assert!(twice.replayed);
    assert_eq!(twice.record, first.record);
    assert_eq!(
        lines(&tomorrow, &world, first.seq()).await,
        [("10.00".to_owned(), None)]
    );

    // A return after the vendor was paid, and a payment that the bank could not make, are the next settlement's.
    let piece = ReturnLine { line: 1, quantity: 1 };
    process
        .commissary
        .take_back(
            center,
            request("test/Return", b""),
            bought.seq(),
            vec![piece],
            "spoilt".into(),
        )
        .await
        .unwrap();
    let fail = request("test/Fail", b"");
    let failed = tomorrow
        .fail(center, fail, first.seq(), "account closed".into())
        .await
        .unwrap();
    assert_eq!(failed.record.reverses, first.seq().0);
    assert_eq!(owed(&world).await, ["7.50", "0.00"]);

    let (morning, next) = later(&world, datetime!(2031-05-07 16:00:01 UTC)).await;
    let second = close(&next, &world, date!(2031 - 05 - 07)).await.unwrap();
    assert_eq!(total(&second), "7.50");
    let expected = [("-2.50".to_owned(), None), ("10.00".to_owned(), Some(first.seq()))];
    assert_eq!(lines(&next, &world, second.seq()).await, expected);
    let confirm_as = |who: &str| Request {
        actor: format!("finance/{who}"),
        ..request("test/Confirm", b"")
    };
    let confirm = || confirm_as("erin");
    let unallowed = next
        .confirm(center, confirm(), second.seq(), "B-1".into())
        .await
        .unwrap_err();
    assert_eq!(reason(&unallowed), "SETTLEMENT_NOT_APPROVED");
    allow(&next, &world, &morning, second.seq()).await;
    // Not by who closed it, nor by who proposed it, in whatever role.
    for own in [request("test/Confirm", b""), confirm_as("ALICE")] {
        let refused = next.confirm(center, own, second.seq(), "B-1".into()).await.unwrap_err();
        assert_eq!(reason(&refused), "MAKER_IS_CHECKER");
    }
    next.confirm(center, confirm(), second.seq(), "B-1".into())
        .await
        .unwrap();
    for seq in [first.seq(), second.seq()] {
        let refused = next.confirm(center, confirm(), seq, "B-2".into()).await.unwrap_err();
        assert_eq!(reason(&refused), "NOT_IN_TRANSIT");
    }
    let missing = next.confirm(center, confirm(), Seq(1), "B-2".into()).await.unwrap_err();
    assert_eq!(reason(&missing), "NOT_FOUND");
    assert_eq!(owed(&world).await, ["0.00", "0.00"]);
    let listed = next.list(center, None, None, 10).await.unwrap();
    let ends: Vec<bool> = listed.iter().map(|settlement| settlement.end.is_some()).collect();
    assert_eq!(ends, [true, true]);
    assert_eq!(listed[1].end.as_ref(), Some(&*failed.record));
    world.verified().await;
}
