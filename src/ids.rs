//! The names of things: numbers inside a center, and the names that callers give.

use std::fmt;
use std::sync::Arc;

use uuid::Uuid;

/// Why a text names nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// The text is not 1 to 63 letters, digits and hyphens that begin with a letter or digit.
    #[error("a {what} is 1 to 63 letters, digits or hyphens, and begins with a letter or digit")]
    Malformed {
        /// What the text should name.
        what: &'static str,
    },
    /// The text is not a UUID written with hyphens.
    #[error("a request id is a UUID of 36 characters with hyphens")]
    NotAUuid,
    /// The UUID consists of zeros only.
    #[error("a request id must not be the nil UUID")]
    NilUuid,
}

/// The number of a center: the first column of every key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CenterNo(pub i32);

/// The number of an account, dense within its center.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AccountNo(pub i32);

impl AccountNo {
    /// The account `n` numbers further. Beyond the last number it stays at the last, which no center reaches.
    #[must_use]
    pub fn offset(self, n: i32) -> AccountNo {
        AccountNo(self.0.saturating_add(n))
    }
}

/// The place of a transaction in its center's journal: 1, 2, 3 and so on without a hole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Seq(pub i64);

impl Seq {
    /// The place before the first transaction.
    pub const ZERO: Seq = Seq(0);

    /// The place after this one.
    #[must_use]
    pub fn next(self) -> Seq {
        Seq(self.0.saturating_add(1))
    }
}

macro_rules! print_number {
    ($($name:ident),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    )*};
}

print_number!(CenterNo, AccountNo, Seq);

/// The most characters of a name.
const MAX_LEN: usize = 63;

fn is_name(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() <= MAX_LEN
        && bytes.first().is_some_and(u8::is_ascii_alphanumeric)
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-')
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        ///
        /// 1 to 63 letters, digits and hyphens that begin with a letter or digit. Cheap to clone.
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Reads the name.
            ///
            /// # Errors
            /// [`IdError::Malformed`].
            pub fn parse(text: &str) -> Result<$name, IdError> {
                if is_name(text) { Ok($name(text.into())) } else { Err(IdError::Malformed { what: $what }) }
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0)
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

name!(
    /// The name of a detention center.
    CenterId, "center"
);
name!(
    /// The name of a detainee, unique within a center.
    DetaineeId, "detainee"
);
name!(
    /// The name of a vendor, unique within a center.
    VendorId, "vendor"
);
name!(
    /// The name of a product in a center's catalogue.
    ProductId, "product"
);
name!(
    /// The name of a payer: a relative or friend who remits money.
    PayerId, "payer"
);
name!(
    /// The name of a remittance, unique within a center.
    RemittanceId, "remittance"
);
name!(
    /// The name of a court order, unique for its detainee.
    CourtOrderId, "court order"
);
name!(
    /// The name of a terminal at which detainees order.
    TerminalId, "terminal"
);
name!(
    /// The number of a detainee's card, unique within a center.
    CardId, "card number"
);
name!(
    /// The name of a payment channel.
    ChannelId, "channel"
);

/// The namespace of the request ids that the service derives itself. It must never change: a derived id recognises a
/// repetition years later.
const DERIVED: Uuid = Uuid::from_u128(0x6c1f_0b5e_9a43_5d27_8e10_c5a7_0d3e_f2b4);

/// The id that makes a request happen once: chosen by the caller, the same at every repetition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId(pub Uuid);

impl RequestId {
    /// Reads a UUID written with hyphens.
    ///
    /// # Errors
    /// [`IdError::NotAUuid`] for every other text, also for a UUID written another way, and [`IdError::NilUuid`].
    pub fn parse(text: &str) -> Result<RequestId, IdError> {
        // Only the form with hyphens has 36 characters.
        const HYPHENATED_LEN: usize = 36;
        if text.len() != HYPHENATED_LEN {
            return Err(IdError::NotAUuid);
        }
        let uuid = Uuid::try_parse(text).map_err(|_| IdError::NotAUuid)?;
        if uuid.is_nil() {
            Err(IdError::NilUuid)
        } else {
            Ok(RequestId(uuid))
        }
    }

    /// The id of something that the service does by itself, from what makes it one of a kind (UUID version 5). The same
    /// parts always give the same id, and other parts another.
    #[must_use]
    pub fn derived(parts: &[&str]) -> RequestId {
        // The length before each part keeps ["ab", "c"] and ["a", "bc"] apart.
        let name: String = parts.iter().map(|part| format!("{}:{part};", part.len())).collect();
        RequestId(Uuid::new_v5(&DERIVED, name.as_bytes()))
    }

    /// Whether it may be one that the service derived (UUID version 5). Whoever could choose such an id could take that of
    /// something the service has still to do, and so keep it from ever being done.
    #[must_use]
    pub fn may_be_derived(self) -> bool {
        const VERSION: usize = 5;
        self.0.get_version_num() == VERSION
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0.hyphenated(), f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn refuses_what_is_no_name() {
        let long = "a".repeat(64);
        for text in [
            "",
            "-a",
            "a b",
            "a/b",
            "a_b",
            "a.b",
            "é",
            "看守所",
            "a\n",
            "a\0",
            "*",
            long.as_str(),
        ] {
            assert_eq!(
                CenterId::parse(text),
                Err(IdError::Malformed { what: "center" }),
                "{text:?}"
            );
        }
        assert_eq!(DetaineeId::parse("D-1").unwrap().as_str(), "D-1");
        assert!(VendorId::parse(&long[1..]).is_ok());
    }

    #[test]
    fn refuses_other_ways_to_write_a_uuid() {
        let id = RequestId::parse("0190B7E0-0000-7000-8000-000000000001").unwrap();
        assert_eq!(id.to_string(), "0190b7e0-0000-7000-8000-000000000001");
        for text in [
            "",
            "1",
            "0190b7e0000070008000000000000001",
            "{0190b7e0-0000-7000-8000-000000000001}",
            "urn:uuid:0190b7e0-0000-7000-8000-000000000001",
            "0190b7e0-0000-7000-8000-00000000000g",
            "0190b7e00-000-7000-8000-000000000001",
            " 190b7e0-0000-7000-8000-000000000001",
        ] {
            assert_eq!(RequestId::parse(text), Err(IdError::NotAUuid), "{text:?}");
        }
        assert_eq!(
            RequestId::parse("00000000-0000-0000-0000-000000000000"),
            Err(IdError::NilUuid)
        );
    }

    #[test]
    fn derived_ids_stay_what_they_are() {
        // This text is written in journals; a change here would let things happen twice.
        let id = RequestId::derived(&["webhook", "C1", "evt-1"]);
        assert_eq!(id.to_string(), "ca323061-3e3f-5690-a118-6dd4da2643a8");
        assert_eq!(RequestId::parse(&id.to_string()), Ok(id));
        assert!(id.may_be_derived());
        let chosen = [
            "0190b7e0-0000-7000-8000-000000000001",
            "9c5b94b1-35ad-49bb-b118-8e8fc24abf80",
        ];
        assert!(
            chosen
                .iter()
                .all(|text| !RequestId::parse(text).unwrap().may_be_derived())
        );
    }

    #[test]
    fn numbers_go_on() {
        assert_eq!(Seq::ZERO.next(), Seq(1));
        assert_eq!(AccountNo(7).offset(2), AccountNo(9));
        assert_eq!(format!("{}/{}/{}", CenterNo(1), AccountNo(2), Seq(3)), "1/2/3");
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read_again(text in "[A-Za-z0-9][A-Za-z0-9-]{0,62}", number in 1_u128..) {
            let id = ProductId::parse(&text).unwrap();
            prop_assert_eq!(id.to_string(), text);
            let id = RequestId(Uuid::from_u128(number));
            prop_assert_eq!(RequestId::parse(&id.to_string()), Ok(id));
        }

        #[test]
        fn names_are_ordered_as_their_bytes(a in "[A-Za-z0-9][A-Za-z0-9-]{0,5}", b in "[A-Za-z0-9][A-Za-z0-9-]{0,5}") {
            let (first, second) = (PayerId::parse(&a).unwrap(), PayerId::parse(&b).unwrap());
            prop_assert_eq!(first.cmp(&second), a.as_bytes().cmp(b.as_bytes()));
        }

        #[test]
        fn derived_ids_are_one_of_a_kind(a in prop::collection::vec("[a-b:;0-9]{0,3}", 0..4), b in prop::collection::vec("[a-b:;0-9]{0,3}", 0..4)) {
            let derive = |parts: &[String]| RequestId::derived(&parts.iter().map(String::as_str).collect::<Vec<_>>());
            prop_assert_eq!(derive(&a) == derive(&b), a == b);
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,80}") {
            let _ = CenterId::parse(&text);
            let _ = RequestId::parse(&text);
        }
    }
}
