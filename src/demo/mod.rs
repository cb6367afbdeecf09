//! The demonstration: the main job end to end, on the real program, told as a story of two days.
//!
//! # Layout
//! - `stage`: the service and the gateway's simulator, in processes of their own.
//! - `desk`: somebody with a token and a connection. `cast`, `goods`: who plays, and what is sold.
//! - `acts`: what happens, one file an act. `shopping`: the two hundred orders of the first day.
//! - `books`: the demonstration's own books; `check`: what is shown was compared with them.
//! - `tell`: headings, tables, progress.
//!
//! Everything goes through the sockets of the two processes, each call with the token of the role that makes it. Names, sums
//! and request ids are always the same; only times, ports and what a power cut hits are not.

mod acts;
mod books;
mod cast;
mod check;
mod desk;
mod goods;
mod shopping;
mod stage;
mod tell;

use std::{collections::BTreeMap, path::PathBuf, process::ExitCode};

use anyhow::{Context as _, bail};
use time::{OffsetDateTime, macros::datetime};
use tokio::signal::unix::{SignalKind, signal};

use acts::Play;
use books::Books;
use stage::Stage;

/// The first day and the second, in the centers' time zone, and when the story begins on each.
const TODAY: &str = "2026-11-23";
const TOMORROW: &str = "2026-11-24";
const MORNING: OffsetDateTime = datetime!(2026-11-23 09:00 +8);
const NEXT_MORNING: OffsetDateTime = datetime!(2026-11-24 09:00 +8);

/// What the demonstration can be told.
#[derive(Debug, Clone, clap::Args)]
pub struct DemoFlags {
    /// Keep the service's data in this directory, which must be empty or new. By default it is removed at the end.
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
}

/// Plays it. The exit code tells whether everything was as it should be.
///
/// # Errors
/// The stage cannot be set or cleared. What goes wrong in the story itself is told, and the exit code is 1.
pub async fn run(flags: DemoFlags) -> anyhow::Result<ExitCode> {
    let mut play = Play {
        stage: Stage::prepare(flags.keep.clone(), MORNING)?,
        books: Books::open()?,
        remitted: Vec::new(),
        bought: Vec::new(),
        refunds: BTreeMap::new(),
    };
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let told = tokio::select! {
        told = story(&mut play) => told,
        _ = interrupt.recv() => Err(anyhow::anyhow!("interrupted")),
        _ = terminate.recv() => Err(anyhow::anyhow!("told to stop")),
    };
    let last_words = if told.is_err() {
        play.stage.last_words()
    } else {
        String::new()
    };
    let closed = play.stage.close().await;
    match told.and_then(|proof| closed.context("clearing the stage").map(|()| proof)) {
        Ok(proof) => {
            if let Some(directory) = flags.keep {
                tell::say(format!("The data stays in {}.", directory.display()));
            }
            tell::write(format!("\nproof holds: {proof}"));
            Ok(ExitCode::SUCCESS)
        }
        Err(surprise) => {
            if !last_words.is_empty() {
                eprintln!("the last lines of the log:\n{last_words}");
            }
            eprintln!("custody demo: {surprise:#}");
            Ok(ExitCode::FAILURE)
        }
    }
}

async fn story(play: &mut Play) -> anyhow::Result<String> {
    tell::say("custody: a cashless detention-center ledger · 监所无现金账务");
    let gateway = play.stage.start_simulator().await?.to_owned();
    let service = play.stage.start_service().await?.to_owned();
    tell::say(format!(
        "The service is on {service} with a PostgreSQL of its own, simulated gateways (WeChat Pay 微信支付, Alipay 支付宝, \
         and one with webhooks) on {gateway}. It is {TODAY}."
    ));
    acts::open::play(play).await?;
    acts::remit::play(play).await?;
    acts::buy::play(play).await?;
    acts::give_back::play(play).await?;
    acts::refund::play(play).await?;
    acts::release::play(play).await?;
    acts::storm::play(play).await?;
    acts::review::play(play).await?;
    next_day(play).await?;
    acts::settle::play(play).await?;
    acts::bill::play(play).await?;
    acts::power_cut::play(play).await?;
    acts::orders::play(play).await?;
    acts::till::play(play).await?;
    acts::leave::play(play).await?;
    acts::transfer::play(play).await?;
    let proof = acts::proof::play(play).await?;
    match play.stage.errors()?.first() {
        Some(error) => bail!("everything was as it should be, but an error was logged: {error}"),
        None => Ok(proof),
    }
}

/// The service is stopped as an operator does it, and started again in the morning.
async fn next_day(play: &mut Play) -> anyhow::Result<()> {
    if play.stage.clock().now() >= NEXT_MORNING {
        bail!("the first day took until the next morning");
    }
    play.stage.stop_service().await?;
    play.stage.turn_clock(NEXT_MORNING).await?;
    play.stage.start_service().await?;
    tell::say(format!(
        "\nNight falls 入夜. The service is stopped, and started again. It is {TOMORROW}."
    ));
    Ok(())
}
