//! What a settlement covers and where it stands, pure.

use time::{Date, Duration, OffsetDateTime};

use super::SettlementRefusal;
use crate::{
    contract::Terms,
    ids::{Seq, VendorId},
    ledger::{Declined, statement::Position},
    money::{Amount, MoneyError},
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
    /// The approval that allowed it to be paid.
    pub approval: Option<i64>,
    /// The number of the payment file it stands in.
    pub file: Option<i64>,
}

/// A settlement as it is stored.
#[derive(Debug, Clone)]
pub struct Row {
    /// The number of the closing transaction.
    pub seq: Seq,
    /// Whom it pays.
    pub vendor: VendorId,
    /// It covers the vendor's postings after this transaction …
    pub after: Seq,
    /// … up to and including this one.
    pub through: Seq,
    /// What the center kept.
    pub commission: Amount,
    /// What is paid.
    pub total: Amount,
    /// The approval that allowed it to be paid.
    pub approval: Option<i64>,
    /// The number of the payment file it stands in.
    pub file: Option<i64>,
    /// By what the bank's answers name it there.
    pub end_to_end_id: Option<String>,
    /// The transaction that ended it, and how.
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

    /// Whether somebody may say by hand how it ended.
    ///
    /// Errors: NOT_IN_TRANSIT; SETTLEMENT_NOT_APPROVED, when it would be paid, or taken out of a file and nobody else has allowed
    /// that; IN_PAYMENT_FILE: then the bank says it.
    pub(super) fn require_endable(&self, end: End, by_bank: bool, is_allowed: bool) -> Result<(), SettlementRefusal> {
        self.require_in_transit()?;
        match (end, self.approval, self.file) {
            (End::Paid, None, _) => Err(SettlementRefusal::NotApproved),
            (End::Failed, _, Some(_)) if by_bank && !is_allowed => Err(SettlementRefusal::NotApproved),
            (_, _, Some(file)) if !by_bank => Err(SettlementRefusal::InPaymentFile { file }),
            _ => Ok(()),
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
pub struct Sums {
    /// How many postings.
    pub count: i32,
    /// What the vendor was credited, earlier settlements that failed among it.
    pub credited: Amount,
    /// What was taken back.
    pub returned: Amount,
    /// What of `credited` were earlier settlements that failed: commission was taken of them before.
    pub put_back: Amount,
}

impl Sums {
    /// What the vendor sold, less what came back.
    fn net_sales(&self) -> Result<Amount, MoneyError> {
        self.credited.checked_sub(self.put_back)?.checked_sub(self.returned)
    }

    /// What the vendor is owed before commission.
    pub(super) fn gross(&self) -> Result<Amount, MoneyError> {
        self.credited.checked_sub(self.returned)
    }
}

/// What a settlement would be.
#[derive(Debug, Clone)]
pub struct Reckoning {
    /// It covers the vendor's postings after this transaction …
    pub after: Seq,
    /// … up to and including this one.
    pub through: Seq,
    /// Their sums.
    pub sums: Sums,
    /// What the center keeps of net sales; below zero when it gives back.
    pub commission: Amount,
    /// The terms it goes by.
    pub terms: Terms,
    /// What is paid; below zero when the vendor owes.
    pub total: Amount,
}

impl Reckoning {
    /// Takes the commission off.
    pub(super) fn new(after: Seq, through: Seq, sums: Sums, terms: Terms) -> Result<Reckoning, MoneyError> {
        let commission = terms.commission(sums.net_sales()?)?;
        Ok(Reckoning {
            after,
            through,
            sums,
            commission,
            total: sums.gross()?.checked_sub(commission)?,
            terms,
        })
    }

    /// What the vendor owes, which later settlements take off.
    pub fn carried_forward(&self) -> Amount {
        if self.total.is_negative() {
            self.total.abs()
        } else {
            Amount::zero(self.total.currency())
        }
    }

    /// Whether it can be closed, with what the vendor is owed now and what the center has earned.
    ///
    /// Errors: NOTHING_TO_PAY, SETTLEMENT_EXCEEDS_PAYABLE, COMMISSION_NOT_COVERED.
    pub(super) fn require_payable(&self, payable: Amount, income: Amount) -> Result<(), Declined> {
        if !self.total.is_positive() {
            return Err(SettlementRefusal::NothingToPay {
                total: self.total,
                lines: self.sums.count,
                carried_forward: self.carried_forward(),
            }
            .into());
        }
        // What came back since is the next settlement's business, but nothing is paid that is not owed.
        let gross = self.sums.gross()?;
        if gross.exceeds(payable)? {
            let total = gross;
            return Err(SettlementRefusal::ExceedsPayable { total, payable }.into());
        }
        if self.commission.is_negative() && self.commission.abs().exceeds(income)? {
            let commission = self.commission.abs();
            return Err(SettlementRefusal::CommissionNotCovered { commission, income }.into());
        }
        Ok(())
    }

    /// What the record says of it.
    pub(super) fn facts(&self, vendor: &VendorId, date: Date) -> SettlementFacts {
        let unless_zero = |amount: Amount| {
            if amount.is_zero() {
                String::new()
            } else {
                amount.to_string()
            }
        };
        let agreed = self.terms.version > 0;
        SettlementFacts {
            vendor: vendor.to_string(),
            through_date: date.to_string(),
            after_seq: self.after.0,
            through_seq: self.through.0,
            line_count: self.sums.count,
            credited: self.sums.credited.to_string(),
            returned: self.sums.returned.to_string(),
            total: self.total.to_string(),
            put_back: unless_zero(self.sums.put_back),
            commission: unless_zero(self.commission),
            commission_percent: if agreed {
                self.terms.commission_percent.to_string()
            } else {
                String::new()
            },
            terms_version: self.terms.version,
        }
    }
}

/// From when on a business date can be settled: a cycle of one day ends with the date itself.
pub(super) fn due_at(end_of_date: OffsetDateTime, terms: &Terms) -> OffsetDateTime {
    end_of_date + Duration::days(i64::from(terms.cycle_days).saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{distribution::parse_percent, ledger::Reason, money::Currency};

    fn amount(text: &str) -> Amount {
        Amount::parse(text, Currency::parse("CNY").unwrap()).unwrap()
    }

    fn reckoned(credited: &str, returned: &str, put_back: &str, percent: &str) -> Reckoning {
        let sums = Sums {
            count: 3,
            credited: amount(credited),
            returned: amount(returned),
            put_back: amount(put_back),
        };
        let terms = Terms {
            version: 1,
            commission_percent: parse_percent(percent).unwrap(),
            ..Terms::none()
        };
        Reckoning::new(Seq(3), Seq(9), sums, terms).unwrap()
    }

    #[test]
    fn commission_is_taken_of_net_sales_once() {
        for (credited, returned, put_back, percent, commission, total) in [
            ("10.00", "2.50", "0", "0", "0.00", "7.50"),
            ("10.00", "2.50", "0", "10", "0.75", "6.75"),
            ("10.01", "0", "0", "1", "0.10", "9.91"),
            // What the bank could not pay had paid its commission before.
            ("16.75", "0", "6.75", "10", "1.00", "15.75"),
            ("6.75", "2.50", "6.75", "10", "-0.25", "4.50"),
            ("1.00", "5.00", "0", "10", "-0.40", "-3.60"),
        ] {
            let found = reckoned(credited, returned, put_back, percent);
            assert_eq!(
                [found.commission.to_string(), found.total.to_string()],
                [commission, total]
            );
        }
        assert_eq!(
            reckoned("1.00", "5.00", "0", "10").carried_forward().to_string(),
            "3.60"
        );
    }

    #[test]
    fn only_what_is_owed_is_paid() {
        let decided = |credited, returned, payable: &str| {
            let found = reckoned(credited, returned, "0", "0");
            found.require_payable(amount(payable), amount("0"))
        };
        assert!(decided("10", "2.50", "7.50").is_ok() && decided("10", "2.50", "30").is_ok());
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
        let giving_back = reckoned("6.75", "2.50", "6.75", "10");
        assert!(giving_back.require_payable(amount("100"), amount("0.24")).is_err());
        assert!(giving_back.require_payable(amount("100"), amount("0.25")).is_ok());
    }

    #[test]
    fn what_is_in_a_file_is_ended_by_the_bank_and_nothing_is_paid_unallowed() {
        let row = |approval, file| Row {
            seq: Seq(9),
            vendor: VendorId::parse("V1").unwrap(),
            after: Seq(1),
            through: Seq(8),
            commission: amount("0"),
            total: amount("1"),
            approval,
            file,
            end_to_end_id: None,
            end: None,
        };
        for (approval, file, end, (by_bank, is_allowed), endable) in [
            (None, None, End::Paid, (false, false), false),
            (None, None, End::Failed, (false, false), true),
            (Some(1), None, End::Paid, (false, false), true),
            (Some(1), Some(1), End::Paid, (false, false), false),
            (Some(1), Some(1), End::Paid, (true, false), true),
            (Some(1), Some(1), End::Failed, (false, true), false),
            (Some(1), Some(1), End::Failed, (true, false), false),
            (Some(1), Some(1), End::Failed, (true, true), true),
        ] {
            let found = row(approval, file).require_endable(end, by_bank, is_allowed);
            assert_eq!(found.is_ok(), endable);
        }
    }

    #[test]
    fn ends_come_back() {
        for end in [End::Paid, End::Failed] {
            assert_eq!(End::from_name(end.name()), Some(end));
        }
    }
}
