//! CatalogueService.

use std::pin::Pin;

use futures::{Stream, StreamExt as _};
use tonic::{Request, Response, Status, Streaming};

use super::{
    approval::approval_out,
    auth::actor,
    convert::{detainee_name, money, positive_amount_in, request, timestamp, typed},
    identity::reason_told,
    name::{ApprovalName, CenterName, DetaineeName, ProductName},
    page::Page,
    product::{labels_in, new_product_in},
    respond, scope,
};
use crate::{
    access::Actor,
    api::status::{invalid_field, reason_name},
    approval::{Asking, Desk, Person},
    commissary::{
        self, Commissary, FILE_BYTES_MAX, Format, Imported, Intent, MOVED_MAX, MovementKind, NewMovement, Prices,
        optional_label,
    },
    custody::Custody,
    ids::{DetaineeId, ProductId},
    ledger::{Center, Refusal},
    proto::{
        Approval, Buyer, CatalogueFormat, CatalogueRowError, ExportCatalogueRequest, ExportCatalogueResponse,
        GetBuyerRequest, ImportCatalogueHeader, ImportCatalogueRequest, ImportCatalogueResponse,
        ListProductVersionsRequest, ListProductVersionsResponse, ListStockMovementsRequest, ListStockMovementsResponse,
        ProductVersion, ProposePriceRequest, ProposeProductRequest, RecordStockMovementRequest, StockMovement,
        UpdateBuyerRequest, catalogue_service_server::CatalogueService, import_catalogue_request::Content,
        stock_movement::Kind,
    },
};

/// Bytes of a file in one message.
const CHUNK_BYTES: usize = 32 * 1024;

/// The service over its domain.
#[derive(Clone)]
pub struct CatalogueApi {
    commissary: Commissary,
    desk: Desk,
    custody: Custody,
}

impl CatalogueApi {
    /// The service; approvals are told in the words of the desk.
    pub fn new(commissary: Commissary, desk: Desk, custody: Custody) -> CatalogueApi {
        CatalogueApi {
            commissary,
            desk,
            custody,
        }
    }

    async fn product(&self, actor: &Actor, name: &str, field: &str) -> Result<(Center, ProductId), Status> {
        let name = ProductName::parse(name, field)?;
        let center = scope::center(&self.custody, actor, name.center).await?;
        Ok((center, typed(ProductId::parse(name.product), field)?))
    }

    async fn detainee(&self, actor: &Actor, name: &str, field: &str) -> Result<(Center, DetaineeId), Status> {
        let name = DetaineeName::parse(name, field)?;
        let center = scope::center(&self.custody, actor, name.center).await?;
        Ok((center, typed(DetaineeId::parse(name.detainee), field)?))
    }
}

fn version_out(version: commissary::ProductVersion, center: &Center) -> ProductVersion {
    let approval = version.approval.map(|approval| {
        let center = center.id.as_str();
        ApprovalName { center, approval }.to_string()
    });
    ProductVersion {
        version: version.version,
        price: money(version.price),
        approved_price: money(version.approved_price),
        available: version.available,
        withdrawn_units: version.withdrawn_units.to_vec(),
        tags: version.tags.to_vec(),
        start_time: timestamp(version.changed_at),
        actor: version.changed_by,
        reason: version.reason,
        approval: approval.unwrap_or_default(),
    }
}

fn movement_out(movement: commissary::StockMovement, product: &ProductId, center: &Center) -> StockMovement {
    let kind = match movement.kind {
        MovementKind::Received => Kind::Received,
        MovementKind::Corrected => Kind::Corrected,
    };
    let name = ProductName {
        center: center.id.as_str(),
        product: product.as_str(),
    };
    StockMovement {
        product: name.to_string(),
        number: movement.number,
        kind: kind.into(),
        quantity: movement.quantity,
        stock: movement.on_hand,
        after_seq: movement.after.0,
        reason: movement.reason,
        create_time: timestamp(movement.moved_at),
        actor: movement.moved_by,
        request_id: movement.request_id.to_string(),
    }
}

fn movement_in(message: &RecordStockMovementRequest) -> Result<NewMovement, Refusal> {
    let kind = match message.kind() {
        Kind::Unspecified => return Err(invalid_field("kind", "is required")),
        Kind::Received => MovementKind::Received,
        Kind::Corrected => MovementKind::Corrected,
    };
    let quantity = message.quantity;
    let least = if kind == MovementKind::Received { 1 } else { -MOVED_MAX };
    if quantity == 0 || !(least..=MOVED_MAX).contains(&quantity) {
        let message = format!("{least} to {MOVED_MAX} and not 0, not {quantity}");
        return Err(invalid_field("quantity", message));
    }
    Ok(NewMovement {
        kind,
        quantity,
        reason: reason_told(&message.reason, "reason")?,
    })
}

fn format_in(format: CatalogueFormat) -> Result<Format, Refusal> {
    match format {
        CatalogueFormat::Unspecified => Err(invalid_field("format", "is required")),
        CatalogueFormat::Csv => Ok(Format::Csv),
        CatalogueFormat::Xlsx => Ok(Format::Xlsx),
    }
}

fn imported_out(imported: Imported) -> ImportCatalogueResponse {
    let count = |count: usize| i32::try_from(count).unwrap_or(i32::MAX);
    ImportCatalogueResponse {
        created_count: count(imported.created),
        updated_count: count(imported.updated),
        unchanged_count: count(imported.unchanged),
        applied: imported.applied,
        errors: imported
            .errors
            .into_iter()
            .map(|error| CatalogueRowError {
                row: count(error.row),
                column: error.column,
                value: error.value,
                reason: reason_name(error.reason).to_owned(),
                expected: error.expected,
            })
            .collect(),
        error_count: count(imported.error_count),
    }
}

/// The first message, which says what follows.
async fn header(stream: &mut Streaming<ImportCatalogueRequest>) -> Result<ImportCatalogueHeader, Status> {
    match stream.message().await?.and_then(|message| message.content) {
        Some(Content::Header(header)) => Ok(header),
        _ => Err(invalid_field("header", "is the first message").into()),
    }
}

/// The chunks after the header, put together.
async fn chunks(stream: &mut Streaming<ImportCatalogueRequest>) -> Result<Vec<u8>, Status> {
    let mut file = Vec::new();
    while let Some(message) = stream.message().await? {
        let Some(Content::Chunk(chunk)) = message.content else {
            return Err(invalid_field("chunk", "every message after the first is one").into());
        };
        if file.len() + chunk.len() > FILE_BYTES_MAX {
            return Err(invalid_field("chunk", format!("the file has more than {FILE_BYTES_MAX} bytes")).into());
        }
        file.extend_from_slice(&chunk);
    }
    Ok(file)
}

type FileStream = Pin<Box<dyn Stream<Item = Result<ExportCatalogueResponse, Status>> + Send>>;

fn buyer_out(buyer: commissary::Buyer, detainee: &DetaineeId, center: &Center) -> Buyer {
    Buyer {
        detainee: detainee_name(center, detainee.as_str()),
        housing_unit: buyer.housing_unit,
        tags: buyer.tags.to_vec(),
        version: buyer.version,
        update_time: buyer.changed_at.and_then(timestamp),
    }
}

#[tonic::async_trait]
impl CatalogueService for CatalogueApi {
    async fn propose_product(&self, call: Request<ProposeProductRequest>) -> Result<Response<Approval>, Status> {
        let actor = actor(&call)?;
        let message = call.get_ref();
        let parent = CenterName::parse(&message.parent, "parent")?;
        let center = scope::center(&self.custody, actor, parent.center).await?;
        let method = "custody.v1.CatalogueService/ProposeProduct";
        let asking = Asking {
            request: request(&message.request_id, method, message, actor)?,
            maker: Person::of(actor),
            reason: reason_told(&message.reason, "reason")?,
        };
        let new = new_product_in(&message.product_id, message.product.as_ref(), &center)?;
        let (approval, replayed) = self.commissary.propose_product(&center, &asking, new).await?;
        Ok(respond(approval_out(&self.desk, &approval, &center), replayed))
    }

    async fn propose_price(&self, call: Request<ProposePriceRequest>) -> Result<Response<Approval>, Status> {
        let actor = actor(&call)?;
        let message = call.get_ref();
        let (center, id) = self.product(actor, &message.name, "name").await?;
        let method = "custody.v1.CatalogueService/ProposePrice";
        let asking = Asking {
            request: request(&message.request_id, method, message, actor)?,
            maker: Person::of(actor),
            reason: reason_told(&message.reason, "reason")?,
        };
        let prices = Prices {
            price: positive_amount_in(message.price.as_ref(), center.currency, "price")?,
            approved: positive_amount_in(message.approved_price.as_ref(), center.currency, "approved_price")?,
        };
        let (approval, replayed) = self.commissary.propose_price(&center, &asking, id, prices).await?;
        Ok(respond(approval_out(&self.desk, &approval, &center), replayed))
    }

    async fn list_product_versions(
        &self,
        call: Request<ListProductVersionsRequest>,
    ) -> Result<Response<ListProductVersionsResponse>, Status> {
        let message = call.get_ref();
        let (center, id) = self.product(actor(&call)?, &message.parent, "parent").await?;
        let arguments = [message.parent.as_str()];
        let page = Page::read(
            "ListProductVersions",
            &arguments,
            message.page_size,
            &message.page_token,
        )?;
        let before = page.after_number()?;
        let found = self
            .commissary
            .product_versions(&center, &id, before, page.limit())
            .await?;
        let (found, next_page_token) = page.finish(found, |version| version.version.to_string());
        Ok(Response::new(ListProductVersionsResponse {
            versions: found.into_iter().map(|version| version_out(version, &center)).collect(),
            next_page_token,
        }))
    }

    async fn record_stock_movement(
        &self,
        call: Request<RecordStockMovementRequest>,
    ) -> Result<Response<StockMovement>, Status> {
        let actor = actor(&call)?;
        let message = call.get_ref();
        let (center, id) = self.product(actor, &message.name, "name").await?;
        let method = "custody.v1.CatalogueService/RecordStockMovement";
        let request = request(&message.request_id, method, message, actor)?;
        let new = movement_in(message)?;
        let (movement, replayed) = self.commissary.move_stock(&center, request, &id, new).await?;
        Ok(respond(movement_out(movement, &id, &center), replayed))
    }

    async fn list_stock_movements(
        &self,
        call: Request<ListStockMovementsRequest>,
    ) -> Result<Response<ListStockMovementsResponse>, Status> {
        let message = call.get_ref();
        let (center, id) = self.product(actor(&call)?, &message.parent, "parent").await?;
        let arguments = [message.parent.as_str()];
        let page = Page::read("ListStockMovements", &arguments, message.page_size, &message.page_token)?;
        let before = page.after_number()?;
        let found = self
            .commissary
            .stock_movements(&center, &id, before, page.limit())
            .await?;
        let (found, next_page_token) = page.finish(found, |movement| movement.number.to_string());
        Ok(Response::new(ListStockMovementsResponse {
            movements: found
                .into_iter()
                .map(|movement| movement_out(movement, &id, &center))
                .collect(),
            next_page_token,
        }))
    }

    async fn import_catalogue(
        &self,
        call: Request<Streaming<ImportCatalogueRequest>>,
    ) -> Result<Response<ImportCatalogueResponse>, Status> {
        let actor = actor(&call)?.clone();
        let mut stream = call.into_inner();
        let header = header(&mut stream).await?;
        // Not allowed comes before everything else that can be wrong.
        let parent = CenterName::parse(&header.parent, "parent")?;
        let center = scope::center(&self.custody, &actor, parent.center).await?;
        let format = format_in(header.format())?;
        let reason = reason_told(&header.reason, "reason")?;
        let intent = if header.dry_run { Intent::Try } else { Intent::Apply };
        let file = chunks(&mut stream).await?;
        let imported = self
            .commissary
            .import_catalogue(&center, (format, file), intent, &reason, &actor.name())
            .await?;
        Ok(Response::new(imported_out(imported)))
    }

    type ExportCatalogueStream = FileStream;

    async fn export_catalogue(&self, call: Request<ExportCatalogueRequest>) -> Result<Response<FileStream>, Status> {
        let message = call.get_ref();
        let parent = CenterName::parse(&message.parent, "parent")?;
        let center = scope::center(&self.custody, actor(&call)?, parent.center).await?;
        let file = self
            .commissary
            .export_catalogue(&center, format_in(message.format())?)
            .await?;
        let chunks: Vec<_> = file
            .chunks(CHUNK_BYTES)
            .map(|chunk| Ok(ExportCatalogueResponse { chunk: chunk.to_vec() }))
            .collect();
        Ok(Response::new(futures::stream::iter(chunks).boxed()))
    }

    async fn get_buyer(&self, call: Request<GetBuyerRequest>) -> Result<Response<Buyer>, Status> {
        let (center, id) = self
            .detainee(actor(&call)?, &call.get_ref().detainee, "detainee")
            .await?;
        let buyer = self.commissary.buyer(&center, &id).await?;
        Ok(Response::new(buyer_out(buyer, &id, &center)))
    }

    async fn update_buyer(&self, call: Request<UpdateBuyerRequest>) -> Result<Response<Buyer>, Status> {
        let actor = actor(&call)?;
        let message = call.get_ref();
        let buyer = message
            .buyer
            .as_ref()
            .ok_or_else(|| invalid_field("buyer", "is required"))?;
        let (center, id) = self.detainee(actor, &buyer.detainee, "buyer.detainee").await?;
        let housing_unit = typed(optional_label(&buyer.housing_unit), "buyer.housing_unit")?;
        let tags = labels_in(&buyer.tags, "buyer.tags")?;
        let reason = reason_told(&message.reason, "reason")?;
        let known = (housing_unit, tags);
        let buyer = self
            .commissary
            .update_buyer(&center, &id, known, &reason, &actor.name())
            .await?;
        Ok(Response::new(buyer_out(buyer, &id, &center)))
    }
}
