//! PaymentService.

use tonic::{Request, Response, Status};

use super::{
    approval::approval_name,
    auth::actor,
    chunk::{ChunkStream, chunks},
    convert::{money, request, timestamp, transaction_name},
    name::{self, CenterName, PaymentFileName, RefundName, SettlementName},
    page::Page,
    respond, scope,
};
use crate::{
    access::Actor,
    api::status::invalid_field,
    custody::Custody,
    ids::Seq,
    ledger::Center,
    payment::{self, Paying, Payments, SentPayment},
    proto::{
        BankPayment, CreatePaymentFileRequest, DownloadPaymentFileRequest, GetPaymentFileRequest,
        ImportBankStatementRequest, ImportBankStatementResponse, ImportPaymentStatusRequest,
        ImportPaymentStatusResponse, ListPaymentFilesRequest, ListPaymentFilesResponse, PaymentFile,
        bank_payment::State, payment_service_server::PaymentService,
    },
    settlement::End,
};

/// The service over its domain.
#[derive(Clone)]
pub struct PaymentApi {
    payments: Payments,
    custody: Custody,
}

impl PaymentApi {
    /// The service.
    pub fn new(payments: Payments, custody: Custody) -> PaymentApi {
        PaymentApi { payments, custody }
    }

    async fn parent(&self, actor: &Actor, parent: &str) -> Result<Center, Status> {
        let parent = CenterName::parse(parent, "parent")?;
        scope::center(&self.custody, actor, parent.center).await
    }

    async fn named(&self, actor: &Actor, name: &str) -> Result<(Center, i64), Status> {
        let name = PaymentFileName::parse(name, "name")?;
        Ok((scope::center(&self.custody, actor, name.center).await?, name.number))
    }
}

/// `centers/{center}/paymentFiles/{number}`.
pub(super) fn file_name(center: &Center, number: i64) -> String {
    let center = center.id.as_str();
    PaymentFileName { center, number }.to_string()
}

fn paying_name(center: &Center, paying: Paying) -> String {
    let center = center.id.as_str();
    match paying {
        Paying::Settlement(Seq(seq)) => SettlementName { center, seq }.to_string(),
        Paying::Refund(Seq(seq)) => RefundName { center, seq }.to_string(),
    }
}

fn file_out(file: &payment::PaymentFile, payments: &[SentPayment], center: &Center) -> PaymentFile {
    PaymentFile {
        name: file_name(center, file.number),
        number: file.number,
        format: file.format.clone(),
        file_name: file.name.clone(),
        sha256: hex::encode(&file.sha256),
        payment_count: file.count,
        total: money(file.total),
        create_time: timestamp(file.made_at),
        transaction: transaction_name(center, file.seq.0),
        payments: payments.iter().map(|payment| payment_out(payment, center)).collect(),
    }
}

fn payment_out(payment: &SentPayment, center: &Center) -> BankPayment {
    let state = match payment.end {
        None => State::Sent,
        Some(End::Paid) => State::Paid,
        Some(End::Failed) => State::Failed,
    };
    let name = paying_name(center, payment.paying);
    let payee = format!("centers/{}/{}", center.id, payment.payee);
    let none = || (String::new(), String::new());
    let ((settlement, vendor), (refund, payer)) = match payment.paying {
        Paying::Settlement(_) => ((name, payee), none()),
        Paying::Refund(_) => (none(), (name, payee)),
    };
    BankPayment {
        settlement,
        vendor,
        refund,
        payer,
        amount: money(payment.amount),
        end_to_end_id: payment.end_to_end_id.clone(),
        account_version: payment.account_version,
        state: state.into(),
    }
}

fn count(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

fn names(contradictions: &[Paying], center: &Center) -> Vec<String> {
    contradictions
        .iter()
        .map(|paying| paying_name(center, *paying))
        .collect()
}

fn content(bytes: &[u8]) -> Result<&[u8], Status> {
    if bytes.is_empty() {
        return Err(invalid_field("content", "is required").into());
    }
    Ok(bytes)
}

#[tonic::async_trait]
impl PaymentService for PaymentApi {
    async fn create_payment_file(
        &self,
        call: Request<CreatePaymentFileRequest>,
    ) -> Result<Response<PaymentFile>, Status> {
        let (actor, message) = (actor(&call)?, call.get_ref());
        let center = self.parent(actor, &message.parent).await?;
        let method = "custody.v1.PaymentService/CreatePaymentFile";
        let request = request(&message.request_id, method, message, actor)?;
        let date = match message.execution_date.as_str() {
            "" => None,
            text => Some(name::date(text, "execution_date")?),
        };
        let posted = self.payments.make_file(&center, request, date).await?;
        let (file, payments) = self.payments.file_of(&center, posted.seq()).await?;
        Ok(respond(file_out(&file, &payments, &center), posted.replayed))
    }

    async fn get_payment_file(&self, call: Request<GetPaymentFileRequest>) -> Result<Response<PaymentFile>, Status> {
        let (center, number) = self.named(actor(&call)?, &call.get_ref().name).await?;
        let (file, payments) = self.payments.file(&center, number).await?;
        Ok(Response::new(file_out(&file, &payments, &center)))
    }

    async fn list_payment_files(
        &self,
        call: Request<ListPaymentFilesRequest>,
    ) -> Result<Response<ListPaymentFilesResponse>, Status> {
        let message = call.get_ref();
        let center = self.parent(actor(&call)?, &message.parent).await?;
        let arguments = [message.parent.as_str()];
        let page = Page::read("ListPaymentFiles", &arguments, message.page_size, &message.page_token)?;
        let found = self.payments.list(&center, page.after_number()?, page.limit()).await?;
        let (found, next_page_token) = page.finish(found, |file| file.number.to_string());
        Ok(Response::new(ListPaymentFilesResponse {
            payment_files: found.iter().map(|file| file_out(file, &[], &center)).collect(),
            next_page_token,
        }))
    }

    type DownloadPaymentFileStream = ChunkStream;

    async fn download_payment_file(
        &self,
        call: Request<DownloadPaymentFileRequest>,
    ) -> Result<Response<ChunkStream>, Status> {
        let (center, number) = self.named(actor(&call)?, &call.get_ref().name).await?;
        let content = self.payments.content(&center, number).await?;
        Ok(Response::new(chunks(content)))
    }

    async fn import_payment_status(
        &self,
        call: Request<ImportPaymentStatusRequest>,
    ) -> Result<Response<ImportPaymentStatusResponse>, Status> {
        let (actor, message) = (actor(&call)?, call.get_ref());
        let center = self.parent(actor, &message.parent).await?;
        let (content, by) = (content(&message.content)?, actor.name());
        let read = self.payments.read_status(&center, content, &by).await?;
        let [paid, failed, pending] = read.counts.map(count);
        Ok(Response::new(ImportPaymentStatusResponse {
            repeated_file: read.repeated,
            payment_file: file_name(&center, read.file),
            paid_count: paid,
            failed_count: failed,
            pending_count: pending,
            contradictions: names(&read.contradictions, &center),
            approval: read.approval.map_or_else(String::new, |no| approval_name(&center, no)),
        }))
    }

    async fn import_bank_statement(
        &self,
        call: Request<ImportBankStatementRequest>,
    ) -> Result<Response<ImportBankStatementResponse>, Status> {
        let (actor, message) = (actor(&call)?, call.get_ref());
        let center = self.parent(actor, &message.parent).await?;
        let (content, by) = (content(&message.content)?, actor.name());
        let read = self.payments.read_statement(&center, content, &by).await?;
        let [paid, failed] = read.counts.map(count);
        let [opening, closing] = read.balances;
        Ok(Response::new(ImportBankStatementResponse {
            repeated_file: read.repeated,
            opening_balance: money(opening),
            closing_balance: money(closing),
            entry_count: count(read.entries),
            paid_count: paid,
            failed_count: failed,
            other_count: count(read.others),
            contradictions: names(&read.contradictions, &center),
            approval: read.approval.map_or_else(String::new, |no| approval_name(&center, no)),
        }))
    }
}
