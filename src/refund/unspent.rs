//! Whose money a detainee has not spent yet, first in first out, pure.
//!
//! Each credit to the available account is a layer. What is spent comes out of the oldest layers; goods that come back put
//! the money back where it came from, as if they had never been bought; a refund comes out of its own remittance's layer.
//! So the layers always sum to the balance.

use std::collections::HashMap;

use crate::{
    ids::Seq,
    ledger::Declined,
    money::{Amount, Currency},
};

/// What one posting to or from the available account means for the layers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Meaning {
    /// Money of a remittance.
    Remitted {
        /// The remittance's id.
        remittance: String,
    },
    /// Money that is no remittance's.
    Other,
    /// Money leaves, oldest first.
    Spent,
    /// Money goes back to the payer of a remittance.
    Refunded {
        /// The remittance's id.
        remittance: String,
    },
    /// Money of a remittance is taken back: its credit was wrong.
    Reversed {
        /// The remittance's id.
        remittance: String,
    },
    /// Money comes from another center, or back to it: to the layer of its remittance, which it makes if there is none; money
    /// that is no remittance's makes a layer of its own.
    Brought {
        /// The remittance's name.
        remittance: Option<String>,
    },
    /// Money comes back that an earlier transaction had taken.
    Restored {
        /// That transaction.
        taken_by: Seq,
    },
}

impl Meaning {
    /// In a word.
    pub const fn name(&self) -> &'static str {
        match self {
            Meaning::Remitted { .. } => "REMITTED",
            Meaning::Other => "OTHER",
            Meaning::Spent => "SPENT",
            Meaning::Refunded { .. } => "REFUNDED",
            Meaning::Reversed { .. } => "REVERSED",
            Meaning::Brought { .. } => "BROUGHT",
            Meaning::Restored { .. } => "RESTORED",
        }
    }
}

/// One posting to or from the available account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Movement {
    /// Its transaction.
    pub seq: Seq,
    /// How much, positive.
    pub amount: Amount,
    /// What it means.
    pub meaning: Meaning,
}

/// What is left of one credit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// The remittance it came from; none for other money.
    pub remittance: Option<String>,
    /// The transaction that credited it.
    pub seq: Seq,
    /// What is left of it.
    pub unspent: Amount,
    /// What was refunded of it, refunds in transit included.
    pub refunded: Amount,
}

/// What an earlier transaction took, and out of which layers.
#[derive(Debug, Default)]
struct Taken {
    parts: Vec<(usize, Amount)>,
    is_refund: bool,
}

/// The layers of a detainee's money, oldest first.
#[derive(Debug)]
pub struct Unspent {
    currency: Currency,
    layers: Vec<Layer>,
    taken: HashMap<Seq, Taken>,
}

impl Unspent {
    /// No money.
    pub fn new(currency: Currency) -> Unspent {
        Unspent {
            currency,
            layers: Vec::new(),
            taken: HashMap::new(),
        }
    }

    /// The layers that postings make, in the journal's order.
    ///
    /// # Errors
    /// [`Declined::Broken`] if more leaves than is there, or more comes back than was taken.
    pub fn of(movements: &[Movement], currency: Currency) -> Result<Unspent, Declined> {
        let mut unspent = Unspent::new(currency);
        for movement in movements {
            unspent.apply(movement)?;
        }
        Ok(unspent)
    }

    /// The layers, oldest first, also those that are spent.
    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// Out of which layers a transaction took what did not come back, oldest first.
    pub fn taken_by(&self, seq: Seq) -> impl Iterator<Item = (&Layer, Amount)> {
        let parts = self
            .taken
            .get(&seq)
            .map(|taken| taken.parts.as_slice())
            .unwrap_or_default();
        parts
            .iter()
            .filter_map(|(index, amount)| Some((self.layers.get(*index)?, *amount)))
    }

    /// What is left of everything: the available balance.
    #[cfg(test)]
    fn total(&self) -> Result<Amount, crate::money::MoneyError> {
        Amount::sum(self.layers.iter().map(|layer| layer.unspent), self.currency)
    }

    /// What is left of a remittance, and what was refunded of it.
    pub fn of_remittance(&self, remittance: &str) -> (Amount, Amount) {
        let zero = Amount::zero(self.currency);
        self.index_of(remittance)
            .and_then(|index| self.layers.get(index))
            .map_or((zero, zero), |layer| (layer.unspent, layer.refunded))
    }

    /// Which transactions have used a layer, by its place among [`Unspent::layers`], and how much of it; what came back is left out.
    pub fn uses(&self, index: usize) -> Vec<(Seq, Amount)> {
        let of_layer = |(seq, taken): (&Seq, &Taken)| {
            let parts = taken.parts.iter().filter(|(layer, _)| *layer == index);
            parts.map(|(_, part)| (*seq, *part)).collect::<Vec<_>>()
        };
        let mut uses: Vec<(Seq, Amount)> = self.taken.iter().flat_map(of_layer).collect();
        uses.sort_by_key(|(seq, _)| *seq);
        uses
    }

    fn index_of(&self, remittance: &str) -> Option<usize> {
        self.layers
            .iter()
            .position(|layer| layer.remittance.as_deref() == Some(remittance))
    }

    fn apply(&mut self, movement: &Movement) -> Result<(), Declined> {
        let (seq, amount) = (movement.seq, movement.amount);
        match &movement.meaning {
            Meaning::Remitted { remittance } => self.add(seq, amount, Some(remittance.clone())),
            Meaning::Other => self.add(seq, amount, None),
            Meaning::Spent => self.spend(seq, amount),
            Meaning::Refunded { remittance } => self.take(seq, amount, remittance, true),
            Meaning::Reversed { remittance } => self.take(seq, amount, remittance, false),
            Meaning::Brought { remittance } => self.bring(seq, amount, remittance.clone()),
            Meaning::Restored { taken_by } => self.restore(seq, amount, *taken_by),
        }
    }

    fn add(&mut self, seq: Seq, amount: Amount, remittance: Option<String>) -> Result<(), Declined> {
        self.layers.push(Layer {
            remittance,
            seq,
            unspent: amount,
            refunded: Amount::zero(self.currency),
        });
        Ok(())
    }

    fn bring(&mut self, seq: Seq, amount: Amount, remittance: Option<String>) -> Result<(), Declined> {
        let known = remittance.as_deref().and_then(|name| self.index_of(name));
        match known.and_then(|index| self.layers.get_mut(index)) {
            Some(layer) => {
                layer.unspent = layer.unspent.checked_add(amount)?;
                Ok(())
            }
            None => self.add(seq, amount, remittance),
        }
    }

    fn spend(&mut self, seq: Seq, amount: Amount) -> Result<(), Declined> {
        let taken = self.taken.entry(seq).or_default();
        let mut left = amount;
        for (index, layer) in self.layers.iter_mut().enumerate() {
            if left.is_zero() {
                break;
            }
            let part = layer.unspent.min(left)?;
            if part.is_positive() {
                layer.unspent = layer.unspent.checked_sub(part)?;
                left = left.checked_sub(part)?;
                taken.parts.push((index, part));
            }
        }
        if left.is_zero() {
            Ok(())
        } else {
            Err(Declined::Broken(format!(
                "transaction {seq} spends {left} that nobody remitted"
            )))
        }
    }

    /// Takes one remittance's own money.
    fn take(&mut self, seq: Seq, amount: Amount, remittance: &str, is_refund: bool) -> Result<(), Declined> {
        let broken = || Declined::Broken(format!("transaction {seq} takes more than is left of {remittance}"));
        let index = self.index_of(remittance).ok_or_else(broken)?;
        let layer = self.layers.get_mut(index).ok_or_else(broken)?;
        if amount.exceeds(layer.unspent)? {
            return Err(broken());
        }
        layer.unspent = layer.unspent.checked_sub(amount)?;
        if is_refund {
            layer.refunded = layer.refunded.checked_add(amount)?;
        }
        let taken = self.taken.entry(seq).or_default();
        taken.is_refund = is_refund;
        taken.parts.push((index, amount));
        Ok(())
    }

    /// Gives back the newest first: what remains taken is what would have been taken if so much less had been asked for.
    fn restore(&mut self, seq: Seq, amount: Amount, taken_by: Seq) -> Result<(), Declined> {
        let broken = || Declined::Broken(format!("transaction {seq} gives back more than {taken_by} took"));
        let taken = self.taken.get_mut(&taken_by).ok_or_else(broken)?;
        let mut left = amount;
        while left.is_positive() {
            let (index, part) = taken.parts.pop().ok_or_else(broken)?;
            let back = part.min(left)?;
            let layer = self.layers.get_mut(index).ok_or_else(broken)?;
            layer.unspent = layer.unspent.checked_add(back)?;
            if taken.is_refund {
                layer.refunded = layer.refunded.checked_sub(back)?;
            }
            left = left.checked_sub(back)?;
            let rest = part.checked_sub(back)?;
            if rest.is_positive() {
                taken.parts.push((index, rest));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn currency() -> Currency {
        Currency::parse("CNY").unwrap()
    }

    fn cny(text: &str) -> Amount {
        Amount::parse(text, currency()).unwrap()
    }

    /// `+A 100` a remittance, `+ 5` other money, `>A 10` from elsewhere, `- 30` spent, `~A 20` refunded, `!A 20` taken back, `^3 10` back from
    /// transaction 3.
    fn movement(seq: i64, text: &str) -> Movement {
        let (what, amount) = text.split_once(' ').unwrap();
        let (sign, name) = what.split_at(1);
        let remittance = name.to_owned();
        let meaning = match sign {
            "+" if name.is_empty() => Meaning::Other,
            "+" => Meaning::Remitted { remittance },
            "-" => Meaning::Spent,
            "~" => Meaning::Refunded { remittance },
            "!" => Meaning::Reversed { remittance },
            ">" => Meaning::Brought {
                remittance: Some(remittance).filter(|name| !name.is_empty()),
            },
            "^" => Meaning::Restored {
                taken_by: Seq(name.parse().unwrap()),
            },
            _ => panic!("{text}"),
        };
        Movement {
            seq: Seq(seq),
            amount: cny(amount),
            meaning,
        }
    }

    fn unspent(texts: &[&str]) -> Result<Unspent, Declined> {
        let movements: Vec<Movement> = (1..).zip(texts).map(|(seq, text)| movement(seq, text)).collect();
        Unspent::of(&movements, currency())
    }

    fn left(texts: &[&str]) -> String {
        let layers = unspent(texts).unwrap();
        let texts: Vec<String> = layers
            .layers()
            .iter()
            .map(|layer| format!("{}{}", layer.remittance.as_deref().unwrap_or("-"), layer.unspent))
            .collect();
        texts.join(" ")
    }

    #[test]
    fn the_oldest_money_is_spent_first() {
        assert_eq!(left(&["+A 100", "+B 50", "- 30"]), "A70.00 B50.00");
        assert_eq!(left(&["+A 100", "+B 50", "- 120"]), "A0.00 B30.00");
        assert_eq!(left(&["+ 10", "+A 100", "- 30"]), "-0.00 A80.00");
        assert_eq!(left(&["+A 10", "- 10", "+B 5", "- 2"]), "A0.00 B3.00");
    }

    #[test]
    fn what_comes_back_goes_where_it_came_from() {
        // 120 took 100 of A and 20 of B. As if only 90 or 50 had been bought:
        assert_eq!(left(&["+A 100", "+B 50", "- 120", "^3 30"]), "A10.00 B50.00");
        assert_eq!(left(&["+A 100", "+B 50", "- 120", "^3 30", "^3 40"]), "A50.00 B50.00");
        // Spent again in the meantime, from what was there.
        assert_eq!(left(&["+A 10", "- 10", "+B 10", "- 4", "^2 5", "- 7"]), "A0.00 B4.00");
        assert_eq!(left(&["+A 10", "+B 5", "- 15", "^3 15"]), "A10.00 B5.00");
    }

    #[test]
    fn a_refund_takes_its_own_remittances_money() {
        assert_eq!(left(&["+A 100", "+B 50", "~B 20"]), "A100.00 B30.00");
        assert_eq!(left(&["+A 100", "+B 50", "~B 20", "^3 20"]), "A100.00 B50.00");
        let layers = unspent(&["+A 100", "- 30", "~A 20", "~A 10", "^4 10"]).unwrap();
        assert_eq!(layers.of_remittance("A"), (cny("50"), cny("20")));
        assert_eq!(layers.of_remittance("C"), (cny("0"), cny("0")));
    }

    #[test]
    fn what_is_taken_back_is_not_refunded() {
        let layers = unspent(&["+A 100", "+B 50", "- 30", "~A 20", "!A 50", "- 40"]).unwrap();
        assert_eq!(layers.of_remittance("A"), (cny("0"), cny("20")));
        assert_eq!(layers.of_remittance("B"), (cny("10"), cny("0")));
    }

    #[test]
    fn several_postings_of_one_transaction_are_one_purchase() {
        let mut movements: Vec<Movement> = [(1, "+A 10"), (2, "+B 10"), (3, "- 8"), (3, "- 8")]
            .into_iter()
            .map(|(seq, text)| movement(seq, text))
            .collect();
        movements.push(movement(4, "^3 7"));
        let layers = Unspent::of(&movements, currency()).unwrap();
        assert_eq!(layers.of_remittance("A").0, cny("1"));
        assert_eq!(layers.of_remittance("B").0, cny("10"));
    }

    #[test]
    fn what_comes_from_elsewhere_keeps_its_name() {
        assert_eq!(left(&[">A 100", "> 5", "+B 50", "- 30"]), "A70.00 -5.00 B50.00");
        // Withheld elsewhere, and given back here.
        assert_eq!(
            left(&[">A 100", "+B 50", "- 120", ">A 10", "> 3"]),
            "A10.00 B30.00 -3.00"
        );
        let layers = unspent(&["+A 10", "+B 10", "- 15", "^3 2"]).unwrap();
        let taken: Vec<String> = layers
            .taken_by(Seq(3))
            .map(|(layer, amount)| format!("{:?} {amount}", layer.remittance))
            .collect();
        assert_eq!(taken, ["Some(\"A\") 10.00", "Some(\"B\") 3.00"]);
    }

    #[test]
    fn what_cannot_be_is_said() {
        for texts in [
            &["+A 10", "- 11"][..],
            &["+A 10", "~B 1"],
            &["+A 10", "+B 1", "~B 2"],
            &["+A 10", "- 5", "^2 6"],
            &["+A 10", "^1 1"],
        ] {
            assert!(matches!(unspent(texts), Err(Declined::Broken(_))), "{texts:?}");
        }
    }

    proptest! {
        /// Whatever happens, what is left of all layers is the balance, none is below zero, and none is above what came in.
        #[test]
        fn layers_sum_to_the_balance(steps in prop::collection::vec((0_u8..5, 1_u32..2000, 0_usize..8), 1..60)) {
            let fen = |n: u32| cny(&format!("{}.{:02}", n / 100, n % 100));
            let mut balance = Amount::zero(currency());
            let mut layers = Unspent::new(currency());
            let mut takes: Vec<(Seq, Amount)> = Vec::new();
            for (seq, (what, n, pick)) in (1..).zip(steps) {
                let seq = Seq(seq);
                let mut amount = fen(n);
                let meaning = match what {
                    0 => Meaning::Remitted { remittance: format!("R{seq}") },
                    1 => Meaning::Other,
                    2 => {
                        amount = amount.min(balance).unwrap();
                        Meaning::Spent
                    }
                    3 => {
                        let remitted: Vec<Layer> =
                            layers.layers().iter().filter(|layer| layer.remittance.is_some()).cloned().collect();
                        let Some(layer) = remitted.get(pick % remitted.len().max(1)) else { continue };
                        amount = amount.min(layer.unspent).unwrap();
                        Meaning::Refunded { remittance: layer.remittance.clone().unwrap() }
                    }
                    _ => {
                        let count = takes.len().max(1);
                        let Some((by, open)) = takes.get_mut(pick % count) else { continue };
                        amount = amount.min(*open).unwrap();
                        *open = open.checked_sub(amount).unwrap();
                        Meaning::Restored { taken_by: *by }
                    }
                };
                if amount.is_zero() {
                    continue;
                }
                let takes_money = matches!(meaning, Meaning::Spent | Meaning::Refunded { .. });
                balance = if takes_money {
                    takes.push((seq, amount));
                    balance.checked_sub(amount).unwrap()
                } else {
                    balance.checked_add(amount).unwrap()
                };
                layers.apply(&Movement { seq, amount, meaning }).unwrap();
                prop_assert_eq!(layers.total().unwrap(), balance);
                prop_assert!(layers.layers().iter().all(|layer| !layer.unspent.is_negative()));
                prop_assert!(layers.layers().iter().all(|layer| !layer.refunded.is_negative()));
            }
        }
    }
}
