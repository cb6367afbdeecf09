//! The tidy rules: what the house does not allow, looked for in the text of `src/`.
//!
//! A rule that fails names every place as `file:line`. Code under `#[cfg(test)]`, comments and texts are passed over.
//!
//! # Layout
//! - `source`: reads a file and takes away what the rules do not concern.
//! - `layers`: which module may import which.

mod layers;
mod source;

use std::fs;

use source::{Source, sources, words};

const LINES_MAX: usize = 600;
const FUNCTION_LINES_MAX: usize = 70;

/// Fails with the list of everything found.
#[track_caller]
fn nothing(rule: &str, found: Vec<String>) {
    assert!(found.is_empty(), "{rule}:\n  {}\n", found.join("\n  "));
}

/// Every production line for which `is_wrong` holds, in the files for which `concerns` holds.
fn lines(concerns: impl Fn(&str) -> bool, is_wrong: impl Fn(&str) -> bool) -> Vec<String> {
    let sources = sources("src");
    let mut found = Vec::new();
    for source in sources.iter().filter(|source| concerns(&source.path)) {
        for (line, text) in source.production() {
            if is_wrong(text) {
                found.push(format!("{}:{line}: {}", source.path, source.original(line).trim()));
            }
        }
    }
    found
}

fn is_in(path: &str, places: &[&str]) -> bool {
    places
        .iter()
        .any(|place| path == *place || (place.ends_with('/') && path.starts_with(place)))
}

fn has_word(text: &str, wanted: &[&str]) -> bool {
    words(text).any(|word| wanted.contains(&word))
}

#[test]
fn floats_are_for_measuring_only() {
    let exempt = ["src/bench/", "src/demo/", "src/ledger/lane/instruments.rs"];
    let found = lines(|path| !is_in(path, &exempt), |text| has_word(text, &["f32", "f64"]));
    nothing("a float outside src/bench, src/demo and the lanes' instruments", found);
}

#[test]
fn the_wire_stays_at_the_door() {
    // The last four are clients.
    let tonic = [
        "src/api/",
        "src/proto.rs",
        "src/demo/",
        "src/bench/",
        "src/cli/",
        "src/till/",
    ];
    let is_tonic = |text: &str| words(text).any(|word| word == "tonic" || word.starts_with("tonic_"));
    nothing(
        "tonic outside api, proto and the clients",
        lines(|path| !is_in(path, &tonic), is_tonic),
    );

    let prost = [
        "src/api/",
        "src/demo/",
        "src/bench/",
        "src/till/",
        "src/proto.rs",
        "src/ledger/record.rs",
        "src/ledger/difference.rs",
    ];
    let is_prost = |text: &str| words(text).any(|word| word == "prost" || word.starts_with("prost_"));
    nothing(
        "prost outside api, demo, bench, till, proto, the record and the naming of differences",
        lines(|path| !is_in(path, &prost), is_prost),
    );
}

#[test]
fn sql_stays_in_the_stores() {
    // What is compared with the journal's records is read by the domain's verify.rs; src/cli has a file of that name, too.
    let reads = |path: &str| path.ends_with("/store.rs") || path.ends_with("/verify.rs") && !is_in(path, &["src/cli/"]);
    let concerns = |path: &str| !reads(path) && !is_in(path, &["src/db/", "src/ledger/"]);
    nothing(
        "sqlx outside store.rs and verify.rs files, db and ledger",
        lines(concerns, |text| has_word(text, &["sqlx"])),
    );
}

#[test]
fn one_file_reads_the_clock() {
    let reads = ["now_utc", "now_local", "SystemTime", "UtcDateTime"];
    let found = lines(|path| path != "src/clock.rs", |text| has_word(text, &reads));
    nothing("a clock read outside src/clock.rs", found);
}

#[test]
fn reasons_are_searched_for_identity_numbers() {
    let concerns = |path: &str| is_in(path, &["src/api/grpc/"]) && !path.ends_with("/identity.rs");
    let reads = |text: &str| ["told(", "text("].iter().any(|read| text.contains(read)) && text.contains("reason, ");
    let found = lines(concerns, |text| {
        reads(text) && !text.contains("reason_told(") && !text.contains("reason_text(")
    });
    nothing("a reason that is read without reason_told or reason_text", found);
}

#[test]
fn nothing_panics() {
    let panics = [".unwrap()", ".unwrap_err()", ".expect(", ".expect_err("];
    let macros = ["panic!", "todo!", "unreachable!", "unimplemented!"];
    let is_macro = |text: &str| {
        macros.iter().any(|name| {
            text.match_indices(name)
                .any(|(at, _)| !text[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_'))
        })
    };
    let found = lines(
        |_| true,
        |text| panics.iter().any(|call| text.contains(call)) || is_macro(text),
    );
    nothing("a panic outside tests", found);
}

#[test]
fn numbers_are_converted_not_cast() {
    const INTEGERS: [&str; 12] = [
        "i8", "i16", "i32", "i64", "i128", "isize", "u8", "u16", "u32", "u64", "u128", "usize",
    ];
    // The discriminant of an enum can be had in no other way, and where floats are allowed so are casts of them.
    let is_cast = |text: &str| {
        let words: Vec<&str> = words(text).collect();
        words
            .windows(3)
            .any(|three| three[1] == "as" && INTEGERS.contains(&three[2]) && three[0] != "self")
            || matches!(words[..], ["as", integer, ..] if INTEGERS.contains(&integer))
    };
    let found = lines(|path| !is_in(path, &["src/bench/", "src/demo/"]), is_cast);
    nothing("a cast that can truncate; use From or TryFrom", found);
}

#[test]
fn files_are_short_and_say_what_they_are() {
    let (mut long, mut silent) = (Vec::new(), Vec::new());
    for source in sources("src").iter().chain(&sources("tests")) {
        let count = source.line_count();
        if count > LINES_MAX {
            long.push(format!("{}:{count}", source.path));
        }
        if !source.original(1).starts_with("//!") {
            silent.push(format!("{}:1", source.path));
        }
    }
    nothing("a file of more than 600 lines", long);
    nothing("a file without a `//!` head", silent);
}

#[test]
fn functions_fit_a_screen() {
    let mut found = Vec::new();
    for source in sources("src") {
        for (line, name, length) in source.functions() {
            if length > FUNCTION_LINES_MAX {
                found.push(format!("{}:{line}: `{name}` has {length} lines", source.path));
            }
        }
    }
    nothing("a function of more than 70 lines", found);
}

#[test]
fn modules_say_what_they_hold() {
    const EMPTY_NAMES: [&str; 8] = ["helper", "helpers", "util", "utils", "common", "misc", "type", "types"];
    let mut found = Vec::new();
    for source in sources("src").iter().chain(&sources("tests")) {
        if source
            .module_path()
            .iter()
            .any(|name| EMPTY_NAMES.contains(&name.as_str()))
        {
            found.push(format!("{}:1", source.path));
        }
        for (line, text) in source.production() {
            let words: Vec<&str> = words(text).collect();
            if words
                .windows(2)
                .any(|two| two[0] == "mod" && EMPTY_NAMES.contains(&two[1]))
            {
                found.push(format!("{}:{line}: {}", source.path, text.trim()));
            }
        }
    }
    nothing("a module with a name that says nothing", found);
}

#[test]
fn people_are_detainees() {
    // Put together, so that this file may be searched too.
    let words = [["pri", "soner"].concat(), ["in", "mate"].concat()];
    let mut found = Vec::new();
    for folder in ["src", "proto", "migrations", "tests", "deploy"] {
        for path in source::files(folder) {
            let Ok(text) = fs::read_to_string(source::root().join(&path)) else {
                continue;
            };
            for (index, line) in text.lines().enumerate() {
                let lower = line.to_lowercase();
                if words.iter().any(|word| lower.contains(word)) {
                    found.push(format!("{path}:{}: {}", index + 1, line.trim()));
                }
            }
        }
    }
    nothing("people in custody are detainees", found);
}

#[test]
fn imports_point_down() {
    nothing("an import that points up", layers::violations(&sources("src")));
}

#[test]
fn the_rules_see_what_they_look_for() {
    let text = "//! Head.\nuse crate::{a, b::{c, d}, e as f};\nfn f<'a>(x: &'a str) -> char {\n    // x.unwrap()\n    \
        let s = r#\"panic!(\"\n\"#; '\"'\n}\n#[cfg(test)]\nmod tests {\n    fn g() { x.unwrap() }\n}\nfn h() { y.unwrap() }\n";
    let source = Source::of("src/x/y.rs", text);
    assert_eq!(source.module_path(), ["x", "y"]);
    let wrong: Vec<usize> = source
        .production()
        .filter(|(_, text)| text.contains("unwrap") || text.contains("panic"))
        .map(|(line, _)| line)
        .collect();
    assert_eq!(wrong, [12]);
    assert_eq!(source.functions(), [(3, "f".to_owned(), 5), (12, "h".to_owned(), 1)]);
    assert_eq!(
        source.imports(),
        [(2, "a".to_owned()), (2, "b".to_owned()), (2, "e".to_owned())]
    );

    let upward = [
        Source::of("src/money/amount.rs", "use crate::ledger::Lane;"),
        Source::of("src/refund/mod.rs", "use crate::settlement::X; use super::custody;"),
        Source::of("src/settlement/mod.rs", "fn f() { super::refund::g() }"),
        Source::of("src/gateway/mod.rs", "use crate::ledger;"),
        Source::of("src/attic.rs", ""),
    ];
    let found = layers::violations(&upward);
    assert_eq!(found.len(), 4, "{found:#?}");
}
