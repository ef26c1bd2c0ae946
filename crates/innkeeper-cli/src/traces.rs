//! Traces, sent to whoever speaks OTLP over HTTP, by the standard `OTEL_` variables.

use std::collections::HashMap;
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::{Request, Response};
use innkeeper_cluster::trace::{self, Carrier};
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::{TraceContextExt, TracerProvider};
use opentelemetry::{Context, KeyValue};
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{SpanExporter, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tokio::runtime::Handle;
use tracing::level_filters::LevelFilter;
use tracing::{Span, Subscriber};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::Layer;
use tracing_subscriber::registry::LookupSpan;

use crate::error::Failure;
use crate::output;
use crate::wire::{self, Http, TrustArgs};

/// How long the last spans may take to get out.
const FLUSH: Duration = Duration::from_secs(5);

/// The longest answer of a collector that is read.
const ANSWER_BYTES: usize = 64 << 10;

/// Where the spans of this program go, if they are to go anywhere.
pub(crate) struct Traces {
    provider: Option<SdkTracerProvider>,
}

impl Traces {
    /// Traces are sent where a standard variable says whereto: nobody who has not asked for them is
    /// to find a port of their machine knocked at.
    ///
    /// # Errors
    /// The variables ask for what cannot be done.
    pub(crate) fn open(node: &str, runtime: &Handle) -> Result<Traces, Failure> {
        if !is_wanted(|name| std::env::var(name).ok()) {
            return Ok(Traces { provider: None });
        }
        speaks_http(|name| std::env::var(name).ok())?;
        let exporter = SpanExporter::builder().with_http().with_http_client(Courier::new(runtime)?);
        let exporter = exporter.build();
        let exporter = exporter.map_err(|error| {
            Failure::new(format_args!("traces: {error}"))
                .try_next("OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4318")
        })?;
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_resource(resource(node))
            .build();
        let _ = trace::carry(Carrier { write, read });
        Ok(Traces { provider: Some(provider) })
    }

    /// Hands over the spans of innkeeper, whatever is logged.
    pub(crate) fn layer<S>(&self) -> impl Layer<S> + use<S>
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        let ours = Targets::new().with_target("innkeeper", LevelFilter::DEBUG);
        self.provider.as_ref().map(|provider| {
            let tracer = provider.tracer("innkeeper");
            let layer = tracing_opentelemetry::layer().with_tracer(tracer);
            // Where in the code a span is made is of no use to who looks for a slow room.
            layer.with_location(false).with_threads(false).with_filter(ours)
        })
    }

    /// Sends what is still to be sent, for a while.
    pub(crate) fn flush(self) {
        let flushed = self.provider.map(|provider| provider.shutdown_with_timeout(FLUSH));
        if let Some(Err(error)) = flushed {
            output::talk(&format!("the last traces were not sent: {error}"));
        }
    }
}

/// Brings the spans to whoever collects them, by the client of the client commands: the thread that
/// exports them has no runtime of its own.
struct Courier {
    http: Http,
    runtime: Handle,
}

impl Courier {
    fn new(runtime: &Handle) -> Result<Courier, Failure> {
        let names = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];
        let place = names.into_iter().find_map(|name| std::env::var(name).ok());
        let at = place.map(|place| wire::place(&place)).transpose()?;
        let http = wire::http(&at.unwrap_or_default(), &TrustArgs::default())?;
        Ok(Courier { http, runtime: runtime.clone() })
    }
}

type Sent<'a> = Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'a>>;

impl HttpClient for Courier {
    fn send_bytes<'a, 'b>(&'a self, request: Request<Bytes>) -> Sent<'b>
    where
        'a: 'b,
        Self: 'b,
    {
        let mut sent = Box::pin(async {
            let answer = self.http.request(request.map(Full::new)).await?;
            let (head, body) = answer.into_parts();
            let body = Limited::new(body, ANSWER_BYTES).collect().await?.to_bytes();
            Ok(Response::from_parts(head, body))
        });
        Box::pin(poll_fn(move |cx| {
            let _within = self.runtime.enter();
            sent.as_mut().poll(cx)
        }))
    }
}

impl fmt::Debug for Courier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Courier").finish_non_exhaustive()
    }
}

/// Whether the variables ask for traces.
fn is_wanted(variable: impl Fn(&str) -> Option<String>) -> bool {
    let is = |name, value| variable(name).is_some_and(|is: String| is.eq_ignore_ascii_case(value));
    let has = |name| variable(name).is_some_and(|value| !value.is_empty());
    let is_off = is("OTEL_SDK_DISABLED", "true") || is("OTEL_TRACES_EXPORTER", "none");
    let has_place = has("OTEL_EXPORTER_OTLP_ENDPOINT") || has("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT");
    !is_off && (has_place || is("OTEL_TRACES_EXPORTER", "otlp"))
}

/// What was not built in is not to be asked for in vain.
fn speaks_http(variable: impl Fn(&str) -> Option<String>) -> Result<(), Failure> {
    let names = ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"];
    let said = names.into_iter().find_map(|name| Some((name, variable(name)?)));
    match said {
        Some((name, value)) if !value.is_empty() && value != "http/protobuf" => {
            let what = format_args!("{name}: expected http/protobuf, got {value:?}");
            Err(Failure::new(what).try_next("the port for HTTP of the collector, mostly 4318"))
        }
        _ => Ok(()),
    }
}

/// What all spans have in common. What `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` say goes
/// before what is known here.
fn resource(node: &str) -> Resource {
    let ours = [
        KeyValue::new("service.name", "innkeeper"),
        KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
        KeyValue::new("service.instance.id", node.to_owned()),
    ];
    let said = Resource::builder().build();
    let ours = ours.into_iter().filter(|ours| is_unsaid(&said, ours));
    Resource::builder().with_attributes(ours).build()
}

fn is_unsaid(said: &Resource, ours: &KeyValue) -> bool {
    let said = said.get(&ours.key);
    said.is_none_or(|said| said.as_str().starts_with("unknown_service"))
}

fn write(span: &Span) -> Option<String> {
    let context = span.context();
    if !context.span().span_context().is_valid() {
        return None;
    }
    let mut headers = HashMap::new();
    TraceContextPropagator::new().inject_context(&context, &mut headers);
    headers.remove("traceparent")
}

fn read(span: &Span, traceparent: &str) {
    let headers = HashMap::from([("traceparent".to_owned(), traceparent.to_owned())]);
    let context = TraceContextPropagator::new().extract_with_context(&Context::new(), &headers);
    // It was just made, so it can be said whose part it is; one that is filtered out is nobody's.
    let _ = span.set_parent(context);
}
