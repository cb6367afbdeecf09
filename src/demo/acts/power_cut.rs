//! The service is killed while four terminals sell, is started again, and nothing is lost or doubled.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use tokio::{
    sync::{Notify, watch},
    task::JoinSet,
};
use tonic::{Code, Status};

use super::{Bought, Play, balances, buy::purchase_of};
use crate::{
    api::grpc::is_replay,
    demo::{
        books::{Basket, Verdict},
        cast::{HOUSES, called, center_name, detainee_name},
        check::{done, read, same},
        desk::{Desk, request_id},
        goods,
        tell::{self, Progress},
    },
    proto::{ListPurchasesRequest, ListStatementLinesRequest, StatementLine, TransactionKind},
};

/// Who buys what, where: a stamped envelope at a time, which counts against no limit.
const BUYERS: [(&str, &str, &str, &str); 4] = [
    ("lakeside", "L-T1", "D1003", "L209"),
    ("lakeside", "L-T2", "D1003", "L209"),
    ("greenhill", "G-T1", "D2002", "G206"),
    ("greenhill", "G-T2", "D2002", "G206"),
];
/// How many purchases each terminal makes.
const EACH: u64 = 30;
/// The service is killed when so many were acknowledged.
const KILL_AFTER: u64 = 40;
/// The pause between two purchases of a terminal, in milliseconds: people choose.
const PAUSE_MS: u64 = 3;
/// How long a terminal waits for an answer, in milliseconds.
const ANSWER_MS: u64 = 5_000;
/// The pause before a terminal asks again, in milliseconds.
const AGAIN_MS: u64 = 50;
/// How long a terminal goes on asking for one purchase, in seconds.
const PATIENCE_S: u64 = 90;

/// What one terminal has seen.
struct Seen {
    bought: Vec<Bought>,
    /// Purchases whose first request was not answered.
    unanswered: u32,
    /// Those of them that had been recorded all the same.
    recorded: u32,
}

/// Plays it.
pub async fn play(play: &mut Play) -> anyhow::Result<()> {
    tell::act(11, "The power is cut", "断电");
    let all = EACH * u64::try_from(BUYERS.len())?;
    tell::say(format!(
        "Everybody writes home: {all} stamped envelopes 信封邮票 from four terminals, and in the midst:"
    ));
    let progress = Progress::of(all, "purchases");
    let now = Arc::new(Notify::new());
    let mut terminals = JoinSet::new();
    let mut announce = Vec::new();
    for buyer in BUYERS {
        let (seat, seats) = watch::channel(play.stage.terminal(buyer.0, buyer.1)?);
        announce.push((buyer, seat));
        terminals.spawn(terminal(seats, buyer, progress.clone(), now.clone()));
    }
    let deadline = Duration::from_secs(PATIENCE_S);
    tokio::time::timeout(deadline, now.notified())
        .await
        .context("the terminals do not sell")?;
    let process = play.stage.kill_service().await?;
    let killed = Instant::now();
    progress.write(format!("   kill -9 {process}, the service 强制断电"));
    play.stage.start_service().await?;
    progress.write(format!(
        "   started again 重启, ready after {} ms",
        killed.elapsed().as_millis()
    ));
    for ((center, terminal, ..), seat) in &announce {
        seat.send_replace(play.stage.terminal(center, terminal)?);
    }
    let mut seen = Vec::new();
    while let Some(terminal) = terminals.join_next().await {
        seen.push(terminal??);
    }
    progress.end();
    let unanswered: u32 = seen.iter().map(|seen| seen.unanswered).sum();
    let recorded: u32 = seen.iter().map(|seen| seen.recorded).sum();
    if unanswered == 0 {
        bail!("the service was killed while terminals sold: expected requests without an answer, but there was none");
    }
    tell::say(format!(
        "{unanswered} requests had no answer and were sent again under the same request id: {recorded} had been recorded \
         before the cut, {} had not.",
        unanswered - recorded
    ));
    let before = play.bought.len();
    play.bought.extend(seen.into_iter().flat_map(|seen| seen.bought));
    same("acknowledged purchases", all, play.bought.len() - before)?;
    for bought in &play.bought[before..] {
        let verdict = play.books.order(bought.detainee, &bought.lines)?;
        if let Verdict::Refused(reason) = verdict {
            bail!(
                "{} was sold to {}, who should have been refused for {reason}",
                bought.name,
                bought.detainee
            );
        }
    }
    exactly_once(play).await
}

/// A terminal that writes each request id down before it sends, and asks again until it has an answer.
async fn terminal(
    mut seats: watch::Receiver<Desk>,
    (center, terminal, detainee, product): (&'static str, &'static str, &'static str, &'static str),
    progress: Progress,
    now: Arc<Notify>,
) -> anyhow::Result<Seen> {
    let product = goods::product(product).context("no such product")?;
    let lines: Basket = vec![(product, 1)];
    let mut seen = Seen {
        bought: Vec::new(),
        unanswered: 0,
        recorded: 0,
    };
    for number in 0..EACH {
        let request_id = request_id(&["envelope", terminal, &number.to_string()]);
        let (name, is_repeated, replayed) = ask(&mut seats, center, detainee, &lines, &request_id).await?;
        seen.unanswered += u32::from(is_repeated);
        seen.recorded += u32::from(replayed);
        if replayed && !is_repeated {
            bail!("{name}: expected a new purchase, but it is replayed");
        }
        seen.bought.push(Bought {
            center,
            terminal,
            detainee,
            name,
            request_id,
            lines: lines.clone(),
        });
        if progress.step() == KILL_AFTER {
            now.notify_one();
        }
        tokio::time::sleep(Duration::from_millis(PAUSE_MS)).await;
    }
    Ok(seen)
}

/// Asks for one purchase until it is answered: its name, whether it was asked for more than once, and whether the answer
/// is a replay.
async fn ask(
    seats: &mut watch::Receiver<Desk>,
    center: &str,
    detainee: &str,
    lines: &Basket,
    request_id: &str,
) -> anyhow::Result<(String, bool, bool)> {
    let until = Instant::now() + Duration::from_secs(PATIENCE_S);
    let mut is_repeated = false;
    loop {
        let mut client = seats.borrow_and_update().commissary();
        let order = purchase_of(center, detainee, lines, request_id.to_owned());
        let answer = tokio::time::timeout(Duration::from_millis(ANSWER_MS), client.create_purchase(order)).await;
        match answer {
            Ok(Ok(answer)) => {
                let replayed = is_replay(&answer);
                return Ok((answer.into_inner().name, is_repeated, replayed));
            }
            Ok(Err(status)) if !is_silence(&status) => {
                bail!(
                    "purchase {request_id}: expected an answer or none, but it is {}",
                    read(&status)
                )
            }
            Ok(Err(_)) | Err(_) if Instant::now() > until => {
                bail!("purchase {request_id}: no answer in {PATIENCE_S} s")
            }
            Ok(Err(_)) | Err(_) => {}
        }
        is_repeated = true;
        tokio::time::sleep(Duration::from_millis(AGAIN_MS)).await;
    }
}

/// Whether a status says that nothing was heard, so that nothing is known.
fn is_silence(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::Unavailable | Code::Unknown | Code::Cancelled | Code::Internal
    )
}

/// Every acknowledged purchase of both days is there once, and nothing else is: by the list, and by the statements.
async fn exactly_once(play: &Play) -> anyhow::Result<()> {
    let mut rows = Vec::new();
    for house in &HOUSES {
        let listed = listed(play, house.id).await?;
        let mut ours = play.bought.iter().filter(|bought| bought.center == house.id);
        let acknowledged = ours.clone().count();
        same(format!("purchases of {}", house.id), acknowledged, listed.len())?;
        if let Some(lost) = ours.find(|bought| listed.get(&bought.request_id) != Some(&bought.name)) {
            bail!(
                "{} was acknowledged, but {} is not listed under it",
                lost.name,
                lost.request_id
            );
        }
        let auditor = play.stage.auditor()?;
        for person in house.detainees {
            let statement = statement(play, house.id, person.id).await?;
            let bought = play.bought.iter().filter(|bought| bought.detainee == person.id).count();
            // A purchase from two vendors has two lines.
            let on_statement: BTreeSet<i64> = statement
                .iter()
                .filter(|line| line.kind() == TransactionKind::Purchase)
                .map(|line| line.seq)
                .collect();
            let on_statement = on_statement.len();
            same(format!("purchases on {}'s statement", person.id), bought, on_statement)?;
            balances(&play.books, &auditor, house.id, person.id).await?;
            rows.push([
                called(person.id),
                bought.to_string(),
                on_statement.to_string(),
                play.books.page(person.id)?.available.to_string(),
            ]);
        }
    }
    tell::say("Every acknowledged purchase is there exactly once:");
    let head = [
        "detainee 在押人员",
        "acknowledged 已应答",
        "on the statement 对账单",
        "available 可用",
    ];
    tell::table(head, &[1, 2, 3], rows);
    Ok(())
}

/// All purchases of a center, by request id.
async fn listed(play: &Play, center: &str) -> anyhow::Result<BTreeMap<String, String>> {
    let auditor = play.stage.auditor()?;
    let mut request = ListPurchasesRequest {
        parent: center_name(center),
        page_size: 100,
        ..ListPurchasesRequest::default()
    };
    let mut listed = BTreeMap::new();
    loop {
        let page = done("purchases", auditor.commissary().list_purchases(request.clone()).await)?;
        for purchase in page.purchases {
            if let Some(first) = listed.insert(purchase.request_id, purchase.name.clone()) {
                bail!("{} and {first} were made by one request", purchase.name);
            }
        }
        if page.next_page_token.is_empty() {
            return Ok(listed);
        }
        request.page_token = page.next_page_token;
    }
}

async fn statement(play: &Play, center: &str, detainee: &str) -> anyhow::Result<Vec<StatementLine>> {
    let auditor = play.stage.auditor()?;
    let mut request = ListStatementLinesRequest {
        parent: detainee_name(center, detainee),
        page_size: 100,
        ..ListStatementLinesRequest::default()
    };
    let mut lines = Vec::new();
    loop {
        let page = done(
            "statement",
            auditor.custody().list_statement_lines(request.clone()).await,
        )?;
        lines.extend(page.statement_lines);
        if page.next_page_token.is_empty() {
            return Ok(lines);
        }
        request.page_token = page.next_page_token;
    }
}
