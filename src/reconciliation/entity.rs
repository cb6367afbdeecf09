//! Comparing a bill with the ledger, pure.

use std::collections::{HashMap, HashSet};

use time::{Date, OffsetDateTime};

use super::{Totals, fee_rule::FeeRule};
use crate::{
    gateway::{BillKind, BillRow},
    ids::{CenterNo, RemittanceId, Seq},
    money::{Amount, Currency, MoneyError},
    refund::{SucceededRefund, refund_number},
    remittance::{PostedPayment, order_number},
};

/// What something of the ledger is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A payment by this remittance.
    Remittance(RemittanceId),
    /// A refund under this number.
    Refund(Seq),
}

/// A payment or a refund as the ledger has it.
#[derive(Debug, Clone, PartialEq)]
pub struct LedgerEntry {
    /// Payment or refund.
    pub kind: BillKind,
    /// What it is.
    pub source: Source,
    /// Our number of the order or the refund.
    pub number: String,
    /// The gateway's own number.
    pub gateway_id: String,
    /// How much, positive.
    pub amount: Amount,
    /// The fee that was recorded for it, if one was.
    pub fee: Option<Amount>,
    /// What the channel's fee rate makes of the amount, where the bill's fee is another.
    pub expected_fee: Option<Amount>,
    /// The transaction that moved the money.
    pub seq: Seq,
    /// When that was recorded.
    pub at: OffsetDateTime,
}

impl LedgerEntry {
    pub(super) fn payment(center: CenterNo, payment: PostedPayment) -> LedgerEntry {
        LedgerEntry {
            kind: BillKind::Payment,
            number: order_number(center, &payment.remittance),
            source: Source::Remittance(payment.remittance),
            gateway_id: payment.gateway_transaction,
            amount: payment.amount,
            fee: None,
            expected_fee: None,
            seq: payment.seq,
            at: payment.recorded_at,
        }
    }

    pub(super) fn refund(center: CenterNo, refund: SucceededRefund) -> LedgerEntry {
        LedgerEntry {
            kind: BillKind::Refund,
            number: refund_number(center, refund.refund),
            source: Source::Refund(refund.refund),
            gateway_id: refund.gateway_refund,
            amount: refund.amount,
            fee: None,
            expected_fee: None,
            seq: refund.end,
            at: refund.recorded_at,
        }
    }
}

/// What does not match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BreakKind {
    /// The ledger does not have it.
    OnlyInBill,
    /// The bill does not have it.
    OnlyInLedger,
    /// Both have it, with another amount or another fee.
    AmountDiffers,
    /// The bill has it more than once, or an earlier bill had it.
    Duplicate,
    /// Both have it, and its fee is not what the channel's fee rate makes of it, or no rate is known and somebody uploads the bill.
    /// A fetched bill's fee is recorded all the same: the gateway has kept it. An uploaded one's is not.
    FeeDiffers,
}

impl BreakKind {
    const ALL: [BreakKind; 5] = [
        BreakKind::OnlyInBill,
        BreakKind::OnlyInLedger,
        BreakKind::AmountDiffers,
        BreakKind::Duplicate,
        BreakKind::FeeDiffers,
    ];

    /// As it is stored.
    pub const fn name(self) -> &'static str {
        match self {
            BreakKind::OnlyInBill => "ONLY_IN_BILL",
            BreakKind::OnlyInLedger => "ONLY_IN_LEDGER",
            BreakKind::AmountDiffers => "AMOUNT_DIFFERS",
            BreakKind::Duplicate => "DUPLICATE",
            BreakKind::FeeDiffers => "FEE_DIFFERS",
        }
    }

    /// Reads what is stored.
    pub fn from_name(name: &str) -> Option<BreakKind> {
        BreakKind::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// Something that does not match, with the evidence of the sides that have it.
#[derive(Debug, Clone, PartialEq)]
pub struct Break {
    /// Its number within the run, from 1.
    pub number: i32,
    /// What does not match.
    pub kind: BreakKind,
    /// The bill's side.
    pub bill: Option<BillRow>,
    /// The ledger's side.
    pub ledger: Option<LedgerEntry>,
}

/// A payment or refund that a bill told exactly, and the fee it told.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct BillEntry {
    pub kind: BillKind,
    pub gateway_id: String,
    pub fee: Amount,
}

/// What an earlier import, of this bill or another, has found out about a payment or refund.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Told {
    pub bill_date: Date,
    pub fee: Amount,
}

/// Kind and the gateway's own number.
pub(super) type Key = (BillKind, String);

/// The ledger's side of a comparison.
#[derive(Debug)]
pub(super) struct Ledger {
    /// What belongs into the bill by its date, and what the bill names.
    pub entries: Vec<LedgerEntry>,
    /// Those of them that a bill told before.
    pub told: HashMap<Key, Told>,
}

/// What came of it.
#[derive(Debug)]
pub(super) struct Compared {
    pub totals: Totals,
    pub breaks: Vec<Break>,
    /// What matches and no bill told before.
    pub new_entries: Vec<BillEntry>,
}

/// Compares. Breaks are in the bill's order; what only the ledger has comes last, in the journal's order.
pub(super) fn compare(
    date: Date,
    rows: &[BillRow],
    ledger: &Ledger,
    currency: Currency,
    fees: FeeRule,
) -> Result<Compared, MoneyError> {
    let mut book = Book::of(date, ledger, fees);
    let mut breaks: Vec<Break> = Vec::new();
    let (mut matched, mut new_entries) = (0, Vec::new());
    for row in rows {
        let (verdict, entry) = book.judge(row)?;
        let is_exact = matches!(verdict, None | Some(BreakKind::FeeDiffers));
        if is_exact && !book.is_told(row) && fees.takes(row)? {
            new_entries.push(BillEntry {
                kind: row.kind,
                gateway_id: row.gateway_id.clone(),
                fee: row.fee,
            });
        }
        let Some(kind) = verdict else {
            matched += 1;
            continue;
        };
        breaks.push(Break {
            number: 0,
            kind,
            bill: Some(row.clone()),
            ledger: entry,
        });
    }
    breaks.extend(book.missing().into_iter().map(|entry| Break {
        number: 0,
        kind: BreakKind::OnlyInLedger,
        bill: None,
        ledger: Some(entry),
    }));
    for (number, found) in (1..).zip(&mut breaks) {
        found.number = number;
    }
    let totals = Totals {
        lines: count(rows.len()),
        matched,
        breaks: count(breaks.len()),
        bill_paid: sum_rows(rows, BillKind::Payment, currency)?,
        bill_refunded: sum_rows(rows, BillKind::Refund, currency)?,
        bill_fees: Amount::sum(rows.iter().map(|row| row.fee), currency)?,
        ledger_paid: book.sum(BillKind::Payment, currency)?,
        ledger_refunded: book.sum(BillKind::Refund, currency)?,
    };
    Ok(Compared {
        totals,
        breaks,
        new_entries,
    })
}

/// The ledger's side while the bill is read: what was found in it already.
struct Book<'a> {
    date: Date,
    fees: FeeRule,
    /// By kind, our number and the gateway's: an order may be paid more than once.
    entries: HashMap<(BillKind, &'a str, &'a str), &'a LedgerEntry>,
    told: &'a HashMap<Key, Told>,
    seen: HashSet<Key>,
    found: HashSet<Key>,
}

impl<'a> Book<'a> {
    fn of(date: Date, ledger: &'a Ledger, fees: FeeRule) -> Book<'a> {
        let by_numbers = |entry: &'a LedgerEntry| {
            let key = (entry.kind, entry.number.as_str(), entry.gateway_id.as_str());
            (key, entry)
        };
        Book {
            date,
            fees,
            entries: ledger.entries.iter().map(by_numbers).collect(),
            told: &ledger.told,
            seen: HashSet::new(),
            found: HashSet::new(),
        }
    }

    /// What is wrong with a row, if anything, and what the ledger has under its number.
    fn judge(&mut self, row: &BillRow) -> Result<(Option<BreakKind>, Option<LedgerEntry>), MoneyError> {
        let key = (row.kind, row.gateway_id.clone());
        let first_time = self.seen.insert(key.clone());
        // Paid by another of the gateway's transactions, it is other money.
        let numbers = (row.kind, row.number(), row.gateway_id.as_str());
        let Some(entry) = self.entries.get(&numbers).copied() else {
            let kind = if first_time {
                BreakKind::OnlyInBill
            } else {
                BreakKind::Duplicate
            };
            return Ok((Some(kind), None));
        };
        let told = self.told.get(&key);
        let mut evidence = LedgerEntry {
            fee: told.map(|told| told.fee),
            ..entry.clone()
        };
        if !first_time || told.is_some_and(|told| told.bill_date != self.date) {
            return Ok((Some(BreakKind::Duplicate), Some(evidence)));
        }
        self.found.insert(key);
        let is_same = entry.amount == row.amount && told.is_none_or(|told| told.fee == row.fee);
        if !is_same {
            return Ok((Some(BreakKind::AmountDiffers), Some(evidence)));
        }
        evidence.expected_fee = self.fees.expected(row)?.filter(|expected| *expected != row.fee);
        if evidence.expected_fee.is_none() && told.is_none() && !self.fees.takes(row)? {
            evidence.expected_fee = Some(Amount::zero(row.amount.currency()));
        }
        let verdict = evidence.expected_fee.map(|_| BreakKind::FeeDiffers);
        Ok((verdict, Some(evidence)))
    }

    fn is_told(&self, row: &BillRow) -> bool {
        self.told.contains_key(&(row.kind, row.gateway_id.clone()))
    }

    /// Whether something of the ledger belongs into this bill: no other bill had it.
    fn belongs(&self, key: &Key) -> bool {
        self.told.get(key).is_none_or(|told| told.bill_date == self.date)
    }

    /// What belongs into the bill and is not there, in the journal's order.
    fn missing(&self) -> Vec<LedgerEntry> {
        let mut missing: Vec<LedgerEntry> = Vec::new();
        for entry in self.entries.values() {
            let key = (entry.kind, entry.gateway_id.clone());
            if self.belongs(&key) && !self.found.contains(&key) {
                missing.push(LedgerEntry {
                    fee: self.told.get(&key).map(|told| told.fee),
                    ..(*entry).clone()
                });
            }
        }
        missing.sort_by_key(|entry| entry.seq);
        missing
    }

    fn sum(&self, kind: BillKind, currency: Currency) -> Result<Amount, MoneyError> {
        let belongs =
            |entry: &&&LedgerEntry| entry.kind == kind && self.belongs(&(entry.kind, entry.gateway_id.clone()));
        let amounts = self.entries.values().filter(belongs).map(|entry| entry.amount);
        Amount::sum(amounts, currency)
    }
}

fn sum_rows(rows: &[BillRow], kind: BillKind, currency: Currency) -> Result<Amount, MoneyError> {
    let of_kind = rows.iter().filter(|row| row.kind == kind);
    Amount::sum(of_kind.map(|row| row.amount), currency)
}

fn count(items: usize) -> i32 {
    i32::try_from(items).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use rust_decimal::Decimal;
    use time::macros::{date, datetime};

    use super::*;
    use crate::reconciliation::BroughtBy;

    const DAY: Date = date!(2031 - 05 - 06);

    fn cny() -> Currency {
        Currency::parse("CNY").unwrap()
    }

    fn amount(text: &str) -> Amount {
        Amount::parse(text, cny()).unwrap()
    }

    /// Rows and entries by a letter: order `1-RA` and gateway number `pay_A`, or refund `FA` and `ref_A`.
    fn row(number: usize, kind: BillKind, letter: &str, gateway: &str, gross: &str) -> BillRow {
        BillRow {
            row: number,
            kind,
            order_number: format!("1-R{letter}"),
            refund_number: (kind == BillKind::Refund).then(|| format!("F{letter}")),
            gateway_id: gateway.to_owned(),
            amount: amount(gross),
            fee: amount("0.60"),
            time: datetime!(2031-05-06 02:00:00 UTC),
        }
    }

    fn entry(kind: BillKind, letter: &str, gateway: &str, gross: &str, seq: i64) -> LedgerEntry {
        let refunds = kind == BillKind::Refund;
        LedgerEntry {
            kind,
            source: if refunds {
                Source::Refund(Seq(seq))
            } else {
                Source::Remittance(RemittanceId::parse(&format!("R{letter}")).unwrap())
            },
            number: if refunds {
                format!("F{letter}")
            } else {
                format!("1-R{letter}")
            },
            gateway_id: gateway.to_owned(),
            amount: amount(gross),
            fee: None,
            expected_fee: None,
            seq: Seq(seq),
            at: datetime!(2031-05-06 02:00:00 UTC),
        }
    }

    fn ledger(entries: Vec<LedgerEntry>, told: &[(BillKind, &str, Date, &str)]) -> Ledger {
        let told = told.iter().map(|(kind, gateway, bill_date, fee)| {
            let told = Told {
                bill_date: *bill_date,
                fee: amount(fee),
            };
            ((*kind, (*gateway).to_owned()), told)
        });
        Ledger {
            entries,
            told: told.collect(),
        }
    }

    fn fetched(rate: Option<Decimal>) -> FeeRule {
        let brought_by = BroughtBy::Gateway;
        FeeRule { rate, brought_by }
    }

    #[test]
    fn an_uploaded_bill_brings_no_fee_that_was_not_agreed() {
        let rows = [
            row(1, Payment, "A", "pay_A", "100"),
            row(2, Payment, "B", "pay_B", "50"),
            row(3, Refund, "C", "ref_C", "100"),
        ];
        let entries = vec![
            entry(Payment, "A", "pay_A", "100", 1),
            entry(Payment, "B", "pay_B", "50", 2),
            entry(Refund, "C", "ref_C", "100", 3),
        ];
        let uploaded = |rate| FeeRule {
            rate,
            brought_by: BroughtBy::Person,
        };
        let come = |told: &[_], rule| compare(DAY, &rows, &ledger(entries.clone(), told), cny(), rule).unwrap();
        // 0.60 of 100 was agreed; of 50 it was not, and a refund costs nothing.
        let found = come(&[], uploaded(Some(Decimal::new(6, 3))));
        assert_eq!(kinds(&found), ["FEE_DIFFERS", "FEE_DIFFERS"]);
        let brought: Vec<_> = found
            .new_entries
            .iter()
            .map(|entry| entry.gateway_id.as_str())
            .collect();
        assert_eq!(brought, ["pay_A"]);
        // Without a rate nothing was agreed.
        let found = come(&[], uploaded(None));
        assert_eq!((kinds(&found).len(), found.new_entries.len()), (3, 0));
        assert_eq!(found.breaks[0].ledger.as_ref().unwrap().expected_fee, Some(amount("0")));
        // What the gateway's own bill told before is known.
        let told = [
            (Payment, "pay_A", DAY, "0.60"),
            (Payment, "pay_B", DAY, "0.60"),
            (Refund, "ref_C", DAY, "0.60"),
        ];
        assert_eq!(kinds(&come(&told, uploaded(None))), Vec::<&str>::new());
    }

    fn kinds(compared: &Compared) -> Vec<&'static str> {
        compared.breaks.iter().map(|found| found.kind.name()).collect()
    }

    use BillKind::{Payment, Refund};

    #[test]
    fn what_is_in_both_exactly_matches_and_brings_its_fee() {
        let rows = [row(1, Payment, "A", "pay_A", "100"), row(2, Refund, "B", "ref_B", "40")];
        let entries = vec![
            entry(Refund, "B", "ref_B", "40", 9),
            entry(Payment, "A", "pay_A", "100", 3),
        ];
        let compared = compare(DAY, &rows, &ledger(entries.clone(), &[]), cny(), fetched(None)).unwrap();
        assert_eq!(kinds(&compared), Vec::<&str>::new());
        assert_eq!((compared.totals.lines, compared.totals.matched), (2, 2));
        assert_eq!(compared.totals.bill_paid, compared.totals.ledger_paid);
        assert_eq!(compared.totals.ledger_refunded, amount("40"));
        assert_eq!(compared.totals.bill_fees, amount("1.20"));
        assert_eq!(compared.new_entries.len(), 2);
        // Told already, by this bill: matched as before, and nothing new.
        let told = [(Payment, "pay_A", DAY, "0.60"), (Refund, "ref_B", DAY, "0.60")];
        let again = compare(DAY, &rows, &ledger(entries, &told), cny(), fetched(None)).unwrap();
        assert_eq!(again.totals, compared.totals);
        assert!(again.new_entries.is_empty());
    }

    #[test]
    fn every_kind_of_break_is_told_with_the_sides_that_have_it() {
        let rows = [
            row(1, Payment, "A", "pay_A", "99.99"),
            row(2, Payment, "X", "pay_X", "5"),
            row(3, Payment, "B", "pay_B", "20"),
            row(4, Payment, "B", "pay_B", "20"),
            // Paid twice: the second payment is other money.
            row(5, Payment, "B", "pay_B2", "20"),
        ];
        let entries = vec![
            entry(Payment, "A", "pay_A", "100", 1),
            entry(Payment, "B", "pay_B", "20", 2),
            entry(Payment, "C", "pay_C", "7", 3),
        ];
        let compared = compare(DAY, &rows, &ledger(entries, &[]), cny(), fetched(None)).unwrap();
        let expected = [
            "AMOUNT_DIFFERS",
            "ONLY_IN_BILL",
            "DUPLICATE",
            "ONLY_IN_BILL",
            "ONLY_IN_LEDGER",
        ];
        assert_eq!(kinds(&compared), expected);
        let sides: Vec<_> = compared
            .breaks
            .iter()
            .map(|found| {
                (
                    found.number,
                    found.bill.as_ref().map(|row| row.row),
                    found.ledger.as_ref().map(|e| e.seq.0),
                )
            })
            .collect();
        let expected = [
            (1, Some(1), Some(1)),
            (2, Some(2), None),
            (3, Some(4), Some(2)),
            (4, Some(5), None),
            (5, None, Some(3)),
        ];
        assert_eq!(sides, expected);
        assert_eq!((compared.totals.matched, compared.totals.breaks), (1, 5));
        assert_eq!(compared.new_entries.len(), 1, "only what matches brings its fee");
        assert_eq!(compared.totals.ledger_paid, amount("127"));
    }

    #[test]
    fn a_fee_that_the_rate_does_not_make_is_a_break_and_recorded() {
        let rows = [
            row(1, Payment, "A", "pay_A", "100"),
            row(2, Payment, "B", "pay_B", "50"),
            row(3, Refund, "C", "ref_C", "7"),
            row(4, Payment, "D", "pay_D", "99.99"),
        ];
        let entries = vec![
            entry(Payment, "A", "pay_A", "100", 1),
            entry(Payment, "B", "pay_B", "50", 2),
            entry(Refund, "C", "ref_C", "7", 3),
            entry(Payment, "D", "pay_D", "100", 4),
        ];
        let rate = Some(Decimal::new(6, 3));
        let compared = compare(DAY, &rows, &ledger(entries.clone(), &[]), cny(), fetched(rate)).unwrap();
        // Another amount comes first; what a refund gives back is not expected.
        assert_eq!(kinds(&compared), ["FEE_DIFFERS", "AMOUNT_DIFFERS"]);
        let evidence = compared.breaks[0].ledger.as_ref().unwrap();
        assert_eq!((evidence.expected_fee, evidence.fee), (Some(amount("0.30")), None));
        assert_eq!(compared.breaks[0].bill.as_ref().unwrap().fee, amount("0.60"));
        assert_eq!((compared.totals.matched, compared.new_entries.len()), (2, 3));
        // Recorded, it is the same break with both fees, and nothing new.
        let told = [
            (Payment, "pay_A", DAY, "0.60"),
            (Payment, "pay_B", DAY, "0.60"),
            (Refund, "ref_C", DAY, "0.60"),
        ];
        let again = compare(DAY, &rows, &ledger(entries, &told), cny(), fetched(rate)).unwrap();
        assert_eq!(kinds(&again), ["FEE_DIFFERS", "AMOUNT_DIFFERS"]);
        assert_eq!(again.breaks[0].ledger.as_ref().unwrap().fee, Some(amount("0.60")));
        assert!(again.new_entries.is_empty());
    }

    #[test]
    fn two_payments_of_one_order_are_two() {
        let rows = [
            row(1, Payment, "B", "pay_B", "20"),
            row(2, Payment, "B", "pay_B2", "20"),
        ];
        let entries = vec![
            entry(Payment, "B", "pay_B", "20", 2),
            entry(Payment, "B", "pay_B2", "20", 3),
        ];
        let compared = compare(DAY, &rows, &ledger(entries, &[]), cny(), fetched(None)).unwrap();
        assert_eq!(kinds(&compared), Vec::<&str>::new());
        assert_eq!((compared.totals.matched, compared.new_entries.len()), (2, 2));
        assert_eq!(compared.totals.ledger_paid, amount("40"));
    }

    #[test]
    fn each_is_in_one_bill_and_its_fee_is_one() {
        let rows = [
            row(1, Payment, "A", "pay_A", "100"),
            row(2, Payment, "B", "pay_B", "20"),
        ];
        let entries = vec![
            entry(Payment, "A", "pay_A", "100", 1),
            entry(Payment, "B", "pay_B", "20", 2),
            entry(Payment, "C", "pay_C", "7", 3),
        ];
        let yesterday = date!(2031 - 05 - 05);
        let told = [
            (Payment, "pay_A", yesterday, "0.60"),
            (Payment, "pay_B", DAY, "0.50"),
            (Payment, "pay_C", date!(2031 - 05 - 07), "0.60"),
        ];
        let compared = compare(DAY, &rows, &ledger(entries, &told), cny(), fetched(None)).unwrap();
        // C is in the next day's bill, and so not missing in this one.
        assert_eq!(kinds(&compared), ["DUPLICATE", "AMOUNT_DIFFERS"]);
        assert_eq!(compared.breaks[1].ledger.as_ref().unwrap().fee, Some(amount("0.50")));
        assert_eq!(compared.totals.ledger_paid, amount("20"));
    }

    #[test]
    fn kinds_come_back() {
        for kind in BreakKind::ALL {
            assert_eq!(BreakKind::from_name(kind.name()), Some(kind));
        }
    }
}
