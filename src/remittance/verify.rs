//! Remittances and their last legs against the transactions that brought them into the ledger.

use std::collections::BTreeMap;

use futures::future::{BoxFuture, FutureExt as _};

use super::LegState;
use crate::{
    db::Conn,
    ids::AccountNo,
    ledger::{
        Code, record,
        verify::{Check, Owner, Page, VerifyError},
    },
    proto::{CreditFacts, JournalRecord, journal_record::Facts},
};

/// Every credit and suspense has its remittance, with the same facts and its leg; no other remittance has such a leg.
#[derive(Debug, Default)]
pub struct RemittancesCheck;

impl Check for RemittancesCheck {
    fn page<'a>(&'a mut self, conn: &'a mut Conn, page: &'a Page<'a>) -> BoxFuture<'a, Result<(), VerifyError>> {
        legs(conn, page).boxed()
    }

    fn end<'a>(&'a mut self, conn: &'a mut Conn, page: &'a Page<'a>) -> BoxFuture<'a, Result<(), VerifyError>> {
        clearing(conn, page).boxed()
    }
}

/// The state that a record brings its remittance to, its detail, and the facts that both kinds share.
fn told(record: &JournalRecord) -> Option<(LegState, String, CreditFacts)> {
    match record.facts.clone()? {
        Facts::Credit(facts) => Some((LegState::Credited, String::new(), facts)),
        Facts::Suspense(facts) => {
            let shared = CreditFacts {
                remittance: facts.remittance,
                detainee: facts.detainee,
                payer: facts.payer,
                channel: facts.channel,
                gateway_transaction: facts.gateway_transaction,
                paid_at: facts.paid_at,
                amount: facts.amount,
                ..CreditFacts::default()
            };
            Some((LegState::Suspended, facts.reason, shared))
        }
        _ => None,
    }
}

async fn legs(conn: &mut Conn, page: &Page<'_>) -> Result<(), VerifyError> {
    let rows = sqlx::query!(
        r#"select l.seq as "seq!", l.remittance_id, l.state, l.at, l.detail,
                  r.detainee_id as "detainee_id?", r.payer_id as "payer_id?", r.channel as "channel?",
                  r.amount as "amount?", paid.gateway_transaction as "gateway_transaction?", paid.paid_at as "paid_at?"
           from remittance_leg l
           left join remittance r on r.center_id = l.center_id and r.remittance_id = l.remittance_id
           left join remittance_leg paid on paid.center_id = l.center_id and paid.remittance_id = l.remittance_id
               and paid.state = 'PAID'
           where l.center_id = $1 and l.seq > $2 and l.seq <= $3"#,
        page.center.no.0,
        page.after.0,
        page.through.0,
    )
    .fetch_all(conn)
    .await?;
    let (mut stored, mut stored_facts) = (BTreeMap::new(), BTreeMap::new());
    for row in rows {
        let facts = (row.detainee_id, row.payer_id, row.channel, row.amount);
        let payment = (row.gateway_transaction, row.paid_at.map(record::timestamp));
        stored_facts.insert(row.remittance_id.clone(), (facts, payment));
        let key = format!("{} {}", row.remittance_id, row.state);
        stored.insert(key, (row.seq, Some(record::timestamp(row.at)), row.detail));
    }
    let (mut explained, mut explained_facts) = (BTreeMap::new(), BTreeMap::new());
    for record in page.records {
        let Some((state, detail, facts)) = told(record) else {
            continue;
        };
        let parties = [Owner::detainee(&facts.detainee), Owner::channel(&facts.channel)];
        page.parties(record, &parties)?;
        let key = format!("{} {}", facts.remittance, state.name());
        explained.insert(key, (record.seq, record.recorded_at, detail));
        let amount = page.amount(record, &facts.amount)?;
        let payment = (Some(facts.gateway_transaction), facts.paid_at);
        let facts_of = (
            Some(facts.detainee),
            Some(facts.payer),
            Some(facts.channel),
            Some(amount),
        );
        explained_facts.insert(facts.remittance, (facts_of, payment));
    }
    page.same_rows("remittance_leg", &explained, &stored)?;
    page.same_rows("remittance", &explained_facts, &stored_facts)
}

/// Money comes in through the account of the remittance's own channel.
async fn clearing(conn: &mut Conn, page: &Page<'_>) -> Result<(), VerifyError> {
    let rows = sqlx::query!(
        "select clearing_no, channel, min(remittance_id) as remittance_id from remittance
         where center_id = $1 group by clearing_no, channel",
        page.center.no.0,
    )
    .fetch_all(conn)
    .await?;
    for row in rows {
        let owner = Owner::channel(&row.channel);
        let found = page
            .accounts
            .require(AccountNo(row.clearing_no), Code::GatewayClearing, owner.as_str());
        found.map_err(|what| page.row_differs("remittance", row.remittance_id.unwrap_or_default(), what))?;
    }
    Ok(())
}
