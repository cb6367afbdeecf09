//! The one port: gRPC, gRPC-Web, health, reflection, and the gateways' notifications.

use std::{sync::Arc, time::Duration};

use axum::{Router, extract::Request, middleware::Next, response::Response};
use futures::FutureExt as _;
use tokio::net::TcpListener;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::{Status, service::Routes};
use tonic_health::{ServingStatus, server::HealthReporter};
use tracing::{Instrument as _, info_span};

use super::{
    connection,
    grpc::{
        approval::ApprovalApi,
        auth::AuthLayer,
        beneficiary::BeneficiaryApi,
        catalogue::CatalogueApi,
        commissary::CommissaryApi,
        contract::ContractApi,
        custody::CustodyApi,
        deadline,
        distribution::DistributionApi,
        ending::EndingApi,
        gate::{self, Gate},
        ledger::LedgerApi,
        offline_sales::OfflineSalesApi,
        order::OrderApi,
        payer::PayerApi,
        payment::PaymentApi,
        reconciliation::ReconciliationApi,
        refund::RefundApi,
        remittance::RemittanceApi,
        remittance_view::Views,
        scope::Linked,
        session::SessionApi,
        settlement::SettlementApi,
        spending_service::SpendingApi,
        terminal::TerminalApi,
        transfer::TransferApi,
        unmatched::UnmatchedApi,
        work::WorkApi,
    },
    http::{Notifications, OnRefund, OnUnknown},
    status::of_framework,
    tls::Door,
};
use crate::{
    approval::Desk,
    beneficiary::Beneficiaries,
    commissary::Commissary,
    contract::Contracts,
    custody::Custody,
    distribution::Distributions,
    ending::{Endings, statement::StatementKey},
    ledger::Lanes,
    offline_sales::OfflineSales,
    payer::Payers,
    payment::Payments,
    proto::{
        FILE_DESCRIPTOR_SET, approval_service_server::ApprovalServiceServer,
        beneficiary_service_server::BeneficiaryServiceServer, catalogue_service_server::CatalogueServiceServer,
        commissary_service_server::CommissaryServiceServer, contract_service_server::ContractServiceServer,
        custody_service_server::CustodyServiceServer, distribution_service_server::DistributionServiceServer,
        ending_service_server::EndingServiceServer, ledger_service_server::LedgerServiceServer,
        offline_sales_service_server::OfflineSalesServiceServer, order_service_server::OrderServiceServer,
        payer_service_server::PayerServiceServer, payment_service_server::PaymentServiceServer,
        reconciliation_service_server::ReconciliationServiceServer, refund_service_server::RefundServiceServer,
        remittance_service_server::RemittanceServiceServer, session_service_server::SessionServiceServer,
        settlement_service_server::SettlementServiceServer, spending_service_server::SpendingServiceServer,
        terminal_service_server::TerminalServiceServer, transfer_service_server::TransferServiceServer,
        unmatched_service_server::UnmatchedServiceServer, work_service_server::WorkServiceServer,
    },
    reconciliation::Reconciliations,
    refund::Refunds,
    remittance::Remittances,
    settlement::Settlements,
    telemetry,
    terminal::Terminals,
    transfer::Transfers,
    unmatched::UnmatchedSums,
    work::WorkQueue,
};

/// How long whoever asks is told that the service is about to stop before it takes no further connections and calls, in
/// milliseconds.
const NOTICE_MS: u64 = 250;
/// How long calls in flight may take after that, in seconds.
const DRAIN_S: u64 = 10;
/// The pause after a connection could not be accepted, in milliseconds: there are too many of them, most likely.
const ACCEPT_PAUSE_MS: u64 = 100;

/// What is served, behind the guard.
pub struct Doors {
    /// The journals.
    pub lanes: Lanes,
    /// Centers and detainees.
    pub custody: Custody,
    /// Vendors, products, purchases.
    pub commissary: Commissary,
    /// Policies and court orders.
    pub distributions: Distributions,
    /// Payers and their links.
    pub payers: Payers,
    /// Remittances.
    pub remittances: Remittances,
    /// Settlements of vendors.
    pub settlements: Settlements,
    /// What is agreed with vendors.
    pub contracts: Contracts,
    /// Payment files.
    pub payments: Payments,
    /// Bank accounts of payers and detainees.
    pub beneficiaries: Beneficiaries,
    /// Refunds and release payouts.
    pub refunds: Refunds,
    /// How stays end.
    pub endings: Endings,
    /// What signs statements.
    pub statement_key: Arc<StatementKey>,
    /// Bills of the gateway.
    pub reconciliations: Reconciliations,
    /// Where approvals are decided.
    pub desk: Desk,
    /// Detainees who move.
    pub transfers: Transfers,
    /// Money without an order.
    pub unmatched: UnmatchedSums,
    /// What people have to look at.
    pub work: WorkQueue,
    /// Terminals, and who signs in at them.
    pub terminals: Terminals,
    /// Selling without the network.
    pub offline_sales: OfflineSales,
    /// Who may come in.
    pub auth: AuthLayer,
    /// The largest request that is read, in bytes.
    pub message_size_max: usize,
    /// Cancelled when the service is to stop: streams without end then end, and health says so.
    pub stop: CancellationToken,
}

impl Doors {
    fn routes(&self) -> Routes {
        let size_max = self.message_size_max;
        let links = self.payers.clone();
        let linked: Linked = Arc::new(move |center, payer, detainee| {
            let links = links.clone();
            async move { links.is_linked(&center, &payer, &detainee).await }.boxed()
        });
        let payer = PayerApi::new(self.custody.clone(), self.payers.clone());
        let remittance = RemittanceApi::new(
            self.custody.clone(),
            self.remittances.clone(),
            payer.clone(),
            Views::new(self.lanes.clone(), self.remittances.clone(), self.refunds.clone()),
            self.desk.clone(),
            linked.clone(),
            self.stop.clone(),
        );
        let distribution = DistributionApi::new(
            self.custody.clone(),
            self.distributions.clone(),
            self.remittances.clone(),
            linked.clone(),
        );
        let settlement = SettlementApi::new(self.settlements.clone(), self.desk.clone(), self.custody.clone());
        let contract = ContractApi::new(
            self.contracts.clone(),
            self.desk.clone(),
            self.custody.clone(),
            self.payers.clone(),
        );
        let payment = PaymentApi::new(self.payments.clone(), self.custody.clone());
        let refund = RefundApi::new(
            self.refunds.clone(),
            self.desk.clone(),
            self.custody.clone(),
            linked.clone(),
        );
        let reconciliation = ReconciliationApi::new(self.reconciliations.clone(), self.custody.clone());
        let custody = CustodyApi::new(self.custody.clone(), linked);
        let commissary = CommissaryApi::new(self.commissary.clone(), self.custody.clone());
        let ledger = LedgerApi::new(self.lanes.clone(), self.custody.clone(), self.stop.clone());
        let approval = ApprovalApi::new(self.desk.clone(), self.custody.clone());
        let work = WorkApi::new(self.work.clone(), self.custody.clone(), self.lanes.database().clone());
        let routes = Routes::new(CustodyServiceServer::new(custody).max_decoding_message_size(size_max))
            .add_service(CommissaryServiceServer::new(commissary).max_decoding_message_size(size_max))
            .add_service(LedgerServiceServer::new(ledger).max_decoding_message_size(size_max))
            .add_service(RemittanceServiceServer::new(remittance).max_decoding_message_size(size_max))
            .add_service(PayerServiceServer::new(payer).max_decoding_message_size(size_max))
            .add_service(DistributionServiceServer::new(distribution).max_decoding_message_size(size_max))
            .add_service(SettlementServiceServer::new(settlement).max_decoding_message_size(size_max))
            .add_service(RefundServiceServer::new(refund).max_decoding_message_size(size_max))
            .add_service(ReconciliationServiceServer::new(reconciliation).max_decoding_message_size(size_max))
            .add_service(ApprovalServiceServer::new(approval).max_decoding_message_size(size_max))
            .add_service(WorkServiceServer::new(work).max_decoding_message_size(size_max))
            .add_service(ContractServiceServer::new(contract).max_decoding_message_size(size_max))
            .add_service(PaymentServiceServer::new(payment).max_decoding_message_size(size_max));
        self.more_routes(routes)
    }

    /// The rest of the services: what came after the first ones.
    fn more_routes(&self, routes: Routes) -> Routes {
        let size_max = self.message_size_max;
        let beneficiary = BeneficiaryApi::new(self.beneficiaries.clone(), self.desk.clone(), self.custody.clone());
        let ending = EndingApi::new(
            self.endings.clone(),
            self.distributions.clone(),
            self.desk.clone(),
            self.custody.clone(),
            self.statement_key.clone(),
        );
        let order = OrderApi::new(self.commissary.clone(), self.custody.clone());
        let catalogue = CatalogueApi::new(self.commissary.clone(), self.desk.clone(), self.custody.clone());
        let spending = SpendingApi::new(self.commissary.clone(), self.desk.clone(), self.custody.clone());
        let unmatched = UnmatchedApi::new(self.unmatched.clone(), self.desk.clone(), self.custody.clone());
        let offline_sales = OfflineSalesApi::new(self.offline_sales.clone(), self.desk.clone(), self.custody.clone());
        let terminal = TerminalApi::new(self.terminals.clone(), self.custody.clone());
        let session = SessionApi::new(self.terminals.clone(), self.custody.clone());
        let transfer = TransferApi::new(self.transfers.clone(), self.custody.clone());
        routes
            .add_service(OrderServiceServer::new(order).max_decoding_message_size(size_max))
            .add_service(CatalogueServiceServer::new(catalogue).max_decoding_message_size(size_max))
            .add_service(UnmatchedServiceServer::new(unmatched).max_decoding_message_size(size_max))
            .add_service(TerminalServiceServer::new(terminal).max_decoding_message_size(size_max))
            .add_service(OfflineSalesServiceServer::new(offline_sales).max_decoding_message_size(size_max))
            .add_service(SessionServiceServer::new(session).max_decoding_message_size(size_max))
            .add_service(SpendingServiceServer::new(spending).max_decoding_message_size(size_max))
            .add_service(BeneficiaryServiceServer::new(beneficiary).max_decoding_message_size(size_max))
            .add_service(EndingServiceServer::new(ending).max_decoding_message_size(size_max))
            .add_service(TransferServiceServer::new(transfer).max_decoding_message_size(size_max))
    }
}

/// Puts everything on one router. Health and reflection are open to all; every other method needs a credential.
pub async fn router(doors: Doors) -> anyhow::Result<Router> {
    let (health, health_service) = tonic_health::server::health_reporter();
    health.set_service_status("", ServingStatus::Serving).await;
    tokio::spawn(tell_stopping(health, doors.stop.clone()));
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let routes = doors
        .routes()
        .add_service(health_service)
        .add_service(reflection().build_v1()?)
        .add_service(reflection().build_v1alpha()?);
    let gate = Gate::new(doors.terminals.clone(), doors.custody.clone());
    let guarded = routes
        .prepare()
        .into_axum_router()
        .layer(axum::middleware::from_fn(explained))
        .layer(axum::middleware::from_fn(deadline::honour))
        .layer(axum::middleware::from_fn_with_state(gate, gate::admit))
        .layer(doors.auth)
        .layer(tonic_web::GrpcWebLayer::new())
        .layer(axum::middleware::from_fn(traced));
    // Gateways have no token: their channel's signature is what is believed.
    let refunds = doors.refunds;
    let on_refund: OnRefund = Arc::new(move |channel, notice| {
        let refunds = refunds.clone();
        async move { refunds.notified(&channel, &notice).await }.boxed()
    });
    let unmatched = doors.unmatched;
    let on_unknown: OnUnknown = Arc::new(move |channel, paid| {
        let unmatched = unmatched.clone();
        async move { unmatched.receive(&channel, &paid).await }.boxed()
    });
    let notifications = Notifications::new(doors.remittances, Some(on_refund), doors.lanes.clock().clone())
        .with_unknown_orders(on_unknown);
    Ok(guarded.merge(notifications.router()))
}

/// What the framework refuses by itself (bytes that are no message, too many of them) has a reason too.
async fn explained(request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    let status = Status::from_header_map(response.headers());
    match status.as_ref().and_then(of_framework) {
        Some(status) => status.into_http(),
        None => response,
    }
}

/// One span a call, continuing the caller's trace.
async fn traced(request: Request, next: Next) -> Response {
    let method = request.uri().path().trim_start_matches('/').to_owned();
    let span = info_span!("rpc", otel.name = %method, otel.kind = "server");
    telemetry::accept_parent(&span, request.headers());
    next.run(request).instrument(span).await
}

/// Tells whoever asks for health that the service stops, and then ends the streams of those who watch it.
async fn tell_stopping(mut health: HealthReporter, stop: CancellationToken) {
    stop.cancelled().await;
    health.set_service_status("", ServingStatus::NotServing).await;
    tokio::time::sleep(Duration::from_millis(NOTICE_MS)).await;
    health.clear_service_status("").await;
}

/// Serves enrolled terminals over TLS until told to stop, as [`serve`] does everybody else.
pub async fn serve_terminals(
    listener: TcpListener,
    router: Router,
    door: Door,
    stop: CancellationToken,
) -> std::io::Result<()> {
    serve_through(listener, router, Some(door), stop).await
}

/// Serves until told to stop, gives notice of it, and then lets the calls in flight finish for at most [`DRAIN_S`].
pub async fn serve(listener: TcpListener, router: Router, stop: CancellationToken) -> std::io::Result<()> {
    serve_through(listener, router, None, stop).await
}

async fn serve_through(
    listener: TcpListener,
    router: Router,
    door: Option<Door>,
    stop: CancellationToken,
) -> std::io::Result<()> {
    let (connections, drain) = (TaskTracker::new(), CancellationToken::new());
    let noticed = async {
        stop.cancelled().await;
        tokio::time::sleep(Duration::from_millis(NOTICE_MS)).await;
    };
    tokio::select! {
        () = noticed => {}
        () = accept(&listener, &router, door.as_ref(), (&connections, &drain)) => {}
    }
    drop(listener);
    drain.cancel();
    connections.close();
    if tokio::time::timeout(Duration::from_secs(DRAIN_S), connections.wait())
        .await
        .is_err()
    {
        tracing::warn!("calls that did not end in {DRAIN_S} s are cut off");
    }
    Ok(())
}

async fn accept(
    listener: &TcpListener,
    router: &Router,
    door: Option<&Door>,
    (connections, drain): (&TaskTracker, &CancellationToken),
) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                // Small answers must not wait for more to send.
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!(%error, "TCP_NODELAY cannot be set");
                }
                let (router, drain) = (router.clone(), drain.clone());
                match door {
                    None => connections.spawn(connection::run(stream, router, None, drain)),
                    Some(door) => connections.spawn(door.clone().enter(stream, router, drain)),
                };
            }
            Err(error) => {
                tracing::warn!(%error, "a connection cannot be accepted");
                tokio::time::sleep(Duration::from_millis(ACCEPT_PAUSE_MS)).await;
            }
        }
    }
}
