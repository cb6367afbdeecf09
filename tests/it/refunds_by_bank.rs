//! Refunds that no gateway can pay any more, over the wire: a verified account, a file, the bank's answer, and a service that is killed.

use std::{fs, time::Duration};

use custody_ledger::{
    access::{Role, Scope},
    bank::simulator::{Answers, Rules, take},
    ids::CenterId,
    money::Currency,
    proto::{
        Approval, ApproveRequest, BankAccount, CreatePaymentFileRequest, CreateRefundRequest, DetaineeConsent,
        DownloadPaymentFileRequest, GetRefundRequest, GetUnspentRequest, ImportBankStatementRequest,
        ImportBankStatementResponse, ImportPaymentStatusRequest, ImportPaymentStatusResponse, ListBankAccountsRequest,
        ListBankAccountsResponse, ListRefundsRequest, ListRefundsResponse, PaymentFile, ProposeBankAccountRequest,
        Refund, Unspent, approval, detainee_consent::Kind, payment_service_client::PaymentServiceClient, refund,
    },
    verification,
};
use prost::Message;
use sqlx::{Connection as _, PgConnection};
use time::OffsetDateTime;
use tonic::Status;
use uuid::Uuid;

use crate::{
    service::{Service, with_token},
    whole_service::{self, Hall, Refused, money},
    world::cny,
};

const SETTINGS: &str = r#"
[banks.C1]
format = "pain.001.001.09"
account_name = "湖滨看守所"
account_number = "6222020000000000001"
bank_code = "102100099996"
"#;
const NUMBER: &str = "6222021001116245713";
const ALICE: (&str, Role) = ("alice", Role::Finance);
const BOB: (&str, Role) = ("bob", Role::Finance);

/// A service that knows the center's bank and none of its gateways.
struct Bench {
    service: Service,
}

impl Bench {
    async fn start(hall: &Hall) -> Bench {
        let directory = Service::directory();
        fs::write(directory.path().join("custody.toml"), SETTINGS).unwrap();
        let service = Service::start_in(directory, Some(&hall.db.url), &[]).await;
        Bench { service }
    }

    fn token(&self, (subject, role): (&str, Role)) -> String {
        let scope = Scope {
            center: Some(CenterId::parse("C1").unwrap()),
            ..Scope::default()
        };
        self.service.token_of(subject, role, scope)
    }

    async fn ask_as<R: Message + Default>(
        &self,
        who: (&str, Role),
        method: &str,
        message: &impl Message,
    ) -> Result<R, Status> {
        let (channel, token) = (self.service.channel().await, self.token(who));
        let answer = whole_service::call(channel, method, &token, message.encode_to_vec()).await?;
        Ok(R::decode(answer.message.as_slice()).unwrap())
    }

    async fn ask<R: Message + Default>(&self, method: &str, message: &impl Message) -> R {
        self.ask_as(ALICE, method, message).await.unwrap()
    }

    async fn refused<R: Message + Default>(&self, method: &str, message: &impl Message) -> String {
        let refused = self.ask_as::<R>(ALICE, method, message).await.err().unwrap();
        Refused::of(&refused, method).reason
    }

    async fn allow(&self, approval: &str) -> approval::State {
        let approve = approve(approval);
        let allowed: Approval = self.ask_as(BOB, "ApprovalService/Approve", &approve).await.unwrap();
        allowed.state()
    }

    /// Kills the service while it does something, some time after it was asked to.
    async fn killed_while(&mut self, who: (&str, Role), method: &'static str, message: &impl Message) {
        for pause_ms in [0, 2, 5, 9] {
            let (channel, token) = (self.service.channel().await, self.token(who));
            let message = message.encode_to_vec();
            let call = tokio::spawn(async move { whole_service::call(channel, method, &token, message).await });
            tokio::time::sleep(Duration::from_millis(pause_ms)).await;
            self.service.kill().await;
            drop(call.await.unwrap());
            self.service.restart().await;
        }
    }

    async fn file(&self, reject_ending: &str) -> (PaymentFile, Answers) {
        let make = CreatePaymentFileRequest {
            parent: "centers/C1".into(),
            request_id: new_id(),
            execution_date: String::new(),
        };
        let file: PaymentFile = self.ask("PaymentService/CreatePaymentFile", &make).await;
        let request = DownloadPaymentFileRequest {
            name: file.name.clone(),
        };
        let mut client = PaymentServiceClient::new(self.service.channel().await);
        let call = with_token(&self.token(ALICE), request);
        let mut chunks = client.download_payment_file(call).await.unwrap().into_inner();
        let mut bytes = Vec::new();
        while let Some(chunk) = chunks.message().await.unwrap() {
            bytes.extend(chunk.content);
        }
        let rules = Rules {
            currency: Currency::parse("CNY").unwrap(),
            reject_ending: reject_ending.into(),
            opening: cny("1000.00"),
            now: OffsetDateTime::now_utc(),
        };
        let answers = take(&bytes, &rules).unwrap();
        (file, answers)
    }

    async fn refund(&self, name: &str) -> Refund {
        let get = GetRefundRequest { name: name.to_owned() };
        self.ask("RefundService/GetRefund", &get).await
    }
}

fn new_id() -> String {
    Uuid::new_v4().to_string()
}

fn approve(approval: &str) -> ApproveRequest {
    ApproveRequest {
        name: approval.to_owned(),
        reason: String::new(),
    }
}

fn account(holder: &str) -> ProposeBankAccountRequest {
    ProposeBankAccountRequest {
        parent: "centers/C1/payers/P2".into(),
        account: Some(BankAccount {
            holder: holder.into(),
            number: NUMBER.into(),
            bank_code: "102100099996".into(),
            bank_name: "ICBC".into(),
        }),
        reason: "copied card 12".into(),
        request_id: new_id(),
    }
}

fn refund_of(remittance: &str, amount: &str, by_bank: bool) -> CreateRefundRequest {
    CreateRefundRequest {
        parent: "centers/C1".into(),
        remittance: remittance.into(),
        amount: money(amount),
        reason: "the family asks".into(),
        request_id: new_id(),
        suspense_transaction: String::new(),
        by_bank,
        consent: Some(custody_ledger::proto::DetaineeConsent::scanned("C-1")),
    }
}

const ACCOUNT: &str = "BeneficiaryService/ProposeBankAccount";
const REFUND: &str = "RefundService/CreateRefund";

#[tokio::test(flavor = "multi_thread")]
async fn what_no_gateway_takes_back_goes_to_a_verified_account_once_whenever_the_service_is_killed() {
    let hall = Hall::open().await;
    let remitted = hall.remit("D3", "100.00").await.name;
    // While the gateway can pay it, the bank does not.
    let open = hall
        .refused("open", REFUND, refund_of(&remitted, "1.00", true).encode_to_vec())
        .await;
    assert_eq!(open.reason, "REFUND_ROUTE_OPEN");
    let mut bench = Bench::start(&hall).await;
    assert_eq!(
        bench
            .refused::<Refund>(REFUND, &refund_of(&remitted, "40.00", true))
            .await,
        "NO_BANK_ACCOUNT"
    );
    // Somebody else's account is none of theirs.
    assert_eq!(
        bench.refused::<Approval>(ACCOUNT, &account("Uncle")).await,
        "HOLDER_DIFFERS"
    );
    let propose = account("mother");
    let asked: Approval = bench.ask(ACCOUNT, &propose).await;
    let again: Approval = bench.ask(ACCOUNT, &propose).await;
    assert_eq!(asked.name, again.name);
    let mut other = propose.clone();
    other.account.as_mut().unwrap().number = "6222021001116245714".into();
    assert_eq!(bench.refused::<Approval>(ACCOUNT, &other).await, "REQUEST_REUSED");
    let own = bench
        .ask_as::<Approval>(("ALICE", Role::Admin), "ApprovalService/Approve", &approve(&asked.name))
        .await;
    assert_eq!(Refused::of(&own.unwrap_err(), "own").reason, "MAKER_IS_CHECKER");
    assert_eq!(bench.allow(&asked.name).await, approval::State::Executed);
    let list = ListBankAccountsRequest {
        parent: "centers/C1/payers/P2".into(),
    };
    let listed: ListBankAccountsResponse = bench.ask("BeneficiaryService/ListBankAccounts", &list).await;
    assert_eq!(listed.bank_accounts.len(), 1);
    assert_eq!(
        listed.bank_accounts[0].account.as_ref().unwrap().number,
        "***************5713"
    );
    // The number is nowhere in clear.
    let mut owner = PgConnection::connect(&hall.db.url).await.unwrap();
    let clear: i64 = sqlx::query_scalar(
        "select count(*) from (select t::text as x from bank_account_asked t union all select t::text from refused_request t
         union all select encode(request, 'escape') from refused_request union all select encode(command, 'escape') from approval) r
         where x like '%62220210011162457%'",
    )
    .fetch_one(&mut owner)
    .await
    .unwrap();
    assert_eq!(clear, 0);

    // Others allow it, whatever the amount; killed meanwhile, it is one refund.
    let ask = refund_of(&remitted, "40.00", true);
    let asked: Refund = bench.ask(REFUND, &ask).await;
    assert!(!asked.approval.is_empty() && asked.name.is_empty(), "{asked:?}");
    bench
        .killed_while(BOB, "ApprovalService/Approve", &approve(&asked.approval))
        .await;
    assert_eq!(bench.allow(&asked.approval).await, approval::State::Executed);
    let made: Refund = bench.ask(REFUND, &ask).await;
    assert_eq!(
        (made.channel.as_str(), hall.balances("D3").await[0].as_str()),
        ("bank", "60.00")
    );
    let list = ListRefundsRequest {
        parent: "centers/C1".into(),
        ..ListRefundsRequest::default()
    };
    let listed: ListRefundsResponse = bench.ask("RefundService/ListRefunds", &list).await;
    assert_eq!(listed.refunds.len(), 1);
    assert_eq!(listed.refunds[0].redirected_to, "***************5713");
    hall.verified().await;

    // The bank rejects it: exactly that sum is back, when another has allowed it.
    let (file, answers) = bench.file("13").await;
    assert_eq!((file.payment_count, file.total.clone()), (1, money("40.00")));
    assert_eq!(file.payments[0].refund, made.name);
    let import = ImportPaymentStatusRequest {
        parent: "centers/C1".into(),
        content: answers.status,
    };
    bench
        .killed_while(ALICE, "PaymentService/ImportPaymentStatus", &import)
        .await;
    let read: ImportPaymentStatusResponse = bench.ask("PaymentService/ImportPaymentStatus", &import).await;
    assert_eq!(hall.balances("D3").await[0], "60.00");
    bench
        .killed_while(BOB, "ApprovalService/Approve", &approve(&read.approval))
        .await;
    assert_eq!(bench.allow(&read.approval).await, approval::State::Executed);
    assert_eq!(hall.balances("D3").await[0], "100.00");
    assert_eq!(bench.refund(&made.name).await.state(), refund::State::Failed);
    hall.verified().await;

    // Once more, and the bank pays it.
    let ask = refund_of(&remitted, "30.00", true);
    let asked: Refund = bench.ask(REFUND, &ask).await;
    bench.allow(&asked.approval).await;
    let made: Refund = bench.ask(REFUND, &ask).await;
    let (_, answers) = bench.file("").await;
    let import = ImportBankStatementRequest {
        parent: "centers/C1".into(),
        content: answers.statement,
    };
    bench
        .killed_while(ALICE, "PaymentService/ImportBankStatement", &import)
        .await;
    let read = || bench.ask::<ImportBankStatementResponse>("PaymentService/ImportBankStatement", &import);
    let (one, two) = tokio::join!(read(), read());
    assert_eq!((one.paid_count, two.paid_count), (1, 1));
    let told = bench.refund(&made.name).await;
    let steps: Vec<i32> = told.steps.iter().map(|step| step.state).collect();
    assert_eq!(
        steps,
        [refund::State::Requested as i32, refund::State::Succeeded as i32]
    );
    assert_eq!(hall.balances("D3").await[0], "70.00");
    // Why no more is left, with the transaction that took it; what came back is no use.
    let get = GetUnspentRequest {
        detainee: "centers/C1/detainees/D3".into(),
        payer: String::new(),
    };
    let unspent: Unspent = bench.ask("RefundService/GetUnspent", &get).await;
    let uses = &unspent.remittances[0].uses;
    assert_eq!(uses.len(), 1, "{uses:?}");
    assert_eq!(
        (uses[0].what.as_str(), &uses[0].transaction, uses[0].amount.clone()),
        ("REFUNDED", &made.transaction, money("30.00"))
    );
    hall.verified().await;

    // What the owner of the database changes is noticed.
    for (change, undo, expected) in [
        (
            "update bank_account_asked set masked = '***************9999'",
            "update bank_account_asked set masked = '***************5713'",
            "bank_account payers/P2 1",
        ),
        (
            "update payment_failure set approval_no = approval_no - 1",
            "update payment_failure set approval_no = approval_no + 1",
            "payment_failure 1-R",
        ),
        (
            "update refund set approval_no = 1 where channel = 'bank' and amount = 30",
            "update refund set approval_no = (select approval_no from refund_payout p where p.seq = refund.seq)
             where channel = 'bank' and amount = 30",
            "refund ",
        ),
    ] {
        sqlx::raw_sql(change).execute(&mut owner).await.unwrap();
        let found = verification::verify_snapshot(&hall.process.database, &hall.center).await;
        let told = found.map(drop).expect_err(change).to_string();
        assert!(told.contains(expected), "{change}: {told}");
        sqlx::raw_sql(undo).execute(&mut owner).await.unwrap();
    }
    hall.verified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_detainee_s_money_goes_back_only_with_consent_that_can_be_checked() {
    let hall = Hall::open().await;
    let remitted = hall.remit("D3", "100.00").await.name;
    for (consent, reason) in [
        (None, "CONSENT_REQUIRED"),
        (Some(DetaineeConsent { kind: None }), "CONSENT_REQUIRED"),
        (
            Some(DetaineeConsent {
                kind: Some(Kind::SessionSignature(vec![1, 2])),
            }),
            "CONSENT_NOT_CHECKABLE",
        ),
        (Some(DetaineeConsent::scanned("")), "INVALID_FIELD"),
    ] {
        let ask = CreateRefundRequest {
            consent,
            ..refund_of(&remitted, "1.00", false)
        };
        let refused = hall.refused("consent", REFUND, ask.encode_to_vec()).await;
        assert_eq!(refused.reason, reason);
    }
    let asked: Refund = hall.ask(REFUND, &refund_of(&remitted, "1.00", false)).await.unwrap();
    assert_eq!(asked.consent_document, "C-1");
    assert_eq!(hall.balances("D3").await[0], "99.00");
    hall.verified().await;
}
