//! Whose money is in an available account, told so that another center understands it: what moves with a detainee, and what comes
//! back to where it was paid.

use std::collections::HashMap;

use super::{
    Use,
    entity::{credit_facts, payment_facts},
    record_in_tx, store,
    unspent::{Layer, Unspent},
};
use crate::{
    db::Conn,
    ids::{AccountNo, Seq},
    ledger::{Center, Declined},
    money::Amount,
    proto::{JournalRecord, LayerFacts},
};

/// The layers of an available account, with what is known of each.
pub struct Layers {
    center: Center,
    unspent: Unspent,
    /// The credits of this journal, by their transaction.
    credits: HashMap<i64, JournalRecord>,
    /// What is known of layers that came from elsewhere, by their names.
    brought: HashMap<String, LayerFacts>,
    /// Credits that were taken back: what comes back of them is nobody's to refund.
    reversed: HashMap<Seq, Seq>,
    /// In a word, what each transaction is.
    meant: HashMap<Seq, &'static str>,
}

/// The name of a remittance of a center, as layers are told.
pub fn layer_name(center: &Center, remittance: &str) -> String {
    format!("centers/{}/remittances/{remittance}", center.id)
}

impl Layers {
    /// Reads the layers as they are right after a transaction.
    pub async fn read_in_tx(
        conn: &mut Conn,
        center: &Center,
        available: AccountNo,
        through: Seq,
    ) -> Result<Layers, Declined> {
        let read = store::movements(conn, center, available, through).await?;
        let unspent = Unspent::of(&read.movements, center.currency)?;
        let seqs: Vec<Seq> = unspent.layers().iter().map(|layer| layer.seq).collect();
        let meant = read.movements.iter().map(|moved| (moved.seq, moved.meaning.name()));
        let meant = meant.collect();
        let mut brought = HashMap::new();
        for layer in read.brought {
            brought.entry(layer.remittance.clone()).or_insert(layer);
        }
        Ok(Layers {
            reversed: store::reversals(&mut *conn, center.no, &seqs).await?,
            credits: read.credits.into_iter().map(|credit| (credit.seq, credit)).collect(),
            center: center.clone(),
            unspent,
            brought,
            meant,
        })
    }

    /// All of them, oldest first, those that are spent too, with what has used each in this center.
    pub(super) async fn all(&self, conn: &mut Conn) -> Result<Vec<(LayerFacts, Vec<Use>)>, Declined> {
        let mut told = Vec::new();
        for (index, layer) in self.unspent.layers().iter().enumerate() {
            let uses = self.unspent.uses(index).into_iter().map(|(seq, amount)| Use {
                seq,
                what: self.meant.get(&seq).copied().unwrap_or("SPENT"),
                amount,
            });
            told.push((self.told(conn, layer, layer.unspent).await?, uses.collect()));
        }
        Ok(told)
    }

    /// Those of which something is left, oldest first; they sum to the balance.
    pub async fn left(&self, conn: &mut Conn) -> Result<Vec<LayerFacts>, Declined> {
        let mut told = Vec::new();
        for layer in self.unspent.layers().iter().filter(|layer| layer.unspent.is_positive()) {
            told.push(self.told(conn, layer, layer.unspent).await?);
        }
        Ok(told)
    }

    /// Out of which a transaction took money that did not come back, oldest first.
    pub async fn taken_by(&self, conn: &mut Conn, seq: Seq) -> Result<Vec<LayerFacts>, Declined> {
        let mut told = Vec::new();
        for (layer, amount) in self.unspent.taken_by(seq) {
            told.push(self.told(conn, layer, amount).await?);
        }
        Ok(told)
    }

    /// What is left of a layer that came from elsewhere, and what is known of it.
    pub fn brought(&self, name: &str) -> Option<(Amount, &LayerFacts)> {
        let facts = self.brought.get(name)?;
        Some((self.unspent.of_remittance(name).0, facts))
    }

    async fn told(&self, conn: &mut Conn, layer: &Layer, amount: Amount) -> Result<LayerFacts, Declined> {
        let other = LayerFacts {
            amount: amount.to_string(),
            ..LayerFacts::default()
        };
        let Some(name) = &layer.remittance else {
            return Ok(other);
        };
        let parse = |text: &str| Amount::parse(text, self.center.currency);
        if let Some(brought) = self.brought.get(name) {
            let refunded = parse(&brought.refunded)?.checked_add(layer.refunded)?;
            return Ok(LayerFacts {
                amount: amount.to_string(),
                refunded: refunded.to_string(),
                ..brought.clone()
            });
        }
        let Some(credit) = self
            .credits
            .get(&layer.seq.0)
            .filter(|_| !self.reversed.contains_key(&layer.seq))
        else {
            return Ok(other);
        };
        let facts = credit_facts(credit)?;
        // Credited out of suspense, it is what was left of the payment.
        let booked = match credit.reverses {
            0 => credit.clone(),
            seq => record_in_tx(conn, &self.center, Seq(seq)).await.map_err(broken)?,
        };
        let (_, original) = payment_facts(&booked, self.center.currency)?;
        let refunded = original
            .checked_sub(parse(&facts.amount)?)?
            .checked_add(layer.refunded)?;
        Ok(LayerFacts {
            remittance: layer_name(&self.center, &facts.remittance),
            payer: facts.payer.clone(),
            amount: amount.to_string(),
            original: original.to_string(),
            refunded: refunded.to_string(),
            credited_at: credit.recorded_at,
        })
    }
}

fn broken(error: impl std::fmt::Display) -> Declined {
    Declined::Broken(error.to_string())
}
