//! A Go program's own view of its goroutines: the text of `/debug/pprof/goroutine?debug=2`.

use std::collections::BTreeMap;

/// A call that the profile shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The function, e.g. `main.(*till).chargeCard`.
    pub function: String,
    /// The end of its file's path.
    pub file: String,
    /// The line in it.
    pub line: u64,
}

/// A goroutine as the program itself sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Goroutine {
    /// `running`, `runnable`, `syscall`, or the wait reason.
    pub state: String,
    /// Its calls, innermost first, without the inner ones of the runtime.
    pub calls: Vec<Call>,
    /// Who created it: a goid, and the site of the `go` statement. Before Go 1.21 the runtime does not
    /// say who.
    pub created_by: Option<(u64, Call)>,
}

/// Takes the profile apart.
#[track_caller]
pub fn parse(text: &str) -> BTreeMap<u64, Goroutine> {
    text.trim_end()
        .split("\n\n")
        .map(|block| parse_goroutine(block).unwrap_or_else(|| panic!("not a goroutine: {block}")))
        .collect()
}

fn parse_goroutine(block: &str) -> Option<(u64, Goroutine)> {
    let mut lines = block.lines();
    // goroutine 20 [chan send, 2 minutes]:
    let (goid, rest) = lines.next()?.strip_prefix("goroutine ")?.split_once(' ')?;
    let (_, state) = rest.split_once('[')?;
    let state = state.split([',', ']']).next()?;
    let mut goroutine = Goroutine {
        state: state.to_owned(),
        calls: Vec::new(),
        created_by: None,
    };
    while let (Some(function), Some(site)) = (lines.next(), lines.next()) {
        // created by main.main in goroutine 1
        if let Some(creator) = function.strip_prefix("created by ") {
            if let Some((function, goid)) = creator.split_once(" in goroutine ") {
                goroutine.created_by = Some((goid.parse().ok()?, call(function, site)?));
            }
        } else {
            // main.(*till).chargeCard(0x3296591821c0, {0x1, 0x2})
            let (function, _) = function.rsplit_once('(')?;
            goroutine.calls.push(call(function, site)?);
        }
    }
    Some((goid.parse().ok()?, goroutine))
}

fn call(function: &str, site: &str) -> Option<Call> {
    // 	gotrace.test/programs/demo/main.go:119 +0xf6
    let (file, rest) = site.trim_start().rsplit_once(':')?;
    let line = rest.split(' ').next()?.parse().ok()?;
    Some(Call {
        function: function.to_owned(),
        file: file.to_owned(),
        line,
    })
}

#[cfg(test)]
mod tests {
    use super::{Call, Goroutine, parse};

    #[test]
    fn a_profile() {
        let text = "\
goroutine 1 [IO wait, 2 minutes]:
internal/poll.runtime_pollWait(0x7f5c28049000, 0x72)
\truntime/netpoll.go:351 +0x85
net/http.Serve(...)
\tnet/http/server.go:3038

goroutine 24 [chan receive]:
main.(*till).chargeCard(0x3296591821c0, {0x1, 0x2})
\tgotrace.test/programs/demo/main.go:119 +0xf6
created by main.main in goroutine 1
\tgotrace.test/programs/demo/main.go:92 +0x236
";
        let call = |function: &str, file: &str, line| Call {
            function: function.to_owned(),
            file: file.to_owned(),
            line,
        };
        let file = "gotrace.test/programs/demo/main.go";
        assert_eq!(
            parse(text).into_iter().collect::<Vec<_>>(),
            [
                (
                    1,
                    Goroutine {
                        state: "IO wait".to_owned(),
                        calls: vec![
                            call("internal/poll.runtime_pollWait", "runtime/netpoll.go", 351),
                            call("net/http.Serve", "net/http/server.go", 3038),
                        ],
                        created_by: None,
                    }
                ),
                (
                    24,
                    Goroutine {
                        state: "chan receive".to_owned(),
                        calls: vec![call("main.(*till).chargeCard", file, 119)],
                        created_by: Some((1, call("main.main", file, 92))),
                    }
                ),
            ]
        );
    }
}
