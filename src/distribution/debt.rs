//! Recording what a detainee owes the center.

use futures::future::{BoxFuture, FutureExt as _};
use time::OffsetDateTime;

use super::{
    DistributionRefusal as R,
    entity::{Debt, DebtKind},
    posting, store,
};
use crate::{
    approval::{Approved, Done, Kind, NewApproval, Question, Runner, VALID, unreadable},
    custody::{self, Detainee},
    db::Conn,
    ids::DetaineeId,
    ledger::{Center, Declined, Draft, JournalTx, Lanes, LedgerError, RareCommand, Request, record},
    money::Amount,
    proto::{ApprovalFacts, DebtFacts, TransactionKind, journal_record::Facts},
};

/// The method that the run of an advance names. No caller can call it.
const METHOD: &str = "custody.v1.DistributionService/RunAdvance";

/// A detainee is advanced money.
pub const ADVANCE: Kind = Kind {
    name: "debt.advance",
    title: "advance money to a detainee",
    title_zh: "预支入账",
};

/// What is told of a debt.
#[derive(Debug, Clone)]
pub struct NewDebt {
    /// Who owes it.
    pub detainee: DetaineeId,
    /// Whether it is money that the detainee is given; otherwise it is a damage.
    pub is_advance: bool,
    /// The document's number.
    pub document: String,
    /// The whole debt, above zero.
    pub amount: Amount,
    /// Whether the detainee consents to deductions.
    pub is_consented: bool,
}

impl NewDebt {
    const fn kind(&self) -> DebtKind {
        if self.is_advance {
            DebtKind::Advance
        } else {
            DebtKind::Damage
        }
    }
}

/// A debt is recorded, and an advance paid to the available account.
pub(super) struct CreateDebt {
    pub request: Request,
    pub new: NewDebt,
    /// Who allowed an advance.
    pub approval: Option<ApprovalFacts>,
}

impl CreateDebt {
    fn facts(&self) -> DebtFacts {
        let new = &self.new;
        DebtFacts {
            detainee: new.detainee.to_string(),
            kind: new.kind().name().to_owned(),
            document: new.document.clone(),
            amount: new.amount.to_string(),
            consented: new.is_consented,
            approval: self.approval.clone(),
        }
    }

    /// The detainee, who must be active and have no debt by the same document.
    async fn debtor(&self, conn: &mut Conn, center: &Center) -> Result<Detainee, Declined> {
        let new = &self.new;
        let detainee = custody::active_detainee_in_tx(conn, center, &new.detainee).await?;
        let debts = store::debts(conn, center, std::slice::from_ref(&new.detainee)).await?;
        let mut known = debts.values().flatten();
        if known.any(|debt| debt.kind != DebtKind::Claim && debt.document == new.document) {
            return Err(R::AlreadyExists.into());
        }
        Ok(detainee)
    }

    async fn asked(&self, conn: &mut Conn, center: &Center) -> Result<Option<NewApproval>, LedgerError> {
        let new = &self.new;
        if !new.is_advance {
            return Ok(None);
        }
        self.debtor(conn, center).await?;
        Ok(Some(NewApproval {
            kind: ADVANCE.name,
            subject: format!("detainees/{}", new.detainee),
            command: record::canonical(&self.facts()),
            summary: format!(
                "Advance {} {} to detainee {} under document {}.",
                new.amount, center.currency, new.detainee, new.document
            ),
            amount: Some(new.amount),
            valid: VALID,
        }))
    }

    async fn create(&self, tx: &mut JournalTx) -> Result<Draft, Declined> {
        let (center, moment, new) = (tx.center().clone(), tx.moment(), &self.new);
        if new.is_advance && self.approval.is_none() {
            return Err(R::AdvanceNotAllowed.into());
        }
        let detainee = self.debtor(tx.conn(), &center).await?;
        let posting = if new.is_advance {
            posting::advanced(detainee.available(), new.amount)
        } else {
            posting::damaged(new.amount)
        };
        let debt = Debt {
            seq: moment.seq,
            detainee: new.detainee.clone(),
            kind: new.kind(),
            document: new.document.clone(),
            amount: new.amount,
            repaid: Amount::zero(center.currency),
            written_off: Amount::zero(center.currency),
            is_consented: new.is_consented,
            recorded_at: moment.recorded_at,
            approval: self.approval.as_ref().map(|approval| approval.approval),
        };
        store::insert_debt(tx.conn(), &center, &debt, None).await?;
        tx.touch_rules();
        let facts = Facts::Debt(self.facts());
        Ok(Draft::new(TransactionKind::DebtRecorded, vec![posting], facts))
    }
}

impl RareCommand for CreateDebt {
    fn request(&self) -> &Request {
        &self.request
    }

    fn run<'a>(&'a self, tx: &'a mut JournalTx) -> BoxFuture<'a, Result<Draft, Declined>> {
        self.create(tx).boxed()
    }
}

impl Question for CreateDebt {
    fn check<'a>(
        &'a self,
        conn: &'a mut Conn,
        center: &'a Center,
        _: OffsetDateTime,
    ) -> BoxFuture<'a, Result<Option<NewApproval>, LedgerError>> {
        self.asked(conn, center).boxed()
    }
}

/// Runs advances that were allowed.
pub(super) struct AdvanceRunner(pub Lanes);

impl AdvanceRunner {
    async fn advance(&self, center: &Center, approved: Approved) -> Result<Done, LedgerError> {
        let told: DebtFacts = record::read_canonical(&approved.command).map_err(unreadable)?;
        let command = CreateDebt {
            request: approved.request(METHOD),
            new: NewDebt {
                detainee: DetaineeId::parse(&told.detainee).map_err(unreadable)?,
                is_advance: true,
                document: told.document,
                amount: Amount::parse(&told.amount, center.currency).map_err(unreadable)?,
                is_consented: told.consented,
            },
            approval: Some(approved.facts),
        };
        let posted = self.0.submit_rare(center, command).await?;
        Ok(Done::Transaction(posted.seq()))
    }
}

impl Runner for AdvanceRunner {
    fn kind(&self) -> Kind {
        ADVANCE
    }

    fn run<'a>(&'a self, center: &'a Center, approved: Approved) -> BoxFuture<'a, Result<Done, LedgerError>> {
        self.advance(center, approved).boxed()
    }
}
