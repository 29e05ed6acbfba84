//! A real Prometheus server, which scrapes what a test lets it scrape.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};
use std::{env, fs, thread};

use serde_json::Value;
use tempfile::TempDir;

use crate::{PATIENCE, eventually, http};

/// How long Prometheus may need until it has seen what it is asked for: a finding is proven by several
/// looks, and rates want several scrapes.
const WARM_UP: Duration = Duration::from_secs(90);

/// A file of the folder `deploy`.
pub fn deployed(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../deploy")
        .join(file)
}

/// The checker.
pub fn promtool() -> Command {
    Command::new(env::var_os("GOTRACE_PROMTOOL").unwrap_or_else(|| "promtool".into()))
}

/// A running server; killed when dropped.
#[derive(Debug)]
pub struct Prometheus {
    child: Child,
    url: String,
    _home: TempDir,
}

impl Prometheus {
    /// Starts a server with our rules that scrapes these addresses twice a second.
    #[track_caller]
    pub fn start(targets: &[&str]) -> Prometheus {
        let home = TempDir::new().expect("there is room for a folder");
        let mut config = format!(
            "global: {{scrape_interval: 500ms, scrape_timeout: 500ms, evaluation_interval: 1s}}\n\
             rule_files: [{:?}]\n\
             scrape_configs:\n- job_name: gotrace\n  static_configs:\n  - targets:\n",
            deployed("prometheus/rules.yml")
                .canonicalize()
                .expect("the rules are there")
        );
        for target in targets {
            let _ = writeln!(config, "    - {target:?}");
        }
        let file = home.path().join("prometheus.yml");
        fs::write(&file, config).expect("the folder is ours");
        let address = http::free_address();
        let server = env::var_os("GOTRACE_PROMETHEUS").unwrap_or_else(|| "prometheus".into());
        let child = Command::new(server)
            .arg(format!("--config.file={}", file.display()))
            .arg(format!(
                "--storage.tsdb.path={}",
                home.path().join("data").display()
            ))
            .arg(format!("--web.listen-address={address}"))
            .arg("--log.level=error")
            .stdout(Stdio::null())
            .spawn()
            .expect("prometheus is there: run `cargo xtask test`");
        let url = format!("http://{address}");
        eventually("Prometheus is ready", || {
            let answer = http::try_get(&format!("{url}/-/ready"), PATIENCE);
            answer.is_ok_and(|(status, _)| status == 200).then_some(())
        });
        Prometheus {
            child,
            url,
            _home: home,
        }
    }

    /// What it answers on a path of its API.
    #[track_caller]
    pub fn ask(&self, path: &str, parameters: &[(&str, &str)]) -> Value {
        let text = http::ask(&format!("{}/api/v1/{path}", self.url), parameters);
        let mut answer: Value = serde_json::from_str(&text).expect("Prometheus speaks JSON");
        assert_eq!(answer["status"], "success", "{parameters:?}: {answer:#}");
        answer["data"].take()
    }

    /// The series that an expression has some time ahead of now, those that are not a number left out.
    #[track_caller]
    pub fn series(&self, expression: &str, ahead: Duration) -> Vec<Value> {
        let now = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .expect("it is later");
        let time = format!("{:.3}", (now + ahead).as_secs_f64());
        let data = self.ask("query", &[("query", expression), ("time", &time)]);
        let series = data["result"].as_array().expect("a vector").iter();
        series
            .filter(|series| series["value"][1] != "NaN")
            .cloned()
            .collect()
    }

    /// Waits until each of these expressions has had a series.
    #[track_caller]
    pub fn until_all_have_data(&self, expressions: &[String]) {
        let deadline = Instant::now() + WARM_UP;
        let mut missing: Vec<&String> = expressions.iter().collect();
        loop {
            missing.retain(|expression| self.series(expression, Duration::ZERO).is_empty());
            if missing.is_empty() {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "there is no data for {missing:#?}"
            );
            thread::sleep(Duration::from_millis(250));
        }
    }

    /// The rules as it read them: name, expression, whether it is an alert.
    #[track_caller]
    pub fn rules(&self) -> Vec<(String, String, bool)> {
        let data = self.ask("rules", &[]);
        let text = |value: &Value| value.as_str().expect("text").to_owned();
        let groups = data["groups"].as_array().expect("a list").iter();
        groups
            .flat_map(|group| group["rules"].as_array().expect("a list"))
            .map(|rule| {
                (
                    text(&rule["name"]),
                    text(&rule["query"]),
                    rule["type"] == "alerting",
                )
            })
            .collect()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
