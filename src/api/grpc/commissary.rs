//! CommissaryService.

use tonic::{Request, Response, Status};

use super::{
    auth::actor,
    auth::denied_status,
    convert::{money, request, text, timestamp, typed},
    identity::reason_text,
    name::{CenterName, DetaineeName, OrderName, ProductName, PurchaseName, ReturnName, VendorName},
    page::Page,
    product::{category_out, new_product_in, product_change_in, product_out},
    purchase_view::{purchase_out, return_out},
    respond, scope,
    spending::window_view_out,
};
use crate::{
    access::{Actor, Denied, Peer},
    api::status::invalid_field,
    clock,
    commissary::{self, Commissary, LINES_MAX, OrderLine, QUANTITY_MAX},
    custody::Custody,
    ids::{DetaineeId, ProductId, Seq, TerminalId, VendorId},
    ledger::{Center, Refusal, record},
    proto::{
        self, CreateProductRequest, CreatePurchaseRequest, CreateReturnRequest, CreateVendorRequest, GetProductRequest,
        GetPurchaseRequest, GetReturnRequest, GetSpendingRequest, GetVendorRequest, ListProductsRequest,
        ListProductsResponse, ListPurchasesRequest, ListPurchasesResponse, ListReturnsRequest, ListReturnsResponse,
        ListVendorsRequest, ListVendorsResponse, Product, Purchase, RestrictedCategory, Return, Spending,
        TransactionKind, UpdateProductRequest, Vendor, commissary_service_server::CommissaryService,
        journal_record::Facts,
    },
    terminal::Seller,
};

/// The service over its domain.
#[derive(Clone)]
pub struct CommissaryApi {
    commissary: Commissary,
    custody: Custody,
}

impl CommissaryApi {
    /// The service.
    pub fn new(commissary: Commissary, custody: Custody) -> CommissaryApi {
        CommissaryApi { commissary, custody }
    }
}

/// A terminal sees its own purchases and returns and no others; everybody else is bounded by center and role.
pub(super) fn require_own_terminal(actor: &Actor, terminal: &str) -> Result<(), Status> {
    if actor.scope.terminal.is_none() {
        return Ok(());
    }
    let terminal = typed(TerminalId::parse(terminal), "terminal")?;
    actor
        .require_terminal(&terminal)
        .map_err(|denied| denied_status(&denied))
}

/// Where something is bought, and in whose session, as the credential tells.
pub(super) fn seller_of<T>(call: &Request<T>, actor: &Actor) -> Result<Seller, Status> {
    let none = || Denied::Method {
        role: actor.role,
        method: "CreatePurchase".to_owned(),
    };
    let seller = Seller::of(actor, call.extensions().get::<Peer>());
    seller.ok_or_else(|| denied_status(&none()))
}

/// The detainee that a list is to be of: a detainee's own, whether or not it says so.
pub(super) fn filtered_to(actor: &Actor, filter: Option<DetaineeName<'_>>) -> Result<Option<DetaineeId>, Status> {
    match (filter, &actor.session) {
        (Some(name), _) => Ok(Some(scope::own(actor, name.detainee, "detainee")?)),
        (None, Some(session)) => Ok(Some(session.detainee.clone())),
        (None, None) => Ok(None),
    }
}

/// A detainee sees what they bought and gave back, wherever that was; a terminal what was bought or given back at it.
pub(super) fn require_own_record(actor: &Actor, detainee: &str, terminal: &str) -> Result<(), Status> {
    match &actor.session {
        Some(_) => scope::own(actor, detainee, "detainee").map(drop),
        None => require_own_terminal(actor, terminal),
    }
}

pub(super) fn order_lines(lines: &[proto::CreatePurchaseLine], center: &Center) -> Result<Vec<OrderLine>, Refusal> {
    if lines.is_empty() || lines.len() > LINES_MAX {
        return Err(invalid_field(
            "lines",
            format!("1 to {LINES_MAX} lines, not {}", lines.len()),
        ));
    }
    let read = |(index, line): (usize, &proto::CreatePurchaseLine)| {
        let field = format!("lines[{index}].product");
        let name = ProductName::parse_in(&line.product, &field, center.id.as_str())?;
        let quantity = quantity_in(line.quantity, &format!("lines[{index}].quantity"))?;
        Ok(OrderLine {
            product: typed(ProductId::parse(name.product), &field)?,
            quantity,
        })
    };
    lines.iter().enumerate().map(read).collect()
}

pub(super) fn quantity_in(quantity: i32, field: &str) -> Result<u32, Refusal> {
    match u32::try_from(quantity) {
        Ok(quantity @ 1..=QUANTITY_MAX) => Ok(quantity),
        _ => Err(invalid_field(field, format!("1 to {QUANTITY_MAX}, not {quantity}"))),
    }
}

fn vendor_out(vendor: commissary::Vendor, center: &Center) -> Vendor {
    let name = VendorName {
        center: center.id.as_str(),
        vendor: vendor.id.as_str(),
    }
    .to_string();
    Vendor {
        name,
        display_name: vendor.name,
        display_name_zh: vendor.name_zh,
        create_time: timestamp(vendor.created_at),
    }
}

/// What goods that come back were bought or ordered by: the transaction's number, and whether it is an order.
fn bought_in(text: &str, center: &Center) -> Result<(Seq, bool), Refusal> {
    match OrderName::parse_in(text, "purchase", center.id.as_str()) {
        Ok(order) => Ok((Seq(order.seq), true)),
        Err(_) => PurchaseName::parse_in(text, "purchase", center.id.as_str()).map(|name| (Seq(name.seq), false)),
    }
}

#[tonic::async_trait]
impl CommissaryService for CommissaryApi {
    async fn create_vendor(&self, call: Request<CreateVendorRequest>) -> Result<Response<Vendor>, Status> {
        let actor = actor(&call)?;
        let message = call.get_ref();
        let center = scope::center(
            &self.custody,
            actor,
            CenterName::parse(&message.parent, "parent")?.center,
        )
        .await?;
        let id = typed(VendorId::parse(&message.vendor_id), "vendor_id")?;
        let vendor = message.vendor.as_ref();
        let vendor = vendor.ok_or_else(|| invalid_field("vendor", "is required"))?;
        let name = text(&vendor.display_name, "vendor.display_name")?;
        let name_zh = text(&vendor.display_name_zh, "vendor.display_name_zh")?;
        let vendor = self.commissary.create_vendor(&center, id, name, name_zh).await?;
        Ok(Response::new(vendor_out(vendor, &center)))
    }

    async fn get_vendor(&self, call: Request<GetVendorRequest>) -> Result<Response<Vendor>, Status> {
        let name = VendorName::parse(&call.get_ref().name, "name")?;
        let center = scope::center(&self.custody, actor(&call)?, name.center).await?;
        let id = typed(VendorId::parse(name.vendor), "name")?;
        Ok(Response::new(vendor_out(
            self.commissary.vendor(&center, &id).await?,
            &center,
        )))
    }

    async fn list_vendors(&self, call: Request<ListVendorsRequest>) -> Result<Response<ListVendorsResponse>, Status> {
        let message = call.get_ref();
        let center = scope::center(
            &self.custody,
            actor(&call)?,
            CenterName::parse(&message.parent, "parent")?.center,
        )
        .await?;
        let page = Page::read(
            "ListVendors",
            &[&message.parent],
            message.page_size,
            &message.page_token,
        )?;
        let vendors = self
            .commissary
            .list_vendors(&center, page.after().unwrap_or_default(), page.limit())
            .await?;
        let (vendors, next_page_token) = page.finish(vendors, |vendor| vendor.id.to_string());
        let vendors = vendors.into_iter().map(|vendor| vendor_out(vendor, &center)).collect();
        Ok(Response::new(ListVendorsResponse {
            vendors,
            next_page_token,
        }))
    }

    async fn create_product(&self, call: Request<CreateProductRequest>) -> Result<Response<Product>, Status> {
        let actor = actor(&call)?;
        let message = call.get_ref();
        let center = scope::center(
            &self.custody,
            actor,
            CenterName::parse(&message.parent, "parent")?.center,
        )
        .await?;
        let new = new_product_in(&message.product_id, message.product.as_ref(), &center)?;
        let product = self.commissary.create_product(&center, new, &actor.name()).await?;
        Ok(Response::new(product_out(product, &center)))
    }

    async fn get_product(&self, call: Request<GetProductRequest>) -> Result<Response<Product>, Status> {
        let name = ProductName::parse(&call.get_ref().name, "name")?;
        let center = scope::center(&self.custody, actor(&call)?, name.center).await?;
        let id = typed(ProductId::parse(name.product), "name")?;
        Ok(Response::new(product_out(
            self.commissary.product(&center, &id).await?,
            &center,
        )))
    }

    async fn update_product(&self, call: Request<UpdateProductRequest>) -> Result<Response<Product>, Status> {
        let actor = actor(&call)?;
        let product = call
            .get_ref()
            .product
            .as_ref()
            .ok_or_else(|| invalid_field("product", "is required"))?;
        let name = ProductName::parse(&product.name, "product.name")?;
        let center = scope::center(&self.custody, actor, name.center).await?;
        let id = typed(ProductId::parse(name.product), "product.name")?;
        let told = product_change_in(product, &call.get_ref().reason, &center)?;
        let version = match product.etag.as_str() {
            "" => None,
            etag => Some(
                etag.parse()
                    .map_err(|_| invalid_field("product.etag", "is not one of ours"))?,
            ),
        };
        let by = actor.name();
        let product = self.commissary.update_product(&center, &id, told, version, &by).await?;
        Ok(Response::new(product_out(product, &center)))
    }

    async fn list_products(
        &self,
        call: Request<ListProductsRequest>,
    ) -> Result<Response<ListProductsResponse>, Status> {
        let message = call.get_ref();
        let center = scope::center(
            &self.custody,
            actor(&call)?,
            CenterName::parse(&message.parent, "parent")?.center,
        )
        .await?;
        let filter = VendorName::parse_filter(&message.vendor, "vendor", center.id.as_str())?;
        let vendor = filter
            .map(|name| typed(VendorId::parse(name.vendor), "vendor"))
            .transpose()?;
        let arguments = [message.parent.as_str(), message.vendor.as_str()];
        let page = Page::read("ListProducts", &arguments, message.page_size, &message.page_token)?;
        let after = page.after().unwrap_or_default();
        let products = self
            .commissary
            .list_products(&center, vendor.as_ref(), after, page.limit())
            .await?;
        let (products, next_page_token) = page.finish(products, |product| product.id.to_string());
        let products = products
            .into_iter()
            .map(|product| product_out(product, &center))
            .collect();
        Ok(Response::new(ListProductsResponse {
            products,
            next_page_token,
        }))
    }

    async fn create_purchase(&self, call: Request<CreatePurchaseRequest>) -> Result<Response<Purchase>, Status> {
        let actor = actor(&call)?;
        let message = call.get_ref();
        let center = scope::center(
            &self.custody,
            actor,
            CenterName::parse(&message.parent, "parent")?.center,
        )
        .await?;
        let seller = seller_of(&call, actor)?;
        let method = "custody.v1.CommissaryService/CreatePurchase";
        let request = request(&message.request_id, method, message, actor)?;
        let name = DetaineeName::parse_in(&message.detainee, "detainee", center.id.as_str())?;
        let detainee = scope::own(actor, name.detainee, "detainee")?;
        let lines = order_lines(&message.lines, &center)?;
        let posted = self
            .commissary
            .purchase(&center, request, detainee, seller, lines)
            .await?;
        Ok(respond(
            purchase_out(&posted.record, &Default::default(), &posted.leaf_hash(), &center)?,
            posted.replayed,
        ))
    }

    async fn get_purchase(&self, call: Request<GetPurchaseRequest>) -> Result<Response<Purchase>, Status> {
        let actor = actor(&call)?;
        let name = PurchaseName::parse(&call.get_ref().name, "name")?;
        let center = scope::center(&self.custody, actor, name.center).await?;
        let seq = Seq(name.seq);
        let found = self
            .commissary
            .transaction(&center, seq, TransactionKind::Purchase)
            .await?;
        let returned = self.commissary.returned(&center, seq).await?;
        let purchase = purchase_out(&found.record, &returned, &found.leaf_hash, &center)?;
        if let Some(Facts::Purchase(facts)) = &found.record.facts {
            require_own_record(actor, &facts.detainee, &facts.terminal)?;
        }
        Ok(Response::new(purchase))
    }

    async fn list_purchases(
        &self,
        call: Request<ListPurchasesRequest>,
    ) -> Result<Response<ListPurchasesResponse>, Status> {
        let (actor, message) = (actor(&call)?, call.get_ref());
        let parent = CenterName::parse(&message.parent, "parent")?.center;
        let center = scope::center(&self.custody, actor, parent).await?;
        let filter = DetaineeName::parse_filter(&message.detainee, "detainee", center.id.as_str())?;
        let detainee = filtered_to(actor, filter)?;
        let arguments = [message.parent.as_str(), message.detainee.as_str()];
        let page = Page::read("ListPurchases", &arguments, message.page_size, &message.page_token)?;
        let before = page.after_number()?.map(Seq);
        let kind = TransactionKind::Purchase;
        let records = self
            .commissary
            .list(&center, kind, detainee.as_ref(), before, page.limit())
            .await?;
        let (records, next_page_token) = page.finish(records, |record| record.seq.to_string());
        let mut purchases = Vec::with_capacity(records.len());
        for record in &records {
            let returned = self.commissary.returned(&center, Seq(record.seq)).await?;
            purchases.push(purchase_out(
                record,
                &returned,
                &record::leaf_hash(&record::encode(record)),
                &center,
            )?);
        }
        Ok(Response::new(ListPurchasesResponse {
            purchases,
            next_page_token,
        }))
    }

    async fn create_return(&self, call: Request<CreateReturnRequest>) -> Result<Response<Return>, Status> {
        let actor = actor(&call)?;
        let message = call.get_ref();
        let center = scope::center(
            &self.custody,
            actor,
            CenterName::parse(&message.parent, "parent")?.center,
        )
        .await?;
        let request = request(
            &message.request_id,
            "custody.v1.CommissaryService/CreateReturn",
            message,
            actor,
        )?;
        let (bought, of_order) = bought_in(&message.purchase, &center)?;
        if message.lines.is_empty() || message.lines.len() > LINES_MAX {
            return Err(invalid_field("lines", format!("1 to {LINES_MAX} lines")).into());
        }
        let mut lines: Vec<commissary::ReturnLine> = Vec::with_capacity(message.lines.len());
        for (index, line) in message.lines.iter().enumerate() {
            if lines.iter().any(|earlier| earlier.line == line.line) {
                return Err(invalid_field(format!("lines[{index}].line"), "is told twice").into());
            }
            let quantity = quantity_in(line.quantity, &format!("lines[{index}].quantity"))?;
            lines.push(commissary::ReturnLine {
                line: line.line,
                quantity,
            });
        }
        let told = (lines, text(&message.authorised_by, "authorised_by")?);
        let (commissary, reason) = (&self.commissary, reason_text(&message.reason, "reason")?);
        let posted = if of_order {
            commissary
                .take_back_ordered(&center, request, bought, told, reason)
                .await?
        } else {
            commissary
                .take_back_authorised(&center, request, bought, told, reason)
                .await?
        };
        Ok(respond(return_out(&posted.record, &center)?, posted.replayed))
    }

    async fn get_return(&self, call: Request<GetReturnRequest>) -> Result<Response<Return>, Status> {
        let actor = actor(&call)?;
        let name = ReturnName::parse(&call.get_ref().name, "name")?;
        let center = scope::center(&self.custody, actor, name.center).await?;
        let found = self
            .commissary
            .transaction(&center, Seq(name.seq), TransactionKind::Return)
            .await?;
        // The terminal that took the goods back, which need not be the one that sold them.
        let terminal = found.record.actor.strip_prefix("terminal/");
        if let Some(Facts::Return(facts)) = &found.record.facts {
            require_own_record(actor, &facts.detainee, terminal.unwrap_or_default())?;
        }
        Ok(Response::new(return_out(&found.record, &center)?))
    }

    async fn list_returns(&self, call: Request<ListReturnsRequest>) -> Result<Response<ListReturnsResponse>, Status> {
        let message = call.get_ref();
        let center = scope::center(
            &self.custody,
            actor(&call)?,
            CenterName::parse(&message.parent, "parent")?.center,
        )
        .await?;
        let filter = match message.purchase.as_str() {
            "" => None,
            purchase => Some(bought_in(purchase, &center)?.0),
        };
        let arguments = [message.parent.as_str(), message.purchase.as_str()];
        let page = Page::read("ListReturns", &arguments, message.page_size, &message.page_token)?;
        let before = page.after_number()?.map(Seq);
        let records = match filter {
            Some(bought) => {
                self.commissary
                    .list_returns_of(&center, bought, before, page.limit())
                    .await?
            }
            None => {
                self.commissary
                    .list(&center, TransactionKind::Return, None, before, page.limit())
                    .await?
            }
        };
        let (records, next_page_token) = page.finish(records, |record| record.seq.to_string());
        let returns = records
            .iter()
            .map(|record| return_out(record, &center))
            .collect::<Result<_, _>>()?;
        Ok(Response::new(ListReturnsResponse {
            returns,
            next_page_token,
        }))
    }

    async fn get_spending(&self, call: Request<GetSpendingRequest>) -> Result<Response<Spending>, Status> {
        let message = call.get_ref();
        let name = DetaineeName::parse(&message.detainee, "detainee")?;
        let actor = actor(&call)?;
        let center = scope::center(&self.custody, actor, name.center).await?;
        let detainee = scope::own(actor, name.detainee, "detainee")?;
        let month = match message.month.as_str() {
            "" => None,
            month => Some(clock::parse_month(month).ok_or_else(|| invalid_field("month", "YYYY-MM"))?),
        };
        let spending = self.commissary.spending(&center, &detainee, month).await?;
        let today = spending.windows.len() > 1;
        let windows = spending.windows.iter();
        let windows = windows.map(|view| window_view_out(view, today, &center));
        Ok(Response::new(Spending {
            windows: windows.collect::<Result<_, _>>()?,
            frozen_until: spending.frozen_until.and_then(timestamp),
            restricted: spending
                .restricted
                .values()
                .map(|(category, until)| RestrictedCategory {
                    category: category_out(*category).into(),
                    end_time: timestamp(*until),
                })
                .collect(),
            detainee: message.detainee.clone(),
            month: clock::month_text(spending.month),
            limit: money(spending.limit),
            spent: money(spending.spent),
            remaining: spending.remaining()?.and_then(money),
        }))
    }
}
