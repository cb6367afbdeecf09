//! Measures: another limit for a time, a freeze by an authority, categories that somebody is restricted from.
//!
//! They hold from an instant until another: purchases look at the time they are recorded, so that nothing has to run for one to
//! begin or to expire. What gives more, freezes, or ends a freeze is allowed by two people; a restriction takes nobody's money, and
//! one person orders it.

mod ask;
mod entity;
mod store;
mod verify;

pub use ask::{FREEZE, FREEZE_END, NewFreeze, NewOverride, OVERRIDE};
use ask::{FreezeEndQuestion, Proposal};
pub(in crate::commissary) use ask::{FreezeEndRunner, MeasureRunner};
pub use entity::{
    FREEZE_DAYS_MAX, MEASURE_MAX, Measure, MeasureEnd, MeasureKind, MeasureState, freeze, limit_override, restriction,
};
pub(in crate::commissary) use store::open_of;
use time::{Duration, OffsetDateTime};
pub(in crate::commissary) use verify::measures;

use crate::{
    approval::{Approval, Approvals, Asking},
    commissary::{Category, Commissary, spending::SpendingRefusal as R},
    custody,
    db::Conn,
    ids::DetaineeId,
    ledger::{Center, Declined, LedgerError, Outcome, Request, center, outcome},
};

/// A restriction that is asked for.
#[derive(Debug, Clone)]
pub struct NewRestriction {
    /// Whose.
    pub detainee: DetaineeId,
    /// From what; at least one, none twice.
    pub categories: Vec<Category>,
    /// From when on; from now if none.
    pub starts_at: Option<OffsetDateTime>,
    /// Until when.
    pub ends_at: OffsetDateTime,
    /// The document, if there is one.
    pub document: String,
}

/// Where a measure stands below its center, as the outcome of its request names it.
const COLLECTION: &str = "spendingMeasures/";

/// From when on a measure holds that was asked for from an instant on; whether it can.
///
/// Errors: INVALID_FIELD, for an end that is past, before its beginning, or too far.
fn start_of(
    starts_at: Option<OffsetDateTime>,
    ends_at: OffsetDateTime,
    now: OffsetDateTime,
) -> Result<OffsetDateTime, R> {
    let starts_at = starts_at.map_or(now, |told| told.max(now));
    let wrong = |what| Err(R::MeasureTime { what });
    if ends_at <= now {
        wrong("is past")
    } else if ends_at <= starts_at {
        wrong("must be after it begins")
    } else if ends_at - starts_at > MEASURE_MAX {
        wrong("must be at most 366 days after it begins")
    } else {
        Ok(starts_at)
    }
}

impl Commissary {
    /// Asks others to allow a detainee another limit for a time. The second value tells that it is a repetition.
    ///
    /// Errors: NOT_FOUND, DETAINEE_NOT_ACTIVE, INVALID_FIELD, APPROVAL_PENDING.
    pub async fn propose_override(
        &self,
        center: &Center,
        asking: &Asking,
        new: NewOverride,
    ) -> Result<(Approval, bool), LedgerError> {
        let approvals = Approvals::new(self.lanes.clone());
        approvals.ask(center, asking, &Proposal::Override(new)).await
    }

    /// Asks others to freeze a detainee's money, or to go on with a freeze. The second value tells that it is a repetition.
    ///
    /// Errors: NOT_FOUND, DETAINEE_NOT_ACTIVE, MEASURE_OVER, APPROVAL_PENDING.
    pub async fn propose_freeze(
        &self,
        center: &Center,
        asking: &Asking,
        new: NewFreeze,
    ) -> Result<(Approval, bool), LedgerError> {
        let approvals = Approvals::new(self.lanes.clone());
        approvals.ask(center, asking, &Proposal::Freeze(new)).await
    }

    /// Asks others to end a freeze. The second value tells that it is a repetition.
    ///
    /// Errors: NOT_FOUND, MEASURE_OVER, APPROVAL_PENDING.
    pub async fn propose_freeze_end(
        &self,
        center: &Center,
        asking: &Asking,
        no: i64,
    ) -> Result<(Approval, bool), LedgerError> {
        let approvals = Approvals::new(self.lanes.clone());
        approvals.ask(center, asking, &FreezeEndQuestion(no)).await
    }

    /// Restricts a detainee from categories. The same request again is answered with what it has made; the second value tells
    /// that it is a repetition. A refusal is kept, and answers the same request for ever.
    ///
    /// Errors: NOT_FOUND, DETAINEE_NOT_ACTIVE, INVALID_FIELD.
    pub async fn restrict(
        &self,
        center: &Center,
        request: &Request,
        new: NewRestriction,
        reason: String,
    ) -> Result<(Measure, bool), LedgerError> {
        let mut tx = self.lanes.database().lane.begin().await?;
        let head = center::touch_rules_in_tx(&mut tx, center.no).await?;
        if let Some(stored) = outcome::find(&mut tx, center.no, request.id).await? {
            return match stored.answer(request)? {
                Outcome::Accepted { .. } => {
                    let found = store::made_by(&mut tx, center, request.id).await?;
                    Ok((found.ok_or(LedgerError::Internal)?, true))
                }
                Outcome::Refused { refusal, .. } => Err(LedgerError::Refused {
                    refusal,
                    replayed: true,
                }),
                Outcome::Posted(_) => Err(LedgerError::Internal),
            };
        }
        // After the last transaction, whatever the clocks of other processes say.
        let now = self.lanes.clock().now().max(head.recorded_at + Duration::MICROSECOND);
        let made = self.restricted(&mut tx, center, request, (new, reason), now).await;
        let kept = match &made {
            Ok(measure) => Ok(format!("{COLLECTION}{}", measure.no)),
            Err(LedgerError::Refused { refusal, .. }) => Err(refusal),
            Err(error) => return Err(error.clone()),
        };
        let kept = kept.as_ref().map(String::as_str).map_err(|refusal| *refusal);
        outcome::keep_in_tx(&mut tx, center, &head, request, kept, now).await?;
        tx.commit().await?;
        Ok((made?, false))
    }

    async fn restricted(
        &self,
        conn: &mut Conn,
        center: &Center,
        request: &Request,
        (new, reason): (NewRestriction, String),
        now: OffsetDateTime,
    ) -> Result<Measure, LedgerError> {
        custody::active_detainee_in_tx(conn, center, &new.detainee).await?;
        let measure = Measure {
            no: store::next_no(conn, center.no).await?,
            starts_at: start_of(new.starts_at, new.ends_at, now)?,
            detainee: new.detainee,
            kind: MeasureKind::Restriction {
                categories: new.categories,
            },
            document: new.document,
            reason,
            ends_at: new.ends_at,
            created_at: now,
            created_by: request.actor.clone(),
            approval: None,
            end: None,
        };
        store::insert(conn, center.no, &measure, request.id.0).await?;
        Ok(measure)
    }

    /// Ends an override or a restriction before its time. One that was ended before stays as it ended.
    ///
    /// Errors: NOT_FOUND, MEASURE_OVER, FREEZE_NEEDS_APPROVAL.
    pub async fn end_measure(
        &self,
        center: &Center,
        no: i64,
        reason: String,
        by: &str,
    ) -> Result<Measure, LedgerError> {
        let mut tx = self.lanes.database().lane.begin().await?;
        let head = center::touch_rules_in_tx(&mut tx, center.no).await?;
        let now = self.lanes.clock().now().max(head.recorded_at + Duration::MICROSECOND);
        let measure = require(&mut tx, center, no).await?;
        if measure.end.is_some() {
            return Ok(measure);
        }
        if matches!(measure.kind, MeasureKind::Freeze { .. }) {
            return Err(R::FreezeNeedsApproval { measure: no }.into());
        }
        require_open(&measure, now)?;
        let end = MeasureEnd {
            at: now,
            by: by.to_owned(),
            reason,
            approval: None,
        };
        store::insert_end(&mut tx, center.no, &measure, &end).await?;
        tx.commit().await?;
        Ok(Measure {
            end: Some(end),
            ..measure
        })
    }

    /// A measure.
    ///
    /// Errors: NOT_FOUND.
    pub async fn measure(&self, center: &Center, no: i64) -> Result<Measure, LedgerError> {
        let mut conn = self.lanes.database().read.acquire().await?;
        require(&mut conn, center, no).await
    }

    /// Up to `limit` measures before a number, newest first; of one detainee or of all.
    pub async fn measures(
        &self,
        center: &Center,
        detainee: Option<&DetaineeId>,
        before: Option<i64>,
        limit: i64,
    ) -> Result<Vec<Measure>, LedgerError> {
        let mut conn = self.lanes.database().read.acquire().await?;
        Ok(store::list(&mut conn, center, detainee, before.unwrap_or(i64::MAX), limit).await?)
    }

    /// The time by which measures hold.
    pub fn now(&self) -> OffsetDateTime {
        self.lanes.clock().now()
    }
}

async fn require(conn: &mut Conn, center: &Center, no: i64) -> Result<Measure, LedgerError> {
    let found = store::get(conn, center, no).await?;
    found.ok_or_else(|| R::MeasureNotFound { measure: no }.into())
}

/// Refuses what is over.
fn require_open(measure: &Measure, now: OffsetDateTime) -> Result<(), R> {
    match measure.state(now) {
        MeasureState::Coming | MeasureState::InForce => Ok(()),
        MeasureState::Expired | MeasureState::Ended => Err(R::MeasureOver {
            measure: measure.no,
            until: measure.until(),
        }),
    }
}

/// Refuses whose money an authority has frozen: nothing of it is spent, refunded or paid out.
///
/// Errors: DETAINEE_FROZEN.
pub async fn require_not_frozen_in_tx(
    conn: &mut Conn,
    center: &Center,
    detainee: &DetaineeId,
    at: OffsetDateTime,
) -> Result<(), Declined> {
    let mut found = open_of(conn, center, std::slice::from_ref(detainee)).await?;
    let measures = found.remove(detainee.as_str()).unwrap_or_default();
    Ok(super::refuse_frozen(detainee, &measures, at)?)
}
