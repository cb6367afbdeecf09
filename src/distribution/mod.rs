//! How credits are split over a detainee's accounts: policies, court orders, debts, previews.
//!
//! # Layout
//! - `entity`: what a split reads. `split`: the split itself, the same for previews and credits.
//! - `room`: a split in a lane. `court`: court orders. `debt`: recording debts. `moving`: what is owed when somebody moves.
//!   `write_off`: those never repaid. `reversal`: giving a credit's parts back.

mod court;
mod debt;
mod entity;
mod error;
pub mod moving;
mod posting;
pub mod reversal;
pub mod room;
mod split;
mod store;
mod verify;
mod write_off;

use std::sync::Arc;

use rust_decimal::Decimal;
use time::Date;

pub use court::{CourtOrderHistory, NewCourtOrder};
pub use debt::{ADVANCE, NewDebt};
pub use entity::{
    CLAIM, COURT_ORDER, CourtOrder, CourtOrderEvent, CourtOrderState, DEBT, Debt, DebtKind, Policy, REMAINDER,
    RULE_ORDER, Rule, SAVINGS, parse_percent,
};
pub use error::DistributionRefusal;
pub use split::{Holder, NO_CONSENT, UNDER_THRESHOLD, distribute};
pub use verify::CollectedCheck;
pub use write_off::{NewWriteOff, WRITE_OFF, raise_left_owing_in_tx};

use crate::{
    approval::{Answered, Approvals, Asking, Person, Runner},
    custody::{Custody, Detainee},
    db::{self, Conn},
    ids::{CourtOrderId, DetaineeId, Seq},
    ledger::{Center, Declined, Lanes, LedgerError, Request, balance, center},
    money::Amount,
    proto::DistributionPart,
};

/// The verbs of this domain.
#[derive(Clone)]
pub struct Distributions {
    lanes: Lanes,
    custody: Custody,
    approvals: Approvals,
}

/// What is told of a version of a policy. What is left out is the default.
#[derive(Debug, Clone, Default)]
pub struct NewPolicy {
    /// Percent of the gross credit that is saved.
    pub savings_percent: Decimal,
    /// Savings are filled up to this balance; none is without bound.
    pub savings_cap: Option<Amount>,
    /// Percent of the gross credit that all debts together take at most.
    pub debt_percent: Option<Decimal>,
    /// What debts leave available at least.
    pub debt_threshold: Option<Amount>,
    /// The rules between claims and the remainder, in the order they take their part.
    pub order: Option<[Rule; 3]>,
    /// The first business date it holds on; none is today.
    pub effective_from: Option<Date>,
}

impl NewPolicy {
    /// A version that saves and otherwise follows the defaults, from today.
    pub fn saving(savings_percent: Decimal, savings_cap: Option<Amount>) -> NewPolicy {
        NewPolicy {
            savings_percent,
            savings_cap,
            ..NewPolicy::default()
        }
    }
}

/// A version of a policy, and the number of the newest.
#[derive(Debug, Clone)]
pub struct PolicyVersion {
    /// The version.
    pub policy: Policy,
    /// The newest version's number: what a change has to know.
    pub newest: i64,
}

/// How a credit would be split.
#[derive(Debug, Clone)]
pub struct Preview {
    /// The parts, in the order the rules are applied; they add up to the credit.
    pub parts: Vec<DistributionPart>,
    /// The policy's version.
    pub policy_version: i64,
}

impl Distributions {
    /// The domain over its journals.
    pub fn new(lanes: Lanes, custody: Custody) -> Distributions {
        Distributions {
            approvals: Approvals::new(lanes.clone()),
            lanes,
            custody,
        }
    }

    fn today(&self, center: &Center) -> Date {
        center.zone.business_date(self.lanes.clock().now())
    }

    /// The version of a center's policy that holds today.
    pub async fn policy(&self, center: &Center) -> Result<PolicyVersion, LedgerError> {
        let mut conn = self.lanes.database().read.acquire().await?;
        let policies = store::policies(&mut conn, center).await?;
        Ok(PolicyVersion {
            policy: policies.holding_on(self.today(center)).clone(),
            newest: policies.newest(),
        })
    }

    /// Up to `limit` versions of a center's policy before a number, newest first.
    pub async fn policy_versions(
        &self,
        center: &Center,
        before: Option<i64>,
        limit: i64,
    ) -> Result<Vec<Policy>, LedgerError> {
        let mut conn = self.lanes.database().read.acquire().await?;
        Ok(store::versions(&mut conn, center, before.unwrap_or(i64::MAX), limit).await?)
    }

    /// Adds a version to a center's policy. With `version` only if that is still the newest. Answered with the new one.
    ///
    /// Errors: STALE_ETAG; INVALID_FIELD for a date that is over.
    pub async fn update_policy(
        &self,
        center: &Center,
        new: NewPolicy,
        version: Option<i64>,
        by: &str,
    ) -> Result<PolicyVersion, LedgerError> {
        let at = self.lanes.clock().now();
        let mut tx = self.lanes.database().lane.begin().await?;
        center::touch_rules_in_tx(&mut tx, center.no).await?;
        let newest = store::policies(&mut tx, center).await?.newest();
        if version.is_some_and(|version| version != newest) {
            return Err(DistributionRefusal::Stale { version: newest }.into());
        }
        let today = center.zone.business_date(at);
        let effective_from = new.effective_from.unwrap_or(today);
        if effective_from < today {
            return Err(DistributionRefusal::EffectiveInPast { today }.into());
        }
        let initial = Policy::initial(center.currency).map_err(|_| LedgerError::Internal)?;
        let policy = Policy {
            savings_percent: new.savings_percent,
            savings_cap: new.savings_cap,
            debt_percent: new.debt_percent.unwrap_or(initial.debt_percent),
            debt_threshold: new.debt_threshold.unwrap_or(initial.debt_threshold),
            order: new.order.unwrap_or(initial.order),
            version: newest + 1,
            effective_from: Some(effective_from),
            changed: Some((at, by.to_owned())),
        };
        store::insert_policy(&mut tx, center, &policy, at, by).await?;
        tx.commit().await?;
        Ok(PolicyVersion {
            newest: policy.version,
            policy,
        })
    }

    /// Records what a detainee owes. Others are asked to allow an advance, which is the detainee's as soon as they have.
    ///
    /// Errors: NOT_FOUND, DETAINEE_NOT_ACTIVE, ALREADY_EXISTS for a document that another debt of theirs has, APPROVAL_PENDING.
    pub async fn create_debt(
        &self,
        center: &Center,
        request: Request,
        maker: Person,
        new: NewDebt,
    ) -> Result<Answered, LedgerError> {
        let asking = Asking {
            request: request.clone(),
            maker,
            reason: new.document.clone(),
        };
        let question = debt::CreateDebt {
            request: request.clone(),
            new: new.clone(),
            approval: None,
        };
        let command = debt::CreateDebt {
            request,
            new,
            approval: None,
        };
        let run = self.lanes.submit_rare(center, command);
        self.approvals.ask_or_run(center, &asking, &question, run).await
    }

    /// What runs here when others have allowed it.
    pub fn runners(&self) -> [Arc<dyn Runner>; 1] {
        [Arc::new(debt::AdvanceRunner(self.lanes.clone()))]
    }

    /// A debt as it stands.
    ///
    /// Errors: NOT_FOUND.
    pub async fn debt(&self, center: &Center, debt: Seq) -> Result<Debt, LedgerError> {
        let mut conn = self.lanes.database().read.acquire().await?;
        let found = store::debt(&mut conn, center, debt).await?;
        found.ok_or_else(|| DistributionRefusal::DebtNotFound { debt }.into())
    }

    /// A detainee's debts, claims too, oldest first.
    ///
    /// Errors: NOT_FOUND.
    pub async fn debts(&self, center: &Center, id: &DetaineeId) -> Result<Vec<Debt>, LedgerError> {
        self.custody.detainee(center, id).await?;
        let mut conn = self.lanes.database().read.acquire().await?;
        let mut found = store::debts(&mut conn, center, std::slice::from_ref(id)).await?;
        Ok(found.remove(id.as_str()).unwrap_or_default())
    }

    /// How a credit would be split now. The real split may differ: other credits may come first, and rules may change.
    pub async fn preview(&self, center: &Center, id: &DetaineeId, gross: Amount) -> Result<Preview, LedgerError> {
        let detainee = self.custody.detainee(center, id).await?;
        let mut conn = self.lanes.database().read.acquire().await?;
        preview_in_tx(&mut conn, center, &detainee, gross, self.today(center)).await
    }
}

/// How a credit would be split on a business date, inside the caller's transaction.
pub async fn preview_in_tx(
    conn: &mut Conn,
    center: &Center,
    detainee: &Detainee,
    gross: Amount,
    date: Date,
) -> Result<Preview, LedgerError> {
    let id = std::slice::from_ref(&detainee.id);
    let policies = store::policies(conn, center).await?;
    let orders = store::court_orders(conn, center, id).await?;
    let debts = store::debts(conn, center, id).await?;
    let [available_no, _, savings_no, _] = detainee.accounts();
    let (balances, _) = balance::now(&mut *conn, center, &[available_no, savings_no]).await?;
    let [available, savings] = balances[..] else {
        return Err(LedgerError::Internal);
    };
    let policy = policies.holding_on(date);
    let holder = Holder {
        orders: orders.get(detainee.id.as_str()).map_or(&[], Vec::as_slice),
        debts: debts.get(detainee.id.as_str()).map_or(&[], Vec::as_slice),
        available,
        savings,
        is_convicted: detainee.is_convicted,
    };
    let parts = distribute(gross, policy, &holder).map_err(|error| {
        tracing::error!(%error, "a credit cannot be split");
        LedgerError::Internal
    })?;
    Ok(Preview {
        parts,
        policy_version: policy.version,
    })
}

/// The first debt that a detainee still owes something of, inside the caller's transaction.
pub async fn first_owed_in_tx(conn: &mut Conn, center: &Center, id: &DetaineeId) -> db::Result<Option<Seq>> {
    store::first_owed(conn, center, id).await
}

/// The first court order that still collects from a detainee, inside the caller's transaction.
pub async fn first_collected_in_tx(
    conn: &mut Conn,
    center: &Center,
    id: &DetaineeId,
) -> Result<Option<CourtOrderId>, Declined> {
    let mut orders = store::court_orders(conn, center, std::slice::from_ref(id)).await?;
    for order in orders.remove(id.as_str()).unwrap_or_default() {
        let is_over = order.state == CourtOrderState::Ended || order.collected == order.total;
        if !is_over {
            return Ok(Some(order.id));
        }
    }
    Ok(None)
}
