//! What is bought on the first day: two hundred orders at four terminals, and what should become of each.
//!
//! Everybody is sent to one terminal, so that what becomes of their orders does not depend on which terminal is faster.

use anyhow::Context as _;

use super::{
    books::{Basket, Books, Verdict, cny},
    cast::{HOUSES, Terminal},
    desk::request_id,
    goods::{self, Product, shelf},
};

/// How many orders each detainee makes of their own; terminals add what is sent twice.
const ORDERS: [(&str, usize); 6] = [
    ("D1001", 43),
    ("D1002", 37),
    ("D1003", 44),
    ("D2001", 20),
    ("D2002", 36),
    ("D2003", 16),
];
/// Orders that are too big: who, which of theirs, what and how many.
const TOO_BIG: [(&str, usize, &str, u32); 2] = [("D1003", 7, "L113", 7), ("D2002", 11, "G204", 4)];
/// Of what costs less, some take two.
const CHEAP: &str = "5.00";
/// Each terminal sends this one of its orders twice.
const SENT_TWICE: usize = 9;

/// An order, and what should become of it.
#[derive(Clone)]
pub struct Order {
    pub detainee: &'static str,
    pub request_id: String,
    pub basket: Basket,
    pub verdict: Verdict,
    /// Whether it was sent before under the same request id.
    pub is_repeated: bool,
}

/// The orders of one terminal, in their order.
pub struct Round {
    pub center: &'static str,
    pub terminal: &'static str,
    pub orders: Vec<Order>,
}

/// The day's orders; the books know them afterwards.
pub fn plan(books: &mut Books) -> anyhow::Result<Vec<Round>> {
    let mut rounds = Vec::new();
    for house in &HOUSES {
        for terminal in house.terminals {
            let mut orders: Vec<Order> = Vec::new();
            for (detainee, number) in queue(terminal)? {
                let basket = basket(house.id, detainee, number)?;
                orders.push(Order {
                    verdict: books.order(detainee, &basket)?,
                    request_id: request_id(&["purchase", detainee, &number.to_string()]),
                    detainee,
                    basket,
                    is_repeated: false,
                });
            }
            let again = orders
                .get(SENT_TWICE)
                .cloned()
                .context("a terminal has too few orders")?;
            let is_repeated = true;
            orders.insert(SENT_TWICE + 1, Order { is_repeated, ..again });
            rounds.push(Round {
                center: house.id,
                terminal: terminal.id,
                orders,
            });
        }
    }
    Ok(rounds)
}

/// Who comes when: in turns, as long as somebody has orders left.
fn queue(terminal: &Terminal) -> anyhow::Result<Vec<(&'static str, usize)>> {
    let mut turns = Vec::new();
    for detainee in terminal.detainees {
        let (_, count) = ORDERS.iter().find(|(id, _)| id == detainee).context("no orders")?;
        turns.extend((0..*count).map(|number| (*detainee, number)));
    }
    turns.sort_by_key(|(_, number)| *number);
    Ok(turns)
}

/// The basket of somebody's order: one or two lines off the shelf, as arithmetic has it.
fn basket(center: &str, detainee: &str, number: usize) -> anyhow::Result<Basket> {
    if let Some((_, _, product, quantity)) = TOO_BIG.iter().find(|big| (big.0, big.1) == (detainee, number)) {
        let product = goods::product(product).context("no such product")?;
        return Ok(vec![(product, *quantity)]);
    }
    let shelf = shelf(center);
    let start = detainee.bytes().map(usize::from).sum::<usize>() + 11 * number;
    let lines = 1 + number % 2;
    let line = |line: usize| -> anyhow::Result<(&'static Product, u32)> {
        let product = shelf.get((start + 5 * line) % shelf.len()).context("an empty shelf")?;
        let is_cheap = cny(product.price)? < cny(CHEAP)?;
        Ok((*product, if is_cheap && number.is_multiple_of(3) { 2 } else { 1 }))
    };
    (0..lines).map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_hundred_orders_of_which_some_are_refused() {
        let mut books = Books::open().unwrap();
        let nothing = cny("0.00").unwrap();
        for (detainee, amount) in [
            ("D1001", "520.00"),
            ("D1002", "540.00"),
            ("D1003", "920.00"),
            ("D2001", "190.00"),
            ("D2002", "902.98"),
            ("D2003", "380.00"),
        ] {
            books.credit(detainee, nothing, nothing, cny(amount).unwrap()).unwrap();
        }
        let rounds = plan(&mut books).unwrap();
        let orders: Vec<&Order> = rounds.iter().flat_map(|round| &round.orders).collect();
        let count = |verdict: &dyn Fn(&Verdict) -> bool| orders.iter().filter(|order| verdict(&order.verdict)).count();
        let refused = |reason| count(&|verdict| *verdict == Verdict::Refused(reason));
        assert_eq!((rounds.len(), orders.len()), (4, 200));
        assert_eq!(orders.iter().filter(|order| order.is_repeated).count(), 4);
        assert_eq!(
            [
                count(&|verdict| matches!(verdict, Verdict::Sold { .. })),
                refused("INSUFFICIENT_FUNDS"),
                refused("MONTHLY_LIMIT_EXCEEDED"),
                refused("ORDER_LIMIT_EXCEEDED"),
            ],
            [188, 5, 5, 2]
        );
    }
}
