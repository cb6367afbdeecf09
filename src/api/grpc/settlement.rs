//! SettlementService.

use tonic::{Request, Response, Status};

use super::{
    auth::actor,
    convert::{money, money_text, request, timestamp, told, transaction_name, typed},
    identity::reason_told,
    name::{self, CenterName, PurchaseName, ReturnName, SettlementName, VendorName},
    page::{Page, leg_cursor},
    respond, scope,
};
use crate::{
    api::status::internal,
    custody::Custody,
    ids::{Seq, VendorId},
    ledger::{Center, statement::Position},
    proto::{
        CloseSettlementRequest, ConfirmSettlementRequest, FailSettlementRequest, GetSettlementRequest,
        ListSettlementLinesRequest, ListSettlementLinesResponse, ListSettlementsRequest, ListSettlementsResponse,
        Settlement, SettlementLine, TransactionKind, journal_record::Facts, settlement::State,
        settlement_service_server::SettlementService,
    },
    settlement::{self, Settlements},
};

/// The service over its domain.
#[derive(Clone)]
pub struct SettlementApi {
    settlements: Settlements,
    custody: Custody,
}

impl SettlementApi {
    /// The service.
    pub fn new(settlements: Settlements, custody: Custody) -> SettlementApi {
        SettlementApi { settlements, custody }
    }
}

fn settlement_name(center: &Center, seq: i64) -> String {
    let center = center.id.as_str();
    SettlementName { center, seq }.to_string()
}

fn settlement_out(settlement: &settlement::Settlement, center: &Center) -> Result<Settlement, Status> {
    let closed = &settlement.closed;
    let Some(Facts::Settlement(facts)) = &closed.facts else {
        return Err(internal());
    };
    let (state, outcome) = match &settlement.end {
        None => (State::InTransit, Default::default()),
        Some(end) => {
            let Some(Facts::Outcome(outcome)) = &end.facts else {
                return Err(internal());
            };
            let state = match end.kind() {
                TransactionKind::SettlementPaid => State::Paid,
                TransactionKind::SettlementFailed => State::Failed,
                _ => return Err(internal()),
            };
            (state, outcome.clone())
        }
    };
    let vendor = VendorName {
        center: center.id.as_str(),
        vendor: &facts.vendor,
    };
    let end = settlement.end.as_ref();
    Ok(Settlement {
        name: settlement_name(center, closed.seq),
        vendor: vendor.to_string(),
        through_date: facts.through_date.clone(),
        after_seq: facts.after_seq,
        through_seq: facts.through_seq,
        line_count: facts.line_count,
        credited: money_text(&facts.credited, center),
        returned: money_text(&facts.returned, center),
        total: money_text(&facts.total, center),
        state: state.into(),
        bank_reference: outcome.reference,
        failure_reason: outcome.reason,
        create_time: closed.recorded_at,
        end_time: end.and_then(|end| end.recorded_at),
        transaction: transaction_name(center, closed.seq),
        end_transaction: end.map_or_else(String::new, |end| transaction_name(center, end.seq)),
    })
}

fn line_out(line: &settlement::SettlementLine, center: &Center) -> SettlementLine {
    let (id, seq) = (center.id.as_str(), line.position.seq.0);
    let source = match (line.kind, line.settlement) {
        (TransactionKind::Purchase, _) => PurchaseName { center: id, seq }.to_string(),
        (TransactionKind::Return, _) => ReturnName { center: id, seq }.to_string(),
        (_, Some(failed)) => settlement_name(center, failed.0),
        _ => transaction_name(center, seq),
    };
    SettlementLine {
        seq,
        leg: line.position.leg.into(),
        recorded_at: timestamp(line.recorded_at),
        effective_date: name::format_date(line.effective_date),
        kind: line.kind.into(),
        amount: money(line.amount),
        source,
    }
}

#[tonic::async_trait]
impl SettlementService for SettlementApi {
    async fn close_settlement(&self, call: Request<CloseSettlementRequest>) -> Result<Response<Settlement>, Status> {
        let actor = actor(&call)?;
        let message = call.get_ref();
        let parent = CenterName::parse(&message.parent, "parent")?;
        let center = scope::center(&self.custody, actor, parent.center).await?;
        let method = "custody.v1.SettlementService/CloseSettlement";
        let request = request(&message.request_id, method, message, actor)?;
        let vendor = VendorName::parse_in(&message.vendor, "vendor", center.id.as_str())?;
        let vendor = typed(VendorId::parse(vendor.vendor), "vendor")?;
        let date = name::date(&message.through_date, "through_date")?;
        let posted = self.settlements.close(&center, request, vendor, date).await?;
        let settlement = self.settlements.as_of(&center, &posted.record).await?;
        Ok(respond(settlement_out(&settlement, &center)?, posted.replayed))
    }

    async fn get_settlement(&self, call: Request<GetSettlementRequest>) -> Result<Response<Settlement>, Status> {
        let name = SettlementName::parse(&call.get_ref().name, "name")?;
        let center = scope::center(&self.custody, actor(&call)?, name.center).await?;
        let settlement = self.settlements.get(&center, Seq(name.seq)).await?;
        Ok(Response::new(settlement_out(&settlement, &center)?))
    }

    async fn list_settlements(
        &self,
        call: Request<ListSettlementsRequest>,
    ) -> Result<Response<ListSettlementsResponse>, Status> {
        let message = call.get_ref();
        let parent = CenterName::parse(&message.parent, "parent")?;
        let center = scope::center(&self.custody, actor(&call)?, parent.center).await?;
        let vendor = VendorName::parse_filter(&message.vendor, "vendor", center.id.as_str())?
            .map(|name| typed(VendorId::parse(name.vendor), "vendor"))
            .transpose()?;
        let arguments = [message.parent.as_str(), message.vendor.as_str()];
        let page = Page::read("ListSettlements", &arguments, message.page_size, &message.page_token)?;
        let before = page.after_number()?.map(Seq);
        let found = self
            .settlements
            .list(&center, vendor.as_ref(), before, page.limit())
            .await?;
        let (found, next_page_token) = page.finish(found, |settlement| settlement.closed.seq.to_string());
        let settlements = found
            .iter()
            .map(|settlement| settlement_out(settlement, &center))
            .collect::<Result<_, _>>()?;
        Ok(Response::new(ListSettlementsResponse {
            settlements,
            next_page_token,
        }))
    }

    async fn list_settlement_lines(
        &self,
        call: Request<ListSettlementLinesRequest>,
    ) -> Result<Response<ListSettlementLinesResponse>, Status> {
        let message = call.get_ref();
        let name = SettlementName::parse(&message.parent, "parent")?;
        let center = scope::center(&self.custody, actor(&call)?, name.center).await?;
        let arguments = [message.parent.as_str()];
        let page = Page::read(
            "ListSettlementLines",
            &arguments,
            message.page_size,
            &message.page_token,
        )?;
        let after = page.after_leg()?.map(|(seq, leg)| Position { seq: Seq(seq), leg });
        let lines = self
            .settlements
            .lines(&center, Seq(name.seq), after, page.limit())
            .await?;
        let (lines, next_page_token) = page.finish(lines, |line| leg_cursor(line.position.seq.0, line.position.leg));
        Ok(Response::new(ListSettlementLinesResponse {
            settlement_lines: lines.iter().map(|line| line_out(line, &center)).collect(),
            next_page_token,
        }))
    }

    async fn confirm_settlement(
        &self,
        call: Request<ConfirmSettlementRequest>,
    ) -> Result<Response<Settlement>, Status> {
        let actor = actor(&call)?;
        let message = call.get_ref();
        let name = SettlementName::parse(&message.name, "name")?;
        let center = scope::center(&self.custody, actor, name.center).await?;
        let method = "custody.v1.SettlementService/ConfirmSettlement";
        let request = request(&message.request_id, method, message, actor)?;
        let reference = told(&message.bank_reference, "bank_reference")?;
        let posted = self
            .settlements
            .confirm(&center, request, Seq(name.seq), reference)
            .await?;
        let settlement = self.settlements.as_of(&center, &posted.record).await?;
        Ok(respond(settlement_out(&settlement, &center)?, posted.replayed))
    }

    async fn fail_settlement(&self, call: Request<FailSettlementRequest>) -> Result<Response<Settlement>, Status> {
        let actor = actor(&call)?;
        let message = call.get_ref();
        let name = SettlementName::parse(&message.name, "name")?;
        let center = scope::center(&self.custody, actor, name.center).await?;
        let method = "custody.v1.SettlementService/FailSettlement";
        let request = request(&message.request_id, method, message, actor)?;
        let reason = reason_told(&message.reason, "reason")?;
        let posted = self.settlements.fail(&center, request, Seq(name.seq), reason).await?;
        let settlement = self.settlements.as_of(&center, &posted.record).await?;
        Ok(respond(settlement_out(&settlement, &center)?, posted.replayed))
    }
}
