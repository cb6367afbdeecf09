//! What lanes remember of remittances: whether their money is in the ledger, and what of it is in suspense.

use futures::future::{BoxFuture, FutureExt as _};

use super::{SuspendedPayment, store};
use crate::{
    db::{self, Conn},
    ids::RemittanceId,
    ledger::{Asked, Center, Declined, Room},
};

/// What a decision needs to know of a remittance.
#[derive(Debug, Clone, Default)]
pub(in crate::remittance) struct Standing {
    /// Whether its leg PAID is written.
    pub is_paid: bool,
    /// Whether its own payment was put into suspense.
    pub is_suspended: bool,
    /// Whether its own payment was held for review.
    pub is_held: bool,
    /// Whether that review is over.
    pub is_decided: bool,
    /// Whether it is credited.
    pub is_credited: bool,
    /// Its payments that were put into suspense, oldest first.
    pub payments: Vec<SuspendedPayment>,
}

impl Standing {
    /// Whether a payment of it is in the ledger, so that every other one is a further one.
    pub fn is_posted(&self) -> bool {
        self.is_suspended || self.is_credited || self.is_held
    }
}

/// The remittances that credits asked for.
#[derive(Default)]
pub(in crate::remittance) struct RemittanceRoom {
    known: Asked<RemittanceId, Standing>,
}

impl RemittanceRoom {
    pub fn want(&mut self, id: &RemittanceId) {
        self.known.want(id);
    }

    pub fn get(&self, id: &RemittanceId) -> Result<&Standing, Declined> {
        let standing = self.known.get(id);
        standing.ok_or_else(|| Declined::Broken(format!("remittance {id} is not loaded")))
    }

    pub fn get_mut(&mut self, id: &RemittanceId) -> Result<&mut Standing, Declined> {
        let standing = self.known.get_mut(id);
        standing.ok_or_else(|| Declined::Broken(format!("remittance {id} is not loaded")))
    }
}

impl Room for RemittanceRoom {
    fn is_wanting(&self) -> bool {
        self.known.is_wanting()
    }
    fn keys(&self) -> usize {
        self.known.count()
    }
    fn load<'a>(&'a mut self, conn: &'a mut Conn, center: &'a Center) -> BoxFuture<'a, db::Result<()>> {
        async move {
            let wanted = self.known.take_wanted();
            let mut found = store::standings(conn, center, &wanted).await?;
            for id in wanted {
                let standing = found.remove(id.as_str()).unwrap_or_default();
                self.known.learn(id, standing);
            }
            Ok(())
        }
        .boxed()
    }
}
