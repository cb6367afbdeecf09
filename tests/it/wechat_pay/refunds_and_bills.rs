//! Money that goes back, and the day's bills.

use std::time::Duration;

use custody_ledger::{
    gateway::{
        Channel as _, GatewayError, RefundRedirect, RefundState as Told,
        simulator::control::{NotifyOptions, PayOptions, RefundAnswer},
        wechat_pay::{WechatPayChannel, bill::parse_fund_flow},
    },
    ledger::{balance, chart},
    reconciliation::{BillOf, Reconciliations},
    refund::{RefundState, refund_number},
};

use super::{Bench, DAY, NEXT_MORNING, keys};
use crate::world::{Process, cny};

#[tokio::test(flavor = "multi_thread")]
async fn a_refund_succeeds_fails_or_waits_for_a_decision() {
    let bench = Bench::build().await;
    let remittance = bench.order("100.00").await;
    bench.pay(&remittance, PayOptions::default()).await;
    let first = bench.refund(&remittance, "30.00").await;
    assert_eq!(bench.refund_state(first).await, RefundState::Submitted);
    bench.answer(first, RefundAnswer::default()).await;
    assert_eq!(bench.refund_state(first).await, RefundState::Succeeded);
    assert_eq!(bench.clearing("wechat").await, "70.00");

    let second = bench.refund(&remittance, "20.00").await;
    let closed = RefundAnswer {
        failed: Some("closed".into()),
        ..RefundAnswer::default()
    };
    bench.answer(second, closed).await;
    assert_eq!(bench.refund_state(second).await, RefundState::Failed);
    assert_eq!(bench.world.available("D1").await, "70.00");

    // Stuck at the gateway, it stays in transit, however often it is told or asked.
    let third = bench.refund(&remittance, "10.00").await;
    let abnormal = RefundAnswer {
        abnormal: true,
        notify: NotifyOptions {
            duplicate: 1,
            ..NotifyOptions::default()
        },
        ..RefundAnswer::default()
    };
    bench.answer(third, abnormal).await;
    bench.refunds.refresh(&bench.world.center, third).await.unwrap();
    assert_eq!(bench.refund_state(third).await, RefundState::Abnormal);
    assert_eq!(bench.world.available("D1").await, "60.00");
    let number = refund_number(bench.world.center.no, third);
    let told = bench
        .wechat()
        .query_refund(&bench.number(&remittance), &number)
        .await
        .unwrap();
    let Told::Abnormal { gateway_refund, .. } = told else {
        panic!("{told:?}")
    };
    let redirect = RefundRedirect {
        refund_number: number,
        gateway_refund,
    };
    bench.wechat().redirect_refund(&redirect).await.unwrap();
    bench.refunds.refresh(&bench.world.center, third).await.unwrap();
    assert_eq!(bench.refund_state(third).await, RefundState::Succeeded);
    assert_eq!(bench.clearing("wechat").await, "60.00");
    assert_eq!(bench.rejected().await, Vec::<String>::new());
    bench.world.verified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_days_bill_is_fetched_and_reconciled_with_fees_kept_and_given_back() {
    let bench = Bench::build().await;
    let center = &bench.world.center;
    let of = BillOf {
        channel: "wechat".into(),
        date: DAY,
    };
    let remittance = bench.order("100.00").await;
    bench.pay(&remittance, PayOptions::default()).await;
    let refund = bench.refund(&remittance, "50.00").await;
    bench.answer(refund, RefundAnswer::default()).await;
    let late = bench.refund(&remittance, "10.00").await;
    let early = bench.wechat().fetch_bill(DAY).await;
    assert!(
        matches!(&early, Err(GatewayError::Refused { code, .. }) if code == "BILL_CREATING"),
        "{early:?}"
    );

    assert!(bench.clock.turn_to(NEXT_MORNING));
    // Billed on the day on which it was accepted.
    bench.answer(late, RefundAnswer::default()).await;
    let process = Process::over(&bench.world.db.url, bench.clock.clone(), 64);
    let reconciliations = Reconciliations::new(process.lanes.clone(), process.custody.clone(), bench.channels.clone());
    let first = reconciliations.fetch(center, of.clone(), "finance").await.unwrap();
    let totals = &first.totals;
    assert_eq!((totals.lines, totals.matched, totals.breaks), (3, 3, 0));
    assert_eq!((totals.bill_paid, totals.bill_refunded), (cny("100.00"), cny("60.00")));
    assert_eq!(totals.bill_fees, cny("0.24"), "0.60 kept, 0.30 and 0.06 given back");
    assert_eq!(bench.clearing("wechat").await, "39.76");
    let fees = balance::now(&*process.database.read, center, &[chart::GATEWAY_FEES])
        .await
        .unwrap();
    assert_eq!(fees.0[0], cny("0.24"));
    let again = reconciliations.fetch(center, of.clone(), "finance").await.unwrap();
    assert_eq!(again, first, "the same bill again");

    let none = BillOf {
        date: DAY.previous_day().unwrap(),
        ..of
    };
    let empty = reconciliations.fetch(center, none, "finance").await.unwrap();
    assert_eq!((empty.totals.lines, empty.totals.breaks), (0, 0));

    let config = keys().config("wechat", &bench.base_url).unwrap();
    let wechat = WechatPayChannel::try_new(&config, bench.clock.clone()).unwrap();
    let flow = parse_fund_flow(&wechat.fetch_fund_flow(DAY).await.unwrap()).unwrap();
    let balances: Vec<String> = flow.iter().map(|row| row.balance.to_string()).collect();
    assert_eq!(balances, ["100.00", "99.40", "49.40", "49.70", "39.70", "39.76"]);

    let bill = String::from_utf8(wechat.fetch_bill(DAY).await.unwrap()).unwrap();
    let rows: Vec<Vec<&str>> = bill
        .lines()
        .skip(1)
        .take(3)
        .map(|row| row.split(",`").collect())
        .collect();
    let payment_id = rows[0][5];
    assert!(
        payment_id.starts_with("pay_") && rows.iter().all(|row| row[5] == payment_id),
        "{bill}"
    );
    assert!(rows.iter().all(|row| row[0].starts_with("`2031-05-06 10:")), "{bill}");

    // The day on which it succeeded has nothing of it, and misses nothing.
    assert!(bench.clock.turn_to(NEXT_MORNING + Duration::from_secs(24 * 3600)));
    let next = BillOf {
        channel: "wechat".into(),
        date: DAY.next_day().unwrap(),
    };
    let empty = reconciliations.fetch(center, next, "finance").await.unwrap();
    assert_eq!((empty.totals.lines, empty.totals.breaks), (0, 0));
    bench.world.verified().await;
}
