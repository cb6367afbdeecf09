//! OrderService.

use tonic::{Request, Response, Status};

use super::{
    auth::actor,
    commissary::{filtered_to, order_lines, quantity_in, require_own_record, seller_of},
    convert::{request, typed},
    identity::{reason_text, reason_told},
    name::{CenterName, DetaineeName, OrderName, OrderingRulesName, ProductName},
    order_view::{self, change_out, changed_order, etag_in, order_out, rules_in, rules_out, view_out},
    page::Page,
    respond, scope,
};
use crate::{
    access::Actor,
    api::status::invalid_field,
    commissary::{Commissary, DeliveredLine, LINES_MAX, OrderVerb, Verdict},
    custody::Custody,
    ids::{ProductId, Seq},
    ledger::{Center, LedgerError, Refusal, Request as Asked},
    proto::{
        CancelOrderRequest, ConfirmDeliveryLine, ConfirmDeliveryRequest, CreateOrderRequest, DisputeOrderLineRequest,
        GetOrderRequest, GetOrderingRulesRequest, ListOrdersRequest, ListOrdersResponse, Order, OrderChange,
        OrderingRules, ResolveOrderDisputeRequest, UpdateOrderingRulesRequest, order_service_server::OrderService,
        resolve_order_dispute_request::Verdict as Told,
    },
};

/// The service over its domain.
#[derive(Clone)]
pub struct OrderApi {
    commissary: Commissary,
    custody: Custody,
}

impl OrderApi {
    /// The service.
    pub fn new(commissary: Commissary, custody: Custody) -> OrderApi {
        OrderApi { commissary, custody }
    }

    async fn named(&self, actor: &Actor, name: &str) -> Result<(Center, Seq), Status> {
        let name = OrderName::parse(name, "name")?;
        let center = scope::center(&self.custody, actor, name.center).await?;
        Ok((center, Seq(name.seq)))
    }

    /// A terminal has to do with the orders that it took, a detainee with their own, and neither with others.
    async fn require_own(&self, actor: &Actor, center: &Center, order: Seq) -> Result<(), Status> {
        if actor.scope.terminal.is_none() && actor.session.is_none() {
            return Ok(());
        }
        match self.commissary.ordered(center, order).await {
            Ok(view) => require_own_record(
                actor,
                view.order.detainee.as_str(),
                order_view::terminal_of(&view.placed),
            ),
            // That there is none is told by whoever decides, and kept.
            Err(LedgerError::Refused { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    async fn change(
        &self,
        center: &Center,
        request: Asked,
        order: Seq,
        (verb, reason): (OrderVerb, String),
    ) -> Result<Response<OrderChange>, Status> {
        let posted = self
            .commissary
            .change_order(center, request, order, verb, reason)
            .await?;
        let change = change_out(&posted.record, changed_order(&posted.record), center)?;
        Ok(respond(change, posted.replayed))
    }
}

/// A number of pieces that may be zero.
fn pieces_in(pieces: i32, field: &str) -> Result<i32, Refusal> {
    match pieces {
        0 => Ok(0),
        some => quantity_in(some, field).map(|_| some),
    }
}

fn delivered_in(lines: &[ConfirmDeliveryLine], center: &Center) -> Result<Vec<DeliveredLine>, Refusal> {
    if lines.is_empty() || lines.len() > LINES_MAX {
        return Err(invalid_field("lines", format!("1 to {LINES_MAX} lines")));
    }
    let mut told: Vec<DeliveredLine> = Vec::with_capacity(lines.len());
    for (index, line) in lines.iter().enumerate() {
        let field = |name: &str| format!("lines[{index}].{name}");
        if told.iter().any(|earlier| earlier.line == line.line) {
            return Err(invalid_field(field("line"), "is told twice"));
        }
        let quantity = pieces_in(line.quantity, &field("quantity"))?;
        let short = pieces_in(line.short_quantity, &field("short_quantity"))?;
        if quantity + short == 0 {
            return Err(invalid_field(field("quantity"), "something must come, or not come"));
        }
        let name = ProductName::parse_filter(&line.product, &field("product"), center.id.as_str())?;
        let product = name.map(|name| typed(ProductId::parse(name.product), &field("product")));
        told.push(DeliveredLine {
            line: line.line,
            quantity,
            short,
            product: product.transpose()?,
        });
    }
    Ok(told)
}

#[tonic::async_trait]
impl OrderService for OrderApi {
    async fn create_order(&self, call: Request<CreateOrderRequest>) -> Result<Response<Order>, Status> {
        let actor = actor(&call)?;
        let message = call.get_ref();
        let parent = CenterName::parse(&message.parent, "parent")?;
        let center = scope::center(&self.custody, actor, parent.center).await?;
        let seller = seller_of(&call, actor)?;
        let method = "custody.v1.OrderService/CreateOrder";
        let request = request(&message.request_id, method, message, actor)?;
        let name = DetaineeName::parse_in(&message.detainee, "detainee", center.id.as_str())?;
        let detainee = scope::own(actor, name.detainee, "detainee")?;
        let lines = order_lines(&message.lines, &center)?;
        let posted = self.commissary.order(&center, request, detainee, seller, lines).await?;
        Ok(respond(order_out(&posted.record, None, &center)?, posted.replayed))
    }

    async fn get_order(&self, call: Request<GetOrderRequest>) -> Result<Response<Order>, Status> {
        let actor = actor(&call)?;
        let (center, seq) = self.named(actor, &call.get_ref().name).await?;
        let view = self.commissary.ordered(&center, seq).await?;
        require_own_record(
            actor,
            view.order.detainee.as_str(),
            order_view::terminal_of(&view.placed),
        )?;
        Ok(Response::new(view_out(&view, &center)?))
    }

    async fn list_orders(&self, call: Request<ListOrdersRequest>) -> Result<Response<ListOrdersResponse>, Status> {
        let actor = actor(&call)?;
        let message = call.get_ref();
        let parent = CenterName::parse(&message.parent, "parent")?;
        let center = scope::center(&self.custody, actor, parent.center).await?;
        let filter = DetaineeName::parse_filter(&message.detainee, "detainee", center.id.as_str())?;
        let detainee = filtered_to(actor, filter)?;
        let open = if message.open { "open" } else { "" };
        let arguments = [message.parent.as_str(), message.detainee.as_str(), open];
        let page = Page::read("ListOrders", &arguments, message.page_size, &message.page_token)?;
        let before = page.after_number()?.map(Seq);
        let views = self
            .commissary
            .list_orders(&center, detainee.as_ref(), message.open, before, page.limit())
            .await?;
        let (views, next_page_token) = page.finish(views, |view| view.order.seq.to_string());
        let orders = views.iter().map(|view| view_out(view, &center));
        Ok(Response::new(ListOrdersResponse {
            orders: orders.collect::<Result<_, _>>()?,
            next_page_token,
        }))
    }

    async fn cancel_order(&self, call: Request<CancelOrderRequest>) -> Result<Response<OrderChange>, Status> {
        let actor = actor(&call)?;
        let message = call.get_ref();
        let (center, order) = self.named(actor, &message.name).await?;
        let method = "custody.v1.OrderService/CancelOrder";
        let request = request(&message.request_id, method, message, actor)?;
        let reason = reason_text(&message.reason, "reason")?;
        self.require_own(actor, &center, order).await?;
        self.change(&center, request, order, (OrderVerb::Cancel, reason)).await
    }

    async fn confirm_delivery(&self, call: Request<ConfirmDeliveryRequest>) -> Result<Response<OrderChange>, Status> {
        let actor = actor(&call)?;
        let message = call.get_ref();
        let (center, order) = self.named(actor, &message.name).await?;
        let method = "custody.v1.OrderService/ConfirmDelivery";
        let request = request(&message.request_id, method, message, actor)?;
        let verb = OrderVerb::Deliver(delivered_in(&message.lines, &center)?);
        let reason = reason_text(&message.reason, "reason")?;
        self.change(&center, request, order, (verb, reason)).await
    }

    async fn dispute_order_line(
        &self,
        call: Request<DisputeOrderLineRequest>,
    ) -> Result<Response<OrderChange>, Status> {
        let actor = actor(&call)?;
        let message = call.get_ref();
        let (center, order) = self.named(actor, &message.name).await?;
        let method = "custody.v1.OrderService/DisputeOrderLine";
        let request = request(&message.request_id, method, message, actor)?;
        let reason = reason_told(&message.reason, "reason")?;
        self.require_own(actor, &center, order).await?;
        let verb = OrderVerb::Dispute { line: message.line };
        self.change(&center, request, order, (verb, reason)).await
    }

    async fn resolve_order_dispute(
        &self,
        call: Request<ResolveOrderDisputeRequest>,
    ) -> Result<Response<OrderChange>, Status> {
        let actor = actor(&call)?;
        let message = call.get_ref();
        let (center, order) = self.named(actor, &message.name).await?;
        let method = "custody.v1.OrderService/ResolveOrderDispute";
        let request = request(&message.request_id, method, message, actor)?;
        let verdict = match message.verdict() {
            Told::ForVendor => Verdict::ForVendor,
            Told::ForDetainee => Verdict::ForDetainee,
            Told::Unspecified => return Err(invalid_field("verdict", "for the vendor or for the detainee").into()),
        };
        let reason = reason_told(&message.reason, "reason")?;
        let line = message.line;
        let verb = OrderVerb::Resolve { line, verdict };
        self.change(&center, request, order, (verb, reason)).await
    }

    async fn get_ordering_rules(
        &self,
        call: Request<GetOrderingRulesRequest>,
    ) -> Result<Response<OrderingRules>, Status> {
        let name = OrderingRulesName::parse(&call.get_ref().name, "name")?;
        let center = scope::center(&self.custody, actor(&call)?, name.center).await?;
        let rules = self.commissary.ordering_rules(&center).await?;
        Ok(Response::new(rules_out(&rules, &center)))
    }

    async fn update_ordering_rules(
        &self,
        call: Request<UpdateOrderingRulesRequest>,
    ) -> Result<Response<OrderingRules>, Status> {
        let actor = actor(&call)?;
        let message = call.get_ref();
        let told = message.rules.as_ref();
        let told = told.ok_or_else(|| invalid_field("rules", "is required"))?;
        let name = OrderingRulesName::parse(&told.name, "rules.name")?;
        let center = scope::center(&self.custody, actor, name.center).await?;
        let (rules, version) = (rules_in(told)?, etag_in(&told.etag)?);
        let reason = reason_told(&message.reason, "reason")?;
        let by = actor.name();
        let rules = self
            .commissary
            .update_ordering_rules(&center, rules, version, &reason, &by)
            .await?;
        Ok(Response::new(rules_out(&rules, &center)))
    }
}
