//! Names the fields in which two encoded requests differ.
//!
//! Works on the wire format, so it needs to know no message: two requests are split into their top-level fields, compared
//! as bytes, and the numbers are named from the descriptors of `proto/`.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::OnceLock,
};

use prost::{
    Message as _,
    bytes::Buf as _,
    encoding::{DecodeContext, decode_key, skip_field},
};
use prost_types::FileDescriptorSet;

use crate::proto::FILE_DESCRIPTOR_SET;

/// The differing top-level fields' names in the order of their numbers; `body` when either cannot be read.
pub fn fields(method: &str, left: &[u8], right: &[u8]) -> Vec<String> {
    if left == right {
        return Vec::new();
    }
    let (Some(left), Some(right)) = (split(left), split(right)) else {
        return vec!["body".to_owned()];
    };
    let names = input_fields(method);
    let numbers: BTreeSet<u32> = left.keys().chain(right.keys()).copied().collect();
    numbers
        .into_iter()
        .filter(|number| left.get(number) != right.get(number))
        .map(|number| {
            names
                .and_then(|names| names.get(&number))
                .cloned()
                .unwrap_or_else(|| format!("field {number}"))
        })
        .collect()
}

fn split(mut body: &[u8]) -> Option<BTreeMap<u32, Vec<u8>>> {
    let mut fields: BTreeMap<u32, Vec<u8>> = BTreeMap::new();
    while body.has_remaining() {
        let before = body;
        let (number, wire_type) = decode_key(&mut body).ok()?;
        skip_field(wire_type, number, &mut body, DecodeContext::default()).ok()?;
        let taken = before.len().checked_sub(body.len())?;
        fields
            .entry(number)
            .or_default()
            .extend_from_slice(before.get(..taken)?);
    }
    Some(fields)
}

type FieldNames = BTreeMap<u32, String>;

fn input_fields(method: &str) -> Option<&'static FieldNames> {
    static METHODS: OnceLock<BTreeMap<String, FieldNames>> = OnceLock::new();
    METHODS
        .get_or_init(|| {
            FileDescriptorSet::decode(FILE_DESCRIPTOR_SET)
                .map(methods)
                .unwrap_or_default()
        })
        .get(method)
}

fn methods(set: FileDescriptorSet) -> BTreeMap<String, FieldNames> {
    let mut messages: BTreeMap<String, FieldNames> = BTreeMap::new();
    for file in &set.file {
        for message in &file.message_type {
            let names = message
                .field
                .iter()
                .filter_map(|field| Some((u32::try_from(field.number()).ok()?, field.name().to_owned())))
                .collect();
            messages.insert(format!(".{}.{}", file.package(), message.name()), names);
        }
    }
    let mut methods = BTreeMap::new();
    for file in &set.file {
        for service in &file.service {
            for method in &service.method {
                let path = format!("{}.{}/{}", file.package(), service.name(), method.name());
                if let Some(names) = messages.get(method.input_type()) {
                    methods.insert(path, names.clone());
                }
            }
        }
    }
    methods
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::RefusalFact;

    #[test]
    fn equal_bodies_do_not_differ() {
        let body = RefusalFact {
            name: "a".into(),
            value: "1".into(),
        }
        .encode_to_vec();
        assert!(fields("none", &body, &body).is_empty());
    }

    #[test]
    fn unknown_methods_are_told_by_number() {
        let left = RefusalFact {
            name: "a".into(),
            value: "1".into(),
        }
        .encode_to_vec();
        let right = RefusalFact {
            name: "a".into(),
            value: "2".into(),
        }
        .encode_to_vec();
        assert_eq!(fields("none", &left, &right), ["field 2"]);
        assert_eq!(fields("none", &left, b"\xff"), ["body"]);
    }
}
