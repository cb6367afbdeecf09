//! Refunds against the simulated gateway, and release payouts.

use std::{sync::Arc, time::Duration};

use custody_ledger::{
    clock::Clock,
    custody::DetaineeState,
    gateway::{
        Channels, Gate, NewPayment, PaymentMethod, RefundNotice, RefundState as Told, RefundedAmount,
        simulator::{
            Simulator, SimulatorConfig, SimulatorControl,
            control::{PayOptions, RefundAnswer},
        },
        webhook::{WebhookChannel, WebhookConfig},
    },
    ids::{AccountNo, RemittanceId, Seq},
    ledger::{
        Code, Declined, Draft, JournalTx, LedgerError, Posted, Posting, RareCommand, Request, account, balance, chart,
        record,
    },
    proto::{CreditFacts, TransactionKind, journal_record::Facts},
    refund::{NewRefund, RefundState, Refunds, refund_number},
};
use futures::future::{BoxFuture, FutureExt as _};
use secrecy::SecretString;
use time::OffsetDateTime;

use crate::{
    others,
    world::{Process, World, cny, id, reason, request},
};

/// The money of a remittance reaches the detainee, as the remittance domain has it reach them.
struct Credit {
    request: Request,
    clearing: AccountNo,
    available: AccountNo,
    facts: CreditFacts,
}

impl RareCommand for Credit {
    fn request(&self) -> &Request {
        &self.request
    }

    fn run<'a>(&'a self, tx: &'a mut JournalTx) -> BoxFuture<'a, Result<Draft, Declined>> {
        async move {
            let (no, moment) = (tx.center().no, tx.moment());
            for statement in [
                "insert into payer (center_id, payer_id, name, registered_by, created_at)
                 values ($1, 'P1', 'Mother', 'finance/alice', $3) on conflict do nothing",
                "insert into payer_link (center_id, payer_id, detainee_id, created_at)
                 values ($1, 'P1', 'D1', $3) on conflict do nothing",
                "insert into payer_link_leg (center_id, payer_id, detainee_id, position, state, actor, at, reason,
                     relationship)
                 values ($1, 'P1', 'D1', 1, 'GRANTED', 'finance/alice', $3, '', 'PARENT') on conflict do nothing",
                "insert into remittance (center_id, remittance_id, number, request_id, actor, request, payer_id,
                     detainee_id, amount, channel, clearing_no, preview, created_at, expires_at)
                 values ($1, $2, $4, gen_random_uuid(), 'payer/P1', '', 'P1', 'D1', $5, 'webhook', $6, '', $3,
                     $3 + interval '30 minutes')",
                "insert into remittance_leg (center_id, remittance_id, state, at, detail, gateway_transaction, paid_at)
                 values ($1, $2, 'PAID', $3, '', $7, $3)",
                "insert into remittance_leg (center_id, remittance_id, state, at, detail, seq)
                 values ($1, $2, 'CREDITED', $3, '', $4)",
            ] {
                // Every statement has all parameters, so that one loop can bind them.
                let typed =
                    "with given as (select $1::int, $2::text, $3::timestamptz, $4::bigint, $5::numeric, $6::int,
                    $7::text) ";
                sqlx::query(sqlx::AssertSqlSafe(format!("{typed}{statement}")))
                    .bind(no.0)
                    .bind(&self.facts.remittance)
                    .bind(moment.recorded_at)
                    .bind(moment.seq.0)
                    .bind(cny(&self.facts.amount).value())
                    .bind(self.clearing.0)
                    .bind(&self.facts.gateway_transaction)
                    .execute(tx.conn())
                    .await?;
            }
            let posting = Posting::new(self.clearing, self.available, cny(&self.facts.amount));
            let facts = Facts::Credit(CreditFacts {
                paid_at: Some(record::timestamp(moment.recorded_at)),
                ..self.facts.clone()
            });
            Ok(Draft::new(TransactionKind::Credit, vec![posting], facts))
        }
        .boxed()
    }
}

struct Bench {
    world: World,
    refunds: Refunds,
    channels: Channels,
    control: SimulatorControl,
    clearing: AccountNo,
    _simulator: Simulator,
}

fn gate(base_url: String, secret: SecretString) -> Gate {
    let config = WebhookConfig {
        id: "webhook".into(),
        base_url,
        secret,
    };
    Gate::new(
        Arc::new(WebhookChannel::try_new(config, Clock::system()).unwrap()),
        "http://127.0.0.1:9/",
    )
}

impl Bench {
    async fn build() -> Bench {
        let world = World::build().await;
        let secret = SecretString::from("shared");
        let config = SimulatorConfig::new(([127, 0, 0, 1], 0).into(), secret.clone());
        let simulator = Simulator::start(config, Clock::system()).await.unwrap();
        let channels = Channels::new([gate(simulator.base_url(), secret)]);
        let (lanes, custody) = (world.process.lanes.clone(), world.process.custody.clone());
        let mut tx = world.process.database.lane.begin().await.unwrap();
        let (no, now) = (world.center.no, OffsetDateTime::now_utc());
        let clearing = account::find_or_open_in_tx(&mut tx, no, Code::GatewayClearing, "channels/webhook", now);
        let clearing = clearing.await.unwrap();
        tx.commit().await.unwrap();
        Bench {
            refunds: Refunds::new(lanes, custody, channels.clone()),
            control: SimulatorControl::try_new(simulator.base_url()).unwrap(),
            channels,
            clearing,
            _simulator: simulator,
            world,
        }
    }

    fn order_number(&self, remittance: &str) -> String {
        format!("{}-{remittance}", self.world.center.no)
    }

    async fn remit(&self, remittance: &str, amount: &str) {
        let payment = NewPayment {
            order_number: self.order_number(remittance),
            amount: cny(amount),
            description: "remittance".into(),
            expires_at: OffsetDateTime::now_utc() + Duration::from_secs(600),
            notify_url: "http://127.0.0.1:9/".into(),
            method: PaymentMethod::Link,
        };
        let channel = &self.channels.get("webhook").unwrap().channel;
        channel.create_payment(&payment).await.unwrap();
        let lost = PayOptions {
            lose: true,
            ..PayOptions::default()
        };
        let paid = self.control.pay(&payment.order_number, &lost).await.unwrap();
        let (process, center) = (&self.world.process, &self.world.center);
        let detainee = process.custody.detainee(center, &id("D1")).await.unwrap();
        let command = Credit {
            request: request("test/Credit", remittance.as_bytes()),
            clearing: self.clearing,
            available: detainee.available(),
            facts: CreditFacts {
                remittance: remittance.into(),
                detainee: "D1".into(),
                payer: "P1".into(),
                channel: "webhook".into(),
                gateway_transaction: paid.gateway_transaction,
                amount: amount.into(),
                ..CreditFacts::default()
            },
        };
        process.lanes.submit_rare(center, command).await.unwrap();
    }

    async fn refund(&self, refunds: &Refunds, remittance: &str, amount: &str) -> Result<Posted, LedgerError> {
        let asked = request("test/Refund", format!("{remittance} {amount}").as_bytes());
        self.refund_with(refunds, asked, remittance, amount).await
    }

    async fn refund_with(
        &self,
        refunds: &Refunds,
        asked: Request,
        remittance: &str,
        amount: &str,
    ) -> Result<Posted, LedgerError> {
        let id = RemittanceId::parse(remittance).unwrap();
        let new = NewRefund::of(id, cny(amount), "wrong person").consented("C-1");
        refunds.create(&self.world.center, asked, new).await
    }

    fn number(&self, seq: Seq) -> String {
        refund_number(self.world.center.no, seq)
    }

    async fn state(&self, seq: Seq) -> RefundState {
        self.refunds.get(&self.world.center, seq).await.unwrap().state
    }

    async fn answer(&self, seq: Seq, failed: Option<&str>) {
        let answer = RefundAnswer {
            failed: failed.map(ToOwned::to_owned),
            ..RefundAnswer::default()
        };
        self.control.answer_refund(&self.number(seq), &answer).await.unwrap();
    }

    async fn balances(&self) -> Vec<String> {
        let accounts = [self.clearing, chart::REFUNDS_IN_TRANSIT];
        let now = balance::now(&*self.world.process.database.read, &self.world.center, &accounts).await;
        let mut texts = vec![self.world.available("D1").await];
        texts.extend(now.unwrap().0.iter().map(ToString::to_string));
        texts
    }

    async fn unspent(&self) -> Vec<String> {
        let told = self.refunds.unspent(&self.world.center, &id("D1"), None).await.unwrap();
        let told_of = |name: &str| name.replace("centers/C1/remittances/", "");
        let texts = told.remittances.iter().map(|entry| {
            let remittance = told_of(&entry.remittance);
            format!("{remittance} {} -{}", entry.unspent, entry.refunded)
        });
        texts.collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refund_takes_what_is_unspent_of_its_remittance_and_ends_once() {
    let bench = Bench::build().await;
    let center = &bench.world.center;
    bench.remit("REM-1", "100").await;
    bench.remit("REM-2", "50").await;
    let bought = bench.world.buy("D1", &[("BOOK", 2)]).await.unwrap();
    assert_eq!(bench.unspent().await, ["REM-1 40.00 -0.00", "REM-2 50.00 -0.00"]);

    let refused = bench.refund(&bench.refunds, "REM-1", "40.01").await.unwrap_err();
    assert_eq!(reason(&refused), "REFUND_EXCEEDS_UNSPENT");
    let refused = bench.refund(&bench.refunds, "REM-1", "100.01").await.unwrap_err();
    assert_eq!(reason(&refused), "REFUND_EXCEEDS_ORIGINAL");
    let refused = bench.refund(&bench.refunds, "REM-9", "1").await.unwrap_err();
    assert_eq!(reason(&refused), "NOT_FOUND");

    let asked = request("test/Refund", b"REM-1");
    let first = bench
        .refund_with(&bench.refunds, asked.clone(), "REM-1", "30")
        .await
        .unwrap();
    let again = bench.refund_with(&bench.refunds, asked, "REM-1", "30").await.unwrap();
    assert!(again.replayed);
    assert_eq!(again.record, first.record);
    assert_eq!(bench.state(first.seq()).await, RefundState::Submitted);
    assert_eq!(bench.control.refunds().await.unwrap().len(), 1);
    assert_eq!(bench.balances().await, ["60.00", "150.00", "30.00"]);
    assert_eq!(bench.unspent().await, ["REM-1 10.00 -30.00", "REM-2 50.00 -0.00"]);

    // Its answer by query and twice by notification: once.
    bench.answer(first.seq(), None).await;
    let ended = bench.refunds.refresh(center, first.seq()).await.unwrap();
    assert_eq!(ended.state, RefundState::Succeeded);
    let notice = |order: &str, amount: &str, state: Told| RefundNotice {
        event_id: "E1".into(),
        refund_number: bench.number(first.seq()),
        order_number: bench.order_number(order),
        amount: RefundedAmount::OfRefund(cny(amount)),
        state,
    };
    let late = Told::Failed { reason: "no".into() };
    for (notice, expected) in [
        (notice("REM-1", "30", late.clone()), None),
        (notice("REM-2", "30", late.clone()), Some("other_order")),
        (notice("REM-1", "31", late), Some("other_amount")),
    ] {
        let got = bench.refunds.notified("webhook", &notice).await.unwrap();
        assert_eq!(got.as_deref(), expected);
    }
    assert_eq!(bench.state(first.seq()).await, RefundState::Succeeded);
    assert_eq!(bench.balances().await, ["60.00", "120.00", "0.00"]);

    // One that fails gives the money back to its own layer; goods that come back too.
    let second = bench.refund(&bench.refunds, "REM-2", "50").await.unwrap();
    assert_eq!(bench.unspent().await, ["REM-1 10.00 -30.00", "REM-2 0.00 -50.00"]);
    bench.answer(second.seq(), Some("account closed")).await;
    let ended = bench.refunds.refresh(center, second.seq()).await.unwrap();
    assert_eq!(ended.state, RefundState::Failed);
    assert_eq!(ended.end.unwrap().reverses, second.seq().0);
    let piece = custody_ledger::commissary::ReturnLine { line: 1, quantity: 1 };
    let back = request("test/Return", b"");
    let (commissary, lines) = (&bench.world.process.commissary, vec![piece]);
    commissary
        .take_back(center, back, bought.seq(), lines, "torn".into())
        .await
        .unwrap();
    assert_eq!(bench.unspent().await, ["REM-1 40.00 -30.00", "REM-2 50.00 -0.00"]);
    assert_eq!(bench.balances().await, ["90.00", "120.00", "0.00"]);
    bench.world.verified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refund_that_the_gateway_never_heard_of_is_taken_to_it_later() {
    let bench = Bench::build().await;
    let center = &bench.world.center;
    bench.remit("REM-1", "100").await;
    let (lanes, custody) = (bench.world.process.lanes.clone(), bench.world.process.custody.clone());
    let nowhere = gate("http://127.0.0.1:1".into(), SecretString::from("shared"));
    let cut_off = Refunds::new(lanes, custody, Channels::new([nowhere]));
    let posted = bench.refund(&cut_off, "REM-1", "100").await.unwrap();
    assert_eq!(bench.state(posted.seq()).await, RefundState::Requested);
    assert_eq!(bench.refunds.poll_open(10).await.unwrap(), 0);

    // A minute later another process finds it; five more, its outcome.
    let at = |minutes: u64| {
        let clock = Clock::starting_at(OffsetDateTime::now_utc() + Duration::from_secs(60 * minutes + 5));
        let process = Process::over(&bench.world.db.url, clock, 4096);
        Refunds::new(process.lanes, process.custody, bench.channels.clone())
    };
    assert_eq!(at(1).poll_open(10).await.unwrap(), 1);
    assert_eq!(bench.state(posted.seq()).await, RefundState::Submitted);
    bench.answer(posted.seq(), None).await;
    assert_eq!(at(2).poll_open(10).await.unwrap(), 0);
    assert_eq!(at(7).poll_open(10).await.unwrap(), 1);
    assert_eq!(bench.state(posted.seq()).await, RefundState::Succeeded);
    assert_eq!(at(100).poll_open(10).await.unwrap(), 0);
    let listed = bench
        .refunds
        .list(center, Some(&id("D1")), None, None, None, 10)
        .await
        .unwrap();
    assert_eq!(listed.len(), 1);
    bench.world.verified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_leaves_gets_everything_or_stays() {
    let bench = Bench::build().await;
    let center = &bench.world.center;
    bench.remit("REM-1", "100").await;
    let open = || async {
        let asked = request("test/Release", b"D1");
        let asked = bench
            .refunds
            .request_release(center, asked, others::maker(), id("D1"), "bank".into());
        asked.await.map(|answered| answered.record.unwrap())
    };
    let refund = bench.refund(&bench.refunds, "REM-1", "10").await.unwrap();
    assert_eq!(reason(&open().await.unwrap_err()), "MONEY_IN_FLIGHT");
    bench.answer(refund.seq(), None).await;
    bench.refunds.refresh(center, refund.seq()).await.unwrap();

    let first = open().await.unwrap();
    assert_eq!(bench.world.available("D1").await, "0.00");
    assert_eq!(reason(&open().await.unwrap_err()), "DETAINEE_NOT_ACTIVE");
    let bought = bench.world.buy("D1", &[("RICE", 1)]).await.unwrap_err();
    assert_eq!(reason(&bought), "DETAINEE_NOT_ACTIVE");
    let refused = bench.refund(&bench.refunds, "REM-1", "1").await.unwrap_err();
    assert_eq!(reason(&refused), "DETAINEE_NOT_ACTIVE");

    // The bank fails: as if nothing had been.
    let (fail, why) = (request("test/Fail", b""), "no such account".to_owned());
    bench
        .refunds
        .fail_release(center, fail, Seq(first.seq), why)
        .await
        .unwrap();
    assert_eq!(bench.unspent().await, ["REM-1 90.00 -10.00"]);
    bench.world.buy("D1", &[("RICE", 1)]).await.unwrap();

    let second = open().await.unwrap();
    let confirm = || Request {
        actor: "finance/bob".into(),
        ..request("test/Confirm", b"")
    };
    let paid = bench
        .refunds
        .confirm_release(center, confirm(), Seq(second.seq), "B1".into())
        .await;
    assert_eq!(paid.unwrap().record.postings[0].amount, "87.50");
    for seq in [Seq(first.seq), Seq(second.seq)] {
        let refused = bench.refunds.confirm_release(center, confirm(), seq, "B1".into()).await;
        assert_eq!(reason(&refused.unwrap_err()), "NOT_IN_TRANSIT");
    }
    let detainee = bench.world.process.custody.detainee(center, &id("D1")).await.unwrap();
    assert_eq!(detainee.state, DetaineeState::Released);
    let poor = bench
        .refunds
        .request_release(
            center,
            request("test/Release", b"D2"),
            others::maker(),
            id("D2"),
            "bank".into(),
        )
        .await;
    // Who has nothing leaves at once, and that is recorded.
    let poor = poor.unwrap().record.unwrap();
    assert!(poor.postings.is_empty());
    let detainee = bench.world.process.custody.detainee(center, &id("D2")).await.unwrap();
    assert_eq!(detainee.state, DetaineeState::Released);
    let late = bench
        .refunds
        .confirm_release(center, confirm(), Seq(poor.seq), "B1".into())
        .await;
    assert_eq!(reason(&late.unwrap_err()), "NOT_IN_TRANSIT");
    assert!(
        bench
            .refunds
            .release(center, Seq(poor.seq))
            .await
            .unwrap()
            .end
            .is_none()
    );
    assert_eq!(
        bench.refunds.list_releases(center, None, None, 10).await.unwrap().len(),
        3
    );
    bench.world.verified().await;
}
