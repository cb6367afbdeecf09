//! What is to be sold, as people write it: `RICE`, `RICE*3`, `RICEx3`, `RICE:3`.

use std::fmt;

use crate::ids::ProductId;

/// The most of one product in a line, as the service has it.
const QUANTITY_MAX: i32 = 1_000;

/// A product and how many of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The product.
    pub product: ProductId,
    /// How many, from 1.
    pub quantity: i32,
}

impl Line {
    /// Reads a line.
    ///
    /// # Errors
    /// A sentence that says what is wrong.
    pub fn parse(text: &str) -> Result<Line, String> {
        let count_at = text.rfind(['*', ':', '×', '＊', '：']).or_else(|| {
            // An `x` may be part of the product's name: only one before digits that end the text counts.
            let at = text.rfind(['x', 'X'])?;
            let digits = &text[at + 1..];
            (at > 0 && !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit())).then_some(at)
        });
        let (product, count) = match count_at {
            None => (text, "1"),
            Some(at) => {
                let sign = text[at..].chars().next().map_or(1, char::len_utf8);
                (&text[..at], &text[at + sign..])
            }
        };
        let product = ProductId::parse(product.trim()).map_err(|error| error.to_string())?;
        match count.trim().parse::<i32>() {
            Ok(quantity @ 1..=QUANTITY_MAX) => Ok(Line { product, quantity }),
            _ => Err(format!("{count:?} is no number from 1 to {QUANTITY_MAX}")),
        }
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}*{}", self.product, self.quantity)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<(String, i32)> {
        let line = Line::parse(text).ok()?;
        Some((line.product.to_string(), line.quantity))
    }

    #[test]
    fn lines_are_read_as_people_write_them() {
        for (text, product, quantity) in [
            ("RICE", "RICE", 1),
            ("RICE*3", "RICE", 3),
            ("RICEx3", "RICE", 3),
            ("RICE:1000", "RICE", 1000),
            ("RICE×2", "RICE", 2),
            ("BOX", "BOX", 1),
            ("x3", "x3", 1),
            ("BOXx2", "BOX", 2),
        ] {
            assert_eq!(read(text), Some((product.to_owned(), quantity)), "{text}");
        }
        for text in [
            "",
            "*3",
            "RICE*",
            "RICE*0",
            "RICE*-1",
            "RICE*1001",
            "RICE*3*3",
            "米*2",
            "RICE*1.5",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
