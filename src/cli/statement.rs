//! `custody statement`: the signed statement of a whole stay, out of the service into a file, and verified without it.

use std::{fs, path::PathBuf, process::ExitCode};

use anyhow::Context as _;
use clap::{Subcommand, ValueEnum};
use custody_ledger::{
    ending::statement::signature,
    ids::{CenterId, DetaineeId},
    proto::{ExportStatementRequest, ending_service_client::EndingServiceClient, export_statement_request::Format},
};
use secrecy::{ExposeSecret as _, SecretString};
use tonic::{
    Request,
    metadata::{Ascii, MetadataValue},
    transport::Endpoint,
};

#[derive(Subcommand)]
pub enum StatementCommand {
    /// Write the signed statement of a person's whole stay into a file.
    Export(ExportFlags),
    /// Verify the signature of a statement, without the service.
    ///
    /// Exit code 0: the file is as it was signed by the key. 1: it is not. 2: it could not be done.
    Verify(VerifyFlags),
}

/// How a statement is written.
#[derive(Clone, Copy, ValueEnum)]
enum StatementFormat {
    Html,
    Csv,
}

#[derive(clap::Args)]
pub struct ExportFlags {
    /// Where the service is.
    #[arg(
        long,
        value_name = "URL",
        env = "CUSTODY_SERVICE",
        default_value = "http://127.0.0.1:7443"
    )]
    service: String,
    /// A token of finance, an auditor or an admin; see `custody token issue`.
    #[arg(long, value_name = "TOKEN", env = "CUSTODY_TOKEN", hide_env_values = true)]
    token: SecretString,
    /// The center.
    #[arg(long, value_name = "CENTER", value_parser = CenterId::parse)]
    center: CenterId,
    /// The custody number.
    #[arg(long, value_name = "DETAINEE", value_parser = DetaineeId::parse)]
    detainee: DetaineeId,
    /// How it is written.
    #[arg(long, value_enum, default_value = "html")]
    format: StatementFormat,
    /// The file.
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

#[derive(clap::Args)]
pub struct VerifyFlags {
    /// The service's public key, in hexadecimal, from a source that is trusted; without it, the key that the statement names is
    /// printed, and only that nothing was changed since that key signed it is verified.
    #[arg(long, value_name = "HEX")]
    key: Option<String>,
    /// The statement.
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

pub async fn run(command: StatementCommand) -> anyhow::Result<ExitCode> {
    match command {
        StatementCommand::Export(flags) => export(flags).await,
        StatementCommand::Verify(flags) => verify(&flags),
    }
}

async fn export(flags: ExportFlags) -> anyhow::Result<ExitCode> {
    let service = Endpoint::from_shared(flags.service.clone()).context("the service's URL")?;
    let channel = service
        .connect()
        .await
        .with_context(|| format!("connecting to {}", flags.service))?;
    let bearer: MetadataValue<Ascii> = format!("Bearer {}", flags.token.expose_secret())
        .parse()
        .context("the token")?;
    let format = match flags.format {
        StatementFormat::Html => Format::Html,
        StatementFormat::Csv => Format::Csv,
    };
    let mut request = Request::new(ExportStatementRequest {
        name: format!("centers/{}/detainees/{}", flags.center, flags.detainee),
        format: format.into(),
    });
    request.metadata_mut().insert("authorization", bearer);
    let mut chunks = EndingServiceClient::new(channel)
        .export_statement(request)
        .await
        .context("the statement")?
        .into_inner();
    let mut bytes = Vec::new();
    while let Some(chunk) = chunks.message().await.context("the statement")? {
        bytes.extend(chunk.content);
    }
    let key = signature::verify(&bytes, None).context("what the service sent")?;
    fs::write(&flags.file, bytes).with_context(|| flags.file.display().to_string())?;
    println!("{}: signed by {key}", flags.file.display());
    Ok(ExitCode::SUCCESS)
}

fn verify(flags: &VerifyFlags) -> anyhow::Result<ExitCode> {
    let bytes = fs::read(&flags.file).with_context(|| flags.file.display().to_string())?;
    match signature::verify(&bytes, flags.key.as_deref()) {
        Ok(key) => {
            println!("{}: as it was signed by {key}", flags.file.display());
            Ok(ExitCode::SUCCESS)
        }
        Err(why) => {
            println!("{}: {why}", flags.file.display());
            Ok(ExitCode::FAILURE)
        }
    }
}
