//! Functions of Go's library that tell what a goroutine is for.

use tracer_model::symbol::Landmark;

/// By the beginning of the function's name: closures and instances have suffixes.
const LANDMARKS: &[(&str, Landmark)] = &[
    // net/http/transport.go: one pair for each connection; HTTP/2: one for each request.
    ("net/http.(*persistConn).readLoop", Landmark::ResponseReader),
    (
        "net/http.(*http2clientStream).doRequest",
        Landmark::ResponseReader,
    ),
    ("net/http.(*persistConn).writeLoop", Landmark::RequestWriter),
    // context/context.go: only for parents that are not of that package.
    ("context.propagateCancel.", Landmark::ContextWatcher),
    (
        "context.(*cancelCtx).propagateCancel.",
        Landmark::ContextWatcher,
    ),
    ("internal/poll.(*FD).Accept", Landmark::Acceptor),
    ("os/signal.loop", Landmark::SignalLoop),
];

/// What the function with this name is known for.
pub(super) fn landmark(function: &str) -> Option<Landmark> {
    LANDMARKS
        .iter()
        .find(|(name, _)| function.starts_with(name))
        .map(|(_, landmark)| *landmark)
}
