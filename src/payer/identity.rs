//! Identity documents and phones: what is read, how it is normalised, and what may be shown of it. Pure.

use std::fmt;

use time::{Date, Month};

/// The shortest number of a document other than the resident identity card, in characters.
const NUMBER_CHARS_MIN: usize = 4;
/// The longest number of a document, in characters.
const NUMBER_CHARS_MAX: usize = 40;
/// The most characters shown at either end of a masked number.
const SHOWN_CHARS_MAX: usize = 4;
/// The characters of a resident identity number.
const RESIDENT_LEN: usize = 18;
/// The weights of GB 11643: 2^(17 − i) mod 11.
const WEIGHTS: [u32; 17] = [7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2];
/// The check digits of GB 11643, by the weighted sum mod 11.
const CHECK_DIGITS: [u8; 11] = *b"10X98765432";
/// The first two digits of address codes (GB/T 2260), with those of residence permits for Hong Kong, Macao and Taiwan.
const PROVINCES: [u32; 35] = [
    11, 12, 13, 14, 15, 21, 22, 23, 31, 32, 33, 34, 35, 36, 37, 41, 42, 43, 44, 45, 46, 50, 51, 52, 53, 54, 61, 62, 63,
    64, 65, 71, 81, 82, 83,
];
/// The first year of birth that is believed.
const BIRTH_YEAR_MIN: i32 = 1900;

/// What kind of document somebody is known by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DocumentKind {
    /// Chinese resident identity card, GB 11643.
    ResidentIdentityCard,
    /// A passport.
    Passport,
    /// Mainland travel permit of residents of Hong Kong and Macao.
    HongKongMacaoPermit,
    /// Mainland travel permit of residents of Taiwan.
    TaiwanPermit,
    /// Permanent residence permit of foreigners.
    ForeignerPermit,
    /// Any other document.
    Other,
}

impl DocumentKind {
    const ALL: [DocumentKind; 6] = [
        DocumentKind::ResidentIdentityCard,
        DocumentKind::Passport,
        DocumentKind::HongKongMacaoPermit,
        DocumentKind::TaiwanPermit,
        DocumentKind::ForeignerPermit,
        DocumentKind::Other,
    ];

    /// As it is stored, and as it enters the keyed hash.
    pub const fn name(self) -> &'static str {
        match self {
            DocumentKind::ResidentIdentityCard => "RESIDENT_IDENTITY_CARD",
            DocumentKind::Passport => "PASSPORT",
            DocumentKind::HongKongMacaoPermit => "HONG_KONG_MACAO_PERMIT",
            DocumentKind::TaiwanPermit => "TAIWAN_PERMIT",
            DocumentKind::ForeignerPermit => "FOREIGNER_PERMIT",
            DocumentKind::Other => "OTHER",
        }
    }

    /// Reads what is stored.
    pub fn from_name(name: &str) -> Option<DocumentKind> {
        DocumentKind::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// Why a text is no identity number or no phone. Never repeats the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// Not 17 digits and a check digit.
    #[error("a resident identity number is 17 digits and a digit or X")]
    NotResident,
    /// The first two digits are no province's.
    #[error("the number begins with no address code")]
    Address,
    /// The date of birth is none.
    #[error("the number holds no date of birth")]
    Birth,
    /// The check digit of GB 11643 is another.
    #[error("the check digit is wrong")]
    CheckDigit,
    /// Too short, too long, or with other characters.
    #[error("a document's number is {NUMBER_CHARS_MIN} to {NUMBER_CHARS_MAX} letters and digits")]
    Number,
    /// Not `+`, a country code and a number, 7 to 15 digits in all.
    #[error("a phone is + and 7 to 15 digits, of which the first is not 0 (E.164)")]
    Phone,
}

/// An identity document's kind and normalised number. Neither printed nor logged.
#[derive(Clone, PartialEq, Eq)]
pub struct Identity {
    kind: DocumentKind,
    number: String,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

impl Identity {
    /// Reads a number: full-width characters become half-width, letters upper case, and blanks, hyphens, dots, slashes and
    /// brackets are left out, so that one document has one number however it is written.
    ///
    /// # Errors
    /// [`IdentityError`].
    pub fn parse(kind: DocumentKind, text: &str) -> Result<Identity, IdentityError> {
        // Four bytes a character, and as many separators: more is not worth reading.
        if text.len() > 8 * NUMBER_CHARS_MAX {
            return Err(IdentityError::Number);
        }
        let number: String = text
            .chars()
            .map(half_width)
            .filter(|c| !matches!(c, ' ' | '-' | '.' | '/' | '(' | ')'))
            .flat_map(char::to_uppercase)
            .collect();
        if kind == DocumentKind::ResidentIdentityCard {
            check_resident(&number)?;
        } else {
            let count = number.chars().count();
            let is_number = number.chars().all(char::is_alphanumeric);
            if !is_number || !(NUMBER_CHARS_MIN..=NUMBER_CHARS_MAX).contains(&count) {
                return Err(IdentityError::Number);
            }
        }
        Ok(Identity { kind, number })
    }

    /// What was read and normalised before.
    pub(super) fn stored(kind: DocumentKind, number: String) -> Identity {
        Identity { kind, number }
    }

    /// The kind of document.
    pub fn kind(&self) -> DocumentKind {
        self.kind
    }

    /// The number, for sealing and hashing only.
    pub(super) fn number(&self) -> &str {
        &self.number
    }

    /// What may be shown: of n characters the first and the last n/4, at most 4 each; the others are `*`.
    /// `110101190103070011` is `1101**********0011`.
    pub fn masked(&self) -> String {
        let count = self.number.chars().count();
        let shown = (count / 4).min(SHOWN_CHARS_MAX);
        let is_shown = |place: usize| place < shown || place + shown >= count;
        let masked = self.number.chars().enumerate();
        masked.map(|(place, c)| if is_shown(place) { c } else { '*' }).collect()
    }
}

/// Full-width ASCII and the ideographic space as their half-width twins.
fn half_width(c: char) -> char {
    match c {
        '\u{3000}' => ' ',
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(u32::from(c) - 0xfee0).unwrap_or(c),
        _ => c,
    }
}

/// GB 11643: address code, date of birth, sequence, check digit.
fn check_resident(number: &str) -> Result<(), IdentityError> {
    let bytes = number.as_bytes();
    let (Some(digits), Some(check)) = (bytes.get(..RESIDENT_LEN - 1), bytes.get(RESIDENT_LEN - 1)) else {
        return Err(IdentityError::NotResident);
    };
    let is_digit = |byte: &u8| byte.is_ascii_digit();
    if bytes.len() != RESIDENT_LEN || !digits.iter().all(is_digit) || !(is_digit(check) || *check == b'X') {
        return Err(IdentityError::NotResident);
    }
    let value = |places: std::ops::Range<usize>| {
        let places = digits.get(places).unwrap_or_default();
        places.iter().fold(0, |sum, byte| sum * 10 + u32::from(byte - b'0'))
    };
    if !PROVINCES.contains(&value(0..2)) {
        return Err(IdentityError::Address);
    }
    let year = i32::try_from(value(6..10)).map_err(|_| IdentityError::Birth)?;
    let month = u8::try_from(value(10..12))
        .ok()
        .and_then(|month| Month::try_from(month).ok());
    let day = u8::try_from(value(12..14)).map_err(|_| IdentityError::Birth)?;
    let born = month.and_then(|month| Date::from_calendar_date(year, month, day).ok());
    if year < BIRTH_YEAR_MIN || born.is_none() {
        return Err(IdentityError::Birth);
    }
    let weighted = digits
        .iter()
        .zip(WEIGHTS)
        .map(|(byte, weight)| u32::from(byte - b'0') * weight);
    let place = usize::try_from(weighted.sum::<u32>() % 11).map_err(|_| IdentityError::CheckDigit)?;
    if CHECK_DIGITS.get(place) == Some(check) {
        Ok(())
    } else {
        Err(IdentityError::CheckDigit)
    }
}

/// A phone number in the form of E.164. Not logged.
#[derive(Clone, PartialEq, Eq)]
pub struct PhoneNumber(String);

impl fmt::Debug for PhoneNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PhoneNumber(…)")
    }
}

impl PhoneNumber {
    /// Reads a number: `+`, country code, national number, without blanks.
    ///
    /// # Errors
    /// [`IdentityError::Phone`].
    pub fn parse(text: &str) -> Result<PhoneNumber, IdentityError> {
        let digits = text.strip_prefix('+').ok_or(IdentityError::Phone)?.as_bytes();
        let is_number = (7..=15).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit);
        if !is_number || digits.first() == Some(&b'0') {
            return Err(IdentityError::Phone);
        }
        Ok(PhoneNumber(text.to_owned()))
    }

    /// As it is stored and called.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{DocumentKind::*, *};

    fn resident(text: &str) -> Result<String, IdentityError> {
        Identity::parse(ResidentIdentityCard, text).map(|identity| identity.number)
    }

    #[test]
    fn resident_numbers_are_checked_and_written_one_way() {
        // The example of GB 11643-1999.
        for text in [
            "11010519491231002X",
            "11010519491231002x",
            " 110105 19491231 002x ",
            "110105-19491231-002X",
            "１１０１０５１９４９１２３１００２Ｘ",
        ] {
            assert_eq!(resident(text).as_deref(), Ok("11010519491231002X"), "{text}");
        }
        for (text, why) in [
            ("", IdentityError::NotResident),
            ("110105194912310021", IdentityError::CheckDigit),
            ("11010519491231002", IdentityError::NotResident),
            ("11010519491231002XX", IdentityError::NotResident),
            ("1101051949123100X2", IdentityError::NotResident),
            ("110105491231002", IdentityError::NotResident),
            ("99010519491231002X", IdentityError::Address),
            ("11010519490231002X", IdentityError::Birth),
            ("11010518991231002X", IdentityError::Birth),
            ("11010519491331002X", IdentityError::Birth),
            ("1101051949123100٢X", IdentityError::NotResident),
        ] {
            assert_eq!(resident(text), Err(why), "{text}");
        }
    }

    #[test]
    fn other_numbers_are_bounded_and_written_one_way() {
        let number = |text: &str| Identity::parse(Passport, text).map(|identity| identity.number);
        assert_eq!(number("e 1234-5678").as_deref(), Ok("E12345678"));
        assert_eq!(number("军字第1234号").as_deref(), Ok("军字第1234号"));
        for text in [
            "",
            "A12",
            "A1234_5",
            "A1234\n",
            "A1234\0",
            &"9".repeat(41),
            &" ".repeat(1000),
        ] {
            assert_eq!(number(text), Err(IdentityError::Number), "{text:?}");
        }
    }

    #[test]
    fn little_is_shown() {
        let masked = |text: &str| Identity::parse(Other, text).unwrap().masked();
        assert_eq!(masked("11010519491231002X"), "1101**********002X");
        assert_eq!(
            (masked("E1234567"), masked("E1234")),
            ("E1****67".into(), "E***4".into())
        );
        let shown = format!(
            "{:?} {:?}",
            Identity::parse(Other, "E1234567"),
            PhoneNumber::parse("+8613800138000")
        );
        assert!(!shown.contains("E1234567") && !shown.contains("138001"), "{shown}");
    }

    #[test]
    fn phones_are_e164() {
        for text in ["+8613800138000", "+12025550123", "+1234567", "+123456789012345"] {
            assert_eq!(PhoneNumber::parse(text).unwrap().as_str(), text);
        }
        for text in [
            "",
            "+",
            "13800138000",
            "+0123456789",
            "+123456",
            "+1234567890123456",
            "+86 13800138000",
            "++8613800138000",
            "+86138001380oo",
            "+٨٦١٣٨٠٠١٣٨",
            "+8613800138000\n",
        ] {
            assert_eq!(PhoneNumber::parse(text), Err(IdentityError::Phone), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC{0,60}") {
            for kind in DocumentKind::ALL {
                if let Ok(identity) = Identity::parse(kind, &text) {
                    let again = Identity::parse(kind, &identity.number).unwrap();
                    prop_assert!(again == identity && identity.masked().contains('*'));
                }
            }
            let _ = PhoneNumber::parse(&text);
        }
    }
}
