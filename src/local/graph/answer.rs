//! Answers in Graph's form, and how each leaves: whole, cut off or not at all. Decides nothing.

use futures::stream;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Bytes, Frame};
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use hyper::http::HeaderName;
use hyper::{Response, StatusCode};
use jiff::Timestamp;
use serde_json::{Value, json};

/// The connection ends here, on purpose.
#[derive(Debug, thiserror::Error)]
#[error("the simulator closes the connection")]
pub(super) struct Cut;

pub(super) type Body = UnsyncBoxBody<Bytes, Cut>;

/// How an answer leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sending {
    Whole,
    Truncated,
    NotJson,
    Dropped,
    Never,
}

#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub status: u16,
    /// `None`: an empty body.
    pub body: Option<Value>,
    pub retry_after: Option<u64>,
    pub sending: Sending,
}

impl Answer {
    pub fn new(status: u16, body: Option<Value>) -> Self {
        Self { status, body, retry_after: None, sending: Sending::Whole }
    }

    /// `Some` status as far as a client can read one.
    pub fn visible_status(&self) -> Option<u16> {
        match self.sending {
            Sending::Whole | Sending::Truncated | Sending::NotJson => Some(self.status),
            Sending::Dropped | Sending::Never => None,
        }
    }

    /// Waits for ever, or is `Err` where the connection ends without an answer.
    pub async fn send(self, request_id: &str, client_request_id: &str) -> Result<Response<Body>, Cut> {
        let (body, content_type, announced) = match self.sending {
            Sending::Never => std::future::pending().await,
            Sending::Dropped => return Err(Cut),
            Sending::Whole => (self.body.map(|body| body.to_string()), "application/json", None),
            Sending::NotJson => {
                (Some("<html><body>Simulated gateway page.</body></html>".to_owned()), "text/html", None)
            }
            Sending::Truncated => {
                let text = self.body.unwrap_or_else(|| json!({ "simulated": "cut off" })).to_string();
                (Some(text[..text.len() / 2].to_owned()), "application/json", Some(text.len()))
            }
        };
        let mut response = Response::new(match (body, announced) {
            (None, _) => Full::default().map_err(|never| match never {}).boxed_unsync(),
            (Some(text), None) => Full::from(text).map_err(|never| match never {}).boxed_unsync(),
            (Some(text), Some(_)) => cut_after(text),
        });
        *response.status_mut() =
            StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        if let Some(length) = announced {
            headers.insert(CONTENT_LENGTH, length.into());
        }
        if let Some(seconds) = self.retry_after {
            headers.insert(hyper::header::RETRY_AFTER, seconds.into());
        }
        for (name, value) in [("request-id", request_id), ("client-request-id", client_request_id)] {
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.insert(HeaderName::from_static(name), value);
            }
        }
        Ok(response)
    }
}

/// A body that breaks off after `text`.
fn cut_after(text: String) -> Body {
    let frames = stream::unfold(Some(text), |text| async {
        match text {
            Some(text) => Some((Ok(Frame::data(Bytes::from(text))), None)),
            None => {
                // Lets the server flush what it has before the break.
                tokio::task::yield_now().await;
                Some((Err(Cut), None))
            }
        }
    });
    StreamBody::new(frames).boxed_unsync()
}

/// Graph's error body.
pub(super) fn odata_error(
    status: u16,
    code: &str,
    message: &str,
    now: Timestamp,
    ids: (&str, &str),
) -> Answer {
    let (request_id, client_request_id) = ids;
    let body = json!({ "error": {
        "code": code,
        "message": message,
        "innerError": {
            "date": now.strftime("%Y-%m-%dT%H:%M:%S").to_string(),
            "request-id": request_id,
            "client-request-id": client_request_id,
        },
    }});
    Answer::new(status, Some(body))
}
