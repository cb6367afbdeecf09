//! The one table that says which permission each method needs.

use std::{collections::HashMap, sync::LazyLock};

use super::permission::Permission::{self, *};

/// Every method, as `package.Service/Method`, with the permission that it needs. A method that is not here is denied.
pub const METHODS: &[(&str, Permission)] = &[
    ("custody.v1.CustodyService/CreateCenter", ManageCenters),
    ("custody.v1.CustodyService/GetCenter", ReadCenters),
    ("custody.v1.CustodyService/ListCenters", ReadCenters),
    ("custody.v1.CustodyService/UpdateCenterSettings", ManageCenters),
    ("custody.v1.CustodyService/AdmitDetainee", ManageDetainees),
    ("custody.v1.CustodyService/GetDetainee", ReadDetainee),
    ("custody.v1.CustodyService/ListDetainees", ListDetainees),
    ("custody.v1.CustodyService/GetBalances", ReadBalances),
    ("custody.v1.CustodyService/ListStatementLines", ReadStatement),
    ("custody.v1.CustodyService/ChangeLegalStatus", ManageDetainees),
    ("custody.v1.RemittanceService/CreatePayer", ManagePayers),
    ("custody.v1.RemittanceService/GetPayer", ReadPayer),
    ("custody.v1.RemittanceService/ListPayers", ListPayers),
    ("custody.v1.RemittanceService/CreatePayerLink", ManagePayers),
    ("custody.v1.RemittanceService/ListPayerLinks", ReadPayer),
    ("custody.v1.RemittanceService/CreateRemittance", Remit),
    ("custody.v1.RemittanceService/GetRemittance", ReadRemittances),
    ("custody.v1.RemittanceService/ListRemittances", ReadRemittances),
    ("custody.v1.RemittanceService/RefreshRemittance", Remit),
    ("custody.v1.RemittanceService/ListNotifications", ReadNotifications),
    (
        "custody.v1.DistributionService/GetDistributionPolicy",
        ReadDistributionPolicy,
    ),
    (
        "custody.v1.DistributionService/UpdateDistributionPolicy",
        ManageDistribution,
    ),
    ("custody.v1.DistributionService/CreateCourtOrder", ManageDistribution),
    ("custody.v1.DistributionService/ListCourtOrders", ReadDistributionPolicy),
    (
        "custody.v1.DistributionService/ListDistributionPolicyVersions",
        ReadDistributionPolicy,
    ),
    ("custody.v1.DistributionService/SuspendCourtOrder", ManageDistribution),
    ("custody.v1.DistributionService/ResumeCourtOrder", ManageDistribution),
    ("custody.v1.DistributionService/EndCourtOrder", ManageDistribution),
    ("custody.v1.DistributionService/CreateDebt", RecordDebts),
    ("custody.v1.DistributionService/GetDebt", ReadDebts),
    ("custody.v1.DistributionService/ListDebts", ReadDebts),
    ("custody.v1.DistributionService/PreviewDistribution", ReadDistribution),
    ("custody.v1.DistributionService/GetDistribution", ReadDistribution),
    ("custody.v1.CommissaryService/CreateVendor", ManageCatalogue),
    ("custody.v1.CommissaryService/GetVendor", ReadVendors),
    ("custody.v1.CommissaryService/ListVendors", ReadVendors),
    ("custody.v1.CommissaryService/CreateProduct", ManageCatalogue),
    ("custody.v1.CommissaryService/GetProduct", ReadProducts),
    ("custody.v1.CommissaryService/UpdateProduct", ManageCatalogue),
    ("custody.v1.CommissaryService/ListProducts", ReadProducts),
    ("custody.v1.CommissaryService/CreatePurchase", Buy),
    ("custody.v1.CommissaryService/GetPurchase", ReadPurchase),
    ("custody.v1.CommissaryService/ListPurchases", ListBought),
    ("custody.v1.CommissaryService/CreateReturn", Sell),
    ("custody.v1.CommissaryService/GetReturn", ReadPurchase),
    ("custody.v1.CommissaryService/ListReturns", ListPurchases),
    ("custody.v1.CommissaryService/GetSpending", ReadSpending),
    ("custody.v1.SettlementService/CloseSettlement", Settle),
    ("custody.v1.SettlementService/GetSettlement", ReadSettlements),
    ("custody.v1.SettlementService/ListSettlements", ReadSettlements),
    ("custody.v1.SettlementService/ListSettlementLines", ReadSettlements),
    ("custody.v1.SettlementService/ConfirmSettlement", Settle),
    ("custody.v1.SettlementService/FailSettlement", Settle),
    ("custody.v1.SettlementService/PreviewSettlement", ReadSettlements),
    ("custody.v1.SettlementService/ProposeSettlement", Settle),
    ("custody.v1.SettlementService/ExportSettlement", ReadSettlements),
    ("custody.v1.ContractService/GetVendorContract", ReadContracts),
    ("custody.v1.ContractService/UpdateVendorTerms", ManageContracts),
    ("custody.v1.ContractService/ProposeVendorAccount", ManageContracts),
    ("custody.v1.ContractService/ListVendorTerms", ReadContracts),
    ("custody.v1.ContractService/ListVendorAccounts", ReadContracts),
    ("custody.v1.PaymentService/CreatePaymentFile", PayByBank),
    ("custody.v1.PaymentService/GetPaymentFile", ReadPaymentFiles),
    ("custody.v1.PaymentService/ListPaymentFiles", ReadPaymentFiles),
    ("custody.v1.PaymentService/DownloadPaymentFile", DownloadPaymentFiles),
    ("custody.v1.PaymentService/ImportPaymentStatus", PayByBank),
    ("custody.v1.PaymentService/ImportBankStatement", PayByBank),
    ("custody.v1.RefundService/GetUnspent", ReadUnspent),
    ("custody.v1.RefundService/CreateRefund", Refund),
    ("custody.v1.RefundService/GetRefund", ReadRefunds),
    ("custody.v1.RefundService/ListRefunds", ReadRefunds),
    ("custody.v1.RefundService/RefreshRefund", Refund),
    ("custody.v1.RefundService/CreateRelease", Release),
    ("custody.v1.RefundService/GetRelease", ReadReleases),
    ("custody.v1.RefundService/ListReleases", ReadReleases),
    ("custody.v1.RefundService/ConfirmRelease", Release),
    ("custody.v1.RefundService/FailRelease", Release),
    ("custody.v1.RefundService/ReverseCredit", ReverseCredits),
    ("custody.v1.RefundService/GetCreditReversal", ReadReversals),
    ("custody.v1.ReconciliationService/ImportBill", Reconcile),
    ("custody.v1.ReconciliationService/FetchBill", Reconcile),
    (
        "custody.v1.ReconciliationService/GetReconciliation",
        ReadReconciliations,
    ),
    (
        "custody.v1.ReconciliationService/ListReconciliations",
        ReadReconciliations,
    ),
    ("custody.v1.ReconciliationService/ListBreaks", ReadReconciliations),
    ("custody.v1.PayerService/RegisterPayer", Register),
    ("custody.v1.PayerService/ChangePayerPhone", Register),
    ("custody.v1.PayerService/RequestPhoneCode", Register),
    ("custody.v1.PayerService/VerifyPayerPhone", Register),
    ("custody.v1.PayerService/ConfirmPayerPhone", ManagePayers),
    ("custody.v1.PayerService/AddPaymentAccount", Register),
    ("custody.v1.PayerService/RemovePaymentAccount", Register),
    ("custody.v1.PayerService/RevokePayer", Register),
    ("custody.v1.PayerService/GetPayerLink", ReadPayer),
    ("custody.v1.PayerService/RequestPayerLink", Register),
    ("custody.v1.PayerService/ApprovePayerLink", ManagePayers),
    ("custody.v1.PayerService/RejectPayerLink", ManagePayers),
    ("custody.v1.PayerService/RevokePayerLink", Register),
    ("custody.v1.LedgerService/GetAccount", ReadLedger),
    ("custody.v1.LedgerService/ListAccounts", ReadLedger),
    ("custody.v1.LedgerService/GetTransaction", ReadLedger),
    ("custody.v1.LedgerService/ListTransactions", ReadLedger),
    ("custody.v1.LedgerService/ListPostings", ReadLedger),
    ("custody.v1.LedgerService/GetBalance", ReadLedger),
    ("custody.v1.LedgerService/GetProof", ReadLedger),
    ("custody.v1.LedgerService/GetRequestOutcome", ReadRequestOutcome),
    ("custody.v1.LedgerService/WatchTransactions", ReadLedger),
    ("custody.v1.ApprovalService/GetApproval", ReadApprovals),
    ("custody.v1.ApprovalService/ListApprovals", ReadApprovals),
    ("custody.v1.ApprovalService/Approve", Decide),
    ("custody.v1.ApprovalService/Refuse", Decide),
    ("custody.v1.RemittanceService/ReleaseRemittance", Review),
    ("custody.v1.RemittanceService/RejectRemittance", Review),
    ("custody.v1.RemittanceService/WatchRemittance", ReadRemittances),
    ("custody.v1.RemittanceService/CancelRemittance", Remit),
    ("custody.v1.WorkService/ListJobs", ReadJobs),
    ("custody.v1.WorkService/GetWorkItem", ReadWork),
    ("custody.v1.WorkService/ListWorkItems", ReadWork),
    ("custody.v1.WorkService/TakeWorkItem", Work),
    ("custody.v1.WorkService/ResolveWorkItem", Work),
    ("custody.v1.WorkService/CancelWorkItem", Work),
    ("custody.v1.RefundService/RedirectRefund", Refund),
    ("custody.v1.RefundService/PutRefundBack", Refund),
    ("custody.v1.BeneficiaryService/ProposeBankAccount", Refund),
    ("custody.v1.BeneficiaryService/ListBankAccounts", ReadPaymentFiles),
    ("custody.v1.UnmatchedService/RecordBankLine", Match),
    ("custody.v1.UnmatchedService/GetUnmatchedSum", ReadUnmatched),
    ("custody.v1.UnmatchedService/ListUnmatchedSums", ReadUnmatched),
    ("custody.v1.UnmatchedService/MatchUnmatchedSum", Match),
    ("custody.v1.UnmatchedService/ProposeUnmatchedCredit", Match),
    ("custody.v1.UnmatchedService/ProposeUnmatchedReturn", Match),
    ("custody.v1.CatalogueService/ProposeProduct", ManageCatalogue),
    ("custody.v1.CatalogueService/ProposePrice", ManageCatalogue),
    ("custody.v1.CatalogueService/ListProductVersions", ReadCatalogueHistory),
    ("custody.v1.CatalogueService/RecordStockMovement", ManageCatalogue),
    ("custody.v1.CatalogueService/ListStockMovements", ReadCatalogueHistory),
    ("custody.v1.CatalogueService/ImportCatalogue", ManageCatalogue),
    ("custody.v1.CatalogueService/ExportCatalogue", ReadCatalogueHistory),
    ("custody.v1.CatalogueService/GetBuyer", ReadBuyers),
    ("custody.v1.CatalogueService/UpdateBuyer", ManageBuyers),
    ("custody.v1.OfflineSalesService/GetOfflineSettings", ReadOfflineSales),
    ("custody.v1.OfflineSalesService/UpdateOfflineSettings", ManageCenters),
    ("custody.v1.OfflineSalesService/ReserveAllowance", Sell),
    ("custody.v1.OfflineSalesService/EndAllowance", Sell),
    ("custody.v1.OfflineSalesService/GetAllowance", ReadOfflineSales),
    ("custody.v1.OfflineSalesService/ListAllowances", ReadOfflineSales),
    ("custody.v1.OfflineSalesService/UploadOfflineSales", BringInSales),
    ("custody.v1.OfflineSalesService/GetOfflineChain", ReadOfflineSales),
    ("custody.v1.OfflineSalesService/GetOfflineSale", ReadOfflineSales),
    ("custody.v1.OfflineSalesService/ListOfflineSales", ReadOfflineSales),
    ("custody.v1.OfflineSalesService/ChargeOfflineSale", ResolveOfflineSales),
    (
        "custody.v1.OfflineSalesService/ProposeOfflineSaleWriteOff",
        ResolveOfflineSales,
    ),
    ("custody.v1.OfflineSalesService/DismissOfflineSale", ResolveOfflineSales),
    ("custody.v1.OfflineSalesService/SkipOfflineSales", ResolveOfflineSales),
    ("custody.v1.TerminalService/CreateTerminal", ManageTerminals),
    ("custody.v1.TerminalService/GetTerminal", ReadTerminals),
    ("custody.v1.TerminalService/ListTerminals", ReadTerminals),
    ("custody.v1.TerminalService/CreateEnrolmentCode", ManageTerminals),
    ("custody.v1.TerminalService/RevokeTerminal", ManageTerminals),
    ("custody.v1.OrderService/CreateOrder", Buy),
    ("custody.v1.OrderService/GetOrder", ReadPurchase),
    ("custody.v1.OrderService/ListOrders", ListBought),
    ("custody.v1.OrderService/CancelOrder", Buy),
    ("custody.v1.OrderService/ConfirmDelivery", Deliver),
    ("custody.v1.OrderService/DisputeOrderLine", Dispute),
    ("custody.v1.OrderService/ResolveOrderDispute", ResolveDisputes),
    ("custody.v1.OrderService/GetOrderingRules", ReadOrdering),
    ("custody.v1.OrderService/UpdateOrderingRules", ManageOrdering),
    ("custody.v1.TerminalService/RenewCertificate", RenewCertificate),
    ("custody.v1.SessionService/GetSessionPolicy", ReadSessions),
    ("custody.v1.SessionService/UpdateSessionPolicy", ManageSessions),
    ("custody.v1.SessionService/IssueCard", ManageSessions),
    ("custody.v1.SessionService/GetCard", ReadSessions),
    ("custody.v1.SessionService/ListCards", ReadSessions),
    ("custody.v1.SessionService/EndCard", ManageSessions),
    ("custody.v1.SessionService/ResetPin", ManageSessions),
    ("custody.v1.SessionService/RegisterModule", ManageTerminals),
    ("custody.v1.SessionService/SignIn", SignIn),
    ("custody.v1.SessionService/CreateChallenge", SignIn),
    ("custody.v1.SessionService/SignInByAssertion", SignIn),
    ("custody.v1.SessionService/ChangePin", KeepSession),
    ("custody.v1.SessionService/SignOut", KeepSession),
    ("custody.v1.SpendingService/ListSpendingVersions", ReadMeasures),
    ("custody.v1.SpendingService/ListSpendingWindows", ReadMeasures),
    ("custody.v1.SpendingService/ProposeLimitOverride", ManageSpending),
    ("custody.v1.SpendingService/ProposeFreeze", ManageSpending),
    ("custody.v1.SpendingService/ProposeFreezeEnd", ManageSpending),
    ("custody.v1.SpendingService/RestrictCategories", ManageSpending),
    ("custody.v1.SpendingService/EndSpendingMeasure", ManageSpending),
    ("custody.v1.SpendingService/GetSpendingMeasure", ReadMeasures),
    ("custody.v1.SpendingService/ListSpendingMeasures", ReadMeasures),
    ("custody.v1.SpendingService/GetKit", ReadMeasures),
    ("custody.v1.SpendingService/UpdateKit", ManageSpending),
    ("custody.v1.SpendingService/GrantKit", GrantKits),
    ("custody.v1.SpendingService/CancelKitGrant", GrantKits),
    ("custody.v1.SpendingService/GetKitGrant", ReadMeasures),
    ("custody.v1.SpendingService/ListKitGrants", ReadMeasures),
    ("custody.v1.EndingService/ChangeCustody", EndStays),
    ("custody.v1.EndingService/GetStay", ReadStays),
    ("custody.v1.EndingService/ReadmitDetainee", ManageStays),
    ("custody.v1.EndingService/AddHeir", EndStays),
    ("custody.v1.EndingService/CreatePayout", EndStays),
    ("custody.v1.EndingService/GetPayout", ReadStays),
    ("custody.v1.EndingService/ListPayouts", ReadStays),
    ("custody.v1.EndingService/RevealPayee", RevealPayees),
    ("custody.v1.EndingService/ConfirmPayoutPart", EndStays),
    ("custody.v1.EndingService/FailPayoutPart", EndStays),
    ("custody.v1.EndingService/ProposeUnclaimed", EndStays),
    ("custody.v1.EndingService/ListUnclaimedSums", ReadStays),
    ("custody.v1.EndingService/ProposeTreasury", EndStays),
    ("custody.v1.EndingService/ProposeWriteOff", EndStays),
    ("custody.v1.EndingService/ProposeMerge", EndStays),
    ("custody.v1.EndingService/DeclareRelation", ManageStays),
    ("custody.v1.EndingService/ListRelations", ReadStays),
    ("custody.v1.EndingService/ExportStatement", ExportStatements),
    ("custody.v1.EndingService/GetStatementKey", ReadStays),
    ("custody.v1.TransferService/ProposeTransfer", Transfer),
    ("custody.v1.TransferService/GetTransfer", ReadTransfers),
    ("custody.v1.TransferService/ListTransfers", ReadTransfers),
    ("custody.v1.TransferService/WithholdSum", Transfer),
    ("custody.v1.TransferService/GetWithholding", ReadTransfers),
    ("custody.v1.TransferService/ListWithholdings", ReadTransfers),
    ("custody.v1.TransferService/EndWithholding", Transfer),
    ("custody.v1.TransferService/BringBack", Transfer),
];

/// The one method of ours that needs no token: whoever enrols has none yet, and is known by the code that an administrator made.
pub const OPEN_METHODS: &[&str] = &["custody.v1.TerminalService/EnrolTerminal"];

/// The services that anyone may call without a token: whether the service is up, and what it offers.
pub const OPEN_SERVICES: &[&str] = &[
    "grpc.health.v1.Health",
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
];

/// The permission that a method, as `package.Service/Method`, needs. None: nobody may call it.
pub fn permission_for(method: &str) -> Option<Permission> {
    static KNOWN: LazyLock<HashMap<&str, Permission>> = LazyLock::new(|| METHODS.iter().copied().collect());
    KNOWN.get(method).copied()
}

/// Whether anyone may call a method, as `package.Service/Method`, without a token.
pub fn is_open(method: &str) -> bool {
    let in_open_service = |(service, _): (&str, &str)| OPEN_SERVICES.contains(&service);
    OPEN_METHODS.contains(&method) || method.split_once('/').is_some_and(in_open_service)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::access::Role;

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
}
