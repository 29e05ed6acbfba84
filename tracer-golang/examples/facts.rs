//! Says all that gotrace finds out from Go binaries alone, one JSON object a line, for programs that
//! compare it with other tools: `cargo run -p tracer-golang --example facts -- FILE…`

use std::path::Path;

use serde_json::{Value, json};
use tracer_golang::binary::{BinaryError, GoBinary, Vaddr};

fn main() {
    for path in std::env::args_os().skip(1) {
        println!("{}", object(Path::new(&path)));
    }
}

fn object(path: &Path) -> Value {
    match facts(path) {
        Ok(facts) => facts,
        Err(error) => json!({ "error": error.to_string() }),
    }
}

fn facts(path: &Path) -> Result<Value, BinaryError> {
    let binary = GoBinary::open(path)?;
    let sites: Vec<Value> = tracer_common::Hook::ALL
        .iter()
        .map(|&hook| match binary.hook_site(hook) {
            Ok(site) => json!({
                "hook": format!("{hook:?}"),
                "function": &*site.function,
                "address": site.vaddr.0,
                "offset_in_function": site.offset_in_function,
                "instruction": &*site.instruction,
                "frame": format!("{:?}", site.frame),
            }),
            Err(error) => json!({ "hook": format!("{hook:?}"), "error": error.to_string() }),
        })
        .collect();
    let address = |vaddr: Option<Vaddr>| vaddr.map(|vaddr| vaddr.0);
    let variables = binary.variables();
    Ok(json!({
        "go_version": binary.go_version().as_str(),
        "arch": binary.arch().to_string(),
        "main": binary.main_path(),
        "pie": binary.is_pie(),
        "stripped": binary.is_stripped(),
        "dwarf": binary.has_dwarf(),
        "layout_origin": format!("{:?}", binary.layout_origin()),
        "layout": format!("{:?}", binary.layout()),
        "functions": binary.pclntab().len(),
        "wait_reasons": format!("{:?}", binary.wait_reasons()),
        "variables": {
            "runtime.allgs": variables.allgs.0,
            "runtime.allglen": variables.allglen.0,
            "runtime.allgptr": variables.allgptr.0,
            "runtime.firstmoduledata": variables.firstmoduledata.0,
            "runtime.semtable": address(variables.semtable),
            "runtime.mheap_": address(variables.mheap),
            "runtime.allm": address(variables.allm),
            "runtime.allp": address(variables.allp),
            "runtime.sched": address(variables.sched),
            "runtime.buildVersion": address(variables.buildversion),
        },
        "sites": sites,
    }))
}
