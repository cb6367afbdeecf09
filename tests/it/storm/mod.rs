//! Everything at once, by a seed: remittances on three gateways whose notifications, answers and refunds go wrong, and power
//! cuts of the service and of its PostgreSQL. Then the weather clears, and the books are compared.
//!
//! `CUSTODY_STORM_SEED` and `CUSTODY_STORM_REMITTANCES` choose another storm than the small one of the suite.
//!
//! # Layout
//! - `house`: the service, the gateways, the people, and a caller who asks again until there is a definite outcome.
//! - `traffic`: what payers do, and what the finance office pays back.
//! - `reckoning`: waits until nothing is open, and lets the bills come. `sides`: the gateways' books and the ledger's;
//!   `comparison`: payment by payment. `planted`: that the comparison finds what is wrong.

mod comparison;
mod house;
mod planted;
mod reckoning;
mod sides;
mod traffic;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use custody_ledger::gateway::simulator::faults::{FaultRates, RefundMode};
use tokio::task::JoinSet;

use self::house::{Caller, House};

/// How many remittances are on their way at once.
const CALLERS: usize = 12;
/// How often the power is cut: the service's and PostgreSQL's in turn.
const CUTS: usize = 4;
/// The remittances of the small storm.
const REMITTANCES: usize = 160;
const SEED: u64 = 20_261_124;

fn told<T: std::str::FromStr>(variable: &str, otherwise: T) -> T {
    match std::env::var(variable) {
        Ok(text) => text.parse().ok().unwrap_or_else(|| panic!("{variable}={text}")),
        Err(_) => otherwise,
    }
}

/// Every fault of the gateways.
fn faults(seed: u64) -> FaultRates {
    FaultRates {
        seed,
        lose_per_mille: 120,
        duplicate_per_mille: 200,
        reorder_per_mille: 150,
        delay_per_mille: 200,
        delay_max_ms: 800,
        corrupt_per_mille: 100,
        turn_away_per_mille: 60,
        lose_answer_per_mille: 60,
        slow_per_mille: 60,
        slow_max_ms: 400,
        refunds: RefundMode::ByItself,
        refuse_refund_per_mille: 250,
        strand_refund_per_mille: 150,
        delay_refund_per_mille: 300,
        refund_delay_max_ms: 800,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storm_leaves_the_gateways_books_and_the_ledger_equal() {
    let seed = told("CUSTODY_STORM_SEED", SEED);
    let count = told("CUSTODY_STORM_REMITTANCES", REMITTANCES);
    println!("storm: CUSTODY_STORM_SEED={seed} CUSTODY_STORM_REMITTANCES={count}");
    let (began_at, began) = (time::OffsetDateTime::now_utc(), std::time::Instant::now());
    let mut house = House::open().await;
    house.control.set_faults(&faults(seed)).await.unwrap();

    let done = Arc::new(AtomicUsize::new(0));
    let mut callers = JoinSet::new();
    for caller in 0..CALLERS {
        callers.spawn(remit_all(house.caller(), seed, (caller, count), done.clone()));
    }
    for cut in 0..CUTS {
        while done.load(Ordering::Relaxed) < (cut + 1) * count / (CUTS + 1) && !callers.is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
            while let Some(ended) = callers.try_join_next() {
                ended.unwrap();
            }
        }
        match cut % 2 {
            0 => house.cut_service().await,
            _ => house.cut_postgresql().await,
        }
    }
    while let Some(ended) = callers.join_next().await {
        ended.unwrap();
    }

    // The gateways are well again, but for refunds, which they still answer by themselves.
    let calm = FaultRates {
        refunds: RefundMode::ByItself,
        ..FaultRates::default()
    };
    house.control.set_faults(&calm).await.unwrap();
    println!("storm: all asked for after {} s", began.elapsed().as_secs());
    let reckoned = reckoning::reckon(&mut house, began_at).await;
    println!("storm: {reckoned:?} after {} s", began.elapsed().as_secs());
    // Its PostgreSQL ends with it.
    house.service.stop().await;
    // A storm in which something never happened shows nothing of it.
    assert_eq!(reckoned.lacking(), [""; 0], "{reckoned:?}");
}

/// Every `CALLERS`th remittance of `count`, one after the other.
async fn remit_all(caller: Caller, seed: u64, (first, count): (usize, usize), done: Arc<AtomicUsize>) {
    for number in (first..count).step_by(CALLERS) {
        traffic::remit(&caller, seed, number).await;
        done.fetch_add(1, Ordering::Relaxed);
    }
}
