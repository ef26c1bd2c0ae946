//! Somebody who collects traces: a server that takes what is sent to it by OTLP over HTTP.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use prost::Message;

/// A span, with what its resource says.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) service: Option<String>,
    pub(crate) instance: Option<String>,
    pub(crate) name: String,
    pub(crate) trace: Vec<u8>,
    pub(crate) id: Vec<u8>,
    pub(crate) parent: Vec<u8>,
    attributes: Vec<KeyValue>,
}

impl Seen {
    /// An attribute, as text.
    pub(crate) fn says(&self, name: &str) -> Option<String> {
        text(&self.attributes, name)
    }
}

/// Collects until the test ends.
pub(crate) struct Collector {
    pub(crate) url: String,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Collector {
    pub(crate) fn start() -> Collector {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let all = seen.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let all = all.clone();
                std::thread::spawn(move || take(stream, &all));
            }
        });
        Collector { url, seen }
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

/// Takes requests for as long as the connection lasts.
fn take(mut stream: TcpStream, all: &Mutex<Vec<Seen>>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    while let Some((first, body)) = request(&mut reader) {
        assert!(first.starts_with("POST /v1/traces "), "{first}");
        let sent = ExportTraceServiceRequest::decode(&body[..]).unwrap();
        all.lock().unwrap().extend(spans(sent));
        let answer = "HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\n\
                      content-length: 0\r\n\r\n";
        if stream.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

fn request(reader: &mut impl BufRead) -> Option<(String, Vec<u8>)> {
    let mut first = String::new();
    if reader.read_line(&mut first).ok()? == 0 {
        return None;
    }
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let line = line.trim().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((first, body))
}

fn spans(sent: ExportTraceServiceRequest) -> Vec<Seen> {
    let mut seen = Vec::new();
    for of in sent.resource_spans {
        let resource = of.resource.unwrap_or_default().attributes;
        for span in of.scope_spans.into_iter().flat_map(|of| of.spans) {
            seen.push(Seen {
                service: text(&resource, "service.name"),
                instance: text(&resource, "service.instance.id"),
                name: span.name,
                trace: span.trace_id,
                id: span.span_id,
                parent: span.parent_span_id,
                attributes: span.attributes,
            });
        }
    }
    seen
}

fn text(attributes: &[KeyValue], name: &str) -> Option<String> {
    let found = attributes.iter().find(|attribute| attribute.key == name)?;
    match found.value.clone()? {
        AnyValue { value: Some(Value::StringValue(text)) } => Some(text),
        AnyValue { value: Some(Value::IntValue(number)) } => Some(number.to_string()),
        AnyValue { value } => Some(format!("{value:?}")),
    }
}
