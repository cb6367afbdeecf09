//! What roles may be allowed to do, and which have it.

use Permission::*;

use super::Role;

/// What a role may be allowed to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Permission {
    /// Create centers and change their settings.
    ManageCenters,
    /// Read centers and their settings.
    ReadCenters,
    /// Admit detainees.
    ManageDetainees,
    /// List all detainees of a center.
    ListDetainees,
    /// Read one detainee.
    ReadDetainee,
    /// Read the balances of one detainee.
    ReadBalances,
    /// Read the statement of one detainee.
    ReadStatement,
    /// Register payers and link them to detainees in one step, confirm phones, and decide on links.
    ManagePayers,
    /// Register as a payer, keep one's registration, and ask for links.
    Register,
    /// List all payers of a center.
    ListPayers,
    /// Read one payer and its links.
    ReadPayer,
    /// Order a remittance, ask the gateway what became of it, and give it up.
    Remit,
    /// Read remittances.
    ReadRemittances,
    /// Read what gateways have posted.
    ReadNotifications,
    /// Change the distribution policy and enter court orders.
    ManageDistribution,
    /// Read the distribution policy and court orders.
    ReadDistributionPolicy,
    /// Preview a distribution, and read the explanation of one.
    ReadDistribution,
    /// Keep vendors and the catalogue.
    ManageCatalogue,
    /// Read what became of the catalogue: versions of products, movements of stock, and all of it as a file.
    ReadCatalogueHistory,
    /// Tell where a detainee lives and what they must not have.
    ManageBuyers,
    /// Read it.
    ReadBuyers,
    /// Read vendors.
    ReadVendors,
    /// Read the catalogue.
    ReadProducts,
    /// Take goods back from detainees.
    Sell,
    /// Buy: a detainee in a session, or a terminal for whoever stands there.
    Buy,
    /// List purchases: those of a center, or a detainee's own.
    ListBought,
    /// Read one purchase or return.
    ReadPurchase,
    /// List the purchases and returns of a center.
    ListPurchases,
    /// Read what a detainee has spent and may still spend in a month.
    ReadSpending,
    /// Close, confirm and fail settlements.
    Settle,
    /// Read settlements.
    ReadSettlements,
    /// Agree on terms with vendors, and ask for their bank accounts.
    ManageContracts,
    /// Read what is agreed with vendors.
    ReadContracts,
    /// Make payment files, and read what the bank says of them.
    PayByBank,
    /// Download payment files, which tell account numbers.
    DownloadPaymentFiles,
    /// Read which payment files there are.
    ReadPaymentFiles,
    /// Refund payers, and ask the gateway what became of it.
    Refund,
    /// Read what of a payer's money is unspent.
    ReadUnspent,
    /// Read refunds.
    ReadRefunds,
    /// Pay out, confirm and fail releases.
    Release,
    /// Record what detainees owe the center.
    RecordDebts,
    /// Read what a detainee owes the center.
    ReadDebts,
    /// Take erroneous credits back.
    ReverseCredits,
    /// Read reversals of credits.
    ReadReversals,
    /// Record deaths, escapes and heirs, and pay out what people leave behind.
    EndStays,
    /// Read how stays ended.
    ReadStays,
    /// Read accounts that payouts go to, in clear.
    RevealPayees,
    /// Export signed statements of whole stays.
    ExportStatements,
    /// Admit somebody again, and declare who of staff is related to whom.
    ManageStays,
    /// Read releases.
    ReadReleases,
    /// Bring in the gateway's bills.
    Reconcile,
    /// Read reconciliations and their breaks.
    ReadReconciliations,
    /// Read accounts, transactions, postings and proofs, and watch the journal.
    ReadLedger,
    /// Read the outcome of a request of one's own.
    ReadRequestOutcome,
    /// Allow or refuse what others ask for.
    Decide,
    /// Read what is asked for and who allowed it.
    ReadApprovals,
    /// Record money without an order, and propose whose it is.
    Match,
    /// Read money without an order.
    ReadUnmatched,
    /// Look after the work queue.
    Work,
    /// Read the work queue.
    ReadWork,
    /// Ask for the end of a remittance's review.
    Review,
    /// Read whether the jobs run.
    ReadJobs,
    /// Read whether terminals may sell without the network, allowances, and what was sold within them.
    ReadOfflineSales,
    /// Bring in what a terminal sold without the network.
    BringInSales,
    /// End sales that wait for finance, and declare numbers lost.
    ResolveOfflineSales,
    /// Make terminals, let them be enrolled, and end them.
    ManageTerminals,
    /// Read terminals.
    ReadTerminals,
    /// Say what came of orders.
    Deliver,
    /// Dispute a line of an order.
    Dispute,
    /// Resolve disputes of orders.
    ResolveDisputes,
    /// Say when a center takes orders.
    ManageOrdering,
    /// Read when a center takes orders.
    ReadOrdering,
    /// Renew the certificate of the terminal that calls.
    RenewCertificate,
    /// Issue and end cards, reset PINs, and say whether purchases need a session.
    ManageSessions,
    /// Read cards, and whether purchases need a session.
    ReadSessions,
    /// Sign detainees in.
    SignIn,
    /// Set another PIN and sign out, in one's own session.
    KeepSession,
    /// Decide for a time what one detainee may spend, freeze their money, and say what a kit is.
    ManageSpending,
    /// Grant kits, and take them back.
    GrantKits,
    /// Read limits and measures, and which kits were granted.
    ReadMeasures,
    /// Ask for transfers of detainees, for sums to be withheld and given back, and for moved money to go back to its payer.
    Transfer,
    /// Read transfers and sums withheld.
    ReadTransfers,
}

impl Permission {
    /// The roles that have the permission.
    pub fn roles(self) -> &'static [Role] {
        use Role::*;
        match self {
            ManageCenters | ManageDetainees | ManageDistribution | ManageBuyers | ManageTerminals | ManageOrdering
            | ManageSessions | ManageSpending | ManageStays => &[Admin],
            Deliver => &[Admin, Commissary],
            Dispute => &[Admin, Finance, Terminal, Detainee],
            ResolveDisputes => &[Admin, Finance],
            GrantKits => &[Admin, Finance],
            ReadMeasures => &[Admin, Finance, Auditor],
            DownloadPaymentFiles | RevealPayees => &[Finance],
            ReadPaymentFiles | ReadStays | ExportStatements => &[Admin, Finance, Auditor],
            ReadContracts => &[Admin, Finance, Auditor, Commissary],
            ManageContracts | PayByBank | EndStays => &[Admin, Finance],
            ManagePayers | Settle | Refund | Release | Reconcile | Decide | Work | Match | RecordDebts
            | ReverseCredits | Review | Transfer => &[Admin, Finance],
            ReadOfflineSales => &[Admin, Finance, Auditor, Terminal],
            BringInSales => &[Admin, Finance, Terminal],
            ResolveOfflineSales => &[Admin, Finance],
            ManageCatalogue => &[Admin, Commissary],
            Register | Remit => &[Admin, Finance, Payer],
            Sell | SignIn | RenewCertificate => &[Terminal],
            Buy => &[Terminal, Detainee],
            KeepSession => &[Detainee],
            ReadCenters
            | ListDetainees
            | ListPayers
            | ReadDistributionPolicy
            | ReadReleases
            | ReadDebts
            | ReadReversals
            | ReadReconciliations
            | ReadLedger
            | ReadApprovals
            | ReadUnmatched
            | ReadNotifications
            | ReadWork
            | ReadBuyers
            | ReadTerminals
            | ReadSessions
            | ReadTransfers
            | ReadJobs => &[Admin, Finance, Auditor],
            ReadStatement => &[Admin, Finance, Auditor, Payer, Detainee],
            ReadDetainee | ReadPayer | ReadRemittances | ReadDistribution | ReadUnspent | ReadRefunds => {
                &[Admin, Finance, Auditor, Payer]
            }
            ReadVendors | ListPurchases | ReadSettlements | ReadCatalogueHistory => {
                &[Admin, Finance, Auditor, Commissary]
            }
            ListBought => &[Admin, Finance, Auditor, Commissary, Detainee],
            ReadProducts | ReadPurchase | ReadOrdering => &[Admin, Finance, Auditor, Commissary, Terminal, Detainee],
            ReadSpending => &[Admin, Finance, Auditor, Terminal, Detainee],
            ReadBalances | ReadRequestOutcome => &[Admin, Finance, Auditor, Terminal, Payer, Detainee],
        }
    }

    /// Whether a role has the permission.
    pub fn is_given_to(self, role: Role) -> bool {
        self.roles().contains(&role)
    }
}
