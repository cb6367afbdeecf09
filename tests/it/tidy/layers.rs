//! The layers of the house, and the check that imports point down only.

use std::collections::BTreeMap;

use super::source::Source;

/// From the ground up. A module may import what is on a lower floor, and its neighbours if they do not import it.
const FLOORS: &[&[&str]] = &[
    &["clock", "config", "ids", "launch", "money", "proto", "telemetry"],
    &["db"],
    &["access", "bank", "gateway", "ledger", "till"],
    &["approval", "work"],
    &["custody"],
    &["terminal"],
    &[
        "beneficiary",
        "commissary",
        "contract",
        "distribution",
        "payer",
        "remittance",
    ],
    &["offline_sales"],
    &[
        "ending",
        "payment",
        "reconciliation",
        "refund",
        "settlement",
        "transfer",
        "unmatched",
    ],
    &["api", "jobs", "verification"],
    &["serve"],
    &["bench", "demo"],
    &["cli", "lib", "main"],
];

/// Modules that may import less than their floor allows.
const CONFINED: &[(&str, &[&str])] = &[
    ("gateway", &["clock", "ids", "money"]),
    ("bank", &["clock", "ids", "money"]),
    ("till", &["clock", "ids", "money", "proto"]),
    ("config", &[]),
    ("launch", &[]),
    ("telemetry", &[]),
    ("proto", &[]),
];

fn floor(module: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&module))
}

/// Every import that points up, or to a neighbour that imports back, as `file:line: …`.
pub fn violations(sources: &[Source]) -> Vec<String> {
    let mut found = Vec::new();
    let mut neighbours: BTreeMap<(String, String), String> = BTreeMap::new();
    for source in sources {
        let module = source.module_path().first().cloned().unwrap_or_default();
        let Some(own_floor) = floor(&module) else {
            found.push(format!(
                "{}:1: `{module}` is on no floor; put it into FLOORS",
                source.path
            ));
            continue;
        };
        for (line, imported) in source.imports() {
            // What is no module is an item of the crate's root.
            let Some(its_floor) = floor(&imported).filter(|_| imported != module) else {
                continue;
            };
            let place = format!("{}:{line}", source.path);
            let confined = CONFINED.iter().find(|(name, _)| *name == module);
            if its_floor > own_floor || confined.is_some_and(|(_, allowed)| !allowed.contains(&imported.as_str())) {
                found.push(format!("{place}: `{module}` must not import `{imported}`"));
            } else if its_floor == own_floor {
                neighbours.entry((module.clone(), imported)).or_insert(place);
            }
        }
    }
    for ((module, imported), place) in &neighbours {
        if module < imported && neighbours.contains_key(&(imported.clone(), module.clone())) {
            found.push(format!("{place}: `{module}` and `{imported}` import each other"));
        }
    }
    found
}
