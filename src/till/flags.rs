//! What a user types.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Subcommand};
use time::OffsetDateTime;

use crate::{
    clock::{Clock, Zone},
    ids::{CenterId, DetaineeId, RequestId, TerminalId},
    till::basket::Line,
};

/// `custody terminal`.
#[derive(Debug, Clone, Args)]
pub struct TerminalFlags {
    /// The terminal's directory: its keys, its queue and its receipts. One process uses it at a time.
    #[arg(long, value_name = "DIR", env = "CUSTODY_TERMINAL_DIR", default_value = "terminal")]
    pub dir: PathBuf,
    #[command(flatten)]
    pub told: Told,
    #[command(subcommand)]
    pub verb: Verb,
}

/// What holds for every verb, in a shell too.
#[derive(Debug, Clone, Args)]
pub struct Told {
    /// Tell everything as JSON, one object on a line of standard output.
    #[arg(long)]
    pub json: bool,
    /// Where receipts are printed: a device or a file, which is appended to. By default they are printed on standard output.
    #[arg(long, value_name = "PATH")]
    pub printer: Option<PathBuf>,
    /// How long to go on asking when nothing is heard, in seconds. What is open then stays in the queue.
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    pub wait: Duration,
    /// How long one answer may take, in seconds.
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = some_seconds)]
    pub answer: Duration,
    /// Allow what only developers may do.
    #[arg(long)]
    pub dev: bool,
    /// Take this for the time at the start (RFC 3339); only with --dev.
    #[arg(long, value_name = "TIME", requires = "dev", value_parser = crate::till::flags::time)]
    pub dev_clock: Option<OffsetDateTime>,
}

impl Told {
    /// The terminal's own clock, which decides nothing about a sale that the service records.
    pub fn clock(&self) -> Clock {
        self.dev_clock.map_or_else(Clock::system, Clock::starting_at)
    }
}

/// What a terminal can be told to do.
#[derive(Debug, Clone, Subcommand)]
pub enum Verb {
    /// Tell the terminal which service it sells for, and who it is there.
    Enrol(Enrol),
    /// Sign a detainee in with card and PIN. What is the detainee's is asked for in that session until `sign-out`.
    SignIn(SignIn),
    /// Set another PIN for whoever is signed in.
    ChangePin(PinFrom),
    /// End the session of whoever is signed in.
    SignOut,
    /// Show what is on sale, and keep the products' names for receipts.
    Catalogue,
    /// Show a detainee's balances, and what of the month's limit is spent.
    Balance(Whose),
    /// Sell goods, and print the receipt.
    ///
    /// The sale is written down with its request id before it is sent, and is asked for under that id until its outcome is known.
    /// What is open from before is finished first. If that is the same sale (as when the power was cut and the command is typed
    /// again) it is not sold a second time, unless --request-id tells the two apart.
    Sell(Sell),
    /// Sell without the network, within money that was set aside for this terminal before.
    #[command(subcommand)]
    Offline(Offline),
    /// Finish what is in the queue, and print what has not been printed.
    Resume(Resume),
    /// Show the queue: what is open, and what became of the rest.
    Queue,
    /// Show the receipts, or print one again as a copy.
    Receipts(Receipts),
    /// Type the same verbs one after the other; `help` tells them, `exit` or the end of the input ends it.
    Shell,
}

/// The service and the terminal's place there.
#[derive(Debug, Clone, Args)]
#[command(group = clap::ArgGroup::new("credential").required(true).args(["terminal_server", "token_file"]))]
pub struct Enrol {
    /// Where the service is, for example http://127.0.0.1:7443.
    #[arg(long, value_name = "URL")]
    pub server: String,
    /// The center it sells in.
    #[arg(long, value_name = "CENTER", value_parser = CenterId::parse)]
    pub center: CenterId,
    /// Its own name there.
    #[arg(long, value_name = "TERMINAL", value_parser = TerminalId::parse)]
    pub terminal: TerminalId,
    /// The one-time code that an administrator was shown. The terminal makes a key of its own and gets a certificate for it.
    #[arg(long, value_name = "CODE")]
    pub code: Option<String>,
    /// Where the service listens for terminals with a certificate, for example https://127.0.0.1:7444. From then on the terminal
    /// calls there, and needs no token.
    #[arg(long, value_name = "URL", requires = "code")]
    pub terminal_server: Option<String>,
    /// SHA-256 of the authority's certificate, as the administrator was shown it with the code: it makes sure of the service.
    #[arg(long, value_name = "HEX", requires = "code")]
    pub authority: Option<String>,
    /// Instead of a certificate: a file with a token of role terminal (`custody token issue`), or - for standard input.
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// The time zone that receipts are printed in.
    #[arg(long, value_name = "ZONE", default_value = "Asia/Shanghai", value_parser = Zone::parse)]
    pub time_zone: Zone,
}

/// A card.
#[derive(Debug, Clone, Args)]
pub struct SignIn {
    /// The card's number.
    #[arg(long, value_name = "NUMBER")]
    pub card: String,
    #[command(flatten)]
    pub from: PinFrom,
}

/// Where PINs come from: by default the keyboard, where they are not shown.
#[derive(Debug, Clone, Args)]
pub struct PinFrom {
    /// Read from this file descriptor, a line for each PIN (for `change-pin` the old one, then the new one).
    #[arg(long, value_name = "NUMBER")]
    pub pin_fd: Option<u16>,
    /// The same from standard input.
    #[arg(long, conflicts_with = "pin_fd")]
    pub pin_stdin: bool,
}

/// Whose money it is about.
#[derive(Debug, Clone, Args)]
pub struct Whose {
    /// The detainee. By default whoever is signed in.
    #[arg(long, value_name = "DETAINEE", value_parser = DetaineeId::parse)]
    pub detainee: Option<DetaineeId>,
}

/// A sale.
#[derive(Debug, Clone, Args)]
pub struct Sell {
    #[command(flatten)]
    pub whose: Whose,
    /// The request id, for scripts that keep one of their own: however often the same sale is told under it, it is one sale.
    #[arg(long, value_name = "UUID", value_parser = RequestId::parse)]
    pub request_id: Option<RequestId>,
    /// What: a product, or a product and how many, for example RICE*3 (quote the star in a shell, or write RICEx3 or RICE:3).
    #[arg(value_name = "PRODUCT*COUNT", required = true, num_args = 1..=50, value_parser = Line::parse)]
    pub lines: Vec<Line>,
}

/// Selling without the network. The terminal has to be enrolled with a code: it signs what it sells with its key.
#[derive(Debug, Clone, Subcommand)]
pub enum Offline {
    /// Have money of a detainee set aside for this terminal, and learn the prices.
    Reserve(Reserve),
    /// Sell within it, and print the receipt. Nothing is sent.
    Sell(OfflineSell),
    /// Bring in what was sold; each sale is told what became of it.
    ///
    /// Exit code 3: the network broke; `offline upload` goes on with the first sale without an answer. 4: a sale was refused, or the
    /// terminal was turned away; people of finance look at it.
    Upload,
    /// Bring in what was sold and end the allowances: what was not sold is the detainees' again.
    End,
    /// Show allowances and sales.
    List,
}

/// What is to be set aside.
#[derive(Debug, Clone, Args)]
pub struct Reserve {
    #[command(flatten)]
    pub whose: Whose,
    /// How much, in the center's currency.
    #[arg(long, value_name = "AMOUNT")]
    pub amount: String,
    /// For how long, in hours.
    #[arg(long, value_name = "HOURS", default_value = "8", value_parser = clap::value_parser!(u8).range(1..=168))]
    pub hours: u8,
}

/// A sale without the network.
#[derive(Debug, Clone, Args)]
pub struct OfflineSell {
    #[command(flatten)]
    pub whose: Whose,
    /// What: a product, or a product and how many, for example RICE*3.
    #[arg(value_name = "PRODUCT*COUNT", required = true, num_args = 1..=50, value_parser = Line::parse)]
    pub lines: Vec<Line>,
}

/// What is to be done with what is open.
#[derive(Debug, Clone, Args)]
pub struct Resume {
    /// Give up what is turned away at the door and has, by the word of the ledger, never been recorded.
    #[arg(long)]
    pub give_up: bool,
}

/// Which receipts.
#[derive(Debug, Clone, Args)]
pub struct Receipts {
    /// Print this one again, as a copy.
    #[arg(long, value_name = "NUMBER")]
    pub copy: Option<u64>,
}

fn seconds(text: &str) -> Result<Duration, String> {
    const SECONDS_MAX: u64 = 86_400;
    match text.parse::<u64>() {
        Ok(seconds @ 0..=SECONDS_MAX) => Ok(Duration::from_secs(seconds)),
        _ => Err(format!("whole seconds, 0 to {SECONDS_MAX}")),
    }
}

/// The same, but no answer comes in no time.
fn some_seconds(text: &str) -> Result<Duration, String> {
    seconds(text).and_then(|told| {
        if told.is_zero() {
            Err("at least 1".to_owned())
        } else {
            Ok(told)
        }
    })
}

/// Reads a time as RFC 3339 writes it.
fn time(text: &str) -> Result<OffsetDateTime, String> {
    OffsetDateTime::parse(text, &time::format_description::well_known::Rfc3339).map_err(|error| error.to_string())
}
