//! Stands in for the one call that the emulator of AWS does not know: STS's `GetWebIdentityToken`. Refuses every
//! parameter that the deployed role's conditions would refuse.

use std::sync::{Arc, Mutex};

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use reqwest::Url;
use tokio::net::TcpListener;

const NAMESPACE: &str = "https://sts.amazonaws.com/doc/2011-06-15/";
/// Of the shape of a JWT, so that the token host takes it, and easily searched for.
pub const ASSERTION: &str = "c3RhbmQtaW4.YXNzZXJ0aW9u.c2lnbmF0dXJl";

#[derive(Default)]
struct Log {
    calls: usize,
    faults: Vec<String>,
}

pub struct StandIn {
    pub url: String,
    log: Arc<Mutex<Log>>,
}

impl StandIn {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let log = Arc::new(Mutex::new(Log::default()));
        let keep = Arc::clone(&log);
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let log = Arc::clone(&keep);
                let service = service_fn(move |request| answer(request, Arc::clone(&log)));
                tokio::spawn(async move {
                    let connection = hyper::server::conn::http1::Builder::new();
                    let _ = connection.serve_connection(TokioIo::new(socket), service).await;
                });
            }
        });
        Self { url, log }
    }

    /// It was asked, and rightly.
    pub fn assert_sound(&self) {
        let log = self.log.lock().unwrap();
        assert_eq!(log.faults, Vec::<String>::new());
        assert!(log.calls >= 1, "STS was never asked");
    }
}

async fn answer(request: Request<Incoming>, log: Arc<Mutex<Log>>) -> hyper::Result<Response<Full<Bytes>>> {
    let signed = request
        .headers()
        .get("authorization")
        .is_some_and(|value| value.to_str().unwrap_or_default().starts_with("AWS4-HMAC-SHA256 Credential="));
    let body = request.into_body().collect().await?.to_bytes();
    let form = Url::parse(&format!("http://127.0.0.1/?{}", String::from_utf8_lossy(&body))).unwrap();
    let mut form = form.query_pairs().into_owned().collect::<Vec<_>>();
    form.sort();
    let seconds = form.iter().find(|(name, _)| name == "DurationSeconds").map(|(_, value)| value.clone());
    let mut faults = Vec::new();
    if !signed {
        faults.push("the call is not signed".to_owned());
    }
    if !seconds.as_ref().and_then(|text| text.parse().ok()).is_some_and(|number| (60..=300).contains(&number))
    {
        faults.push(format!("DurationSeconds is {seconds:?}"));
    }
    form.retain(|(name, _)| name != "DurationSeconds");
    let expected = [
        ("Action", "GetWebIdentityToken"),
        ("Audience.member.1", "api://AzureADTokenExchange"),
        ("SigningAlgorithm", "RS256"),
        ("Version", "2011-06-15"),
    ];
    if form.iter().map(|(name, value)| (name.as_str(), value.as_str())).ne(expected) {
        faults.push(format!("the parameters are {form:?}"));
    }
    let refused = !faults.is_empty();
    {
        let mut log = log.lock().unwrap();
        log.calls += 1;
        log.faults.extend(faults);
    }
    let (status, text) = if refused {
        let error =
            "<Error><Type>Sender</Type><Code>ValidationError</Code><Message>refused</Message></Error>";
        (400, format!("<ErrorResponse xmlns=\"{NAMESPACE}\">{error}</ErrorResponse>"))
    } else {
        let result = format!(
            "<WebIdentityToken>{ASSERTION}</WebIdentityToken><Expiration>2099-01-01T00:00:00Z</Expiration>"
        );
        let name = "GetWebIdentityToken";
        (
            200,
            format!(
                "<{name}Response xmlns=\"{NAMESPACE}\"><{name}Result>{result}</{name}Result></{name}Response>"
            ),
        )
    };
    Ok(Response::builder().status(status).body(Full::new(Bytes::from(text))).unwrap())
}
