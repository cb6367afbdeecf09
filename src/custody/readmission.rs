//! Admitting somebody again who was here before: a new stay under a new custody number, linked to the old.

use super::{Admission, Custody, CustodyRefusal, Detainee, DetaineeState, store};
use crate::{
    ids::DetaineeId,
    ledger::{Center, LedgerError, center},
};

impl Custody {
    /// Admits a person again whose former stay is over. The same again is answered with what is there.
    ///
    /// Errors: NOT_FOUND, STAY_NOT_OVER, and those of admitting.
    pub async fn readmit(
        &self,
        center: &Center,
        former: &DetaineeId,
        admission: Admission,
        document: &str,
        by: &str,
    ) -> Result<Detainee, LedgerError> {
        let mut tx = self.database.lane.begin().await?;
        center::touch_rules_in_tx(&mut tx, center.no).await?;
        let before = store::detainee(&mut tx, center.no, former).await?;
        let before = before.ok_or_else(|| CustodyRefusal::DetaineeNotFound {
            detainee: former.clone(),
        })?;
        let later = store::later_stay(&mut tx, center.no, former).await?;
        let is_same = later.as_deref() == Some(admission.id.as_str());
        if before.state != DetaineeState::Released || later.is_some() && !is_same || *former == admission.id {
            let detainee = former.clone();
            return Err(CustodyRefusal::StayNotOver { detainee, later }.into());
        }
        let known = store::detainee(&mut tx, center.no, &admission.id).await?.is_some();
        if known && !is_same {
            return Err(CustodyRefusal::AlreadyExists.into());
        }
        let admitted = self.admit_in_tx(&mut tx, center, admission).await?;
        if !is_same {
            store::insert_stay(
                &mut tx,
                center.no,
                (&admitted.id, former),
                document,
                (self.clock.now(), by),
            )
            .await?;
            tx.commit().await?;
        }
        Ok(admitted)
    }
}
