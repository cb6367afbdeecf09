//! What others have to allow, and what then runs.
//!
//! A transfer takes somebody in each of the two centers. The approval in the center that is left comes first; what it runs asks the
//! receiving center, under the same maker; what that one runs is the move. So each center's people decide at their own desk, each
//! center's tables keep their own grant, and nobody has to be let into a center that is not theirs.

use std::sync::Arc;

use futures::future::{BoxFuture, FutureExt as _};
use time::OffsetDateTime;

use super::{
    BringBack, EndWithholding, NewTransfer, TransferRefusal as R, Transfers, WithholdSum,
    bring_back::{self, BRING_BACK, NewBringBack},
    entity::require_other_people,
    execute::{METHOD, MoveDetainee, leaving_in_tx, receivable_in_tx},
    withhold::{END_METHOD, END_WITHHOLDING, NewWithholding, WITHHOLD, WITHHOLD_METHOD},
};
use crate::{
    approval::{Approved, Asking, Done, Kind, NewApproval, Person, Question, Runner, VALID, unreadable},
    db::Conn,
    ids::{CenterId, DetaineeId, RequestId, Seq},
    ledger::{Center, LedgerError, Request, record},
    money::Amount,
    proto::{BringBackCommand, EndWithholdingCommand, TransferCommand, WithholdingFacts},
};

/// The method that the question to the receiving center names. No caller can call it.
const OFFER_METHOD: &str = "custody.v1.TransferService/OfferTransfer";

/// A detainee is to leave.
pub const SEND: Kind = Kind {
    name: "transfer.send",
    title: "let a detainee go to another center",
    title_zh: "转出在押人员",
};
/// A detainee is to be received; allowing it moves them.
pub const RECEIVE: Kind = Kind {
    name: "transfer.receive",
    title: "receive a detainee of another center",
    title_zh: "接收转入在押人员",
};

/// The request by which the receiving center is asked, of what the center that is left has allowed.
pub(super) fn offer_id(from: &CenterId, run: RequestId) -> RequestId {
    RequestId::derived(&["transfer offer", from.as_str(), &run.to_string()])
}

/// Asks the center that is left.
pub(super) struct Sending {
    pub new: NewTransfer,
}

impl Sending {
    async fn asked(
        &self,
        conn: &mut Conn,
        from: &Center,
        now: OffsetDateTime,
    ) -> Result<Option<NewApproval>, LedgerError> {
        let new = &self.new;
        let leaving = leaving_in_tx(conn, from, &new.detainee, now).await?;
        let tier = new.tier.unwrap_or(leaving.detainee.tier);
        receivable_in_tx(conn, from, &new.to, (&new.to_detainee, tier)).await?;
        let command = TransferCommand {
            from_center: from.id.to_string(),
            detainee: new.detainee.to_string(),
            to_center: new.to.id.to_string(),
            to_detainee: new.to_detainee.to_string(),
            document: new.document.clone(),
            tier: tier.into(),
            sent: None,
        };
        Ok(Some(NewApproval {
            kind: SEND.name,
            subject: format!("detainees/{}", new.detainee),
            command: record::canonical(&command),
            summary: format!(
                "Transfer detainee {} to center {} as {}, by order {}, with everything: now {} available, {} saved, {} \
                 withheld, {} {}.",
                new.detainee,
                new.to.id,
                new.to_detainee,
                new.document,
                leaving.available,
                leaving.savings,
                leaving.withheld,
                leaving.debts.len(),
                if leaving.debts.len() == 1 { "debt" } else { "debts" },
            ),
            // Nothing is paid out, and what moves is what is there when it does.
            amount: None,
            valid: VALID,
        }))
    }
}

impl Question for Sending {
    fn check<'a>(
        &'a self,
        conn: &'a mut Conn,
        center: &'a Center,
        now: OffsetDateTime,
    ) -> BoxFuture<'a, Result<Option<NewApproval>, LedgerError>> {
        self.asked(conn, center, now).boxed()
    }
}

/// Asks the receiving center.
struct Receiving {
    command: TransferCommand,
    from: Center,
}

impl Receiving {
    async fn asked(&self, conn: &mut Conn, to: &Center) -> Result<Option<NewApproval>, LedgerError> {
        let told = Told::of(&self.command)?;
        receivable_in_tx(conn, &self.from, to, (&told.to_id, told.tier)).await?;
        Ok(Some(NewApproval {
            kind: RECEIVE.name,
            subject: format!("detainees/{}", told.to_id),
            command: record::canonical(&self.command),
            summary: format!(
                "Receive detainee {} of center {} as {}, by order {}, with everything that is theirs and that they owe.",
                told.id, self.from.id, told.to_id, self.command.document
            ),
            amount: None,
            valid: VALID,
        }))
    }
}

impl Question for Receiving {
    fn check<'a>(
        &'a self,
        conn: &'a mut Conn,
        center: &'a Center,
        _: OffsetDateTime,
    ) -> BoxFuture<'a, Result<Option<NewApproval>, LedgerError>> {
        self.asked(conn, center).boxed()
    }
}

/// The names in a command.
struct Told {
    id: DetaineeId,
    to_id: DetaineeId,
    tier: i16,
}

impl Told {
    fn of(command: &TransferCommand) -> Result<Told, LedgerError> {
        Ok(Told {
            id: DetaineeId::parse(&command.detainee).map_err(unreadable)?,
            to_id: DetaineeId::parse(&command.to_detainee).map_err(unreadable)?,
            tier: i16::try_from(command.tier).map_err(unreadable)?,
        })
    }
}

/// What runs here when others have allowed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Send,
    Receive,
    Withhold,
    EndWithholding,
    BringBack,
}

impl Transfers {
    /// What runs here when others have allowed it.
    pub fn runners(&self) -> [Arc<dyn Runner>; 5] {
        [
            What::Send,
            What::Receive,
            What::Withhold,
            What::EndWithholding,
            What::BringBack,
        ]
        .map(|what| {
            let transfers = self.clone();
            Arc::new(TransferRunner { what, transfers }) as Arc<dyn Runner>
        })
    }
}

struct TransferRunner {
    what: What,
    transfers: Transfers,
}

impl TransferRunner {
    /// Asks the receiving center. Asked again, the question is the same one.
    async fn send(&self, center: &Center, approved: Approved) -> Result<Done, LedgerError> {
        let told: TransferCommand = record::read_canonical(&approved.command).map_err(unreadable)?;
        let to = self.center(&told.to_center).await?;
        let command = TransferCommand {
            sent: Some(approved.facts.clone()),
            ..told
        };
        let asking = Asking {
            request: Request {
                id: offer_id(&center.id, approved.request_id),
                method: OFFER_METHOD,
                body: record::canonical(&command),
                actor: approved.actor.clone(),
            },
            maker: Person::named(&approved.actor),
            reason: approved.facts.reason.clone(),
        };
        let from = center.clone();
        self.transfers
            .approvals
            .ask(&to, &asking, &Receiving { command, from })
            .await?;
        Ok(Done::NoTransaction)
    }

    /// Moves the detainee into this center.
    async fn receive(&self, center: &Center, approved: Approved) -> Result<Done, LedgerError> {
        let request = approved.request(METHOD);
        let command: TransferCommand = record::read_canonical(&approved.command).map_err(unreadable)?;
        let Told { id, to_id, tier } = Told::of(&command)?;
        let sent = command
            .sent
            .clone()
            .ok_or_else(|| unreadable("nobody allowed it where it begins"))?;
        require_other_people(&sent, &approved.facts)?;
        let command = MoveDetainee {
            request,
            from: self.center(&command.from_center).await?,
            command,
            id,
            to_id,
            tier,
            sent,
            received: approved.facts,
            payers: self.transfers.payers.clone(),
        };
        let posted = self.transfers.lanes.submit_rare(center, command).await?;
        Ok(Done::Transaction(posted.seq()))
    }

    async fn withhold(&self, center: &Center, approved: Approved) -> Result<Done, LedgerError> {
        let told: WithholdingFacts = record::read_canonical(&approved.command).map_err(unreadable)?;
        let until = told.until.as_ref().and_then(record::instant);
        let command = WithholdSum {
            request: approved.request(WITHHOLD_METHOD),
            new: NewWithholding {
                detainee: DetaineeId::parse(&told.detainee).map_err(unreadable)?,
                document: told.document,
                amount: Amount::parse(&told.amount, center.currency).map_err(unreadable)?,
                until: until.ok_or_else(|| unreadable("an order without an end"))?,
            },
            approval: Some(approved.facts),
        };
        let posted = self.transfers.lanes.submit_rare(center, command).await?;
        Ok(Done::Transaction(posted.seq()))
    }

    async fn end_withholding(&self, center: &Center, approved: Approved) -> Result<Done, LedgerError> {
        let told: EndWithholdingCommand = record::read_canonical(&approved.command).map_err(unreadable)?;
        let command = EndWithholding {
            request: approved.request(END_METHOD),
            withholding: Seq(told.withholding),
            paid: Amount::parse(&told.paid, center.currency).map_err(unreadable)?,
            document: told.document,
            approval: Some(approved.facts),
        };
        let posted = self.transfers.lanes.submit_rare(center, command).await?;
        Ok(Done::Transaction(posted.seq()))
    }

    async fn bring_back(&self, center: &Center, approved: Approved) -> Result<Done, LedgerError> {
        let told: BringBackCommand = record::read_canonical(&approved.command).map_err(unreadable)?;
        let remittance = told.remittance;
        let (origin, _) = bring_back::parts(&remittance).ok_or_else(|| unreadable("no remittance"))?;
        let command = BringBack {
            request: approved.request(bring_back::METHOD),
            origin: self.center(origin.as_str()).await?,
            new: NewBringBack {
                detainee: DetaineeId::parse(&told.detainee).map_err(unreadable)?,
                remittance,
                amount: Amount::parse(&told.amount, center.currency).map_err(unreadable)?,
                reason: told.reason,
                consent: Some(told.consent_document).filter(|document| !document.is_empty()),
            },
            approval: Some(approved.facts),
        };
        let posted = self.transfers.lanes.submit_rare(center, command).await?;
        Ok(Done::Transaction(posted.seq()))
    }

    async fn center(&self, id: &str) -> Result<Center, LedgerError> {
        let id = CenterId::parse(id).map_err(unreadable)?;
        self.transfers.custody.center(&id).await
    }

    async fn run(&self, center: &Center, approved: Approved) -> Result<Done, LedgerError> {
        match self.what {
            What::Send => self.send(center, approved).await,
            What::Receive => self.receive(center, approved).await,
            What::Withhold => self.withhold(center, approved).await,
            What::EndWithholding => self.end_withholding(center, approved).await,
            What::BringBack => self.bring_back(center, approved).await,
        }
    }
}

impl Runner for TransferRunner {
    fn kind(&self) -> Kind {
        match self.what {
            What::Send => SEND,
            What::Receive => RECEIVE,
            What::Withhold => WITHHOLD,
            What::EndWithholding => END_WITHHOLDING,
            What::BringBack => BRING_BACK,
        }
    }

    fn run<'a>(&'a self, center: &'a Center, approved: Approved) -> BoxFuture<'a, Result<Done, LedgerError>> {
        TransferRunner::run(self, center, approved).boxed()
    }
}

/// Refuses what there is none of.
pub(super) fn not_found(transfer: Seq) -> LedgerError {
    R::NotFound { transfer }.into()
}
