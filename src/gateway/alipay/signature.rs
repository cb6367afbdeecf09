//! What RSA2 signs: sorted parameters of requests and notifications, and the raw text of an answer's object.

use std::{borrow::Cow, collections::BTreeMap};

use serde_json::value::RawValue;

use super::{
    form::Params,
    key::{PrivateKey, PublicKey},
};
use crate::gateway::error::NotificationError;

/// The signature's kind: RSA with SHA-256.
pub const SIGN_TYPE: &str = "RSA2";

/// The object that stands for the method's own when the gateway could not say which method was called.
pub const ERROR_NODE: &str = "error_response";

/// The signed text: `name=value` of all parameters but those left out, joined by `&`, by name, values as they are.
fn text(params: &Params, left_out: &[&str]) -> String {
    let signed = params.iter().filter(|(name, _)| !left_out.contains(&name.as_str()));
    let pairs: Vec<String> = signed.map(|(name, value)| format!("{name}={value}")).collect();
    pairs.join("&")
}

/// The member of an answer, and the parameter, that names Alipay's certificate. It is not part of what a notification signs.
pub const ALIPAY_CERT_SN: &str = "alipay_cert_sn";

/// The parameter of a request that names the application's certificate.
pub const APP_CERT_SN: &str = "app_cert_sn";
/// The parameter of a request that names Alipay's roots.
pub const ROOT_CERT_SN: &str = "alipay_root_cert_sn";

/// Adds the signature to a request's parameters. It covers `sign_type`.
///
/// # Errors
/// The library's failure, which has no words.
pub fn sign_request(key: &PrivateKey, params: &mut Params) -> Result<(), aws_lc_rs::error::Unspecified> {
    params.insert("sign_type".to_owned(), SIGN_TYPE.to_owned());
    let signature = key.sign(text(params, &["sign"]).as_bytes())?;
    params.insert("sign".to_owned(), signature);
    Ok(())
}

/// Whether a request is signed with the key's other half.
pub fn verifies_request(key: &PublicKey, params: &Params) -> bool {
    let signature = params.get("sign").map_or("", String::as_str);
    key.verifies(text(params, &["sign"]).as_bytes(), signature)
}

/// Adds the signature to a notification's parameters. It does not cover `sign_type`.
///
/// # Errors
/// The library's failure, which has no words.
pub fn sign_notification(key: &PrivateKey, params: &mut Params) -> Result<(), aws_lc_rs::error::Unspecified> {
    params.insert("sign_type".to_owned(), SIGN_TYPE.to_owned());
    let signature = key.sign(text(params, &["sign", "sign_type"]).as_bytes())?;
    params.insert("sign".to_owned(), signature);
    Ok(())
}

/// Checks a notification's signature. Notices of trades leave `sign_type` out of what is signed; some others keep it.
///
/// # Errors
/// `MissingSignature` and `BadSignature`.
pub fn verify_notification(key: &PublicKey, params: &Params) -> Result<(), NotificationError> {
    let signature = params.get("sign").ok_or(NotificationError::MissingSignature)?;
    let is_signed = |left_out: &[&str]| key.verifies(text(params, left_out).as_bytes(), signature);
    // The old kind, RSA with SHA-1, is not taken: whoever could forge it would name it.
    let is_rsa2 = params.get("sign_type").is_some_and(|kind| kind == SIGN_TYPE);
    if is_rsa2 && (is_signed(&["sign", "sign_type", ALIPAY_CERT_SN]) || is_signed(&["sign", ALIPAY_CERT_SN])) {
        return Ok(());
    }
    Err(NotificationError::BadSignature)
}

/// An answer's object, exactly as it was sent, and whether it may be believed.
#[derive(Debug, PartialEq, Eq)]
pub enum Told<'a> {
    /// Signed by the gateway.
    Signed(&'a str),
    /// Without a signature, as the gateway answers whom it does not know: a hint for people, no fact.
    Unsigned(&'a str),
}

/// Takes the object of a method's answer out of the answer's text and checks its signature over exactly that text: read and
/// written again, spaces, escapes and order would differ from what was signed.
///
/// # Errors
/// What is wrong, for people.
pub fn open_answer<'a>(key: &PublicKey, answer: &'a str, method: &str) -> Result<Told<'a>, String> {
    let members: BTreeMap<Cow<'_, str>, &'a RawValue> =
        serde_json::from_str(answer).map_err(|error| error.to_string())?;
    let node = members.get(node_name(method).as_str());
    let (node, is_error) = match (node, members.get(ERROR_NODE)) {
        (Some(node), _) => (node.get(), false),
        (None, Some(node)) => (node.get(), true),
        (None, None) => return Err(format!("there is no {}", node_name(method))),
    };
    let signature: Option<Cow<'_, str>> = match members.get("sign") {
        Some(raw) => serde_json::from_str(raw.get()).map_err(|error| format!("sign: {error}"))?,
        None => None,
    };
    let signature = signature.filter(|signature| !signature.is_empty());
    match signature {
        // Alipay's own libraries know answers that were signed before their slashes were escaped.
        Some(signature)
            if key.verifies(node.as_bytes(), &signature)
                || node.contains("\\/") && key.verifies(node.replace("\\/", "/").as_bytes(), &signature) =>
        {
            Ok(Told::Signed(node))
        }
        Some(_) => Err("the answer's signature is wrong".to_owned()),
        None if is_error || !node.contains("\"10000\"") => Ok(Told::Unsigned(node)),
        None => Err("the answer is not signed".to_owned()),
    }
}

/// The SN of the certificate that an answer says it is signed with; none in the mode without certificates.
pub fn certificate_of(answer: &str) -> Option<String> {
    let members: BTreeMap<Cow<'_, str>, &RawValue> = serde_json::from_str(answer).ok()?;
    serde_json::from_str(members.get(ALIPAY_CERT_SN)?.get()).ok()
}

/// Puts an answer together: the object's text as it is, the SN of the certificate if there is one, and the signature over exactly
/// the object's text.
///
/// # Errors
/// The library's failure, which has no words.
pub fn sign_answer(
    key: &PrivateKey,
    cert_sn: Option<&str>,
    method: &str,
    node: &str,
) -> Result<String, aws_lc_rs::error::Unspecified> {
    let signature = key.sign(node.as_bytes())?;
    let named = cert_sn.map(|sn| format!(r#""{ALIPAY_CERT_SN}":"{sn}","#));
    let (name, named) = (node_name(method), named.unwrap_or_default());
    Ok(format!(r#"{{"{name}":{node},{named}"sign":"{signature}"}}"#))
}

/// `alipay.trade.query` answers as `alipay_trade_query_response`.
fn node_name(method: &str) -> String {
    format!("{}_response", method.replace('.', "_"))
}

#[cfg(test)]
mod tests {
    use super::{super::key::tests::new_key, *};

    const METHOD: &str = "alipay.trade.query";

    fn keys() -> (PrivateKey, PublicKey) {
        let private = PrivateKey::read(&new_key()).unwrap();
        let public = PublicKey::read(&private.public_text().unwrap()).unwrap();
        (private, public)
    }

    fn params(pairs: &[(&str, &str)]) -> Params {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        pairs.iter().map(own).collect()
    }

    #[test]
    fn signs_sorted_raw_values_of_all_but_the_signature() {
        let all = params(&[
            ("b", "2 &="),
            ("a", "1"),
            ("sign", "s"),
            ("sign_type", "RSA2"),
            ("B", ""),
        ]);
        assert_eq!(text(&all, &["sign"]), "B=&a=1&b=2 &=&sign_type=RSA2");
        assert_eq!(text(&all, &["sign", "sign_type"]), "B=&a=1&b=2 &=");
        let (private, public) = keys();
        let mut request = params(&[("method", METHOD), ("biz_content", r#"{"a":"汇款"}"#)]);
        sign_request(&private, &mut request).unwrap();
        assert!(verifies_request(&public, &request));
        request.insert("biz_content".to_owned(), "{}".to_owned());
        assert!(!verifies_request(&public, &request));
        assert!(!verifies_request(&public, &params(&[("a", "1")])));
    }

    #[test]
    fn a_notification_may_keep_the_kind_of_its_signature_or_not() {
        let (private, public) = keys();
        let mut dropped = params(&[("notify_id", "n1"), ("total_amount", "1.00")]);
        sign_notification(&private, &mut dropped).unwrap();
        let mut kept = params(&[("notify_id", "n1"), ("total_amount", "1.00")]);
        sign_request(&private, &mut kept).unwrap();
        for mut good in [dropped, kept] {
            assert_eq!(verify_notification(&public, &good), Ok(()));
            good.insert("sign_type".to_owned(), "RSA".to_owned());
            assert_eq!(
                verify_notification(&public, &good),
                Err(NotificationError::BadSignature)
            );
            good.insert("sign_type".to_owned(), SIGN_TYPE.to_owned());
            good.insert("total_amount".to_owned(), "9.00".to_owned());
            assert_eq!(
                verify_notification(&public, &good),
                Err(NotificationError::BadSignature)
            );
            good.remove("sign");
            assert_eq!(
                verify_notification(&public, &good),
                Err(NotificationError::MissingSignature)
            );
        }
        let (other, _) = keys();
        let mut forged = params(&[("notify_id", "n1")]);
        sign_notification(&other, &mut forged).unwrap();
        assert_eq!(
            verify_notification(&public, &forged),
            Err(NotificationError::BadSignature)
        );
    }

    #[test]
    fn an_answer_is_believed_exactly_as_it_was_written() {
        let (private, public) = keys();
        // Spaces, escapes, order, and words that look like the end: all are part of what is signed.
        let node = r#"{ "code":"10000","msg":"Success",  "subject":"\u6c47 },\"sign\":\"x\"","b":1,"a":2 }"#;
        let answer = sign_answer(&private, None, METHOD, node).unwrap();
        assert_eq!(open_answer(&public, &answer, METHOD), Ok(Told::Signed(node)));
        let wrong = Err("the answer's signature is wrong".to_owned());
        for (from, to) in [
            ("10000", "10001"),
            (",  ", ", "),
            ("\\u6c47", "汇"),
            (r#""b":1,"a":2"#, r#""a":2,"b":1"#),
        ] {
            let altered = answer.replacen(from, to, 1);
            assert_ne!(altered, answer);
            assert_eq!(open_answer(&public, &altered, METHOD), wrong, "{from}");
        }
        // Around the object nothing is signed, and nothing is read.
        let spaced =
            answer
                .replacen("\":{", "\" : {", 1)
                .replacen(",\"sign\"", ",\"alipay_cert_sn\":\"x\" , \"sign\"", 1);
        assert_eq!(open_answer(&public, &spaced, METHOD), Ok(Told::Signed(node)));

        let slashes = r#"{"code":"10000","qr_code":"https:\/\/qr.alipay.com\/x"}"#;
        let signature = private.sign(slashes.replace("\\/", "/").as_bytes()).unwrap();
        let answer = format!(r#"{{"alipay_trade_query_response":{slashes},"sign":"{signature}"}}"#);
        assert_eq!(open_answer(&public, &answer, METHOD), Ok(Told::Signed(slashes)));
    }

    #[test]
    fn an_answer_without_a_signature_is_no_success() {
        let (private, public) = keys();
        let good = r#"{"alipay_trade_query_response":{"code":"10000"}}"#;
        for answer in [
            good,
            &good.replace("}}", r#"},"sign":""}"#),
            &good.replace("}}", r#"},"sign":null}"#),
        ] {
            assert_eq!(
                open_answer(&public, answer, METHOD),
                Err("the answer is not signed".to_owned())
            );
        }
        let refusal = r#"{"code":"40002","sub_code":"isv.invalid-app-id"}"#;
        for node in [ERROR_NODE, "alipay_trade_query_response"] {
            let answer = format!(r#"{{"{node}":{refusal}}}"#);
            assert_eq!(open_answer(&public, &answer, METHOD), Ok(Told::Unsigned(refusal)));
        }
        // Another method's answer, however well signed, is none.
        let other = sign_answer(&private, None, "alipay.trade.close", r#"{"code":"10000"}"#).unwrap();
        for bad in ["", "[]", "{}", "\"x\"", &other] {
            assert!(open_answer(&public, bad, METHOD).is_err(), "{bad}");
        }
    }
}
