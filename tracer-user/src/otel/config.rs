//! What the standard `OTEL_*` variables say.

use std::time::Duration;

use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::resource::v1::Resource;
use percent_encoding::percent_decode_str;

use super::attribute::text;
use super::client::Client;
use crate::failure::Failure;

/// What is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    /// All metrics, once an interval.
    Metrics,
    /// Findings.
    Logs,
    /// Tasks of goroutines.
    Traces,
}

impl Signal {
    pub(crate) const ALL: [Signal; 3] = [Signal::Metrics, Signal::Logs, Signal::Traces];

    /// As paths and labels have it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Signal::Metrics => "metrics",
            Signal::Logs => "logs",
            Signal::Traces => "traces",
        }
    }
}

/// How it is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Grpc,
    Http,
}

/// Where one signal goes, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Destination {
    pub(super) protocol: Protocol,
    /// Of gRPC the server's, of HTTP the whole one.
    pub(super) url: String,
    pub(super) headers: Vec<(String, String)>,
    pub(super) timeout: Duration,
}

/// Everything that is configured.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Config {
    /// By [`Signal`]; none where the signal is not sent.
    pub(super) destinations: [Option<Destination>; Signal::ALL.len()],
    pub(super) service_name: Option<String>,
    pub(super) resource: Vec<(String, String)>,
    /// Between two exports of metrics.
    pub(super) metric_interval: Duration,
    /// Between two exports of spans, and of logs.
    pub(super) batch_delay: Duration,
    /// The share of traces that is followed.
    pub(super) ratio: f64,
}

impl Config {
    /// Reads the variables of the process; `None` if nothing is to be sent. To be called inside a tokio
    /// runtime.
    ///
    /// # Errors
    /// A variable says what cannot be done.
    pub(crate) fn from_environment() -> Result<Option<Config>, Failure> {
        let config = Config::from_variables(|name| std::env::var(name).ok())?;
        // Whether an address and headers are such, nobody knows better than who uses them.
        for to in config
            .iter()
            .flat_map(|config| config.destinations.iter().flatten())
        {
            Client::new(to)?;
        }
        Ok(config)
    }

    fn from_variables(get: impl Fn(&str) -> Option<String>) -> Result<Option<Config>, Failure> {
        // As the specification has it, an empty variable is one that is not set.
        let get = |name: &str| get(name).filter(|value| !value.trim().is_empty());
        if get("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
            return Ok(None);
        }
        let mut destinations = [None, None, None];
        for signal in Signal::ALL {
            destinations[signal as usize] = destination(signal, &get)?;
        }
        if destinations.iter().all(Option::is_none) {
            return Ok(None);
        }
        for name in [
            "OTEL_EXPORTER_OTLP_CERTIFICATE",
            "OTEL_EXPORTER_OTLP_CLIENT_KEY",
            "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE",
            "OTEL_EXPORTER_OTLP_COMPRESSION",
        ] {
            if get(name).is_some_and(|value| value != "none") {
                tracing::warn!("{name} is not supported and has no effect");
            }
        }
        let mut resource = pairs("OTEL_RESOURCE_ATTRIBUTES", get("OTEL_RESOURCE_ATTRIBUTES"))?;
        let named = resource.iter().find(|(key, _)| key == "service.name");
        let service_name = get("OTEL_SERVICE_NAME").or_else(|| named.map(|(_, name)| name.clone()));
        resource.retain(|(key, _)| key != "service.name");
        Ok(Some(Config {
            destinations,
            service_name,
            resource,
            metric_interval: millis("OTEL_METRIC_EXPORT_INTERVAL", &get)?
                .unwrap_or(Duration::from_secs(60)),
            batch_delay: millis("OTEL_BSP_SCHEDULE_DELAY", &get)?.unwrap_or(Duration::from_secs(5)),
            ratio: ratio(&get)?,
        }))
    }

    /// A resource with these attributes, and those that all have.
    pub(super) fn resource(&self, mut attributes: Vec<KeyValue>) -> Resource {
        attributes.push(text("telemetry.distro.name", "gotrace"));
        attributes.push(text("telemetry.distro.version", env!("CARGO_PKG_VERSION")));
        for (key, value) in &self.resource {
            // Whoever says it knows better.
            attributes.retain(|attribute| attribute.key != *key);
            attributes.push(text(key, value.clone()));
        }
        Resource {
            attributes,
            ..Resource::default()
        }
    }

    pub(super) const fn sends(&self, signal: Signal) -> bool {
        self.destinations[signal as usize].is_some()
    }
}

fn wrong(name: &str, value: &str, known: &str) -> Failure {
    Failure::new(format!("{name} is {value:?}")).next(format!("give {known}, or unset it"))
}

fn destination(
    signal: Signal,
    get: &impl Fn(&str) -> Option<String>,
) -> Result<Option<Destination>, Failure> {
    let upper = signal.name().to_uppercase();
    let exporter = format!("OTEL_{upper}_EXPORTER");
    match get(&exporter).as_deref() {
        Some("none") => return Ok(None),
        None | Some("otlp") => {}
        Some(other) => return Err(wrong(&exporter, other, "`otlp` or `none`")),
    }
    // What is said of the signal alone comes before what is said of all.
    let of = |what: &str| -> Option<(String, String)> {
        [
            format!("OTEL_EXPORTER_OTLP_{upper}_{what}"),
            format!("OTEL_EXPORTER_OTLP_{what}"),
        ]
        .into_iter()
        .find_map(|name| get(&name).map(|value| (name, value)))
    };
    let Some((name, endpoint)) = of("ENDPOINT") else {
        return Ok(None);
    };
    if !endpoint.starts_with("http://") && !endpoint.starts_with("https://") {
        return Err(wrong(
            &name,
            &endpoint,
            "a URL such as http://localhost:4317",
        ));
    }
    let protocol = match of("PROTOCOL") {
        None => Protocol::Http,
        Some((name, value)) => match value.as_str() {
            "grpc" => Protocol::Grpc,
            "http/protobuf" => Protocol::Http,
            _ => return Err(wrong(&name, &value, "`grpc` or `http/protobuf`")),
        },
    };
    let url = if protocol == Protocol::Http && name == "OTEL_EXPORTER_OTLP_ENDPOINT" {
        format!("{}/v1/{}", endpoint.trim_end_matches('/'), signal.name())
    } else {
        endpoint
    };
    let timeout = match of("TIMEOUT") {
        None => Duration::from_secs(10),
        Some((name, value)) => parsed_millis(&name, &value)?,
    };
    let (name, headers) = of("HEADERS").map_or((String::new(), None), |(name, headers)| {
        (name, Some(headers))
    });
    Ok(Some(Destination {
        protocol,
        url,
        headers: pairs(&name, headers)?,
        timeout,
    }))
}

fn millis(name: &str, get: &impl Fn(&str) -> Option<String>) -> Result<Option<Duration>, Failure> {
    get(name)
        .map(|value| parsed_millis(name, &value))
        .transpose()
}

fn parsed_millis(name: &str, value: &str) -> Result<Duration, Failure> {
    match value.trim().parse() {
        Ok(millis) if millis > 0 => Ok(Duration::from_millis(millis)),
        _ => Err(wrong(name, value, "milliseconds")),
    }
}

/// `key=value,key=value`, percent-encoded.
fn pairs(name: &str, value: Option<String>) -> Result<Vec<(String, String)>, Failure> {
    let decoded = |text: &str| {
        percent_decode_str(text.trim())
            .decode_utf8_lossy()
            .into_owned()
    };
    let value = value.unwrap_or_default();
    let parts = value.split(',').filter(|part| !part.trim().is_empty());
    parts
        .map(|part| match part.split_once('=') {
            Some((key, value)) => Ok((decoded(key), decoded(value))),
            // The value may be a secret.
            None => Err(Failure::new(format!("{name} is no list of KEY=VALUE"))
                .next("separate them by commas and percent-encode what they contain")),
        })
        .collect()
}

fn ratio(get: &impl Fn(&str) -> Option<String>) -> Result<f64, Failure> {
    const NAME: &str = "OTEL_TRACES_SAMPLER";
    const ARGUMENT: &str = "OTEL_TRACES_SAMPLER_ARG";
    match get(NAME).as_deref() {
        None | Some("always_on" | "parentbased_always_on") => Ok(1.0),
        Some("always_off" | "parentbased_always_off") => Ok(0.0),
        Some("traceidratio" | "parentbased_traceidratio") => {
            let argument = get(ARGUMENT).unwrap_or_else(|| "1".to_owned());
            match argument.parse() {
                Ok(ratio) if (0.0..=1.0).contains(&ratio) => Ok(ratio),
                _ => Err(wrong(ARGUMENT, &argument, "a share from 0 to 1")),
            }
        }
        Some(other) => Err(wrong(
            NAME,
            other,
            "`always_on`, `always_off` or `traceidratio`",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Option<Config>, Failure> {
        Config::from_variables(|name| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[track_caller]
    fn config(variables: &[(&str, &str)]) -> Config {
        read(variables).expect("it can be done").expect("it is on")
    }

    const ENDPOINT: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318/");

    #[test]
    fn it_is_off_unless_an_endpoint_is_given() {
        for variables in [
            &[][..],
            &[("OTEL_SERVICE_NAME", "shop")],
            &[("OTEL_EXPORTER_OTLP_ENDPOINT", " ")],
            &[ENDPOINT, ("OTEL_SDK_DISABLED", "TRUE")],
            &[
                ENDPOINT,
                ("OTEL_METRICS_EXPORTER", "none"),
                ("OTEL_LOGS_EXPORTER", "none"),
                ("OTEL_TRACES_EXPORTER", "none"),
            ],
        ] {
            assert_eq!(
                read(variables).expect("nothing is wrong"),
                None,
                "{variables:?}"
            );
        }
    }

    #[test]
    fn a_base_gets_the_signal_s_path_and_an_own_endpoint_none() {
        let config = config(&[
            ENDPOINT,
            ("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "https://logs/in"),
            ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "grpc"),
            (
                "OTEL_EXPORTER_OTLP_HEADERS",
                "authorization=Bearer%20x, a=b",
            ),
            ("OTEL_EXPORTER_OTLP_LOGS_HEADERS", "c=d"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "250"),
        ]);
        let [metrics, logs, traces] = config.destinations.map(|to| to.expect("it is sent"));
        assert_eq!(metrics.url, "http://collector:4318/v1/metrics");
        assert_eq!(metrics.protocol, Protocol::Http);
        assert_eq!(metrics.timeout, Duration::from_millis(250));
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(
            metrics.headers,
            [pair("authorization", "Bearer x"), pair("a", "b")]
        );
        assert_eq!(
            (&*logs.url, logs.headers),
            ("https://logs/in", vec![pair("c", "d")])
        );
        assert_eq!(traces.protocol, Protocol::Grpc);
        assert_eq!(traces.url, "http://collector:4318/");
    }

    #[test]
    fn the_service_has_the_name_that_is_said_of_it() {
        let attributes = (
            "OTEL_RESOURCE_ATTRIBUTES",
            "service.name=a,deployment.environment.name=b",
        );
        let said = config(&[ENDPOINT, attributes]);
        assert_eq!(said.service_name.as_deref(), Some("a"));
        assert_eq!(said.resource.len(), 1);
        let said = config(&[ENDPOINT, attributes, ("OTEL_SERVICE_NAME", "c")]);
        assert_eq!(said.service_name.as_deref(), Some("c"));
        assert_eq!(config(&[ENDPOINT]).service_name, None);
    }

    #[test]
    fn what_cannot_be_done_is_refused_by_name() {
        for (name, value) in [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4317"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "soon"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "secret"),
            ("OTEL_METRICS_EXPORTER", "prometheus"),
            ("OTEL_TRACES_SAMPLER", "jaeger_remote"),
        ] {
            let failure = read(&[(name, value), ENDPOINT]).expect_err(name);
            let said = failure.to_string();
            assert!(said.contains(name), "{said}");
            assert!(!said.contains("secret"), "{said}");
        }
    }
}
