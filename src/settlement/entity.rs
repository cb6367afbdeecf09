//! What a settlement covers and where it stands, pure.

use time::{Date, OffsetDateTime};

use super::SettlementRefusal;
use crate::{
    ids::{Seq, VendorId},
    ledger::{Declined, statement::Position},
    money::Amount,
    proto::{JournalRecord, SettlementFacts, TransactionKind},
};

/// How a settlement ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The bank paid it.
    Paid,
    /// The bank could not pay it.
    Failed,
}

impl End {
    /// As it is stored.
    pub const fn name(self) -> &'static str {
        match self {
            End::Paid => "PAID",
            End::Failed => "FAILED",
        }
    }

    /// Reads what is stored.
    pub fn from_name(name: &str) -> Option<End> {
        [End::Paid, End::Failed].into_iter().find(|end| end.name() == name)
    }

    /// The kind of the transaction that ends it so.
    pub const fn kind(self) -> TransactionKind {
        match self {
            End::Paid => TransactionKind::SettlementPaid,
            End::Failed => TransactionKind::SettlementFailed,
        }
    }
}

/// A settlement: the transaction that closed it, and the one that ended it.
#[derive(Debug, Clone)]
pub struct Settlement {
    /// The closing transaction; its facts are the settlement.
    pub closed: JournalRecord,
    /// The transaction that paid or failed it.
    pub end: Option<JournalRecord>,
}

/// A settlement as it is stored.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub seq: Seq,
    pub vendor: VendorId,
    pub after: Seq,
    pub through: Seq,
    pub total: Amount,
    pub end: Option<(Seq, End)>,
}

impl Row {
    /// Errors: NOT_IN_TRANSIT when it has ended.
    pub(super) fn require_in_transit(&self) -> Result<(), SettlementRefusal> {
        match self.end {
            None => Ok(()),
            Some((_, end)) => Err(SettlementRefusal::NotInTransit { state: end.name() }),
        }
    }
}

/// One posting that a settlement covers.
#[derive(Debug, Clone)]
pub struct SettlementLine {
    /// Where it stands in the journal.
    pub position: Position,
    /// Of what kind.
    pub kind: TransactionKind,
    /// When it was recorded.
    pub recorded_at: OffsetDateTime,
    /// Its business date.
    pub effective_date: Date,
    /// What the vendor gained; negative when it was taken back.
    pub amount: Amount,
    /// The settlement that failed; of SETTLEMENT_FAILED.
    pub settlement: Option<Seq>,
}

/// The sums of the postings that a settlement covers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sums {
    pub count: i32,
    pub credited: Amount,
    pub returned: Amount,
}

/// What a new settlement is, from what it covers and what the vendor is owed now.
///
/// Errors: NOTHING_TO_PAY, SETTLEMENT_EXCEEDS_PAYABLE.
pub(super) fn facts(
    vendor: &VendorId,
    date: Date,
    after: Seq,
    through: Seq,
    sums: Sums,
    payable: Amount,
) -> Result<(SettlementFacts, Amount), Declined> {
    let total = sums.credited.checked_sub(sums.returned)?;
    if !total.is_positive() {
        return Err(SettlementRefusal::NothingToPay { total }.into());
    }
    // What came back since is the next settlement's business, but nothing is paid that is not owed.
    if total.exceeds(payable)? {
        return Err(SettlementRefusal::ExceedsPayable { total, payable }.into());
    }
    let facts = SettlementFacts {
        vendor: vendor.to_string(),
        through_date: date.to_string(),
        after_seq: after.0,
        through_seq: through.0,
        line_count: sums.count,
        credited: sums.credited.to_string(),
        returned: sums.returned.to_string(),
        total: total.to_string(),
    };
    Ok((facts, total))
}

#[cfg(test)]
mod tests {
    use time::macros::date;

    use super::*;
    use crate::{ledger::Reason, money::Currency};

    fn decided(credited: &str, returned: &str, payable: &str) -> Result<String, Declined> {
        let amount = |text| Amount::parse(text, Currency::parse("CNY").unwrap()).unwrap();
        let sums = Sums {
            count: 3,
            credited: amount(credited),
            returned: amount(returned),
        };
        let vendor = VendorId::parse("V1").unwrap();
        facts(&vendor, date!(2031 - 05 - 06), Seq(3), Seq(9), sums, amount(payable)).map(|(facts, total)| {
            assert_eq!(facts.total, total.to_string());
            facts.total
        })
    }

    #[test]
    fn only_what_is_owed_is_paid() {
        assert_eq!(decided("10", "2.50", "7.50").unwrap(), "7.50");
        assert_eq!(decided("10", "2.50", "30").unwrap(), "7.50");
        let refused = [
            ("0", "0", "0", Reason::NothingToPay),
            ("2", "2", "0", Reason::NothingToPay),
            ("2", "5", "0", Reason::NothingToPay),
            ("130", "0", "30", Reason::SettlementExceedsPayable),
            ("130", "0", "129.99", Reason::SettlementExceedsPayable),
        ];
        for (credited, returned, payable, reason) in refused {
            let Err(Declined::Refused(refusal)) = decided(credited, returned, payable) else {
                panic!("{credited} - {returned} is paid");
            };
            assert_eq!(refusal.reason(), reason);
        }
    }

    #[test]
    fn ends_come_back() {
        for end in [End::Paid, End::Failed] {
            assert_eq!(End::from_name(end.name()), Some(end));
        }
    }
}
