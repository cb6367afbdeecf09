//! The steps about who pays, by which rules, what is held for review, and what goes back by itself.

use std::{collections::BTreeMap, sync::Arc};

use custody_ledger::{
    approval::{Approval, ApprovalState, Desk, Person, Runner, Verdict},
    custody::Settings,
    ids::{PayerId, Seq},
    ledger::{LedgerError, Request},
    proto::journal_record::Facts,
    refund::{Review, ReviewRunner, ask_for_review},
    remittance::Canceller,
};
use uuid::Uuid;

use super::{Asked, Scenario, What, reading::expect};
use crate::world::{cny, reason, register_payer, request_with};

fn somebody(subject: &str) -> Person {
    Person {
        id: subject.into(),
        actor: format!("finance/{subject}"),
    }
}

impl Scenario {
    /// Takes a step if it is one of these.
    pub(super) async fn review_step(&mut self, words: &[&str], at: &str) -> bool {
        match words {
            ["rules", rules @ ..] => self.rule(rules, at).await,
            ["payer", payer] => self.switch_payer(payer).await,
            ["cancel", name, expected] => {
                let by = Canceller {
                    actor: "payer/P1",
                    is_payer: true,
                };
                let (center, remittances) = (&self.economy.world.center, &self.economy.house.remittances);
                let cancelled = remittances.cancel(center, &self.remittances[*name], by).await;
                assert_eq!(&cancelled.unwrap().state().name().to_lowercase(), expected, "{at}");
            }
            ["stands", name, expected] => {
                let (center, remittances) = (&self.economy.world.center, &self.economy.house.remittances);
                let found = remittances.remittance(center, &self.remittances[*name]).await;
                assert_eq!(&found.unwrap().state().name().to_lowercase(), expected, "{at}");
            }
            ["send-back", expected] => {
                let house = &self.economy.house;
                let sent = house
                    .refunds
                    .return_due(&house.remittances, &self.economy.world.center, 10);
                assert_eq!(sent.await.unwrap().to_string(), *expected, "{at}");
            }
            ["back", name, remittance, amount] => self.name_return(name, remittance, amount, at).await,
            ["ask", name, review, remittance, expected @ ..] => {
                self.ask_others(name, review, remittance, expected, at).await
            }
            ["decide", name, who, expected] => self.decide(name, who, expected, at).await,
            _ => return false,
        }
        true
    }

    async fn rule(&self, rules: &[&str], at: &str) {
        let change = |mut settings: Settings| {
            for rule in rules {
                let (name, value) = rule.split_once('=').unwrap();
                let count = || value.parse().unwrap();
                match name {
                    "cap" => settings.balance_cap = cny(value),
                    "monthly" => settings.payment_count_max = count(),
                    "payments" => settings.screening.payment_max = count(),
                    "payers" => settings.screening.payer_max = count(),
                    "detainees" => settings.screening.detainee_max = count(),
                    _ => panic!("{at}: there is no rule {name}"),
                }
            }
            Ok(settings)
        };
        let world = &self.economy.world;
        world
            .process
            .custody
            .change_settings(&world.center.id, "admin/root", change)
            .await
            .unwrap();
    }

    async fn switch_payer(&mut self, payer: &str) {
        let world = &self.economy.world;
        let id = PayerId::parse(payer).unwrap();
        if world.process.payers.payer(&world.center, &id).await.is_err() {
            register_payer(&world.process, &world.center, payer, &["D1", "D2", "D3"]).await;
        }
        payer.clone_into(&mut self.economy.payer);
    }

    /// Gives the refund that a remittance's money went back by, by itself, a name.
    async fn name_return(&mut self, name: &str, remittance: &str, amount: &str, at: &str) {
        let (economy, id) = (&self.economy, &self.remittances[remittance]);
        let refunds = &economy.house.refunds;
        let found = refunds
            .list(&economy.world.center, None, Some(id), None, None, 10)
            .await
            .unwrap();
        let open = found.iter().find(|refund| refund.state.name() == "SUBMITTED");
        let open = open.unwrap_or_else(|| panic!("{at}: nothing of it is on its way back: {found:?}"));
        let Some(Facts::Refund(facts)) = &open.requested.facts else {
            panic!("{at}: a refund without its facts");
        };
        assert_eq!(facts.amount, amount, "{at}");
        let what = What::Refund {
            remittance: remittance.to_owned(),
            amount: amount.to_owned(),
        };
        let asked = Asked {
            request: Uuid::new_v4(),
            what,
            seq: Some(Seq(open.requested.seq)),
        };
        self.asked.insert(name.to_owned(), asked);
    }

    fn desk(&self) -> Desk {
        let house = &self.economy.house;
        let runner = |review| {
            let runner = ReviewRunner::new(review, house.remittances.clone(), house.refunds.clone());
            Arc::new(runner) as Arc<dyn Runner>
        };
        let lanes = self.economy.world.process.lanes.clone();
        Desk::new(lanes, [Review::Release, Review::Reject].map(runner))
    }

    async fn ask_others(&mut self, name: &str, review: &str, remittance: &str, expected: &[&str], at: &str) {
        let review = match review {
            "release" => Review::Release,
            "reject" => Review::Reject,
            _ => panic!("{at}: a review ends in release or reject"),
        };
        let alice = somebody("alice");
        let request = Request {
            actor: alice.actor.clone(),
            ..request_with(Uuid::new_v4(), "test/Review", name.as_bytes())
        };
        let (desk, id) = (self.desk(), self.remittances[remittance].clone());
        let center = &self.economy.world.center;
        let asked = ask_for_review(
            desk.approvals(),
            center,
            (request, alice),
            review,
            id,
            "looked at".into(),
        );
        let asked: Result<(Approval, bool), LedgerError> = asked.await;
        if let Ok((approval, _)) = &asked {
            self.approvals.insert(name.to_owned(), approval.no);
        }
        expect(&asked.map(|(_, replayed)| (BTreeMap::new(), replayed)), expected, at);
    }

    async fn decide(&self, name: &str, who: &str, expected: &str, at: &str) {
        let (desk, center) = (self.desk(), &self.economy.world.center);
        let decided = desk
            .decide(
                center,
                self.approvals[name],
                &somebody(who),
                Verdict::Approved,
                "ok".into(),
            )
            .await;
        let came = match decided {
            Ok(approval) if approval.state(desk.now()) == ApprovalState::Executed => "executed".to_owned(),
            Ok(approval) => format!("{:?}", approval.state(desk.now())),
            Err(error) => reason(&error),
        };
        assert_eq!(came, expected, "{at}");
    }
}
