//! `regrant run` with the operator's own sign-in: a program `az` of the test's own, the simulator, and what is stored.

use std::os::unix::fs::PermissionsExt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use regrant::aws::Aws;
use regrant::domain::record::{Fact, Record};
use regrant::domain::target::{CredentialKind, Target, TargetKind};
use regrant::local::aws::sdk_config;
use regrant::local::graph::{CallKind, Simulated};
use regrant::local::{AUDIT_TABLE, Options, Stack};
use regrant::trail::{READING_PATIENCE, Trail};
use serde_json::{Value, json};

use super::command_line::{Folder, Ran};
use super::made::id;

const WHO: &str = "9f0e2ad0-3f0c-4b6a-9a62-4d6a4f2f7c11";
const APP: &str = "04b07795-8ddb-461a-bbee-02f9e1bf7b46";

struct Signed {
    stack: Stack,
    folder: Folder,
    settings: Vec<(&'static str, String)>,
}

impl Signed {
    /// `script` is what `az` does, with its words in `asked`.
    async fn start(script: &str) -> Self {
        let stack = Stack::start(&Options::default()).await.unwrap();
        stack.graph.put(Simulated::failed_request(id(1), stack.graph.now()));
        let folder = Folder::new();
        let az = folder.path("az");
        let asked = folder.path("asked").display().to_string();
        std::fs::write(&az, format!("#!/bin/sh\necho \"$*\" >> {asked}\n{script}\n")).unwrap();
        std::fs::set_permissions(&az, std::fs::Permissions::from_mode(0o755)).unwrap();
        let mut settings = stack.environment();
        settings.retain(|(name, _)| !name.starts_with("GRAPH_CL") && *name != "GRAPH_CREDENTIAL");
        settings.push(("GRAPH_CREDENTIAL", "signed-in".to_owned()));
        let folder_path = folder.path("").display().to_string();
        settings.push(("PATH", format!("{}:/usr/bin:/bin", folder_path.trim_end_matches('/'))));
        Self { stack, folder, settings }
    }

    fn run(&self, more: &[&str]) -> Ran {
        let id = id(1).to_string();
        let words = [&["run", &id, "--target", "assignmentRequest", "--json"], more].concat();
        self.folder.run_with(&words, &self.settings, None)
    }

    fn asked(&self) -> String {
        std::fs::read_to_string(self.folder.path("asked")).unwrap_or_default()
    }

    async fn records(&self) -> Vec<Record> {
        let aws = Aws::from_config(sdk_config(&self.stack.dynamodb.url));
        let trail = Trail::new(aws, AUDIT_TABLE.to_owned(), self.stack.tenant_id.clone());
        let key = Target { kind: TargetKind::AssignmentRequest, id: id(1) }.key(trail.tenant());
        trail.history(key, READING_PATIENCE).await.unwrap().records
    }
}

fn token(claims: &Value) -> String {
    let part = |json: &Value| URL_SAFE_NO_PAD.encode(json.to_string());
    format!("{}.{}.Y2FuYXJ5", part(&json!({ "typ": "JWT" })), part(claims))
}

fn prints(token: &str) -> String {
    let answer = json!({ "accessToken": token, "expires_on": 4_102_444_800_i64, "tokenType": "Bearer" });
    format!("echo '{answer}'")
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_own_sign_in_calls_graph_and_stands_in_the_trail() {
    let token = token(&json!({ "appid": APP, "oid": WHO, "scp": "EntitlementManagement.ReadWrite.All" }));
    let signed = Signed::start(&prints(&token)).await;
    signed.stack.graph.accept_token(&token);
    let ran = signed.run(&[]);
    let answer = serde_json::from_str::<Value>(&ran.stdout).unwrap();
    assert_eq!((ran.code, &answer["status"], &*ran.stderr), (0, &json!("accepted"), ""), "{ran:?}");
    let records = signed.records().await;
    let Fact::AttemptStarted(started) = &records[0].fact else { panic!("{records:?}") };
    assert_eq!((started.actor.client_id.as_str(), started.actor.credential), (APP, CredentialKind::SignedIn));
    let origin = records[0].origin.as_ref().unwrap();
    assert_eq!((origin.requested_by.as_deref(), &*records[0].by.function), (Some(WHO), "regrant"));
    // Once, for the configured tenant and Graph's own scope, and nobody asked Entra for an application's token.
    let expected = format!(
        "account get-access-token -o json --scope https://graph.microsoft.com/.default --tenant {}\n",
        signed.stack.tenant_id
    );
    assert_eq!(signed.asked(), expected);
    assert!(signed.stack.graph.calls().iter().all(|call| call.kind != CallKind::Token));
    let stored = records.iter().map(Record::to_json).collect::<String>();
    for text in [&stored, &ran.stdout, &ran.stderr] {
        assert!(!text.contains(&token) && !text.contains("Y2FuYXJ5"), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn named_requester_stays_and_a_missing_permission_is_said() {
    let token = token(&json!({ "appid": id(8), "oid": WHO, "scp": "User.Read" }));
    let signed = Signed::start(&prints(&token)).await;
    signed.stack.graph.accept_token(&token);
    let ran = signed.run(&["--requested-by", "someone"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.stderr.starts_with("note: the sign-in's token does not list the permission "), "{ran:?}");
    let records = signed.records().await;
    assert_eq!(records[0].origin.as_ref().unwrap().requested_by.as_deref(), Some("someone"));
    let Fact::AttemptStarted(started) = &records[0].fact else { panic!("{records:?}") };
    assert_eq!(started.actor.client_id, id(8));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_usable_sign_in_nothing_is_called_or_recorded() {
    let hint = "sign in by `az login --tenant ";
    let token = token(&json!({ "oid": WHO }));
    for (script, expected) in [
        ("echo \"ERROR: Please run 'az login' to setup account.\" >&2; exit 1", "Please run 'az login'"),
        (&*format!("echo 'refused {token}' >&2; exit 1"), "refused [redacted]"),
        (
            &*format!("echo '{{\"accessToken\":\"{token}\",\"tokenType\":\"Bearer\"}}'"),
            "version 2.54 or newer",
        ),
        (&*format!("echo '{{\"accessToken\":{{\"x\":\"{token}\"}}}}'"), "version 2.54 or newer"),
        ("echo no json", "version 2.54 or newer"),
        ("rm -- \"$0\"; exit 127", "az not found on PATH"),
    ] {
        let signed = Signed::start(script).await;
        let ran = signed.run(&[]);
        assert_eq!((ran.code, &*ran.stdout), (1, ""), "{script}: {ran:?}");
        let start = ran.stderr.starts_with("error: no token for Graph: the Azure CLI");
        assert!(start && ran.stderr.contains(expected) && ran.stderr.contains(hint), "{script}: {ran:?}");
        assert!(!ran.stderr.contains(&token), "{ran:?}");
        assert_eq!(signed.records().await, []);
        assert!(signed.stack.graph.calls().is_empty());
    }
}
