//! A terminal that is a program of its own sells through a cut: the service is gone, the terminal is killed, and each sale is made
//! once and has one receipt.

use std::{path::PathBuf, process::Stdio, time::Duration};

use anyhow::{Context as _, bail};
use serde_json::Value;
use time::format_description::well_known::Rfc3339;

use super::{Bought, Play, balances};
use crate::{
    clock::Clock,
    demo::{
        books::{Basket, Verdict, cny, money},
        cast::{called, center_name},
        check::{done, same},
        goods,
        tell::{self, write},
    },
    launch,
    proto::{CreateEnrolmentCodeRequest, CreateTerminalRequest, OfflineSettings, UpdateOfflineSettingsRequest},
};

/// Where, which terminal, who buys, and what: a stamped envelope, which counts against no limit.
const CENTER: &str = "lakeside";
const TERMINAL: &str = "L-T3";
const DETAINEE: &str = "D1003";
const PRODUCT: &str = "L209";
/// What is set aside for sales without the network.
const SET_ASIDE: &str = "9.60";
/// How long the terminal tries before it is killed, in milliseconds.
const TRIES_MS: u64 = 700;

/// The terminal's program.
struct Till {
    directory: PathBuf,
    clock: Clock,
}

impl Till {
    fn command(&self, arguments: &[&str]) -> anyhow::Result<tokio::process::Command> {
        let mut command = launch::own("terminal")?;
        let now = self.clock.now().format(&Rfc3339)?;
        command
            .args(["--json", "--dev", "--dev-clock", &now, "--dir"])
            .arg(&self.directory)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true);
        Ok(command)
    }

    /// Does something that has to be done; what the terminal tells of it.
    async fn run(&self, arguments: &[&str]) -> anyhow::Result<Vec<Value>> {
        let output = self.command(arguments)?.output().await?;
        let text = String::from_utf8(output.stdout)?;
        if !output.status.success() {
            bail!("custody terminal {}: {} {text}", arguments.join(" "), output.status);
        }
        text.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
    }

    /// The receipt that a verb printed, which has to be an original.
    async fn receipt(&self, arguments: &[&str]) -> anyhow::Result<Value> {
        let told = self.run(arguments).await?;
        let mut receipts = told.into_iter().filter(|told| told["receipt"].is_object());
        let told = receipts.next().context("no receipt")?;
        same("receipts of one sale", 0, receipts.count())?;
        same("whether the receipt is a copy", false, &told["receipt"]["is_copy"])?;
        Ok(told["receipt"].clone())
    }
}

/// Plays it.
pub async fn play(play: &mut Play) -> anyhow::Result<()> {
    tell::act(13, "A terminal sells through a cut", "断网售货");
    let till = enrol(play).await?;
    let who = called(DETAINEE);
    tell::say(format!(
        "`custody terminal` is terminal {TERMINAL} now, with a key of its own. {SET_ASIDE} of {who} are set aside for it."
    ));
    let process = play.stage.kill_service().await?;
    tell::say(format!(
        "The service is gone (kill -9 {process}). {who} buys an envelope:"
    ));
    let basket = format!("{PRODUCT}*1");
    let mut selling = till.command(&["sell", "--detainee", DETAINEE, &basket])?.spawn()?;
    tokio::time::sleep(Duration::from_millis(TRIES_MS)).await;
    let process = selling.id().context("the terminal gave up")?;
    selling.kill().await?;
    write(format!(
        "   it is asked for again and again; then kill -9 {process}, the terminal, too 终端断电"
    ));
    let two = format!("{PRODUCT}*2");
    let offline = till.receipt(&["offline", "sell", "--detainee", DETAINEE, &two]).await?;
    tell::say("Without the network it sells within what is set aside, signs and numbers it:");
    show(&offline);
    play.stage.start_service_again().await?;
    tell::say(
        "The service is back. The terminal finishes what was open, under the request id that it had written down:",
    );
    let finished = till.receipt(&["resume"]).await?;
    show(&finished);
    bring_in(&till).await?;
    account(play, &finished, &offline)?;
    balances(&play.books, &play.stage.auditor()?, CENTER, DETAINEE).await?;
    tell::say(format!(
        "Both are in the ledger once, what was not sold is {who}'s again: {} available.",
        play.books.page(DETAINEE)?.available
    ));
    Ok(())
}

/// The terminal is made, enrolled by its code, and has money set aside.
async fn enrol(play: &Play) -> anyhow::Result<Till> {
    let admin = play.stage.admin()?;
    let create = CreateTerminalRequest {
        parent: center_name(CENTER),
        terminal_id: TERMINAL.to_owned(),
        display_name: "Wing C".to_owned(),
    };
    let made = done("the terminal", admin.terminal().create_terminal(create).await)?;
    let code = CreateEnrolmentCodeRequest { name: made.name };
    let code = done("its code", admin.terminal().create_enrolment_code(code).await)?;
    let settings = OfflineSettings {
        name: format!("{}/offlineSettings", center_name(CENTER)),
        allowance_max: money("20.00"),
        hours_max: 24,
        report_hours: 24,
        ..OfflineSettings::default()
    };
    let settings = UpdateOfflineSettingsRequest {
        settings: Some(settings),
        reason: "the line to wing C breaks".to_owned(),
    };
    done(
        "offline settings",
        admin.offline_sales().update_offline_settings(settings).await,
    )?;
    let till = Till {
        directory: play.stage.directory().join("till"),
        clock: play.stage.clock(),
    };
    let token = play.stage.directory().join("till.token");
    std::fs::write(&token, play.stage.terminal_token(CENTER, TERMINAL)?)?;
    let token = token.to_str().context("a path that is no text")?;
    let server = play.stage.service_url()?;
    let place = ["enrol", "--server", &server, "--center", CENTER, "--terminal", TERMINAL];
    let credential = [
        "--code",
        &code.code,
        "--authority",
        &code.authority_sha256,
        "--token-file",
        token,
    ];
    till.run(&[&place[..], &credential].concat()).await?;
    till.run(&["offline", "reserve", "--detainee", DETAINEE, "--amount", SET_ASIDE])
        .await?;
    Ok(till)
}

async fn bring_in(till: &Till) -> anyhow::Result<()> {
    let told = till.run(&["offline", "end"]).await?;
    let brought: Vec<&Value> = told.iter().filter(|told| told["outcome"] == "brought_in").collect();
    same("sales that were brought in", 1, brought.len())?;
    for sale in brought {
        let state = sale["about"]["state"].as_str().unwrap_or_default();
        same("what became of the sale without the network", "CAPTURED", state)?;
        write(format!(
            "   sale {} of {}: {state} 已入账",
            sale["number"], sale["total"]
        ));
    }
    Ok(())
}

/// The books know both sales.
fn account(play: &mut Play, finished: &Value, offline: &Value) -> anyhow::Result<()> {
    let product = goods::product(PRODUCT).context("no such product")?;
    for (receipt, quantity) in [(finished, 1), (offline, 2)] {
        let lines: Basket = vec![(product, quantity)];
        let Verdict::Sold {
            total, available_after, ..
        } = play.books.order(DETAINEE, &lines)?
        else {
            bail!("{DETAINEE} cannot buy {quantity} of {PRODUCT}");
        };
        let slip = &receipt["slip"];
        same("the receipt's total", total, slip["total"].as_str().unwrap_or_default())?;
        if let Some(transaction) = slip["transaction"].as_str() {
            // What is set aside is not available meanwhile.
            let available = available_after.checked_sub(cny(SET_ASIDE)?)?;
            same(
                "the receipt's balance",
                available,
                slip["available_after"].as_str().unwrap_or_default(),
            )?;
            play.bought.push(Bought {
                center: CENTER,
                terminal: TERMINAL,
                detainee: DETAINEE,
                name: format!("{}/purchases/{transaction}", center_name(CENTER)),
                request_id: slip["request_id"].as_str().unwrap_or_default().to_owned(),
                lines,
            });
        }
    }
    Ok(())
}

fn show(receipt: &Value) {
    for line in receipt["text"].as_str().unwrap_or_default().lines() {
        write(format!("     {line}"));
    }
}
