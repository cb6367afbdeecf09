//! The accounts against the chart and the order in which their numbers are given.

use std::collections::HashMap;

use rust_decimal::Decimal;
use sqlx::PgConnection;

use super::{Place, VerifyError};
use crate::{
    ids::AccountNo,
    ledger::{Center, Code, account::Account, chart},
};

/// A center's accounts, by number.
#[derive(Debug, Default)]
pub struct Accounts(HashMap<AccountNo, Account>);

impl Accounts {
    /// One account, if it exists.
    pub fn get(&self, no: AccountNo) -> Option<&Account> {
        self.0.get(&no)
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// How many have an owner of a kind, for example `detainees`.
    pub fn count_of(&self, kind: &str) -> usize {
        self.0
            .values()
            .filter(|account| kind_of(&account.owner) == kind)
            .count()
    }

    /// Whether an account is what it should be; what it is instead.
    ///
    /// # Errors
    /// A sentence that names both.
    pub fn require(&self, no: AccountNo, code: Code, owner: &str) -> Result<(), String> {
        match self.get(no) {
            Some(account) if account.code == code && account.owner == owner => Ok(()),
            Some(account) => Err(format!(
                "account {no} is {} of {:?}, it should be {} of {owner:?}",
                account.code.account_title(),
                account.owner,
                code.account_title()
            )),
            None => Err(format!("account {no} does not exist")),
        }
    }
}

fn kind_of(owner: &str) -> &str {
    owner.split_once('/').map_or("", |(kind, _)| kind)
}

/// Whose accounts have a code.
const fn owners(code: Code) -> &'static str {
    match code {
        Code::GatewayClearing => "channels",
        Code::Available | Code::Held | Code::Savings | Code::Withheld => "detainees",
        Code::VendorPayable | Code::VendorInTransit => "vendors",
        _ => "",
    }
}

/// Reads the accounts and compares each with the chart: a known code, an owner of the kind the code asks for, the code's
/// floor; the center's own under the numbers they have everywhere, all others consecutively after them.
pub(super) async fn read(conn: &mut PgConnection, center: &Center) -> Result<Accounts, VerifyError> {
    let differs = |no: i32, what: String| VerifyError::Differs {
        center: center.id.to_string(),
        place: Place::Row {
            table: "account",
            key: no.to_string(),
        },
        what,
    };
    let next = sqlx::query_scalar!(
        "select next_account_no from journal_head where center_id = $1",
        center.no.0
    )
    .fetch_one(&mut *conn)
    .await?;
    let rows = sqlx::query!(
        r#"select a.account_no, a.code, a.owner, b.floor as "floor?", b.balance is not null as "has_balance!"
           from account a
           left join account_balance b on b.center_id = a.center_id and b.account_no = a.account_no
           where a.center_id = $1 order by a.account_no"#,
        center.no.0,
    )
    .fetch_all(conn)
    .await?;
    let own = chart::CENTER_ACCOUNTS.into_iter().map(|(no, _)| no.0);
    let mut numbers = own.chain(chart::FIRST_FREE.0..next);
    let mut accounts = Accounts::default();
    for row in rows {
        let no = row.account_no;
        match numbers.next() {
            Some(expected) if expected == no => {}
            Some(expected) => return Err(differs(expected, format!("does not exist; the next is {no}"))),
            None => return Err(differs(no, format!("the journal's head says that {next} is free"))),
        }
        let code = Code::from_number(row.code)
            .ok_or_else(|| differs(no, format!("its code {} is not in the chart", row.code)))?;
        if kind_of(&row.owner) != owners(code) || owners(code).is_empty() != row.owner.is_empty() {
            let what = format!("{} cannot belong to {:?}", code.account_title(), row.owner);
            return Err(differs(no, what));
        }
        if !row.has_balance {
            return Err(differs(no, "has no balance".into()));
        }
        let floor = code.never_negative().then_some(Decimal::ZERO);
        if row.floor != floor {
            let text = |floor: Option<Decimal>| floor.map_or_else(|| "none".into(), |floor| floor.to_string());
            let what = format!("its floor is {}, the chart says {}", text(row.floor), text(floor));
            return Err(differs(no, what));
        }
        let (no, owner) = (AccountNo(no), row.owner);
        accounts.0.insert(no, Account { no, code, owner });
    }
    if let Some(missing) = numbers.next() {
        return Err(differs(missing, "does not exist".into()));
    }
    for (no, code) in chart::CENTER_ACCOUNTS {
        accounts.require(no, code, "").map_err(|what| differs(no.0, what))?;
    }
    Ok(accounts)
}
