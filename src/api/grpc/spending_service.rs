//! SpendingService.

use prost_types::Timestamp;
use time::OffsetDateTime;
use tonic::{Request, Response, Status};

use super::{
    approval::approval_out,
    auth::actor,
    convert::{amount_in, money, request, timestamp, typed},
    identity::{reason_text, reason_told},
    kit::{grant_out, kit_out, lines_in},
    name::{CenterName, DetaineeName, KitGrantName, KitName, MeasureName, date},
    page::Page,
    respond, scope,
    spending::{categories_in, measure_out, spending_out, window_in, window_view_out},
};
use crate::{
    access::Actor,
    api::status::invalid_field,
    approval::{Asking, Desk, Person},
    commissary::{
        Category, Commissary, KitGrant, Window,
        spending::{FREEZE_DAYS_MAX, NewFreeze, NewOverride, NewRestriction},
    },
    custody::{Custody, SpendingVersion},
    ids::{DetaineeId, Seq},
    ledger::{self, Center, Refusal, record},
    proto::{
        self, Approval, CancelKitGrantRequest, EndSpendingMeasureRequest, GetKitGrantRequest, GetKitRequest,
        GetSpendingMeasureRequest, GrantKitRequest, Kit, ListKitGrantsRequest, ListKitGrantsResponse,
        ListSpendingMeasuresRequest, ListSpendingMeasuresResponse, ListSpendingVersionsRequest,
        ListSpendingVersionsResponse, ListSpendingWindowsRequest, ListSpendingWindowsResponse, ProposeFreezeEndRequest,
        ProposeFreezeRequest, ProposeLimitOverrideRequest, RestrictCategoriesRequest, SpendingMeasure, TierLimit,
        UpdateKitRequest, spending_service_server::SpendingService,
    },
};

/// The service over its domain.
#[derive(Clone)]
pub struct SpendingApi {
    commissary: Commissary,
    desk: Desk,
    custody: Custody,
}

impl SpendingApi {
    /// The service; approvals are told in the words of the desk.
    pub fn new(commissary: Commissary, desk: Desk, custody: Custody) -> SpendingApi {
        SpendingApi {
            commissary,
            desk,
            custody,
        }
    }

    async fn center(&self, actor: &Actor, parent: &str) -> Result<Center, Status> {
        scope::center(&self.custody, actor, CenterName::parse(parent, "parent")?.center).await
    }

    async fn detainee(&self, actor: &Actor, name: &str, field: &str) -> Result<(Center, DetaineeId), Status> {
        let name = DetaineeName::parse(name, field)?;
        let center = scope::center(&self.custody, actor, name.center).await?;
        Ok((center, typed(DetaineeId::parse(name.detainee), field)?))
    }

    async fn measure(&self, actor: &Actor, name: &str) -> Result<(Center, i64), Status> {
        let name = MeasureName::parse(name, "name")?;
        Ok((scope::center(&self.custody, actor, name.center).await?, name.measure))
    }
}

fn asking(actor: &Actor, request: ledger::Request, reason: &str) -> Result<Asking, Refusal> {
    Ok(Asking {
        request,
        maker: Person::of(actor),
        reason: reason_told(reason, "reason")?,
    })
}

/// Reads an instant that may be left out.
fn instant_in(told: Option<&Timestamp>, field: &str) -> Result<Option<OffsetDateTime>, Refusal> {
    let Some(told) = told else { return Ok(None) };
    let is_in_order = (0..1_000_000_000).contains(&told.nanos);
    let at = is_in_order.then(|| record::instant(told)).flatten();
    // The database keeps microseconds.
    let whole = |at: OffsetDateTime| at.replace_microsecond(at.microsecond()).ok();
    let at = at.and_then(whole).filter(|at| (1..=9999).contains(&at.year()));
    at.map(Some).ok_or_else(|| invalid_field(field, "is no instant"))
}

fn instant_told(told: Option<&Timestamp>, field: &str) -> Result<OffsetDateTime, Refusal> {
    instant_in(told, field)?.ok_or_else(|| invalid_field(field, "is required"))
}

/// Reads the filter of a list.
fn filter_in(detainee: &str, center: &Center) -> Result<Option<DetaineeId>, Refusal> {
    let name = DetaineeName::parse_filter(detainee, "detainee", center.id.as_str())?;
    name.map(|name| typed(DetaineeId::parse(name.detainee), "detainee"))
        .transpose()
}

fn version_out(version: &SpendingVersion) -> proto::SpendingVersion {
    let limits = version.tier_limits.iter().map(|(tier, limit)| TierLimit {
        tier: i32::from(*tier),
        amount: money(*limit),
    });
    proto::SpendingVersion {
        version: version.version,
        purchase_amount_max: money(version.purchase_amount_max),
        tier_limits: limits.collect(),
        festival_bonus: money(version.festival_bonus),
        festival_months: version.festival_months.iter().copied().map(i32::from).collect(),
        spending: Some(spending_out(&version.spending)),
        change_time: timestamp(version.changed_at),
        changed_by: version.changed_by.clone(),
    }
}

#[tonic::async_trait]
impl SpendingService for SpendingApi {
    async fn list_spending_versions(
        &self,
        call: Request<ListSpendingVersionsRequest>,
    ) -> Result<Response<ListSpendingVersionsResponse>, Status> {
        let message = call.get_ref();
        let center = self.center(actor(&call)?, &message.parent).await?;
        let arguments = [message.parent.as_str()];
        let page = Page::read(
            "ListSpendingVersions",
            &arguments,
            message.page_size,
            &message.page_token,
        )?;
        let found = self
            .custody
            .spending_versions(&center, page.after_number()?, page.limit());
        let (found, next_page_token) = page.finish(found.await?, |version| version.version.to_string());
        Ok(Response::new(ListSpendingVersionsResponse {
            versions: found.iter().map(version_out).collect(),
            next_page_token,
        }))
    }

    async fn list_spending_windows(
        &self,
        call: Request<ListSpendingWindowsRequest>,
    ) -> Result<Response<ListSpendingWindowsResponse>, Status> {
        let message = call.get_ref();
        let (center, detainee) = self.detainee(actor(&call)?, &message.parent, "parent").await?;
        let window = match window_in(message.window(), "window")? {
            Window::Order => return Err(invalid_field("window", "must be DAY, WEEK or MONTH").into()),
            window => window,
        };
        let arguments = [message.parent.as_str(), window.name()];
        let page = Page::read(
            "ListSpendingWindows",
            &arguments,
            message.page_size,
            &message.page_token,
        )?;
        let before = page.after().map(|after| date(after, "page_token")).transpose()?;
        let found = self
            .commissary
            .spending_windows(&center, &detainee, window, before, page.size() + 1);
        let (found, next_page_token) = page.finish(found.await?, |view| super::name::format_date(view.first));
        let windows = found.iter().map(|view| window_view_out(view, false, &center));
        Ok(Response::new(ListSpendingWindowsResponse {
            windows: windows.collect::<Result<_, _>>()?,
            next_page_token,
        }))
    }

    async fn propose_limit_override(
        &self,
        call: Request<ProposeLimitOverrideRequest>,
    ) -> Result<Response<Approval>, Status> {
        let (actor, message) = (actor(&call)?, call.get_ref());
        let (center, detainee) = self.detainee(actor, &message.detainee, "detainee").await?;
        let method = "custody.v1.SpendingService/ProposeLimitOverride";
        let asking = asking(
            actor,
            request(&message.request_id, method, message, actor)?,
            &message.reason,
        )?;
        let window = window_in(message.window(), "window")?;
        let amount = amount_in(message.amount.as_ref(), center.currency, "amount")?;
        if window == Window::Order && !amount.is_positive() {
            return Err(invalid_field("amount.amount", "not above zero").into());
        }
        let new = NewOverride {
            detainee,
            window,
            amount,
            starts_at: instant_in(message.start_time.as_ref(), "start_time")?,
            ends_at: instant_told(message.end_time.as_ref(), "end_time")?,
            document: reason_told(&message.document, "document")?,
        };
        let (approval, replayed) = self.commissary.propose_override(&center, &asking, new).await?;
        Ok(respond(approval_out(&self.desk, &approval, &center), replayed))
    }

    async fn propose_freeze(&self, call: Request<ProposeFreezeRequest>) -> Result<Response<Approval>, Status> {
        let (actor, message) = (actor(&call)?, call.get_ref());
        let (center, detainee) = self.detainee(actor, &message.detainee, "detainee").await?;
        let method = "custody.v1.SpendingService/ProposeFreeze";
        let asking = asking(
            actor,
            request(&message.request_id, method, message, actor)?,
            &message.reason,
        )?;
        let days = match message.days {
            0 => FREEZE_DAYS_MAX,
            days @ 1..=FREEZE_DAYS_MAX => days,
            _ => return Err(invalid_field("days", format!("must be 1 to {FREEZE_DAYS_MAX}")).into()),
        };
        let renews = MeasureName::parse_filter(&message.renews, "renews", center.id.as_str())?;
        let new = NewFreeze {
            detainee,
            document: reason_told(&message.document, "document")?,
            days,
            renews: renews.map(|name| name.measure),
        };
        let (approval, replayed) = self.commissary.propose_freeze(&center, &asking, new).await?;
        Ok(respond(approval_out(&self.desk, &approval, &center), replayed))
    }

    async fn propose_freeze_end(&self, call: Request<ProposeFreezeEndRequest>) -> Result<Response<Approval>, Status> {
        let (actor, message) = (actor(&call)?, call.get_ref());
        let (center, measure) = self.measure(actor, &message.name).await?;
        let method = "custody.v1.SpendingService/ProposeFreezeEnd";
        let asking = asking(
            actor,
            request(&message.request_id, method, message, actor)?,
            &message.reason,
        )?;
        let (approval, replayed) = self.commissary.propose_freeze_end(&center, &asking, measure).await?;
        Ok(respond(approval_out(&self.desk, &approval, &center), replayed))
    }

    async fn restrict_categories(
        &self,
        call: Request<RestrictCategoriesRequest>,
    ) -> Result<Response<SpendingMeasure>, Status> {
        let (actor, message) = (actor(&call)?, call.get_ref());
        let (center, detainee) = self.detainee(actor, &message.detainee, "detainee").await?;
        let method = "custody.v1.SpendingService/RestrictCategories";
        let request = request(&message.request_id, method, message, actor)?;
        let categories = categories_in(message.categories.iter().copied(), "categories")?;
        if categories.is_empty() {
            return Err(invalid_field("categories", "is required").into());
        }
        // Health and defence are not for discipline to take.
        if categories
            .iter()
            .any(|category| matches!(category, Category::Medical | Category::Legal))
        {
            return Err(invalid_field("categories", "must not be medical or legal items").into());
        }
        let new = NewRestriction {
            detainee,
            categories,
            starts_at: instant_in(message.start_time.as_ref(), "start_time")?,
            ends_at: instant_told(message.end_time.as_ref(), "end_time")?,
            document: reason_text(&message.document, "document")?,
        };
        let reason = reason_told(&message.reason, "reason")?;
        let (measure, replayed) = self.commissary.restrict(&center, &request, new, reason).await?;
        Ok(respond(measure_out(&measure, self.commissary.now(), &center), replayed))
    }

    async fn end_spending_measure(
        &self,
        call: Request<EndSpendingMeasureRequest>,
    ) -> Result<Response<SpendingMeasure>, Status> {
        let (actor, message) = (actor(&call)?, call.get_ref());
        let (center, measure) = self.measure(actor, &message.name).await?;
        let reason = reason_told(&message.reason, "reason")?;
        let by = actor.name();
        let ended = self.commissary.end_measure(&center, measure, reason, &by).await?;
        Ok(Response::new(measure_out(&ended, self.commissary.now(), &center)))
    }

    async fn get_spending_measure(
        &self,
        call: Request<GetSpendingMeasureRequest>,
    ) -> Result<Response<SpendingMeasure>, Status> {
        let (center, measure) = self.measure(actor(&call)?, &call.get_ref().name).await?;
        let found = self.commissary.measure(&center, measure).await?;
        Ok(Response::new(measure_out(&found, self.commissary.now(), &center)))
    }

    async fn list_spending_measures(
        &self,
        call: Request<ListSpendingMeasuresRequest>,
    ) -> Result<Response<ListSpendingMeasuresResponse>, Status> {
        let message = call.get_ref();
        let center = self.center(actor(&call)?, &message.parent).await?;
        let detainee = filter_in(&message.detainee, &center)?;
        let arguments = [message.parent.as_str(), message.detainee.as_str()];
        let page = Page::read(
            "ListSpendingMeasures",
            &arguments,
            message.page_size,
            &message.page_token,
        )?;
        let found = self
            .commissary
            .measures(&center, detainee.as_ref(), page.after_number()?, page.limit());
        let (found, next_page_token) = page.finish(found.await?, |measure| measure.no.to_string());
        let now = self.commissary.now();
        Ok(Response::new(ListSpendingMeasuresResponse {
            measures: found.iter().map(|measure| measure_out(measure, now, &center)).collect(),
            next_page_token,
        }))
    }

    async fn get_kit(&self, call: Request<GetKitRequest>) -> Result<Response<Kit>, Status> {
        let name = KitName::parse(&call.get_ref().name, "name")?;
        let center = scope::center(&self.custody, actor(&call)?, name.center).await?;
        Ok(Response::new(kit_out(self.commissary.kit(&center).await?, &center)))
    }

    async fn update_kit(&self, call: Request<UpdateKitRequest>) -> Result<Response<Kit>, Status> {
        let (actor, message) = (actor(&call)?, call.get_ref());
        let told = message.kit.as_ref();
        let told = told.ok_or_else(|| invalid_field("kit", "is required"))?;
        let name = KitName::parse(&told.name, "kit.name")?;
        let center = scope::center(&self.custody, actor, name.center).await?;
        if told.version < 0 {
            return Err(invalid_field("kit.version", "must not be negative").into());
        }
        let version = (told.version > 0).then_some(told.version);
        let lines = lines_in(&told.lines, &center)?;
        let reason = reason_told(&message.reason, "reason")?;
        let by = actor.name();
        let updated = self.commissary.update_kit(&center, (lines, version), &reason, &by);
        Ok(Response::new(kit_out(updated.await?, &center)))
    }

    async fn grant_kit(&self, call: Request<GrantKitRequest>) -> Result<Response<proto::KitGrant>, Status> {
        let (actor, message) = (actor(&call)?, call.get_ref());
        let (center, detainee) = self.detainee(actor, &message.detainee, "detainee").await?;
        let method = "custody.v1.SpendingService/GrantKit";
        let request = request(&message.request_id, method, message, actor)?;
        let posted = self.commissary.grant_kit(&center, request, detainee).await?;
        // As it was the first time, also when it was taken back since.
        let granted = KitGrant {
            record: posted.record.as_ref().clone(),
            cancelled: None,
        };
        Ok(respond(grant_out(&granted, &center)?, posted.replayed))
    }

    async fn cancel_kit_grant(
        &self,
        call: Request<CancelKitGrantRequest>,
    ) -> Result<Response<proto::KitGrant>, Status> {
        let (actor, message) = (actor(&call)?, call.get_ref());
        let name = KitGrantName::parse(&message.name, "name")?;
        let center = scope::center(&self.custody, actor, name.center).await?;
        let method = "custody.v1.SpendingService/CancelKitGrant";
        let request = request(&message.request_id, method, message, actor)?;
        let reason = reason_told(&message.reason, "reason")?;
        let grant = Seq(name.seq);
        let posted = self
            .commissary
            .cancel_kit_grant(&center, request, grant, reason)
            .await?;
        let cancelled = self.commissary.kit_grant(&center, grant).await?;
        Ok(respond(grant_out(&cancelled, &center)?, posted.replayed))
    }

    async fn get_kit_grant(&self, call: Request<GetKitGrantRequest>) -> Result<Response<proto::KitGrant>, Status> {
        let name = KitGrantName::parse(&call.get_ref().name, "name")?;
        let center = scope::center(&self.custody, actor(&call)?, name.center).await?;
        let found = self.commissary.kit_grant(&center, Seq(name.seq)).await?;
        Ok(Response::new(grant_out(&found, &center)?))
    }

    async fn list_kit_grants(
        &self,
        call: Request<ListKitGrantsRequest>,
    ) -> Result<Response<ListKitGrantsResponse>, Status> {
        let message = call.get_ref();
        let center = self.center(actor(&call)?, &message.parent).await?;
        let detainee = filter_in(&message.detainee, &center)?;
        let arguments = [message.parent.as_str(), message.detainee.as_str()];
        let page = Page::read("ListKitGrants", &arguments, message.page_size, &message.page_token)?;
        let before = page.after_number()?.map(Seq);
        let found = self
            .commissary
            .kit_grants(&center, detainee.as_ref(), before, page.limit());
        let (found, next_page_token) = page.finish(found.await?, |grant| grant.record.seq.to_string());
        let grants = found.iter().map(|grant| grant_out(grant, &center));
        Ok(Response::new(ListKitGrantsResponse {
            grants: grants.collect::<Result<_, _>>()?,
            next_page_token,
        }))
    }
}
