//! Logs, traces and metrics.
//!
//! Logs go to standard error, readable on a terminal and as JSON elsewhere; `RUST_LOG` filters them (default `info`).
//! When `OTEL_EXPORTER_OTLP_ENDPOINT` is set, traces, metrics and logs also go there by OTLP over gRPC. Names, identity
//! numbers, PINs, tokens and keys never go into a log or a span.

use std::env;
use std::io::{IsTerminal, stderr};

use anyhow::Context as _;
use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::global;
use opentelemetry::propagation::{Extractor, Injector};
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_appender_tracing::layer::OpenTelemetryTracingBridge;
use opentelemetry_otlp::{LogExporter, MetricExporter, SpanExporter};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::logs::SdkLoggerProvider;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use tracing::{Level, Span};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::filter::{EnvFilter, LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer, Registry};

const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
const SERVICE_NAME: &str = "OTEL_SERVICE_NAME";
const SAMPLER: &str = "OTEL_TRACES_SAMPLER";
const SAMPLER_ARG: &str = "OTEL_TRACES_SAMPLER_ARG";

/// What the exporters themselves run on: exporting their spans and logs would cause further ones without end.
const TRANSPORT_TARGETS: [&str; 5] = ["h2", "hyper", "opentelemetry", "tonic", "tower"];

/// Sends what is still waiting when it is dropped. Keep it until the program ends.
#[must_use = "telemetry that waits is sent when the guard is dropped"]
pub struct Guard(Option<Providers>);

struct Providers {
    tracer: SdkTracerProvider,
    meter: SdkMeterProvider,
    logger: SdkLoggerProvider,
}

impl Drop for Guard {
    fn drop(&mut self) {
        let Some(providers) = &self.0 else { return };
        for (what, outcome) in [
            ("traces", providers.tracer.shutdown()),
            ("metrics", providers.meter.shutdown()),
            ("logs", providers.logger.shutdown()),
        ] {
            if let Err(error) = outcome {
                eprintln!("custody: the last {what} were not exported: {error}");
            }
        }
    }
}

/// Starts logging and, if the environment asks for it, exporting. Call it once, inside the tokio runtime.
///
/// `service` is the name under which the program exports; `OTEL_SERVICE_NAME` overrides it.
///
/// # Errors
/// `RUST_LOG` or an `OTEL_…` variable cannot be understood, or telemetry was started before.
pub fn init(service: &str) -> anyhow::Result<Guard> {
    global::set_text_map_propagator(TraceContextPropagator::new());
    let stderr_layer = if stderr().is_terminal() {
        tracing_subscriber::fmt::layer().with_writer(stderr).boxed()
    } else {
        tracing_subscriber::fmt::layer()
            .json()
            .flatten_event(true)
            .with_writer(stderr)
            .boxed()
    };
    let mut layers: Vec<Box<dyn Layer<Registry> + Send + Sync>> = vec![stderr_layer.with_filter(log_filter()?).boxed()];

    let providers = match env::var(ENDPOINT) {
        Ok(endpoint) if !endpoint.is_empty() => {
            Some(providers(service).with_context(|| format!("{ENDPOINT}={endpoint}"))?)
        }
        _ => None,
    };
    if let Some(providers) = &providers {
        let tracer = providers.tracer.tracer("custody");
        // Which traces are exported is decided by the sampler, not by RUST_LOG.
        let spans = Targets::new()
            .with_default(Level::INFO)
            // Of every command its commit, which is nothing to log.
            .with_target("custody_ledger::ledger::lane", Level::DEBUG)
            .with_targets(TRANSPORT_TARGETS.map(|target| (target, LevelFilter::OFF)));
        layers.push(
            tracing_opentelemetry::layer()
                .with_tracer(tracer)
                .with_filter(spans)
                .boxed(),
        );

        let mut logs = log_filter()?;
        for target in TRANSPORT_TARGETS {
            logs = logs.add_directive(format!("{target}=off").parse()?);
        }
        layers.push(
            OpenTelemetryTracingBridge::new(&providers.logger)
                .with_filter(logs)
                .boxed(),
        );
        global::set_tracer_provider(providers.tracer.clone());
        global::set_meter_provider(providers.meter.clone());
    }
    tracing_subscriber::registry()
        .with(layers)
        .try_init()
        .context("telemetry was started before")?;
    Ok(Guard(providers))
}

fn log_filter() -> anyhow::Result<EnvFilter> {
    let directives = env::var(EnvFilter::DEFAULT_ENV).unwrap_or_default();
    EnvFilter::builder()
        .with_default_directive(LevelFilter::INFO.into())
        .parse(&directives)
        .with_context(|| format!("{}={directives}", EnvFilter::DEFAULT_ENV))
}

/// The exporters read the rest of the environment (headers, timeouts, intervals) themselves.
fn providers(service: &str) -> anyhow::Result<Providers> {
    let name = env::var(SERVICE_NAME).ok().filter(|name| !name.is_empty());
    let resource = Resource::builder()
        .with_service_name(name.unwrap_or_else(|| service.to_owned()))
        .build();

    let mut tracer = SdkTracerProvider::builder()
        .with_resource(resource.clone())
        .with_batch_exporter(SpanExporter::builder().with_tonic().build()?);
    if let Some(sampler) = default_sampler()? {
        tracer = tracer.with_sampler(sampler);
    }
    let meter = SdkMeterProvider::builder()
        .with_resource(resource.clone())
        .with_periodic_exporter(MetricExporter::builder().with_tonic().build()?)
        .build();
    let logger = SdkLoggerProvider::builder()
        .with_resource(resource)
        .with_batch_exporter(LogExporter::builder().with_tonic().build()?)
        .build();
    Ok(Providers {
        tracer: tracer.build(),
        meter,
        logger,
    })
}

/// Follows the caller's decision, and samples one trace in a hundred of those that begin here.
/// None if `OTEL_TRACES_SAMPLER` chooses, which the SDK obeys.
fn default_sampler() -> anyhow::Result<Option<Sampler>> {
    if env::var_os(SAMPLER).is_some() {
        return Ok(None);
    }
    let root = match env::var(SAMPLER_ARG) {
        Ok(ratio) => Sampler::TraceIdRatioBased(ratio.parse().with_context(|| format!("{SAMPLER_ARG}={ratio}"))?),
        Err(_) => Sampler::TraceIdRatioBased(0.01),
    };
    Ok(Some(Sampler::ParentBased(Box::new(root))))
}

/// Makes a span, not yet entered, a child of the span that the caller named in the W3C headers of its request.
pub fn accept_parent(span: &Span, headers: &HeaderMap) {
    let parent = global::get_text_map_propagator(|propagator| propagator.extract(&Incoming(headers)));
    // It fails only without an exporter or after the span was entered, and then there is nothing to link.
    let _ = span.set_parent(parent);
}

/// Names a span in the W3C headers of a request that is about to be sent.
pub fn pass_on(span: &Span, headers: &mut HeaderMap) {
    let context = span.context();
    global::get_text_map_propagator(|propagator| propagator.inject_context(&context, &mut Outgoing(headers)));
}

struct Incoming<'a>(&'a HeaderMap);

impl Extractor for Incoming<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).and_then(|value| value.to_str().ok())
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(HeaderName::as_str).collect()
    }
}

struct Outgoing<'a>(&'a mut HeaderMap);

impl Injector for Outgoing<'_> {
    fn set(&mut self, key: &str, value: String) {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(key), HeaderValue::try_from(value)) {
            self.0.insert(name, value);
        }
    }
}
