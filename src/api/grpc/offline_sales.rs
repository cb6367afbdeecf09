//! OfflineSalesService.

use std::pin::Pin;

use futures::stream::{self, Stream, StreamExt as _};
use time::OffsetDateTime;
use tonic::{Request, Response, Status, Streaming};

use super::{
    approval::approval_out,
    auth::{actor, denied_status},
    convert::{amount_in, positive_amount_in, request, typed},
    identity::reason_told,
    name::{AllowanceName, CenterName, DetaineeName, OfflineSaleName, OfflineSettingsName, TerminalName, number_in},
    offline_sales_view::{allowance_out, chain_out, outcome_out, sale_out, settings_out},
    page::Page,
    respond, scope,
};
use crate::{
    access::{Actor, Denied},
    api::status::invalid_field,
    approval::{Desk, Person},
    custody::Custody,
    ids::{DetaineeId, Seq, TerminalId},
    ledger::{Center, Posted, Refusal, record},
    offline_sales::{self, AllowanceFilter, ChainView, NO_HASH, OfflineSales, STATEMENT_BYTES_MAX, Settings},
    proto::{
        Allowance, Approval, ChargeOfflineSaleRequest, DismissOfflineSaleRequest, EndAllowanceRequest,
        GetAllowanceRequest, GetOfflineChainRequest, GetOfflineSaleRequest, GetOfflineSettingsRequest,
        ListAllowancesRequest, ListAllowancesResponse, ListOfflineSalesRequest, ListOfflineSalesResponse, OfflineChain,
        OfflineSale, OfflineSaleOutcome, OfflineSettings, ProposeOfflineSaleWriteOffRequest, ReserveAllowanceRequest,
        SkipOfflineSalesRequest, UpdateOfflineSettingsRequest, UploadOfflineSalesRequest,
        offline_sales_service_server::OfflineSalesService,
    },
};

/// The longest that an allowance, and the time to report after it, can be allowed to be, in hours.
const HOURS_MAX: i16 = 168;
/// How many bytes a signature has.
const SIGNATURE_BYTES: usize = 64;

/// What UploadOfflineSales answers with.
pub type OutcomeStream = Pin<Box<dyn Stream<Item = Result<OfflineSaleOutcome, Status>> + Send>>;

/// The service over its domain.
#[derive(Clone)]
pub struct OfflineSalesApi {
    offline: OfflineSales,
    desk: Desk,
    custody: Custody,
}

/// The terminal that calls; whoever is none cannot.
fn terminal_of(actor: &Actor, method: &str) -> Result<TerminalId, Status> {
    let none = || Denied::Method {
        role: actor.role,
        method: method.to_owned(),
    };
    actor.scope.terminal.clone().ok_or_else(|| denied_status(&none()))
}

fn settings_in(told: &OfflineSettings, center: &Center) -> Result<Settings, Refusal> {
    let hours = |hours: i32, least: i16, field: &str| match i16::try_from(hours) {
        Ok(hours) if (least..=HOURS_MAX).contains(&hours) => Ok(hours),
        _ => Err(invalid_field(
            field,
            format!("{least} to {HOURS_MAX} hours, not {hours}"),
        )),
    };
    Ok(Settings {
        allowance_max: amount_in(told.allowance_max.as_ref(), center.currency, "settings.allowance_max")?,
        hours_max: hours(told.hours_max, 1, "settings.hours_max")?,
        report_hours: hours(told.report_hours, 0, "settings.report_hours")?,
    })
}

/// Reads an instant in whole microseconds, the finest that is kept.
fn instant_in(told: Option<&prost_types::Timestamp>, field: &str) -> Result<OffsetDateTime, Refusal> {
    let told = told.ok_or_else(|| invalid_field(field, "is required"))?;
    let valid = (0..1_000_000_000).contains(&told.nanos).then_some(told);
    let at = valid.and_then(record::instant);
    let at = at.filter(|at| (1970..=9999).contains(&at.year()));
    let at = at.ok_or_else(|| invalid_field(field, "is no time"))?;
    Ok(at - time::Duration::nanoseconds(i64::from(at.nanosecond() % 1_000)))
}

impl OfflineSalesApi {
    /// The service; approvals are told in the words of the desk.
    pub fn new(offline: OfflineSales, desk: Desk, custody: Custody) -> OfflineSalesApi {
        OfflineSalesApi { offline, desk, custody }
    }

    async fn parent(&self, actor: &Actor, parent: &str) -> Result<Center, Status> {
        let parent = CenterName::parse(parent, "parent")?;
        scope::center(&self.custody, actor, parent.center).await
    }

    /// The terminal that a request is about. A terminal's own is the only one it may name.
    async fn terminal(&self, actor: &Actor, name: &str) -> Result<(Center, TerminalId), Status> {
        let name = TerminalName::parse(name, "terminal")?;
        let center = scope::center(&self.custody, actor, name.center).await?;
        let terminal = typed(TerminalId::parse(name.terminal), "terminal")?;
        let allowed = actor.require_terminal(&terminal);
        allowed.map_err(|denied| denied_status(&denied))?;
        Ok((center, terminal))
    }

    async fn sale_named(&self, actor: &Actor, name: &str) -> Result<(Center, TerminalId, i64), Status> {
        let name = OfflineSaleName::parse(name, "name")?;
        let center = scope::center(&self.custody, actor, name.center).await?;
        let terminal = typed(TerminalId::parse(name.terminal), "name")?;
        let allowed = actor.require_terminal(&terminal);
        allowed.map_err(|denied| denied_status(&denied))?;
        let number = number_in(name.number, "name", OfflineSaleName::PATTERN)?;
        Ok((center, terminal, number))
    }

    async fn allowance_of(&self, actor: &Actor, name: &str) -> Result<Allowance, Status> {
        let name = AllowanceName::parse(name, "name")?;
        let center = scope::center(&self.custody, actor, name.center).await?;
        let found = self.offline.allowance(&center, Seq(name.seq)).await?;
        let allowed = actor.require_terminal(&found.terminal);
        allowed.map_err(|denied| denied_status(&denied))?;
        Ok(allowance_out(&found, &center, self.offline.now()))
    }

    async fn ended(
        &self,
        center: &Center,
        (terminal, number): (&TerminalId, i64),
        posted: &Posted,
    ) -> Result<Response<OfflineSale>, Status> {
        let sale = self.offline.sale(center, terminal, number).await?;
        Ok(respond(sale_out(&sale, center), posted.replayed))
    }
}

/// A stream of sales, and how far it has come.
struct Upload {
    api: OfflineSalesApi,
    actor: Actor,
    sales: Streaming<UploadOfflineSalesRequest>,
    /// The center and the terminal, once the first message has told them.
    of: Option<(String, Center, TerminalId)>,
    position: i64,
    is_over: bool,
}

impl Upload {
    async fn next(&mut self) -> Option<Result<OfflineSaleOutcome, Status>> {
        if self.is_over {
            return None;
        }
        let outcome = match self.sales.message().await {
            Ok(None) => return None,
            Ok(Some(message)) => self.take(message).await,
            Err(status) => Err(status),
        };
        self.is_over = outcome.is_err();
        Some(outcome)
    }

    async fn take(&mut self, message: UploadOfflineSalesRequest) -> Result<OfflineSaleOutcome, Status> {
        self.position += 1;
        let (center, terminal) = match &self.of {
            Some((named, center, terminal)) if *named == message.terminal => (center.clone(), terminal.clone()),
            Some(_) => return Err(invalid_field("terminal", "is the same in all messages of a stream").into()),
            None => {
                let (center, terminal) = self.api.terminal(&self.actor, &message.terminal).await?;
                self.of = Some((message.terminal.clone(), center.clone(), terminal.clone()));
                (center, terminal)
            }
        };
        if message.statement.is_empty() || message.statement.len() > STATEMENT_BYTES_MAX {
            let why = format!("1 to {STATEMENT_BYTES_MAX} bytes, not {}", message.statement.len());
            return Err(invalid_field("statement", why).into());
        }
        if message.signature.len() != SIGNATURE_BYTES {
            let why = format!("{SIGNATURE_BYTES} bytes, not {}", message.signature.len());
            return Err(invalid_field("signature", why).into());
        }
        let by = self.actor.name();
        let taken = self
            .api
            .offline
            .take_in(&center, &terminal, message.statement, message.signature, &by)
            .await?;
        Ok(outcome_out(&taken, self.position, &center, &terminal))
    }
}

#[tonic::async_trait]
impl OfflineSalesService for OfflineSalesApi {
    type UploadOfflineSalesStream = OutcomeStream;

    async fn get_offline_settings(
        &self,
        call: Request<GetOfflineSettingsRequest>,
    ) -> Result<Response<OfflineSettings>, Status> {
        let name = OfflineSettingsName::parse(&call.get_ref().name, "name")?;
        let center = scope::center(&self.custody, actor(&call)?, name.center).await?;
        let found = self.offline.settings(&center).await?;
        Ok(Response::new(settings_out(&found, &center)))
    }

    async fn update_offline_settings(
        &self,
        call: Request<UpdateOfflineSettingsRequest>,
    ) -> Result<Response<OfflineSettings>, Status> {
        let actor = actor(&call)?;
        let message = call.get_ref();
        let told = message.settings.as_ref();
        let told = told.ok_or_else(|| invalid_field("settings", "is required"))?;
        let name = OfflineSettingsName::parse(&told.name, "settings.name")?;
        let center = scope::center(&self.custody, actor, name.center).await?;
        let settings = settings_in(told, &center)?;
        let reason = reason_told(&message.reason, "reason")?;
        let by = actor.name();
        let updated = self.offline.update_settings(&center, &settings, &reason, &by).await?;
        Ok(Response::new(settings_out(&updated, &center)))
    }

    async fn reserve_allowance(&self, call: Request<ReserveAllowanceRequest>) -> Result<Response<Allowance>, Status> {
        let actor = actor(&call)?;
        let message = call.get_ref();
        let center = self.parent(actor, &message.parent).await?;
        let terminal = terminal_of(actor, "ReserveAllowance")?;
        let method = "custody.v1.OfflineSalesService/ReserveAllowance";
        let request = request(&message.request_id, method, message, actor)?;
        let name = DetaineeName::parse_in(&message.detainee, "detainee", center.id.as_str())?;
        let detainee = typed(DetaineeId::parse(name.detainee), "detainee")?;
        let amount = positive_amount_in(message.amount.as_ref(), center.currency, "amount")?;
        let expires_at = instant_in(message.expire_time.as_ref(), "expire_time")?;
        let posted = self
            .offline
            .reserve(&center, request, terminal, detainee, (amount, expires_at))
            .await?;
        // As it was made, whatever was sold within it since.
        let found = self.offline.allowance(&center, posted.seq()).await?;
        let made = offline_sales::Allowance {
            remaining: found.amount,
            end: None,
            ..found
        };
        Ok(respond(
            allowance_out(&made, &center, made.reserved_at),
            posted.replayed,
        ))
    }

    async fn end_allowance(&self, call: Request<EndAllowanceRequest>) -> Result<Response<Allowance>, Status> {
        let actor = actor(&call)?;
        let message = call.get_ref();
        let name = AllowanceName::parse(&message.name, "name")?;
        let center = scope::center(&self.custody, actor, name.center).await?;
        let (terminal, seq) = (terminal_of(actor, "EndAllowance")?, Seq(name.seq));
        let method = "custody.v1.OfflineSalesService/EndAllowance";
        let request = request(&message.request_id, method, message, actor)?;
        if message.last_number < 0 {
            return Err(invalid_field("last_number", "is not below zero").into());
        }
        let posted = self
            .offline
            .end_allowance(&center, request, terminal, seq, message.last_number)
            .await?;
        let found = self.offline.allowance(&center, seq).await?;
        let out = allowance_out(&found, &center, self.offline.now());
        Ok(respond(out, posted.replayed))
    }

    async fn get_allowance(&self, call: Request<GetAllowanceRequest>) -> Result<Response<Allowance>, Status> {
        Ok(Response::new(
            self.allowance_of(actor(&call)?, &call.get_ref().name).await?,
        ))
    }

    async fn list_allowances(
        &self,
        call: Request<ListAllowancesRequest>,
    ) -> Result<Response<ListAllowancesResponse>, Status> {
        let actor = actor(&call)?;
        let message = call.get_ref();
        let center = self.parent(actor, &message.parent).await?;
        let filter = DetaineeName::parse_filter(&message.detainee, "detainee", center.id.as_str())?;
        let detainee = filter.map(|name| typed(DetaineeId::parse(name.detainee), "detainee"));
        let open = message.open.to_string();
        let arguments = [message.parent.as_str(), &message.detainee, &open];
        let page = Page::read("ListAllowances", &arguments, message.page_size, &message.page_token)?;
        let filter = AllowanceFilter {
            terminal: actor.scope.terminal.clone(),
            detainee: detainee.transpose()?,
            open: message.open,
            before: page.after_number()?.map(Seq),
        };
        let found = self.offline.allowances(&center, &filter, page.limit()).await?;
        let (found, next_page_token) = page.finish(found, |allowance| allowance.seq.to_string());
        let now = self.offline.now();
        let allowances = found.iter().map(|found| allowance_out(found, &center, now)).collect();
        Ok(Response::new(ListAllowancesResponse {
            allowances,
            next_page_token,
        }))
    }

    async fn upload_offline_sales(
        &self,
        call: Request<Streaming<UploadOfflineSalesRequest>>,
    ) -> Result<Response<OutcomeStream>, Status> {
        let actor = actor(&call)?.clone();
        let upload = Upload {
            api: self.clone(),
            actor,
            sales: call.into_inner(),
            of: None,
            position: 0,
            is_over: false,
        };
        let answers = stream::unfold(upload, |mut upload| async move {
            let outcome = upload.next().await?;
            Some((outcome, upload))
        });
        Ok(Response::new(answers.boxed()))
    }

    async fn get_offline_chain(&self, call: Request<GetOfflineChainRequest>) -> Result<Response<OfflineChain>, Status> {
        let (center, terminal) = self.terminal(actor(&call)?, &call.get_ref().terminal).await?;
        let chain = self.offline.chain(&center, &terminal).await?;
        Ok(Response::new(chain_out(&chain, &center, &terminal)))
    }

    async fn get_offline_sale(&self, call: Request<GetOfflineSaleRequest>) -> Result<Response<OfflineSale>, Status> {
        let (center, terminal, number) = self.sale_named(actor(&call)?, &call.get_ref().name).await?;
        let sale = self.offline.sale(&center, &terminal, number).await?;
        Ok(Response::new(sale_out(&sale, &center)))
    }

    async fn list_offline_sales(
        &self,
        call: Request<ListOfflineSalesRequest>,
    ) -> Result<Response<ListOfflineSalesResponse>, Status> {
        let actor = actor(&call)?;
        let message = call.get_ref();
        let center = self.parent(actor, &message.parent).await?;
        let arguments = [message.parent.as_str(), &message.terminal];
        let page = Page::read("ListOfflineSales", &arguments, message.page_size, &message.page_token)?;
        let cursor = page.after_number()?;
        let filter = TerminalName::parse_filter(&message.terminal, "terminal", center.id.as_str())?;
        let (found, next_page_token) = match filter {
            Some(name) => {
                let terminal = typed(TerminalId::parse(name.terminal), "terminal")?;
                let allowed = actor.require_terminal(&terminal);
                allowed.map_err(|denied| denied_status(&denied))?;
                let found = self.offline.sales_of(&center, &terminal, cursor, page.limit()).await?;
                page.finish(found, |sale| sale.number.to_string())
            }
            // What waits is of all terminals.
            None if actor.scope.terminal.is_some() => return Err(invalid_field("terminal", "is required").into()),
            None => {
                let after = cursor.map_or(Seq::ZERO, Seq);
                let found = self.offline.sales_waiting(&center, after, page.limit()).await?;
                page.finish(found, |sale| sale.seq.to_string())
            }
        };
        Ok(Response::new(ListOfflineSalesResponse {
            offline_sales: found.iter().map(|sale| sale_out(sale, &center)).collect(),
            next_page_token,
        }))
    }

    async fn charge_offline_sale(
        &self,
        call: Request<ChargeOfflineSaleRequest>,
    ) -> Result<Response<OfflineSale>, Status> {
        let actor = actor(&call)?;
        let message = call.get_ref();
        let (center, terminal, number) = self.sale_named(actor, &message.name).await?;
        let method = "custody.v1.OfflineSalesService/ChargeOfflineSale";
        let request = request(&message.request_id, method, message, actor)?;
        let reason = reason_told(&message.reason, "reason")?;
        let of = (terminal.clone(), number);
        let posted = self.offline.charge(&center, request, of, reason).await?;
        self.ended(&center, (&terminal, number), &posted).await
    }

    async fn propose_offline_sale_write_off(
        &self,
        call: Request<ProposeOfflineSaleWriteOffRequest>,
    ) -> Result<Response<Approval>, Status> {
        let actor = actor(&call)?;
        let message = call.get_ref();
        let (center, terminal, number) = self.sale_named(actor, &message.name).await?;
        let method = "custody.v1.OfflineSalesService/ProposeOfflineSaleWriteOff";
        let request = request(&message.request_id, method, message, actor)?;
        let reason = reason_told(&message.reason, "reason")?;
        let (approval, replayed) = self
            .offline
            .propose_write_off(&center, request, Person::of(actor), (terminal, number), reason)
            .await?;
        Ok(respond(approval_out(&self.desk, &approval, &center), replayed))
    }

    async fn dismiss_offline_sale(
        &self,
        call: Request<DismissOfflineSaleRequest>,
    ) -> Result<Response<OfflineSale>, Status> {
        let actor = actor(&call)?;
        let message = call.get_ref();
        let (center, terminal, number) = self.sale_named(actor, &message.name).await?;
        let method = "custody.v1.OfflineSalesService/DismissOfflineSale";
        let request = request(&message.request_id, method, message, actor)?;
        let reason = reason_told(&message.reason, "reason")?;
        let of = (terminal.clone(), number);
        let posted = self.offline.dismiss(&center, request, of, reason).await?;
        self.ended(&center, (&terminal, number), &posted).await
    }

    async fn skip_offline_sales(
        &self,
        call: Request<SkipOfflineSalesRequest>,
    ) -> Result<Response<OfflineChain>, Status> {
        let actor = actor(&call)?;
        let message = call.get_ref();
        let (center, terminal) = self.terminal(actor, &message.terminal).await?;
        let method = "custody.v1.OfflineSalesService/SkipOfflineSales";
        let request = request(&message.request_id, method, message, actor)?;
        let reason = reason_told(&message.reason, "reason")?;
        let through = message.through_number;
        if through < 1 {
            return Err(invalid_field("through_number", "is above zero").into());
        }
        let posted = self.offline.skip(&center, request, &terminal, through, reason).await?;
        // As it was right after; what waited for the numbers is taken in since.
        let chain = ChainView {
            last: through,
            hash: NO_HASH,
            missing: Vec::new(),
        };
        Ok(respond(chain_out(&chain, &center, &terminal), posted.replayed))
    }
}
