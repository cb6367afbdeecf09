//! ApprovalService.

use tonic::{Request, Response, Status};

use super::{
    auth::actor,
    convert::{money, timestamp, transaction_name},
    identity::{reason_text, reason_told},
    name::{ApprovalName, CenterName, subject_in},
    page::Page,
    scope,
};
use crate::{
    access::Actor,
    approval::{Answered, ApprovalFilter, ApprovalState, Decision, Desk, End, Person, Verdict},
    custody::Custody,
    ids::Seq,
    ledger::Center,
    proto::{
        Approval, ApprovalDecision, ApprovalFacts, ApproveRequest, GetApprovalRequest, ListApprovalsRequest,
        ListApprovalsResponse, RefuseRequest, approval::State, approval_decision,
        approval_service_server::ApprovalService,
    },
};

/// The service over its domain.
#[derive(Clone)]
pub struct ApprovalApi {
    desk: Desk,
    custody: Custody,
}

impl ApprovalApi {
    /// The service.
    pub fn new(desk: Desk, custody: Custody) -> ApprovalApi {
        ApprovalApi { desk, custody }
    }

    async fn decide(
        &self,
        actor: &Actor,
        name: &str,
        verdict: Verdict,
        reason: &str,
    ) -> Result<Response<Approval>, Status> {
        let name = ApprovalName::parse(name, "name")?;
        let center = scope::center(&self.custody, actor, name.center).await?;
        let reason = match verdict {
            Verdict::Approved => reason_text(reason, "reason")?,
            Verdict::Refused => reason_told(reason, "reason")?,
        };
        let person = Person::of(actor);
        let approval = self
            .desk
            .decide(&center, name.approval, &person, verdict, reason)
            .await?;
        Ok(Response::new(approval_out(&self.desk, &approval, &center)))
    }
}

fn decision_out(decision: &Decision) -> ApprovalDecision {
    let verdict = match decision.verdict {
        Verdict::Approved => approval_decision::Verdict::Approved,
        Verdict::Refused => approval_decision::Verdict::Refused,
    };
    ApprovalDecision {
        checker: decision.person.actor.clone(),
        verdict: verdict.into(),
        reason: decision.reason.clone(),
        decide_time: timestamp(decision.at),
    }
}

/// The name of an approval.
pub fn approval_name(center: &Center, approval: i64) -> String {
    let center = center.id.as_str();
    ApprovalName { center, approval }.to_string()
}

/// The name of the approval that a record tells of; empty when it tells of none.
pub fn approval_told(center: &Center, facts: Option<&ApprovalFacts>) -> String {
    facts.map_or_else(String::new, |facts| approval_name(center, facts.approval))
}

/// The name of the approval that was asked for.
pub fn approval_asked(center: &Center, answered: &Answered) -> String {
    let approval = answered.approval.as_ref();
    approval.map_or_else(String::new, |approval| approval_name(center, approval.no))
}

/// Writes an approval, also for the services that ask for some.
pub fn approval_out(desk: &Desk, approval: &crate::approval::Approval, center: &Center) -> Approval {
    let state = match approval.state(desk.now()) {
        ApprovalState::Pending => State::Pending,
        ApprovalState::Approved => State::Approved,
        ApprovalState::Executed => State::Executed,
        ApprovalState::Failed => State::Failed,
        ApprovalState::Refused => State::Refused,
        ApprovalState::Expired => State::Expired,
    };
    let (transaction, failure) = match &approval.end {
        Some((End::Executed(Some(Seq(seq))), _)) => (transaction_name(center, *seq), String::new()),
        Some((End::Failed(refusal), _)) => (String::new(), refusal.message.clone()),
        _ => Default::default(),
    };
    let kind = desk.kind(&approval.kind);
    Approval {
        name: approval_name(center, approval.no),
        kind: approval.kind.clone(),
        title: kind.map_or("", |kind| kind.title).to_owned(),
        title_zh: kind.map_or("", |kind| kind.title_zh).to_owned(),
        summary: approval.summary.clone(),
        subject: format!("centers/{}/{}", center.id, approval.subject),
        amount: approval.amount.and_then(money),
        command: approval.command.clone(),
        checkers_needed: approval.checkers_needed.into(),
        maker: approval.maker.actor.clone(),
        reason: approval.reason.clone(),
        create_time: timestamp(approval.created_at),
        expire_time: timestamp(approval.expires_at),
        decisions: approval.decisions.iter().map(decision_out).collect(),
        state: state.into(),
        end_time: approval.end.as_ref().and_then(|(_, at)| timestamp(*at)),
        transaction,
        failure,
        request_id: approval.request_id.to_string(),
    }
}

#[tonic::async_trait]
impl ApprovalService for ApprovalApi {
    async fn get_approval(&self, call: Request<GetApprovalRequest>) -> Result<Response<Approval>, Status> {
        let name = ApprovalName::parse(&call.get_ref().name, "name")?;
        let center = scope::center(&self.custody, actor(&call)?, name.center).await?;
        let approval = self.desk.approvals().get(&center, name.approval).await?;
        Ok(Response::new(approval_out(&self.desk, &approval, &center)))
    }

    async fn list_approvals(
        &self,
        call: Request<ListApprovalsRequest>,
    ) -> Result<Response<ListApprovalsResponse>, Status> {
        let message = call.get_ref();
        let parent = CenterName::parse(&message.parent, "parent")?;
        let center = scope::center(&self.custody, actor(&call)?, parent.center).await?;
        let subject = subject_in(&message.subject, "subject", center.id.as_str())?;
        let open = message.open.to_string();
        let arguments = [message.parent.as_str(), &open, &message.subject];
        let page = Page::read("ListApprovals", &arguments, message.page_size, &message.page_token)?;
        let filter = ApprovalFilter {
            open: message.open,
            subject: subject.map(ToOwned::to_owned),
            before: page.after_number()?,
        };
        let found = self.desk.approvals().list(&center, &filter, page.limit()).await?;
        let (found, next_page_token) = page.finish(found, |approval| approval.no.to_string());
        Ok(Response::new(ListApprovalsResponse {
            approvals: found
                .iter()
                .map(|approval| approval_out(&self.desk, approval, &center))
                .collect(),
            next_page_token,
        }))
    }

    async fn approve(&self, call: Request<ApproveRequest>) -> Result<Response<Approval>, Status> {
        let message = call.get_ref();
        self.decide(actor(&call)?, &message.name, Verdict::Approved, &message.reason)
            .await
    }

    async fn refuse(&self, call: Request<RefuseRequest>) -> Result<Response<Approval>, Status> {
        let message = call.get_ref();
        self.decide(actor(&call)?, &message.name, Verdict::Refused, &message.reason)
            .await
    }
}
