//! UnmatchedService.

use tonic::{Request, Response, Status};

use super::{
    approval::{approval_name, approval_out},
    auth::actor,
    convert::{detainee_name, money, positive_amount_in, request, text, timestamp, told, transaction_name, typed},
    identity::{reason_told, without_identity},
    name::{self, CenterName, DetaineeName, UnmatchedSumName},
    page::Page,
    respond, scope,
};
use crate::{
    access::Actor,
    api::status::invalid_field,
    approval::{Desk, Person},
    custody::Custody,
    ids::{DetaineeId, Seq},
    ledger::Center,
    proto::{
        Approval, BankLine, GetUnmatchedSumRequest, ListUnmatchedSumsRequest, ListUnmatchedSumsResponse,
        MatchUnmatchedSumRequest, ProposeUnmatchedCreditRequest, ProposeUnmatchedReturnRequest, RecordBankLineRequest,
        Refusal, UnmatchedSum, unmatched_service_server::UnmatchedService, unmatched_sum::State,
    },
    unmatched::{Judgement, Line, Outcome, Sum, SumEnd, UnmatchedSums},
};

/// The service over its domain.
#[derive(Clone)]
pub struct UnmatchedApi {
    unmatched: UnmatchedSums,
    desk: Desk,
    custody: Custody,
}

impl UnmatchedApi {
    /// The service; approvals are told in the words of the desk.
    pub fn new(unmatched: UnmatchedSums, desk: Desk, custody: Custody) -> UnmatchedApi {
        UnmatchedApi {
            unmatched,
            desk,
            custody,
        }
    }

    async fn named(&self, actor: &Actor, name: &str) -> Result<(Center, Seq), Status> {
        let name = UnmatchedSumName::parse(name, "name")?;
        let center = scope::center(&self.custody, actor, name.center).await?;
        Ok((center, Seq(name.seq)))
    }

    /// A sum with the candidates as they are now.
    async fn whole(&self, center: &Center, sum: &Sum) -> Result<UnmatchedSum, Status> {
        let judgement = self.unmatched.judge(center, sum).await?;
        let approval = self.unmatched.open_approval(center, sum.seq).await?;
        Ok(UnmatchedSum {
            approval: approval.map_or_else(String::new, |approval| approval_name(center, approval.no)),
            ..sum_out(sum, center, judgement)
        })
    }
}

fn line_in(line: Option<&BankLine>, center: &Center) -> Result<Line, Refusal> {
    let line = line.ok_or_else(|| invalid_field("bank_line", "is required"))?;
    let free = |written: &str, field: &str| without_identity(text(written, field)?, field);
    Ok(Line {
        bank_reference: told(&line.bank_reference, "bank_line.bank_reference")?,
        amount: positive_amount_in(line.amount.as_ref(), center.currency, "bank_line.amount")?,
        value_date: name::date(&line.value_date, "bank_line.value_date")?,
        payer_name: without_identity(told(&line.payer_name, "bank_line.payer_name")?, "bank_line.payer_name")?,
        payer_account: told(&line.payer_account, "bank_line.payer_account")?,
        custody_number: free(&line.custody_number, "bank_line.custody_number")?,
        detainee_name: free(&line.detainee_name, "bank_line.detainee_name")?,
        birth_date: match line.birth_date.as_str() {
            "" => None,
            date => Some(name::date(date, "bank_line.birth_date")?),
        },
        remark: free(&line.remark, "bank_line.remark")?,
    })
}

fn sum_out(sum: &Sum, center: &Center, judgement: Option<Judgement>) -> UnmatchedSum {
    let facts = sum.facts.clone();
    let (state, detainee) = match &sum.end {
        None => (State::Waiting, String::new()),
        Some((SumEnd::Credited(detainee), _)) => (State::Credited, detainee_name(center, detainee.as_str())),
        Some((SumEnd::Returned, _)) => (State::Returned, String::new()),
    };
    let (waiting_reason, candidates) = match judgement {
        Some(judgement) => match judgement.outcome {
            Outcome::Wait(reason) => (reason.to_owned(), judgement.candidates),
            Outcome::Credit(_) => ("MATCHED".to_owned(), judgement.candidates),
        },
        None => Default::default(),
    };
    let name = UnmatchedSumName {
        center: center.id.as_str(),
        seq: sum.seq.0,
    };
    UnmatchedSum {
        name: name.to_string(),
        channel: facts.channel,
        line: Some(BankLine {
            bank_reference: facts.reference,
            amount: money(sum.amount),
            value_date: facts.value_date,
            payer_name: facts.payer_name,
            payer_account: facts.payer_account,
            custody_number: facts.custody_number,
            detainee_name: facts.detainee_name,
            birth_date: facts.birth_date,
            remark: facts.remark,
        }),
        order_number: facts.order_number,
        state: state.into(),
        detainee,
        waiting_reason,
        candidates,
        create_time: timestamp(sum.recorded_at),
        transaction: transaction_name(center, sum.seq.0),
        end_transaction: sum
            .end
            .as_ref()
            .map(|(_, seq)| transaction_name(center, seq.0))
            .unwrap_or_default(),
        approval: String::new(),
    }
}

#[tonic::async_trait]
impl UnmatchedService for UnmatchedApi {
    async fn record_bank_line(&self, call: Request<RecordBankLineRequest>) -> Result<Response<UnmatchedSum>, Status> {
        let actor = actor(&call)?;
        let message = call.get_ref();
        let parent = CenterName::parse(&message.parent, "parent")?;
        let center = scope::center(&self.custody, actor, parent.center).await?;
        let method = "custody.v1.UnmatchedService/RecordBankLine";
        let request = request(&message.request_id, method, message, actor)?;
        let line = line_in(message.bank_line.as_ref(), &center)?;
        let (sum, replayed) = self.unmatched.record(&center, request, line).await?;
        Ok(respond(self.whole(&center, &sum).await?, replayed))
    }

    async fn get_unmatched_sum(&self, call: Request<GetUnmatchedSumRequest>) -> Result<Response<UnmatchedSum>, Status> {
        let (center, seq) = self.named(actor(&call)?, &call.get_ref().name).await?;
        let sum = self.unmatched.get(&center, seq).await?;
        Ok(Response::new(self.whole(&center, &sum).await?))
    }

    async fn list_unmatched_sums(
        &self,
        call: Request<ListUnmatchedSumsRequest>,
    ) -> Result<Response<ListUnmatchedSumsResponse>, Status> {
        let message = call.get_ref();
        let parent = CenterName::parse(&message.parent, "parent")?;
        let center = scope::center(&self.custody, actor(&call)?, parent.center).await?;
        let waiting = message.waiting.to_string();
        let arguments = [message.parent.as_str(), &waiting];
        let page = Page::read("ListUnmatchedSums", &arguments, message.page_size, &message.page_token)?;
        let before = page.after_number()?.map(Seq);
        let found = self
            .unmatched
            .list(&center, message.waiting, before, page.limit())
            .await?;
        let (found, next_page_token) = page.finish(found, |sum| sum.seq.to_string());
        Ok(Response::new(ListUnmatchedSumsResponse {
            unmatched_sums: found.iter().map(|sum| sum_out(sum, &center, None)).collect(),
            next_page_token,
        }))
    }

    async fn match_unmatched_sum(
        &self,
        call: Request<MatchUnmatchedSumRequest>,
    ) -> Result<Response<UnmatchedSum>, Status> {
        let (center, seq) = self.named(actor(&call)?, &call.get_ref().name).await?;
        let sum = self.unmatched.compare(&center, seq).await?;
        Ok(Response::new(self.whole(&center, &sum).await?))
    }

    async fn propose_unmatched_credit(
        &self,
        call: Request<ProposeUnmatchedCreditRequest>,
    ) -> Result<Response<Approval>, Status> {
        let actor = actor(&call)?;
        let message = call.get_ref();
        let (center, seq) = self.named(actor, &message.name).await?;
        let method = "custody.v1.UnmatchedService/ProposeUnmatchedCredit";
        let request = request(&message.request_id, method, message, actor)?;
        let detainee = DetaineeName::parse_in(&message.detainee, "detainee", center.id.as_str())?;
        let detainee = typed(DetaineeId::parse(detainee.detainee), "detainee")?;
        let reason = reason_told(&message.reason, "reason")?;
        let (approval, replayed) = self
            .unmatched
            .propose_credit(&center, request, Person::of(actor), seq, detainee, reason)
            .await?;
        Ok(respond(approval_out(&self.desk, &approval, &center), replayed))
    }

    async fn propose_unmatched_return(
        &self,
        call: Request<ProposeUnmatchedReturnRequest>,
    ) -> Result<Response<Approval>, Status> {
        let actor = actor(&call)?;
        let message = call.get_ref();
        let (center, seq) = self.named(actor, &message.name).await?;
        let method = "custody.v1.UnmatchedService/ProposeUnmatchedReturn";
        let request = request(&message.request_id, method, message, actor)?;
        let reason = reason_told(&message.reason, "reason")?;
        let (approval, replayed) = self
            .unmatched
            .propose_return(&center, request, Person::of(actor), seq, reason)
            .await?;
        Ok(respond(approval_out(&self.desk, &approval, &center), replayed))
    }
}
