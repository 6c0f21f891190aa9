//! `deploy/federate` asks `aws` and `az` for the right things, and can be repeated.
//!
//! Both are stand-ins that note how they were called: what they would do needs two accounts.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Functions, because a program written a moment ago may still be open for writing elsewhere in this process.
const STAND_INS: &str = r#"
aws() {
    echo "aws $*" >> "$CALLS"
    case "$*" in
        *get-outbound*) [ -n "${ON:-}" ] && echo https://issuer.example ;;
        *enable-outbound*) echo https://issuer.example ;;
        *WorkerRoleArn*) echo arn:aws:iam::111122223333:role/worker ;;
        *SweepRoleArn*) echo "${SWEEP-arn:aws:iam::111122223333:role/sweep}" ;;
        *FederatedAudience*) echo api://AzureADTokenExchange ;;
    esac
}
az() {
    echo "az $*" >> "$CALLS"
    case "$*" in
        *" list "*"contains(audiences, 'api://AzureADTokenExchange')"*) if [ -n "${ON:-}" ]; then echo there; fi ;;
        *" list "*"role/sweep"*) if [ -n "${OTHER:-}" ]; then echo old; fi ;;
    esac
}
export -f aws az
exec deploy/federate regrant 4e920dd1-060a-43e6-a367-da13fedc37de
"#;

struct Bench {
    calls: PathBuf,
}

impl Bench {
    fn new(name: &str) -> Self {
        let calls = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("federate-{name}.calls"));
        fs::write(&calls, "").unwrap();
        Self { calls }
    }

    fn run(&self, variables: &[(&str, &str)]) -> Output {
        let mut command = Command::new("bash");
        command.args(["-c", STAND_INS]).current_dir(env!("CARGO_MANIFEST_DIR"));
        command.env("CALLS", &self.calls).envs(variables.iter().copied());
        command.output().unwrap()
    }

    fn calls(&self, like: &str) -> Vec<String> {
        let calls = fs::read_to_string(&self.calls).unwrap();
        calls.lines().filter(|call| call.contains(like)).map(str::to_owned).collect()
    }
}

#[test]
fn both_roles_get_a_credential_each() {
    let bench = Bench::new("new");
    let output = bench.run(&[]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(bench.calls("enable-outbound").len(), 1);
    assert_eq!(bench.calls(" create "), [made("worker"), made("sweep")]);
}

fn made(role: &str) -> String {
    format!(
        "az ad app federated-credential create --id 4e920dd1-060a-43e6-a367-da13fedc37de --output none --parameters {}",
        credential(role, role)
    )
}

fn credential(name: &str, role: &str) -> String {
    format!(
        "{{\"name\":\"{name}\",\"issuer\":\"https://issuer.example\",\
         \"subject\":\"arn:aws:iam::111122223333:role/{role}\",\"audiences\":[\"api://AzureADTokenExchange\"]}}"
    )
}

/// Its name is that of the role, so that it does not meet the credential of the role before.
#[test]
fn replaced_role_gets_a_credential_beside_the_old_one() {
    let bench = Bench::new("replaced");
    let output = bench.run(&[("SWEEP", "arn:aws:iam::111122223333:role/path/sweep-2")]);
    assert!(output.status.success(), "{output:?}");
    let sweep = bench.calls(" create ").pop().unwrap();
    assert!(sweep.contains("\"name\":\"sweep-2\"") && sweep.contains("role/path/sweep-2"), "{sweep}");
}

#[test]
fn another_audience_is_mended_in_place() {
    let bench = Bench::new("audience");
    let output = bench.run(&[("OTHER", "1")]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(bench.calls(" create "), [made("worker")]);
    let expected = format!(
        "az ad app federated-credential update --id 4e920dd1-060a-43e6-a367-da13fedc37de \
         --federated-credential-id old --output none --parameters {}",
        credential("old", "sweep")
    );
    assert_eq!(bench.calls(" update "), [expected]);
}

#[test]
fn what_is_there_stays_as_it_is() {
    let bench = Bench::new("again");
    let output = bench.run(&[("ON", "1")]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(bench.calls("enable-outbound"), Vec::<String>::new());
    assert_eq!(bench.calls(" create "), Vec::<String>::new());
}

#[test]
fn stack_without_the_output_is_named_and_gets_nothing_for_it() {
    let bench = Bench::new("other-stack");
    let output = bench.run(&[("SWEEP", "")]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "the stack regrant has no output SweepRoleArn\n");
    assert_eq!(bench.calls(" create ").len(), 1);
}
