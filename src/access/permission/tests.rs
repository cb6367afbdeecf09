//! Which roles may call what, and that no method is left out.

use std::collections::HashSet;

use super::*;

fn methods_of(role: Role) -> Vec<&'static str> {
    let given = METHODS.iter().filter(|(_, permission)| permission.is_given_to(role));
    given
        .filter_map(|(name, _)| name.split_once('/'))
        .map(|(_, method)| method)
        .collect()
}

fn reads(method: &str) -> bool {
    ["Get", "List", "Watch", "Preview", "Export"]
        .iter()
        .any(|verb| method.starts_with(verb))
}

#[test]
fn every_method_is_there_once() {
    let names: HashSet<_> = METHODS.iter().map(|(name, _)| *name).collect();
    assert_eq!(names.len(), METHODS.len());
    assert!(METHODS.iter().all(|(_, permission)| !permission.roles().is_empty()));
}

#[test]
fn what_is_not_in_the_table_is_denied() {
    for method in [
        "",
        "CreatePurchase",
        "/custody.v1.CommissaryService/CreatePurchase",
        "custody.v1.X/Y",
    ] {
        assert_eq!(permission_for(method), None, "{method:?}");
        assert!(!is_open(method));
    }
    assert_eq!(permission_for("custody.v1.CommissaryService/CreatePurchase"), Some(Buy));
    assert!(METHODS.iter().all(|(name, _)| !is_open(name)));
}

#[test]
fn only_health_reflection_and_enrolment_are_open() {
    assert!(is_open("custody.v1.TerminalService/EnrolTerminal"));
    assert!(!is_open("custody.v1.TerminalService/EnrolTerminals") && !is_open("custody.v1.TerminalService/"));
    assert!(is_open("grpc.health.v1.Health/Check") && is_open("grpc.reflection.v1.ServerReflection/Info"));
    assert!(!is_open("grpc.health.v1.Health") && !is_open("grpc.health.v1.HealthX/Check") && !is_open("grpc/x"));
}

#[test]
fn an_auditor_reads_everything_and_nothing_else() {
    let all_reads: Vec<_> = METHODS
        .iter()
        .filter_map(|(name, _)| name.split_once('/'))
        .map(|(_, method)| method)
        .filter(|m| reads(m))
        .collect();
    assert_eq!(methods_of(Role::Auditor), all_reads);
}

#[test]
fn finance_reads_everything_and_an_admin_may_what_finance_may() {
    let (finance, admin) = (methods_of(Role::Finance), methods_of(Role::Admin));
    assert!(methods_of(Role::Auditor).iter().all(|method| finance.contains(method)));
    // Full account numbers stand in the files for the bank and behind payees: only finance has to do with them.
    let not_admins: Vec<_> = finance.iter().filter(|method| !admin.contains(method)).collect();
    assert_eq!(not_admins, [&"DownloadPaymentFile", &"RevealPayee"]);
    for method in [
        "CreateCenter",
        "UpdateDistributionPolicy",
        "AdmitDetainee",
        "CreatePurchase",
        "UpdateProduct",
    ] {
        assert!(!finance.contains(&method), "{method}");
    }
}

#[test]
fn terminals_and_payers_have_a_short_list() {
    let mut terminal = methods_of(Role::Terminal);
    terminal.sort_unstable();
    assert_eq!(
        terminal.join(" "),
        "CancelOrder CreateChallenge CreateOrder CreatePurchase CreateReturn DisputeOrderLine EndAllowance GetAllowance \
         GetBalances GetOfflineChain GetOfflineSale GetOfflineSettings GetOrder GetOrderingRules GetProduct GetPurchase \
         GetRequestOutcome GetReturn GetSpending ListAllowances ListOfflineSales ListProducts RenewCertificate \
         ReserveAllowance SignIn SignInByAssertion UploadOfflineSales"
    );
    let mut detainee = methods_of(Role::Detainee);
    detainee.sort_unstable();
    assert_eq!(
        detainee.join(" "),
        "CancelOrder ChangePin CreateOrder CreatePurchase DisputeOrderLine GetBalances GetOrder GetOrderingRules GetProduct \
         GetPurchase GetRequestOutcome GetReturn GetSpending ListOrders ListProducts ListPurchases ListStatementLines \
         SignOut"
    );
    let mut payer = methods_of(Role::Payer);
    payer.sort_unstable();
    assert_eq!(
        payer.join(" "),
        "AddPaymentAccount CancelRemittance ChangePayerPhone CreateRemittance GetBalances GetDetainee GetDistribution GetPayer \
         GetPayerLink GetRefund GetRemittance GetRequestOutcome GetUnspent ListPayerLinks ListRefunds \
         ListRemittances ListStatementLines PreviewDistribution RefreshRemittance RegisterPayer \
         RemovePaymentAccount RequestPayerLink RequestPhoneCode RevokePayer RevokePayerLink VerifyPayerPhone \
         WatchRemittance"
    );
    let writes: Vec<_> = methods_of(Role::Commissary)
        .into_iter()
        .filter(|method| !reads(method))
        .collect();
    let shop = ["CreateVendor", "CreateProduct", "UpdateProduct"];
    let catalogue = [
        "ProposeProduct",
        "ProposePrice",
        "RecordStockMovement",
        "ImportCatalogue",
    ];
    assert_eq!(writes, [&shop[..], &catalogue, &["ConfirmDelivery"]].concat());
}
