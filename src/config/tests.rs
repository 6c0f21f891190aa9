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
        ("EVENT_BUS", "itsm bus"),
        ("EVENT_BUS", "arn:aws:sns:eu-west-1:000000000000:itsm"),
        ("EVENT_BUS", "arn:aws:events:eu-west-1:000000000000:rule/itsm"),
        ("EVENT_BUS", "arn:aws:events:eu-west-1:0:event-bus/itsm"),
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
fn event_bus_is_a_name_or_an_arn_or_absent() {
    assert_eq!(read(&[]).unwrap().event_bus, None);
    assert_eq!(read(&[("EVENT_BUS", "")]).unwrap().event_bus, None);
    for bus in [
        "default",
        "aws.partner/example.com/itsm",
        "arn:aws:events:eu-west-1:000000000000:event-bus/itsm",
        "arn:aws-us-gov:events:us-gov-west-1:000000000000:event-bus/default",
    ] {
        assert_eq!(read(&[("EVENT_BUS", bus)]).unwrap().event_bus.as_deref(), Some(bus));
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

#[test]
fn sweep_reads_packages_once_each_and_names_every_wrong_one() {
    let read = |changes: &[(&str, &str)]| {
        SweepConfig::read(|name| {
            let base = [
                ("AUDIT_TABLE", "regrant-audit"),
                ("QUEUE_URL", "https://sqs.eu-west-1.amazonaws.com/000000000000/regrant"),
                ("GRAPH_TENANT_ID", GUID),
                ("GRAPH_CLIENT_ID", GUID),
                ("GRAPH_CREDENTIAL", "federated"),
            ];
            let found = changes.iter().chain(&base).find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    };
    let config = read(&[]).unwrap();
    assert_eq!((config.packages.len(), config.limit, config.function.as_str()), (0, 1000, "sweep"));
    let other = "11111111-acc4-43cc-bcf1-7c1c4a2c073b";
    let list = format!("{GUID}, {other},{}", GUID.to_ascii_lowercase());
    let config = read(&[("SWEEP_PACKAGES", &list), ("SWEEP_LIMIT", "10000")]).unwrap();
    assert_eq!(
        config.packages.iter().map(Guid::as_str).collect::<Vec<_>>(),
        [&GUID.to_ascii_lowercase(), other]
    );
    assert_eq!(config.limit, 10_000);
    let error = read(&[("SWEEP_PACKAGES", &format!("a,{other},b,")), ("SWEEP_LIMIT", "10001")]).unwrap_err();
    let starts = ["`SWEEP_PACKAGES` must be a list of access packages", "`SWEEP_LIMIT` must be"];
    let ends = ["is \"a\"", "is \"b\"", "is \"\"", "is \"10001\""];
    assert_eq!(error.0.len(), 4, "{error}");
    for (fault, end) in error.0.iter().zip(ends) {
        assert!(starts.iter().any(|start| fault.starts_with(start)) && fault.ends_with(end), "{fault}");
    }
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
