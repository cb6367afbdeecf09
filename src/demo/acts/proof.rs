//! The proof: what the centers have is what they owe, to the last fen.

use std::process::Stdio;

use anyhow::bail;

use super::Play;
use crate::{
    demo::{
        books::{text, zero},
        cast::{HOUSES, both, center_name},
        check::{done, same},
        tell,
    },
    launch,
    proto::{GetProofRequest, Proof, ProofTerm, Side},
};

/// What the terms are called in Chinese, by the chart's code.
const NAMES_ZH: [(i32, &str); 19] = [
    (1001, "银行存款"),
    (1101, "渠道在途"),
    (1201, "垫付款"),
    (1301, "所间往来"),
    (2101, "可用"),
    (2102, "冻结"),
    (2103, "储备"),
    (2104, "扣留"),
    (2201, "应付供应商"),
    (2202, "供应商结算在途"),
    (2301, "挂账"),
    (2302, "退款在途"),
    (2303, "出所结清在途"),
    (2401, "应付法院"),
    (2501, "未领款"),
    (4101, "手续费收入"),
    (5101, "渠道手续费"),
    (5201, "核销"),
    (5301, "贫困救助"),
];

/// Plays it; what the last line says.
pub async fn play(play: &Play) -> anyhow::Result<String> {
    tell::act(16, "The proof", "轧账");
    let mut sums = Vec::new();
    for house in &HOUSES {
        let request = GetProofRequest {
            center: center_name(house.id),
            as_of: None,
        };
        let proof = done("proof", play.stage.auditor()?.ledger().get_proof(request).await)?;
        check(play, house.id, &proof)?;
        tell::say(format!(
            "{}, at transaction {}:",
            both(house.name, house.name_zh),
            proof.as_of_seq
        ));
        show(&proof);
        sums.push(format!(
            "{} {} = {} at transaction {}",
            house.id,
            text(proof.left_total.as_ref()),
            text(proof.right_total.as_ref()),
            proof.as_of_seq
        ));
    }
    tell::say(
        "The bank is below zero because vendors and the released person were paid from it, while the gateway still holds what \
         families paid in: that is gateway clearing. What one center is to be given for the person who moved stands on both sides of \
         inter-center clearing, and is nothing together.",
    );
    tell::say("custody verify replays every record of both journals:");
    verify(play).await?;
    Ok(sums.join(", "))
}

/// The service says that it holds; every term is what the demonstration's own books say; and the totals add up here too.
fn check(play: &Play, center: &str, proof: &Proof) -> anyhow::Result<()> {
    let terms = play.books.terms(center)?;
    let (mut left, mut right) = (zero()?.value(), zero()?.value());
    for term in &proof.terms {
        let expected = terms.get(&term.code).copied().unwrap_or(zero()?);
        let got = text(term.amount.as_ref());
        same(format!("{} {} of {center}", term.code, term.code_name), expected, &got)?;
        match term.side() {
            Side::Debit => left += expected.value(),
            _ => right += expected.value(),
        }
    }
    for (code, expected) in &terms {
        if !expected.is_zero() && !proof.terms.iter().any(|term| term.code == *code) {
            bail!("the proof of {center}: expected {expected} in {code}, but it has no such term");
        }
    }
    same(
        format!("the left side of {center}"),
        left,
        text(proof.left_total.as_ref()),
    )?;
    same(
        format!("the right side of {center}"),
        right,
        text(proof.right_total.as_ref()),
    )?;
    same(format!("both sides of {center}"), left, right)?;
    same(format!("the proof of {center} holds"), true, proof.holds)
}

fn show(proof: &Proof) {
    let row = |term: &ProofTerm| {
        let name_zh = NAMES_ZH
            .iter()
            .find(|(code, _)| *code == term.code)
            .map_or("", |(_, name)| name);
        let amount = text(term.amount.as_ref());
        let (left, right) = match term.side() {
            Side::Debit => (amount, String::new()),
            _ => (String::new(), amount),
        };
        [
            term.code.to_string(),
            both(&term.code_name, name_zh),
            term.account_count.to_string(),
            left,
            right,
        ]
    };
    let totals = [
        String::new(),
        both("total", "合计"),
        String::new(),
        text(proof.left_total.as_ref()),
        text(proof.right_total.as_ref()),
    ];
    let head = [
        "code 科目",
        "account 账户",
        "accounts 户数",
        "have 资产 + 费用 − 收入",
        "owe 负债",
    ];
    tell::table(head, &[2, 3, 4], proof.terms.iter().map(row).chain([totals]));
}

async fn verify(play: &Play) -> anyhow::Result<()> {
    let mut command = launch::own("verify")?;
    command
        .arg("--data-dir")
        .arg(play.stage.directory())
        .stdin(Stdio::null());
    let output = command.output().await?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    for line in said.lines() {
        tell::write(format!("   {line}"));
    }
    if !output.status.success() {
        bail!(
            "custody verify: expected it to hold, but it ended with {}: {said}",
            output.status
        );
    }
    Ok(())
}
