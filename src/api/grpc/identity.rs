//! Texts in which people may tell an identity number by mistake.

use super::convert::{text, told};
use crate::{api::status::invalid_field, proto::Refusal};

/// How many characters an identity number has.
const IDENTITY_CHARS: usize = 18;

/// Whether some characters are an identity number of the People's Republic: 17 digits and the check character of ISO 7064,
/// MOD 11-2.
fn is_identity_number(chars: &[char]) -> bool {
    let Some((check, digits)) = chars.split_last() else {
        return false;
    };
    let mut sum = 0;
    // The weight of each digit is the double, modulo 11, of that of the digit after it; the last one's is 2.
    let mut weight = 2;
    for digit in digits.iter().rev() {
        let Some(digit) = digit.to_digit(10) else {
            return false;
        };
        sum += digit * weight;
        weight = weight * 2 % 11;
    }
    let expected = (12 - sum % 11) % 11;
    match check.to_ascii_uppercase() {
        'X' => expected == 10,
        check => check.to_digit(10) == Some(expected),
    }
}

/// Refuses a text that has an identity number in it: what is recorded is kept for ever, and these are not kept in clear.
pub fn without_identity(text: String, field: &str) -> Result<String, Refusal> {
    let chars: Vec<char> = text.chars().collect();
    if chars.windows(IDENTITY_CHARS).any(is_identity_number) {
        return Err(invalid_field(
            field,
            "must have no identity number: what is told here is kept for ever",
        ));
    }
    Ok(text)
}

/// The fewest digits of an account's number.
const ACCOUNT_DIGITS: usize = 12;

/// A text with the numbers of accounts in it masked: of each all but the last four digits, however they are spaced.
pub fn without_account(text: &str) -> String {
    let (mut out, mut run) = (String::with_capacity(text.len()), String::new());
    for c in text.chars().chain(['\n']) {
        let goes_on = c.is_ascii_digit() || !run.is_empty() && matches!(c, ' ' | '-');
        if goes_on {
            run.push(c);
            continue;
        }
        out.push_str(&masked_run(&run));
        run.clear();
        out.push(c);
    }
    out.pop();
    out
}

/// Digits with blanks and hyphens between them, masked if they are as many as an account's number has.
fn masked_run(run: &str) -> String {
    let digits: String = run.chars().filter(char::is_ascii_digit).collect();
    if digits.len() < ACCOUNT_DIGITS {
        return run.to_owned();
    }
    let blanks: String = run.chars().rev().take_while(|c| !c.is_ascii_digit()).collect();
    let last: String = digits.chars().skip(digits.len() - 4).collect();
    format!("****{last}{blanks}")
}

/// Reads the reason that somebody has to tell.
///
/// Errors: INVALID_FIELD naming `field`, also for an identity number.
pub fn reason_told(reason: &str, field: &str) -> Result<String, Refusal> {
    without_identity(told(reason, field)?, field)
}

/// Reads the reason that somebody may tell.
///
/// Errors: INVALID_FIELD naming `field`, also for an identity number.
pub fn reason_text(reason: &str, field: &str) -> Result<String, Refusal> {
    without_identity(text(reason, field)?, field)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identity_numbers_are_not_kept() {
        for (text, is_kept) in [
            ("for D1, with love", true),
            // A bank account of as many digits, and one with the wrong check character.
            ("622202020001123456", true),
            ("11010519491231002Y", true),
            ("110105194912310021", true),
            // The example of the standard, GB 11643-1999.
            ("11010519491231002X", false),
            ("id 11010519491231002x please", false),
            ("440524188001010014", false),
        ] {
            let kept = without_identity(text.to_owned(), "remark");
            assert_eq!(kept.is_ok(), is_kept, "{text}");
            assert!(kept.is_ok() || kept.unwrap_err().field == "remark");
        }
    }

    #[test]
    fn account_numbers_are_masked_however_they_are_spaced() {
        for (text, kept) in [
            ("ICBC 6222020200011234567", "ICBC ****4567"),
            ("6222 0202 0001 1234 567, Zhang", "****4567, Zhang"),
            ("工商银行 6222-0202-0001-1234 张三", "工商银行 ****1234 张三"),
            ("cash desk 12", "cash desk 12"),
            ("ICBC 6222 **** 7788", "ICBC 6222 **** 7788"),
            ("", ""),
        ] {
            assert_eq!(without_account(text), kept);
        }
    }

    #[test]
    fn reasons_are_searched_too() {
        assert_eq!(reason_told("her son asked", "reason").unwrap(), "her son asked");
        assert_eq!(reason_told(" ", "reason").unwrap_err().message, "is required");
        assert_eq!(reason_text("", "reason").unwrap(), "");
        for read in [reason_told, reason_text] {
            let refused = read("son of 11010519491231002X", "reason").unwrap_err();
            assert_eq!(refused.field, "reason");
            assert!(!refused.message.contains("11010519491231002X"), "nor is it told again");
        }
    }
}
