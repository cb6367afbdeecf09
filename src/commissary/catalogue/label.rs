//! Words that are compared: names, barcodes, tags and housing units, however they are written.

use std::{collections::BTreeSet, fmt, str::FromStr};

use unicode_normalization::UnicodeNormalization as _;

/// The most labels of one kind.
const LABELS_MAX: usize = 50;
/// The most characters of a label or a unit.
pub const LABEL_CHARS_MAX: usize = 63;
/// Most times that a name is folded.
const KEY_ROUNDS_MAX: usize = 8;
/// The digits of the longest GTIN, to which the others are filled up.
const GTIN_DIGITS: usize = 14;

/// Why a text is no label, or no barcode.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LabelError {
    /// Not a word.
    #[error("1 to {LABEL_CHARS_MAX} characters, none of them a comma, a semicolon or a control character")]
    Malformed,
    /// Too many.
    #[error("at most {LABELS_MAX}")]
    TooMany,
    /// Not a GTIN.
    #[error("8, 12, 13 or 14 digits")]
    NotAGtin,
    /// A digit is wrong.
    #[error("the check digit would be {expected}")]
    CheckDigit {
        /// What the last digit would be.
        expected: u32,
    },
}

/// Tags, or housing units: a set of words in one way of writing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Labels(BTreeSet<String>);

/// A word as it is compared: NFKC, lower case, no space around it.
fn label(text: &str) -> Result<String, LabelError> {
    let folded: String = text.nfkc().collect::<String>().to_lowercase();
    let word = folded.trim();
    let is_bad = |c: char| c.is_control() || matches!(c, ',' | ';' | '，' | '；');
    if word.is_empty() || word.chars().count() > LABEL_CHARS_MAX || word.chars().any(is_bad) {
        return Err(LabelError::Malformed);
    }
    Ok(word.to_owned())
}

/// One word, or none when the text is empty.
pub fn optional_label(text: &str) -> Result<String, LabelError> {
    if text.is_empty() {
        Ok(String::new())
    } else {
        label(text)
    }
}

impl Labels {
    /// Reads some words; the same word twice is one.
    ///
    /// # Errors
    /// The first that is none, or that there are too many.
    pub fn parse<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<Labels, LabelError> {
        let labels = texts.into_iter().map(label).collect::<Result<BTreeSet<_>, _>>()?;
        if labels.len() > LABELS_MAX {
            return Err(LabelError::TooMany);
        }
        Ok(Labels(labels))
    }

    /// What was stored, which was read before.
    pub(in crate::commissary) fn stored(texts: Vec<String>) -> Labels {
        Labels(texts.into_iter().collect())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a word is among them.
    pub fn contains(&self, label: &str) -> bool {
        self.0.contains(label)
    }

    /// The first word that is among others, too.
    pub fn first_common<'a>(&'a self, others: &'a Labels) -> Option<&'a str> {
        self.0.intersection(&others.0).next().map(String::as_str)
    }

    /// In order.
    pub fn to_vec(&self) -> Vec<String> {
        self.0.iter().cloned().collect()
    }
}

/// A GTIN (GS1 General Specifications, section 7.9): 8, 12, 13 or 14 digits with a check digit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Barcode(String);

impl Barcode {
    /// As it was told.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// With all 14 digits: a product's UPC and its EAN are one number.
    pub fn gtin(&self) -> String {
        format!("{:0>GTIN_DIGITS$}", self.0)
    }

    /// What was stored, which was read before; none when it is empty.
    pub(in crate::commissary) fn stored(text: String) -> Option<Barcode> {
        (!text.is_empty()).then_some(Barcode(text))
    }
}

impl fmt::Display for Barcode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Barcode {
    type Err = LabelError;

    fn from_str(text: &str) -> Result<Barcode, LabelError> {
        let digits: Option<Vec<u32>> = text
            .chars()
            .map(|c| c.is_ascii_digit().then(|| c.to_digit(10)).flatten())
            .collect();
        let digits = digits.ok_or(LabelError::NotAGtin)?;
        let (Some((check, others)), 8 | 12 | 13 | 14) = (digits.split_last(), digits.len()) else {
            return Err(LabelError::NotAGtin);
        };
        // From the right the digits weigh 3, 1, 3, 1 …
        let sum: u32 = others
            .iter()
            .rev()
            .zip([3, 1].into_iter().cycle())
            .map(|(digit, weight)| digit * weight)
            .sum();
        let expected = (10 - sum % 10) % 10;
        if *check == expected {
            Ok(Barcode(text.to_owned()))
        } else {
            Err(LabelError::CheckDigit { expected })
        }
    }
}

/// A name as names are compared: NFKC, lower case, letters and digits only. A point between digits stays, because 1.5 l are
/// not 15 l. Empty when nothing is left, which is like no other name.
pub fn name_key(name: &str) -> String {
    let mut key = without_signs(name);
    // What stood apart may be one character once the signs between are gone. It settles at the second time nearly always.
    for _ in 0..KEY_ROUNDS_MAX {
        let next = without_signs(&key);
        if next == key {
            break;
        }
        key = next;
    }
    key
}

fn without_signs(name: &str) -> String {
    let folded: Vec<char> = name.nfkc().collect::<String>().to_lowercase().chars().collect();
    let is_digit = |at: Option<usize>| at.and_then(|at| folded.get(at)).is_some_and(char::is_ascii_digit);
    let is_kept = |(at, c): &(usize, &char)| {
        let is_decimal_point = **c == '.' && is_digit(at.checked_sub(1)) && is_digit(at.checked_add(1));
        c.is_alphanumeric() || is_decimal_point
    };
    folded.iter().enumerate().filter(is_kept).map(|(_, c)| *c).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_name_is_known_again_however_it_is_written() {
        for (one, other) in [
            ("Instant Noodles", "instant-noodles!"),
            ("Ｉｎｓｔａｎｔ　ｎｏｏｄｌｅｓ", "Instant Noodles"),
            ("方便面 (袋)", "方便面（袋）"),
            ("Cola 1.5 l", "COLA１．５L"),
            ("Café au lait", "Cafe\u{301} au\u{a0}lait"),
        ] {
            assert_eq!(name_key(one), name_key(other), "{one}");
        }
        for (one, other) in [("Cola 1.5 l", "Cola 15 l"), ("方便面", "方便麵粉"), ("Tea", "Teas")] {
            assert_ne!(name_key(one), name_key(other), "{one}");
        }
        assert_eq!(name_key(" -?! "), "");
    }

    #[test]
    fn barcodes_are_checked() {
        for good in ["6901234567892", "96385074", "036000291452", "00036000291452"] {
            assert_eq!(good.parse::<Barcode>().unwrap().as_str(), good);
        }
        let (upc, ean) = ("036000291452", "0036000291452");
        assert_eq!(
            upc.parse::<Barcode>().unwrap().gtin(),
            ean.parse::<Barcode>().unwrap().gtin()
        );
        let wrong = "6901234567890".parse::<Barcode>();
        assert_eq!(wrong, Err(LabelError::CheckDigit { expected: 2 }));
        for bad in [
            "",
            "1",
            "690123456789",
            "69012345678９２",
            "690123456789-2",
            "690123456789x",
        ] {
            assert!(bad.parse::<Barcode>().is_err(), "{bad}");
        }
    }

    #[test]
    fn labels_are_words_in_one_way_of_writing() {
        let labels = Labels::parse([" Pork ", "ｐｏｒｋ", "三监区"]).unwrap();
        assert_eq!(labels.to_vec(), ["pork", "三监区"]);
        assert_eq!(labels.first_common(&Labels::parse(["PORK"]).unwrap()), Some("pork"));
        for bad in ["", " ", "a,b", "a；b", "a\nb", &"x".repeat(64)] {
            assert_eq!(Labels::parse([bad]), Err(LabelError::Malformed), "{bad:?}");
        }
        let many: Vec<String> = (0..51).map(|n| n.to_string()).collect();
        assert_eq!(Labels::parse(many.iter().map(String::as_str)), Err(LabelError::TooMany));
    }

    proptest! {
        #[test]
        fn a_key_is_its_own_key_and_knows_no_case_space_or_punctuation(name in "\\PC{0,40}") {
            let key = name_key(&name);
            prop_assert_eq!(name_key(&key), key.clone());
            let spaced: String = key.chars().flat_map(|c| [c, ' ']).collect();
            prop_assert_eq!(name_key(&spaced).replace('.', ""), key.replace('.', ""));
        }

        #[test]
        fn one_wrong_digit_is_noticed(digits in "[0-9]{12}", at in 0_usize..13, other in 0_u32..10) {
            let expected = match format!("{digits}0").parse::<Barcode>() {
                Ok(_) => 0,
                Err(LabelError::CheckDigit { expected }) => expected,
                Err(other) => panic!("{other}"),
            };
            let good = format!("{digits}{expected}");
            prop_assert!(good.parse::<Barcode>().is_ok());
            let mut wrong: Vec<char> = good.chars().collect();
            wrong[at] = char::from_digit(other, 10).unwrap();
            let wrong: String = wrong.into_iter().collect();
            prop_assert_eq!(wrong.parse::<Barcode>().is_ok(), wrong == good);
        }
    }
}
