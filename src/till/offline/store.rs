//! Allowances and sales in the terminal's store.

use anyhow::{Context as _, bail};
use redb::{ReadableDatabase as _, ReadableTable as _};
use serde::{Deserialize, Serialize};

use super::chain::{NO_HASH, Signed};
use crate::till::{
    receipt::Slip,
    store::{ALLOWANCES, Entry, SALES, SETTINGS, State, Store, UNSENT, add_receipt, end, read},
};

/// Where the chain goes on when the service knows more than the store does.
const BASE: &str = "chain_base";

/// Money that is set aside for this terminal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Allowance {
    pub number: i64,
    pub detainee: String,
    pub currency: String,
    pub amount: String,
    /// What has not been sold, by this store.
    pub left: String,
    /// Until when it can be sold within it, in seconds since 1970 by the service's clock.
    pub expire_s: i64,
    pub is_ended: bool,
}

/// A sale without the network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sale {
    pub number: i64,
    pub allowance: i64,
    pub detainee: String,
    pub total: String,
    /// Hexadecimal, as the next two.
    pub statement: String,
    pub signature: String,
    pub hash: String,
    pub receipt: u64,
    /// What the service said became of it; none before it was brought in.
    pub outcome: Option<SaleOutcome>,
}

/// What became of a sale.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SaleOutcome {
    /// For example `CAPTURED`.
    pub state: String,
    pub reason: String,
    pub message: String,
    pub transaction: String,
    pub flags: Vec<String>,
}

/// A number and the hash of the sale that has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    pub number: i64,
    /// Hexadecimal.
    pub hash: String,
}

impl Store {
    /// The last sale, or where the service says that the chain goes on.
    pub fn last_link(&self) -> anyhow::Result<Link> {
        let tx = self.0.begin_read()?;
        let base = tx.open_table(SETTINGS)?.get(BASE)?;
        let base = match base {
            Some(row) => read(row.value())?,
            None => Link {
                number: 0,
                hash: hex::encode(NO_HASH),
            },
        };
        let last = tx.open_table(SALES)?.last()?.map(|(_, row)| read::<Sale>(row.value()));
        match last.transpose()? {
            Some(last) if last.number > base.number => Ok(Link {
                number: last.number,
                hash: last.hash,
            }),
            _ => Ok(base),
        }
    }

    /// Goes on where the service says, which knows of sales that this store does not.
    pub fn set_base(&self, link: &Link) -> anyhow::Result<()> {
        self.write(|tx| {
            tx.open_table(SETTINGS)?
                .insert(BASE, serde_json::to_vec(link)?.as_slice())?;
            Ok(())
        })
    }

    /// All allowances.
    pub fn allowances(&self) -> anyhow::Result<Vec<Allowance>> {
        let tx = self.0.begin_read()?;
        tx.open_table(ALLOWANCES)?
            .iter()?
            .map(|row| read(row?.1.value()))
            .collect()
    }

    /// One that is known.
    pub fn allowance(&self, number: i64) -> anyhow::Result<Option<Allowance>> {
        let tx = self.0.begin_read()?;
        let found = tx.open_table(ALLOWANCES)?.get(number)?;
        found.map(|row| read(row.value())).transpose()
    }

    /// Ends an entry of the queue, and keeps the allowance that it is about.
    pub fn done_with(&self, entry: &Entry, answer: &[u8], allowance: &Allowance) -> anyhow::Result<()> {
        self.write(|tx| {
            let state = State::Done {
                answer: hex::encode(answer),
                receipt: None,
            };
            end(tx, entry, state)?;
            tx.open_table(ALLOWANCES)?
                .insert(allowance.number, serde_json::to_vec(allowance)?.as_slice())?;
            Ok(())
        })
    }

    /// Nothing is sold within an allowance any more.
    pub fn allowance_is_over(&self, allowance: &Allowance) -> anyhow::Result<()> {
        let over = Allowance {
            is_ended: true,
            ..allowance.clone()
        };
        self.write(|tx| {
            tx.open_table(ALLOWANCES)?
                .insert(over.number, serde_json::to_vec(&over)?.as_slice())?;
            Ok(())
        })
    }

    /// Writes a sale down with what is left of its allowance and its receipt. Returns the receipt's number.
    pub fn add_sale(&self, allowance: &Allowance, sale: Link, signed: &Signed, slip: Slip) -> anyhow::Result<u64> {
        self.write(|tx| {
            let total = slip.total.clone();
            let receipt = add_receipt(tx, slip)?;
            let row = Sale {
                number: sale.number,
                allowance: allowance.number,
                detainee: allowance.detainee.clone(),
                total,
                statement: hex::encode(&signed.statement),
                signature: hex::encode(&signed.signature),
                hash: sale.hash,
                receipt,
                outcome: None,
            };
            let mut sales = tx.open_table(SALES)?;
            if sales
                .insert(row.number, serde_json::to_vec(&row)?.as_slice())?
                .is_some()
            {
                bail!("the number {} was used before", row.number);
            }
            tx.open_table(UNSENT)?.insert(row.number, ())?;
            tx.open_table(ALLOWANCES)?
                .insert(allowance.number, serde_json::to_vec(allowance)?.as_slice())?;
            Ok(receipt)
        })
    }

    /// All sales.
    pub fn sales(&self) -> anyhow::Result<Vec<Sale>> {
        let tx = self.0.begin_read()?;
        tx.open_table(SALES)?.iter()?.map(|row| read(row?.1.value())).collect()
    }

    /// Sales that have still to be brought in, in their order.
    pub fn unsent(&self) -> anyhow::Result<Vec<Sale>> {
        let tx = self.0.begin_read()?;
        let unsent = tx.open_table(UNSENT)?;
        let sales = tx.open_table(SALES)?;
        let mut found = Vec::new();
        for row in unsent.iter()? {
            let number = row?.0.value();
            let sale = sales.get(number)?.with_context(|| format!("no sale {number}"))?;
            found.push(read(sale.value())?);
        }
        Ok(found)
    }

    /// Keeps what became of a sale. One that waits for others is sent again with them.
    pub fn set_outcome(&self, sale: &Sale, outcome: SaleOutcome, is_final: bool) -> anyhow::Result<()> {
        let sale = Sale {
            outcome: Some(outcome),
            ..sale.clone()
        };
        self.write(|tx| {
            tx.open_table(SALES)?
                .insert(sale.number, serde_json::to_vec(&sale)?.as_slice())?;
            if is_final {
                tx.open_table(UNSENT)?.remove(sale.number)?;
            }
            Ok(())
        })
    }

    /// Has sales sent again, of the numbers that the service says are missing.
    pub fn send_again(&self, first: i64, last: i64) -> anyhow::Result<()> {
        self.write(|tx| {
            let sales = tx.open_table(SALES)?;
            let mut unsent = tx.open_table(UNSENT)?;
            for row in sales.range(first..=last)? {
                unsent.insert(row?.0.value(), ())?;
            }
            Ok(())
        })
    }
}
