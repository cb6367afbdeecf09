//! TransferService.

use time::{Duration, OffsetDateTime};
use tonic::{Request, Response, Status};

use super::{
    approval::{approval_asked, approval_name, approval_told},
    auth::actor,
    convert::{
        amount_in, detainee_name, money, money_text, positive_amount_in, request, timestamp, told, transaction_name,
        typed,
    },
    identity::{reason_text, reason_told},
    name::{CenterName, DetaineeName, RemittanceName, TransactionName, TransferName, WithholdingName},
    page::Page,
    refund::consent_in,
    respond, scope,
};
use crate::{
    api::status::{internal, invalid_field},
    approval::{Answered, Approval, ApprovalState, End, Person},
    custody::Custody,
    ids::{CenterId, DetaineeId, Seq},
    ledger::{Center, Refusal, record},
    proto::{
        BringBackRequest, BroughtBack, EndWithholdingRequest, GetTransferRequest, GetWithholdingRequest,
        ListTransfersRequest, ListTransfersResponse, ListWithholdingsRequest, ListWithholdingsResponse,
        ProposeTransferRequest, Transfer, WithholdSumRequest, Withholding, journal_record::Facts, transfer,
        transfer_service_server::TransferService, withholding,
    },
    transfer::{
        self as domain, Direction, NewBringBack, NewTransfer, NewWithholding, Proposal, TransferRow, Transfers,
        WithholdingFilter,
    },
};

/// The service over its domain.
#[derive(Clone)]
pub struct TransferApi {
    transfers: Transfers,
    custody: Custody,
}

impl TransferApi {
    /// The service.
    pub fn new(transfers: Transfers, custody: Custody) -> TransferApi {
        TransferApi { transfers, custody }
    }
}

/// A detainee's name in whatever center.
fn name_of(center: &str, detainee: &str) -> String {
    DetaineeName { center, detainee }.to_string()
}

fn transaction_of(center: &str, seq: Seq) -> String {
    TransactionName { center, seq: seq.0 }.to_string()
}

/// A transfer that is done, from the side whose center is asked.
fn transfer_out(row: &TransferRow, center: &Center) -> Transfer {
    let (id, other) = (center.id.as_str(), row.other_center.as_str());
    let own = name_of(id, row.detainee.as_str());
    let others = name_of(other, row.other_detainee.as_str());
    let (own_transaction, others_transaction) = (transaction_of(id, row.seq), transaction_of(other, row.other_seq));
    let name = TransferName {
        center: id,
        seq: row.seq.0,
    };
    let shared = Transfer {
        name: name.to_string(),
        state: transfer::State::Done.into(),
        document: row.document.clone(),
        amount: money(row.amount),
        move_time: timestamp(row.moved_at),
        ..Transfer::default()
    };
    match row.direction {
        Direction::Out => Transfer {
            from: own,
            to: others,
            out_transaction: own_transaction,
            in_transaction: others_transaction,
            approval: approval_name(center, row.approval),
            ..shared
        },
        Direction::In => Transfer {
            from: others,
            to: own,
            out_transaction: others_transaction,
            in_transaction: own_transaction,
            receiving_approval: approval_name(center, row.approval),
            ..shared
        },
    }
}

/// Why an approval ended without what it was for; nothing if it did not.
fn failure(approval: &Approval, now: OffsetDateTime) -> Option<String> {
    match (approval.state(now), &approval.end) {
        (ApprovalState::Failed, Some((End::Failed(refusal), _))) => Some(refusal.message.clone()),
        (ApprovalState::Refused, _) => Some("it was refused".to_owned()),
        (ApprovalState::Expired, _) => Some("nobody decided in time".to_owned()),
        _ => None,
    }
}

/// A transfer as far as it is, from the center that is left.
fn proposal_out(proposal: &Proposal, center: &Center, now: OffsetDateTime) -> Transfer {
    let command = &proposal.command;
    let shared = Transfer {
        from: name_of(&command.from_center, &command.detainee),
        to: name_of(&command.to_center, &command.to_detainee),
        document: command.document.clone(),
        approval: approval_name(center, proposal.sent.no),
        receiving_approval: proposal
            .received
            .as_ref()
            .map(|(center, received)| approval_name(center, received.no))
            .unwrap_or_default(),
        ..Transfer::default()
    };
    if let Some(row) = &proposal.done {
        let name = TransferName {
            center: center.id.as_str(),
            seq: row.other_seq.0,
        };
        return Transfer {
            name: name.to_string(),
            state: transfer::State::Done.into(),
            amount: money(row.amount),
            out_transaction: transaction_of(center.id.as_str(), row.other_seq),
            in_transaction: transaction_of(&command.to_center, row.seq),
            move_time: timestamp(row.moved_at),
            ..shared
        };
    }
    let ended = match &proposal.received {
        Some((_, received)) => failure(received, now),
        None => failure(&proposal.sent, now),
    };
    let state = match (&ended, &proposal.received) {
        (Some(_), _) => transfer::State::Failed,
        (None, Some(_)) => transfer::State::Offered,
        (None, None) => transfer::State::Proposed,
    };
    Transfer {
        state: state.into(),
        failure: ended.unwrap_or_default(),
        ..shared
    }
}

fn withholding_out(held: &domain::Withholding, center: &Center) -> Withholding {
    let state = match &held.end {
        None => withholding::State::Withheld,
        Some(end) if end.has_moved => withholding::State::Moved,
        Some(_) => withholding::State::Ended,
    };
    let name = WithholdingName {
        center: center.id.as_str(),
        seq: held.seq.0,
    };
    let end = held.end.as_ref();
    let approval = end.and_then(|end| end.approval).or(held.approval);
    Withholding {
        name: name.to_string(),
        detainee: detainee_name(center, held.detainee.as_str()),
        document: held.document.clone(),
        amount: money(held.amount),
        until_time: timestamp(held.until),
        state: state.into(),
        paid: end.filter(|end| !end.has_moved).and_then(|end| money(end.paid)),
        transaction: transaction_name(center, held.seq.0),
        end_transaction: end.map_or_else(String::new, |end| transaction_name(center, end.seq.0)),
        approval: approval.map_or_else(String::new, |approval| approval_name(center, approval)),
    }
}

/// Reads an instant that must be told, in whole microseconds: as it is stored.
fn instant_in(told: Option<&prost_types::Timestamp>, field: &str) -> Result<OffsetDateTime, Refusal> {
    let told = told.ok_or_else(|| invalid_field(field, "is required"))?;
    let at = record::instant(told).filter(|_| (0..1_000_000_000).contains(&told.nanos));
    let at = at.ok_or_else(|| invalid_field(field, "is no instant"))?;
    Ok(at - Duration::nanoseconds(i64::from(at.nanosecond() % 1000)))
}

impl TransferApi {
    /// What a withholding is after others were asked about its beginning or end.
    async fn asked(
        &self,
        center: &Center,
        answered: &Answered,
        withholding: Option<Seq>,
        otherwise: Withholding,
    ) -> Result<Withholding, Status> {
        let done = answered.record.as_ref().map(|record| Seq(record.seq));
        let Some(seq) = withholding.or(done) else {
            return Ok(Withholding {
                state: withholding::State::Proposed.into(),
                approval: approval_asked(center, answered),
                ..otherwise
            });
        };
        let held = self.transfers.withholding(center, seq).await?;
        Ok(Withholding {
            approval: approval_asked(center, answered),
            ..withholding_out(&held, center)
        })
    }
}

#[tonic::async_trait]
impl TransferService for TransferApi {
    async fn propose_transfer(&self, call: Request<ProposeTransferRequest>) -> Result<Response<Transfer>, Status> {
        let actor = actor(&call)?;
        let message = call.get_ref();
        let name = DetaineeName::parse(&message.detainee, "detainee")?;
        let center = scope::center(&self.custody, actor, name.center).await?;
        let method = "custody.v1.TransferService/ProposeTransfer";
        let request = request(&message.request_id, method, message, actor)?;
        let to = CenterName::parse(&message.to_center, "to_center")?;
        if to.center == name.center {
            return Err(invalid_field("to_center", "is the center that they are in").into());
        }
        let tier = match message.tier {
            0 => None,
            tier => Some(i16::try_from(tier).ok().filter(|tier| *tier > 0)),
        };
        let tier = tier.map(|tier| tier.ok_or_else(|| invalid_field("tier", "tiers are numbered from 1")));
        let new = NewTransfer {
            detainee: typed(DetaineeId::parse(name.detainee), "detainee")?,
            to_detainee: typed(DetaineeId::parse(&message.to_detainee_id), "to_detainee_id")?,
            document: told(&message.document, "document")?,
            tier: tier.transpose()?,
            to: self
                .custody
                .center(&typed(CenterId::parse(to.center), "to_center")?)
                .await?,
        };
        let asking = (Person::of(actor), reason_text(&message.reason, "reason")?);
        let proposal = self.transfers.propose(&center, request, asking, new).await?;
        let transfer = proposal_out(&proposal, &center, self.transfers.clock());
        Ok(respond(transfer, proposal.replayed))
    }

    async fn get_transfer(&self, call: Request<GetTransferRequest>) -> Result<Response<Transfer>, Status> {
        let name = TransferName::parse(&call.get_ref().name, "name")?;
        let center = scope::center(&self.custody, actor(&call)?, name.center).await?;
        let row = self.transfers.transfer(&center, Seq(name.seq)).await?;
        Ok(Response::new(transfer_out(&row, &center)))
    }

    async fn list_transfers(
        &self,
        call: Request<ListTransfersRequest>,
    ) -> Result<Response<ListTransfersResponse>, Status> {
        let message = call.get_ref();
        let parent = CenterName::parse(&message.parent, "parent")?;
        let center = scope::center(&self.custody, actor(&call)?, parent.center).await?;
        let page = Page::read(
            "ListTransfers",
            &[&message.parent],
            message.page_size,
            &message.page_token,
        )?;
        let before = page.after_number()?.map(Seq);
        let found = self.transfers.list(&center, before, page.limit()).await?;
        let (found, next_page_token) = page.finish(found, |row| row.seq.to_string());
        Ok(Response::new(ListTransfersResponse {
            transfers: found.iter().map(|row| transfer_out(row, &center)).collect(),
            next_page_token,
        }))
    }

    async fn withhold_sum(&self, call: Request<WithholdSumRequest>) -> Result<Response<Withholding>, Status> {
        let actor = actor(&call)?;
        let message = call.get_ref();
        let name = DetaineeName::parse(&message.detainee, "detainee")?;
        let center = scope::center(&self.custody, actor, name.center).await?;
        let method = "custody.v1.TransferService/WithholdSum";
        let request = request(&message.request_id, method, message, actor)?;
        let new = NewWithholding {
            detainee: typed(DetaineeId::parse(name.detainee), "detainee")?,
            document: told(&message.document, "document")?,
            amount: positive_amount_in(message.amount.as_ref(), center.currency, "amount")?,
            until: instant_in(message.until_time.as_ref(), "until_time")?,
        };
        let otherwise = Withholding {
            detainee: message.detainee.clone(),
            document: new.document.clone(),
            amount: money(new.amount),
            until_time: timestamp(new.until),
            ..Withholding::default()
        };
        let asking = (Person::of(actor), reason_text(&message.reason, "reason")?);
        let answered = self.transfers.withhold(&center, request, asking, new).await?;
        let out = self.asked(&center, &answered, None, otherwise).await?;
        Ok(respond(out, answered.replayed))
    }

    async fn get_withholding(&self, call: Request<GetWithholdingRequest>) -> Result<Response<Withholding>, Status> {
        let name = WithholdingName::parse(&call.get_ref().name, "name")?;
        let center = scope::center(&self.custody, actor(&call)?, name.center).await?;
        let held = self.transfers.withholding(&center, Seq(name.seq)).await?;
        Ok(Response::new(withholding_out(&held, &center)))
    }

    async fn list_withholdings(
        &self,
        call: Request<ListWithholdingsRequest>,
    ) -> Result<Response<ListWithholdingsResponse>, Status> {
        let message = call.get_ref();
        let parent = CenterName::parse(&message.parent, "parent")?;
        let center = scope::center(&self.custody, actor(&call)?, parent.center).await?;
        let detainee = match message.detainee.as_str() {
            "" => None,
            name => {
                let name = DetaineeName::parse_in(name, "detainee", center.id.as_str())?;
                Some(typed(DetaineeId::parse(name.detainee), "detainee")?)
            }
        };
        let arguments = [message.parent.as_str(), message.detainee.as_str()];
        let page = Page::read("ListWithholdings", &arguments, message.page_size, &message.page_token)?;
        let filter = WithholdingFilter {
            detainee,
            open: false,
            before: page.after_number()?.map(Seq),
        };
        let found = self.transfers.list_withholdings(&center, &filter, page.limit()).await?;
        let (found, next_page_token) = page.finish(found, |held| held.seq.to_string());
        Ok(Response::new(ListWithholdingsResponse {
            withholdings: found.iter().map(|held| withholding_out(held, &center)).collect(),
            next_page_token,
        }))
    }

    async fn end_withholding(&self, call: Request<EndWithholdingRequest>) -> Result<Response<Withholding>, Status> {
        let actor = actor(&call)?;
        let message = call.get_ref();
        let name = WithholdingName::parse(&message.name, "name")?;
        let center = scope::center(&self.custody, actor, name.center).await?;
        let method = "custody.v1.TransferService/EndWithholding";
        let request = request(&message.request_id, method, message, actor)?;
        let paid = amount_in(message.paid.as_ref(), center.currency, "paid")?;
        let of = (Seq(name.seq), paid, told(&message.document, "document")?);
        let asking = (Person::of(actor), reason_text(&message.reason, "reason")?);
        let answered = self.transfers.end_withholding(&center, request, asking, of).await?;
        let out = self
            .asked(&center, &answered, Some(Seq(name.seq)), Withholding::default())
            .await?;
        Ok(respond(out, answered.replayed))
    }

    async fn bring_back(&self, call: Request<BringBackRequest>) -> Result<Response<BroughtBack>, Status> {
        let actor = actor(&call)?;
        let message = call.get_ref();
        let name = DetaineeName::parse(&message.detainee, "detainee")?;
        let center = scope::center(&self.custody, actor, name.center).await?;
        let method = "custody.v1.TransferService/BringBack";
        let request = request(&message.request_id, method, message, actor)?;
        let remittance = RemittanceName::parse(&message.remittance, "remittance")?;
        let origin = typed(CenterId::parse(remittance.center), "remittance")?;
        let new = NewBringBack {
            detainee: typed(DetaineeId::parse(name.detainee), "detainee")?,
            remittance: message.remittance.clone(),
            amount: positive_amount_in(message.amount.as_ref(), center.currency, "amount")?,
            reason: reason_told(&message.reason, "reason")?,
            consent: consent_in(message.consent.as_ref())?,
        };
        let (amount, origin) = (new.amount, self.custody.center(&origin).await?);
        let answered = self
            .transfers
            .bring_back(&center, request, Person::of(actor), (origin, new))
            .await?;
        let asked = BroughtBack {
            detainee: message.detainee.clone(),
            remittance: message.remittance.clone(),
            amount: money(amount),
            approval: approval_asked(&center, &answered),
            ..BroughtBack::default()
        };
        let out = match answered
            .record
            .as_ref()
            .map(|record| (record.seq, record.facts.as_ref()))
        {
            None => asked,
            Some((seq, Some(Facts::BroughtBack(facts)))) => {
                let other = facts.other.clone().unwrap_or_default();
                // Without a transaction of its own, the other side is this one.
                let suspended = if other.seq == 0 { seq } else { other.seq };
                BroughtBack {
                    amount: money_text(&facts.amount, &center),
                    transaction: transaction_name(&center, seq),
                    suspense_transaction: transaction_of(&other.center, Seq(suspended)),
                    approval: approval_told(&center, facts.approval.as_ref()),
                    ..asked
                }
            }
            Some(_) => return Err(internal()),
        };
        Ok(respond(out, answered.replayed))
    }
}
