//! `custody token issue`: signs a token with the key in the data directory and prints it.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::Subcommand;
use custody_ledger::access::{Actor, ActorError, Issuer, Role, Scope, TokenKey};
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
    /// The data directory of the service, which holds the key. `custody serve` makes the key when it first starts.
    #[arg(
        long,
        value_name = "DIR",
        env = "CUSTODY_SERVER_DATA_DIR",
        default_value = "./custody-data"
    )]
    data_dir: PathBuf,
    /// admin, finance, commissary, terminal, payer or auditor. Detainees get theirs by signing in at a terminal.
    #[arg(long, value_name = "ROLE")]
    role: Role,
    /// The center that the token is confined to; `*` for all, which only admins and auditors can be given.
    #[arg(long, value_name = "CENTER", value_parser = center)]
    center: Center,
    /// The person or device. By default the terminal, the payer or the role.
    #[arg(long, value_name = "NAME")]
    subject: Option<String>,
    /// The payer that the token stands for; with the role payer only. By default the subject.
    #[arg(long, value_name = "PAYER", value_parser = PayerId::parse)]
    payer: Option<PayerId>,
    /// The terminal that the token stands for; with the role terminal only. By default the subject.
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
    let now = flags.clock.clock().now();
    let (ttl, data_dir) = (flags.ttl, flags.data_dir.clone());
    let actor = actor(flags)?;
    let key = TokenKey::load(&data_dir).context("--data-dir")?;
    Ok(Issuer::new(key).issue(&actor, ttl, now)?)
}

/// Whom the flags tell. The subject of a payer or a terminal is the payer or terminal where no flag of its own tells it, and
/// the other way round.
fn actor(flags: IssueFlags) -> anyhow::Result<Actor> {
    let IssueFlags { role, subject, .. } = flags;
    let (mut payer, mut terminal) = (flags.payer, flags.terminal);
    if payer.is_some() && role != Role::Payer {
        bail!("--payer goes with --role payer only, not with --role {role}");
    }
    if terminal.is_some() && role != Role::Terminal {
        bail!("--terminal goes with --role terminal only, not with --role {role}");
    }
    match (role, &subject) {
        (Role::Payer, Some(subject)) if payer.is_none() => {
            let same = "--subject is the payer, too, where no --payer is given";
            payer = Some(PayerId::parse(subject).context(same)?);
        }
        (Role::Terminal, Some(subject)) if terminal.is_none() => {
            let same = "--subject is the terminal, too, where no --terminal is given";
            terminal = Some(TerminalId::parse(subject).context(same)?);
        }
        _ => {}
    }
    let own = terminal.as_ref().map(ToString::to_string);
    let own = own.or_else(|| payer.as_ref().map(ToString::to_string));
    let subject = subject.or(own).unwrap_or_else(|| role.to_string());
    let scope = Scope {
        center: flags.center.0,
        payer,
        terminal,
    };
    Actor::new(subject, role, scope).map_err(|error| {
        let flag = match error {
            ActorError::Subject => "--subject",
            ActorError::NeedsCenter(_) => "--center",
            ActorError::Payer => "--payer or --subject",
            ActorError::Terminal => "--terminal or --subject",
            ActorError::Session => "--role",
        };
        anyhow::anyhow!("{flag}: {error}")
    })
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

    fn flags(words: &str) -> IssueFlags {
        let words = format!("custody token issue {words}");
        let cli = Cli::try_parse_from(words.split(' ')).unwrap_or_else(|error| panic!("{error}"));
        match cli.command {
            crate::cli::Command::Token(TokenCommand::Issue(flags)) => flags,
            _ => panic!("{words}"),
        }
    }

    #[test]
    fn a_payer_and_a_terminal_are_their_own_subjects() {
        for (words, name, subject) in [
            ("--role payer --center C1 --subject P1", "payer/P1", "P1"),
            ("--role payer --center C1 --payer P1", "payer/P1", "P1"),
            ("--role payer --center C1 --payer P1 --subject app", "payer/P1", "app"),
            ("--role terminal --center C1 --subject T1", "terminal/T1", "T1"),
            ("--role terminal --center C1 --terminal T1", "terminal/T1", "T1"),
            ("--role finance --center C1 --subject alice", "finance/alice", "alice"),
            ("--role admin --center *", "admin/admin", "admin"),
        ] {
            let actor = actor(flags(words)).unwrap();
            assert_eq!(
                (actor.name().as_str(), actor.subject.as_str()),
                (name, subject),
                "{words}"
            );
        }
    }

    #[test]
    fn what_is_wrong_names_the_flag() {
        for (words, flag) in [
            ("--role payer --center C1", "--payer"),
            ("--role terminal --center C1", "--terminal"),
            ("--role payer --center C1 --subject a/b", "--subject"),
            ("--role detainee --center C1", "--role"),
            ("--role finance --center C1 --subject a/b", "--subject"),
            ("--role finance --center *", "--center"),
            ("--role finance --center C1 --payer P1", "--payer"),
            ("--role payer --center C1 --payer P1 --terminal T1", "--terminal"),
        ] {
            let error = format!("{:#}", actor(flags(words)).unwrap_err());
            assert!(error.starts_with(flag), "{words}: {error}");
        }
    }

    #[test]
    fn no_key_is_made_here() {
        let directory = tempfile::tempdir().unwrap();
        let typo = directory.path().join("typo");
        let words = format!("--role admin --center * --data-dir {}", typo.display());
        let error = format!("{:#}", issue(flags(&words)).unwrap_err());
        assert!(
            error.contains("--data-dir: there is no key file") && error.contains("typo"),
            "{error}"
        );
        assert!(!typo.exists());
        TokenKey::load_or_create(&typo).unwrap();
        issue(flags(&words)).unwrap();
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
