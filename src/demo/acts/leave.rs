//! The statement of who has left, and a person who dies: frozen at once, and paid to the heirs in shares, by two people.

use anyhow::Context as _;

use super::{Play, balances, buy::purchase_of};
use crate::{
    demo::{
        books::{cny, money, text},
        cast::{called, center_name, detainee_name},
        check::{done, refused, same},
        desk::{Desk, request_id},
        goods, tell,
    },
    ending::statement::signature,
    money::Amount,
    proto::{
        AddHeirRequest, ApproveRequest, BankAccount, ChangeCustodyRequest, ConfirmPayoutPartRequest,
        CreatePayoutRequest, Custody, ExportStatementRequest, GetStatementKeyRequest, Heir, Payout, PayoutPart,
        approval, export_statement_request::Format, payout, payout_part::State,
    },
};

/// Who left before, and who dies.
const LEFT: (&str, &str) = ("greenhill", "D2003");
const DIES: (&str, &str) = ("lakeside", "D1003");
const TERMINAL: &str = "L-T2";
/// The heirs: id, name, what they are, the end of their account's number.
const HEIRS: [(&str, &str, &str, &str); 2] = [
    ("H1", "李小红 Li Xiaohong", "daughter 女儿", "1401"),
    ("H2", "李建国 Li Jianguo", "father 父亲", "1402"),
];

/// Plays it.
pub async fn play(play: &mut Play) -> anyhow::Result<()> {
    tell::act(
        14,
        "Leaving: a signed statement, and a death",
        "离所：签名账单与死亡个案",
    );
    statement(play).await?;
    death(play).await
}

/// Everything that ever moved for who left, signed; and what becomes of the signature when a digit is changed.
async fn statement(play: &Play) -> anyhow::Result<()> {
    let (center, detainee) = LEFT;
    let auditor = play.stage.auditor()?;
    let name = center_name(center);
    let key = auditor
        .ending()
        .get_statement_key(GetStatementKeyRequest { name })
        .await;
    let key = done("the key of statements", key)?.public_key;
    let request = ExportStatementRequest {
        name: detainee_name(center, detainee),
        format: Format::Csv.into(),
    };
    let mut chunks = done("statement", auditor.ending().export_statement(request).await)?;
    let mut bytes = Vec::new();
    while let Some(chunk) = chunks.message().await.context("statement")? {
        bytes.extend(chunk.content);
    }
    let verified = signature::verify(&bytes, Some(&key));
    same("who signed the statement", &key, verified.context("the statement")?)?;
    let csv = String::from_utf8(bytes.clone()).context("the statement")?;
    let closing = csv
        .lines()
        .find(|line| line.starts_with("closing,"))
        .context("no closing balance")?;
    same("the closing balance", true, closing.contains(",0.00,"))?;
    let movements = csv.lines().filter(|line| line.starts_with("movement,")).count();
    let place = csv.find("movement,").context("no movement")?;
    if let Some(byte) = bytes.get_mut(place) {
        *byte ^= 1;
    }
    let changed = signature::verify(&bytes, Some(&key))
        .err()
        .context("a changed statement verifies")?;
    tell::say(format!(
        "The statement of {}: {movements} movements, closing at 0.00, signed by {}…, verified without the service 离线验签. With one \
         letter changed: {changed}.",
        called(detainee),
        key.get(..16).unwrap_or_default()
    ));
    Ok(())
}

async fn death(play: &mut Play) -> anyhow::Result<()> {
    let (center, detainee) = DIES;
    let finance = play.stage.finance(center)?;
    let before = balances(&play.books, &finance, center, detainee).await?;
    let request = ChangeCustodyRequest {
        name: detainee_name(center, detainee),
        custody: Custody::Deceased.into(),
        document: "死亡证明 2026-041".to_owned(),
        reason: "died in hospital 医院病故".to_owned(),
        request_id: request_id(&["death", detainee]),
    };
    done("recording a death", finance.ending().change_custody(request).await)?;
    frozen(play).await?;
    let mut heirs = Vec::new();
    for (id, name, relationship, _) in HEIRS {
        heirs.push(done(
            "an heir",
            finance.ending().add_heir(heir_of(id, name, relationship)).await,
        )?);
    }
    let all = play.books.release(detainee)?;
    let half = Amount::from_decimal((all.value() / cny("2")?.value()).trunc_with_scale(2), all.currency())?;
    let shares = [half, all.checked_sub(half)?];
    let paid = pay(play, &finance, &heirs, shares).await?;
    balances(&play.books, &finance, center, detainee).await?;
    let rows = paid.parts.iter().zip(HEIRS).map(|(part, (_, name, relationship, _))| {
        [
            name.to_owned(),
            relationship.to_owned(),
            part.payee.clone(),
            text(part.amount.as_ref()),
            part.state().as_str_name().replace("STATE_", ""),
        ]
    });
    let head = [
        "heir 继承人",
        "relation 关系",
        "account 账户",
        "share 份额",
        "state 状态",
    ];
    tell::say(format!(
        "{} dies with {} available and {} saved. The account is frozen; two people allow what goes to the heirs:",
        called(detainee),
        text(before.available.as_ref()),
        text(before.savings.as_ref())
    ));
    tell::table(head, &[3], rows);
    Ok(())
}

fn heir_of(id: &str, name: &str, relationship: &str) -> AddHeirRequest {
    let (center, detainee) = DIES;
    AddHeirRequest {
        parent: detainee_name(center, detainee),
        heir_id: id.to_owned(),
        heir: Some(Heir {
            display_name: name.to_owned(),
            identity_number: format!("E{id}190107"),
            relationship: relationship.to_owned(),
            document: "公证书 (2026)浙杭证字第77号".to_owned(),
            ..Heir::default()
        }),
    }
}

/// Asked for by one, allowed by another, and told as paid by somebody else than who asked.
async fn pay(play: &Play, finance: &Desk, heirs: &[Heir], shares: [Amount; 2]) -> anyhow::Result<Payout> {
    let (center, detainee) = DIES;
    let parts = heirs
        .iter()
        .zip(HEIRS)
        .zip(shares)
        .map(|((heir, told), share)| PayoutPart {
            amount: money(&share.to_string()),
            heir: heir.name.clone(),
            account: Some(BankAccount {
                holder: told.1.to_owned(),
                number: format!("622202100111624{}", told.3),
                bank_code: "102100099996".to_owned(),
                bank_name: "工商银行 ICBC".to_owned(),
            }),
            ..PayoutPart::default()
        });
    let request = CreatePayoutRequest {
        parent: detainee_name(center, detainee),
        purpose: payout::Purpose::Heirs.into(),
        parts: parts.collect(),
        document: "公证书 (2026)浙杭证字第77号".to_owned(),
        reason: "inheritance 继承".to_owned(),
        request_id: request_id(&["heirs", detainee]),
        ..CreatePayoutRequest::default()
    };
    let asked = done(
        "paying the heirs",
        finance.ending().create_payout(request.clone()).await,
    )?;
    let approve = ApproveRequest {
        name: asked.approval.clone(),
        reason: String::new(),
    };
    let own = finance.approval().approve(approve.clone()).await;
    refused("deciding on one's own question", "MAKER_IS_CHECKER", own)?;
    let cashier = play.stage.cashier(center)?;
    let allowed = done("allowing it", cashier.approval().approve(approve).await)?;
    let executed = approval::State::Executed.as_str_name();
    same(&asked.approval, executed, allowed.state().as_str_name())?;
    let mut payout = done("the payout", finance.ending().create_payout(request).await)?;
    for (part, (id, ..)) in (1..).zip(HEIRS) {
        let confirm = ConfirmPayoutPartRequest {
            name: payout.name.clone(),
            part,
            bank_reference: format!("ICBC-20261124-{id}"),
            request_id: request_id(&["heir paid", id]),
        };
        payout = done("a share", cashier.ending().confirm_payout_part(confirm).await)?;
    }
    let states = payout.parts.iter().all(|part| part.state() == State::Paid);
    same("every share is paid", true, states)?;
    Ok(payout)
}

/// Nothing can be bought any more.
async fn frozen(play: &Play) -> anyhow::Result<()> {
    let (center, detainee) = DIES;
    let product = goods::product("L101").context("no noodles")?;
    let id = request_id(&["purchase after death", detainee]);
    let terminal = play.stage.terminal(center, TERMINAL)?;
    let order = purchase_of(center, detainee, &vec![(product, 1)], id);
    let answer = terminal.commissary().create_purchase(order).await;
    refused("an order of somebody who died", "DETAINEE_NOT_ACTIVE", answer)?;
    Ok(())
}
