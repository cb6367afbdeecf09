//! EndingService: how stays end.

mod wire;

use std::sync::Arc;

use tonic::{Request, Response, Status};
use wire::{custody_in, heir_out, heir_told, kept, parts_in, payout_out, purpose_in, relation_out, stay_out, sum_out};

use super::{
    approval::{approval_asked, approval_out},
    auth::actor,
    chunk::{ChunkStream, chunks},
    convert::{positive_amount_in, request, told, typed},
    custody::admission_in,
    distribution::document_in,
    identity::reason_told,
    name::{CenterName, DebtName, DetaineeName, PayoutName, UnclaimedSumName},
    page::Page,
    respond, scope,
};
use crate::{
    access::Actor,
    api::status::invalid_field,
    approval::{Desk, Person, person_of, relation::Relation},
    custody::Custody,
    distribution::{Distributions, NewWriteOff},
    ending::{
        self as domain, Account, Deed, Endings, Part, PartEnd,
        statement::{Format, StatementKey},
    },
    ids::{DetaineeId, Seq},
    ledger::{Center, Request as LedgerRequest},
    proto::{
        AddHeirRequest, Approval, BankAccount, ChangeCustodyRequest, ConfirmPayoutPartRequest, CreatePayoutRequest,
        DeclareRelationRequest, ExportStatementRequest, FailPayoutPartRequest, GetPayoutRequest,
        GetStatementKeyRequest, GetStayRequest, Heir, ListPayoutsRequest, ListPayoutsResponse, ListRelationsRequest,
        ListRelationsResponse, ListUnclaimedSumsRequest, ListUnclaimedSumsResponse, Payout, ProposeMergeRequest,
        ProposeTreasuryRequest, ProposeUnclaimedRequest, ProposeWriteOffRequest, ReadmitDetaineeRequest,
        RevealPayeeRequest, StaffRelation, StatementKey as StatementKeyOut, Stay, ending_service_server::EndingService,
        export_statement_request,
    },
};

/// The service over its domains.
#[derive(Clone)]
pub struct EndingApi {
    endings: Endings,
    distributions: Distributions,
    desk: Desk,
    custody: Custody,
    key: Arc<StatementKey>,
}

impl EndingApi {
    /// The service; `key` signs statements.
    pub fn new(
        endings: Endings,
        distributions: Distributions,
        desk: Desk,
        custody: Custody,
        key: Arc<StatementKey>,
    ) -> EndingApi {
        EndingApi {
            endings,
            distributions,
            desk,
            custody,
            key,
        }
    }

    async fn detainee(&self, actor: &Actor, name: &str, field: &str) -> Result<(Center, DetaineeId), Status> {
        let name = DetaineeName::parse(name, field)?;
        let center = scope::center(&self.custody, actor, name.center).await?;
        Ok((center, typed(DetaineeId::parse(name.detainee), field)?))
    }

    async fn payout(&self, actor: &Actor, name: &str) -> Result<(Center, Seq), Status> {
        let name = PayoutName::parse(name, "name")?;
        let center = scope::center(&self.custody, actor, name.center).await?;
        Ok((center, Seq(name.seq)))
    }

    async fn propose(
        &self,
        center: &Center,
        request: LedgerRequest,
        actor: &Actor,
        deed: Deed,
        words: (String, String),
    ) -> Result<Response<Approval>, Status> {
        let person = Person::of(actor);
        let (approval, replayed) = self.endings.propose(center, request, person, deed, words).await?;
        Ok(respond(approval_out(&self.desk, &approval, center), replayed))
    }

    async fn end_part(
        &self,
        center: &Center,
        request: LedgerRequest,
        (payout, part): (Seq, i32),
        end: PartEnd,
        told: String,
    ) -> Result<Response<Payout>, Status> {
        let posted = self
            .endings
            .end_part(center, request, (payout, part), end, told)
            .await?;
        let payout = self.endings.payout(center, payout).await?;
        Ok(respond(
            payout_out(&payout, center, Some(posted.seq()))?,
            posted.replayed,
        ))
    }

    /// The parts of a payout with their secrets named, the accounts themselves, and the request as it may be kept.
    fn secret(
        &self,
        center: &Center,
        message: &CreatePayoutRequest,
        parts: Vec<wire::PartIn>,
    ) -> Result<(Vec<Part>, Vec<Account>, CreatePayoutRequest), Status> {
        let mut kept_message = message.clone();
        let (mut named, mut accounts) = (Vec::new(), Vec::new());
        for (part, told) in parts.into_iter().zip(&mut kept_message.parts) {
            let secret = self.endings.secrets().name(center, &part.account)?;
            told.account = Some(kept(&part.account, &secret));
            told.payee.clear();
            told.end_transaction.clear();
            told.state = 0;
            named.push(Part {
                amount: part.amount,
                payee: part.account.masked(),
                heir: part.heir,
                secret,
            });
            accounts.push(part.account);
        }
        Ok((named, accounts, kept_message))
    }
}

fn part_in(part: i32) -> Result<i32, Status> {
    if part < 1 {
        return Err(invalid_field("part", "parts are numbered from 1").into());
    }
    Ok(part)
}

#[tonic::async_trait]
impl EndingService for EndingApi {
    async fn change_custody(&self, call: Request<ChangeCustodyRequest>) -> Result<Response<Stay>, Status> {
        let (actor, message) = (actor(&call)?, call.get_ref());
        let (center, id) = self.detainee(actor, &message.name, "name").await?;
        let method = "custody.v1.EndingService/ChangeCustody";
        let request = request(&message.request_id, method, message, actor)?;
        let state = custody_in(message.custody())?;
        let words = (
            document_in(&message.document, "document")?,
            reason_told(&message.reason, "reason")?,
        );
        let posted = self
            .endings
            .change_custody(&center, request, id.clone(), state, words)
            .await?;
        let stay = self.endings.stay(&center, &id).await?;
        Ok(respond(stay_out(&stay, &center)?, posted.replayed))
    }

    async fn get_stay(&self, call: Request<GetStayRequest>) -> Result<Response<Stay>, Status> {
        let (center, id) = self.detainee(actor(&call)?, &call.get_ref().name, "name").await?;
        let stay = self.endings.stay(&center, &id).await?;
        Ok(Response::new(stay_out(&stay, &center)?))
    }

    async fn readmit_detainee(&self, call: Request<ReadmitDetaineeRequest>) -> Result<Response<Stay>, Status> {
        let (actor, message) = (actor(&call)?, call.get_ref());
        let (center, former) = self.detainee(actor, &message.former, "former").await?;
        let admission = admission_in(&message.detainee_id, message.detainee.as_ref())?;
        let document = document_in(&message.document, "document")?;
        let by = actor.name();
        let stay = self
            .endings
            .readmit(&center, &former, admission, &document, &by)
            .await?;
        Ok(Response::new(stay_out(&stay, &center)?))
    }

    async fn add_heir(&self, call: Request<AddHeirRequest>) -> Result<Response<Heir>, Status> {
        let (actor, message) = (actor(&call)?, call.get_ref());
        let (center, id) = self.detainee(actor, &message.parent, "parent").await?;
        let new = heir_told(&message.heir_id, message.heir.as_ref())?;
        let heir = self.endings.add_heir(&center, &id, new, &actor.name()).await?;
        Ok(Response::new(heir_out(&heir, &center, &id)))
    }

    async fn create_payout(&self, call: Request<CreatePayoutRequest>) -> Result<Response<Payout>, Status> {
        let (actor, message) = (actor(&call)?, call.get_ref());
        let (center, id) = self.detainee(actor, &message.parent, "parent").await?;
        let method = "custody.v1.EndingService/CreatePayout";
        // A wrong id is told first.
        request(&message.request_id, method, message, actor)?;
        let purpose = purpose_in(message.purpose())?;
        let unclaimed = UnclaimedSumName::parse_filter(&message.unclaimed_sum, "unclaimed_sum", center.id.as_str())?;
        if unclaimed.is_some() != (purpose == domain::Purpose::Claim) {
            return Err(invalid_field("unclaimed_sum", "is told of a claim, and of nothing else").into());
        }
        let document = document_in(&message.document, "document")?;
        let reason = reason_told(&message.reason, "reason")?;
        let parts = parts_in(&message.parts, purpose, &id, &center)?;
        let (parts, accounts, kept) = self.secret(&center, message, parts)?;
        let request = request(&message.request_id, method, &kept, actor)?;
        let new = domain::NewPayout {
            detainee: id,
            purpose,
            unclaimed: unclaimed.map(|name| Seq(name.seq)),
            parts,
            document,
            reason,
        };
        let answered = self
            .endings
            .create_payout(&center, request, Person::of(actor), new, accounts)
            .await?;
        let payout = match &answered.record {
            // As it was opened, now and in every repetition.
            Some(record) => {
                let payout = domain::Payout {
                    opened: (**record).clone(),
                    ends: vec![None; kept.parts.len()],
                };
                payout_out(&payout, &center, None)?
            }
            None => Payout {
                detainee: message.parent.clone(),
                purpose: message.purpose,
                unclaimed_sum: message.unclaimed_sum.clone(),
                document: message.document.clone(),
                reason: message.reason.clone(),
                approval: approval_asked(&center, &answered),
                ..Payout::default()
            },
        };
        Ok(respond(payout, answered.replayed))
    }

    async fn get_payout(&self, call: Request<GetPayoutRequest>) -> Result<Response<Payout>, Status> {
        let (center, payout) = self.payout(actor(&call)?, &call.get_ref().name).await?;
        let payout = self.endings.payout(&center, payout).await?;
        Ok(Response::new(payout_out(&payout, &center, None)?))
    }

    async fn list_payouts(&self, call: Request<ListPayoutsRequest>) -> Result<Response<ListPayoutsResponse>, Status> {
        let message = call.get_ref();
        let parent = CenterName::parse(&message.parent, "parent")?;
        let center = scope::center(&self.custody, actor(&call)?, parent.center).await?;
        let id = detainee_filter(&message.detainee, &center)?;
        let arguments = [message.parent.as_str(), message.detainee.as_str()];
        let page = Page::read("ListPayouts", &arguments, message.page_size, &message.page_token)?;
        let before = page.after_number()?.map(Seq);
        let found = self.endings.payouts(&center, id.as_ref(), before, page.limit()).await?;
        let (found, next_page_token) = page.finish(found, |payout| payout.opened.seq.to_string());
        let payouts = found.iter().map(|payout| payout_out(payout, &center, None));
        Ok(Response::new(ListPayoutsResponse {
            payouts: payouts.collect::<Result<_, _>>()?,
            next_page_token,
        }))
    }

    async fn reveal_payee(&self, call: Request<RevealPayeeRequest>) -> Result<Response<BankAccount>, Status> {
        let (actor, message) = (actor(&call)?, call.get_ref());
        let (center, payout) = self.payout(actor, &message.name).await?;
        let part = part_in(message.part)?;
        let account = self.endings.reveal(&center, payout, part, &actor.name()).await?;
        Ok(Response::new(BankAccount {
            holder: account.holder,
            number: account.number,
            bank_code: account.bank_code,
            bank_name: account.bank_name,
        }))
    }

    async fn confirm_payout_part(&self, call: Request<ConfirmPayoutPartRequest>) -> Result<Response<Payout>, Status> {
        let (actor, message) = (actor(&call)?, call.get_ref());
        let (center, payout) = self.payout(actor, &message.name).await?;
        let method = "custody.v1.EndingService/ConfirmPayoutPart";
        let request = request(&message.request_id, method, message, actor)?;
        let part = (payout, part_in(message.part)?);
        let reference = told(&message.bank_reference, "bank_reference")?;
        self.end_part(&center, request, part, PartEnd::Paid, reference).await
    }

    async fn fail_payout_part(&self, call: Request<FailPayoutPartRequest>) -> Result<Response<Payout>, Status> {
        let (actor, message) = (actor(&call)?, call.get_ref());
        let (center, payout) = self.payout(actor, &message.name).await?;
        let method = "custody.v1.EndingService/FailPayoutPart";
        let request = request(&message.request_id, method, message, actor)?;
        let part = (payout, part_in(message.part)?);
        let reason = reason_told(&message.reason, "reason")?;
        self.end_part(&center, request, part, PartEnd::Failed, reason).await
    }

    async fn propose_unclaimed(&self, call: Request<ProposeUnclaimedRequest>) -> Result<Response<Approval>, Status> {
        let (actor, message) = (actor(&call)?, call.get_ref());
        let (center, detainee) = self.detainee(actor, &message.name, "name").await?;
        let method = "custody.v1.EndingService/ProposeUnclaimed";
        let request = request(&message.request_id, method, message, actor)?;
        let words = (
            document_in(&message.document, "document")?,
            reason_told(&message.reason, "reason")?,
        );
        self.propose(&center, request, actor, Deed::Keep { detainee }, words)
            .await
    }

    async fn list_unclaimed_sums(
        &self,
        call: Request<ListUnclaimedSumsRequest>,
    ) -> Result<Response<ListUnclaimedSumsResponse>, Status> {
        let message = call.get_ref();
        let parent = CenterName::parse(&message.parent, "parent")?;
        let center = scope::center(&self.custody, actor(&call)?, parent.center).await?;
        let id = detainee_filter(&message.detainee, &center)?;
        let arguments = [message.parent.as_str(), message.detainee.as_str()];
        let page = Page::read("ListUnclaimedSums", &arguments, message.page_size, &message.page_token)?;
        let after = page.after_number()?.map(Seq);
        let found = self.endings.sums(&center, id.as_ref(), after, page.limit()).await?;
        let (found, next_page_token) = page.finish(found, |sum| sum.seq.to_string());
        Ok(Response::new(ListUnclaimedSumsResponse {
            unclaimed_sums: found.iter().map(|sum| sum_out(sum, &center)).collect(),
            next_page_token,
        }))
    }

    async fn propose_treasury(&self, call: Request<ProposeTreasuryRequest>) -> Result<Response<Approval>, Status> {
        let (actor, message) = (actor(&call)?, call.get_ref());
        let (center, detainee) = self.detainee(actor, &message.detainee, "detainee").await?;
        let method = "custody.v1.EndingService/ProposeTreasury";
        let request = request(&message.request_id, method, message, actor)?;
        let sum = UnclaimedSumName::parse_filter(&message.unclaimed_sum, "unclaimed_sum", center.id.as_str())?;
        let deed = Deed::Treasury {
            detainee,
            sum: sum.map(|name| Seq(name.seq)),
            receipt: document_in(&message.receipt, "receipt")?,
        };
        let words = (String::new(), reason_told(&message.reason, "reason")?);
        self.propose(&center, request, actor, deed, words).await
    }

    async fn propose_write_off(&self, call: Request<ProposeWriteOffRequest>) -> Result<Response<Approval>, Status> {
        let (actor, message) = (actor(&call)?, call.get_ref());
        let name = DebtName::parse(&message.name, "name")?;
        let center = scope::center(&self.custody, actor, name.center).await?;
        let method = "custody.v1.EndingService/ProposeWriteOff";
        let request = request(&message.request_id, method, message, actor)?;
        let new = NewWriteOff {
            debt: Seq(name.seq),
            amount: positive_amount_in(message.amount.as_ref(), center.currency, "amount")?,
            document: document_in(&message.document, "document")?,
            reason: reason_told(&message.reason, "reason")?,
        };
        let person = Person::of(actor);
        let asked = self.distributions.propose_write_off(&center, request, person, new);
        let (approval, replayed) = asked.await?;
        Ok(respond(approval_out(&self.desk, &approval, &center), replayed))
    }

    async fn propose_merge(&self, call: Request<ProposeMergeRequest>) -> Result<Response<Approval>, Status> {
        let (actor, message) = (actor(&call)?, call.get_ref());
        let (center, from) = self.detainee(actor, &message.name, "name").await?;
        let method = "custody.v1.EndingService/ProposeMerge";
        let request = request(&message.request_id, method, message, actor)?;
        let into = DetaineeName::parse_in(&message.into, "into", center.id.as_str())?;
        let into = typed(DetaineeId::parse(into.detainee), "into")?;
        let words = (
            document_in(&message.document, "document")?,
            reason_told(&message.reason, "reason")?,
        );
        self.propose(&center, request, actor, Deed::Merge { from, into }, words)
            .await
    }

    async fn declare_relation(&self, call: Request<DeclareRelationRequest>) -> Result<Response<StaffRelation>, Status> {
        let (actor, message) = (actor(&call)?, call.get_ref());
        let parent = CenterName::parse(&message.parent, "parent")?;
        let center = scope::center(&self.custody, actor, parent.center).await?;
        let relation = message.relation.as_ref();
        let relation = relation.ok_or_else(|| invalid_field("relation", "is required"))?;
        let detainee = DetaineeName::parse_in(&relation.detainee, "relation.detainee", center.id.as_str())?;
        let detainee = typed(DetaineeId::parse(detainee.detainee), "relation.detainee")?;
        let person = reason_told(&relation.person, "relation.person")?;
        if person.contains('/') {
            return Err(invalid_field("relation.person", "must be the subject of a token, without a role").into());
        }
        let declared = Relation {
            person: person_of(&format!("staff/{}", person.trim())),
            detainee: detainee.to_string(),
            is_related: relation.related,
            relationship: reason_told(&relation.relationship, "relation.relationship")?,
            document: document_in(&relation.document, "relation.document")?,
            declared_at: self.desk.now(),
            declared_by: actor.name(),
        };
        let declared = self.endings.declare(&center, &detainee, declared).await?;
        Ok(Response::new(relation_out(&declared, &center)))
    }

    async fn list_relations(
        &self,
        call: Request<ListRelationsRequest>,
    ) -> Result<Response<ListRelationsResponse>, Status> {
        let message = call.get_ref();
        let parent = CenterName::parse(&message.parent, "parent")?;
        let center = scope::center(&self.custody, actor(&call)?, parent.center).await?;
        let page = Page::read(
            "ListRelations",
            &[&message.parent],
            message.page_size,
            &message.page_token,
        )?;
        let after = page
            .after()
            .and_then(|cursor| cursor.rsplit_once('/'))
            .unwrap_or_default();
        let found = self.endings.relations(&center, after, page.limit()).await?;
        let (found, next_page_token) =
            page.finish(found, |relation| format!("{}/{}", relation.person, relation.detainee));
        Ok(Response::new(ListRelationsResponse {
            relations: found.iter().map(|relation| relation_out(relation, &center)).collect(),
            next_page_token,
        }))
    }

    type ExportStatementStream = ChunkStream;

    async fn export_statement(&self, call: Request<ExportStatementRequest>) -> Result<Response<ChunkStream>, Status> {
        let message = call.get_ref();
        let (center, id) = self.detainee(actor(&call)?, &message.name, "name").await?;
        let format = match message.format() {
            export_statement_request::Format::Html => Format::Html,
            export_statement_request::Format::Csv => Format::Csv,
            export_statement_request::Format::Unspecified => return Err(invalid_field("format", "is required").into()),
        };
        let bytes = self.endings.statement(&center, &id, format, &self.key).await?;
        Ok(Response::new(chunks(bytes)))
    }

    async fn get_statement_key(
        &self,
        call: Request<GetStatementKeyRequest>,
    ) -> Result<Response<StatementKeyOut>, Status> {
        let name = CenterName::parse(&call.get_ref().name, "name")?;
        scope::center(&self.custody, actor(&call)?, name.center).await?;
        Ok(Response::new(StatementKeyOut {
            public_key: self.key.public(),
        }))
    }
}

fn detainee_filter(text: &str, center: &Center) -> Result<Option<DetaineeId>, Status> {
    let name = DetaineeName::parse_filter(text, "detainee", center.id.as_str())?;
    let id = name.map(|name| typed(DetaineeId::parse(name.detainee), "detainee"));
    Ok(id.transpose()?)
}
