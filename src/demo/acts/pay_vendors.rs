//! What is agreed with vendors, and how they are paid: two people, a file, the bank's answers. One payment is rejected.

use anyhow::Context as _;
use sha2::{Digest as _, Sha256};

use super::{Play, settle::expect_state};
use crate::{
    demo::{
        books::text,
        cast::{CLOSED_ENDING, CONTRACTS, House, Vendor, both, center_name, vendor_name},
        check::{done, refused, same},
        desk::{Desk, request_id},
        tell,
    },
    proto::{
        Approval, ApproveRequest, BankAccount, CreatePaymentFileRequest, DownloadPaymentFileRequest,
        GetSettlementRequest, ImportBankStatementRequest, ImportPaymentStatusRequest, PaymentFile,
        ProposeSettlementRequest, ProposeVendorAccountRequest, Settlement, UpdateVendorTermsRequest, approval,
        settlement::State,
    },
};

/// Commission and account of a vendor. Finance asks for the account; an admin, and not finance itself, allows it.
pub async fn agree(play: &Play, house: &House, vendor: &Vendor) -> anyhow::Result<()> {
    let (finance, admin) = (play.stage.finance(house.id)?, play.stage.admin()?);
    let (_, number, percent) = contract_of(vendor)?;
    let terms = UpdateVendorTermsRequest {
        name: vendor_name(house.id, vendor.id),
        commission_percent: percent.to_string(),
        settlement_cycle_days: 1,
        version: 0,
    };
    done("terms", admin.contract().update_vendor_terms(terms).await)?;
    let account = ProposeVendorAccountRequest {
        name: vendor_name(house.id, vendor.id),
        account: Some(BankAccount {
            holder: vendor.name_zh.to_owned(),
            number: number.to_owned(),
            bank_code: "102100099996".to_owned(),
            bank_name: "中国工商银行".to_owned(),
        }),
        reason: "contract of 2026".to_owned(),
        request_id: request_id(&["vendor account", vendor.id]),
    };
    let asked = done("an account", finance.contract().propose_vendor_account(account).await)?;
    by_two(&finance, &admin, &asked).await
}

/// A settlement is looked at by finance and allowed by an admin.
pub async fn allow(play: &Play, house: &House, settlement: &Settlement) -> anyhow::Result<()> {
    let (finance, admin) = (play.stage.finance(house.id)?, play.stage.admin()?);
    let propose = ProposeSettlementRequest {
        name: settlement.name.clone(),
        reason: "every line was looked at".to_owned(),
        request_id: request_id(&["propose", &settlement.name]),
    };
    let asked = done("proposing", finance.settlement().propose_settlement(propose).await)?;
    by_two(&finance, &admin, &asked).await
}

/// Whoever asked may not allow it, and somebody else does.
async fn by_two(maker: &Desk, checker: &Desk, asked: &Approval) -> anyhow::Result<()> {
    let approve = || ApproveRequest {
        name: asked.name.clone(),
        reason: String::new(),
    };
    refused(
        "one's own request",
        "MAKER_IS_CHECKER",
        maker.approval().approve(approve()).await,
    )?;
    let allowed = done("approving", checker.approval().approve(approve()).await)?;
    same(
        &asked.name,
        approval::State::Executed.as_str_name(),
        allowed.state().as_str_name(),
    )
}

/// One file for the bank, which pays all of it but for the account that is closed; what became of each settlement.
pub async fn pay(play: &mut Play, house: &House, closed: &[(&Vendor, Settlement)]) -> anyhow::Result<Vec<[String; 9]>> {
    let finance = play.stage.finance(house.id)?;
    let file = make_file(house, &finance).await?;
    let bytes = download(&finance, &file.name).await?;
    same("the file's hash", hex::encode(Sha256::digest(&bytes)), &file.sha256)?;
    let [status, statement] = play.stage.bank(&file.file_name, &bytes, CLOSED_ENDING).await?;
    for is_repeated in [false, true] {
        let request = ImportPaymentStatusRequest {
            parent: center_name(house.id),
            content: status.clone(),
        };
        let read = done("status", finance.payment().import_payment_status(request).await)?;
        same("the same status again", is_repeated, read.repeated_file)?;
        if read.failed_count > 0 && !is_repeated {
            // Whoever brings the bank's file could have written it.
            let asked = Approval {
                name: read.approval,
                ..Approval::default()
            };
            by_two(&finance, &play.stage.admin()?, &asked).await?;
        }
    }
    let request = ImportBankStatementRequest {
        parent: center_name(house.id),
        content: statement,
    };
    let read = done("statement", finance.payment().import_bank_statement(request).await)?;
    same("contradictions", 0, read.contradictions.len())?;
    tell::say(format!(
        "{} of {} payments, {} {}, sha256 {}…: the bank pays {}, and rejects {} 退回.",
        file.file_name,
        file.payment_count,
        text(file.total.as_ref()),
        file.format,
        file.sha256.get(..12).unwrap_or_default(),
        read.paid_count,
        file.payment_count - read.paid_count,
    ));
    let mut rows = Vec::new();
    for (vendor, settlement) in closed {
        rows.push(ended(play, &finance, house, vendor, settlement).await?);
    }
    Ok(rows)
}

async fn make_file(house: &House, finance: &Desk) -> anyhow::Result<PaymentFile> {
    let request = |what: &str| CreatePaymentFileRequest {
        parent: center_name(house.id),
        request_id: request_id(&["payment file", house.id, what]),
        execution_date: String::new(),
    };
    let file = done(
        "a payment file",
        finance.payment().create_payment_file(request("first")).await,
    )?;
    let again = finance.payment().create_payment_file(request("second")).await;
    refused("another file of the same", "NOTHING_TO_PAY", again)?;
    Ok(file)
}

async fn download(finance: &Desk, name: &str) -> anyhow::Result<Vec<u8>> {
    let request = DownloadPaymentFileRequest { name: name.to_owned() };
    let mut chunks = finance.payment().download_payment_file(request).await?.into_inner();
    let mut bytes = Vec::new();
    while let Some(chunk) = chunks.message().await? {
        bytes.extend(chunk.content);
    }
    Ok(bytes)
}

async fn ended(
    play: &mut Play,
    finance: &Desk,
    house: &House,
    vendor: &Vendor,
    settlement: &Settlement,
) -> anyhow::Result<[String; 9]> {
    let (_, number, percent) = contract_of(vendor)?;
    let request = GetSettlementRequest {
        name: settlement.name.clone(),
    };
    let ended = done("a settlement", finance.settlement().get_settlement(request).await)?;
    if number.ends_with(CLOSED_ENDING) {
        // Owed again; the pencil books never had it paid.
        expect_state(&ended, State::Failed)?;
        let owed = play.books.sales(vendor.id)?.owed()?;
        same(format!("{} is owed again", vendor.id), owed, text(ended.total.as_ref()))?;
    } else {
        expect_state(&ended, State::Paid)?;
        let [kept, paid] = play.books.settle(vendor.id, percent)?;
        same(
            format!("{}'s commission", vendor.id),
            kept,
            text(ended.commission.as_ref()),
        )?;
        same(format!("{} is paid", vendor.id), paid, text(ended.total.as_ref()))?;
    }
    Ok([
        house.short(),
        both(vendor.name, vendor.name_zh),
        ended.line_count.to_string(),
        text(ended.credited.as_ref()),
        text(ended.returned.as_ref()),
        text(ended.commission.as_ref()),
        text(ended.total.as_ref()),
        format!("{}{}", ended.bank_reference, ended.failure_reason),
        ended.state().as_str_name().replace("STATE_", ""),
    ])
}

fn contract_of(vendor: &Vendor) -> anyhow::Result<(&'static str, &'static str, i64)> {
    let found = CONTRACTS.into_iter().find(|(id, _, _)| *id == vendor.id);
    found.with_context(|| format!("{} has no contract", vendor.id))
}
