//! What allowances and sales are, and what is odd about a sale's time: pure.

use time::{Date, Duration, OffsetDateTime};

use super::chain::Hash;
use crate::{
    commissary::{LINES_MAX, QUANTITY_MAX, SoldLine},
    ids::{DetaineeId, ProductId, Seq, TerminalId},
    ledger::Center,
    money::{Amount, Currency},
    proto::{OfflineSaleStatement, OfflineSaleStatementLine},
};

/// How far a terminal's clock may be off before it is told.
const SKEW: Duration = Duration::minutes(10);

/// Whether, and how much, terminals of a center may sell without the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The most of all allowances of one detainee together; zero when nothing is allowed.
    pub allowance_max: Amount,
    /// The longest that an allowance may last, in hours.
    pub hours_max: i16,
    /// How long after its time a terminal may report before the rest is released, in hours.
    pub report_hours: i16,
}

impl Settings {
    /// What goes while nobody has set anything: nothing is allowed.
    pub fn off(currency: Currency) -> Settings {
        Settings {
            allowance_max: Amount::zero(currency),
            hours_max: 24,
            report_hours: 48,
        }
    }
}

/// Settings with who set them and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingsVersion {
    /// The settings.
    pub settings: Settings,
    /// Counts the changes from 1; 0 when there was none.
    pub version: i64,
    /// When and by whom they were set.
    pub set: Option<(OffsetDateTime, String)>,
}

/// How an allowance ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndReason {
    /// Its terminal has brought everything in.
    Reported,
    /// The time to report was over.
    Expired,
}

impl EndReason {
    /// As it is stored.
    pub const fn name(self) -> &'static str {
        match self {
            EndReason::Reported => "REPORTED",
            EndReason::Expired => "EXPIRED",
        }
    }

    /// Reads what is stored.
    pub fn from_name(name: &str) -> Option<EndReason> {
        [EndReason::Reported, EndReason::Expired]
            .into_iter()
            .find(|reason| reason.name() == name)
    }
}

/// The end of an allowance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AllowanceEnd {
    /// The transaction that released the rest.
    pub seq: Seq,
    /// What that was.
    pub released: Amount,
    /// How it came to it.
    pub reason: EndReason,
}

/// Money of one detainee that is, or was, set aside for one terminal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allowance {
    /// The transaction that set it aside.
    pub seq: Seq,
    /// For which terminal.
    pub terminal: TerminalId,
    /// Whose money.
    pub detainee: DetaineeId,
    /// How much.
    pub amount: Amount,
    /// What of it is still set aside.
    pub remaining: Amount,
    /// The business date in whose spending windows it counts.
    pub counted_on: Date,
    /// When it was set aside.
    pub reserved_at: OffsetDateTime,
    /// Until when the terminal may sell within it.
    pub expires_at: OffsetDateTime,
    /// When the rest is released at the latest.
    pub releases_at: OffsetDateTime,
    /// How it ended, if it did.
    pub end: Option<AllowanceEnd>,
}

/// What became of a sale.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SaleState {
    /// Paid out of its allowance.
    Captured,
    /// Paid from what was available.
    SettledLate,
    /// Waits for finance: there was not enough, or a limit.
    Shortage,
    /// Waits for finance: something is not right.
    Review,
    /// The number was declared lost.
    Skipped,
    /// Finance charged it.
    Charged,
    /// The center paid it.
    WrittenOff,
    /// Finance ended it without money.
    Dismissed,
}

impl SaleState {
    const ALL: [SaleState; 8] = [
        SaleState::Captured,
        SaleState::SettledLate,
        SaleState::Shortage,
        SaleState::Review,
        SaleState::Skipped,
        SaleState::Charged,
        SaleState::WrittenOff,
        SaleState::Dismissed,
    ];

    /// As it is stored.
    pub const fn name(self) -> &'static str {
        match self {
            SaleState::Captured => "CAPTURED",
            SaleState::SettledLate => "SETTLED_LATE",
            SaleState::Shortage => "SHORTAGE",
            SaleState::Review => "REVIEW",
            SaleState::Skipped => "SKIPPED",
            SaleState::Charged => "CHARGED",
            SaleState::WrittenOff => "WRITTEN_OFF",
            SaleState::Dismissed => "DISMISSED",
        }
    }

    /// Reads what is stored.
    pub fn from_name(name: &str) -> Option<SaleState> {
        SaleState::ALL.into_iter().find(|state| state.name() == name)
    }

    /// Whether it waits for finance.
    pub const fn is_waiting(self) -> bool {
        matches!(self, SaleState::Shortage | SaleState::Review)
    }
}

/// The bytes of a sale as they came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bytes {
    /// What was signed.
    pub statement: Vec<u8>,
    /// The signature.
    pub signature: Vec<u8>,
    /// The hash.
    pub hash: Hash,
}

/// A sale that was taken in, or a number that was declared lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sale {
    /// Whose.
    pub terminal: TerminalId,
    /// Its number among the terminal's.
    pub number: i64,
    /// The transaction that took it in.
    pub seq: Seq,
    /// What became of it when it was taken in.
    pub taken: SaleState,
    /// Why it went to finance; empty when it did not.
    pub reason: String,
    /// The same in a sentence.
    pub message: String,
    /// The bytes; none of a number that was declared lost.
    pub bytes: Option<Bytes>,
    /// The detainee it tells.
    pub detainee: String,
    /// The allowance it tells.
    pub allowance: i64,
    /// What it comes to, as it tells.
    pub total: Amount,
    /// When it was sold by the terminal's clock, if that is a time.
    pub sold_at: Option<OffsetDateTime>,
    /// What is odd about it.
    pub flags: Vec<String>,
    /// When it was taken in.
    pub received_at: OffsetDateTime,
    /// Who sent it.
    pub received_by: String,
    /// How finance ended it, and by which transaction.
    pub end: Option<(SaleState, Seq)>,
}

impl Sale {
    /// Where it stands.
    pub fn state(&self) -> SaleState {
        self.end.map_or(self.taken, |(state, _)| state)
    }
}

/// What a statement says, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// Who bought.
    pub detainee: DetaineeId,
    /// Within which allowance.
    pub allowance: Seq,
    /// What.
    pub lines: Vec<SoldLine>,
    /// For how much.
    pub total: Amount,
    /// When, by the terminal's clock.
    pub sold_at: OffsetDateTime,
}

impl Told {
    /// Reads what a statement says; or says what cannot be so.
    pub fn read(statement: &OfflineSaleStatement, center: &Center) -> Result<Told, String> {
        let currency = center.currency;
        if statement.currency_code != currency.code() {
            return Err(format!("the center's currency is {currency}"));
        }
        if statement.lines.is_empty() || statement.lines.len() > LINES_MAX {
            return Err(format!("it has 1 to {LINES_MAX} lines, not {}", statement.lines.len()));
        }
        let lines = statement
            .lines
            .iter()
            .zip(1..)
            .map(|(line, number)| Told::line(line, currency).map_err(|why| format!("line {number}: {why}")));
        let lines = lines.collect::<Result<Vec<SoldLine>, String>>()?;
        let total = amount_in(&statement.total, currency).map_err(|why| format!("the total: {why}"))?;
        let mut sum = Amount::zero(currency);
        for line in &lines {
            let amount = line.unit_price.checked_mul(line.quantity);
            sum = amount
                .and_then(|amount| sum.checked_add(amount))
                .map_err(|_| "its lines are more than an amount can be".to_owned())?;
        }
        if sum != total {
            return Err(format!("its lines add up to {sum}, not {total}"));
        }
        let sold_at = OffsetDateTime::from_unix_timestamp(statement.sold_at_s);
        Ok(Told {
            detainee: DetaineeId::parse(&statement.detainee).map_err(|error| format!("the detainee: {error}"))?,
            allowance: Seq(statement.allowance),
            lines,
            total,
            sold_at: sold_at
                .ok()
                .filter(|at| (1970..=9999).contains(&at.year()))
                .ok_or("its time is none")?,
        })
    }

    fn line(line: &OfflineSaleStatementLine, currency: Currency) -> Result<SoldLine, String> {
        let quantity = u32::try_from(line.quantity).ok();
        Ok(SoldLine {
            product: ProductId::parse(&line.product).map_err(|error| format!("the product: {error}"))?,
            version: line.product_version,
            quantity: quantity
                .filter(|quantity| (1..=QUANTITY_MAX).contains(quantity))
                .ok_or_else(|| format!("1 to {QUANTITY_MAX} pieces, not {}", line.quantity))?,
            unit_price: amount_in(&line.unit_price, currency).map_err(|why| format!("the price: {why}"))?,
        })
    }
}

/// An amount above zero, written as we write it: so that one amount has one text.
fn amount_in(text: &str, currency: Currency) -> Result<Amount, String> {
    let amount = Amount::parse_positive(text, currency).map_err(|error| error.to_string())?;
    // As many as a product can cost.
    if amount.value() >= rust_decimal::Decimal::from(1_000_000_000_000_i64) {
        return Err("too much".to_owned());
    }
    if amount.to_string() == text {
        Ok(amount)
    } else {
        Err(format!("it is written {amount}"))
    }
}

/// What is odd about the time of a sale. `previous` is that of the sale before.
pub fn odd_times(
    sold_at: OffsetDateTime,
    received_at: OffsetDateTime,
    previous: Option<OffsetDateTime>,
    allowance: Option<&Allowance>,
) -> Vec<&'static str> {
    let mut flags = Vec::new();
    if let Some(allowance) = allowance {
        if sold_at < allowance.reserved_at - SKEW {
            flags.push("SOLD_BEFORE_ALLOWANCE");
        }
        if sold_at > allowance.expires_at {
            flags.push("SOLD_AFTER_EXPIRY");
        }
    }
    if sold_at > received_at + SKEW {
        flags.push("SOLD_IN_FUTURE");
    }
    if previous.is_some_and(|previous| sold_at < previous - SKEW) {
        flags.push("SOLD_BEFORE_PREVIOUS");
    }
    flags
}

/// The numbers that are missing before numbers that wait, given in order, after the last that was taken in.
pub fn missing(last: i64, waiting: &[i64]) -> Vec<(i64, i64)> {
    let mut found = Vec::new();
    let mut next = last + 1;
    for number in waiting {
        if *number > next {
            found.push((next, number - 1));
        }
        next = next.max(number + 1);
    }
    found
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;
    use crate::ids::{CenterId, CenterNo};

    fn center() -> Center {
        Center {
            no: CenterNo(1),
            id: CenterId::parse("C1").unwrap(),
            currency: Currency::parse("CNY").unwrap(),
            zone: crate::clock::Zone::parse("Asia/Shanghai").unwrap(),
        }
    }

    fn statement() -> OfflineSaleStatement {
        OfflineSaleStatement {
            detainee: "D1".into(),
            allowance: 7,
            currency_code: "CNY".into(),
            total: "9.00".into(),
            sold_at_s: 1_795_521_600,
            lines: vec![
                OfflineSaleStatementLine {
                    product: "RICE".into(),
                    product_version: 1,
                    quantity: 2,
                    unit_price: "2.50".into(),
                },
                OfflineSaleStatementLine {
                    product: "SOAP".into(),
                    product_version: 3,
                    quantity: 1,
                    unit_price: "4.00".into(),
                },
            ],
            ..OfflineSaleStatement::default()
        }
    }

    #[test]
    fn a_statement_is_read_whole_or_not_at_all() {
        let told = Told::read(&statement(), &center()).unwrap();
        assert_eq!((told.total.to_string().as_str(), told.lines.len()), ("9.00", 2));
        let bad: [fn(&mut OfflineSaleStatement); 12] = [
            |bad| bad.currency_code = "USD".into(),
            |bad| bad.lines.clear(),
            |bad| bad.lines = vec![bad.lines[0].clone(); LINES_MAX + 1],
            |bad| bad.total = "9".into(),
            |bad| bad.total = "9.01".into(),
            |bad| bad.total = "-9.00".into(),
            |bad| bad.detainee = "D/1".into(),
            |bad| bad.sold_at_s = i64::MAX,
            |bad| bad.lines[0].quantity = 0,
            |bad| bad.lines[0].quantity = 1001,
            |bad| bad.lines[0].unit_price = "2.5".into(),
            |bad| bad.lines[0].product = String::new(),
        ];
        for (which, spoil) in bad.iter().enumerate() {
            let mut spoilt = statement();
            spoil(&mut spoilt);
            assert!(Told::read(&spoilt, &center()).is_err(), "{which}");
        }
    }

    #[test]
    fn gaps_are_named() {
        assert_eq!(missing(0, &[]), []);
        assert_eq!(missing(3, &[5]), [(4, 4)]);
        assert_eq!(missing(0, &[2, 3, 7, 9]), [(1, 1), (4, 6), (8, 8)]);
        assert_eq!(missing(3, &[4, 5]), []);
    }

    #[test]
    fn odd_times_are_told_and_nothing_else() {
        let at = datetime!(2026-11-24 12:00 UTC);
        let amount = Amount::zero(Currency::parse("CNY").unwrap());
        let allowance = Allowance {
            seq: Seq(1),
            terminal: TerminalId::parse("T1").unwrap(),
            detainee: DetaineeId::parse("D1").unwrap(),
            amount,
            remaining: amount,
            counted_on: at.date(),
            reserved_at: at,
            expires_at: at + Duration::hours(8),
            releases_at: at + Duration::hours(56),
            end: None,
        };
        let odd = |hours: i64, previous: i64| {
            let sold_at = at + Duration::hours(hours);
            let previous = Some(at + Duration::hours(previous));
            odd_times(sold_at, at + Duration::hours(20), previous, Some(&allowance))
        };
        assert!(odd(1, 0).is_empty());
        assert_eq!(odd(-1, -2), ["SOLD_BEFORE_ALLOWANCE"]);
        assert_eq!(odd(9, 1), ["SOLD_AFTER_EXPIRY"]);
        assert_eq!(odd(21, 1), ["SOLD_AFTER_EXPIRY", "SOLD_IN_FUTURE"]);
        assert_eq!(odd(1, 2), ["SOLD_BEFORE_PREVIOUS"]);
    }

    #[test]
    fn states_keep_their_names() {
        for state in SaleState::ALL {
            assert_eq!(SaleState::from_name(state.name()), Some(state));
        }
        assert_eq!(EndReason::from_name("EXPIRED"), Some(EndReason::Expired));
    }
}
