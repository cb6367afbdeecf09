//! SettlementService.

use futures::StreamExt as _;
use tonic::{Request, Response, Status};

use super::{
    approval::approval_out,
    auth::actor,
    chunk::{ChunkStream, chunks},
    convert::{money, money_text, request, timestamp, told, transaction_name, typed},
    identity::reason_told,
    name::{self, ApprovalName, CenterName, PurchaseName, ReturnName, SettlementName, VendorName},
    page::{Page, leg_cursor},
    payment::file_name,
    respond, scope,
};
use crate::{
    api::status::{internal, invalid_field},
    approval::{Desk, Person},
    custody::Custody,
    ids::{Seq, VendorId},
    ledger::{Center, statement::Position},
    money::Amount,
    proto::{
        Approval, CloseSettlementRequest, ConfirmSettlementRequest, ExportSettlementRequest, FailSettlementRequest,
        FileChunk, GetSettlementRequest, ListSettlementLinesRequest, ListSettlementLinesResponse,
        ListSettlementsRequest, ListSettlementsResponse, PreviewSettlementRequest, ProposeSettlementRequest,
        Settlement, SettlementLine, SettlementPreview, TransactionKind, export_settlement_request::Format,
        journal_record::Facts, settlement::State, settlement_service_server::SettlementService,
    },
    settlement::{self, Settlements},
};

/// The service over its domain.
#[derive(Clone)]
pub struct SettlementApi {
    settlements: Settlements,
    desk: Desk,
    custody: Custody,
}

impl SettlementApi {
    /// The service; approvals are told in the words of the desk.
    pub fn new(settlements: Settlements, desk: Desk, custody: Custody) -> SettlementApi {
        SettlementApi {
            settlements,
            desk,
            custody,
        }
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
        None => {
            let state = match (settlement.approval, settlement.file) {
                (_, Some(_)) => State::Sent,
                (Some(_), None) => State::Approved,
                (None, None) => State::InTransit,
            };
            (state, Default::default())
        }
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
    let or_zero = |text: &str| {
        let zero = Amount::zero(center.currency).to_string();
        money_text(if text.is_empty() { &zero } else { text }, center)
    };
    let approval = settlement.approval.map(|approval| {
        let center = center.id.as_str();
        ApprovalName { center, approval }.to_string()
    });
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
        put_back: or_zero(&facts.put_back),
        commission: or_zero(&facts.commission),
        commission_percent: if facts.commission_percent.is_empty() {
            "0".to_owned()
        } else {
            facts.commission_percent.clone()
        },
        approval: approval.unwrap_or_default(),
        payment_file: settlement.file.map_or_else(String::new, |file| file_name(center, file)),
    })
}

/// A vendor's id in a request about a center.
fn vendor_in(vendor: &str, center: &Center) -> Result<VendorId, Status> {
    let vendor = VendorName::parse_in(vendor, "vendor", center.id.as_str())?;
    Ok(typed(VendorId::parse(vendor.vendor), "vendor")?)
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
        let vendor = vendor_in(&message.vendor, &center)?;
        let date = name::date(&message.through_date, "through_date")?;
        let posted = self.settlements.close(&center, request, vendor, date).await?;
        let settlement = self.settlements.as_of(&center, &posted.record).await?;
        Ok(respond(settlement_out(&settlement, &center)?, posted.replayed))
    }

    async fn preview_settlement(
        &self,
        call: Request<PreviewSettlementRequest>,
    ) -> Result<Response<SettlementPreview>, Status> {
        let message = call.get_ref();
        let parent = CenterName::parse(&message.parent, "parent")?;
        let center = scope::center(&self.custody, actor(&call)?, parent.center).await?;
        let vendor = vendor_in(&message.vendor, &center)?;
        let date = name::date(&message.through_date, "through_date")?;
        let (reckoned, due) = self.settlements.preview(&center, &vendor, date).await?;
        Ok(Response::new(SettlementPreview {
            vendor: message.vendor.clone(),
            through_date: message.through_date.clone(),
            after_seq: reckoned.after.0,
            through_seq: reckoned.through.0,
            line_count: reckoned.sums.count,
            credited: money(reckoned.sums.credited),
            returned: money(reckoned.sums.returned),
            put_back: money(reckoned.sums.put_back),
            commission: money(reckoned.commission),
            total: money(reckoned.total),
            carried_forward: money(reckoned.carried_forward()),
            due_time: timestamp(due),
        }))
    }

    async fn propose_settlement(&self, call: Request<ProposeSettlementRequest>) -> Result<Response<Approval>, Status> {
        let (actor, message) = (actor(&call)?, call.get_ref());
        let name = SettlementName::parse(&message.name, "name")?;
        let center = scope::center(&self.custody, actor, name.center).await?;
        let reason = reason_told(&message.reason, "reason")?;
        let method = "custody.v1.SettlementService/ProposeSettlement";
        let request = request(&message.request_id, method, message, actor)?;
        let asked = self
            .settlements
            .propose(&center, request, Person::of(actor), Seq(name.seq), reason);
        let (approval, replayed) = asked.await?;
        Ok(respond(approval_out(&self.desk, &approval, &center), replayed))
    }

    type ExportSettlementStream = ChunkStream;

    async fn export_settlement(&self, call: Request<ExportSettlementRequest>) -> Result<Response<ChunkStream>, Status> {
        let message = call.get_ref();
        let name = SettlementName::parse(&message.name, "name")?;
        let center = scope::center(&self.custody, actor(&call)?, name.center).await?;
        match message.format() {
            Format::Csv => {
                let stream = self.settlements.export_csv(&center, Seq(name.seq)).await?;
                let chunks = stream.map(|part| match part {
                    Ok(content) => Ok(FileChunk { content }),
                    Err(error) => Err(Status::from(error)),
                });
                Ok(Response::new(chunks.boxed()))
            }
            Format::Xlsx => Ok(Response::new(chunks(
                self.settlements.export_xlsx(&center, Seq(name.seq)).await?,
            ))),
            Format::Unspecified => Err(invalid_field("format", "is required").into()),
        }
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
