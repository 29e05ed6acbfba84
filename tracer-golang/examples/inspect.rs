//! Prints what gotrace finds out about Go binaries: `cargo run -p tracer-golang --example inspect -- FILE…`

use std::path::Path;
use std::time::Instant;

use tracer_golang::binary::GoBinary;

fn main() {
    for path in std::env::args().skip(1) {
        let start = Instant::now();
        let binary = match GoBinary::open(Path::new(&path)) {
            Ok(binary) => binary,
            Err(error) => {
                println!("{path}: {error}");
                continue;
            }
        };
        let opened = start.elapsed();
        println!(
            "{path}: {} {} {} pie={} stripped={} dwarf={} main={:?} layout={:?} functions={} opened in {opened:?}",
            binary.go_version(),
            binary.arch(),
            binary.build_id(),
            binary.is_pie(),
            binary.is_stripped(),
            binary.has_dwarf(),
            binary.main_path(),
            binary.layout_origin(),
            binary.pclntab().len(),
        );
        println!("  {:?}", binary.variables());
        let reasons: Vec<&str> = (0..=u8::MAX)
            .map_while(|index| binary.wait_reasons().text(index))
            .collect();
        println!("  wait reasons: {reasons:?}");
        let start = Instant::now();
        match binary.hook_sites() {
            Ok(sites) => {
                let took = start.elapsed();
                for site in sites {
                    println!(
                        "  {:?} {}+{:#x} {} {:?}",
                        site.hook,
                        site.function,
                        site.offset_in_function,
                        site.instruction,
                        site.frame
                    );
                }
                println!("  sites in {took:?}");
            }
            Err(error) => println!("  {error}"),
        }
    }
}
