//! The chart of accounts.

use crate::ids::AccountNo;

/// The side on which an account's balance is positive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Assets and expenses.
    Debit,
    /// Liabilities and income.
    Credit,
}

/// What an account is for; its number in the chart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(i16)]
pub enum Code {
    /// Money at the bank.
    Bank = 1001,
    /// Money at a gateway, one account for each channel.
    GatewayClearing = 1101,
    /// What detainees owe the center: advances, damages, and what they spent of reversed credits.
    Advances = 1201,
    /// What this center owes other centers for detainees who moved, or is owed by them: debit when it is owed. Over all centers it
    /// is nothing at every moment.
    InterCenter = 1301,
    /// A detainee's money that can be spent, 可用.
    Available = 2101,
    /// A detainee's money set aside for orders, 冻结.
    Held = 2102,
    /// A detainee's savings, 储备.
    Savings = 2103,
    /// A detainee's money withheld by authority, 扣留.
    Withheld = 2104,
    /// Owed to a vendor.
    VendorPayable = 2201,
    /// Being paid to a vendor.
    VendorInTransit = 2202,
    /// Received, owner not established, 挂账.
    Suspense = 2301,
    /// Being refunded to payers.
    RefundsInTransit = 2302,
    /// Being paid to released people.
    ReleasesInTransit = 2303,
    /// Collected for courts.
    CourtPayable = 2401,
    /// Money of people who left that nobody has collected yet, 未领款.
    Unclaimed = 2501,
    /// Income that is no sale: damages that detainees are to pay.
    OtherIncome = 4101,
    /// Fees that gateways kept.
    GatewayFees = 5101,
    /// What detainees owed and will never repay.
    WriteOffs = 5201,
    /// What the center grants to detainees who have nothing.
    Grants = 5301,
}

impl Code {
    /// Every code, in the chart's order.
    pub const ALL: [Code; 19] = [
        Code::Bank,
        Code::GatewayClearing,
        Code::Advances,
        Code::InterCenter,
        Code::Available,
        Code::Held,
        Code::Savings,
        Code::Withheld,
        Code::VendorPayable,
        Code::VendorInTransit,
        Code::Suspense,
        Code::RefundsInTransit,
        Code::ReleasesInTransit,
        Code::CourtPayable,
        Code::Unclaimed,
        Code::OtherIncome,
        Code::GatewayFees,
        Code::WriteOffs,
        Code::Grants,
    ];

    /// The number in the chart, for example 2101.
    pub const fn number(self) -> i16 {
        self as i16
    }

    /// The code of a number, if the chart has it.
    pub fn from_number(number: i16) -> Option<Code> {
        Code::ALL.into_iter().find(|code| code.number() == number)
    }

    /// The side on which its balance is positive.
    pub const fn side(self) -> Side {
        match self {
            Code::Bank
            | Code::GatewayClearing
            | Code::Advances
            | Code::InterCenter
            | Code::GatewayFees
            | Code::WriteOffs
            | Code::Grants => Side::Debit,
            _ => Side::Credit,
        }
    }

    /// Whether its balance may never be below zero. A vendor's payable may be: goods can come back after the vendor was
    /// paid, and the next settlement takes it off. Of the debit side, only what detainees owe and what was granted is always
    /// something.
    pub const fn never_negative(self) -> bool {
        match self.side() {
            Side::Debit => matches!(self, Code::Advances | Code::Grants),
            Side::Credit => !matches!(self, Code::VendorPayable),
        }
    }

    /// Its name in English, as reports print it.
    pub const fn title(self) -> &'static str {
        match self {
            Code::Bank => "bank",
            Code::GatewayClearing => "gateway clearing",
            Code::Advances => "owed by detainees",
            Code::InterCenter => "inter-center clearing",
            Code::Available => "detainees available",
            Code::Held => "detainees held",
            Code::Savings => "detainees savings",
            Code::Withheld => "detainees withheld",
            Code::VendorPayable => "vendor payable",
            Code::VendorInTransit => "vendor settlements in transit",
            Code::Suspense => "suspense",
            Code::RefundsInTransit => "refunds in transit",
            Code::ReleasesInTransit => "release payouts in transit",
            Code::CourtPayable => "court-ordered sums payable",
            Code::Unclaimed => "unclaimed money",
            Code::OtherIncome => "other income",
            Code::GatewayFees => "gateway fees",
            Code::WriteOffs => "write-offs",
            Code::Grants => "grants to the indigent",
        }
    }

    /// What one account of it is called, for example `detainee available`.
    pub const fn account_title(self) -> &'static str {
        match self {
            Code::Available => "detainee available",
            Code::Held => "detainee held",
            Code::Savings => "detainee savings",
            Code::Withheld => "detainee withheld",
            other => other.title(),
        }
    }

    /// Its name in Chinese, as reports print it.
    pub const fn title_zh(self) -> &'static str {
        match self {
            Code::Bank => "银行存款",
            Code::GatewayClearing => "网关清算",
            Code::Advances => "在押人员欠款",
            Code::InterCenter => "所间清算",
            Code::Available => "在押人员可用",
            Code::Held => "在押人员冻结",
            Code::Savings => "在押人员储备",
            Code::Withheld => "在押人员扣留",
            Code::VendorPayable => "应付供应商",
            Code::VendorInTransit => "供应商结算在途",
            Code::Suspense => "挂账",
            Code::RefundsInTransit => "退款在途",
            Code::ReleasesInTransit => "出所结清在途",
            Code::CourtPayable => "应付法院款",
            Code::Unclaimed => "未领款",
            Code::OtherIncome => "其他收入",
            Code::GatewayFees => "网关手续费",
            Code::WriteOffs => "坏账核销",
            Code::Grants => "困难补助",
        }
    }
}

/// The accounts that every center has from its first day, under the same numbers everywhere.
pub const CENTER_ACCOUNTS: [(AccountNo, Code); 12] = [
    (BANK, Code::Bank),
    (SUSPENSE, Code::Suspense),
    (REFUNDS_IN_TRANSIT, Code::RefundsInTransit),
    (RELEASES_IN_TRANSIT, Code::ReleasesInTransit),
    (COURT_PAYABLE, Code::CourtPayable),
    (GATEWAY_FEES, Code::GatewayFees),
    (ADVANCES, Code::Advances),
    (OTHER_INCOME, Code::OtherIncome),
    (GRANTS, Code::Grants),
    (INTER_CENTER, Code::InterCenter),
    (UNCLAIMED, Code::Unclaimed),
    (WRITE_OFFS, Code::WriteOffs),
];

/// The center's bank account.
pub const BANK: AccountNo = AccountNo(1);
/// The center's suspense account.
pub const SUSPENSE: AccountNo = AccountNo(2);
/// Refunds on their way to payers.
pub const REFUNDS_IN_TRANSIT: AccountNo = AccountNo(3);
/// Release payouts on their way.
pub const RELEASES_IN_TRANSIT: AccountNo = AccountNo(4);
/// Court-ordered sums that were collected.
pub const COURT_PAYABLE: AccountNo = AccountNo(5);
/// Fees the gateways kept.
pub const GATEWAY_FEES: AccountNo = AccountNo(6);
/// What detainees owe the center.
pub const ADVANCES: AccountNo = AccountNo(7);
/// Income that is no sale.
pub const OTHER_INCOME: AccountNo = AccountNo(8);
/// What was granted to detainees who have nothing.
pub const GRANTS: AccountNo = AccountNo(12);
/// Clearing with other centers.
pub const INTER_CENTER: AccountNo = AccountNo(13);
/// What nobody has collected.
pub const UNCLAIMED: AccountNo = AccountNo(14);
/// What will never be repaid.
pub const WRITE_OFFS: AccountNo = AccountNo(15);
/// The first number given to accounts opened later.
pub const FIRST_FREE: AccountNo = AccountNo(16);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_codes_are_one_to_one() {
        for code in Code::ALL {
            assert_eq!(Code::from_number(code.number()), Some(code));
        }
        assert_eq!(Code::from_number(9999), None);
    }

    #[test]
    fn people_can_never_be_below_zero() {
        for code in [
            Code::Available,
            Code::Held,
            Code::Savings,
            Code::Withheld,
            Code::Suspense,
        ] {
            assert!(code.never_negative());
        }
        assert!(!Code::VendorPayable.never_negative());
    }
}
