//! `application/x-www-form-urlencoded`, strictly: each key once, UTF-8 only. What is signed is the decoded text, so nothing may be
//! guessed while decoding.

use std::collections::BTreeMap;

/// Parameters by their names, in the order in which they are signed.
pub type Params = BTreeMap<String, String>;

/// More parameters than a notification or a request has.
const PARAMS_MAX: usize = 200;

/// Reads a form; the reason of a failure is for people.
///
/// # Errors
/// A `%` that no two hexadecimal digits follow, what is not UTF-8, a repeated key, and too many of them.
pub fn decode(body: &[u8]) -> Result<Params, String> {
    let mut params = Params::new();
    for pair in body.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()) {
        let at = pair.iter().position(|byte| *byte == b'=').unwrap_or(pair.len());
        let (name, value) = pair.split_at(at);
        let (name, value) = (unescape(name)?, unescape(value.strip_prefix(b"=").unwrap_or(value))?);
        if params.len() == PARAMS_MAX {
            return Err(format!("more than {PARAMS_MAX} parameters"));
        }
        if params.insert(name, value).is_some() {
            return Err("a parameter stands twice".to_owned());
        }
    }
    Ok(params)
}

/// Writes a form.
pub fn encode(params: &Params) -> String {
    let pair = |(name, value): (&String, &String)| format!("{}={}", escape(name), escape(value));
    params.iter().map(pair).collect::<Vec<_>>().join("&")
}

fn unescape(text: &[u8]) -> Result<String, String> {
    let digit = |at: usize| {
        let digit = text.get(at).and_then(|byte| char::from(*byte).to_digit(16));
        digit.and_then(|digit| u8::try_from(digit).ok())
    };
    let (mut bytes, mut at) = (Vec::with_capacity(text.len()), 0);
    while let Some(byte) = text.get(at) {
        match byte {
            b'+' => bytes.push(b' '),
            b'%' => {
                let (Some(high), Some(low)) = (digit(at + 1), digit(at + 2)) else {
                    return Err("a % without two hexadecimal digits".to_owned());
                };
                bytes.push(high * 16 + low);
                at += 2;
            }
            other => bytes.push(*other),
        }
        at += 1;
    }
    String::from_utf8(bytes).map_err(|_| "a parameter is not UTF-8".to_owned())
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.*".contains(&byte) {
            escaped.push(char::from(byte));
        } else if byte == b' ' {
            escaped.push('+');
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes() {
        let params = Params::from([
            ("subject".to_owned(), "汇款 100% & =+~".to_owned()),
            ("empty".to_owned(), String::new()),
        ]);
        assert_eq!(
            encode(&params),
            "empty=&subject=%E6%B1%87%E6%AC%BE+100%25+%26+%3D%2B%7E"
        );
        assert_eq!(decode(encode(&params).as_bytes()), Ok(params));
        assert_eq!(decode(b""), Ok(Params::new()));
        assert_eq!(decode(b"a&b=%e4%b8%ad&").unwrap()["b"], "中");
    }

    #[test]
    fn guesses_nothing() {
        for bad in ["a=%", "a=%1", "a=%zz", "a=%FF", "a=1&a=1", "a=1&%61=2"] {
            assert!(decode(bad.as_bytes()).is_err(), "{bad}");
        }
        let many: Vec<String> = (0..=PARAMS_MAX).map(|n| format!("p{n}=1")).collect();
        assert!(decode(many.join("&").as_bytes()).is_err());
    }
}
