//! CommissaryService.

use tonic::{Request, Response, Status};

use super::{
    auth::actor,
    auth::denied_status,
    convert::{money, money_text, request, text, timestamp, typed},
    identity::reason_text,
    name::{CenterName, DetaineeName, ProductName, PurchaseName, ReturnName, TransactionName, VendorName},
    page::Page,
    product::{category_out, new_product_in, product_change_in, product_out},
    respond, scope,
    spending::window_view_out,
};
use crate::{
    access::{Actor, Denied},
    api::status::invalid_field,
    clock,
    commissary::{self, Commissary, LINES_MAX, OrderLine, QUANTITY_MAX, Window},
    custody::Custody,
    ids::{DetaineeId, ProductId, Seq, TerminalId, VendorId},
    ledger::{Center, Refusal},
    proto::{
        self, CreateProductRequest, CreatePurchaseRequest, CreateReturnRequest, CreateVendorRequest, GetProductRequest,
        GetPurchaseRequest, GetReturnRequest, GetSpendingRequest, GetVendorRequest, JournalRecord, ListProductsRequest,
        ListProductsResponse, ListPurchasesRequest, ListPurchasesResponse, ListReturnsRequest, ListReturnsResponse,
        ListVendorsRequest, ListVendorsResponse, Product, Purchase, PurchaseLine, RestrictedCategory, Return,
        ReturnLine, Spending, TransactionKind, UpdateProductRequest, Vendor,
        commissary_service_server::CommissaryService, journal_record::Facts,
    },
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
fn require_own_terminal(actor: &Actor, terminal: &str) -> Result<(), Status> {
    if actor.scope.terminal.is_none() {
        return Ok(());
    }
    let terminal = typed(TerminalId::parse(terminal), "terminal")?;
    actor
        .require_terminal(&terminal)
        .map_err(|denied| denied_status(&denied))
}

fn terminal_of(actor: &Actor) -> Result<TerminalId, Status> {
    let none = || Denied::Method {
        role: actor.role,
        method: "CreatePurchase".to_owned(),
    };
    actor.scope.terminal.clone().ok_or_else(|| denied_status(&none()))
}

fn order_lines(lines: &[proto::CreatePurchaseLine], center: &Center) -> Result<Vec<OrderLine>, Refusal> {
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

fn quantity_in(quantity: i32, field: &str) -> Result<u32, Refusal> {
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

/// A line as a record tells it; `returned` is what has come back of each since.
pub fn line_out(
    (line, bought): (i32, &proto::PurchaseLineFacts),
    returned: &std::collections::HashMap<i32, i64>,
    center: &Center,
) -> PurchaseLine {
    let id = center.id.as_str();
    PurchaseLine {
        line,
        product: ProductName {
            center: id,
            product: &bought.product,
        }
        .to_string(),
        product_version: bought.product_version,
        vendor: VendorName {
            center: id,
            vendor: &bought.vendor,
        }
        .to_string(),
        quantity: bought.quantity,
        unit_price: money_text(&bought.unit_price, center),
        amount: money_text(&bought.amount, center),
        counted: bought.counted,
        returned_quantity: returned
            .get(&line)
            .and_then(|count| i32::try_from(*count).ok())
            .unwrap_or_default(),
    }
}

/// A purchase as its record tells it; `returned` is what has come back of each line since.
fn purchase_out(
    record: &JournalRecord,
    returned: &std::collections::HashMap<i32, i64>,
    center: &Center,
) -> Result<Purchase, Status> {
    let Some(Facts::Purchase(facts)) = &record.facts else {
        return Err(crate::api::status::internal());
    };
    let id = center.id.as_str();
    let parse = |text: &str| crate::money::Amount::parse(text, center.currency);
    let spending = facts.spending.as_ref().ok_or_else(crate::api::status::internal)?;
    let month = spending.windows.iter().find(|told| told.window == Window::Month.name());
    let remaining = month.and_then(|told| parse(&told.limit).ok().zip(parse(&told.spent).ok()));
    Ok(Purchase {
        name: PurchaseName {
            center: id,
            seq: record.seq,
        }
        .to_string(),
        detainee: DetaineeName {
            center: id,
            detainee: &facts.detainee,
        }
        .to_string(),
        terminal: facts.terminal.clone(),
        lines: (1..)
            .zip(&facts.lines)
            .map(|line| line_out(line, returned, center))
            .collect(),
        total: money_text(&facts.total, center),
        counted: money_text(&spending.counted, center),
        available_after: record
            .postings
            .last()
            .and_then(|leg| money_text(&leg.debit_balance, center)),
        limit_remaining: remaining
            .and_then(|(limit, spent)| limit.checked_sub(spent).ok())
            .and_then(money),
        create_time: record.recorded_at,
        effective_date: record.effective_date.clone(),
        transaction: TransactionName {
            center: id,
            seq: record.seq,
        }
        .to_string(),
        request_id: record.request_id.clone(),
    })
}

fn return_out(record: &JournalRecord, center: &Center) -> Result<Return, Status> {
    let Some(Facts::Return(facts)) = &record.facts else {
        return Err(crate::api::status::internal());
    };
    let id = center.id.as_str();
    let line_out = |line: &proto::ReturnLineFacts| ReturnLine {
        line: line.line,
        quantity: line.quantity,
        amount: money_text(&line.amount, center),
    };
    Ok(Return {
        name: ReturnName {
            center: id,
            seq: record.seq,
        }
        .to_string(),
        purchase: PurchaseName {
            center: id,
            seq: facts.purchase,
        }
        .to_string(),
        detainee: DetaineeName {
            center: id,
            detainee: &facts.detainee,
        }
        .to_string(),
        lines: facts.lines.iter().map(line_out).collect(),
        total: money_text(&facts.total, center),
        counted: money_text(&facts.counted, center),
        reason: facts.reason.clone(),
        available_after: record
            .postings
            .last()
            .and_then(|leg| money_text(&leg.credit_balance, center)),
        create_time: record.recorded_at,
        effective_date: record.effective_date.clone(),
        transaction: TransactionName {
            center: id,
            seq: record.seq,
        }
        .to_string(),
        request_id: record.request_id.clone(),
    })
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
        let terminal = terminal_of(actor)?;
        let method = "custody.v1.CommissaryService/CreatePurchase";
        let request = request(&message.request_id, method, message, actor)?;
        let name = DetaineeName::parse_in(&message.detainee, "detainee", center.id.as_str())?;
        let detainee = typed(DetaineeId::parse(name.detainee), "detainee")?;
        let lines = order_lines(&message.lines, &center)?;
        let posted = self
            .commissary
            .purchase(&center, request, detainee, terminal, lines)
            .await?;
        Ok(respond(
            purchase_out(&posted.record, &Default::default(), &center)?,
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
        let purchase = purchase_out(&found.record, &returned, &center)?;
        require_own_terminal(actor, &purchase.terminal)?;
        Ok(Response::new(purchase))
    }

    async fn list_purchases(
        &self,
        call: Request<ListPurchasesRequest>,
    ) -> Result<Response<ListPurchasesResponse>, Status> {
        let message = call.get_ref();
        let center = scope::center(
            &self.custody,
            actor(&call)?,
            CenterName::parse(&message.parent, "parent")?.center,
        )
        .await?;
        let filter = DetaineeName::parse_filter(&message.detainee, "detainee", center.id.as_str())?;
        let detainee = filter
            .map(|name| typed(DetaineeId::parse(name.detainee), "detainee"))
            .transpose()?;
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
            purchases.push(purchase_out(record, &returned, &center)?);
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
        let purchase = PurchaseName::parse_in(&message.purchase, "purchase", center.id.as_str())?;
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
        let reason = reason_text(&message.reason, "reason")?;
        let posted = self
            .commissary
            .take_back(&center, request, Seq(purchase.seq), lines, reason)
            .await?;
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
        require_own_terminal(actor, terminal.unwrap_or_default())?;
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
        let filter = PurchaseName::parse_filter(&message.purchase, "purchase", center.id.as_str())?;
        let arguments = [message.parent.as_str(), message.purchase.as_str()];
        let page = Page::read("ListReturns", &arguments, message.page_size, &message.page_token)?;
        let before = page.after_number()?.map(Seq);
        let records = match filter {
            Some(name) => {
                self.commissary
                    .list_returns_of(&center, Seq(name.seq), before, page.limit())
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
        let center = scope::center(&self.custody, actor(&call)?, name.center).await?;
        let detainee = typed(DetaineeId::parse(name.detainee), "detainee")?;
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
