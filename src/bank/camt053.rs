//! Statements of an account: camt.053. Read by element names: versions 02, 04 and 08 are in the field.
//!
//! Source: ISO 20022, camt.053.001.02 and later.

use super::{
    BankError, Statement, StatementEntry,
    iso20022::{amount_in, date_at},
    xml::{self, Element},
};
use crate::money::{Amount, Currency};

/// Reads a statement; what it had, with what is booked, must come to what it has.
///
/// # Errors
/// What in it cannot be read or does not add up.
pub fn read(file: &[u8], currency: Currency) -> Result<Statement, BankError> {
    let document = xml::read(file)?;
    let body = document
        .at(&["BkToCstmrStmt"])
        .ok_or_else(|| missing("BkToCstmrStmt"))?;
    let mut statements = body.all("Stmt");
    let statement = statements.next().ok_or_else(|| missing("Stmt"))?;
    if statements.next().is_some() {
        return Err(BankError::invalid("Stmt", "there are several; send them one by one"));
    }
    let account = [&["Acct", "Id", "Othr", "Id"][..], &["Acct", "Id", "IBAN"]]
        .into_iter()
        .find_map(|path| statement.text_at(path).filter(|text| !text.is_empty()));
    let account = account.ok_or_else(|| missing("Stmt/Acct/Id"))?.to_owned();
    let opening = balance(statement, &["OPBD", "PRCD"], currency)?;
    let closing = balance(statement, &["CLBD"], currency)?;
    let (mut entries, mut found) = (Vec::new(), opening);
    for entry in statement.all("Ntry") {
        // In version 02 the code itself, later in an element of its own.
        let state = entry.text_at(&["Sts", "Cd"]).or_else(|| entry.text_at(&["Sts"]));
        if state != Some("BOOK") {
            continue;
        }
        let amount = positive(entry.at(&["Amt"]).ok_or_else(|| missing("Ntry/Amt"))?, currency)?;
        let is_credit = is_credit(entry)?;
        let signed = if is_credit { amount } else { amount.negated() };
        found = found
            .checked_add(signed)
            .map_err(|error| BankError::invalid("Ntry", error.to_string()))?;
        parts(entry, amount, is_credit, currency, &mut entries)?;
    }
    if found != closing {
        return Err(BankError::Sum {
            what: "CLBD",
            told: closing.to_string(),
            found: found.to_string(),
        });
    }
    Ok(Statement {
        account,
        opening,
        closing,
        entries,
    })
}

fn missing(element: &str) -> BankError {
    BankError::Missing {
        element: element.to_owned(),
    }
}

fn balance(statement: &Element, codes: &[&str], currency: Currency) -> Result<Amount, BankError> {
    let code = |balance: &&Element| {
        let code = balance.text_at(&["Tp", "CdOrPrtry", "Cd"]);
        code.is_some_and(|code| codes.contains(&code))
    };
    let found = statement
        .all("Bal")
        .find(code)
        .ok_or_else(|| missing(&format!("Bal {}", codes.join(" or "))))?;
    let amount = amount_in(found.at(&["Amt"]).ok_or_else(|| missing("Bal/Amt"))?, currency)?;
    Ok(if is_credit(found)? { amount } else { amount.negated() })
}

fn is_credit(element: &Element) -> Result<bool, BankError> {
    match element.require(&["CdtDbtInd"])? {
        "CRDT" => Ok(true),
        "DBIT" => Ok(false),
        other => Err(BankError::invalid(
            "CdtDbtInd",
            format!("{other} is neither CRDT nor DBIT"),
        )),
    }
}

fn positive(element: &Element, currency: Currency) -> Result<Amount, BankError> {
    let amount = amount_in(element, currency)?;
    if amount.is_positive() {
        Ok(amount)
    } else {
        Err(BankError::invalid(&element.name, "is not above zero"))
    }
}

/// The single payments of an entry. A bank may book many as one; then each has to tell its amount, and they have to add up.
fn parts(
    entry: &Element,
    amount: Amount,
    is_credit: bool,
    currency: Currency,
    entries: &mut Vec<StatementEntry>,
) -> Result<(), BankError> {
    let reference = entry.text_at(&["AcctSvcrRef"]).or_else(|| entry.text_at(&["NtryRef"]));
    let reference = reference.unwrap_or_default();
    let details = entry.text_at(&["AddtlNtryInf"]).unwrap_or_default();
    let booked_on = match date_at(entry, &["BookgDt", "Dt"])? {
        None => date_at(entry, &["BookgDt", "DtTm"])?,
        day => day,
    };
    let told: Vec<&Element> = entry
        .all("NtryDtls")
        .flat_map(|details| details.all("TxDtls"))
        .collect();
    let made = |of: Option<&Element>, amount| {
        let id = of.and_then(|of| of.text_at(&["Refs", "EndToEndId"]));
        let own = of
            .and_then(|of| of.text_at(&["Refs", "AcctSvcrRef"]))
            .unwrap_or(reference);
        StatementEntry {
            amount,
            is_credit,
            end_to_end_id: id
                .filter(|id| !id.is_empty() && *id != "NOTPROVIDED")
                .map(ToOwned::to_owned),
            booked_on,
            reference: printable(own),
            details: printable(details),
        }
    };
    if told.len() < 2 {
        entries.push(made(told.first().copied(), amount));
        return Ok(());
    }
    let mut found = Amount::zero(currency);
    for of in told {
        let own = of.at(&["Amt"]).or_else(|| of.at(&["AmtDtls", "TxAmt", "Amt"]));
        let own = positive(own.ok_or_else(|| missing("TxDtls/Amt"))?, currency)?;
        found = found
            .checked_add(own)
            .map_err(|error| BankError::invalid("TxDtls", error.to_string()))?;
        entries.push(made(Some(of), own));
    }
    if found != amount {
        return Err(BankError::Sum {
            what: "Ntry/Amt",
            told: amount.to_string(),
            found: found.to_string(),
        });
    }
    Ok(())
}

fn printable(text: &str) -> String {
    text.chars().filter(|char| !char.is_control()).take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLOSING: &str = "<Bal><Tp><CdOrPrtry><Cd>CLBD</Cd></CdOrPrtry></Tp><Amt Ccy=\"CNY\">88.50</Amt><CdtDbtInd>CRDT</CdtDbtInd></Bal>";

    fn statement(entries: &str) -> String {
        format!(
            "<Document xmlns=\"urn:iso:std:iso:20022:tech:xsd:camt.053.001.02\"><BkToCstmrStmt><Stmt><Acct><Id><Othr><Id>6222\
             </Id></Othr></Id></Acct><Bal><Tp><CdOrPrtry><Cd>OPBD</Cd></CdOrPrtry></Tp><Amt Ccy=\"CNY\">100.00</Amt><CdtDbtInd>\
             CRDT</CdtDbtInd></Bal>{CLOSING}{entries}</Stmt></BkToCstmrStmt></Document>"
        )
    }

    fn entry(amount: &str, way: &str, state: &str, rest: &str) -> String {
        format!("<Ntry><Amt Ccy=\"CNY\">{amount}</Amt><CdtDbtInd>{way}</CdtDbtInd>{state}{rest}</Ntry>")
    }

    const BOOKED: &str = "<Sts>BOOK</Sts>";

    fn details(id: &str, amount: &str) -> String {
        format!("<TxDtls><Refs><EndToEndId>{id}</EndToEndId></Refs><Amt Ccy=\"CNY\">{amount}</Amt></TxDtls>")
    }

    fn parsed(text: &str) -> Result<Statement, BankError> {
        read(text.as_bytes(), Currency::parse("CNY").unwrap())
    }

    #[test]
    fn versions_are_read_alike_and_add_up() {
        let batch = format!(
            "<NtryDtls>{}{}</NtryDtls>",
            details("1-S1", "10.00"),
            details("1-S2", "2.00")
        );
        let text = statement(
            &[
                entry("12.00", "DBIT", BOOKED, &batch),
                entry("0.50", "CRDT", "<Sts><Cd>BOOK</Cd></Sts>", "<NtryRef>9</NtryRef>"),
                entry("7.00", "CRDT", "<Sts>PDNG</Sts>", ""),
            ]
            .concat(),
        );
        let found = parsed(&text).unwrap();
        assert_eq!((found.account.as_str(), found.entries.len()), ("6222", 3));
        assert_eq!(found.entries[1].end_to_end_id.as_deref(), Some("1-S2"));
        assert_eq!(
            (found.entries[2].reference.as_str(), found.entries[2].is_credit),
            ("9", true)
        );
        let later = text.replace("camt.053.001.02", "camt.053.001.08");
        assert_eq!(parsed(&later).unwrap(), found);
    }

    #[test]
    fn what_does_not_add_up_is_refused_whole() {
        let good = statement(&entry("11.50", "DBIT", BOOKED, ""));
        assert!(parsed(&good).is_ok());
        let batch = format!(
            "<NtryDtls>{}{}</NtryDtls>",
            details("1-S1", "10.00"),
            details("1-S2", "1.00")
        );
        for bad in [
            statement(&entry("11.51", "DBIT", BOOKED, "")),
            statement(&entry("11.50", "CRDT", BOOKED, "")),
            statement(&entry("11.50", "BOTH", BOOKED, "")),
            statement(&entry("-11.50", "CRDT", BOOKED, "")),
            statement(&entry("11.501", "DBIT", BOOKED, "")),
            statement(&entry("11.50", "DBIT", BOOKED, &batch)),
            good.replace("Ccy=\"CNY\">11.50", "Ccy=\"USD\">11.50"),
            good.replace(CLOSING, ""),
            good.replace("<Cd>OPBD</Cd>", "<Cd>CLAV</Cd>"),
            good.replace("<Stmt>", "<Stmt></Stmt><Stmt>"),
            good.replace("Acct", "Account"),
        ] {
            assert!(parsed(&bad).is_err(), "{bad}");
        }
    }
}
