//! What others have to allow, and what then runs.

use std::sync::Arc;

use futures::future::{BoxFuture, FutureExt as _};

use super::{
    Endings,
    deed::{Deed, DoDeed},
    entity::{Part, Purpose},
    payout::{NewPayout, OpenPayout},
};
use crate::{
    approval::{Approved, Done, Kind, Runner, unreadable},
    ids::{DetaineeId, Seq},
    ledger::{Center, LedgerError, Request, record},
    money::{Amount, Currency},
    proto::{MergeFacts, PayoutFacts, TreasuryFacts, UnclaimedFacts},
};

/// A payout is opened.
pub(super) const PAYOUT: Kind = Kind {
    name: "ending.payout",
    title: "pay out the money of somebody who left",
    title_zh: "离所人员款项支付",
};
/// Money that nobody collected is kept.
pub(super) const KEEP: Kind = Kind {
    name: "ending.keep",
    title: "keep money until it is claimed",
    title_zh: "转入未领款",
};
/// The treasury is paid.
pub(super) const TREASURY: Kind = Kind {
    name: "ending.treasury",
    title: "pay unclaimed money to the treasury",
    title_zh: "未领款上缴财政",
};
/// Two bookings become one.
pub(super) const MERGE: Kind = Kind {
    name: "ending.merge",
    title: "merge two bookings of one person",
    title_zh: "合并重复登记",
};

/// The method that the run's request names. No caller can call it.
const METHOD: &str = "custody.v1.EndingService/RunEnding";

fn id(text: &str) -> Result<DetaineeId, LedgerError> {
    DetaineeId::parse(text).map_err(unreadable)
}

fn payout_of(told: PayoutFacts, currency: Currency) -> Result<NewPayout, LedgerError> {
    let part = |part: crate::proto::PayoutPartFacts| {
        Ok(Part {
            amount: Amount::parse(&part.amount, currency).map_err(unreadable)?,
            payee: part.payee,
            heir: part.heir,
            secret: part.secret,
        })
    };
    Ok(NewPayout {
        detainee: id(&told.detainee)?,
        purpose: Purpose::from_name(&told.purpose).ok_or_else(|| unreadable(&told.purpose))?,
        unclaimed: (told.unclaimed != 0).then_some(Seq(told.unclaimed)),
        parts: told.parts.into_iter().map(part).collect::<Result<_, LedgerError>>()?,
        document: told.document,
        reason: told.reason,
    })
}

/// Runs what others have allowed of one kind.
struct EndingRunner {
    kind: Kind,
    endings: Endings,
}

impl EndingRunner {
    async fn run(&self, center: &Center, approved: Approved) -> Result<Done, LedgerError> {
        let request = approved.request(METHOD);
        let posted = if self.kind == PAYOUT {
            let told: PayoutFacts = record::read_canonical(&approved.command).map_err(unreadable)?;
            let command = OpenPayout {
                request,
                new: payout_of(told, center.currency)?,
                sealing: None,
                approval: Some(approved.facts),
            };
            self.endings.lanes.submit_rare(center, command).await?
        } else {
            let command = self.deed(request, approved)?;
            self.endings.lanes.submit_rare(center, command).await?
        };
        Ok(Done::Transaction(posted.seq()))
    }

    fn deed(&self, request: Request, approved: Approved) -> Result<DoDeed, LedgerError> {
        let command = &approved.command;
        let (deed, document, reason) = if self.kind == KEEP {
            let told: UnclaimedFacts = record::read_canonical(command).map_err(unreadable)?;
            let detainee = id(&told.detainee)?;
            (Deed::Keep { detainee }, told.document, told.reason)
        } else if self.kind == TREASURY {
            let told: TreasuryFacts = record::read_canonical(command).map_err(unreadable)?;
            let deed = Deed::Treasury {
                detainee: id(&told.detainee)?,
                sum: (told.unclaimed != 0).then_some(Seq(told.unclaimed)),
                receipt: told.receipt,
            };
            (deed, String::new(), told.reason)
        } else {
            let told: MergeFacts = record::read_canonical(command).map_err(unreadable)?;
            let (from, into) = (id(&told.detainee)?, id(&told.into)?);
            (Deed::Merge { from, into }, told.document, told.reason)
        };
        Ok(DoDeed {
            request,
            deed,
            document,
            reason,
            approval: Some(approved.facts),
        })
    }
}

impl Runner for EndingRunner {
    fn kind(&self) -> Kind {
        self.kind
    }

    fn run<'a>(&'a self, center: &'a Center, approved: Approved) -> BoxFuture<'a, Result<Done, LedgerError>> {
        EndingRunner::run(self, center, approved).boxed()
    }
}

impl Endings {
    /// What runs here when others have allowed it.
    pub fn runners(&self) -> [Arc<dyn Runner>; 4] {
        [PAYOUT, KEEP, TREASURY, MERGE].map(|kind| {
            let endings = self.clone();
            Arc::new(EndingRunner { kind, endings }) as Arc<dyn Runner>
        })
    }
}
