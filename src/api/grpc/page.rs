//! Pages of List calls.
//!
//! A page token says after which item the next page begins, and is bound to the call's method and other arguments by a
//! hash, so that a token cannot carry on another list. It holds no secret and gives no right: the call that brings it is
//! authorised like any other.

use sha2::{Digest as _, Sha256};

use crate::{api::status::invalid_field, proto::Refusal};

/// Items on a page when the caller does not say.
pub const PAGE_SIZE_DEFAULT: u16 = 50;

/// The most items on a page; more is not refused but cut to this.
pub const PAGE_SIZE_MAX: u16 = 500;

/// The longest page token read, in characters. Ours are far shorter.
const TOKEN_LEN_MAX: usize = 512;

/// Bytes of the hash kept in a token.
const BINDING_LEN: usize = 8;

/// What a List call asks for: how many items, and after which.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    size: u16,
    after: Option<String>,
    binding: [u8; BINDING_LEN],
}

impl Page {
    /// Reads `page_size` and `page_token`. `method` and `arguments` (the parent and every filter, always in the same
    /// order) are what the token is bound to.
    ///
    /// Errors: INVALID_FIELD for a negative size, or a token that is not ours or belongs to other arguments.
    pub fn read(method: &str, arguments: &[&str], page_size: i32, page_token: &str) -> Result<Self, Refusal> {
        let size = match page_size {
            0 => PAGE_SIZE_DEFAULT,
            1.. => u16::try_from(page_size).unwrap_or(PAGE_SIZE_MAX).min(PAGE_SIZE_MAX),
            _ => return Err(invalid_field("page_size", "must not be negative")),
        };
        let binding = bind(method, arguments);
        let after = if page_token.is_empty() {
            None
        } else {
            Some(open(page_token, binding)?)
        };
        Ok(Self { size, after, binding })
    }

    /// Items on this page, from 1 to [`PAGE_SIZE_MAX`].
    pub fn size(&self) -> usize {
        usize::from(self.size)
    }

    /// Rows to read: one more than the page holds, which tells whether another page follows.
    pub fn limit(&self) -> i64 {
        i64::from(self.size) + 1
    }

    /// The cursor of the last item of the page before, `None` on the first page.
    pub fn after(&self) -> Option<&str> {
        self.after.as_deref()
    }

    /// The same where cursors are numbers.
    ///
    /// Errors: INVALID_FIELD when the token holds none.
    pub fn after_number(&self) -> Result<Option<i64>, Refusal> {
        self.after()
            .map(|cursor| cursor.parse().map_err(|_| bad_token()))
            .transpose()
    }

    /// The same where cursors are `{seq}.{leg}`.
    ///
    /// Errors: INVALID_FIELD when the token holds none.
    pub fn after_leg(&self) -> Result<Option<(i64, i16)>, Refusal> {
        let read = |cursor: &str| -> Option<(i64, i16)> {
            let (seq, leg) = cursor.split_once('.')?;
            Some((seq.parse().ok()?, leg.parse().ok()?))
        };
        self.after()
            .map(|cursor| read(cursor).ok_or_else(bad_token))
            .transpose()
    }

    /// Cuts what was read with [`limit`](Self::limit) to this page, and gives the token of the next one, empty when there
    /// is none. `cursor` names an item.
    pub fn finish<T>(&self, mut items: Vec<T>, cursor: impl Fn(&T) -> String) -> (Vec<T>, String) {
        let more = items.len() > self.size();
        items.truncate(self.size());
        let token = match items.last() {
            Some(last) if more => self.token(&cursor(last)),
            _ => String::new(),
        };
        (items, token)
    }

    /// The token of the page that begins after `cursor`.
    fn token(&self, cursor: &str) -> String {
        let mut bytes = self.binding.to_vec();
        bytes.extend_from_slice(cursor.as_bytes());
        hex::encode(bytes)
    }
}

/// The cursor of a leg, as [`Page::after_leg`] reads it.
pub fn leg_cursor(seq: i64, leg: impl std::fmt::Display) -> String {
    format!("{seq}.{leg}")
}

/// Hashes method and arguments, each with its length before it, so that no two lists of arguments read the same.
fn bind(method: &str, arguments: &[&str]) -> [u8; BINDING_LEN] {
    let mut hash = Sha256::new();
    for piece in std::iter::once(&method).chain(arguments) {
        hash.update(piece.len().to_be_bytes());
        hash.update(piece.as_bytes());
    }
    let digest = hash.finalize();
    let mut binding = [0; BINDING_LEN];
    binding.copy_from_slice(&digest[..BINDING_LEN]);
    binding
}

/// Reads a token's cursor.
fn open(token: &str, binding: [u8; BINDING_LEN]) -> Result<String, Refusal> {
    if token.len() > TOKEN_LEN_MAX {
        return Err(bad_token());
    }
    let bytes = hex::decode(token).map_err(|_| bad_token())?;
    let (bound, cursor) = bytes.split_at_checked(BINDING_LEN).ok_or_else(bad_token)?;
    if bound != binding {
        return Err(invalid_field("page_token", "belongs to a call with other arguments"));
    }
    String::from_utf8(cursor.to_vec()).map_err(|_| bad_token())
}

fn bad_token() -> Refusal {
    invalid_field("page_token", "is not a token of this service")
}

#[cfg(test)]
mod tests {
    use super::*;

    const METHOD: &str = "custody.v1.CommissaryService/ListPurchases";

    fn page(arguments: &[&str], size: i32, token: &str) -> Result<Page, Refusal> {
        Page::read(METHOD, arguments, size, token)
    }

    #[test]
    fn sizes_have_a_default_and_a_bound() {
        let size = |asked| page(&[], asked, "").map(|page| page.size());
        assert_eq!(size(0), Ok(50));
        assert_eq!(size(7), Ok(7));
        assert_eq!(size(501), Ok(500));
        assert_eq!(size(i32::MAX), Ok(500));
        assert_eq!(size(-1).unwrap_err().field, "page_size");
    }

    #[test]
    fn pages_walk_the_whole_list_once() {
        let all: Vec<i64> = (1..=7).collect();
        let (mut seen, mut token) = (Vec::new(), String::new());
        loop {
            let page = page(&["centers/north", ""], 3, &token).unwrap();
            let after = page.after_number().unwrap().unwrap_or(0);
            let rows = all.iter().copied().filter(|seq| *seq > after).take(4).collect();
            let (items, next) = page.finish(rows, |seq| seq.to_string());
            seen.extend(items);
            if next.is_empty() {
                break;
            }
            token = next;
        }
        assert_eq!(seen, all);
    }

    #[test]
    fn a_full_last_page_has_no_next() {
        assert_eq!(
            page(&[], 3, "").unwrap().finish(vec![1, 2, 3], |n| n.to_string()),
            (vec![1, 2, 3], String::new())
        );
    }

    #[test]
    fn a_token_belongs_to_its_arguments() {
        let (_, token) = page(&["ab", "c"], 1, "").unwrap().finish(vec![1, 2], |n| n.to_string());
        assert_eq!(
            page(&["ab", "c"], 9, &token).unwrap().after(),
            Some("1"),
            "the size may change"
        );
        for arguments in [&["a", "bc"][..], &["ab", "d"], &["ab"], &["ab", "c", ""]] {
            assert_eq!(page(arguments, 1, &token).unwrap_err().field, "page_token");
        }
        assert!(Page::read("custody.v1.Other/List", &["ab", "c"], 1, &token).is_err());
    }

    #[test]
    fn rubbish_is_refused() {
        for token in ["x", "00", "zz00112233445566", &"0".repeat(2000)] {
            assert_eq!(page(&[], 1, token).unwrap_err().field, "page_token");
        }
        let (_, token) = page(&[], 1, "")
            .unwrap()
            .finish(vec!["D1", "D2"], |id| (*id).to_owned());
        assert!(page(&[], 1, &token).unwrap().after_number().is_err());
    }

    #[test]
    fn legs_come_back() {
        let (_, token) = page(&[], 1, "")
            .unwrap()
            .finish(vec![(9, 2), (9, 3)], |(seq, leg)| leg_cursor(*seq, leg));
        assert_eq!(page(&[], 1, &token).unwrap().after_leg(), Ok(Some((9, 2))));
    }
}
