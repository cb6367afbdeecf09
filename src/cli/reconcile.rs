//! `custody reconcile import`: sends a gateway's bill to the service and prints what does not match.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context as _;
use clap::Subcommand;
use custody_ledger::{
    api::status::reason_of,
    ids::CenterId,
    proto::{
        BillEvidence, Break, ImportBillHeader, ImportBillRequest, LedgerEvidence, ListBreaksRequest, Money,
        Reconciliation, import_bill_request::Content, reconciliation_service_client::ReconciliationServiceClient,
    },
};
use secrecy::{ExposeSecret as _, SecretString};
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    transport::{Channel, Endpoint},
};

/// Bytes of the bill in one message; far below what the service reads.
const CHUNK_BYTES: usize = 32 * 1024;

#[derive(Subcommand)]
pub enum ReconcileCommand {
    /// Compare a day's bill with the ledger, record its fees, and print what does not match.
    ///
    /// Exit code 0: everything matches. 1: there are breaks; they are printed. 2: it could not be done.
    Import(ImportFlags),
}

#[derive(clap::Args)]
pub struct ImportFlags {
    /// Where the service is.
    #[arg(
        long,
        value_name = "URL",
        env = "CUSTODY_SERVICE",
        default_value = "http://127.0.0.1:7443"
    )]
    service: String,
    /// A token of finance or an admin; see `custody token issue`.
    #[arg(long, value_name = "TOKEN", env = "CUSTODY_TOKEN", hide_env_values = true)]
    token: SecretString,
    /// The center.
    #[arg(long, value_name = "CENTER", value_parser = CenterId::parse)]
    center: CenterId,
    /// The gateway channel.
    #[arg(long, value_name = "CHANNEL", default_value = "webhook")]
    channel: String,
    /// The bill's date, YYYY-MM-DD.
    #[arg(long, value_name = "DATE")]
    date: String,
    /// The bill: CSV in UTF-8.
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

pub async fn run(command: ReconcileCommand) -> anyhow::Result<ExitCode> {
    let ReconcileCommand::Import(flags) = command;
    let bill = tokio::fs::read(&flags.file)
        .await
        .with_context(|| format!("reading {}", flags.file.display()))?;
    let service = Endpoint::from_shared(flags.service.clone()).context("the service's URL")?;
    let channel = service
        .connect()
        .await
        .with_context(|| format!("connecting to {}", flags.service))?;
    let mut client = Client {
        client: ReconciliationServiceClient::new(channel),
        bearer: format!("Bearer {}", flags.token.expose_secret())
            .parse()
            .context("the token")?,
    };
    let found = client.import(&flags, &bill).await.map_err(told)?;
    print_summary(&found);
    if found.break_count == 0 {
        println!("no breaks");
        return Ok(ExitCode::SUCCESS);
    }
    client.print_breaks(&found).await.map_err(told)?;
    println!("{} breaks", found.break_count);
    Ok(ExitCode::FAILURE)
}

/// What the service says, with the reason that scripts look for.
fn told(status: Status) -> anyhow::Error {
    match reason_of(&status) {
        Some((reason, _)) => anyhow::anyhow!("{reason}: {}", status.message()),
        None => anyhow::anyhow!("{status}"),
    }
}

struct Client {
    client: ReconciliationServiceClient<Channel>,
    bearer: MetadataValue<Ascii>,
}

impl Client {
    fn call<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.metadata_mut().insert("authorization", self.bearer.clone());
        request
    }

    async fn import(&mut self, flags: &ImportFlags, bill: &[u8]) -> Result<Reconciliation, Status> {
        let header = ImportBillHeader {
            parent: format!("centers/{}", flags.center),
            channel: flags.channel.clone(),
            bill_date: flags.date.clone(),
        };
        let mut messages = vec![Content::Header(header)];
        messages.extend(bill.chunks(CHUNK_BYTES).map(|chunk| Content::Chunk(chunk.to_vec())));
        let messages = messages
            .into_iter()
            .map(|content| ImportBillRequest { content: Some(content) });
        let call = self.call(futures::stream::iter(messages));
        Ok(self.client.import_bill(call).await?.into_inner())
    }

    async fn print_breaks(&mut self, of: &Reconciliation) -> Result<(), Status> {
        let mut page_token = String::new();
        loop {
            let call = self.call(ListBreaksRequest {
                parent: of.name.clone(),
                page_size: 0,
                page_token,
            });
            let page = self.client.list_breaks(call).await?.into_inner();
            page.breaks.iter().for_each(print_break);
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return Ok(());
            }
        }
    }
}

fn text(money: Option<&Money>) -> String {
    money.map_or_else(|| "-".to_owned(), |money| money.amount.clone())
}

fn print_summary(found: &Reconciliation) {
    println!("{}", found.name);
    println!("  lines {}, matched {}", found.line_count, found.matched_count);
    println!(
        "  paid      bill {}  ledger {}",
        text(found.bill_paid.as_ref()),
        text(found.ledger_paid.as_ref())
    );
    println!(
        "  refunded  bill {}  ledger {}",
        text(found.bill_refunded.as_ref()),
        text(found.ledger_refunded.as_ref())
    );
    let recorded = if found.fee_transaction.is_empty() {
        "none recorded"
    } else {
        &found.fee_transaction
    };
    println!("  fees      bill {}  {recorded}", text(found.bill_fees.as_ref()));
}

fn print_break(found: &Break) {
    let kind = found.kind().as_str_name().trim_start_matches("KIND_").to_owned();
    println!("{}. {kind}", found.number);
    if let Some(BillEvidence {
        line,
        order_number,
        gateway_transaction,
        amount,
        fee,
        ..
    }) = &found.bill
    {
        let (amount, fee) = (text(amount.as_ref()), text(fee.as_ref()));
        println!("   bill    line {line}: {order_number} {gateway_transaction} {amount}, fee {fee}");
    }
    if let Some(LedgerEvidence {
        order_number,
        gateway_transaction,
        amount,
        transaction,
        fee,
        expected_fee,
        ..
    }) = &found.ledger
    {
        let (amount, fee) = (text(amount.as_ref()), text(fee.as_ref()));
        let expected = expected_fee
            .as_ref()
            .map(|expected| format!(", expected {}", text(Some(expected))));
        let expected = expected.unwrap_or_default();
        println!("   ledger  {transaction}: {order_number} {gateway_transaction} {amount}, fee {fee}{expected}");
    }
}
