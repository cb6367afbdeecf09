//! A bank for demonstrations and tests: it takes a pain.001, rejects some payments by a rule, pays the rest, and answers with a
//! pain.002 and a camt.053.
//!
//! Each file is taken by itself: the statement begins with the balance that it is given.

use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::{
    BankError,
    iso20022::{self, Initiation, total_of},
    xml::{self, Element},
};
use crate::money::{Amount, Currency};

/// What the bank rejects, and what the account has.
#[derive(Debug, Clone)]
pub struct Rules {
    /// The currency of its accounts.
    pub currency: Currency,
    /// Payments to accounts whose number ends so are rejected; nothing is by an empty text.
    pub reject_ending: String,
    /// What the account has before.
    pub opening: Amount,
    /// When the bank answers.
    pub now: OffsetDateTime,
}

/// What the bank answers.
#[derive(Debug, Clone)]
pub struct Answers {
    /// pain.002.001.03
    pub status: Vec<u8>,
    /// camt.053.001.08
    pub statement: Vec<u8>,
    /// How many payments were paid.
    pub paid: usize,
    /// How many were rejected.
    pub rejected: usize,
}

/// Takes a payment file.
///
/// # Errors
/// What in it cannot be read or does not add up; the account does not have so much.
pub fn take(file: &[u8], rules: &Rules) -> Result<Answers, BankError> {
    let order = iso20022::read(&xml::read(file)?, rules.currency)?;
    let is_rejected = |number: &str| !rules.reject_ending.is_empty() && number.ends_with(&rules.reject_ending);
    let rejected: Vec<bool> = order.creditors.iter().map(|number| is_rejected(number)).collect();
    let booked = order.payments.iter().zip(&rejected).filter(|(_, rejected)| !**rejected);
    let booked: Vec<&(String, Amount)> = booked.map(|(payment, _)| payment).collect();
    let spent = total_of(booked.iter().map(|(_, amount)| *amount), rules.currency)?;
    let closing = rules.opening.checked_sub(spent).ok().filter(|left| !left.is_negative());
    let closing = closing.ok_or_else(|| BankError::invalid("DbtrAcct", "does not have so much"))?;
    let now = rules
        .now
        .replace_nanosecond(0)
        .ok()
        .and_then(|at| at.format(&Rfc3339).ok());
    let now = now.ok_or_else(|| BankError::invalid("CreDtTm", "cannot be written"))?;
    Ok(Answers {
        status: xml::write(&status(&order, &rejected, &now))?,
        statement: xml::write(&statement(&order, &booked, rules, closing, &now))?,
        paid: booked.len(),
        rejected: order.payments.len() - booked.len(),
    })
}

fn document(format: &str, body: Element) -> Element {
    Element::of("Document", [body]).with("xmlns", &format!("urn:iso:std:iso:20022:tech:xsd:{format}"))
}

fn header(id: &str, now: &str) -> Element {
    Element::of("GrpHdr", [Element::text("MsgId", id), Element::text("CreDtTm", now)])
}

fn status(order: &Initiation, rejected: &[bool], now: &str) -> Element {
    let group = match (rejected.contains(&true), rejected.contains(&false)) {
        (true, true) => "PART",
        (true, false) => "RJCT",
        (false, _) => "ACSC",
    };
    let told = order.payments.iter().zip(rejected).map(|((id, _), rejected)| {
        let reason = || {
            let code = Element::of("Rsn", [Element::text("Cd", "AC04")]);
            Element::of(
                "StsRsnInf",
                [code, Element::text("AddtlInf", "account closed 账户已销户")],
            )
        };
        let status = if *rejected { "RJCT" } else { "ACSC" };
        let words = [Element::text("OrgnlEndToEndId", id), Element::text("TxSts", status)];
        Element::of("TxInfAndSts", words.into_iter().chain(rejected.then(reason)))
    });
    let original = [
        Element::text("OrgnlMsgId", &order.message_id),
        Element::text("OrgnlMsgNmId", "pain.001"),
        Element::text("GrpSts", group),
    ];
    let payments = [Element::text("OrgnlPmtInfId", &order.message_id)]
        .into_iter()
        .chain(told);
    let body = [
        header(&cut(&format!("ST-{}", order.message_id)), now),
        Element::of("OrgnlGrpInfAndSts", original),
        Element::of("OrgnlPmtInfAndSts", payments),
    ];
    document("pain.002.001.03", Element::of("CstmrPmtStsRpt", body))
}

fn statement(order: &Initiation, booked: &[&(String, Amount)], rules: &Rules, closing: Amount, now: &str) -> Element {
    let code = rules.currency.code();
    let amount = |amount: Amount| Element::text("Amt", amount).with("Ccy", code);
    let date = rules.now.date().to_string();
    let dated = |name: &str| Element::of(name, [Element::text("Dt", &date)]);
    let balance = |kind: &str, sum: Amount| {
        let kind = Element::of("Tp", [Element::of("CdOrPrtry", [Element::text("Cd", kind)])]);
        Element::of(
            "Bal",
            [kind, amount(sum), Element::text("CdtDbtInd", "CRDT"), dated("Dt")],
        )
    };
    let entries = booked.iter().map(|(id, sum)| {
        let references = Element::of("Refs", [Element::text("EndToEndId", id)]);
        let details = Element::of("NtryDtls", [Element::of("TxDtls", [references])]);
        let kind = Element::of("BkTxCd", [Element::of("Prtry", [Element::text("Cd", "TRF")])]);
        Element::of(
            "Ntry",
            [
                amount(*sum),
                Element::text("CdtDbtInd", "DBIT"),
                Element::of("Sts", [Element::text("Cd", "BOOK")]),
                dated("BookgDt"),
                dated("ValDt"),
                Element::text("AcctSvcrRef", cut(&format!("SIM-{id}"))),
                kind,
                details,
            ],
        )
    });
    let account = Element::of("Id", [Element::of("Othr", [Element::text("Id", &order.debtor)])]);
    let head = [
        Element::text("Id", cut(&format!("KTO-{}", order.message_id))),
        Element::text("CreDtTm", now),
        Element::of("Acct", [account, Element::text("Ccy", code)]),
        balance("OPBD", rules.opening),
        balance("CLBD", closing),
    ];
    let statement = Element::of("Stmt", head.into_iter().chain(entries));
    let body = [header(&cut(&format!("KT-{}", order.message_id)), now), statement];
    document("camt.053.001.08", Element::of("BkToCstmrStmt", body))
}

fn cut(id: &str) -> String {
    id.chars().take(super::ID_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;
    use crate::bank::{PaymentStatus, camt053, pain002};

    fn cny(text: &str) -> Amount {
        Amount::parse(text, Currency::parse("CNY").unwrap()).unwrap()
    }

    fn rules(reject_ending: &str, opening: &str) -> Rules {
        Rules {
            currency: Currency::parse("CNY").unwrap(),
            reject_ending: reject_ending.into(),
            opening: cny(opening),
            now: datetime!(2031-05-07 03:00 UTC),
        }
    }

    #[test]
    fn it_pays_some_and_its_answers_say_so() {
        let file = include_bytes!("testdata/pain.001.001.09.xml");
        let answers = take(file, &rules("13", "2000.00")).unwrap();
        assert_eq!((answers.paid, answers.rejected), (1, 1));
        // The two answers were validated against the schemas of ISO 20022 before they were recorded.
        assert_eq!(
            String::from_utf8(answers.status.clone()).unwrap(),
            include_str!("testdata/pain.002.001.03.xml")
        );
        assert_eq!(
            String::from_utf8(answers.statement.clone()).unwrap(),
            include_str!("testdata/camt.053.001.08.xml")
        );
        let currency = Currency::parse("CNY").unwrap();
        let told = pain002::read(&answers.status, currency).unwrap();
        let statuses: Vec<_> = told.payments.iter().map(|one| one.status).collect();
        assert_eq!(statuses, [PaymentStatus::Paid, PaymentStatus::Rejected]);
        let statement = camt053::read(&answers.statement, currency).unwrap();
        assert_eq!(statement.closing, cny("765.50"));
        assert_eq!(statement.entries[0].end_to_end_id.as_deref(), Some("1-S42"));
    }

    #[test]
    fn it_takes_nothing_that_it_cannot_pay_or_read() {
        let file = include_bytes!("testdata/pain.001.001.03.xml");
        assert!(take(file, &rules("", "1234.56")).is_err());
        assert_eq!(take(file, &rules("", "1234.57")).unwrap().rejected, 0);
        assert!(take(b"<Document/>", &rules("", "1")).is_err());
    }
}
