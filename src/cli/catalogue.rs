//! `custody catalogue`: a center's products out of the service into a file, and from a file into the service.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context as _;
use clap::{Subcommand, ValueEnum};
use custody_ledger::{
    api::status::reason_of,
    ids::CenterId,
    proto::{
        CatalogueFormat, CatalogueRowError, ExportCatalogueRequest, ImportCatalogueHeader, ImportCatalogueRequest,
        ImportCatalogueResponse, catalogue_service_client::CatalogueServiceClient, import_catalogue_request::Content,
    },
};
use secrecy::{ExposeSecret as _, SecretString};
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    transport::{Channel, Endpoint},
};

/// Bytes of the file in one message; far below what the service reads.
const CHUNK_BYTES: usize = 32 * 1024;

#[derive(Subcommand)]
pub enum CatalogueCommand {
    /// Bring a file of products in, whole or not at all, and print what is wrong with it.
    ///
    /// The first row names the columns; `custody catalogue export` shows them. Exit code 0: the center is as the file says, or
    /// would be with --dry-run. 1: rows are wrong; they are printed and nothing was changed. 2: it could not be done.
    Import(ImportFlags),
    /// Write all products of a center into a file that `custody catalogue import` reads.
    Export(ExportFlags),
}

/// How a file is written; told by the end of its name when left out.
#[derive(Clone, Copy, ValueEnum)]
enum FileFormat {
    Csv,
    Xlsx,
}

#[derive(clap::Args)]
struct Place {
    /// Where the service is.
    #[arg(
        long,
        value_name = "URL",
        env = "CUSTODY_SERVICE",
        default_value = "http://127.0.0.1:7443"
    )]
    service: String,
    /// A token of the commissary or an admin; see `custody token issue`.
    #[arg(long, value_name = "TOKEN", env = "CUSTODY_TOKEN", hide_env_values = true)]
    token: SecretString,
    /// The center.
    #[arg(long, value_name = "CENTER", value_parser = CenterId::parse)]
    center: CenterId,
    /// How the file is written; by the end of its name when left out.
    #[arg(long, value_name = "FORMAT")]
    format: Option<FileFormat>,
    /// The file: CSV in UTF-8, or XLSX.
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

#[derive(clap::Args)]
pub struct ImportFlags {
    #[command(flatten)]
    place: Place,
    /// Why, for the products' history.
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Only try it: nothing is changed.
    #[arg(long)]
    dry_run: bool,
}

#[derive(clap::Args)]
pub struct ExportFlags {
    #[command(flatten)]
    place: Place,
}

impl Place {
    fn format(&self) -> anyhow::Result<CatalogueFormat> {
        let ending = self.file.extension().and_then(|ending| ending.to_str());
        match (self.format, ending.map(str::to_lowercase).as_deref()) {
            (Some(FileFormat::Csv), _) | (None, Some("csv")) => Ok(CatalogueFormat::Csv),
            (Some(FileFormat::Xlsx), _) | (None, Some("xlsx")) => Ok(CatalogueFormat::Xlsx),
            (None, _) => anyhow::bail!("{} ends in neither .csv nor .xlsx: tell --format", self.file.display()),
        }
    }

    async fn connect(&self) -> anyhow::Result<Client> {
        let service = Endpoint::from_shared(self.service.clone()).context("the service's URL")?;
        let channel = service
            .connect()
            .await
            .with_context(|| format!("connecting to {}", self.service))?;
        Ok(Client {
            client: CatalogueServiceClient::new(channel),
            bearer: format!("Bearer {}", self.token.expose_secret())
                .parse()
                .context("the token")?,
        })
    }
}

struct Client {
    client: CatalogueServiceClient<Channel>,
    bearer: MetadataValue<Ascii>,
}

impl Client {
    fn call<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.metadata_mut().insert("authorization", self.bearer.clone());
        request
    }

    async fn import(&mut self, flags: &ImportFlags, file: &[u8]) -> anyhow::Result<ImportCatalogueResponse> {
        let header = ImportCatalogueHeader {
            parent: format!("centers/{}", flags.place.center),
            format: flags.place.format()?.into(),
            reason: flags.reason.clone(),
            dry_run: flags.dry_run,
        };
        let mut messages = vec![Content::Header(header)];
        messages.extend(file.chunks(CHUNK_BYTES).map(|chunk| Content::Chunk(chunk.to_vec())));
        let messages = messages
            .into_iter()
            .map(|content| ImportCatalogueRequest { content: Some(content) });
        let call = self.call(futures::stream::iter(messages));
        Ok(self.client.import_catalogue(call).await.map_err(told)?.into_inner())
    }

    async fn export(&mut self, place: &Place) -> anyhow::Result<Vec<u8>> {
        let call = self.call(ExportCatalogueRequest {
            parent: format!("centers/{}", place.center),
            format: place.format()?.into(),
        });
        let mut stream = self.client.export_catalogue(call).await.map_err(told)?.into_inner();
        let mut file = Vec::new();
        while let Some(message) = stream.message().await.map_err(told)? {
            file.extend(message.chunk);
        }
        Ok(file)
    }
}

pub async fn run(command: CatalogueCommand) -> anyhow::Result<ExitCode> {
    match command {
        CatalogueCommand::Import(flags) => {
            let path = &flags.place.file;
            let file = tokio::fs::read(path)
                .await
                .with_context(|| format!("reading {}", path.display()))?;
            let found = flags.place.connect().await?.import(&flags, &file).await?;
            Ok(print(&found, flags.dry_run))
        }
        CatalogueCommand::Export(ExportFlags { place }) => {
            let file = place.connect().await?.export(&place).await?;
            tokio::fs::write(&place.file, &file)
                .await
                .with_context(|| format!("writing {}", place.file.display()))?;
            println!("{} bytes in {}", file.len(), place.file.display());
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// What the service says, with the reason that scripts look for.
fn told(status: Status) -> anyhow::Error {
    match reason_of(&status) {
        Some((reason, _)) => anyhow::anyhow!("{reason}: {}", status.message()),
        None => anyhow::anyhow!("{status}"),
    }
}

fn print(found: &ImportCatalogueResponse, is_tried: bool) -> ExitCode {
    for CatalogueRowError {
        row,
        column,
        value,
        reason,
        expected,
    } in &found.errors
    {
        println!("row {row}, {column}: {value:?} {reason}, accepted: {expected}");
    }
    let counts = format!(
        "{} new, {} changed, {} as they were",
        found.created_count, found.updated_count, found.unchanged_count
    );
    if found.error_count > 0 {
        println!("{} errors, nothing was changed ({counts})", found.error_count);
        return ExitCode::FAILURE;
    }
    let tried = if is_tried {
        "; nothing was changed, it was only tried"
    } else {
        ""
    };
    println!("{counts}{tried}");
    ExitCode::SUCCESS
}
