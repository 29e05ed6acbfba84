//! The web page: files that are part of this program and hold no data. What they show, the page asks the
//! API for. `cargo xtask web` makes them from `tracer-user/web`.

use std::sync::Arc;

use axum::Router;
use axum::extract::Path;
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use include_dir::{Dir, include_dir};

use super::problem::Problem;
use super::{Shared, api};

static FILES: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/page");

/// Where the page is.
const INDEX: &str = "/";
/// Where the rest of it is, under names that change with what is in them.
const ASSETS: &str = "/assets/";

/// What the page may do: ask this server, and no other. Nothing in it comes from elsewhere, and nobody else
/// may show it in a frame.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
     img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
     require-trusted-types-for 'script'; trusted-types 'none'";

/// Whether a path is one of the page's.
pub(super) fn has(path: &str) -> bool {
    path == INDEX || path.starts_with(ASSETS)
}

/// What answers there.
pub(super) fn router() -> Router<Arc<Shared>> {
    Router::new()
        .route(INDEX, get(|| async { file("index.html", "no-cache") }))
        .route(
            "/assets/{name}",
            get(async |Path(name): Path<String>| {
                file(
                    &format!("assets/{name}"),
                    "public, max-age=31536000, immutable",
                )
            }),
        )
}

fn file(path: &str, caching: &'static str) -> Result<Response, Problem> {
    let Some(file) = FILES.get_file(path) else {
        return Err(api::not_there());
    };
    let kind = match path.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        _ => "application/octet-stream",
    };
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, caching),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::REFERRER_POLICY, "no-referrer"),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
    ];
    let mut answer = file.contents().into_response();
    for (name, value) in headers {
        answer
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_page_names_is_there_and_of_this_server() {
        let index = FILES.get_file("index.html").expect("a page");
        let index = index.contents_utf8().expect("text");
        let named: Vec<&str> = index
            .split(['"', '\''])
            .filter(|text| text.contains("assets/"))
            .collect();
        assert!(named.len() >= 2, "{index}");
        for name in named {
            let path = name.trim_start_matches("./").trim_start_matches('/');
            assert!(FILES.get_file(path).is_some(), "{name}");
        }
        // The policy allows neither.
        assert!(
            !index.contains("<style") && !index.contains("=\"http"),
            "{index}"
        );
        for script in index.split("<script").skip(1) {
            assert!(script.contains("src="), "{script}");
        }
    }
}
