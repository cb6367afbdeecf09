//! What lanes remember of this domain: the policy, and the court orders of the detainees that are credited.

use futures::future::{BoxFuture, FutureExt as _};

use super::{
    entity::{COURT_ORDER, CourtOrder, Policy, distribute},
    posting,
    store::{self, CollectedRows},
};
use crate::{
    custody::room::Standing,
    db::{self, Conn},
    ids::{AccountNo, DetaineeId},
    ledger::{Asked, Center, Code, Declined, Posting, Room, Rows, State, chart},
    money::Amount,
    proto::DistributionPart,
};

/// The center's policy and the court orders that credits asked for.
#[derive(Default)]
pub struct DistributionRoom {
    policy: Option<Policy>,
    orders: Asked<DetaineeId, Vec<CourtOrder>>,
}

impl DistributionRoom {
    /// Asks for the policy and a detainee's court orders.
    pub fn want(&mut self, id: &DetaineeId) {
        self.orders.want(id);
    }

    fn get(&self, id: &DetaineeId) -> Result<(&Policy, &[CourtOrder]), Declined> {
        let orders = self.orders.get(id).map(Vec::as_slice);
        self.policy
            .as_ref()
            .zip(orders)
            .ok_or_else(|| Declined::Broken(format!("the distribution rules of {id} are not loaded")))
    }
}

impl Room for DistributionRoom {
    fn is_wanting(&self) -> bool {
        self.orders.is_wanting()
    }
    fn keys(&self) -> usize {
        self.orders.count()
    }
    fn load<'a>(&'a mut self, conn: &'a mut Conn, center: &'a Center) -> BoxFuture<'a, db::Result<()>> {
        async move {
            if self.policy.is_none() {
                self.policy = Some(store::policy(conn, center).await?);
            }
            let wanted = self.orders.take_wanted();
            let mut found = store::court_orders(conn, center, &wanted).await?;
            for id in wanted {
                let orders = found.remove(id.as_str()).unwrap_or_default();
                self.orders.learn(id, orders);
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

/// Splits a credit to an active detainee, whose rules and savings `want` has asked for.
pub fn split(
    state: &State,
    id: &DetaineeId,
    standing: &Standing,
    clearing: AccountNo,
    gross: Amount,
) -> Result<Split, Declined> {
    let (policy, orders) = state.room::<DistributionRoom>()?.get(id)?;
    let parts = distribute(gross, policy, orders, state.balance(standing.savings())?)?;
    let mut postings = Vec::with_capacity(parts.len());
    for part in &parts {
        let amount = Amount::parse(&part.amount, gross.currency())?;
        let code = i16::try_from(part.account_code).ok().and_then(Code::from_number);
        let to = match code {
            Some(Code::CourtPayable) => chart::COURT_PAYABLE,
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

/// Remembers what a committed credit has collected for courts.
pub fn collect(
    state: &mut State,
    rows: &mut Rows,
    id: &DetaineeId,
    parts: &[DistributionPart],
) -> Result<(), Declined> {
    let currency = state.center().currency;
    let room = state.room_mut::<DistributionRoom>()?;
    for part in parts.iter().filter(|part| part.rule == COURT_ORDER) {
        let amount = Amount::parse(&part.amount, currency)?;
        let order = room
            .orders
            .get_mut(id)
            .and_then(|orders| orders.iter_mut().find(|order| order.document == part.document))
            .ok_or_else(|| Declined::Broken(format!("court order {} is not loaded", part.document)))?;
        order.collected = order.collected.checked_add(amount)?;
        if let (true, Some(collected)) = (amount.is_positive(), rows.of::<CollectedRows>()) {
            collected.put(id, &order.id, order.collected);
        }
    }
    Ok(())
}
