//! ReconciliationService.

use tonic::{Request, Response, Status, Streaming};

use super::{
    auth::actor,
    convert::{money, timestamp, transaction_name},
    name::{self, CenterName, ReconciliationName, RefundName, RemittanceName},
    page::Page,
    scope,
};
use crate::{
    access::Actor,
    api::status::invalid_field,
    custody::Custody,
    gateway::{BillKind, BillRow},
    ids::Seq,
    ledger::Center,
    proto::{
        BillEntryKind, BillEvidence, Break, FetchBillRequest, GetReconciliationRequest, ImportBillHeader,
        ImportBillRequest, LedgerEvidence, ListBreaksRequest, ListBreaksResponse, ListReconciliationsRequest,
        ListReconciliationsResponse, Reconciliation, r#break::Kind, import_bill_request::Content,
        reconciliation_service_server::ReconciliationService,
    },
    reconciliation::{self, BILL_BYTES_MAX, BillOf, BreakKind, Cursor, LedgerEntry, Reconciliations, Source},
};

/// The service over its domain.
#[derive(Clone)]
pub struct ReconciliationApi {
    reconciliations: Reconciliations,
    custody: Custody,
}

impl ReconciliationApi {
    /// The service.
    pub fn new(reconciliations: Reconciliations, custody: Custody) -> ReconciliationApi {
        ReconciliationApi {
            reconciliations,
            custody,
        }
    }

    /// Whose bill a call is about, once it is known that the caller may ask.
    async fn bill_of(
        &self,
        actor: &Actor,
        parent: &str,
        channel: &str,
        bill_date: &str,
    ) -> Result<(Center, BillOf), Status> {
        let parent = CenterName::parse(parent, "parent")?;
        let center = scope::center(&self.custody, actor, parent.center).await?;
        if channel.is_empty() {
            return Err(invalid_field("channel", "is required").into());
        }
        let of = BillOf {
            channel: channel.to_owned(),
            date: name::date(bill_date, "bill_date")?,
        };
        Ok((center, of))
    }

    async fn named(&self, actor: &Actor, text: &str, field: &str) -> Result<(Center, BillOf), Status> {
        let name = ReconciliationName::parse(text, field)?;
        let center = scope::center(&self.custody, actor, name.center).await?;
        let of = BillOf {
            channel: name.channel.to_owned(),
            date: name.bill_date,
        };
        Ok((center, of))
    }
}

fn reconciliation_out(found: &reconciliation::Reconciliation, center: &Center) -> Reconciliation {
    let name = ReconciliationName {
        center: center.id.as_str(),
        channel: &found.of.channel,
        bill_date: found.of.date,
    };
    let totals = &found.totals;
    Reconciliation {
        name: name.to_string(),
        channel: found.of.channel.clone(),
        bill_date: name::format_date(found.of.date),
        line_count: totals.lines,
        matched_count: totals.matched,
        break_count: totals.breaks,
        bill_paid: money(totals.bill_paid),
        bill_refunded: money(totals.bill_refunded),
        bill_fees: money(totals.bill_fees),
        ledger_paid: money(totals.ledger_paid),
        ledger_refunded: money(totals.ledger_refunded),
        bill_sha256: found.sha256.clone(),
        fee_transaction: found
            .fee_seq
            .map_or_else(String::new, |seq| transaction_name(center, seq.0)),
        create_time: timestamp(found.created_at),
    }
}

fn kind_out(kind: BillKind) -> BillEntryKind {
    match kind {
        BillKind::Payment => BillEntryKind::Payment,
        BillKind::Refund => BillEntryKind::Refund,
    }
}

fn bill_out(row: &BillRow) -> BillEvidence {
    BillEvidence {
        line: i32::try_from(row.row).unwrap_or(i32::MAX),
        kind: kind_out(row.kind).into(),
        order_number: row.number().to_owned(),
        gateway_transaction: row.gateway_id.clone(),
        amount: money(row.amount),
        fee: money(row.fee),
        time: timestamp(row.time),
    }
}

fn ledger_out(entry: &LedgerEntry, center: &Center) -> LedgerEvidence {
    let id = center.id.as_str();
    let source = match &entry.source {
        Source::Remittance(remittance) => RemittanceName {
            center: id,
            remittance: remittance.as_str(),
        }
        .to_string(),
        Source::Refund(Seq(seq)) => RefundName { center: id, seq: *seq }.to_string(),
    };
    LedgerEvidence {
        source,
        kind: kind_out(entry.kind).into(),
        order_number: entry.number.clone(),
        gateway_transaction: entry.gateway_id.clone(),
        amount: money(entry.amount),
        transaction: transaction_name(center, entry.seq.0),
        time: timestamp(entry.at),
        fee: entry.fee.and_then(money),
        expected_fee: entry.expected_fee.and_then(money),
    }
}

fn break_out(found: &reconciliation::Break, center: &Center) -> Break {
    let kind = match found.kind {
        BreakKind::OnlyInBill => Kind::OnlyInBill,
        BreakKind::OnlyInLedger => Kind::OnlyInLedger,
        BreakKind::AmountDiffers => Kind::AmountDiffers,
        BreakKind::Duplicate => Kind::Duplicate,
        BreakKind::FeeDiffers => Kind::FeeDiffers,
    };
    Break {
        number: found.number,
        kind: kind.into(),
        bill: found.bill.as_ref().map(bill_out),
        ledger: found.ledger.as_ref().map(|entry| ledger_out(entry, center)),
    }
}

/// The first message, which says what follows.
async fn header(stream: &mut Streaming<ImportBillRequest>) -> Result<ImportBillHeader, Status> {
    match stream.message().await?.and_then(|message| message.content) {
        Some(Content::Header(header)) => Ok(header),
        _ => Err(invalid_field("header", "is the first message").into()),
    }
}

/// The chunks after the header, put together.
async fn chunks(stream: &mut Streaming<ImportBillRequest>) -> Result<Vec<u8>, Status> {
    let mut bill = Vec::new();
    while let Some(message) = stream.message().await? {
        let chunk = match message.content {
            Some(Content::Chunk(chunk)) => chunk,
            _ => return Err(invalid_field("chunk", "every message after the first is one").into()),
        };
        if bill.len() + chunk.len() > BILL_BYTES_MAX {
            let message = format!("the bill is longer than {BILL_BYTES_MAX} bytes");
            return Err(invalid_field("chunk", message).into());
        }
        bill.extend_from_slice(&chunk);
    }
    Ok(bill)
}

#[tonic::async_trait]
impl ReconciliationService for ReconciliationApi {
    async fn import_bill(
        &self,
        call: Request<Streaming<ImportBillRequest>>,
    ) -> Result<Response<Reconciliation>, Status> {
        let actor = actor(&call)?.clone();
        let mut stream = call.into_inner();
        let header = header(&mut stream).await?;
        // Not allowed comes before everything else that can be wrong.
        let (center, of) = self
            .bill_of(&actor, &header.parent, &header.channel, &header.bill_date)
            .await?;
        let bill = chunks(&mut stream).await?;
        let found = self.reconciliations.import(&center, of, bill, &actor.name()).await?;
        Ok(Response::new(reconciliation_out(&found, &center)))
    }

    async fn fetch_bill(&self, call: Request<FetchBillRequest>) -> Result<Response<Reconciliation>, Status> {
        let actor = actor(&call)?;
        let message = call.get_ref();
        let (center, of) = self
            .bill_of(actor, &message.parent, &message.channel, &message.bill_date)
            .await?;
        let found = self.reconciliations.fetch(&center, of, &actor.name()).await?;
        Ok(Response::new(reconciliation_out(&found, &center)))
    }

    async fn get_reconciliation(
        &self,
        call: Request<GetReconciliationRequest>,
    ) -> Result<Response<Reconciliation>, Status> {
        let (center, of) = self.named(actor(&call)?, &call.get_ref().name, "name").await?;
        let found = self.reconciliations.get(&center, &of).await?;
        Ok(Response::new(reconciliation_out(&found, &center)))
    }

    async fn list_reconciliations(
        &self,
        call: Request<ListReconciliationsRequest>,
    ) -> Result<Response<ListReconciliationsResponse>, Status> {
        let message = call.get_ref();
        let parent = CenterName::parse(&message.parent, "parent")?;
        let center = scope::center(&self.custody, actor(&call)?, parent.center).await?;
        let arguments = [message.parent.as_str()];
        let page = Page::read(
            "ListReconciliations",
            &arguments,
            message.page_size,
            &message.page_token,
        )?;
        let after = page.after().map(cursor).transpose()?;
        let found = self.reconciliations.list(&center, after.as_ref(), page.limit()).await?;
        let (found, next_page_token) = page.finish(found, |found| {
            format!("{}.{}", name::format_date(found.of.date), found.of.channel)
        });
        Ok(Response::new(ListReconciliationsResponse {
            reconciliations: found.iter().map(|found| reconciliation_out(found, &center)).collect(),
            next_page_token,
        }))
    }

    async fn list_breaks(&self, call: Request<ListBreaksRequest>) -> Result<Response<ListBreaksResponse>, Status> {
        let message = call.get_ref();
        let (center, of) = self.named(actor(&call)?, &message.parent, "parent").await?;
        let arguments = [message.parent.as_str()];
        let page = Page::read("ListBreaks", &arguments, message.page_size, &message.page_token)?;
        // A page goes on in the run it began in, also when the bill has been imported again meanwhile.
        let (run, after) = match page.after().map(run_and_number) {
            Some(cursor) => cursor.map(|(run, after)| (Some(run), after))?,
            None => (None, 0),
        };
        let (run, found) = self
            .reconciliations
            .breaks(&center, &of, run, after, page.limit())
            .await?;
        let (found, next_page_token) = page.finish(found, |found| format!("{run}.{}", found.number));
        Ok(Response::new(ListBreaksResponse {
            breaks: found.iter().map(|found| break_out(found, &center)).collect(),
            next_page_token,
        }))
    }
}

fn cursor(text: &str) -> Result<Cursor, Status> {
    let (date, channel) = text
        .split_once('.')
        .ok_or_else(|| invalid_field("page_token", "is not a token of this service"))?;
    Ok(Cursor {
        date: name::date(date, "page_token")?,
        channel: channel.to_owned(),
    })
}

fn run_and_number(text: &str) -> Result<(i32, i32), Status> {
    let read = || {
        let (run, number) = text.split_once('.')?;
        Some((run.parse().ok()?, number.parse().ok()?))
    };
    read().ok_or_else(|| invalid_field("page_token", "is not a token of this service").into())
}
