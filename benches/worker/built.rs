//! Builds what is measured, as it is deployed: the worker without the command line, and the bare function beside it
//! with the same profile. Measures nothing.

use std::path::{Path, PathBuf};
use std::process::Command;

pub struct Built {
    pub worker: PathBuf,
    pub bare: PathBuf,
}

/// Takes minutes the first time. In a target folder of its own, so that it shares no lock and no feature with the
/// benchmark.
///
/// With `REGRANT_BENCH_BUILT` set to a folder, the `worker` and `bare` that are there are measured as they are.
#[allow(clippy::disallowed_methods, reason = "the benchmark's own environment")]
pub fn build() -> Built {
    if let Ok(folder) = std::env::var("REGRANT_BENCH_BUILT") {
        let folder = PathBuf::from(folder);
        return Built { worker: folder.join("worker"), bare: folder.join("bare") };
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let target = root.join("target/bench-functions");
    eprintln!("building the functions in release, into {}", target.display());
    let status = Command::new(env!("CARGO"))
        .current_dir(root)
        .args(["build", "--release", "--no-default-features", "--features", "bench"])
        .args(["--bin", "worker", "--bin", "bare"])
        .env("CARGO_TARGET_DIR", &target)
        .status();
    assert!(status.unwrap().success(), "the functions do not build");
    let release = target.join("release");
    Built { worker: release.join("worker"), bare: release.join("bare") }
}
