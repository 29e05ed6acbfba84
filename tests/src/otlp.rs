//! A receiver of OTLP, over gRPC and over HTTP. PyPI, npm and Debian have no collector that receives OTLP, so
//! this one is made of the official protobufs (the crate opentelemetry-proto) and tonic; it takes all that
//! comes and keeps it.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use opentelemetry_proto::tonic::collector::logs::v1::logs_service_server::{
    LogsService, LogsServiceServer,
};
use opentelemetry_proto::tonic::collector::logs::v1::{
    ExportLogsServiceRequest, ExportLogsServiceResponse,
};
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{
    MetricsService, MetricsServiceServer,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::metrics::v1::Metric;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

pub use opentelemetry_proto::tonic as proto;

/// What has come so far.
#[derive(Clone, Debug, Default)]
pub struct Got {
    /// Metrics of each export.
    pub metrics: Vec<Vec<Metric>>,
    /// All log records.
    pub logs: Vec<LogRecord>,
    /// All spans.
    pub spans: Vec<Span>,
    /// Of each message.
    pub resources: Vec<Resource>,
    /// The header `authorization` of each message.
    pub authorizations: Vec<String>,
}

impl Got {
    fn metrics(&mut self, request: ExportMetricsServiceRequest) {
        for of in request.resource_metrics {
            self.resources.extend(of.resource);
            let metrics = of.scope_metrics.into_iter().flat_map(|scope| scope.metrics);
            self.metrics.push(metrics.collect());
        }
    }

    fn logs(&mut self, request: ExportLogsServiceRequest) {
        for of in request.resource_logs {
            self.resources.extend(of.resource);
            self.logs.extend(
                of.scope_logs
                    .into_iter()
                    .flat_map(|scope| scope.log_records),
            );
        }
    }

    fn traces(&mut self, request: ExportTraceServiceRequest) {
        for of in request.resource_spans {
            self.resources.extend(of.resource);
            self.spans
                .extend(of.scope_spans.into_iter().flat_map(|scope| scope.spans));
        }
    }

    /// The metric of this name in the last export that has it.
    pub fn metric(&self, name: &str) -> Option<&Metric> {
        let newest = self.metrics.iter().rev();
        newest.flatten().find(|metric| metric.name == name)
    }
}

/// An attribute as text; nothing if it is not there or no text.
pub fn text<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a str> {
    match attributes
        .iter()
        .find(|attribute| attribute.key == key)?
        .value
        .as_ref()?
        .value
        .as_ref()?
    {
        Value::StringValue(text) => Some(text),
        _ => None,
    }
}

type Shared = Arc<Mutex<Got>>;

fn with(shared: &Shared, change: impl FnOnce(&mut Got)) {
    change(&mut shared.lock().unwrap_or_else(PoisonError::into_inner));
}

/// A receiver that runs until the test ends.
#[derive(Debug)]
pub struct Receiver {
    address: SocketAddr,
    got: Shared,
}

impl Receiver {
    /// One that speaks gRPC.
    #[track_caller]
    pub fn grpc() -> Receiver {
        let got = Shared::default();
        let services = Services(Arc::clone(&got));
        let (say, heard) = std::sync::mpsc::channel();
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            runtime.expect("a runtime").block_on(async move {
                let any = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0);
                let incoming = TcpIncoming::bind(any).expect("there is a free port");
                say.send(incoming.local_addr().expect("it is bound"))
                    .expect("the test waits");
                let server = Server::builder()
                    .add_service(MetricsServiceServer::new(services.clone()))
                    .add_service(LogsServiceServer::new(services.clone()))
                    .add_service(TraceServiceServer::new(services))
                    .serve_with_incoming(incoming);
                server.await.expect("it serves");
            });
        });
        let address = heard.recv().expect("the server says where it is");
        Receiver { address, got }
    }

    /// One that speaks HTTP.
    #[track_caller]
    pub fn http() -> Receiver {
        let got = Shared::default();
        let (listener, address) = listen();
        let shared = Arc::clone(&got);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&shared);
                // A connection ends when its other side does.
                thread::spawn(move || answer(stream, &shared));
            }
        });
        Receiver { address, got }
    }

    /// One that takes connections and never answers.
    #[track_caller]
    pub fn stalled() -> Receiver {
        let (listener, address) = listen();
        thread::spawn(move || {
            let held: Vec<TcpStream> = listener.incoming().flatten().collect();
            drop(held);
        });
        Receiver {
            address,
            got: Shared::default(),
        }
    }

    /// Where it is.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What has come so far.
    pub fn got(&self) -> Got {
        self.got
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("there is a free port");
    let address = listener.local_addr().expect("it is bound");
    (listener, address)
}

/// Takes requests of a connection until it ends; `None` then.
fn answer(stream: TcpStream, shared: &Shared) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut writer = stream;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let path = line.split(' ').nth(1)?.to_owned();
        let (mut length, mut kind, mut authorization) = (0, String::new(), String::new());
        loop {
            line.clear();
            reader.read_line(&mut line).ok()?;
            let Some((name, value)) = line.trim().split_once(": ") else {
                break;
            };
            match name.to_lowercase().as_str() {
                "content-length" => length = value.parse().ok()?,
                "content-type" => value.clone_into(&mut kind),
                "authorization" => value.clone_into(&mut authorization),
                _ => {}
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        assert_eq!(kind, "application/x-protobuf");
        with(shared, |got| {
            got.authorizations.push(authorization);
            let body = body.as_slice();
            match path.as_str() {
                "/v1/metrics" => got.metrics(decoded(body)),
                "/v1/logs" => got.logs(decoded(body)),
                "/v1/traces" => got.traces(decoded(body)),
                other => panic!("nobody serves {other}"),
            }
        });
        // An empty message is an answer that has nothing against it.
        let head =
            "HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n";
        writer.write_all(head.as_bytes()).ok()?;
    }
}

/// A message out of its bytes.
fn decoded<T: Message + Default>(body: &[u8]) -> T {
    T::decode(body).expect("it is what the path says")
}

#[derive(Clone)]
struct Services(Shared);

impl Services {
    fn take<T>(&self, request: Request<T>, change: impl FnOnce(&mut Got, T)) {
        let header = request.metadata().get("authorization");
        let authorization = header.and_then(|value| value.to_str().ok());
        let authorization = authorization.unwrap_or_default().to_owned();
        with(&self.0, |got| {
            got.authorizations.push(authorization);
            change(got, request.into_inner());
        });
    }
}

#[tonic::async_trait]
impl MetricsService for Services {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        self.take(request, Got::metrics);
        Ok(Response::new(ExportMetricsServiceResponse::default()))
    }
}

#[tonic::async_trait]
impl LogsService for Services {
    async fn export(
        &self,
        request: Request<ExportLogsServiceRequest>,
    ) -> Result<Response<ExportLogsServiceResponse>, Status> {
        self.take(request, Got::logs);
        Ok(Response::new(ExportLogsServiceResponse::default()))
    }
}

#[tonic::async_trait]
impl TraceService for Services {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        self.take(request, Got::traces);
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}
