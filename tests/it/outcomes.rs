//! One request id has one outcome over all methods, remittances included.

use custody_ledger::{
    custody::Settings,
    proto::{GetRequestOutcomeRequest, Remittance, RequestOutcome, request_outcome},
};
use prost::Message as _;
use tonic::Code;
use uuid::Uuid;

use crate::{
    bad_requests::{purchase, remittance},
    whole_service::{Hall, Refused},
    world::cny,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_remittance_has_one_outcome_for_ever_also_when_it_is_refused() {
    let hall = Hall::open().await;
    let create = "RemittanceService/CreateRemittance";
    let outcome = async |id: &str| {
        let ask = GetRequestOutcomeRequest {
            parent: "centers/C1".into(),
            request_id: id.into(),
        };
        let told: RequestOutcome = hall.ask("LedgerService/GetRequestOutcome", &ask).await.unwrap();
        told
    };
    let made = Uuid::new_v4().to_string();
    let answer = hall
        .call(create, &hall.token_for(create), remittance(&made, "D1", "10"))
        .await;
    let name = Remittance::decode(answer.unwrap().message.as_slice()).unwrap().name;
    let told = outcome(&made).await;
    assert_eq!((told.state(), told.resource), (request_outcome::State::Succeeded, name));
    assert_eq!((told.seq, told.transaction.as_str()), (0, ""));
    assert!(told.record_time.is_some());

    // Over the cap now; that the cap is raised later changes nothing for this request.
    let refused = Uuid::new_v4().to_string();
    let capped = |cap: &'static str| {
        let custody = hall.process.custody.clone();
        let center = hall.center.id.clone();
        async move {
            let change = |settings| {
                Ok(Settings {
                    balance_cap: cny(cap),
                    ..settings
                })
            };
            custody.change_settings(&center, "admin/root", change).await.unwrap();
        }
    };
    capped("150").await;
    let first = hall
        .refused("over the cap", create, remittance(&refused, "D1", "90"))
        .await;
    assert_eq!(first.reason, "BALANCE_CAP_EXCEEDED");
    capped("5000").await;
    let again = hall
        .call(create, &hall.token_for(create), remittance(&refused, "D1", "90"))
        .await;
    let again = again.err().unwrap();
    assert!(again.metadata().contains_key("custody-replay"), "{again:?}");
    assert_eq!(Refused::of(&again, create), first);
    let told = outcome(&refused).await;
    assert_eq!(told.state(), request_outcome::State::Refused);
    assert_eq!(
        told.refusal.unwrap().reason().as_str_name(),
        "REASON_BALANCE_CAP_EXCEEDED"
    );
    // Neither id can be a purchase's, nor a purchase's a remittance's.
    let bought = Uuid::new_v4().to_string();
    let buy = "CommissaryService/CreatePurchase";
    hall.call(buy, &hall.token_for(buy), purchase(&bought, 1))
        .await
        .unwrap_or_else(|status| panic!("{status:?}"));
    for (method, message) in [
        (buy, purchase(&made, 1)),
        (buy, purchase(&refused, 1)),
        (create, remittance(&bought, "D1", "10")),
    ] {
        let refused = hall.refused("another method", method, message).await;
        assert!(refused.is(Code::InvalidArgument, "REQUEST_REUSED"), "{refused:?}");
    }
    hall.verified().await;
}
