//! `custody token issue`: signs a token with the key in the data directory and prints it.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Subcommand;
use custody_ledger::access::{Actor, Issuer, Role, Scope, TokenKey};
use custody_ledger::ids::{CenterId, PayerId, TerminalId};
use time::Duration;

use super::ClockFlags;

/// What stands for all centers on the command line.
const ALL_CENTERS: &str = "*";

#[derive(Subcommand)]
pub enum TokenCommand {
    /// Issue a token and print it.
    Issue(IssueFlags),
}

#[derive(clap::Args)]
pub struct IssueFlags {
    /// The data directory of the service, which holds the key; the key is made if there is none.
    #[arg(
        long,
        value_name = "DIR",
        env = "CUSTODY_SERVER_DATA_DIR",
        default_value = "./custody-data"
    )]
    data_dir: PathBuf,
    /// admin, finance, commissary, terminal, payer or auditor.
    #[arg(long, value_name = "ROLE")]
    role: Role,
    /// The center that the token is confined to; `*` for all, which only admins and auditors can be given.
    #[arg(long, value_name = "CENTER", value_parser = center)]
    center: Center,
    /// The person or device. By default the terminal, the payer or the role.
    #[arg(long, value_name = "NAME")]
    subject: Option<String>,
    /// The payer that the token stands for; with the role payer only.
    #[arg(long, value_name = "PAYER", value_parser = PayerId::parse)]
    payer: Option<PayerId>,
    /// The terminal that the token stands for; with the role terminal only.
    #[arg(long, value_name = "TERMINAL", value_parser = TerminalId::parse)]
    terminal: Option<TerminalId>,
    /// How long the token holds: a number and s, m, h or d.
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = ttl)]
    ttl: Duration,
    #[command(flatten)]
    clock: ClockFlags,
}

pub fn run(command: TokenCommand) -> anyhow::Result<()> {
    let TokenCommand::Issue(flags) = command;
    println!("{}", issue(flags)?);
    Ok(())
}

fn issue(flags: IssueFlags) -> anyhow::Result<String> {
    let subject = flags
        .subject
        .or_else(|| flags.terminal.as_ref().map(ToString::to_string))
        .or_else(|| flags.payer.as_ref().map(ToString::to_string))
        .unwrap_or_else(|| flags.role.to_string());
    let scope = Scope {
        center: flags.center.0,
        payer: flags.payer,
        terminal: flags.terminal,
    };
    let actor = Actor::new(subject, flags.role, scope).context("no token for this actor")?;
    let key = TokenKey::load_or_create(&flags.data_dir).context("token key")?;
    Ok(Issuer::new(key).issue(&actor, flags.ttl, flags.clock.clock().now())?)
}

/// A center, or none for all. A type of its own because clap takes an `Option` for an optional flag.
#[derive(Clone)]
struct Center(Option<CenterId>);

fn center(text: &str) -> Result<Center, custody_ledger::ids::IdError> {
    if text == ALL_CENTERS {
        Ok(Center(None))
    } else {
        CenterId::parse(text).map(|center| Center(Some(center)))
    }
}

fn ttl(text: &str) -> Result<Duration, String> {
    let wrong = || "a lifetime is a whole number and a unit (s, m, h or d), such as 90m".to_owned();
    let unit = text.chars().last().ok_or_else(wrong)?;
    let unit_seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => return Err(wrong()),
    };
    let count: u32 = text[..text.len() - unit.len_utf8()].parse().map_err(|_| wrong())?;
    Ok(Duration::seconds(i64::from(count) * unit_seconds))
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::Cli;

    #[test]
    fn lifetimes() {
        assert_eq!(ttl("90m"), Ok(Duration::minutes(90)));
        assert_eq!(ttl("2d"), Ok(Duration::days(2)));
        for text in ["", "h", "1", "-1h", "1.5h", "1w", "1時", "99999999999s"] {
            assert!(ttl(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn the_command_line_is_consistent() {
        <Cli as clap::CommandFactory>::command().debug_assert();
        let dev_clock_alone = [
            "custody",
            "token",
            "issue",
            "--role",
            "admin",
            "--center",
            "*",
            "--dev-clock",
            "2026-01-01T00:00:00Z",
        ];
        assert!(Cli::try_parse_from(dev_clock_alone).is_err());
        assert!(Cli::try_parse_from(["custody", "token", "issue", "--role", "admin", "--center", "*"]).is_ok());
        assert!(Cli::try_parse_from(["custody", "token", "issue", "--role", "root", "--center", "*"]).is_err());
    }
}
