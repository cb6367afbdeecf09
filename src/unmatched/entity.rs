//! Whose money without an order may be: what was written compared with who is there.

use std::cmp::Reverse;

use time::{Date, OffsetDateTime};

use crate::{
    custody::{self, Detainee, DetaineeState},
    db::{self, Conn},
    ids::{DetaineeId, Seq},
    ledger::{Center, balance, record},
    money::Amount,
    proto::{MatchCandidate, MatchEvidence, UnmatchedFacts},
    remittance,
};

/// Most detainees that one sum is compared with.
const CANDIDATES_MAX: i64 = 10;

/// A line of the bank's statement, as finance tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The bank's own reference.
    pub bank_reference: String,
    /// How much, above zero.
    pub amount: Amount,
    /// The bank's value date.
    pub value_date: Date,
    /// Who paid.
    pub payer_name: String,
    /// From which account.
    pub payer_account: String,
    /// The custody number that was written, or nothing.
    pub custody_number: String,
    /// The detainee's name that was written, or nothing.
    pub detainee_name: String,
    /// The birth date that was written.
    pub birth_date: Option<Date>,
    /// What else was written.
    pub remark: String,
}

impl Line {
    pub(super) fn facts(&self) -> UnmatchedFacts {
        UnmatchedFacts {
            reference: self.bank_reference.clone(),
            amount: self.amount.to_string(),
            value_date: self.value_date.to_string(),
            payer_name: self.payer_name.clone(),
            payer_account: self.payer_account.clone(),
            custody_number: self.custody_number.clone(),
            detainee_name: self.detainee_name.clone(),
            birth_date: self.birth_date.map(|date| date.to_string()).unwrap_or_default(),
            remark: self.remark.clone(),
            ..UnmatchedFacts::default()
        }
    }
}

/// How a sum left suspense.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SumEnd {
    /// Credited to a detainee.
    Credited(DetaineeId),
    /// Back to whoever sent it.
    Returned,
}

impl SumEnd {
    /// As it is stored.
    pub const fn name(&self) -> &'static str {
        match self {
            SumEnd::Credited(_) => "CREDITED",
            SumEnd::Returned => "RETURNED",
        }
    }
}

/// Money that arrived without an order.
#[derive(Debug, Clone, PartialEq)]
pub struct Sum {
    /// The transaction that put it into suspense.
    pub seq: Seq,
    /// How much.
    pub amount: Amount,
    /// What its record says of it.
    pub facts: UnmatchedFacts,
    /// When it was recorded.
    pub recorded_at: OffsetDateTime,
    /// How it left suspense, and by which transaction.
    pub end: Option<(SumEnd, Seq)>,
}

/// What becomes of a sum without people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is certain whose it is.
    Credit(DetaineeId),
    /// People have to look, because of this.
    Wait(&'static str),
}

/// Whose a sum may be.
#[derive(Debug, Clone, PartialEq)]
pub struct Judgement {
    /// What becomes of it without people.
    pub outcome: Outcome,
    /// Whose it may be, the likeliest first.
    pub candidates: Vec<MatchCandidate>,
}

impl Judgement {
    /// What speaks for the likeliest candidate.
    pub(super) fn matched_by(&self) -> Vec<String> {
        let evidence = self.candidates.first().map(|first| first.evidence.as_slice());
        let supports = evidence.unwrap_or_default().iter().filter(|told| told.supports);
        supports.map(|told| told.fact.clone()).collect()
    }
}

/// A detainee who may be meant.
#[derive(Debug, Clone)]
struct Candidate {
    detainee: Detainee,
    /// Whether the sum would take them over the balance cap, payments in flight included.
    is_over_cap: bool,
}

/// Compares a sum with the detainees who are there now.
pub(super) async fn judge_in_tx(
    conn: &mut Conn,
    center: &Center,
    facts: &UnmatchedFacts,
    amount: Amount,
    now: OffsetDateTime,
) -> db::Result<Judgement> {
    let (number, name) = (facts.custody_number.trim(), facts.detainee_name.trim());
    let found = custody::candidates_in_tx(conn, center, number, name, CANDIDATES_MAX).await?;
    let cap = custody::settings_in_tx(conn, center).await?.balance_cap;
    let mut candidates = Vec::with_capacity(found.len());
    for detainee in found {
        let [available, held, savings, _] = detainee.accounts();
        let (mut sums, _) = balance::now(&mut *conn, center, &[available, held, savings]).await?;
        sums.push(remittance::in_flight_in_tx(conn, center, &detainee.id, now).await?);
        sums.push(amount);
        let total = Amount::sum(sums, center.currency).map_err(db::decoding)?;
        candidates.push(Candidate {
            is_over_cap: total > cap,
            detainee,
        });
    }
    Ok(judge(facts, &candidates))
}

/// What was compared of a candidate.
struct Compared {
    evidence: Vec<MatchEvidence>,
}

impl Compared {
    fn push(&mut self, fact: &str, supports: bool, text: &str, text_zh: &str) {
        self.evidence.push(MatchEvidence {
            fact: fact.to_owned(),
            supports,
            text: text.to_owned(),
            text_zh: text_zh.to_owned(),
        });
    }

    /// Whether a fact speaks for the candidate, or against; none when it was not compared.
    fn says(&self, fact: &str) -> Option<bool> {
        self.evidence
            .iter()
            .find(|told| told.fact == fact)
            .map(|told| told.supports)
    }

    fn count(&self, supports: bool) -> usize {
        self.evidence.iter().filter(|told| told.supports == supports).count()
    }
}

/// Names are the same whatever the spaces and the case of letters.
fn plain(name: &str) -> String {
    name.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase()
}

fn compare(facts: &UnmatchedFacts, candidate: &Candidate) -> Compared {
    let detainee = &candidate.detainee;
    let mut told = Compared { evidence: Vec::new() };
    let number = facts.custody_number.trim();
    if number == detainee.id.as_str() {
        told.push("custody_number", true, "the custody number is the same", "监号一致");
    } else if number.eq_ignore_ascii_case(detainee.id.as_str()) {
        told.push(
            "custody_number",
            false,
            "the custody number is written in other letters",
            "监号大小写不一致",
        );
    } else if !number.is_empty() {
        told.push("custody_number", false, "the custody number is another", "监号不一致");
    }
    match (record::date(&facts.birth_date), detainee.birth_date) {
        (Some(written), Some(known)) if written == known => {
            told.push("birth_date", true, "the birth date is the same", "出生日期一致");
        }
        (Some(_), Some(_)) => told.push("birth_date", false, "the birth date is another", "出生日期不一致"),
        (Some(_), None) | (None, _) => {}
    }
    let name = plain(&facts.detainee_name);
    if !name.is_empty() {
        if name == plain(&detainee.name) || name == plain(&detainee.name_zh) {
            told.push("name", true, "the name is the same", "姓名一致");
        } else {
            told.push("name", false, "the name is another", "姓名不一致");
        }
    }
    if detainee.state != DetaineeState::Active {
        told.push("state", false, "the person is not held here any more", "该人员已不在押");
    }
    if candidate.is_over_cap {
        told.push(
            "balance_cap",
            false,
            "it would take the person over the balance cap",
            "将超过余额上限",
        );
    }
    told
}

/// Whose a sum may be. Only the exact custody number with the birth date, and nothing against it, needs no people.
fn judge(facts: &UnmatchedFacts, candidates: &[Candidate]) -> Judgement {
    let mut compared: Vec<(&Candidate, Compared)> = candidates
        .iter()
        .map(|candidate| (candidate, compare(facts, candidate)))
        .collect();
    // The likeliest first: whose number it is, then what speaks for them, then what does not speak against them.
    compared.sort_by_key(|(candidate, told)| {
        let number = told.says("custody_number") == Some(true);
        (
            Reverse(number),
            Reverse(told.count(true)),
            told.count(false),
            candidate.detainee.id.clone(),
        )
    });
    let outcome = outcome(&compared);
    let candidates = compared.into_iter().map(|(candidate, told)| MatchCandidate {
        detainee: candidate.detainee.id.to_string(),
        evidence: told.evidence,
    });
    Judgement {
        outcome,
        candidates: candidates.collect(),
    }
}

fn outcome(compared: &[(&Candidate, Compared)]) -> Outcome {
    let Some((first, told)) = compared.first() else {
        return Outcome::Wait("NO_CANDIDATE");
    };
    // Somebody else of the same name and birth date may be meant as well.
    let is_rival = |told: &Compared| told.says("birth_date") == Some(true) && told.says("name") == Some(true);
    if compared.iter().skip(1).any(|(_, told)| is_rival(told)) {
        return Outcome::Wait("TWO_CANDIDATES");
    }
    if told.says("custody_number") != Some(true) {
        return Outcome::Wait(match (compared.len(), told.says("custody_number"), told.says("name")) {
            (2.., ..) => "TWO_CANDIDATES",
            (_, None, Some(true)) => "NAME_ONLY",
            _ => "CUSTODY_NUMBER_DIFFERS",
        });
    }
    let against = [
        ("name", "NAME_DIFFERS"),
        ("birth_date", "BIRTH_DATE_DIFFERS"),
        ("state", "DETAINEE_NOT_ACTIVE"),
        ("balance_cap", "OVER_BALANCE_CAP"),
    ];
    if let Some((_, reason)) = against.iter().find(|(fact, _)| told.says(fact) == Some(false)) {
        return Outcome::Wait(reason);
    }
    if told.says("birth_date") == Some(true) {
        Outcome::Credit(first.detainee.id.clone())
    } else {
        Outcome::Wait("BIRTH_DATE_NOT_KNOWN")
    }
}

#[cfg(test)]
mod tests {
    use time::macros::date;

    use super::*;
    use crate::ids::AccountNo;

    const BORN: Date = date!(1990 - 01 - 31);

    fn detainee(id: &str, name: &str, birth_date: Option<Date>) -> Candidate {
        Candidate {
            detainee: Detainee {
                id: DetaineeId::parse(id).unwrap(),
                name: name.into(),
                name_zh: "张伟".into(),
                state: DetaineeState::Active,
                tier: 1,
                account_base: AccountNo(16),
                admitted_at: OffsetDateTime::UNIX_EPOCH,
                birth_date,
                is_convicted: false,
                went_to: None,
                came_from: None,
            },
            is_over_cap: false,
        }
    }

    fn written(number: &str, name: &str, birth_date: &str) -> UnmatchedFacts {
        UnmatchedFacts {
            custody_number: number.into(),
            detainee_name: name.into(),
            birth_date: birth_date.into(),
            ..UnmatchedFacts::default()
        }
    }

    fn told(facts: &UnmatchedFacts, candidates: &[Candidate]) -> String {
        match judge(facts, candidates).outcome {
            Outcome::Credit(detainee) => format!("credit {detainee}"),
            Outcome::Wait(reason) => reason.to_owned(),
        }
    }

    #[test]
    fn only_number_and_birth_date_need_no_people() {
        let one = [detainee("D1", "Zhang Wei", Some(BORN))];
        for (number, name, birth_date, expected) in [
            ("D1", "", "1990-01-31", "credit D1"),
            (" D1 ", "zhang  WEI", "1990-01-31", "credit D1"),
            ("D1", "张伟", "1990-01-31", "credit D1"),
            ("D1", "Zhang Wie", "1990-01-31", "NAME_DIFFERS"),
            ("D1", "Zhang Wei", "1990-01-30", "BIRTH_DATE_DIFFERS"),
            ("D1", "Zhang Wei", "", "BIRTH_DATE_NOT_KNOWN"),
            ("", "Zhang Wei", "", "NAME_ONLY"),
            ("", "Zhang Wei", "1990-01-31", "NAME_ONLY"),
            ("d1", "Zhang Wei", "1990-01-31", "CUSTODY_NUMBER_DIFFERS"),
            ("D9", "Zhang Wei", "1990-01-31", "CUSTODY_NUMBER_DIFFERS"),
        ] {
            assert_eq!(
                told(&written(number, name, birth_date), &one),
                expected,
                "{number} {name} {birth_date}"
            );
        }
        let unknown = [detainee("D1", "Zhang Wei", None)];
        assert_eq!(
            told(&written("D1", "Zhang Wei", "1990-01-31"), &unknown),
            "BIRTH_DATE_NOT_KNOWN"
        );
        assert_eq!(told(&written("D9", "", ""), &[]), "NO_CANDIDATE");
    }

    #[test]
    fn two_candidates_wait() {
        let facts = written("D1", "Zhang Wei", "1990-01-31");
        let namesake = [
            detainee("D1", "Zhang Wei", Some(BORN)),
            detainee("D2", "Zhang Wei", Some(date!(1970 - 05 - 05))),
        ];
        assert_eq!(
            told(&facts, &namesake),
            "credit D1",
            "a name alone makes no second candidate"
        );
        let twins = [
            detainee("D2", "Zhang Wei", Some(BORN)),
            detainee("D1", "Zhang Wei", Some(BORN)),
        ];
        assert_eq!(told(&facts, &twins), "TWO_CANDIDATES");
        assert_eq!(told(&written("", "Zhang Wei", ""), &namesake), "TWO_CANDIDATES");
    }

    #[test]
    fn whoever_may_not_have_it_waits() {
        let facts = written("D1", "", "1990-01-31");
        let mut gone = detainee("D1", "Zhang Wei", Some(BORN));
        gone.detainee.state = DetaineeState::Released;
        assert_eq!(told(&facts, &[gone]), "DETAINEE_NOT_ACTIVE");
        let mut rich = detainee("D1", "Zhang Wei", Some(BORN));
        rich.is_over_cap = true;
        assert_eq!(told(&facts, &[rich.clone()]), "OVER_BALANCE_CAP");
        let judged = judge(&facts, &[rich]);
        assert_eq!(judged.matched_by(), ["custody_number", "birth_date"]);
        assert_eq!(judged.candidates[0].evidence.len(), 3);
    }
}
