//! One purchase is one trace, from the terminal to the commit, and is counted, as a collector receives it.

use std::sync::{Arc, Mutex};

use custody_ledger::{clock::Clock, proto::commissary_service_client::CommissaryServiceClient};
use opentelemetry_proto::tonic::{
    collector::{
        metrics::v1::{
            ExportMetricsServiceRequest, ExportMetricsServiceResponse,
            metrics_service_server::{MetricsService, MetricsServiceServer},
        },
        trace::v1::{
            ExportTraceServiceRequest, ExportTraceServiceResponse,
            trace_service_server::{TraceService, TraceServiceServer},
        },
    },
    metrics::v1::Metric,
    trace::v1::Span,
};
use tonic::{Request, Response, Status, transport::server::TcpIncoming};
use uuid::Uuid;

use crate::{
    service::{Service, purchase_of, with_token},
    world::{self, Process, TestDatabase},
};

#[derive(Clone, Default)]
struct Collector {
    spans: Arc<Mutex<Vec<Span>>>,
    metrics: Arc<Mutex<Vec<Metric>>>,
}

#[tonic::async_trait]
impl MetricsService for Collector {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        let scopes = request
            .into_inner()
            .resource_metrics
            .into_iter()
            .flat_map(|resource| resource.scope_metrics);
        let metrics = scopes.flat_map(|scope| scope.metrics);
        self.metrics.lock().unwrap().extend(metrics);
        Ok(Response::new(ExportMetricsServiceResponse::default()))
    }
}

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let scopes = request
            .into_inner()
            .resource_spans
            .into_iter()
            .flat_map(|resource| resource.scope_spans);
        self.spans.lock().unwrap().extend(scopes.flat_map(|scope| scope.spans));
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purchase_is_one_trace_from_the_terminal_to_the_commit() {
    let collector = Collector::default();
    let incoming = TcpIncoming::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let endpoint = format!("http://{}", incoming.local_addr().unwrap());
    let serving = tonic::transport::Server::builder()
        .add_service(TraceServiceServer::new(collector.clone()))
        .add_service(MetricsServiceServer::new(collector.clone()))
        .serve_with_incoming(incoming);
    tokio::spawn(serving);

    let db = TestDatabase::create().await;
    // The caller sampled its trace, so the service, which samples few of its own, goes along.
    let mut service = Service::start_with(Some(&db.url), &[("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint)]).await;
    let process = Process::over(&db.url, Clock::system(), 64);
    let center = world::new_center(&process, "C1").await;
    world::endow(&process, &center, "D1", "10.00").await;
    let trace_id = Uuid::new_v4().simple().to_string();
    let mut request = with_token(
        &service.terminal_token("C1"),
        purchase_of("C1", "D1", Uuid::new_v4(), &[("RICE", 1)]),
    );
    let parent = format!("00-{trace_id}-00f067aa0ba902b7-01");
    request.metadata_mut().insert("traceparent", parent.parse().unwrap());
    CommissaryServiceClient::new(service.channel().await)
        .create_purchase(request)
        .await
        .unwrap();
    // Stopping sends what is still held.
    service.stop().await;

    let spans = collector.spans.lock().unwrap();
    let ours: Vec<&Span> = spans
        .iter()
        .filter(|span| hex::encode(&span.trace_id) == trace_id)
        .collect();
    let find = |name: &str| ours.iter().find(|span| span.name == name);
    let call = find("custody.v1.CommissaryService/CreatePurchase").expect("the call's span arrived");
    let commit = find("ledger.commit").expect("the commit's span arrived");
    assert_eq!(hex::encode(&call.parent_span_id), "00f067aa0ba902b7");
    assert_eq!(commit.parent_span_id, call.span_id);

    let metrics = collector.metrics.lock().unwrap();
    let find = |name: &str| metrics.iter().rev().find(|metric| metric.name == name);
    let commands = format!("{:?}", find("custody.commands").expect("the commands' counter arrived"));
    for part in ["custody.v1.CommissaryService/CreatePurchase", "POSTED"] {
        assert!(commands.contains(part), "{part} is missing in {commands}");
    }
    for name in ["custody.lane.batch", "custody.lane.commit", "custody.lane.queue"] {
        assert!(find(name).is_some(), "{name} did not arrive");
    }
}
