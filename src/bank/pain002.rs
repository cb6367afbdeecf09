//! What a bank says of a payment file: pain.002, the customer payment status report. Read by element names, whatever the version.
//!
//! Source: ISO 20022, pain.002.001.03 and later, and the external code list of payment statuses.

use super::{
    BankError, PaymentReport, PaymentStatus, StatusReport,
    iso20022::{amount_in, date_at},
    xml::{self, Element},
};
use crate::money::Currency;

/// Reads a status report.
///
/// # Errors
/// What in it cannot be read; a status that is not known.
pub fn read(file: &[u8], currency: Currency) -> Result<StatusReport, BankError> {
    let document = xml::read(file)?;
    let missing = |element: &str| BankError::Missing {
        element: element.to_owned(),
    };
    let body = document
        .at(&["CstmrPmtStsRpt"])
        .ok_or_else(|| missing("CstmrPmtStsRpt"))?;
    let original = body
        .at(&["OrgnlGrpInfAndSts"])
        .ok_or_else(|| missing("OrgnlGrpInfAndSts"))?;
    let group = match original.text_at(&["GrpSts"]) {
        None | Some("PART") => None,
        Some(code) => Some((status_of(code)?, reason_of(original))),
    };
    let mut payments = Vec::new();
    let all = body
        .all("OrgnlPmtInfAndSts")
        .flat_map(|information| information.all("TxInfAndSts"));
    // Some banks leave the payment information out.
    for told in all.chain(body.all("TxInfAndSts")) {
        let end_to_end_id = told.require(&["OrgnlEndToEndId"])?.to_owned();
        if payments
            .iter()
            .any(|one: &PaymentReport| one.end_to_end_id == end_to_end_id)
        {
            return Err(BankError::invalid(
                "OrgnlEndToEndId",
                format!("{end_to_end_id} is told twice"),
            ));
        }
        let amount = told.at(&["OrgnlTxRef", "Amt", "InstdAmt"]);
        payments.push(PaymentReport {
            end_to_end_id,
            status: status_of(told.require(&["TxSts"])?)?,
            amount: amount.map(|amount| amount_in(amount, currency)).transpose()?,
            reference: told.text_at(&["AcctSvcrRef"]).unwrap_or_default().to_owned(),
            reason: reason_of(told),
        });
    }
    if group.is_none() && payments.is_empty() {
        return Err(missing("TxInfAndSts"));
    }
    Ok(StatusReport {
        message_id: Some(original.require(&["OrgnlMsgId"])?.to_owned()),
        told_on: date_at(body, &["GrpHdr", "CreDtTm"])?,
        group,
        payments,
    })
}

/// What a code of the external list means for us.
fn status_of(code: &str) -> Result<PaymentStatus, BankError> {
    match code {
        // Settled on the debtor's, or also on the creditor's account.
        "ACSC" | "ACCC" => Ok(PaymentStatus::Paid),
        "ACTC" | "ACCP" | "ACSP" | "ACWC" | "ACWP" | "ACFC" | "PDNG" | "RCVD" | "PATC" => Ok(PaymentStatus::Pending),
        "RJCT" | "CANC" => Ok(PaymentStatus::Rejected),
        other => Err(BankError::invalid("TxSts", format!("{other} is not known"))),
    }
}

/// Code and words of the first reason that is told.
fn reason_of(element: &Element) -> String {
    let Some(reason) = element.at(&["StsRsnInf"]) else {
        return String::new();
    };
    let code = reason
        .text_at(&["Rsn", "Cd"])
        .or_else(|| reason.text_at(&["Rsn", "Prtry"]));
    let words = [code, reason.text_at(&["AddtlInf"])];
    let words: Vec<&str> = words.into_iter().flatten().filter(|word| !word.is_empty()).collect();
    words
        .join(" ")
        .chars()
        .filter(|char| !char.is_control())
        .take(REASON_CHARS_MAX)
        .collect()
}

/// The most characters of a reason that are kept.
const REASON_CHARS_MAX: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    fn report(group: &str, payments: &str) -> String {
        format!(
            "<Document xmlns=\"urn:iso:std:iso:20022:tech:xsd:pain.002.001.03\"><CstmrPmtStsRpt><GrpHdr><MsgId>B1</MsgId>\
             </GrpHdr><OrgnlGrpInfAndSts><OrgnlMsgId>1-F1</OrgnlMsgId><OrgnlMsgNmId>pain.001</OrgnlMsgNmId>{group}\
             </OrgnlGrpInfAndSts><OrgnlPmtInfAndSts><OrgnlPmtInfId>1-F1</OrgnlPmtInfId>{payments}</OrgnlPmtInfAndSts>\
             </CstmrPmtStsRpt></Document>"
        )
    }

    fn told(id: &str, status: &str, rest: &str) -> String {
        format!("<TxInfAndSts><OrgnlEndToEndId>{id}</OrgnlEndToEndId><TxSts>{status}</TxSts>{rest}</TxInfAndSts>")
    }

    fn parsed(text: &str) -> Result<StatusReport, BankError> {
        read(text.as_bytes(), Currency::parse("CNY").unwrap())
    }

    #[test]
    fn each_payment_has_its_status_and_reason() {
        let reason = "<StsRsnInf><Rsn><Cd>AC04</Cd></Rsn><AddtlInf>账户已销户</AddtlInf></StsRsnInf>";
        let payments = [
            told("1-S1", "ACSC", ""),
            told("1-S2", "RJCT", reason),
            told("1-S3", "ACSP", ""),
        ]
        .concat();
        let found = parsed(&report("<GrpSts>PART</GrpSts>", &payments)).unwrap();
        assert_eq!((found.message_id.as_deref(), &found.group), (Some("1-F1"), &None));
        let statuses: Vec<_> = found.payments.iter().map(|one| one.status).collect();
        use PaymentStatus::{Paid, Pending, Rejected};
        assert_eq!(statuses, [Paid, Rejected, Pending]);
        assert_eq!(found.payments[1].reason, "AC04 账户已销户");
        let whole = parsed(&report("<GrpSts>RJCT</GrpSts>", "")).unwrap();
        assert_eq!(whole.group, Some((Rejected, String::new())));
    }

    #[test]
    fn what_cannot_be_understood_is_refused_whole() {
        let amount = "<OrgnlTxRef><Amt><InstdAmt Ccy=\"USD\">1.00</InstdAmt></Amt></OrgnlTxRef>";
        for bad in [
            report("", ""),
            report("<GrpSts>WHAT</GrpSts>", ""),
            report("", &told("1-S1", "WHAT", "")),
            report("", &told("", "ACSC", "")),
            report("", &told("1-S1", "", "")),
            report("", &told("1-S1", "ACSC", amount)),
            report("", &[told("1-S1", "ACSC", ""), told("1-S1", "RJCT", "")].concat()),
            report("", &told("1-S1", "ACSC", "")).replace("<OrgnlMsgId>1-F1</OrgnlMsgId>", ""),
            "<Document/>".to_owned(),
        ] {
            assert!(parsed(&bad).is_err(), "{bad}");
        }
    }
}
