//! The built command line, run as a person would, with nothing of this process's environment.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A folder of its own for a test's files; gone when dropped.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new() -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(uuid::Uuid::new_v4().to_string());
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Runs `regrant` with these words in this folder.
    pub fn run(&self, words: &str) -> Ran {
        self.run_with(&words.split_whitespace().collect::<Vec<_>>(), &[], None)
    }

    pub fn run_with(&self, arguments: &[&str], settings: &[(&str, String)], input: Option<&str>) -> Ran {
        let mut command = Command::new(env!("CARGO_BIN_EXE_regrant"));
        command.args(arguments).current_dir(&self.0).env_clear().env("AWS_EC2_METADATA_DISABLED", "true");
        command.envs(settings.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        // A command that reads nothing may be gone already.
        let _ = std::io::Write::write_all(&mut stdin, input.unwrap_or_default().as_bytes());
        drop(stdin);
        let output = child.wait_with_output().unwrap();
        Ran {
            code: output.status.code().unwrap(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// How a command ended and what it said.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    /// The lines of stdout that are findings of `verify`, without the summary.
    pub fn findings(&self) -> Vec<&str> {
        self.stdout.lines().take_while(|line| line.contains('#')).collect()
    }
}
