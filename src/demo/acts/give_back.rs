//! Goods come back: money, and the month's headroom, go back with them.

use anyhow::Context as _;

use super::{Bought, Play, balances};
use crate::{
    demo::{
        books::text,
        cast::{both, called, center_name},
        check::{done, done_once, refused, same},
        desk::request_id,
        tell,
    },
    proto::{CreateReturnLine, CreateReturnRequest, GetPurchaseRequest},
};

/// Who gives something back, and why.
const RETURNS: [(&str, &str); 3] = [
    ("D1001", "包装破损 torn packaging"),
    ("D1002", "已过期 past its date"),
    ("D2002", "送错货 not what was ordered"),
];

/// Plays it.
pub async fn play(play: &mut Play) -> anyhow::Result<()> {
    tell::act(4, "Goods come back", "退货");
    let mut rows = Vec::new();
    for (detainee, reason) in RETURNS {
        rows.push(give_back(play, detainee, reason).await?);
    }
    let head = [
        "detainee 在押人员",
        "purchase 原单",
        "goods 商品",
        "back 退",
        "CNY 金额",
        "available 可用",
        "reason 原因",
    ];
    tell::table(head, &[3, 4, 5], rows);
    too_much(play).await
}

/// The first purchase of somebody of which a line has a counted product.
fn purchase_of<'a>(play: &'a Play, detainee: &str) -> anyhow::Result<&'a Bought> {
    let mut bought = play.bought.iter().filter(|bought| bought.detainee == detainee);
    let is_counted = |bought: &&Bought| bought.lines.first().is_some_and(|(product, _)| product.is_counted());
    bought
        .find(is_counted)
        .with_context(|| format!("{detainee} has bought nothing"))
}

fn request(bought: &Bought, quantity: i32, reason: &str, id: &str) -> CreateReturnRequest {
    CreateReturnRequest {
        parent: center_name(bought.center),
        purchase: bought.name.clone(),
        lines: vec![CreateReturnLine { line: 1, quantity }],
        reason: reason.to_owned(),
        request_id: request_id(&["return", bought.detainee, id]),
        authorised_by: String::new(),
    }
}

async fn give_back(play: &mut Play, detainee: &str, reason: &str) -> anyhow::Result<[String; 7]> {
    let bought = purchase_of(play, detainee)?.clone();
    let (product, _) = *bought.lines.first().context("a purchase without lines")?;
    let terminal = play.stage.terminal(bought.center, bought.terminal)?;
    let returned = done(
        "return",
        terminal
            .commissary()
            .create_return(request(&bought, 1, reason, "1"))
            .await,
    )?;
    let amount = play.books.take_back(detainee, product, 1)?;
    same("what comes back costs", amount, text(returned.total.as_ref()))?;
    let page = play.books.page(detainee)?;
    same(
        "balance after the return",
        page.available,
        text(returned.available_after.as_ref()),
    )?;
    // The terminal has lost the answer and asks again.
    let again = terminal
        .commissary()
        .create_return(request(&bought, 1, reason, "1"))
        .await;
    let (again, replayed) = done_once("the same return again", again)?;
    same("the same return again is replayed", true, replayed)?;
    same("the same return", &returned.name, again.name)?;
    balances(&play.books, &terminal, bought.center, detainee).await?;
    Ok([
        called(detainee),
        bought.name.rsplit('/').next().unwrap_or_default().to_owned(),
        both(product.name, product.name_zh),
        "1".to_owned(),
        amount.to_string(),
        text(returned.available_after.as_ref()),
        reason.to_owned(),
    ])
}

/// What was given back cannot be given back again.
async fn too_much(play: &Play) -> anyhow::Result<()> {
    let bought = purchase_of(play, "D1002")?;
    let (_, quantity) = *bought.lines.first().context("a purchase without lines")?;
    let terminal = play.stage.terminal(bought.center, bought.terminal)?;
    let again = request(bought, i32::try_from(quantity)?, "再退一次 once more", "2");
    let answer = terminal.commissary().create_return(again).await;
    let (_, why) = refused("more than was bought", "RETURN_EXCEEDS_PURCHASE", answer)?;
    tell::say(format!(
        "{} wants to give the whole line back once more. Refused: {why}",
        called("D1002")
    ));
    let request = GetPurchaseRequest {
        name: bought.name.clone(),
    };
    let purchase = done("purchase", terminal.commissary().get_purchase(request).await)?;
    let returned = purchase.lines.first().map(|line| line.returned_quantity);
    same("pieces that came back", 1, returned.unwrap_or_default())
}
