//! Payment files over the wire: who sees account numbers, and a service that is killed while it makes a file.

use std::{fs, time::Duration};

use custody_ledger::{
    access::{Role, Scope},
    bank::simulator::{Rules, take},
    ids::CenterId,
    money::Currency,
    proto::{
        Approval, ApproveRequest, BankAccount, CloseSettlementRequest, CreatePaymentFileRequest,
        DownloadPaymentFileRequest, GetSettlementRequest, GetVendorContractRequest, ImportPaymentStatusRequest,
        ImportPaymentStatusResponse, ListPaymentFilesRequest, ListPaymentFilesResponse, PaymentFile,
        ProposeSettlementRequest, ProposeVendorAccountRequest, Settlement, VendorContract, approval,
        payment_service_client::PaymentServiceClient, settlement,
    },
};
use prost::Message;
use sha2::{Digest as _, Sha256};
use time::OffsetDateTime;
use tonic::{Code, Status};
use uuid::Uuid;

use crate::{
    service::{Service, with_token},
    whole_service::{self, Hall},
    world::cny,
};

const SETTINGS: &str = r#"
[banks.C1]
format = "pain.001.001.03"
account_name = "湖滨看守所"
account_number = "6222020000000000001"
bank_code = "102100099996"
"#;
const NUMBER: &str = "6222021001116245702";

/// A service that knows the center's bank.
struct Bench {
    service: Service,
}

impl Bench {
    fn token(&self, subject: &str, role: Role) -> String {
        let scope = Scope {
            center: Some(CenterId::parse("C1").unwrap()),
            ..Scope::default()
        };
        self.service.token_of(subject, role, scope)
    }

    async fn ask_as<R: Message + Default>(
        &self,
        (subject, role): (&str, Role),
        method: &str,
        message: &impl Message,
    ) -> Result<R, Status> {
        let (channel, token) = (self.service.channel().await, self.token(subject, role));
        let answer = whole_service::call(channel, method, &token, message.encode_to_vec()).await?;
        Ok(R::decode(answer.message.as_slice()).unwrap())
    }

    async fn ask<R: Message + Default>(&self, method: &str, message: &impl Message) -> R {
        self.ask_as(("alice", Role::Finance), method, message).await.unwrap()
    }

    async fn allow(&self, asked: &Approval) {
        let approve = ApproveRequest {
            name: asked.name.clone(),
            reason: String::new(),
        };
        let bob = ("bob", Role::Finance);
        let allowed: Approval = self.ask_as(bob, "ApprovalService/Approve", &approve).await.unwrap();
        assert_eq!(allowed.state(), approval::State::Executed);
    }

    async fn download(&self, name: &str, role: Role) -> Result<Vec<u8>, Status> {
        let request = DownloadPaymentFileRequest { name: name.to_owned() };
        let mut client = PaymentServiceClient::new(self.service.channel().await);
        let chunks = client
            .download_payment_file(with_token(&self.token("alice", role), request))
            .await?;
        let (mut chunks, mut bytes) = (chunks.into_inner(), Vec::new());
        while let Some(chunk) = chunks.message().await? {
            bytes.extend(chunk.content);
        }
        Ok(bytes)
    }
}

fn new_id() -> String {
    Uuid::new_v4().to_string()
}

/// The vendor has an account, and two people have allowed what it is owed.
async fn allowed(bench: &Bench) -> Settlement {
    let account = ProposeVendorAccountRequest {
        name: "centers/C1/vendors/V1".into(),
        account: Some(BankAccount {
            holder: "华丰食品".into(),
            number: NUMBER.into(),
            bank_code: "102100099996".into(),
            bank_name: String::new(),
        }),
        reason: "contract 7".into(),
        request_id: new_id(),
    };
    let asked: Approval = bench.ask("ContractService/ProposeVendorAccount", &account).await;
    assert!(!format!("{asked:?}").contains("62220210"));
    bench.allow(&asked).await;
    let yesterday = (OffsetDateTime::now_utc() - time::Duration::days(1)).date().to_string();
    let close = CloseSettlementRequest {
        parent: "centers/C1".into(),
        vendor: "centers/C1/vendors/V1".into(),
        through_date: yesterday,
        request_id: new_id(),
    };
    let closed: Settlement = bench.ask("SettlementService/CloseSettlement", &close).await;
    let propose = ProposeSettlementRequest {
        name: closed.name.clone(),
        reason: "reviewed".into(),
        request_id: new_id(),
    };
    let asked: Approval = bench.ask("SettlementService/ProposeSettlement", &propose).await;
    bench.allow(&asked).await;
    closed
}

async fn state(bench: &Bench, settlement: &Settlement) -> settlement::State {
    let get = GetSettlementRequest {
        name: settlement.name.clone(),
    };
    let found: Settlement = bench.ask("SettlementService/GetSettlement", &get).await;
    found.state()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_there_whole_or_not_at_all_whenever_the_service_is_killed() {
    let hall = Hall::open().await;
    let directory = Service::directory();
    fs::write(directory.path().join("custody.toml"), SETTINGS).unwrap();
    let service = Service::start_in(directory, Some(&hall.db.url), &[]).await;
    let mut bench = Bench { service };
    let settlement = allowed(&bench).await;
    assert_eq!(state(&bench, &settlement).await, settlement::State::Approved);

    let make = CreatePaymentFileRequest {
        parent: "centers/C1".into(),
        request_id: new_id(),
        execution_date: String::new(),
    };
    // It may be killed before, while or after it writes: the same request again finds out.
    for pause_ms in [0, 1, 3, 6] {
        let (channel, token) = (bench.service.channel().await, bench.token("alice", Role::Finance));
        let message = make.encode_to_vec();
        let call = tokio::spawn(async move {
            whole_service::call(channel, "PaymentService/CreatePaymentFile", &token, message).await
        });
        tokio::time::sleep(Duration::from_millis(pause_ms)).await;
        bench.service.kill().await;
        drop(call.await.unwrap());
        bench.service.restart().await;
    }
    let file: PaymentFile = bench.ask("PaymentService/CreatePaymentFile", &make).await;
    assert_eq!((file.number, file.payment_count), (1, 1));
    assert_eq!(file.total, whole_service::money("10.00"));
    let list = ListPaymentFilesRequest {
        parent: "centers/C1".into(),
        ..ListPaymentFilesRequest::default()
    };
    let listed: ListPaymentFilesResponse = bench.ask("PaymentService/ListPaymentFiles", &list).await;
    assert_eq!(listed.payment_files.len(), 1);
    assert_eq!(state(&bench, &settlement).await, settlement::State::Sent);
    let bytes = bench.download(&file.name, Role::Finance).await.unwrap();
    assert_eq!(bytes, bench.download(&file.name, Role::Finance).await.unwrap());
    assert_eq!(hex::encode(Sha256::digest(&bytes)), file.sha256);

    // Who may see the account's number.
    assert!(String::from_utf8(bytes.clone()).unwrap().contains(NUMBER));
    let denied = bench.download(&file.name, Role::Admin).await.unwrap_err();
    assert_eq!(denied.code(), Code::PermissionDenied);
    let get = GetVendorContractRequest {
        name: "centers/C1/vendors/V1".into(),
    };
    for (role, number) in [
        (Role::Finance, NUMBER),
        (Role::Admin, "***************5702"),
        (Role::Auditor, "***************5702"),
    ] {
        let someone = ("carol", role);
        let contract: VendorContract = bench
            .ask_as(someone, "ContractService/GetVendorContract", &get)
            .await
            .unwrap();
        assert_eq!(contract.account.unwrap().account.unwrap().number, number, "{role}");
    }

    // The bank's answer, read twice at once and once more.
    let rules = Rules {
        currency: Currency::parse("CNY").unwrap(),
        reject_ending: String::new(),
        opening: cny("100.00"),
        now: OffsetDateTime::now_utc(),
    };
    let import = ImportPaymentStatusRequest {
        parent: "centers/C1".into(),
        content: take(&bytes, &rules).unwrap().status,
    };
    let read = || bench.ask::<ImportPaymentStatusResponse>("PaymentService/ImportPaymentStatus", &import);
    let (one, two) = tokio::join!(read(), read());
    let three = read().await;
    for told in [&one, &two, &three] {
        assert_eq!((told.paid_count, told.contradictions.len()), (1, 0), "{told:?}");
    }
    assert!(three.repeated_file && one.repeated_file != two.repeated_file);
    assert_eq!(state(&bench, &settlement).await, settlement::State::Paid);
    hall.verified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_rejected_is_owed_again_once_whenever_the_service_is_killed() {
    let hall = Hall::open().await;
    let directory = Service::directory();
    fs::write(directory.path().join("custody.toml"), SETTINGS).unwrap();
    let service = Service::start_in(directory, Some(&hall.db.url), &[]).await;
    let mut bench = Bench { service };
    let settlement = allowed(&bench).await;
    let make = CreatePaymentFileRequest {
        parent: "centers/C1".into(),
        request_id: new_id(),
        execution_date: String::new(),
    };
    let file: PaymentFile = bench.ask("PaymentService/CreatePaymentFile", &make).await;
    let bytes = bench.download(&file.name, Role::Finance).await.unwrap();
    let rules = Rules {
        currency: Currency::parse("CNY").unwrap(),
        reject_ending: "02".into(),
        opening: cny("100.00"),
        now: OffsetDateTime::now_utc(),
    };
    let status = take(&bytes, &rules).unwrap().status;
    // A payment that is told twice is refused whole.
    let text = String::from_utf8(status.clone()).unwrap();
    let (from, to) = (
        text.find("<TxInfAndSts>").unwrap(),
        text.rfind("</TxInfAndSts>").unwrap() + "</TxInfAndSts>".len(),
    );
    let twice = format!("{}{}{}", &text[..to], &text[from..to], &text[to..]);
    let import = |content: Vec<u8>| ImportPaymentStatusRequest {
        parent: "centers/C1".into(),
        content,
    };
    let alice = ("alice", Role::Finance);
    let refused = bench
        .ask_as::<ImportPaymentStatusResponse>(alice, "PaymentService/ImportPaymentStatus", &import(twice.into_bytes()))
        .await
        .unwrap_err();
    assert!(refused.message().contains("told twice"), "{refused:?}");

    let import = import(status);
    let read: ImportPaymentStatusResponse = bench.ask("PaymentService/ImportPaymentStatus", &import).await;
    assert_eq!((read.failed_count, read.approval.is_empty()), (1, false), "{read:?}");
    assert_eq!(state(&bench, &settlement).await, settlement::State::Sent);
    let approve = ApproveRequest {
        name: read.approval.clone(),
        reason: String::new(),
    };
    // Not who brought the file, in whatever role.
    for role in [Role::Finance, Role::Admin] {
        let own = bench
            .ask_as::<Approval>(("Alice", role), "ApprovalService/Approve", &approve)
            .await;
        assert!(own.is_err());
    }
    for pause_ms in [0, 2, 4, 8] {
        let (channel, token) = (bench.service.channel().await, bench.token("bob", Role::Finance));
        let message = approve.encode_to_vec();
        let call =
            tokio::spawn(async move { whole_service::call(channel, "ApprovalService/Approve", &token, message).await });
        tokio::time::sleep(Duration::from_millis(pause_ms)).await;
        bench.service.kill().await;
        drop(call.await.unwrap());
        bench.service.restart().await;
    }
    bench
        .allow(&Approval {
            name: read.approval.clone(),
            ..Approval::default()
        })
        .await;
    assert_eq!(state(&bench, &settlement).await, settlement::State::Failed);
    let again: ImportPaymentStatusResponse = bench.ask("PaymentService/ImportPaymentStatus", &import).await;
    assert!(again.repeated_file && again.approval.is_empty(), "{again:?}");
    hall.verified().await;
}
