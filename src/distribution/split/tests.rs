//! Splits by example, and what holds for every policy and every detainee.

use proptest::prelude::*;
use rust_decimal::Decimal;
use time::OffsetDateTime;

use super::*;
use crate::{
    distribution::{RULE_ORDER, parse_percent},
    ids::{CourtOrderId, DetaineeId, Seq},
    money::{Currency, allocate},
};

fn currency() -> Currency {
    Currency::parse("CNY").unwrap()
}

fn cny(text: &str) -> Amount {
    Amount::parse(text, currency()).unwrap()
}

fn fen(units: i64) -> Amount {
    Amount::from_decimal(Decimal::new(units, 2), currency()).unwrap()
}

fn order(document: &str, rank: i32, total: Amount, collected: Amount) -> CourtOrder {
    CourtOrder {
        id: CourtOrderId::parse(document).unwrap(),
        document: document.to_owned(),
        total,
        collected,
        rank,
        position: rank,
        state: CourtOrderState::Active,
        created_at: OffsetDateTime::UNIX_EPOCH,
    }
}

fn debt(seq: i64, kind: DebtKind, amount: Amount, repaid: Amount) -> Debt {
    Debt {
        seq: Seq(seq),
        detainee: DetaineeId::parse("D1").unwrap(),
        kind,
        document: format!("B{seq}"),
        amount,
        repaid,
        written_off: cny("0"),
        is_consented: true,
        recorded_at: OffsetDateTime::UNIX_EPOCH,
        approval: None,
    }
}

fn policy(percent: &str, cap: Option<&str>) -> Policy {
    Policy {
        savings_percent: parse_percent(percent).unwrap(),
        savings_cap: cap.map(cny),
        ..Policy::initial(currency()).unwrap()
    }
}

/// Somebody with so much available and saved, who owes nothing.
fn holder(available: &str, savings: &str) -> Holder<'static> {
    Holder {
        orders: &[],
        debts: &[],
        available: cny(available),
        savings: cny(savings),
        is_convicted: true,
    }
}

/// Each part as `rule document amount still_owed reason`.
fn split(gross: &str, policy: &Policy, holder: Holder<'_>) -> Vec<String> {
    distribute(cny(gross), policy, &holder)
        .unwrap()
        .iter()
        .map(|part| {
            let words = [&part.rule, &part.document, &part.amount, &part.still_owed, &part.reason];
            let words: Vec<&str> = words.into_iter().map(String::as_str).collect();
            words.join(" ").split_whitespace().collect::<Vec<_>>().join(" ")
        })
        .collect()
}

#[test]
fn courts_come_first_then_savings_then_the_detainee() {
    let orders = [
        order("C1", 1, cny("30"), cny("10")),
        order("C2", 2, cny("50"), cny("50")),
        order("C3", 3, cny("15"), cny("0")),
    ];
    let owing = Holder {
        orders: &orders,
        ..holder("0", "0")
    };
    assert_eq!(
        split("100", &policy("10", None), owing),
        [
            "court_order C1 20.00 0.00",
            "court_order C3 15.00 0.00",
            "savings 10.00",
            "remainder 55.00"
        ]
    );
    assert_eq!(
        split("25", &policy("10", None), owing),
        [
            "court_order C1 20.00 0.00",
            "court_order C3 5.00 10.00",
            "savings 0.00",
            "remainder 0.00"
        ]
    );
}

#[test]
fn courts_of_one_rank_share_by_what_is_owed() {
    let orders = [
        order("C1", 2, cny("30"), cny("0")),
        order("C2", 1, cny("10"), cny("0")),
        order("C3", 2, cny("60"), cny("0")),
    ];
    let owing = Holder {
        orders: &orders,
        ..holder("0", "0")
    };
    let parts = [
        "court_order C2 10.00 0.00",
        "court_order C1 0.33 29.67",
        "court_order C3 0.67 59.33",
        "remainder 0.00",
    ];
    assert_eq!(split("11", &policy("0", None), owing), parts);
}

#[test]
fn what_is_suspended_or_ended_is_not_collected() {
    let mut orders = [order("C1", 1, cny("30"), cny("0")), order("C2", 1, cny("30"), cny("0"))];
    orders[0].state = CourtOrderState::Suspended;
    orders[1].state = CourtOrderState::Ended;
    let owing = Holder {
        orders: &orders,
        ..holder("0", "0")
    };
    assert_eq!(split("11", &policy("0", None), owing), ["remainder 11.00"]);
}

#[test]
fn savings_stop_at_their_cap() {
    let capped = policy("12.5", Some("100"));
    assert_eq!(
        split("100", &capped, holder("0", "0")),
        ["savings 12.50", "remainder 87.50"]
    );
    assert_eq!(
        split("100", &capped, holder("0", "95")),
        ["savings 5.00", "remainder 95.00"]
    );
    assert_eq!(
        split("100", &capped, holder("0", "140")),
        ["savings 0.00", "remainder 100.00"]
    );
    assert_eq!(
        split("0.05", &capped, holder("0", "0")),
        ["savings 0.00", "remainder 0.05"]
    );
    assert_eq!(split("100", &policy("0", None), holder("0", "0")), ["remainder 100.00"]);
}

#[test]
fn debts_take_a_fifth_of_what_is_above_the_threshold() {
    let debts = [
        debt(7, DebtKind::Advance, cny("30"), cny("0")),
        debt(9, DebtKind::Damage, cny("70"), cny("10")),
    ];
    let owing = |available: &'static str| Holder {
        debts: &debts,
        ..holder(available, "0")
    };
    // 20 of 100, by 30 to 60.
    assert_eq!(
        split("100", &policy("10", None), owing("100")),
        [
            "debt B7 6.67 23.33",
            "debt B9 13.33 46.67",
            "savings 10.00",
            "remainder 70.00"
        ]
    );
    // 25 before and 90 of the credit: 15 are above 100.
    assert_eq!(
        split("100", &policy("10", None), owing("25"))[..2],
        [
            "debt B7 5.00 25.00 UNDER_THRESHOLD",
            "debt B9 10.00 50.00 UNDER_THRESHOLD"
        ]
    );
    // Right at the threshold, and a fen above.
    assert_eq!(
        split("100", &policy("0", None), owing("0"))[..2],
        [
            "debt B7 0.00 30.00 UNDER_THRESHOLD",
            "debt B9 0.00 60.00 UNDER_THRESHOLD"
        ]
    );
    assert_eq!(
        split("100", &policy("0", None), owing("0.01"))[..2],
        [
            "debt B7 0.00 30.00 UNDER_THRESHOLD",
            "debt B9 0.01 59.99 UNDER_THRESHOLD"
        ]
    );
}

#[test]
fn who_is_not_convicted_pays_only_debts_that_they_consent_to() {
    let mut debts = [
        debt(7, DebtKind::Advance, cny("30"), cny("0")),
        debt(9, DebtKind::Damage, cny("70"), cny("0")),
        debt(11, DebtKind::Claim, cny("5"), cny("0")),
    ];
    debts[1].is_consented = false;
    debts[2].is_consented = false;
    let owing = Holder {
        debts: &debts,
        is_convicted: false,
        ..holder("500", "0")
    };
    assert_eq!(
        split("100", &policy("0", None), owing),
        [
            "claim B11 5.00 0.00",
            "debt B7 20.00 10.00",
            "debt B9 0.00 70.00 NO_CONSENT",
            "remainder 75.00"
        ]
    );
}

#[test]
fn a_center_chooses_the_order_but_claims_come_first() {
    let orders = [order("C1", 1, cny("1000"), cny("0"))];
    let debts = [
        debt(7, DebtKind::Claim, cny("10"), cny("0")),
        debt(9, DebtKind::Advance, cny("70"), cny("0")),
    ];
    let owing = Holder {
        orders: &orders,
        debts: &debts,
        ..holder("100", "0")
    };
    let policy = Policy {
        order: [Rule::Savings, Rule::Debt, Rule::CourtOrder],
        ..policy("10", None)
    };
    // Nothing would be left of the credit without debts: what is above the threshold is none.
    assert_eq!(
        split("100", &policy, owing),
        [
            "claim B7 10.00 0.00",
            "savings 10.00",
            "debt B9 0.00 70.00 UNDER_THRESHOLD",
            "court_order C1 80.00 920.00",
            "remainder 0.00"
        ]
    );
}

#[test]
fn a_part_tells_why() {
    let debts = [debt(7, DebtKind::Advance, cny("30"), cny("0"))];
    let owing = Holder {
        debts: &debts,
        ..holder("500", "0")
    };
    let parts = distribute(cny("99.99"), &policy("0", None), &owing).unwrap();
    let part = &parts[0];
    let told = [&part.base, &part.rate_percent, &part.cap, &part.threshold, &part.amount];
    assert_eq!(told, ["99.99", "20", "19.99", "100.00", "19.99"]);
    assert_eq!((part.account_code, part.debt, part.rank), (1201, 7, 0));
}

/// A detainee of any debts and a center of any policy.
#[derive(Debug, Clone)]
struct Case {
    gross: Amount,
    policy: Policy,
    orders: Vec<CourtOrder>,
    debts: Vec<Debt>,
    available: Amount,
    savings: Amount,
    is_convicted: bool,
}

impl Case {
    fn holder(&self) -> Holder<'_> {
        Holder {
            orders: &self.orders,
            debts: &self.debts,
            available: self.available,
            savings: self.savings,
            is_convicted: self.is_convicted,
        }
    }

    fn parts(&self) -> Vec<DistributionPart> {
        distribute(self.gross, &self.policy, &self.holder()).unwrap()
    }
}

prop_compose! {
    fn policies()(
        percent in 0_i64..=10_000, cap in proptest::option::of(0_i64..1_000_000), debt_percent in 0_i64..=10_000,
        threshold in 0_i64..50_000, first in 0_usize..3, swap in any::<bool>(),
    ) -> Policy {
        let mut order = RULE_ORDER;
        order.rotate_left(first);
        if swap {
            order.swap(1, 2);
        }
        Policy {
            savings_percent: Decimal::new(percent, 2),
            savings_cap: cap.map(fen),
            debt_percent: Decimal::new(debt_percent, 2),
            debt_threshold: fen(threshold),
            order,
            ..Policy::initial(currency()).unwrap()
        }
    }
}

prop_compose! {
    fn cases()(
        gross in 1_i64..1_000_000, policy in policies(), available in 0_i64..100_000, savings in 0_i64..100_000,
        is_convicted in any::<bool>(),
        orders in proptest::collection::vec((1_i32..4, 1_i64..100_000, 0_i64..100_000, 0_u8..4), 0..6),
        debts in proptest::collection::vec((0_u8..3, 1_i64..100_000, 0_i64..100_000, any::<bool>()), 0..6),
    ) -> Case {
        let orders = (1..).zip(orders).map(|(position, (rank, total, collected, state))| CourtOrder {
            position,
            state: [CourtOrderState::Active, CourtOrderState::Active, CourtOrderState::Suspended, CourtOrderState::Ended]
                [usize::from(state)],
            ..order(&format!("C{position}"), rank, fen(total), fen(collected.min(total)))
        });
        let debts = (1..).zip(debts).map(|(seq, (kind, amount, repaid, is_consented))| Debt {
            is_consented,
            ..debt(
                seq,
                [DebtKind::Advance, DebtKind::Damage, DebtKind::Claim][usize::from(kind)],
                fen(amount),
                fen(repaid.min(amount)),
            )
        });
        Case {
            gross: fen(gross),
            policy,
            orders: orders.collect(),
            debts: debts.collect(),
            available: fen(available),
            savings: fen(savings),
            is_convicted,
        }
    }
}

fn of_rule<'a>(parts: &'a [DistributionPart], rule: &'a str) -> impl Iterator<Item = &'a DistributionPart> {
    parts.iter().filter(move |part| part.rule == rule)
}

fn sum<'a>(parts: impl Iterator<Item = &'a DistributionPart>) -> Amount {
    Amount::sum(parts.map(|part| cny(&part.amount)), currency()).unwrap()
}

/// What was owed before a part.
fn owed_before(part: &DistributionPart) -> Amount {
    cny(&part.amount).checked_add(cny(&part.still_owed)).unwrap()
}

/// The parts that share: claims, debts that are deducted, and court orders of each rank.
fn sharing(parts: &[DistributionPart]) -> Vec<Vec<&DistributionPart>> {
    let shares = |part: &&DistributionPart| !part.still_owed.is_empty() && part.reason != NO_CONSENT;
    let mut groups: Vec<Vec<&DistributionPart>> = Vec::new();
    for part in parts.iter().filter(shares) {
        match groups.last_mut() {
            Some(group) if (&group[0].rule, group[0].rank) == (&part.rule, part.rank) => group.push(part),
            _ => groups.push(vec![part]),
        }
    }
    groups
}

proptest! {
    #[test]
    fn the_parts_add_up(case in cases()) {
        prop_assert_eq!(sum(case.parts().iter()), case.gross);
    }

    /// Whoever comes later gets something only when whoever came before, and has no other bound, got all.
    #[test]
    fn claims_and_lower_ranks_are_served_first(case in cases()) {
        let parts = case.parts();
        let mut before: Option<&DistributionPart> = None;
        for part in &parts {
            let is_of_before = before.is_some_and(|before| (&before.rule, before.rank) == (&part.rule, part.rank));
            if let (Some(before), false) = (before, is_of_before) {
                prop_assert!(before.still_owed == "0.00" || cny(&part.amount).is_zero(), "{before:?} {part:?}");
            }
            if part.still_owed != "0.00" && [CLAIM, COURT_ORDER].contains(&part.rule.as_str()) {
                before = before.filter(|_| is_of_before).or(Some(part));
            }
        }
        let ranks: Vec<i32> = of_rule(&parts, COURT_ORDER).map(|part| part.rank).collect();
        prop_assert!(ranks.is_sorted());
        let places: Vec<usize> = parts
            .iter()
            .map(|part| match part.rule.as_str() {
                CLAIM => 0,
                REMAINDER => 4,
                rule => 1 + case.policy.order.iter().position(|of| of.name() == rule).unwrap(),
            })
            .collect();
        prop_assert!(places.is_sorted(), "{places:?}");
    }

    /// Shares are those of the largest remainder: exact to the last fen, and never more than is owed.
    #[test]
    fn sharing_is_pro_rata_by_what_is_owed(case in cases()) {
        let parts = case.parts();
        for group in sharing(&parts) {
            let owed: Vec<Decimal> = group.iter().map(|part| owed_before(part).value()).collect();
            let total = sum(group.iter().copied());
            let all: Decimal = owed.iter().sum();
            for (part, owed) in group.iter().zip(&owed) {
                let exact = total.value() * owed / all;
                let off = (cny(&part.amount).value() - exact).abs();
                prop_assert!(off < Decimal::new(1, 2), "{part:?}: {exact}");
                prop_assert!(cny(&part.amount).value() <= *owed);
            }
            let weights: Vec<u64> = group.iter().map(|part| units(owed_before(part))).collect();
            let shares = allocate(total, &weights).unwrap();
            prop_assert_eq!(group.iter().map(|part| cny(&part.amount)).collect::<Vec<_>>(), shares);
        }
    }

    #[test]
    fn no_cap_is_exceeded_and_no_debt_brings_anybody_below_the_threshold(case in cases()) {
        let parts = case.parts();
        let percent = |rate: Decimal| case.gross.value() * rate / Decimal::ONE_HUNDRED;
        let debts = sum(of_rule(&parts, DEBT));
        prop_assert!(debts.value() <= percent(case.policy.debt_percent));
        let saved = sum(of_rule(&parts, SAVINGS));
        prop_assert!(saved.value() <= percent(case.policy.savings_percent));
        if let (Some(cap), true) = (case.policy.savings_cap, saved.is_positive()) {
            prop_assert!(case.savings.checked_add(saved).unwrap().value() <= cap.value());
        }
        let after = case.available.checked_add(sum(of_rule(&parts, REMAINDER))).unwrap();
        if debts.is_positive() {
            prop_assert!(after.value() >= case.policy.debt_threshold.value());
        }
        for part in of_rule(&parts, DEBT) {
            let of = case.debts.iter().find(|debt| debt.seq.0 == part.debt).unwrap();
            let may = case.is_convicted || of.is_consented;
            prop_assert!(may || cny(&part.amount).is_zero());
            prop_assert_eq!(part.reason == NO_CONSENT, !may);
        }
        for part in of_rule(&parts, COURT_ORDER) {
            let of = case.orders.iter().find(|order| order.document == part.document).unwrap();
            prop_assert_eq!(of.state, CourtOrderState::Active);
        }
    }

    /// The same state gives the same parts, whenever it is asked; and credits one after the other collect what is owed once.
    #[test]
    fn collecting_ends(case in cases()) {
        prop_assert_eq!(case.parts(), case.parts());
        let mut after = case.clone();
        for _ in 0..3 {
            for part in after.parts() {
                let amount = cny(&part.amount);
                match part.rule.as_str() {
                    COURT_ORDER => {
                        let order = after.orders.iter_mut().find(|order| order.document == part.document).unwrap();
                        order.collected = order.collected.checked_add(amount).unwrap();
                    }
                    CLAIM | DEBT => {
                        let debt = after.debts.iter_mut().find(|debt| debt.seq.0 == part.debt).unwrap();
                        debt.repaid = debt.repaid.checked_add(amount).unwrap();
                    }
                    SAVINGS => after.savings = after.savings.checked_add(amount).unwrap(),
                    _ => after.available = after.available.checked_add(amount).unwrap(),
                }
            }
            prop_assert!(after.orders.iter().all(|order| !order.owed().unwrap().is_negative()));
            prop_assert!(after.debts.iter().all(|debt| !debt.owed().unwrap().is_negative()));
        }
    }
}

fn units(amount: Amount) -> u64 {
    let fen = amount.value() * Decimal::ONE_HUNDRED;
    fen.normalize().to_string().parse().unwrap()
}
