//! Payment files as pain.001, the customer credit transfer initiation.
//!
//! Source: ISO 20022, pain.001.001.03 and pain.001.001.09. They differ here in the form of the execution date. Accounts are given
//! under `Othr`, banks by their number in the clearing system, as in China's CNAPS.

use time::{Date, format_description::well_known::Rfc3339, macros::format_description};

use super::{
    BankChannel, BankError, Party, Payment, PaymentOrder, StatusReport, pain002,
    xml::{self, Element},
};
use crate::money::{Amount, Currency};

/// The most characters of a name.
const NAME_CHARS_MAX: usize = 140;

/// The versions that are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pain001 {
    /// pain.001.001.03
    V03,
    /// pain.001.001.09
    V09,
}

/// A bank that takes pain.001 and answers pain.002.
#[derive(Debug, Clone)]
pub struct Iso20022Channel {
    version: Pain001,
    clearing_system: String,
}

impl Iso20022Channel {
    /// A bank that takes a version, in a clearing system (`CNAPS`; at most 5 characters).
    pub fn new(version: Pain001, clearing_system: &str) -> Iso20022Channel {
        Iso20022Channel {
            version,
            clearing_system: clearing_system.to_owned(),
        }
    }

    fn agent(&self, name: &str, party: &Party, told: bool) -> Element {
        let system = Element::of("ClrSysId", [Element::text("Cd", &self.clearing_system)]);
        let member = Element::of("ClrSysMmbId", [system, Element::text("MmbId", &party.bank_code)]);
        let bank_name = (told && !party.bank_name.is_empty()).then(|| Element::text("Nm", cut(&party.bank_name)));
        Element::of(name, [Element::of("FinInstnId", [member].into_iter().chain(bank_name))])
    }

    fn transfer(&self, payment: &Payment) -> Element {
        let amount = Element::text("InstdAmt", payment.amount).with("Ccy", payment.amount.currency().code());
        Element::of(
            "CdtTrfTxInf",
            [
                Element::of("PmtId", [Element::text("EndToEndId", &payment.end_to_end_id)]),
                Element::of("Amt", [amount]),
                self.agent("CdtrAgt", &payment.creditor, true),
                Element::of("Cdtr", [Element::text("Nm", cut(&payment.creditor.holder))]),
                account("CdtrAcct", &payment.creditor, None),
                Element::of("RmtInf", [Element::text("Ustrd", cut(&payment.purpose))]),
            ],
        )
    }

    fn document(&self, order: &PaymentOrder, total: Amount) -> Result<Element, BankError> {
        let created = order
            .created_at
            .replace_nanosecond(0)
            .ok()
            .and_then(|at| at.format(&Rfc3339).ok());
        let created = created.ok_or_else(|| BankError::invalid("CreDtTm", "cannot be written"))?;
        let sums = || {
            [
                Element::text("NbOfTxs", order.payments.len()),
                Element::text("CtrlSum", total),
            ]
        };
        let header = [
            Element::text("MsgId", &order.message_id),
            Element::text("CreDtTm", created),
        ];
        let initiator = Element::of("InitgPty", [Element::text("Nm", cut(&order.debtor.holder))]);
        let group = Element::of("GrpHdr", header.into_iter().chain(sums()).chain([initiator]));
        let date = order.execution_date.to_string();
        let date = match self.version {
            Pain001::V03 => Element::text("ReqdExctnDt", date),
            Pain001::V09 => Element::of("ReqdExctnDt", [Element::text("Dt", date)]),
        };
        let information = [
            Element::text("PmtInfId", &order.message_id),
            Element::text("PmtMtd", "TRF"),
        ]
        .into_iter()
        .chain(sums())
        .chain([
            date,
            Element::of("Dbtr", [Element::text("Nm", cut(&order.debtor.holder))]),
            account("DbtrAcct", &order.debtor, Some(total.currency())),
            self.agent("DbtrAgt", &order.debtor, false),
        ])
        .chain(order.payments.iter().map(|payment| self.transfer(payment)));
        let body = Element::of("CstmrCdtTrfInitn", [group, Element::of("PmtInf", information)]);
        let namespace = format!("urn:iso:std:iso:20022:tech:xsd:{}", self.format());
        Ok(Element::of("Document", [body]).with("xmlns", &namespace))
    }
}

fn account(name: &str, party: &Party, currency: Option<Currency>) -> Element {
    let id = Element::of("Id", [Element::of("Othr", [Element::text("Id", &party.number)])]);
    let currency = currency.map(|currency| Element::text("Ccy", currency.code()));
    Element::of(name, [id].into_iter().chain(currency))
}

fn cut(name: &str) -> String {
    name.chars().take(NAME_CHARS_MAX).collect()
}

impl BankChannel for Iso20022Channel {
    fn format(&self) -> &'static str {
        match self.version {
            Pain001::V03 => "pain.001.001.03",
            Pain001::V09 => "pain.001.001.09",
        }
    }

    fn extension(&self) -> &'static str {
        "xml"
    }

    fn payment_file(&self, order: &PaymentOrder) -> Result<Vec<u8>, BankError> {
        let first = order
            .payments
            .first()
            .ok_or_else(|| BankError::invalid("CdtTrfTxInf", "there is none"))?;
        let total = total_of(
            order.payments.iter().map(|payment| payment.amount),
            first.amount.currency(),
        )?;
        xml::write(&self.document(order, total)?)
    }

    fn read_back(&self, file: &[u8], currency: Currency) -> Result<Vec<(String, Amount)>, BankError> {
        let document = xml::read(file)?;
        Ok(read(&document, currency)?.payments)
    }

    fn status(&self, file: &[u8], currency: Currency) -> Result<StatusReport, BankError> {
        pain002::read(file, currency)
    }
}

/// A sum that a file's amounts must come to.
pub(super) fn total_of(amounts: impl IntoIterator<Item = Amount>, currency: Currency) -> Result<Amount, BankError> {
    Amount::sum(amounts, currency).map_err(|error| BankError::invalid("the sum", error.to_string()))
}

/// Reads an amount with its currency.
pub(super) fn amount_in(element: &Element, currency: Currency) -> Result<Amount, BankError> {
    if element.attribute("Ccy").is_some_and(|code| code != currency.code()) {
        return Err(BankError::invalid(&element.name, format!("is not in {currency}")));
    }
    Amount::parse(element.text.trim(), currency).map_err(|error| BankError::invalid(&element.name, error.to_string()))
}

/// The day of a date or of a moment, where it is told.
pub(super) fn date_at(element: &Element, path: &[&str]) -> Result<Option<Date>, BankError> {
    let Some(text) = element.text_at(path).filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let day = text.get(..DATE_CHARS).unwrap_or(text);
    let name = path.last().copied().unwrap_or_default();
    let read = Date::parse(day, format_description!("[year]-[month]-[day]"));
    read.map(Some)
        .map_err(|_| BankError::invalid(name, "does not begin with a date"))
}

/// The characters of a date: YYYY-MM-DD.
const DATE_CHARS: usize = 10;

/// What a pain.001 says.
#[derive(Debug)]
pub(super) struct Initiation {
    /// Its message id.
    pub message_id: String,
    /// The debtor's account.
    pub debtor: String,
    /// End-to-end ids and amounts.
    pub payments: Vec<(String, Amount)>,
    /// The creditors' accounts, in the same order.
    pub creditors: Vec<String>,
}

/// Reads a pain.001 of any version; count and sum of its header must be those of its payments.
pub(super) fn read(document: &Element, currency: Currency) -> Result<Initiation, BankError> {
    let missing = |element: &str| BankError::Missing {
        element: element.to_owned(),
    };
    let body = document
        .at(&["CstmrCdtTrfInitn"])
        .ok_or_else(|| missing("CstmrCdtTrfInitn"))?;
    let (mut payments, mut creditors) = (Vec::new(), Vec::new());
    for transfer in body
        .all("PmtInf")
        .flat_map(|information| information.all("CdtTrfTxInf"))
    {
        let amount = transfer.at(&["Amt", "InstdAmt"]).ok_or_else(|| missing("InstdAmt"))?;
        let id = transfer.require(&["PmtId", "EndToEndId"])?;
        payments.push((id.to_owned(), amount_in(amount, currency)?));
        creditors.push(transfer.require(&["CdtrAcct", "Id", "Othr", "Id"])?.to_owned());
    }
    let told = body.require(&["GrpHdr", "NbOfTxs"])?;
    if told != payments.len().to_string() {
        return Err(BankError::Sum {
            what: "NbOfTxs",
            told: told.to_owned(),
            found: payments.len().to_string(),
        });
    }
    let told = body.at(&["GrpHdr", "CtrlSum"]).ok_or_else(|| missing("CtrlSum"))?;
    let (told, found) = (
        amount_in(told, currency)?,
        total_of(payments.iter().map(|(_, amount)| *amount), currency)?,
    );
    if told != found {
        return Err(BankError::Sum {
            what: "CtrlSum",
            told: told.to_string(),
            found: found.to_string(),
        });
    }
    Ok(Initiation {
        message_id: body.require(&["GrpHdr", "MsgId"])?.to_owned(),
        debtor: body.require(&["PmtInf", "DbtrAcct", "Id", "Othr", "Id"])?.to_owned(),
        payments,
        creditors,
    })
}

#[cfg(test)]
mod tests {
    use time::macros::{date, datetime};

    use super::*;

    fn order() -> PaymentOrder {
        let cny = |text| Amount::parse(text, Currency::parse("CNY").unwrap()).unwrap();
        let party = |holder: &str, number: &str, bank_name: &str| Party {
            holder: holder.into(),
            number: number.into(),
            bank_code: "102100099996".into(),
            bank_name: bank_name.into(),
        };
        PaymentOrder {
            message_id: "1-F1".into(),
            created_at: datetime!(2031-05-07 02:00:00.123456 UTC),
            execution_date: date!(2031 - 05 - 07),
            debtor: party("湖滨看守所", "6222020000000000001", ""),
            payments: vec![
                Payment {
                    end_to_end_id: "1-S42".into(),
                    amount: cny("1234.50"),
                    creditor: party("华丰食品 & Sons", "6222021001116245702", "中国工商银行"),
                    purpose: "Settlement 42 through 2031-05-06".into(),
                },
                Payment {
                    end_to_end_id: "1-S43".into(),
                    amount: cny("0.07"),
                    creditor: party("佳洁日用", "6222021001116245713", ""),
                    purpose: "Settlement 43 through 2031-05-06".into(),
                },
            ],
        }
    }

    #[test]
    fn both_versions_are_what_the_official_schemas_accept() {
        // The two files were validated against the schemas of ISO 20022 before they were recorded.
        for (version, recorded) in [
            (Pain001::V03, include_str!("testdata/pain.001.001.03.xml")),
            (Pain001::V09, include_str!("testdata/pain.001.001.09.xml")),
        ] {
            let channel = Iso20022Channel::new(version, "CNAPS");
            let file = channel.payment_file(&order()).unwrap();
            assert_eq!(String::from_utf8(file.clone()).unwrap(), recorded);
            assert_eq!(channel.payment_file(&order()).unwrap(), file);
            let currency = Currency::parse("CNY").unwrap();
            let read = channel.read_back(&file, currency).unwrap();
            let told: Vec<_> = order()
                .payments
                .into_iter()
                .map(|paid| (paid.end_to_end_id, paid.amount))
                .collect();
            assert_eq!(read, told);
        }
    }

    #[test]
    fn a_file_that_does_not_add_up_is_noticed() {
        let channel = Iso20022Channel::new(Pain001::V09, "CNAPS");
        let file = String::from_utf8(channel.payment_file(&order()).unwrap()).unwrap();
        let currency = Currency::parse("CNY").unwrap();
        for (from, to) in [
            ("<InstdAmt Ccy=\"CNY\">0.07<", "<InstdAmt Ccy=\"CNY\">0.08<"),
            ("<NbOfTxs>2<", "<NbOfTxs>3<"),
            ("<CtrlSum>1234.57<", "<CtrlSum>1234.58<"),
            ("Ccy=\"CNY\">0.07", "Ccy=\"USD\">0.07"),
            ("<EndToEndId>1-S43<", "<EndToEndId><"),
        ] {
            assert!(file.contains(from), "{from}");
            assert!(
                channel
                    .read_back(file.replacen(from, to, 1).as_bytes(), currency)
                    .is_err(),
                "{to}"
            );
        }
        let none = PaymentOrder {
            payments: Vec::new(),
            ..order()
        };
        assert!(channel.payment_file(&none).is_err());
    }
}
