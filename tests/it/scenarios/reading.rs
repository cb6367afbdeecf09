//! Reads the words of a step, and what a transaction says of itself.

use std::collections::BTreeMap;

use custody_ledger::{
    ledger::LedgerError,
    proto::{JournalRecord, journal_record::Facts},
};
use time::Date;

use super::Came;
use crate::world::cny;

pub(super) fn day(text: &str) -> Date {
    let format = time::macros::format_description!("[year]-[month]-[day]");
    Date::parse(text, format).unwrap()
}

/// What a transaction says of itself, as far as scenarios look at it; the parts of a credit by their rules, added up.
pub(super) fn facts(record: &JournalRecord) -> BTreeMap<&'static str, String> {
    let mut facts = BTreeMap::from([("seq", record.seq.to_string())]);
    match &record.facts {
        Some(Facts::Settlement(settlement)) => {
            facts.insert("credited", settlement.credited.clone());
            facts.insert("returned", settlement.returned.clone());
            facts.insert("total", settlement.total.clone());
            facts.insert("commission", settlement.commission.clone());
            facts.insert("put_back", settlement.put_back.clone());
        }
        Some(Facts::Release(release)) => drop(facts.insert("amount", release.amount.clone())),
        Some(Facts::CreditReversal(reversal)) => {
            facts.insert("amount", reversal.amount.clone());
            facts.insert("refunded", reversal.refunded.clone());
            facts.insert("claimed", reversal.claimed.clone());
        }
        Some(Facts::KitGrant(kit)) => drop(facts.insert("total", kit.total.clone())),
        Some(Facts::Refund(refund)) => drop(facts.insert("unspent", refund.unspent.clone())),
        Some(Facts::Credit(credit)) => {
            facts.insert("excess", credit.excess.clone());
            for rule in ["claim", "court_order", "debt", "savings", "remainder"] {
                let parts = credit.parts.iter().filter(|part| part.rule == rule);
                let sum = parts.fold(cny("0"), |sum, part| sum.checked_add(cny(&part.amount)).unwrap());
                facts.insert(rule, sum.to_string());
            }
        }
        _ => {}
    }
    facts
}

/// `RICE*3 SOAP*1 ok …` into the counted words and what is expected.
pub(super) fn split<'a>(words: &'a [&'a str]) -> (Vec<(String, u32)>, &'a [&'a str]) {
    let counted = words.iter().take_while(|word| word.contains('*')).count();
    let (lines, expected) = words.split_at(counted);
    let read = |word: &&str| {
        let (what, count) = word.split_once('*').unwrap();
        (what.to_owned(), count.parse().unwrap())
    };
    (lines.iter().map(read).collect(), expected)
}

pub(super) fn expect(came: &Came, expected: &[&str], at: &str) {
    let (word, facts): (String, BTreeMap<&str, String>) = match came {
        Ok((facts, _)) => ("ok".into(), facts.clone()),
        Err(error) => {
            let facts = match error {
                LedgerError::Refused { refusal, .. } => refusal.facts.as_slice(),
                _ => &[],
            };
            let facts = facts.iter().map(|fact| (fact.name.as_str(), fact.value.clone()));
            (crate::world::reason(error), facts.collect())
        }
    };
    assert_eq!(Some(&word.as_str()), expected.first(), "{at}: {came:?}");
    for told in &expected[1..] {
        let (name, value) = told.split_once('=').unwrap();
        assert_eq!(facts.get(name).map(String::as_str), Some(value), "{at}: {came:?}");
    }
}
