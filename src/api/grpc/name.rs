//! Resource names: `centers/north/detainees/D1` into its parts and back.
//!
//! Each kind of name is a struct with its parts, a `parse` that says which request field was wrong and what was expected,
//! and a `Display` that writes the name. Parsed parts borrow from the request.

use std::fmt;

use time::{Date, format_description::BorrowedFormatItem, macros::format_description};

use crate::{api::status::invalid_field, proto::Refusal};

/// The longest id, in characters.
pub const ID_LEN_MAX: usize = 63;

const DATE: &[BorrowedFormatItem<'static>] = format_description!("[year]-[month]-[day]");

/// Checks an id that a caller chose: `[A-Za-z0-9][A-Za-z0-9-]{0,62}`.
///
/// Errors: INVALID_FIELD naming `field`.
pub fn id<'a>(text: &'a str, field: &str) -> Result<&'a str, Refusal> {
    if is_id(text) {
        return Ok(text);
    }
    let message = if text.is_empty() {
        "is required"
    } else {
        "must be 1 to 63 letters, digits and hyphens, beginning with a letter or digit"
    };
    Err(invalid_field(field, message))
}

/// Reads a date, YYYY-MM-DD.
///
/// Errors: INVALID_FIELD naming `field`.
pub fn date(text: &str, field: &str) -> Result<Date, Refusal> {
    if text.is_empty() {
        return Err(invalid_field(field, "is required"));
    }
    parse_date(text).ok_or_else(|| invalid_field(field, "must be a date like 2026-01-31"))
}

/// Writes a date, YYYY-MM-DD.
pub fn format_date(date: Date) -> String {
    format!("{:04}-{:02}-{:02}", date.year(), u8::from(date.month()), date.day())
}

fn is_id(text: &str) -> bool {
    let mut bytes = text.bytes();
    text.len() <= ID_LEN_MAX
        && bytes.next().is_some_and(|first| first.is_ascii_alphanumeric())
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// A positive number written without sign or leading zeros, so that every resource has one name only.
fn number<N: TryFrom<u64>>(text: &str) -> Option<N> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
    if plain {
        N::try_from(text.parse().ok()?).ok()
    } else {
        None
    }
}

fn parse_date(text: &str) -> Option<Date> {
    if text.len() == 10 {
        Date::parse(text, DATE).ok()
    } else {
        None
    }
}

/// Splits a name into its ids. Each id stands behind its collection, and nothing behind the last.
fn split<'a, const N: usize>(text: &'a str, collections: [&str; N]) -> Option<[&'a str; N]> {
    let mut parts = text.split('/');
    let mut ids = [""; N];
    for (id, collection) in ids.iter_mut().zip(collections) {
        if parts.next()? != collection {
            return None;
        }
        *id = parts.next()?;
    }
    if parts.next().is_some() { None } else { Some(ids) }
}

fn not_a_name(text: &str, field: &str, pattern: &str) -> Refusal {
    if text.is_empty() {
        return invalid_field(field, "is required");
    }
    invalid_field(field, format!("must be a name like {pattern}"))
}

/// Checks that a name inside a request is of the same center as the request itself.
fn same_center(center: &str, expected: &str, field: &str) -> Result<(), Refusal> {
    if center == expected {
        return Ok(());
    }
    Err(invalid_field(field, format!("must be in centers/{expected}")))
}

/// The verbs every name has, given its `read` (no error text) and its pattern.
macro_rules! name_verbs {
    ($name:ident, $pattern:literal) => {
        impl<'a> $name<'a> {
            /// How such names look.
            pub const PATTERN: &'static str = $pattern;

            /// Reads a name. Errors: INVALID_FIELD naming `field`.
            pub fn parse(text: &'a str, field: &str) -> Result<Self, Refusal> {
                Self::read(text).ok_or_else(|| not_a_name(text, field, Self::PATTERN))
            }

            /// Reads a name that must be of `center`. Errors: INVALID_FIELD naming `field`.
            pub fn parse_in(text: &'a str, field: &str, center: &str) -> Result<Self, Refusal> {
                let name = Self::parse(text, field)?;
                same_center(name.center, center, field)?;
                Ok(name)
            }

            /// Reads a filter: empty is none. Errors: INVALID_FIELD naming `field`.
            pub fn parse_filter(text: &'a str, field: &str, center: &str) -> Result<Option<Self>, Refusal> {
                if text.is_empty() {
                    Ok(None)
                } else {
                    Self::parse_in(text, field, center).map(Some)
                }
            }
        }
    };
}

/// A name whose parts are all ids: each collection, and what the id under it is called. `$tail` ends a singleton's name.
macro_rules! id_name {
    ($(#[$doc:meta])* $name:ident, $pattern:literal, $tail:literal, $($collection:literal => $part:ident),+) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub struct $name<'a> {
            $(#[doc = concat!("Id under `", $collection, "`.")] pub $part: &'a str,)+
        }

        impl<'a> $name<'a> {
            fn read(text: &'a str) -> Option<Self> {
                let [$($part),+] = split(text.strip_suffix($tail)?, [$($collection),+])?;
                if $(is_id($part))&&+ { Some(Self { $($part),+ }) } else { None }
            }
        }

        impl fmt::Display for $name<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut slash = "";
                $(write!(f, "{slash}{}/{}", $collection, self.$part)?; slash = "/";)+
                let _ = slash;
                f.write_str($tail)
            }
        }

        name_verbs!($name, $pattern);
    };
}

/// A name whose last part is a number.
macro_rules! number_name {
    ($(#[$doc:meta])* $name:ident, $pattern:literal, $collection:literal => $part:ident: $number:ty) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub struct $name<'a> {
            /// Id under `centers`.
            pub center: &'a str,
            #[doc = concat!("Number under `", $collection, "`, from 1.")]
            pub $part: $number,
        }

        impl<'a> $name<'a> {
            fn read(text: &'a str) -> Option<Self> {
                let [center, last] = split(text, ["centers", $collection])?;
                let $part = number(last)?;
                if is_id(center) { Some(Self { center, $part }) } else { None }
            }
        }

        impl fmt::Display for $name<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "centers/{}/{}/{}", self.center, $collection, self.$part)
            }
        }

        name_verbs!($name, $pattern);
    };
}

mod offline;

pub use offline::{AllowanceName, OfflineSaleName, OfflineSettingsName, number_in};

id_name!(
    /// `centers/{center}`
    CenterName, "centers/{center}", "", "centers" => center
);
id_name!(
    /// `centers/{center}/settings`
    SettingsName, "centers/{center}/settings", "/settings", "centers" => center
);
id_name!(
    /// `centers/{center}/distributionPolicy`
    DistributionPolicyName, "centers/{center}/distributionPolicy", "/distributionPolicy", "centers" => center
);
id_name!(
    /// `centers/{center}/detainees/{detainee}`
    DetaineeName, "centers/{center}/detainees/{detainee}", "", "centers" => center, "detainees" => detainee
);
id_name!(
    /// `centers/{center}/detainees/{detainee}/courtOrders/{court_order}`
    CourtOrderName, "centers/{center}/detainees/{detainee}/courtOrders/{court_order}", "",
    "centers" => center, "detainees" => detainee, "courtOrders" => court_order
);
id_name!(
    /// `centers/{center}/detainees/{detainee}/heirs/{heir}`
    HeirName, "centers/{center}/detainees/{detainee}/heirs/{heir}", "",
    "centers" => center, "detainees" => detainee, "heirs" => heir
);
id_name!(
    /// `centers/{center}/vendors/{vendor}`
    VendorName, "centers/{center}/vendors/{vendor}", "", "centers" => center, "vendors" => vendor
);
id_name!(
    /// `centers/{center}/products/{product}`
    ProductName, "centers/{center}/products/{product}", "", "centers" => center, "products" => product
);
id_name!(
    /// `centers/{center}/cards/{card}`
    CardName, "centers/{center}/cards/{card}", "", "centers" => center, "cards" => card
);
id_name!(
    /// `centers/{center}/terminals/{terminal}`
    TerminalName, "centers/{center}/terminals/{terminal}", "", "centers" => center, "terminals" => terminal
);
id_name!(
    /// `centers/{center}/payers/{payer}`
    PayerName, "centers/{center}/payers/{payer}", "", "centers" => center, "payers" => payer
);
id_name!(
    /// `centers/{center}/payers/{payer}/links/{detainee}`
    PayerLinkName, "centers/{center}/payers/{payer}/links/{detainee}", "",
    "centers" => center, "payers" => payer, "links" => detainee
);
id_name!(
    /// `centers/{center}/remittances/{remittance}`
    RemittanceName, "centers/{center}/remittances/{remittance}", "", "centers" => center, "remittances" => remittance
);
id_name!(
    /// `centers/{center}/remittances/{remittance}/distribution`
    DistributionName, "centers/{center}/remittances/{remittance}/distribution", "/distribution",
    "centers" => center, "remittances" => remittance
);
id_name!(
    /// `centers/{center}/workItems/{work_item}`
    WorkItemName, "centers/{center}/workItems/{work_item}", "", "centers" => center, "workItems" => work_item
);
number_name!(
    /// `centers/{center}/unmatchedSums/{seq}`
    UnmatchedSumName, "centers/{center}/unmatchedSums/{seq}", "unmatchedSums" => seq: i64
);
number_name!(
    /// `centers/{center}/approvals/{approval}`
    ApprovalName, "centers/{center}/approvals/{approval}", "approvals" => approval: i64
);
number_name!(
    /// `centers/{center}/purchases/{seq}`
    PurchaseName, "centers/{center}/purchases/{seq}", "purchases" => seq: i64
);
number_name!(
    /// `centers/{center}/orders/{seq}`
    OrderName, "centers/{center}/orders/{seq}", "orders" => seq: i64
);
id_name!(
    /// `centers/{center}/orderingRules`
    OrderingRulesName, "centers/{center}/orderingRules", "/orderingRules", "centers" => center
);
number_name!(
    /// `centers/{center}/returns/{seq}`
    ReturnName, "centers/{center}/returns/{seq}", "returns" => seq: i64
);
number_name!(
    /// `centers/{center}/spendingMeasures/{measure}`
    MeasureName, "centers/{center}/spendingMeasures/{measure}", "spendingMeasures" => measure: i64
);
number_name!(
    /// `centers/{center}/kitGrants/{seq}`
    KitGrantName, "centers/{center}/kitGrants/{seq}", "kitGrants" => seq: i64
);
id_name!(
    /// `centers/{center}/kit`
    KitName, "centers/{center}/kit", "/kit", "centers" => center
);
number_name!(
    /// `centers/{center}/settlements/{seq}`
    SettlementName, "centers/{center}/settlements/{seq}", "settlements" => seq: i64
);
number_name!(
    /// `centers/{center}/paymentFiles/{number}`
    PaymentFileName, "centers/{center}/paymentFiles/{number}", "paymentFiles" => number: i64
);
number_name!(
    /// `centers/{center}/refunds/{seq}`
    RefundName, "centers/{center}/refunds/{seq}", "refunds" => seq: i64
);
number_name!(
    /// `centers/{center}/debts/{seq}`
    DebtName, "centers/{center}/debts/{seq}", "debts" => seq: i64
);
number_name!(
    /// `centers/{center}/payouts/{seq}`
    PayoutName, "centers/{center}/payouts/{seq}", "payouts" => seq: i64
);
number_name!(
    /// `centers/{center}/unclaimedSums/{seq}`
    UnclaimedSumName, "centers/{center}/unclaimedSums/{seq}", "unclaimedSums" => seq: i64
);
number_name!(
    /// `centers/{center}/creditReversals/{seq}`
    CreditReversalName, "centers/{center}/creditReversals/{seq}", "creditReversals" => seq: i64
);
number_name!(
    /// `centers/{center}/releases/{seq}`
    ReleaseName, "centers/{center}/releases/{seq}", "releases" => seq: i64
);
number_name!(
    /// `centers/{center}/transfers/{seq}`
    TransferName, "centers/{center}/transfers/{seq}", "transfers" => seq: i64
);
number_name!(
    /// `centers/{center}/withholdings/{seq}`
    WithholdingName, "centers/{center}/withholdings/{seq}", "withholdings" => seq: i64
);
number_name!(
    /// `centers/{center}/transactions/{seq}`
    TransactionName, "centers/{center}/transactions/{seq}", "transactions" => seq: i64
);
number_name!(
    /// `centers/{center}/accounts/{account_no}`
    AccountName, "centers/{center}/accounts/{account_no}", "accounts" => account_no: i32
);

/// `centers/{center}/reconciliations/{channel}.{date}`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReconciliationName<'a> {
    /// Id under `centers`.
    pub center: &'a str,
    /// The gateway channel.
    pub channel: &'a str,
    /// The bill's date.
    pub bill_date: Date,
}

impl<'a> ReconciliationName<'a> {
    fn read(text: &'a str) -> Option<Self> {
        let [center, last] = split(text, ["centers", "reconciliations"])?;
        let (channel, bill_date) = last.split_once('.')?;
        let bill_date = parse_date(bill_date)?;
        if is_id(center) && is_id(channel) {
            Some(Self {
                center,
                channel,
                bill_date,
            })
        } else {
            None
        }
    }
}

impl fmt::Display for ReconciliationName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            center,
            channel,
            bill_date,
        } = self;
        write!(
            f,
            "centers/{center}/reconciliations/{channel}.{}",
            format_date(*bill_date)
        )
    }
}

name_verbs!(ReconciliationName, "centers/{center}/reconciliations/{channel}.{date}");

/// Reads what something is about, `centers/{center}/…`, relative to its center; empty is none.
///
/// Errors: INVALID_FIELD naming `field`.
pub fn subject_in<'a>(text: &'a str, field: &str, center: &str) -> Result<Option<&'a str>, Refusal> {
    if text.is_empty() {
        return Ok(None);
    }
    let bad = || not_a_name(text, field, "centers/{center}/{collection}/{id}");
    let (own, subject) = text
        .strip_prefix("centers/")
        .and_then(|rest| rest.split_once('/'))
        .ok_or_else(bad)?;
    // Collections and ids take turns.
    if !is_id(own) || subject.split('/').count() % 2 != 0 || !subject.split('/').all(is_id) {
        return Err(bad());
    }
    same_center(own, center, field)?;
    Ok(Some(subject))
}

/// Reads `centers/{center}/payers/{payer}`, or `centers/{center}/payers/-` for every payer of the center.
///
/// Errors: INVALID_FIELD naming `field`.
pub fn payer_or_all<'a>(text: &'a str, field: &str) -> Result<(&'a str, Option<&'a str>), Refusal> {
    match split(text, ["centers", "payers"]) {
        Some([center, "-"]) if is_id(center) => Ok((center, None)),
        _ => PayerName::parse(text, field).map(|name| (name.center, Some(name.payer))),
    }
}

#[cfg(test)]
mod tests;
