//! What gotrace finds out from the file alone, against the toolchain's own `nm` and `objdump`, and
//! against the same file without its sections.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::cells::Cell;

/// Hooks of gotrace.
pub(crate) const HOOKS: usize = 16;

/// Compares; returns how many sites there are.
///
/// # Panics
///
/// When something does not agree.
pub(crate) fn check(cell: &Cell) -> usize {
    let path = cell.directory.join("truth");
    let facts = facts_of(&path);
    assert_eq!(facts["error"], Value::Null, "{facts:#}");
    assert_eq!(facts["go_version"], format!("go{}", cell.go));
    assert_eq!(facts["arch"], cell.arch);
    assert_eq!(facts["main"], "gotrace.test/programs/truth");
    assert_eq!(facts["pie"], cell.column.contains("PIE"), "{facts:#}");
    assert_eq!(facts["stripped"], cell.with_symbols.is_some(), "{facts:#}");

    match &cell.with_symbols {
        None => {
            assert_eq!(facts["layout_origin"], "Dwarf", "{facts:#}");
            compare_variables(cell, &path, &facts);
            compare_sites(cell, &path, &facts);
        }
        // The tools of the toolchain read symbols; the code is the same.
        Some(twin) => {
            assert_eq!(facts["layout_origin"], "Table", "{facts:#}");
            compare_with_twin(&facts, &facts_of(&twin.join("truth")));
        }
    }

    // No section: no symbols, no DWARF, not even the names of what is where.
    let directory = tempfile::tempdir().expect("a directory");
    let stripped = directory.path().join("truth");
    let mut bytes = fs::read(&path).expect("the program");
    // e_shoff; e_shnum and e_shstrndx
    bytes[0x28..0x30].fill(0);
    bytes[0x3c..0x40].fill(0);
    fs::write(&stripped, bytes).expect("the directory is writable");
    let without = facts_of(&stripped);
    assert_eq!(without["layout_origin"], "Table", "{without:#}");
    for fact in ["variables", "sites", "wait_reasons", "layout", "functions"] {
        assert_eq!(without[fact], facts[fact], "{fact}");
    }

    facts["sites"].as_array().expect("a list").len()
}

/// What gotrace finds out from a file.
fn facts_of(path: &Path) -> Value {
    let program = std::env::var_os("GOTRACE_FACTS").expect("cargo xtask matrix says where it is");
    let said = output(Command::new(program).arg(path));
    serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error} in {said:?}"))
}

/// Fails unless a stripped file says the same as that with symbols. It is linked anew, with other
/// flags noted in it, so its data may lie some pages away.
fn compare_with_twin(stripped: &Value, twin: &Value) {
    for fact in ["wait_reasons", "layout", "functions"] {
        assert_eq!(stripped[fact], twin[fact], "{fact}");
    }
    let distances = |facts: &Value| -> Vec<(String, i64)> {
        let variables = facts["variables"].as_object().expect("addresses by name");
        let address = |value: &Value| value.as_i64().expect("it was found");
        let first = address(&variables["runtime.allgs"]);
        let distance = |(name, value): (&String, &Value)| (name.clone(), address(value) - first);
        variables.iter().map(distance).collect()
    };
    assert_eq!(distances(stripped), distances(twin));
    let sites = |facts: &Value| -> Vec<[Value; 4]> {
        let sites = facts["sites"].as_array().expect("a list").iter();
        sites
            .map(|site| {
                ["hook", "function", "offset_in_function", "frame"].map(|key| site[key].clone())
            })
            .collect()
    };
    assert_eq!(sites(stripped), sites(twin));
    let known = |site: &Value| site["error"].is_null();
    let sites = stripped["sites"].as_array().expect("a list");
    assert!(
        sites.len() == HOOKS && sites.iter().all(known),
        "{stripped:#}"
    );
}

/// Fails unless the runtime's variables are where `go tool nm` says.
fn compare_variables(cell: &Cell, path: &Path, facts: &Value) {
    let symbols = output(go(cell).args(["tool", "nm"]).arg(path));
    let known: BTreeMap<&str, u64> = symbols
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            let address = u64::from_str_radix(words.next()?, 16).ok()?;
            Some((words.nth(1)?, address))
        })
        .collect();
    for (name, address) in facts["variables"].as_object().expect("addresses by name") {
        assert_eq!(
            address.as_u64(),
            known.get(name.as_str()).copied(),
            "{name}"
        );
    }
}

/// Fails unless each hook has a site that is, for `go tool objdump`, an instruction, and one behind
/// the stack check that kernels emulate.
fn compare_sites(cell: &Cell, path: &Path, facts: &Value) {
    let sites = facts["sites"].as_array().expect("a list");
    assert_eq!(sites.len(), HOOKS);
    let functions: Vec<String> = sites
        .iter()
        .map(|site| {
            assert_eq!(site["error"], Value::Null, "{site:#}");
            let function = site["function"].as_str().expect("a name");
            function.replace('.', "\\.")
        })
        .collect();
    let pattern = format!("^({})$", functions.join("|"));
    let code = output(go(cell).args(["tool", "objdump", "-s", &pattern]).arg(path));
    let instructions: BTreeMap<u64, &str> = code.lines().filter_map(instruction).collect();
    for site in sites {
        let address = site["address"].as_u64().expect("an address");
        let text = instructions
            .get(&address)
            .unwrap_or_else(|| panic!("no instruction begins at {site:#}"));
        let emulated: &[&str] = match cell.arch.as_str() {
            "amd64" => &["PUSHQ BP", "NOP", "J", "CALL"],
            _ => &["CB", "B", "TB", "ADR", "NOOP", "NOP", "CALL", "JMP"],
        };
        assert!(
            emulated.iter().any(|start| text.starts_with(start)),
            "{text} is not emulated: {site:#}"
        );
        // A frame that gotrace does not know would make it read a wrong caller.
        assert_ne!(site["frame"], "Unknown", "{site:#}");
        assert!(
            !(text.contains("runtime.morestack")
                || text.starts_with("JBE") && cell.arch == "amd64"),
            "{text} belongs to the stack check: {site:#}"
        );
    }
}

/// Address and text of an instruction: `  chan.go:160  0x404f40  493b6610  CMPQ SP, 0x10(R14)`.
fn instruction(line: &str) -> Option<(u64, &str)> {
    let (address, rest) = line.split_once("0x")?.1.split_once('\t')?;
    let text = rest.split('\t').filter(|field| !field.is_empty()).nth(1)?;
    let address = u64::from_str_radix(address.trim(), 16).ok()?;
    Some((address, text.trim()))
}

/// The `go` command that built a cell.
fn go(cell: &Cell) -> Command {
    let mut command = Command::new(&cell.command);
    command
        .env_remove("GOROOT")
        .env("GOTOOLCHAIN", "local")
        .env("GOFLAGS", "-mod=mod")
        .env("GOPROXY", "off");
    command
}

/// What a command prints.
#[track_caller]
fn output(command: &mut Command) -> String {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("text")
}
