//! DistributionService.

mod wire;

use tonic::{Request, Response, Status};
pub(super) use wire::debt_name;
pub(super) use wire::document_in;
use wire::{court_order_out, debt_in, debt_out, policy_in, policy_out, rank_in};

use super::{
    approval::{approval_asked, approval_told},
    auth::actor,
    convert::{detainee_name, money, money_text, positive_amount_in, request, transaction_name, typed},
    name::{
        CourtOrderName, DebtName, DetaineeName, DistributionName, DistributionPolicyName, RemittanceName,
        TransactionName,
    },
    page::Page,
    remittance::visible,
    respond,
    scope::{self, Linked},
};
use crate::{
    access::Actor,
    api::status::{internal, invalid_field},
    approval::Person,
    custody::Custody,
    distribution::{CourtOrderState, DebtKind, Distributions, NewCourtOrder},
    ids::{CourtOrderId, DetaineeId, Seq},
    ledger::Center,
    money::Amount,
    proto::{
        CourtOrder, CreateCourtOrderRequest, CreateDebtRequest, Debt, Distribution, DistributionPolicy,
        EndCourtOrderRequest, GetDebtRequest, GetDistributionPolicyRequest, GetDistributionRequest, JournalRecord,
        ListCourtOrdersRequest, ListCourtOrdersResponse, ListDebtsRequest, ListDebtsResponse,
        ListDistributionPolicyVersionsRequest, ListDistributionPolicyVersionsResponse, PreviewDistributionRequest,
        PreviewDistributionResponse, ResumeCourtOrderRequest, SuspendCourtOrderRequest,
        UpdateDistributionPolicyRequest, debt, distribution_service_server::DistributionService, journal_record::Facts,
    },
    remittance::Remittances,
};

/// The service over its domains.
#[derive(Clone)]
pub struct DistributionApi {
    custody: Custody,
    distributions: Distributions,
    remittances: Remittances,
    linked: Linked,
}

impl DistributionApi {
    /// The service; `linked` tells which detainees a payer may see.
    pub fn new(
        custody: Custody,
        distributions: Distributions,
        remittances: Remittances,
        linked: Linked,
    ) -> DistributionApi {
        DistributionApi {
            custody,
            distributions,
            remittances,
            linked,
        }
    }
}

/// As a debt was recorded: what a repetition is answered with, too.
fn recorded(record: &JournalRecord, center: &Center) -> Result<Debt, Status> {
    let Some(Facts::Debt(facts)) = &record.facts else {
        return Err(internal());
    };
    let kind = match DebtKind::from_name(&facts.kind) {
        Some(DebtKind::Advance) => debt::Kind::Advance,
        Some(DebtKind::Damage) => debt::Kind::Damage,
        _ => return Err(internal()),
    };
    Ok(Debt {
        name: debt_name(center, record.seq),
        detainee: detainee_name(center, &facts.detainee),
        kind: kind.into(),
        document: facts.document.clone(),
        amount: money_text(&facts.amount, center),
        consented: facts.consented,
        repaid: money(Amount::zero(center.currency)),
        written_off: money(Amount::zero(center.currency)),
        still_owed: money_text(&facts.amount, center),
        create_time: record.recorded_at,
        transaction: transaction_name(center, record.seq),
        approval: approval_told(center, facts.approval.as_ref()),
    })
}

impl DistributionApi {
    /// Moves a court order to a state.
    async fn change(
        &self,
        actor: &Actor,
        name: &str,
        document: &str,
        state: CourtOrderState,
    ) -> Result<Response<CourtOrder>, Status> {
        let name = CourtOrderName::parse(name, "name")?;
        let center = scope::center(&self.custody, actor, name.center).await?;
        let detainee = typed(DetaineeId::parse(name.detainee), "name")?;
        let order = typed(CourtOrderId::parse(name.court_order), "name")?;
        let document = document_in(document, "document")?;
        let changed = self
            .distributions
            .change_court_order(&center, &detainee, &order, state, document, &actor.name())
            .await?;
        Ok(Response::new(court_order_out(&changed, &center, &detainee)))
    }
}

#[tonic::async_trait]
impl DistributionService for DistributionApi {
    async fn get_distribution_policy(
        &self,
        call: Request<GetDistributionPolicyRequest>,
    ) -> Result<Response<DistributionPolicy>, Status> {
        let name = DistributionPolicyName::parse(&call.get_ref().name, "name")?;
        let center = scope::center(&self.custody, actor(&call)?, name.center).await?;
        let found = self.distributions.policy(&center).await?;
        Ok(Response::new(policy_out(&found.policy, found.newest, &center)))
    }

    async fn update_distribution_policy(
        &self,
        call: Request<UpdateDistributionPolicyRequest>,
    ) -> Result<Response<DistributionPolicy>, Status> {
        let actor = actor(&call)?;
        let told = call.get_ref().distribution_policy.as_ref();
        let told = told.ok_or_else(|| invalid_field("distribution_policy", "is required"))?;
        let name = DistributionPolicyName::parse(&told.name, "distribution_policy.name")?;
        let center = scope::center(&self.custody, actor, name.center).await?;
        let (new, version) = policy_in(told, center.currency)?;
        let by = actor.name();
        let made = self.distributions.update_policy(&center, new, version, &by).await?;
        Ok(Response::new(policy_out(&made.policy, made.newest, &center)))
    }

    async fn list_distribution_policy_versions(
        &self,
        call: Request<ListDistributionPolicyVersionsRequest>,
    ) -> Result<Response<ListDistributionPolicyVersionsResponse>, Status> {
        let message = call.get_ref();
        let name = DistributionPolicyName::parse(&message.parent, "parent")?;
        let center = scope::center(&self.custody, actor(&call)?, name.center).await?;
        let page = Page::read(
            "ListDistributionPolicyVersions",
            &[&message.parent],
            message.page_size,
            &message.page_token,
        )?;
        let newest = self.distributions.policy(&center).await?.newest;
        let before = page.after_number()?;
        let versions = self
            .distributions
            .policy_versions(&center, before, page.limit())
            .await?;
        let (versions, next_page_token) = page.finish(versions, |policy| policy.version.to_string());
        let out = |policy| policy_out(policy, newest, &center);
        Ok(Response::new(ListDistributionPolicyVersionsResponse {
            distribution_policies: versions.iter().map(out).collect(),
            next_page_token,
        }))
    }

    async fn create_court_order(&self, call: Request<CreateCourtOrderRequest>) -> Result<Response<CourtOrder>, Status> {
        let actor = actor(&call)?;
        let message = call.get_ref();
        let name = DetaineeName::parse(&message.parent, "parent")?;
        let center = scope::center(&self.custody, actor, name.center).await?;
        let told = message.court_order.as_ref();
        let told = told.ok_or_else(|| invalid_field("court_order", "is required"))?;
        let detainee = typed(DetaineeId::parse(name.detainee), "parent")?;
        let new = NewCourtOrder {
            id: typed(CourtOrderId::parse(&message.court_order_id), "court_order_id")?,
            detainee: detainee.clone(),
            document: document_in(&told.document, "court_order.document")?,
            total: positive_amount_in(told.total.as_ref(), center.currency, "court_order.total")?,
            rank: rank_in(told.rank)?,
        };
        let order = self
            .distributions
            .create_court_order(&center, new, &actor.name())
            .await?;
        Ok(Response::new(court_order_out(&order, &center, &detainee)))
    }

    async fn list_court_orders(
        &self,
        call: Request<ListCourtOrdersRequest>,
    ) -> Result<Response<ListCourtOrdersResponse>, Status> {
        let message = call.get_ref();
        let name = DetaineeName::parse(&message.parent, "parent")?;
        let center = scope::center(&self.custody, actor(&call)?, name.center).await?;
        let detainee = typed(DetaineeId::parse(name.detainee), "parent")?;
        let page = Page::read(
            "ListCourtOrders",
            &[&message.parent],
            message.page_size,
            &message.page_token,
        )?;
        let after = page.after_number()?.unwrap_or_default();
        // A detainee has few court orders, and a credit reads them all anyway.
        let mut orders = self.distributions.court_orders(&center, &detainee).await?;
        orders.retain(|known| i64::from(known.order.position) > after);
        let (orders, next_page_token) = page.finish(orders, |known| known.order.position.to_string());
        let court_orders = orders
            .iter()
            .map(|order| court_order_out(order, &center, &detainee))
            .collect();
        Ok(Response::new(ListCourtOrdersResponse {
            court_orders,
            next_page_token,
        }))
    }

    async fn suspend_court_order(
        &self,
        call: Request<SuspendCourtOrderRequest>,
    ) -> Result<Response<CourtOrder>, Status> {
        let message = call.get_ref();
        let state = CourtOrderState::Suspended;
        self.change(actor(&call)?, &message.name, &message.document, state)
            .await
    }

    async fn resume_court_order(&self, call: Request<ResumeCourtOrderRequest>) -> Result<Response<CourtOrder>, Status> {
        let message = call.get_ref();
        let state = CourtOrderState::Active;
        self.change(actor(&call)?, &message.name, &message.document, state)
            .await
    }

    async fn end_court_order(&self, call: Request<EndCourtOrderRequest>) -> Result<Response<CourtOrder>, Status> {
        let message = call.get_ref();
        let state = CourtOrderState::Ended;
        self.change(actor(&call)?, &message.name, &message.document, state)
            .await
    }

    async fn create_debt(&self, call: Request<CreateDebtRequest>) -> Result<Response<Debt>, Status> {
        let actor = actor(&call)?;
        let message = call.get_ref();
        let name = DetaineeName::parse(&message.parent, "parent")?;
        let center = scope::center(&self.custody, actor, name.center).await?;
        let method = "custody.v1.DistributionService/CreateDebt";
        let request = request(&message.request_id, method, message, actor)?;
        let told = message.debt.as_ref();
        let told = told.ok_or_else(|| invalid_field("debt", "is required"))?;
        let detainee = typed(DetaineeId::parse(name.detainee), "parent")?;
        let new = debt_in(told, detainee, center.currency)?;
        let answered = self
            .distributions
            .create_debt(&center, request, Person::of(actor), new)
            .await?;
        let debt = match &answered.record {
            Some(record) => recorded(record, &center)?,
            // Not yet, or never: what was asked for, and where others decide on it.
            None => Debt {
                detainee: detainee_name(&center, name.detainee),
                kind: told.kind,
                document: told.document.clone(),
                amount: told.amount.clone(),
                consented: told.consented,
                approval: approval_asked(&center, &answered),
                ..Debt::default()
            },
        };
        Ok(respond(debt, answered.replayed))
    }

    async fn get_debt(&self, call: Request<GetDebtRequest>) -> Result<Response<Debt>, Status> {
        let name = DebtName::parse(&call.get_ref().name, "name")?;
        let center = scope::center(&self.custody, actor(&call)?, name.center).await?;
        let debt = self.distributions.debt(&center, Seq(name.seq)).await?;
        Ok(Response::new(debt_out(&debt, &center)))
    }

    async fn list_debts(&self, call: Request<ListDebtsRequest>) -> Result<Response<ListDebtsResponse>, Status> {
        let message = call.get_ref();
        let name = DetaineeName::parse(&message.parent, "parent")?;
        let center = scope::center(&self.custody, actor(&call)?, name.center).await?;
        let detainee = typed(DetaineeId::parse(name.detainee), "parent")?;
        let page = Page::read("ListDebts", &[&message.parent], message.page_size, &message.page_token)?;
        let after = page.after_number()?.unwrap_or_default();
        // A detainee has few debts, and a credit reads them all anyway.
        let mut debts = self.distributions.debts(&center, &detainee).await?;
        debts.retain(|debt| debt.seq.0 > after);
        let (debts, next_page_token) = page.finish(debts, |debt| debt.seq.to_string());
        Ok(Response::new(ListDebtsResponse {
            debts: debts.iter().map(|debt| debt_out(debt, &center)).collect(),
            next_page_token,
        }))
    }

    async fn preview_distribution(
        &self,
        call: Request<PreviewDistributionRequest>,
    ) -> Result<Response<PreviewDistributionResponse>, Status> {
        let actor = actor(&call)?;
        let message = call.get_ref();
        let name = DetaineeName::parse(&message.detainee, "detainee")?;
        let center = scope::center(&self.custody, actor, name.center).await?;
        let detainee = scope::detainee(&self.linked, actor, &center, name.detainee, "detainee").await?;
        let gross = positive_amount_in(message.amount.as_ref(), center.currency, "amount")?;
        let preview = self.distributions.preview(&center, &detainee, gross).await?;
        Ok(Response::new(PreviewDistributionResponse {
            parts: preview.parts,
            policy_version: preview.policy_version,
        }))
    }

    async fn get_distribution(&self, call: Request<GetDistributionRequest>) -> Result<Response<Distribution>, Status> {
        let actor = actor(&call)?;
        let name = DistributionName::parse(&call.get_ref().name, "name")?;
        let center = scope::center(&self.custody, actor, name.center).await?;
        let remittance = visible(&self.remittances, actor, &center, name.remittance).await?;
        let record = self.remittances.credit_of(&center, &remittance).await?.record;
        let Some(Facts::Credit(facts)) = record.facts else {
            return Err(internal());
        };
        let id = center.id.as_str();
        Ok(Response::new(Distribution {
            name: name.to_string(),
            remittance: RemittanceName {
                center: id,
                remittance: remittance.id.as_str(),
            }
            .to_string(),
            detainee: DetaineeName {
                center: id,
                detainee: remittance.detainee.as_str(),
            }
            .to_string(),
            amount: money_text(&facts.amount, &center),
            parts: facts.parts,
            policy_version: facts.policy_version,
            transaction: TransactionName {
                center: id,
                seq: record.seq,
            }
            .to_string(),
            create_time: record.recorded_at,
        }))
    }
}
