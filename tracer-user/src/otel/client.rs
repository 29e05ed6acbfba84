//! The way to a receiver: OTLP over gRPC or over HTTP.

use std::time::Duration;

use opentelemetry_proto::tonic::collector::logs::v1::logs_service_client::LogsServiceClient;
use opentelemetry_proto::tonic::collector::logs::v1::{
    ExportLogsServiceRequest, ExportLogsServiceResponse,
};
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_client::MetricsServiceClient;
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use prost::Message;
use tonic::metadata::{MetadataKey, MetadataMap, MetadataValue};
use tonic::transport::{Channel, ClientTlsConfig, Endpoint};
use tonic::{Code, Request, Status};
use ureq::http::{HeaderMap, HeaderName, HeaderValue, Uri};

use super::config::{Destination, Protocol};
use crate::failure::Failure;

/// What is sent at once.
#[derive(Clone, Debug)]
pub(super) enum Batch {
    Metrics(ExportMetricsServiceRequest),
    Logs(ExportLogsServiceRequest),
    Traces(ExportTraceServiceRequest),
}

/// Why nothing was received.
#[derive(Debug, thiserror::Error)]
pub(super) enum SendError {
    /// It may be received later.
    #[error("{0}")]
    Later(String),
    /// It will never be received.
    #[error("{0}")]
    Never(String),
}

/// What a receiver said.
#[derive(Debug, Default)]
pub(super) struct Received {
    /// Of what was sent it took all but so many.
    pub(super) rejected: u64,
    /// Why, if it says so.
    pub(super) message: String,
}

/// A connection, made when it is first needed.
pub(super) enum Client {
    Grpc {
        channel: Channel,
        metadata: MetadataMap,
    },
    Http {
        agent: ureq::Agent,
        url: Uri,
        headers: HeaderMap,
    },
}

impl Client {
    /// To be called inside a tokio runtime.
    ///
    /// # Errors
    /// The URL or a header is none.
    pub(super) fn new(to: &Destination) -> Result<Client, Failure> {
        let failed = |error: &dyn std::fmt::Display| {
            Failure::new(format!("cannot send OpenTelemetry to {}", to.url))
                .because(error)
                .next("mend the OTEL_EXPORTER_OTLP_* variables, or unset them")
        };
        match to.protocol {
            Protocol::Grpc => {
                let mut endpoint = Endpoint::from_shared(to.url.clone())
                    .map_err(|error| failed(&error))?
                    .timeout(to.timeout)
                    .connect_timeout(to.timeout);
                if to.url.starts_with("https:") {
                    let roots = ClientTlsConfig::new().with_webpki_roots();
                    endpoint = endpoint.tls_config(roots).map_err(|error| failed(&error))?;
                }
                let mut metadata = MetadataMap::new();
                for (name, value) in &to.headers {
                    let name = MetadataKey::from_bytes(name.to_lowercase().as_bytes())
                        .map_err(|error| failed(&error))?;
                    let value =
                        MetadataValue::try_from(value.as_str()).map_err(|error| failed(&error))?;
                    metadata.insert(name, value);
                }
                Ok(Client::Grpc {
                    channel: endpoint.connect_lazy(),
                    metadata,
                })
            }
            Protocol::Http => {
                let mut headers = HeaderMap::new();
                for (name, value) in &to.headers {
                    let name = HeaderName::try_from(name).map_err(|error| failed(&error))?;
                    let value = HeaderValue::try_from(value).map_err(|error| failed(&error))?;
                    headers.insert(name, value);
                }
                Ok(Client::Http {
                    agent: agent(to.timeout),
                    url: to.url.parse().map_err(|error| failed(&error))?,
                    headers,
                })
            }
        }
    }

    /// Sends it and waits for the answer.
    ///
    /// # Errors
    /// It was not received.
    pub(super) async fn send(&self, batch: Batch) -> Result<Received, SendError> {
        match self {
            Client::Grpc { channel, metadata } => {
                let channel = channel.clone();
                match batch {
                    Batch::Metrics(batch) => {
                        let mut client = MetricsServiceClient::new(channel);
                        let answer = client.export(request(batch, metadata)).await;
                        answer.map(|answer| answer.into_inner().into())
                    }
                    Batch::Logs(batch) => {
                        let mut client = LogsServiceClient::new(channel);
                        let answer = client.export(request(batch, metadata)).await;
                        answer.map(|answer| answer.into_inner().into())
                    }
                    Batch::Traces(batch) => {
                        let mut client = TraceServiceClient::new(channel);
                        let answer = client.export(request(batch, metadata)).await;
                        answer.map(|answer| answer.into_inner().into())
                    }
                }
                .map_err(|status| refused(&status))
            }
            // Nothing else is to be done on this thread until then.
            Client::Http {
                agent,
                url,
                headers,
            } => match batch {
                Batch::Metrics(batch) => {
                    post::<ExportMetricsServiceResponse>(agent, url, headers, &batch)
                }
                Batch::Logs(batch) => {
                    post::<ExportLogsServiceResponse>(agent, url, headers, &batch)
                }
                Batch::Traces(batch) => {
                    post::<ExportTraceServiceResponse>(agent, url, headers, &batch)
                }
            },
        }
    }
}

fn agent(timeout: Duration) -> ureq::Agent {
    ureq::Agent::config_builder()
        .timeout_global(Some(timeout))
        .http_status_as_error(false)
        .user_agent(concat!("gotrace/", env!("CARGO_PKG_VERSION")))
        .build()
        .into()
}

fn request<T>(batch: T, metadata: &MetadataMap) -> Request<T> {
    let mut request = Request::new(batch);
    *request.metadata_mut() = metadata.clone();
    request
}

/// By the OTLP specification.
fn refused(status: &Status) -> SendError {
    let said = format!("{}: {}", status.code(), status.message());
    match status.code() {
        Code::Cancelled
        | Code::DeadlineExceeded
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unavailable
        | Code::DataLoss => SendError::Later(said),
        _ => SendError::Never(said),
    }
}

fn post<R: Message + Default + Into<Received>>(
    agent: &ureq::Agent,
    url: &Uri,
    headers: &HeaderMap,
    batch: &impl Message,
) -> Result<Received, SendError> {
    let mut request = agent
        .post(url)
        .header("content-type", "application/x-protobuf");
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let mut answer = request
        .send(batch.encode_to_vec())
        .map_err(|error| match error {
            ureq::Error::Http(_) | ureq::Error::BadUri(_) => SendError::Never(error.to_string()),
            _ => SendError::Later(error.to_string()),
        })?;
    let status = answer.status();
    match status.as_u16() {
        200..300 => {
            let body = answer.body_mut().read_to_vec();
            let body = body.map_err(|error| SendError::Later(error.to_string()))?;
            // What cannot be understood of a success says nothing against it.
            Ok(R::decode(body.as_slice()).unwrap_or_default().into())
        }
        429 | 502 | 503 | 504 => Err(SendError::Later(status.to_string())),
        _ => Err(SendError::Never(status.to_string())),
    }
}

fn rejected(count: i64, message: String) -> Received {
    Received {
        rejected: u64::try_from(count).unwrap_or(0),
        message,
    }
}

impl From<ExportMetricsServiceResponse> for Received {
    fn from(answer: ExportMetricsServiceResponse) -> Received {
        answer
            .partial_success
            .map_or_else(Received::default, |partial| {
                rejected(partial.rejected_data_points, partial.error_message)
            })
    }
}

impl From<ExportLogsServiceResponse> for Received {
    fn from(answer: ExportLogsServiceResponse) -> Received {
        answer
            .partial_success
            .map_or_else(Received::default, |partial| {
                rejected(partial.rejected_log_records, partial.error_message)
            })
    }
}

impl From<ExportTraceServiceResponse> for Received {
    fn from(answer: ExportTraceServiceResponse) -> Received {
        answer
            .partial_success
            .map_or_else(Received::default, |partial| {
                rejected(partial.rejected_spans, partial.error_message)
            })
    }
}
