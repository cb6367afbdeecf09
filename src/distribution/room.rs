//! What lanes remember of this domain: the policy's versions, and what the detainees owe that are credited.

use futures::future::{BoxFuture, FutureExt as _};
use time::Date;

use super::{
    entity::{CLAIM, COURT_ORDER, CourtOrder, DEBT, Debt, Policies},
    posting,
    split::{Holder, distribute},
    store::{self, CollectedRows, RepaidRows},
};
use crate::{
    custody::room::Standing,
    db::{self, Conn},
    ids::{AccountNo, DetaineeId, Seq},
    ledger::{Asked, Center, Code, Declined, Posting, Room, Rows, State, chart},
    money::Amount,
    proto::DistributionPart,
};

/// What a detainee owes, to courts and to the center.
#[derive(Debug, Default)]
struct Owed {
    orders: Vec<CourtOrder>,
    debts: Vec<Debt>,
}

/// The center's policy and what the detainees owe that credits asked for.
#[derive(Default)]
pub struct DistributionRoom {
    policies: Option<Policies>,
    owed: Asked<DetaineeId, Owed>,
}

impl DistributionRoom {
    /// Asks for the policy and what a detainee owes.
    pub fn want(&mut self, id: &DetaineeId) {
        self.owed.want(id);
    }

    fn get(&self, id: &DetaineeId) -> Result<(&Policies, &Owed), Declined> {
        self.policies
            .as_ref()
            .zip(self.owed.get(id))
            .ok_or_else(|| Declined::Broken(format!("the distribution rules of {id} are not loaded")))
    }
}

impl Room for DistributionRoom {
    fn is_wanting(&self) -> bool {
        self.owed.is_wanting()
    }
    fn keys(&self) -> usize {
        self.owed.count()
    }
    fn load<'a>(&'a mut self, conn: &'a mut Conn, center: &'a Center) -> BoxFuture<'a, db::Result<()>> {
        async move {
            if self.policies.is_none() {
                self.policies = Some(store::policies(conn, center).await?);
            }
            let wanted = self.owed.take_wanted();
            let mut orders = store::court_orders(conn, center, &wanted).await?;
            let mut debts = store::debts(conn, center, &wanted).await?;
            for id in wanted {
                let owed = Owed {
                    orders: orders.remove(id.as_str()).unwrap_or_default(),
                    debts: debts.remove(id.as_str()).unwrap_or_default(),
                };
                self.owed.learn(id, owed);
            }
            Ok(())
        }
        .boxed()
    }
}

/// A credit, split and ready to be posted.
pub struct Split {
    /// The parts, explained.
    pub parts: Vec<DistributionPart>,
    /// The policy's version that was applied.
    pub policy_version: i64,
    /// What moves.
    pub postings: Vec<Posting>,
}

/// Splits a credit to an active detainee, whose rules and balances `want` has asked for, by the policy of a business date.
pub fn split(
    state: &State,
    id: &DetaineeId,
    standing: &Standing,
    clearing: AccountNo,
    gross: Amount,
    date: Date,
) -> Result<Split, Declined> {
    let (policies, owed) = state.room::<DistributionRoom>()?.get(id)?;
    let policy = policies.holding_on(date);
    let holder = Holder {
        orders: &owed.orders,
        debts: &owed.debts,
        available: state.balance(standing.available())?,
        savings: state.balance(standing.savings())?,
        is_convicted: standing.is_convicted,
    };
    let parts = distribute(gross, policy, &holder).map_err(|error| Declined::Broken(error.to_string()))?;
    let mut postings = Vec::with_capacity(parts.len());
    for part in &parts {
        let amount = Amount::parse(&part.amount, gross.currency())?;
        let code = i16::try_from(part.account_code).ok().and_then(Code::from_number);
        let to = match code {
            Some(Code::CourtPayable) => chart::COURT_PAYABLE,
            Some(Code::Advances) => chart::ADVANCES,
            Some(Code::Savings) => standing.savings(),
            Some(Code::Available) => standing.available(),
            _ => {
                return Err(Declined::Broken(format!(
                    "a part goes to account {}",
                    part.account_code
                )));
            }
        };
        if amount.is_positive() {
            postings.push(posting::part(clearing, to, amount));
        }
    }
    Ok(Split {
        parts,
        policy_version: policy.version,
        postings,
    })
}

/// Remembers what a committed credit has collected for courts and repaid to the center.
pub fn collect(
    state: &mut State,
    rows: &mut Rows,
    id: &DetaineeId,
    parts: &[DistributionPart],
) -> Result<(), Declined> {
    let currency = state.center().currency;
    let owed = state.room_mut::<DistributionRoom>()?.owed.get_mut(id);
    let owed = owed.ok_or_else(|| Declined::Broken(format!("what {id} owes is not loaded")))?;
    for part in parts {
        let amount = Amount::parse(&part.amount, currency)?;
        if !amount.is_positive() {
            continue;
        }
        let unknown = || Declined::Broken(format!("{} {} is not loaded", part.rule, part.document));
        match part.rule.as_str() {
            COURT_ORDER => {
                let order = owed.orders.iter_mut().find(|order| order.document == part.document);
                let order = order.ok_or_else(unknown)?;
                order.collected = order.collected.checked_add(amount)?;
                if let Some(collected) = rows.of::<CollectedRows>() {
                    collected.put(id, &order.id, order.collected);
                }
            }
            CLAIM | DEBT => {
                let debt = owed.debts.iter_mut().find(|debt| debt.seq == Seq(part.debt));
                let debt = debt.ok_or_else(unknown)?;
                debt.repaid = debt.repaid.checked_add(amount)?;
                if let Some(repaid) = rows.of::<RepaidRows>() {
                    repaid.put(debt.seq, debt.repaid);
                }
            }
            _ => {}
        }
    }
    Ok(())
}
