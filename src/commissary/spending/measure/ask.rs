//! What two people decide of one detainee's spending, and what then runs. No money moves, so that a measure carries the request
//! that the approval runs under, by which it is made once.

use futures::future::{BoxFuture, FutureExt as _};
use time::{Duration, OffsetDateTime, format_description::well_known::Rfc3339};

use super::{Measure, MeasureEnd, MeasureKind, require, require_open, start_of, store};
use crate::{
    approval::{Approved, Done, Kind, NewApproval, Question, Runner, VALID, unreadable},
    commissary::{Commissary, Window, spending::SpendingRefusal as R},
    custody,
    db::Conn,
    ids::DetaineeId,
    ledger::{Center, LedgerError, center, record},
    money::Amount,
    proto::{FreezeEndCommand, MeasureCommand},
};

/// A detainee has another limit for a time.
pub const OVERRIDE: Kind = Kind {
    name: "spending.override",
    title: "change a detainee's spending limit for a time",
    title_zh: "临时调整消费限额",
};
/// A detainee's money is frozen.
pub const FREEZE: Kind = Kind {
    name: "spending.freeze",
    title: "freeze a detainee's money by an authority's order",
    title_zh: "依文冻结在押人员资金",
};
/// A freeze ends before its time.
pub const FREEZE_END: Kind = Kind {
    name: "spending.freeze_end",
    title: "end the freeze of a detainee's money",
    title_zh: "解除资金冻结",
};

/// Another limit that is asked for.
#[derive(Debug, Clone)]
pub struct NewOverride {
    /// Whose.
    pub detainee: DetaineeId,
    /// Which limit.
    pub window: Window,
    /// What it is to be.
    pub amount: Amount,
    /// From when on; from when it is allowed if none.
    pub starts_at: Option<OffsetDateTime>,
    /// Until when.
    pub ends_at: OffsetDateTime,
    /// The document that it is based on.
    pub document: String,
}

/// A freeze that is asked for.
#[derive(Debug, Clone)]
pub struct NewFreeze {
    /// Whose.
    pub detainee: DetaineeId,
    /// The number of the written order.
    pub document: String,
    /// For how many days; 1 to [`FREEZE_DAYS_MAX`](super::FREEZE_DAYS_MAX).
    pub days: i32,
    /// The freeze that it goes on with.
    pub renews: Option<i64>,
}

/// What others are to allow.
pub(super) enum Proposal {
    Override(NewOverride),
    Freeze(NewFreeze),
}

/// In whole microseconds, the finest that the database keeps: what is allowed is what is then stored.
fn instant_text(at: OffsetDateTime) -> String {
    let at = at - Duration::nanoseconds(i64::from(at.nanosecond() % 1_000));
    at.format(&Rfc3339).unwrap_or_else(|_| at.to_string())
}

fn instant_of(text: &str) -> Result<OffsetDateTime, LedgerError> {
    OffsetDateTime::parse(text, &Rfc3339).map_err(unreadable)
}

impl Proposal {
    /// What runs.
    fn command(&self) -> MeasureCommand {
        match self {
            Proposal::Override(new) => MeasureCommand {
                detainee: new.detainee.to_string(),
                kind: "OVERRIDE".into(),
                window: new.window.name().into(),
                amount: new.amount.to_string(),
                document: new.document.clone(),
                start_time: new.starts_at.map(instant_text).unwrap_or_default(),
                end_time: instant_text(new.ends_at),
                ..MeasureCommand::default()
            },
            Proposal::Freeze(new) => MeasureCommand {
                detainee: new.detainee.to_string(),
                kind: "FREEZE".into(),
                document: new.document.clone(),
                days: new.days,
                renews: new.renews.unwrap_or_default(),
                ..MeasureCommand::default()
            },
        }
    }

    /// Reads what is to run.
    pub fn of(told: &MeasureCommand, center: &Center) -> Result<Proposal, LedgerError> {
        let detainee = DetaineeId::parse(&told.detainee).map_err(unreadable)?;
        let document = told.document.clone();
        match told.kind.as_str() {
            "OVERRIDE" => Ok(Proposal::Override(NewOverride {
                detainee,
                document,
                window: Window::from_name(&told.window).ok_or_else(|| unreadable("its window"))?,
                amount: Amount::parse(&told.amount, center.currency).map_err(unreadable)?,
                starts_at: match told.start_time.as_str() {
                    "" => None,
                    text => Some(instant_of(text)?),
                },
                ends_at: instant_of(&told.end_time)?,
            })),
            "FREEZE" => Ok(Proposal::Freeze(NewFreeze {
                detainee,
                document,
                days: told.days,
                renews: (told.renews > 0).then_some(told.renews),
            })),
            _ => Err(unreadable("its kind")),
        }
    }

    pub fn detainee(&self) -> &DetaineeId {
        match self {
            Proposal::Override(new) => &new.detainee,
            Proposal::Freeze(new) => &new.detainee,
        }
    }

    fn subject(&self) -> String {
        match self {
            Proposal::Override(new) => format!("detainees/{}/limits/{}", new.detainee, new.window.name()),
            Proposal::Freeze(new) => format!("detainees/{}/freeze", new.detainee),
        }
    }

    /// From when until when it would hold, if it were made now. A freeze that goes on with another begins when that ends.
    async fn period(
        &self,
        conn: &mut Conn,
        center: &Center,
        now: OffsetDateTime,
    ) -> Result<(OffsetDateTime, OffsetDateTime), LedgerError> {
        match self {
            Proposal::Override(new) => Ok((start_of(new.starts_at, new.ends_at, now)?, new.ends_at)),
            Proposal::Freeze(new) => {
                let starts_at = match new.renews {
                    None => now,
                    Some(no) => {
                        let renewed = require(conn, center, no).await?;
                        let is_its = renewed.detainee == new.detainee;
                        if !is_its || !matches!(renewed.kind, MeasureKind::Freeze { .. }) {
                            return Err(R::MeasureNotFound { measure: no }.into());
                        }
                        require_open(&renewed, now)?;
                        renewed.until()
                    }
                };
                Ok((starts_at, starts_at + Duration::days(new.days.into())))
            }
        }
    }

    async fn asked(&self, conn: &mut Conn, center: &Center, now: OffsetDateTime) -> Result<NewApproval, LedgerError> {
        custody::active_detainee_in_tx(conn, center, self.detainee()).await?;
        let (starts_at, ends_at) = self.period(conn, center, now).await?;
        let (kind, summary) = match self {
            Proposal::Override(new) => (
                OVERRIDE,
                format!(
                    "Limit detainee {} to {} {} a {} from {} until {}, under document {}.",
                    new.detainee,
                    new.amount,
                    center.currency,
                    new.window.name().to_lowercase(),
                    instant_text(starts_at),
                    instant_text(ends_at),
                    new.document
                ),
            ),
            Proposal::Freeze(new) => (
                FREEZE,
                format!(
                    "Freeze the money of detainee {} for {} days, under written order {}.",
                    new.detainee, new.days, new.document
                ),
            ),
        };
        Ok(NewApproval {
            kind: kind.name,
            subject: self.subject(),
            command: record::canonical(&self.command()),
            summary,
            amount: None,
            valid: VALID,
        })
    }
}

impl Question for Proposal {
    fn check<'a>(
        &'a self,
        conn: &'a mut Conn,
        center: &'a Center,
        now: OffsetDateTime,
    ) -> BoxFuture<'a, Result<Option<NewApproval>, LedgerError>> {
        async move { self.asked(conn, center, now).await.map(Some) }.boxed()
    }
}

/// Makes measures that were allowed.
pub(in crate::commissary) struct MeasureRunner(pub Kind, pub Commissary);

impl MeasureRunner {
    async fn make(&self, center: &Center, approved: &Approved) -> Result<(), LedgerError> {
        let told: MeasureCommand = record::read_canonical(&approved.command).map_err(unreadable)?;
        let proposal = Proposal::of(&told, center)?;
        let lanes = &self.1.lanes;
        let mut tx = lanes.database().lane.begin().await?;
        let head = center::touch_rules_in_tx(&mut tx, center.no).await?;
        if store::made_by(&mut tx, center, approved.request_id).await?.is_some() {
            return Ok(());
        }
        let now = lanes.clock().now().max(head.recorded_at + Duration::MICROSECOND);
        custody::active_detainee_in_tx(&mut tx, center, proposal.detainee()).await?;
        let (starts_at, ends_at) = proposal.period(&mut tx, center, now).await?;
        let measure = Measure {
            no: store::next_no(&mut tx, center.no).await?,
            detainee: proposal.detainee().clone(),
            kind: match &proposal {
                Proposal::Override(new) => MeasureKind::Override {
                    window: new.window,
                    amount: new.amount,
                },
                Proposal::Freeze(new) => MeasureKind::Freeze { renews: new.renews },
            },
            document: told.document,
            reason: approved.facts.reason.clone(),
            starts_at,
            ends_at,
            created_at: now,
            created_by: approved.actor.clone(),
            approval: Some(approved.facts.approval),
            end: None,
        };
        store::insert(&mut tx, center.no, &measure, approved.request_id.0).await?;
        tx.commit().await?;
        tracing::info!(center = %center.id, measure = measure.no, kind = measure.kind.name(), "measure in force");
        Ok(())
    }
}

impl Runner for MeasureRunner {
    fn kind(&self) -> Kind {
        self.0
    }

    fn run<'a>(&'a self, center: &'a Center, approved: Approved) -> BoxFuture<'a, Result<Done, LedgerError>> {
        async move {
            self.make(center, &approved).await?;
            Ok(Done::NoTransaction)
        }
        .boxed()
    }
}

/// May a freeze end before its time?
pub(super) struct FreezeEndQuestion(pub i64);

impl FreezeEndQuestion {
    async fn asked(&self, conn: &mut Conn, center: &Center, now: OffsetDateTime) -> Result<NewApproval, LedgerError> {
        let measure = require(conn, center, self.0).await?;
        if !matches!(measure.kind, MeasureKind::Freeze { .. }) {
            return Err(R::MeasureNotFound { measure: self.0 }.into());
        }
        require_open(&measure, now)?;
        Ok(NewApproval {
            kind: FREEZE_END.name,
            subject: format!("spendingMeasures/{}", self.0),
            command: record::canonical(&FreezeEndCommand { measure: self.0 }),
            summary: format!(
                "End the freeze of the money of detainee {} under written order {}, which would last until {}.",
                measure.detainee,
                measure.document,
                instant_text(measure.ends_at)
            ),
            amount: None,
            valid: VALID,
        })
    }
}

impl Question for FreezeEndQuestion {
    fn check<'a>(
        &'a self,
        conn: &'a mut Conn,
        center: &'a Center,
        now: OffsetDateTime,
    ) -> BoxFuture<'a, Result<Option<NewApproval>, LedgerError>> {
        async move { self.asked(conn, center, now).await.map(Some) }.boxed()
    }
}

/// Ends freezes as was allowed.
pub(in crate::commissary) struct FreezeEndRunner(pub Commissary);

impl FreezeEndRunner {
    async fn end(&self, center: &Center, approved: &Approved) -> Result<(), LedgerError> {
        let told: FreezeEndCommand = record::read_canonical(&approved.command).map_err(unreadable)?;
        let lanes = &self.0.lanes;
        let mut tx = lanes.database().lane.begin().await?;
        let head = center::touch_rules_in_tx(&mut tx, center.no).await?;
        let measure = require(&mut tx, center, told.measure).await?;
        let approval = Some(approved.facts.approval);
        if measure.end.as_ref().is_some_and(|end| end.approval == approval) {
            return Ok(());
        }
        let now = lanes.clock().now().max(head.recorded_at + Duration::MICROSECOND);
        require_open(&measure, now)?;
        let end = MeasureEnd {
            at: now,
            by: approved.actor.clone(),
            reason: approved.facts.reason.clone(),
            approval,
        };
        store::insert_end(&mut tx, center.no, &measure, &end).await?;
        tx.commit().await?;
        Ok(())
    }
}

impl Runner for FreezeEndRunner {
    fn kind(&self) -> Kind {
        FREEZE_END
    }

    fn run<'a>(&'a self, center: &'a Center, approved: Approved) -> BoxFuture<'a, Result<Done, LedgerError>> {
        async move {
            self.end(center, &approved).await?;
            Ok(Done::NoTransaction)
        }
        .boxed()
    }
}
