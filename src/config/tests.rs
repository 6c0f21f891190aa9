use super::*;

const GUID: &str = "D82EB508-acc4-43cc-bcf1-7c1c4a2c073b";

fn read(changes: &[(&str, &str)]) -> Result<WorkerConfig, ConfigError> {
    let base = [
        ("AUDIT_TABLE", "regrant-audit"),
        ("QUEUE_URL", "https://sqs.eu-west-1.amazonaws.com/000000000000/regrant"),
        ("GRAPH_TENANT_ID", GUID),
        ("GRAPH_CLIENT_ID", GUID),
        ("GRAPH_CREDENTIAL", "federated"),
    ];
    WorkerConfig::read(|name| {
        let found = changes.iter().chain(&base).find(|(known, _)| *known == name);
        found.map(|(_, value)| (*value).to_owned())
    })
}

fn fault(changes: &[(&str, &str)]) -> String {
    read(changes).unwrap_err().0.join("; ")
}

#[test]
fn smallest_environment_takes_every_default() {
    let config = read(&[]).unwrap();
    assert_eq!(config.policy, Policy::default());
    assert_eq!((config.call_timeout, config.concurrency), (Duration::from_secs(10), 10));
    assert_eq!(config.graph.tenant_id.as_str(), GUID.to_ascii_lowercase());
    assert_eq!(config.graph.endpoint.as_str(), "https://graph.microsoft.com/");
    assert_eq!(config.graph.authority.as_str(), "https://login.microsoftonline.com/");
    assert_eq!((config.api_version, config.function.as_str()), (ApiVersion::V1, "worker"));
}

#[test]
fn all_faults_are_named_at_once() {
    let error = WorkerConfig::read(|name| (name == "CONCURRENCY").then(|| "0".to_owned())).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the settings are not usable: \
         `AUDIT_TABLE` is not set; it must be a table name: 3 to 255 of `A-Za-z0-9_.-`; \
         `QUEUE_URL` is not set; it must be the http or https URL of a standard queue, not `.fifo`; \
         `GRAPH_TENANT_ID` is not set; it must be a GUID in the 8-4-4-4-12 form; \
         `GRAPH_CLIENT_ID` is not set; it must be a GUID in the 8-4-4-4-12 form; \
         `GRAPH_CREDENTIAL` is not set; it must be `federated`, `certificate` or `secret`; \
         `CONCURRENCY` must be a whole number from 1 to 100, is \"0\""
    );
}

#[test]
fn each_wrong_value_is_refused_with_its_rule() {
    for (name, value) in [
        ("AUDIT_TABLE", "a\"b"),
        ("QUEUE_URL", "https://sqs.eu-west-1.amazonaws.com/000000000000/regrant.fifo"),
        ("QUEUE_URL", "regrant"),
        ("GRAPH_TENANT_ID", "contoso.onmicrosoft.com"),
        ("GRAPH_CREDENTIAL", "password"),
        ("GRAPH_CLOUD", "germany"),
        ("GRAPH_API_VERSION", "v2.0"),
        ("GRAPH_ENDPOINT", "http://graph.example"),
        ("GRAPH_ENDPOINT", "https://user@graph.example"),
        ("GRAPH_AUTHORITY", "ftp://127.0.0.1"),
        ("MAX_ATTEMPTS", "0"),
        ("WINDOW", "14"),
        ("CHECK_AFTER", "-1s"),
        ("RETRY_AFTER", "1.5s"),
        ("GIVE_UP_AFTER", "99999999999999999999d"),
        ("CALL_TIMEOUT", "366d"),
        ("CONCURRENCY", "101"),
    ] {
        let fault = fault(&[(name, value)]);
        assert!(fault.starts_with(&format!("`{name}` must be ")), "{name}={value}: {fault}");
    }
}

#[test]
fn credential_and_secret_settings_must_agree() {
    let secret = ("GRAPH_CLIENT_SECRET", "canary");
    let id = ("GRAPH_SECRET_ID", "regrant/graph");
    for (kind, settings, usable) in [
        ("federated", vec![], true),
        ("federated", vec![id], false),
        ("certificate", vec![id], true),
        ("certificate", vec![], false),
        ("certificate", vec![secret], false),
        ("secret", vec![id], true),
        ("secret", vec![secret], true),
        ("secret", vec![id, secret], false),
        ("secret", vec![], false),
    ] {
        let changes = [vec![("GRAPH_CREDENTIAL", kind)], settings].concat();
        let config = read(&changes);
        assert_eq!(config.is_ok(), usable, "{changes:?}");
        assert!(!format!("{config:?}").contains("canary"));
    }
}

#[test]
fn loopback_roots_may_be_plain_and_durations_have_five_units() {
    let config = read(&[
        ("GRAPH_ENDPOINT", "http://127.0.0.1:8080"),
        ("GRAPH_AUTHORITY", "http://[::1]:8081"),
        ("CHECK_AFTER", "250ms"),
        ("RETRY_AFTER", "2s"),
        ("WINDOW", "3h"),
        ("GIVE_UP_AFTER", "4d"),
        ("CALL_TIMEOUT", "1m"),
    ]);
    let config = config.unwrap();
    let policy = Policy {
        max_attempts: 5,
        window: Duration::from_secs(3 * 3600),
        check_after: Duration::from_millis(250),
        retry_after: Duration::from_secs(2),
        give_up_after: Duration::from_secs(4 * 86400),
    };
    assert_eq!((config.policy, config.call_timeout), (policy, Duration::from_secs(60)));
}

#[cfg(feature = "cli")]
#[test]
fn own_sign_in_is_for_the_command_line_only() {
    let signed_in = ("GRAPH_CREDENTIAL", "signed-in");
    assert_eq!(
        fault(&[signed_in]),
        "`GRAPH_CREDENTIAL` `signed-in` is for the command line, a function has nobody who signs in; \
         it must be `federated`, `certificate` or `secret`"
    );
    let read = |changes: &[(&str, &str)]| {
        let base = [
            ("AUDIT_TABLE", "regrant-audit"),
            ("QUEUE_URL", "https://sqs.eu-west-1.amazonaws.com/000000000000/regrant"),
            ("GRAPH_TENANT_ID", GUID),
        ];
        WorkerConfig::read_for_operator(|name| {
            let found = changes.iter().chain(&base).find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    };
    let graph = read(&[signed_in]).unwrap().graph;
    assert_eq!(
        (graph.credential.kind(), graph.client_id.as_str()),
        (CredentialKind::SignedIn, "04b07795-8ddb-461a-bbee-02f9e1bf7b46")
    );
    assert!(read(&[signed_in, ("GRAPH_SECRET_ID", "regrant/graph")]).is_err());
    assert!(read(&[("GRAPH_CREDENTIAL", "federated"), ("GRAPH_CLIENT_ID", GUID)]).is_ok());
    assert_eq!(
        read(&[("GRAPH_CREDENTIAL", "password"), ("GRAPH_CLIENT_ID", GUID)]).unwrap_err().0,
        ["`GRAPH_CREDENTIAL` must be `federated`, `certificate`, `secret` or `signed-in`, is \"password\""]
    );
}
