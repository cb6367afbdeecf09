//! One verb, from the directory being taken to the exit code.

use std::process::ExitCode;

use anyhow::Context as _;
use time::{OffsetDateTime, format_description::BorrowedFormatItem, macros::format_description};

use super::{
    flags::{TerminalFlags, Told, Verb},
    home::Home,
    line::Line,
    shell,
    store::{Identity, Store},
    tell::{self, Ending},
};
use crate::clock::{Clock, Zone};

/// How times are printed.
const TIME: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day] [hour]:[minute]:[second] [offset_hour sign:mandatory]:[offset_minute]");

/// A terminal with its directory.
pub struct Till {
    pub home: Home,
    pub store: Store,
    pub flags: Told,
    clock: Clock,
    /// Who it is, and its connection; none before it was enrolled.
    identity: Option<(Identity, Line)>,
}

/// Does what was typed.
///
/// # Errors
/// The runtime cannot be started, or nobody reads what is told.
pub fn run(flags: TerminalFlags) -> anyhow::Result<ExitCode> {
    // The connection has a thread of its own, so that it lives while a shell waits for its user.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .context("starting the runtime")?;
    let json = flags.told.json;
    let ending = runtime.block_on(async {
        let mut till = Till::open(&flags)?;
        match &flags.verb {
            Verb::Shell => shell::run(&mut till).await,
            verb => till.run(verb).await,
        }
    });
    let ending = match ending {
        Ok(ending) => ending,
        Err(error) => {
            tell::undone(json, &error)?;
            Ending::Undone
        }
    };
    Ok(ExitCode::from(ending.code()))
}

impl Till {
    /// Takes the directory.
    fn open(flags: &TerminalFlags) -> anyhow::Result<Till> {
        let home = Home::take(&flags.dir)?;
        let store = Store::open(&home)?;
        let mut till = Till {
            home,
            store,
            flags: flags.told.clone(),
            clock: flags.told.clock(),
            identity: None,
        };
        till.identify()?;
        Ok(till)
    }

    /// Reads who it is, and with what it connects.
    pub fn identify(&mut self) -> anyhow::Result<()> {
        if let Some(identity) = self.store.identity()? {
            let line = Line::to(&identity, &self.home, self.flags.answer)?;
            self.identity = Some((identity, line));
        }
        Ok(())
    }

    /// Does one thing.
    pub async fn run(&mut self, verb: &Verb) -> anyhow::Result<Ending> {
        match verb {
            Verb::Enrol(enrol) => self.enrol(enrol).await,
            Verb::SignIn(sign_in) => self.sign_in(sign_in).await,
            Verb::ChangePin(from) => self.change_pin(from).await,
            Verb::SignOut => self.sign_out().await,
            Verb::Catalogue => self.catalogue().await,
            Verb::Balance(whose) => self.balance(whose).await,
            Verb::Sell(sell) => self.sell(sell).await,
            Verb::Resume(resume) => self.resume(resume).await,
            Verb::Offline(verb) => self.offline(verb).await,
            Verb::Queue => self.queue(),
            Verb::Receipts(which) => self.receipts(which),
            Verb::Shell => anyhow::bail!("this is a shell already"),
        }
    }

    /// Who the terminal is, and its connection.
    ///
    /// # Errors
    /// It was never enrolled.
    pub fn enrolled(&self) -> anyhow::Result<(&Identity, Line)> {
        let (identity, line) = self
            .identity
            .as_ref()
            .context("the terminal was not enrolled; see `enrol`")?;
        Ok((identity, line.clone().with(self.store.session()?)?))
    }

    /// The terminal's own time.
    pub fn time(&self) -> OffsetDateTime {
        self.clock.now()
    }

    /// The same, as it stands in the queue.
    pub fn now(&self) -> anyhow::Result<String> {
        self.printed_time(self.time())
    }

    /// A time of the ledger's, as it stands on receipts.
    pub fn ledger_time(&self, time: Option<&prost_types::Timestamp>) -> anyhow::Result<String> {
        let time = time.context("a purchase without a time")?;
        let nanos = i128::from(time.seconds) * 1_000_000_000 + i128::from(time.nanos);
        self.printed_time(OffsetDateTime::from_unix_timestamp_nanos(nanos)?)
    }

    fn printed_time(&self, time: OffsetDateTime) -> anyhow::Result<String> {
        let (identity, _) = self.enrolled()?;
        Ok(Zone::parse(&identity.time_zone)?.local(time).format(TIME)?)
    }
}
